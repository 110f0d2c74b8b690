//! The facts that the protocol takes.

use crate::session::News;
use crate::store::IdleLockAction;

/// One fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<T> {
    /// The server has answered a claim.
    Claimed {
        /// The action on the idle lock that preceded the claim.
        action: IdleLockAction,
        /// Whether [`IdleLockAction::Try`] has taken the lock.
        got_lock: bool,
    },
    /// A claim failed, so the effect of the action on the idle lock is unknown.
    ClaimFailed {
        /// The action on the idle lock that preceded the claim.
        action: IdleLockAction,
    },
    /// The batch has taken rows out of the outbox.
    TookRows,
    /// The batch leaves slugs in the outbox (glossary: left).
    LeftRows,
    /// The batch is over.
    BatchEnded(Next),
    /// The fast path is over.
    FastPathEnded {
        /// Whether the change is done. If not, a batch processes it.
        done: bool,
    },
    /// More work is known: a notification has arrived before the sleep began, or the batch has put
    /// rows into the outbox. The idle lock is released.
    MoreWork,
    /// The pause or the sleep is over.
    Woken {
        /// The notifications that have arrived.
        news: News<T>,
        /// Whether the database permits the fast path.
        fast_path: bool,
    },
    /// The outbox may have rows that no notification announces.
    Unannounced,
    /// A lock of another session has interrupted a statement, whose progress is unknown.
    Interrupted,
}

/// The part of the outbox that follows a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same part: the batch is repeated, or was cut.
    Same,
    /// The part behind it.
    Further,
    /// A new scan from the front, whatever the last one has found.
    Front,
    /// None: the scan has reached the end.
    End,
}
