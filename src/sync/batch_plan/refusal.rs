//! The writes that are left out of a planned batch, each with its reason. `sync::drain::trial` and
//! `sync::drain::failure` find them.

use tokio_postgres::Error;

use super::BatchPlan;
use crate::pg::sqlstate;
use crate::store::{Outcome, Problem, ProblemKind};

/// Why a single write is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sync) enum Refusal {
    /// Another session holds a lock.
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
    /// Leaves out the writes at these indexes. A write that PostgreSQL refuses becomes a problem.
    /// The slug of a write that waits for a lock or takes long stays in the outbox. The other
    /// writes of these slugs are made.
    pub(in crate::sync) fn without(&mut self, refused: &[(usize, Refusal)]) {
        let key_of = |outcome: &Outcome<'a>, index: usize| outcome.changed.get(index).copied();
        for (index, refusal) in refused {
            let Some(key) = key_of(&self.outcome, *index) else {
                continue;
            };
            self.outcome.cleared.retain(|cleared| cleared != key);
            match refusal {
                Refusal::Locked | Refusal::Slow => {
                    self.outcome.taken.leave(key);
                    self.outcome.problems.retain(|problem| problem.key != key);
                    self.leave(key);
                }
                // A failed write is retried by itself, so this problem replaces a problem of
                // another configuration of the slug.
                Refusal::Failed {
                    detail, sqlstate, ..
                } => {
                    self.outcome.problems.retain(|problem| problem.key != key);
                    let problem = Problem::failed(key, detail, sqlstate);
                    self.outcome.problems.push(problem);
                }
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
}
