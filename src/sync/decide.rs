//! From what a batch took out of the outbox to what it comes to: the one place where the mapping meets the store.
//!
//! Pure but for the events it returns to be told: the same claims always come to the same outcome.

use std::collections::BTreeMap;

use tokio_postgres::Error;

use crate::mapping::{Rejection, Rules, Targets, plan};
use crate::observe::Totals;
use crate::store::{Claimed, Outcome, Problem, ProblemKind};

/// What a batch comes to, and what there is to tell about it once it is committed.
#[derive(Debug, Default)]
pub(super) struct Decision<'a> {
    /// What the store is to do.
    pub(super) outcome: Outcome<'a>,
    /// The numbers.
    pub(super) totals: Totals,
    /// What the mapping remarked: slug and remark.
    pub(super) remarks: Vec<(&'a str, String)>,
    /// For each slug that was taken, how long its oldest change had been waiting, in seconds.
    pub(super) ages: Vec<f64>,
    /// Whether a slug other than the busy ones was taken.
    pub(super) took_any: bool,
    /// The first slug that was taken: when a batch of one row fails, the culprit.
    pub(super) first: Option<&'a str>,
}

/// One slug, over all its configurations.
#[derive(Debug, Default)]
struct Verdict {
    has_problem: bool,
    missing: bool,
    rejection: Option<Rejection>,
    age: Option<f64>,
}

/// Decides on every claim.
pub(super) fn decide<'a>(
    rules: &Rules,
    targets: &Targets,
    claimed: &'a Claimed,
) -> Result<Decision<'a>, Error> {
    let mut decision = Decision::default();
    let mut verdicts: BTreeMap<&str, Verdict> = BTreeMap::new();
    for claim in claimed.claims() {
        let claim = claim?;
        if claim.busy {
            decision.totals.busy += 1;
            continue;
        }
        decision.took_any = true;
        decision.first = decision.first.or(Some(claim.slug));
        let verdict = verdicts.entry(claim.slug).or_default();
        verdict.has_problem = claim.has_problem;
        verdict.age = claim.age;
        let Some(agent) = claim.agent else {
            decision.totals.gone += 1;
            continue;
        };
        let Some((place, configuration)) = claim.configuration else {
            verdict.missing = true;
            continue;
        };
        match plan(rules, targets, &agent, &configuration) {
            Ok(plan) => {
                for warning in plan.warnings {
                    let remark = (claim.slug, warning.to_string());
                    if !decision.remarks.contains(&remark) {
                        decision.remarks.push(remark);
                    }
                }
                if plan.changes.is_empty() {
                    decision.totals.unchanged += 1;
                } else {
                    decision.totals.written += 1;
                    decision.outcome.changed.push(claim.slug);
                    decision.outcome.writes.push((place, plan.changes));
                }
            }
            Err(rejection) => verdict.rejection = Some(rejection),
        }
    }
    for (slug, verdict) in verdicts {
        decision.ages.extend(verdict.age);
        let problem = |kind, detail: String| Problem { slug: slug.to_owned(), kind, detail, sqlstate: None };
        if let Some(rejection) = verdict.rejection {
            decision.totals.rejected += 1;
            decision.outcome.problems.push(problem(ProblemKind::Rejected, rejection.to_string()));
        } else if verdict.missing {
            decision.totals.missing += 1;
            let detail = "no configuration has this slug".to_owned();
            decision.outcome.problems.push(problem(ProblemKind::MissingConfiguration, detail));
        } else if verdict.has_problem {
            decision.outcome.cleared.push(slug.to_owned());
        }
    }
    Ok(decision)
}
