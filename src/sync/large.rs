//! A slug that is too heavy for a batch: its configurations are read and written page by page,
//! within the one transaction that has claimed and locked all of them (G12). The agent crosses the
//! wire once a page.
//!
//! Invariant: the rows of the outbox are taken with the commit, so the slug is done as a whole or
//! not at all.
//!
//! One time limit holds for all pages, reads included, because code of others may run with both (a
//! trigger, a policy). A statement without time left ends with 57014, as a slow write does (G5).

use super::batch_plan::{BatchPlan, plan_key};
use super::context::Tools;
use super::heavy::within;
use super::slow::Allowed;
use crate::pg::{QueryError, RowRef};
use crate::store::{HEAVIEST, ProblemKind, too_heavy};
use crate::survey::TimeSlice;

/// Brings the one slug of a batch in sync, but for what the commit of the batch does.
pub(super) async fn run<'a>(
    tools: Tools<'_>,
    key: &'a str,
    (budget, allowed): (usize, &Allowed),
    plan: &mut BatchPlan<'a>,
) -> Result<(), QueryError> {
    let Tools { store, rules, .. } = tools;
    // All of its rows in the outbox, for they are about the same work; and all of its
    // configurations, in the same snapshot.
    let whole = store.claim_slug(key).await?;
    let Some(group) = whole.groups().next() else {
        return Ok(());
    };
    if group.is_busy()? {
        plan.leave_locked(key);
        return Ok(());
    }
    plan.heavy = 0;
    plan.take(group, key)?;
    let configurations = group.places_of_configurations()?;
    let heaviest = configurations
        .iter()
        .map(|(_, weight)| *weight)
        .fold(0.0, f64::max);
    if heaviest > f64::from(HEAVIEST) {
        // What the agent is by itself ends with a save, which the trigger captures.
        let retries = group.weight_of_agent()? <= f64::from(HEAVIEST);
        plan.note_with(key, ProblemKind::Rejected, too_heavy(heaviest), retries);
        return Ok(());
    }
    for page in pages(&configurations, budget) {
        let time = allowed.left();
        let read = within(time, async {
            store.limit_time(time).await?;
            store.read_page(key, &page).await
        });
        let read = read.await?;
        let (mut of_page, mut slice) = (BatchPlan::default(), TimeSlice::begin());
        for group in read.groups() {
            if plan.note_no_single(group, key)? {
                return Ok(());
            }
            let targets = &store.layout().targets;
            plan_key(rules, targets, group, key, &mut of_page, &mut slice).await?;
        }
        let time = allowed.left();
        within(time, store.write_page(&of_page.outcome, time)).await?;
        plan.absorb(key, of_page);
    }
    if plan.outcome.problems.is_empty() && group.has_problem()? {
        plan.outcome.cleared.push(key.to_owned());
    }
    Ok(())
}

/// Divides configurations into pages that weigh no more than the budget, if they have more than
/// one.
fn pages(configurations: &[(RowRef, f64)], budget: usize) -> Vec<Vec<RowRef>> {
    let budget = u32::try_from(budget).map_or(f64::MAX, f64::from);
    let mut pages: Vec<Vec<RowRef>> = Vec::new();
    let mut sum = f64::INFINITY;
    for (place, weight) in configurations {
        sum += weight;
        match pages.last_mut() {
            Some(page) if sum <= budget => page.push(*place),
            _ => {
                pages.push(vec![*place]);
                sum = *weight;
            }
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::Tid;

    #[test]
    fn a_page_is_as_heavy_as_the_budget_allows_and_has_one_configuration_at_least() {
        let place = RowRef {
            relation: 1,
            row: Tid::START,
        };
        let sizes = |weights: &[f64]| -> Vec<usize> {
            let configurations: Vec<_> = weights.iter().map(|weight| (place, *weight)).collect();
            pages(&configurations, 10).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(
            sizes(&[4.0, 6.0, 1.0, 99.0, 99.0, 3.0, 3.0, 3.0, 3.0]),
            [2, 1, 1, 1, 3, 1]
        );
    }
}
