//! The turn of heavy work (G12): of all databases of the process, one at a time works with more
//! than [`MOST_WITHOUT_TURN`] bytes in a batch.
//!
//! The bound on the memory of one connection holds for each of them, and several agents of 14 MB in
//! each of eight databases would exceed the limit of the process together. The driver also keeps
//! the largest buffers that a connection has needed. So a connection that has had the turn ends
//! once nothing more can be taken, or after [`LONGEST`], and not before its first sweep. The turn
//! ends with it, and the next connection is light.
//!
//! Invariants:
//! - The drain never waits for the turn, and no transaction is open while a connection is in the
//!   queue for it ([`Place`]): its heavy slugs stay in the outbox, as locked ones do, and its other
//!   changes go on. The turn goes to the places in the order in which they were taken.
//! - A slug in pages has the turn for `sync.statement_timeout` at most, and at its first try for
//!   [`LONGEST`] where another connection is in the queue. One that needs more is a slow write
//!   ([`super::slow`]): it is tried again with more time. The end of that time is the server's;
//!   where code of others outlives it, the connection ends by the clock of this process
//!   ([`within`]).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::observe::pulse;
use crate::pg::QueryError;

/// The most bytes that a batch takes without the turn.
pub(super) const MOST_WITHOUT_TURN: usize = 1024 * 1024;

/// The longest time that a connection keeps the turn while it has more to do.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// How much longer than its limit a statement may take in the turn, by the clock of this process.
const MARGIN: Duration = Duration::from_secs(2);

/// The turn, shared by all databases of the process.
#[derive(Debug, Clone)]
pub(super) struct HeavyWork {
    permits: Arc<Semaphore>,
    wanted: Wanted,
}

/// How many connections are in the queue for the turn.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted(Arc<AtomicUsize>);

impl Wanted {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// The wait for the turn. It keeps its place whether or not it is polled.
type Wait = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

/// A place in the queue for the turn.
pub(super) struct Place {
    work: HeavyWork,
    wait: Wait,
}

impl Place {
    /// The turn, if it is that of this place. Otherwise the task is woken once it is.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        match self.wait.as_mut().poll(cx) {
            Poll::Ready(Ok(permit)) => Poll::Ready(self.work.turn(permit)),
            // Nobody closes the semaphore.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// The turn, if it is that of this place.
    pub(super) fn turn_now(&mut self) -> Option<Turn> {
        match self.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// The turn of this place. To drop the wait does not give the place up.
    pub(super) async fn turn(&mut self) -> Turn {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.work.wanted.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
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

    /// A place at the end of the queue.
    pub(super) fn queue(&self) -> Place {
        self.wanted.0.fetch_add(1, Ordering::Relaxed);
        Place {
            work: self.clone(),
            wait: Box::pin(Arc::clone(&self.permits).acquire_owned()),
        }
    }

    /// The turn, however long others have it.
    pub(super) async fn wait(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        Some(self.turn(permit))
    }

    fn turn(&self, permit: OwnedSemaphorePermit) -> Turn {
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

/// The answer to a statement that has this limit on the server, in the turn. Code of others may
/// outlive that limit; then the connection ends, and the turn with it.
pub(super) async fn within<T>(
    time: Duration,
    answer: impl Future<Output = Result<T, QueryError>>,
) -> Result<T, QueryError> {
    let most = time + MARGIN;
    pulse::timeout(most, answer)
        .await
        .unwrap_or(Err(QueryError::Silent(most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G5: the queue takes a place without a wait, and the turn goes to the places in their order.
    #[tokio::test]
    async fn g5_the_turn_goes_to_the_places_in_their_order() {
        let work = HeavyWork::default();
        let turn = work.queue().turn().await;
        assert!(!turn.wanted().is_set());
        let (mut first, mut second) = (work.queue(), work.queue());
        assert!(first.turn_now().is_none() && second.turn_now().is_none());
        assert!(turn.wanted().is_set());
        drop(turn);
        assert!(work.try_begin().is_none(), "nobody comes before the queue");
        assert!(second.turn_now().is_none());
        let turn = first.turn().await;
        drop(first);
        assert!(turn.wanted().is_set(), "by the second");
        drop(second);
        assert!(!turn.wanted().is_set());
        drop(turn);
        assert!(work.try_begin().is_some());
    }
}
