//! Reports a committed batch as events: each agent that is not in sync, each warning of the
//! mapping, and the totals.

use std::collections::HashSet;
use std::time::Duration;

use super::batch_plan::BatchPlan;
use crate::key::Keys;
use crate::mapping::Rules;
use crate::observe::{Columns, Committed, Event, Observer, event};
use crate::store::{LONGEST_SLUG, Layout, Problem, ProblemKind};

/// The text in the place of a slug that cannot be shown.
const NOT_TEXT: &str = "(not shown)";

/// Reports a batch of so many rows of the outbox; it is committed this long after they were read.
/// The problems of the keys `not_logged` get no log line.
pub(super) fn committed(
    observer: &Observer,
    (layout, rules): (&Layout, &Rules),
    plan: &BatchPlan<'_>,
    not_logged: &[String],
    rows: usize,
    took: Duration,
) {
    let (outcome, keys) = (&plan.outcome, layout.keys());
    let not_logged: HashSet<&str> = not_logged.iter().map(String::as_str).collect();
    for problem in &outcome.problems {
        let known = not_logged.contains(problem.key.as_str());
        report_problem(observer, layout, problem, known);
    }
    if !outcome.not_text.0.is_empty() {
        let reasons = format!(
            "slug: expected text in UTF-8 of at most {LONGEST_SLUG} bytes; agent_sync.problem has \
            the slug"
        );
        let key = Keys::Slugs.parts(NOT_TEXT);
        observer.tell(Event::NotInSync {
            key: &key,
            known: false,
            problem: event::NotInSync::Rejected(&reasons),
            remedy: &layout
                .remedies
                .of((ProblemKind::Rejected.name(), &reasons), None, &key),
        });
    }
    for (key, remark) in &plan.remarks {
        observer.tell(Event::Mapped {
            key: &keys.parts(key),
            warning: remark,
        });
    }
    for (setting, key) in &plan.unmapped {
        let agent = keys.parts(key);
        observer.report_unmapped(setting, &agent, || rules.unmapped_remark(setting));
    }
    let written = outcome.changed.iter().zip(&outcome.writes);
    let written: Vec<_> = written
        .map(|(key, (_, changes))| (keys.parts(key), Columns::of(changes)))
        .collect();
    let ages: Vec<f64> = plan.ages.iter().map(|(_, age)| *age).collect();
    let batch = Committed {
        rows,
        written: &written,
        ages: &ages,
        took,
    };
    observer.tell(Event::Batch {
        totals: plan.totals,
        batch,
    });
}

/// Reports an agent that is not in sync. A problem that is `known` gets no log line.
fn report_problem(observer: &Observer, layout: &Layout, problem: &Problem, known: bool) {
    let (key, detail) = (&layout.keys().parts(&problem.key), &*problem.detail);
    let sqlstate = problem.sqlstate.as_deref();
    let told = match problem.kind {
        ProblemKind::MissingConfiguration => event::NotInSync::MissingConfiguration {
            near: problem.near.as_deref(),
        },
        ProblemKind::Rejected => event::NotInSync::Rejected(detail),
        ProblemKind::Ambiguous => event::NotInSync::Ambiguous,
        ProblemKind::Failed => event::NotInSync::Failed {
            detail,
            sqlstate: sqlstate.unwrap_or_default(),
        },
    };
    observer.tell(Event::NotInSync {
        key,
        known,
        problem: told,
        remedy: &layout
            .remedies
            .of((problem.kind.name(), detail), sqlstate, key),
    });
}
