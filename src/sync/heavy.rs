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
//! - A slug in pages has the turn for `sync.statement_timeout` at most, and at its first try for
//!   [`LONGEST`] where another connection waits for it or has waited in vain. One that needs more
//!   is a slow write ([`super::slow`]): it is tried again with more time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
pub(super) struct HeavyWork {
    permits: Arc<Semaphore>,
    wanted: Wanted,
}

/// Whether a connection has asked for the turn since another one got it.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted(Arc<AtomicBool>);

impl Wanted {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, wanted: bool) {
        self.0.store(wanted, Ordering::Relaxed);
    }
}

/// The turn while a connection has it.
#[derive(Debug)]
pub(super) struct Turn {
    began: Instant,
    wanted: Wanted,
    _permit: OwnedSemaphorePermit,
}

impl Default for HeavyWork {
    fn default() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(1)),
            wanted: Wanted::default(),
        }
    }
}

impl HeavyWork {
    /// The turn, if it is free.
    pub(super) fn try_begin(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(self.turn(permit))
    }

    /// The turn, after a bounded wait for it.
    pub(super) async fn begin(&self) -> Option<Turn> {
        self.wanted.set(true);
        let permit = pulse::timeout(WAIT, Arc::clone(&self.permits).acquire_owned()).await;
        Some(self.turn(permit.ok()?.ok()?))
    }

    /// The turn, however long others have it.
    pub(super) async fn wait(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        Some(self.turn(permit))
    }

    fn turn(&self, permit: OwnedSemaphorePermit) -> Turn {
        self.wanted.set(false);
        Turn {
            began: Instant::now(),
            wanted: self.wanted.clone(),
            _permit: permit,
        }
    }
}

impl Turn {
    /// Whether others want it.
    pub(super) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Whether this connection has had the turn for [`LONGEST`].
    pub(super) fn is_over(&self) -> bool {
        self.began.elapsed() >= LONGEST
    }
}
