//! Reports a committed batch as events: each agent that is not in sync, each warning of the
//! mapping, and the totals.

use std::collections::HashSet;
use std::time::Duration;

use super::batch_plan::BatchPlan;
use crate::mapping::Rules;
use crate::observe::{Columns, Committed, Event, Observer, event};
use crate::store::{LONGEST_SLUG, Problem, ProblemKind, Remedies};

/// The text in the place of a slug that cannot be shown.
const NOT_TEXT: &str = "(not shown)";

/// Reports a batch of so many rows of the outbox; it is committed this long after they were read.
/// Problems of the slugs `unchanged` are as they were noted before.
pub(super) fn committed(
    observer: &Observer,
    (remedies, rules): (&Remedies, &Rules),
    plan: &BatchPlan<'_>,
    unchanged: &[String],
    rows: usize,
    took: Duration,
) {
    let outcome = &plan.outcome;
    let unchanged: HashSet<&str> = unchanged.iter().map(String::as_str).collect();
    for problem in &outcome.problems {
        let known = unchanged.contains(problem.slug.as_str());
        tell_problem(observer, remedies, problem, known);
    }
    if !outcome.not_text.0.is_empty() {
        let reasons = format!(
            "slug: expected text in UTF-8 of at most {LONGEST_SLUG} bytes; agent_sync.problem has \
            the slug"
        );
        observer.tell(Event::NotInSync {
            slug: NOT_TEXT,
            known: false,
            problem: event::Problem::Rejected(&reasons),
            remedy: &remedies.of(ProblemKind::Rejected.name(), None, NOT_TEXT),
        });
    }
    for (slug, remark) in &plan.remarks {
        observer.tell(Event::Mapped {
            slug,
            warning: remark,
        });
    }
    for (setting, slug) in &plan.unmapped {
        observer.tell_unmapped(setting, slug, || rules.unmapped_remark(setting));
    }
    let written = outcome.changed.iter().zip(&outcome.writes);
    let written: Vec<_> = written
        .map(|(slug, (_, changes))| (*slug, Columns::of(changes)))
        .collect();
    let batch = Committed {
        rows,
        written: &written,
        ages: &plan.ages,
        took,
    };
    observer.tell(Event::Batch {
        totals: plan.totals,
        batch,
    });
}

/// Reports an agent that is not in sync. A problem that is `known` is as it was noted before.
fn tell_problem(observer: &Observer, remedies: &Remedies, problem: &Problem, known: bool) {
    let (slug, detail) = (&*problem.slug, &*problem.detail);
    let sqlstate = problem.sqlstate.as_deref();
    let told = match problem.kind {
        ProblemKind::MissingConfiguration => event::Problem::MissingConfiguration,
        ProblemKind::Rejected => event::Problem::Rejected(detail),
        ProblemKind::Ambiguous => event::Problem::Ambiguous,
        ProblemKind::Failed => event::Problem::Failed {
            detail,
            sqlstate: sqlstate.unwrap_or_default(),
        },
    };
    observer.tell(Event::NotInSync {
        slug,
        known,
        problem: told,
        remedy: &remedies.of(problem.kind.name(), sqlstate, slug),
    });
}
