//! The writes that are left out of a planned batch, each with its reason. `sync::drain::trial` and
//! `sync::drain::failure` find them.

use std::collections::BTreeSet;

use tokio_postgres::Error;

use super::BatchPlan;
use crate::pg::sqlstate;
use crate::store::{Problem, ProblemKind};

/// Why a single write is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sync) enum Refusal {
    /// It waits for a lock of another session, or no time was left for its trial.
    Locked,
    /// It takes long.
    Slow,
    /// PostgreSQL refuses it.
    Failed {
        /// Why, without values.
        detail: String,
        /// The SQLSTATE.
        sqlstate: String,
        /// Whether the database may be to blame, and not the row.
        is_fault: bool,
    },
}

impl Refusal {
    /// Whether the database may be to blame, and not the row.
    pub(in crate::sync) fn is_fault(&self) -> bool {
        matches!(self, Self::Failed { is_fault: true, .. })
    }

    /// Of the error of a single write that was tried beside others.
    pub(in crate::sync) fn beside_others(error: &Error) -> Self {
        match sqlstate::policy(error).class {
            sqlstate::Class::Slow => Self::Slow,
            _ => Self::of(error),
        }
    }

    /// Of the error of a single write.
    pub(in crate::sync) fn of(error: &Error) -> Self {
        let class = sqlstate::policy(error).class;
        if class == sqlstate::Class::Locked {
            return Self::Locked;
        }
        let is_fault = class == sqlstate::Class::Fault;
        let sqlstate = error.code().map_or("", |state| state.code()).to_owned();
        Self::Failed {
            detail: sqlstate::describe_write(error),
            sqlstate,
            is_fault,
        }
    }
}

impl<'a> BatchPlan<'a> {
    /// Leaves out the writes at these indexes. The slug of a write that waits for a lock or takes
    /// long stays in the outbox, without a problem. Any other write that PostgreSQL refuses becomes
    /// a problem. The other writes of these slugs are made.
    pub(in crate::sync) fn without(&mut self, refused: &[(usize, Refusal)]) {
        let of_keys: Vec<(&'a str, &Refusal)> = refused
            .iter()
            .filter_map(|(index, refusal)| Some((*self.outcome.changed.get(*index)?, refusal)))
            .collect();
        let mut left = BTreeSet::new();
        for (key, refusal) in &of_keys {
            if matches!(refusal, Refusal::Locked | Refusal::Slow) && left.insert(*key) {
                self.put_back(key);
            }
        }
        for (key, refusal) in &of_keys {
            // A failed write is retried by itself, so its problem replaces one of another
            // configuration of the slug.
            if let Refusal::Failed {
                detail, sqlstate, ..
            } = refusal
                && !left.contains(key)
            {
                self.forget_problem(key);
                let problem = Problem::failed(key, detail, sqlstate);
                self.outcome.problems.push(problem);
            }
        }
        let mut is_made = vec![true; self.outcome.writes.len()];
        for (index, _) in refused {
            if let Some(is_made) = is_made.get_mut(*index) {
                *is_made = false;
            }
        }
        let mut keep = is_made.iter();
        self.outcome.writes.retain(|_| keep.next() != Some(&false));
        let mut keep = is_made.iter();
        self.outcome.changed.retain(|_| keep.next() != Some(&false));
        self.totals.written = self.outcome.writes.len() as u64;
        let problems = self.outcome.problems.iter();
        let failed = problems.filter(|problem| problem.kind == ProblemKind::Failed);
        self.totals.failed = failed.count() as u64;
    }

    /// Leaves a slug in the outbox that was to be taken.
    fn put_back(&mut self, key: &'a str) {
        self.forget_problem(key);
        self.outcome.taken.leave(key);
        self.ages.retain(|(taken, _)| *taken != key);
        self.slugs = self.slugs.saturating_sub(1);
        self.leave(key);
    }

    /// Forgets the problem of a slug, or the end of one.
    fn forget_problem(&mut self, key: &str) {
        self.outcome.cleared.retain(|cleared| cleared != key);
        let rejected = &mut self.totals.rejected;
        self.outcome.problems.retain(|problem| {
            let is_other = problem.key != key;
            *rejected -= u64::from(!is_other && problem.kind == ProblemKind::Rejected);
            is_other
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Changes;
    use crate::pg::{RowRef, Tid, Version};

    /// A plan of two writes for each of three slugs. The second slug also has a configuration that
    /// the mapping rejects.
    fn planned() -> BatchPlan<'static> {
        let mut plan = BatchPlan::default();
        let place = RowRef {
            relation: 1,
            row: Tid::START,
        };
        for key in ["a", "b", "c"] {
            let (places, versions) = (vec![Tid::START], vec![Version::default()]);
            plan.outcome.taken.add(key, places, versions);
            plan.slugs += 1;
            plan.ages.push((key, 1.0));
            for _ in 0..2 {
                plan.outcome.writes.push((place, Changes::default()));
                plan.outcome.changed.push(key);
                plan.totals.written += 1;
            }
        }
        plan.note("b", ProblemKind::Rejected, "a mistake");
        plan
    }

    fn failed() -> Refusal {
        Refusal::Failed {
            detail: "refused".to_owned(),
            sqlstate: "23514".to_owned(),
            is_fault: false,
        }
    }

    /// G5: whatever the order of its refused writes, a slug that is left has no problem, counts
    /// once, and counts neither as taken nor as rejected.
    #[test]
    fn g5_a_slug_of_which_one_write_is_left_out_for_a_lock_is_left_as_a_whole() {
        let mut refused = vec![
            (0, Refusal::Locked),
            (1, failed()),
            (2, Refusal::Slow),
            (3, Refusal::Locked),
            (4, failed()),
        ];
        for _ in 0..2 {
            let mut plan = planned();
            plan.without(&refused);
            assert_eq!((plan.outcome.taken.rows(), plan.slugs), (1, 1));
            assert_eq!(plan.ages, [("c", 1.0)]);
            assert_eq!(plan.outcome.changed, ["c"]);
            let problems = plan.outcome.problems.iter();
            let problems: Vec<_> = problems.map(|problem| problem.key.as_str()).collect();
            assert_eq!(problems, ["c"]);
            let totals = plan.totals;
            assert_eq!((totals.left, totals.rejected), (2, 0));
            assert_eq!((totals.failed, totals.written), (1, 1));
            refused.reverse();
        }
    }

    /// G5: a refused write is a problem of its slug, which is taken with its other writes.
    #[test]
    fn g5_a_slug_of_which_one_write_is_refused_is_taken_with_a_problem() {
        let mut plan = planned();
        plan.without(&[(2, failed())]);
        assert_eq!((plan.outcome.taken.rows(), plan.slugs), (3, 3));
        assert_eq!((plan.ages.len(), plan.outcome.problems.len()), (3, 1));
        let totals = plan.totals;
        assert_eq!((totals.left, totals.rejected), (0, 0));
        assert_eq!((totals.failed, totals.written), (1, 5));
    }
}
