//! What a batch claims, and how long it waits for locks.

use std::time::Duration;

use super::IdleLockAction;
use super::batch::Claimed;
use crate::pg::{QueryError, Tid};

/// The longest wait for a lock in a batch that is bisected or has trial writes.
pub(super) const BRIEF: Duration = Duration::from_millis(20);

/// The part of the outbox for a batch, and its limits.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The action on the idle lock before the claim.
    pub idle_lock: IdleLockAction,
    /// The rows.
    pub part: Part<'a>,
    /// The most rows to read from a position on.
    pub limit: u32,
    /// The largest sum of the weights of the rows that come with their contents, in bytes.
    pub budget: usize,
    /// How long a lock of another session is waited for.
    pub wait: LockWait,
}

/// How long a batch waits for locks of other sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockWait {
    /// As the session is set; locked configurations are skipped.
    Usual,
    /// For `BRIEF` at most, because a failed batch is being bisected or its writes are tried one by
    /// one.
    Brief,
    /// In the queue for the configurations of the one slug, for at most this time.
    InQueue(Duration),
}

impl Claim<'_> {
    /// The most keys that it can have.
    pub(super) fn most_keys(&self) -> usize {
        match self.part {
            Part::From { .. } => self.limit as usize,
            Part::Suspect | Part::Slug(_) => 1,
        }
    }

    /// Whether it is a batch of one slug.
    pub fn is_one(&self) -> bool {
        !matches!(self.part, Part::From { .. })
    }
}

impl Claimed {
    /// The same, unless it has more keys than were asked for. The work on a batch grows faster than
    /// the number of its keys, and all databases of the process share the event loop (G5).
    pub(super) fn with_at_most(self, most: usize) -> Result<Self, QueryError> {
        if self.groups().nth(most).is_some() {
            return Err(QueryError::Surplus(most));
        }
        Ok(self)
    }
}

/// Rows of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The rows from this position on.
    From {
        /// The position.
        place: Tid,
        /// The keys whose rows are passed over.
        without: &'a [String],
    },
    /// All rows of the suspect of the connection, the slug that is noted.
    Suspect,
    /// All rows of this slug.
    Slug(&'a str),
}
