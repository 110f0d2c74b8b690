//! The turn of heavy work (G12): of all databases of the process, one at a time works with more
//! than [`MOST_WITHOUT_TURN`] bytes in a batch.
//!
//! The bound on the memory of one connection holds for each of them, and several agents of 14 MB in
//! each of eight databases would exceed the limit of the process together. The driver also keeps
//! the largest buffers that a connection has needed. So a connection that has had the turn ends
//! once its outbox is empty, or after [`LONGEST`]; the turn ends with it, and the next connection
//! is light.
//!
//! Invariants:
//! - No transaction is open while a connection waits for the turn. A slug that does not get it in
//!   time stays in the outbox, as one that is locked does.
//! - A slug in pages has [`LONGEST`] for all of them. One that needs more is a slow write
//!   ([`super::slow`]): a try has the turn for `sync.statement_timeout` at most, and the next one
//!   comes after four times as long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::observe::pulse;

/// The most bytes that a batch takes without the turn.
pub(super) const MOST_WITHOUT_TURN: usize = 1024 * 1024;

/// The longest time that a connection keeps the turn while it has more to do.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// The longest wait for the turn: the other changes of the database wait as well.
pub(super) const WAIT: Duration = Duration::from_secs(1);

/// The turn, shared by all databases of the process.
#[derive(Debug, Clone)]
pub(super) struct HeavyWork(Arc<Semaphore>);

/// The turn while a connection has it.
#[derive(Debug)]
pub(super) struct Turn {
    began: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Default for HeavyWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl HeavyWork {
    /// The turn, if it is free.
    pub(super) fn try_begin(&self) -> Option<Turn> {
        Arc::clone(&self.0).try_acquire_owned().ok().map(Turn::new)
    }

    /// The turn, after a bounded wait for it.
    pub(super) async fn begin(&self) -> Option<Turn> {
        let turn = pulse::timeout(WAIT, Arc::clone(&self.0).acquire_owned()).await;
        Some(Turn::new(turn.ok()?.ok()?))
    }

    /// The turn, however long others have it.
    pub(super) async fn wait(&self) -> Option<Turn> {
        Arc::clone(&self.0)
            .acquire_owned()
            .await
            .ok()
            .map(Turn::new)
    }
}

impl Turn {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Self {
            began: Instant::now(),
            _permit: permit,
        }
    }

    /// Whether this connection has had the turn for [`LONGEST`].
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= LONGEST
    }
}
