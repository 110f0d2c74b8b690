//! The queue of the connections that are set up on one server.
//!
//! A new connection asks two dozen catalog queries in a backend with empty caches, and its checks
//! open a second connection for a moment. If a thousand databases of one server connect at once,
//! each of them takes longer than its time limit, and the server runs out of connections. So at
//! most [`MOST`] are set up at a time, in the order in which they have come.
//!
//! Invariants:
//! - A server delays no other server (G5): each has a queue of its own.
//! - A connection that hangs delays the others of its server by [`LONGEST`] at most. Then it goes
//!   on without a place.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::observe::pulse;

/// The most connections that are set up at a time.
const MOST: usize = 16;

/// The longest time that a connection keeps its place.
const LONGEST: Duration = Duration::from_secs(2);

/// The queues of all servers, by the text of their addresses, shared by all databases of the
/// process.
#[derive(Debug, Default, Clone)]
pub(super) struct ConnectQueue(Arc<Mutex<HashMap<String, Weak<Semaphore>>>>);

impl ConnectQueue {
    /// Sets up a connection to these servers, once it has a place.
    pub(super) async fn run<T>(&self, servers: &str, set_up: impl Future<Output = T>) -> T {
        let places = self.places(servers);
        let mut place = pin!(places.acquire());
        let place = loop {
            // Nobody closes the semaphore.
            if let Ok(place) = pulse::timeout(LONGEST, place.as_mut()).await {
                break place;
            }
        };
        let mut set_up = pin!(set_up);
        // The connection announces its own time limits.
        if let Ok(connected) = tokio::time::timeout(LONGEST, set_up.as_mut()).await {
            return connected;
        }
        drop(place);
        set_up.await
    }

    /// The places of a server. Servers that no connection uses any more are forgotten.
    fn places(&self, servers: &str) -> Arc<Semaphore> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = queues.get(servers).and_then(Weak::upgrade) {
            return places;
        }
        queues.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(MOST));
        queues.insert(servers.to_owned(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::task::Poll;

    use tokio::task::JoinSet;

    use super::*;

    /// Gives every place of the server to a connection that hangs.
    async fn fill(queue: &ConnectQueue, server: &'static str) -> JoinSet<()> {
        let mut hanging = JoinSet::new();
        for _ in 0..MOST {
            let queue = queue.clone();
            hanging.spawn(async move { queue.run(server, pending()).await });
        }
        while queue.places(server).available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        hanging
    }

    /// A full server delays its own connections alone, and the next one has the first free place.
    #[tokio::test]
    async fn g5_a_full_server_delays_no_other() {
        let queue = ConnectQueue::default();
        let mut hanging = fill(&queue, "a").await;
        assert_eq!(queue.run("b", ready(1)).await, 1);
        let mut next = pin!(queue.run("a", ready(2)));
        let early = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
        assert_eq!(early, Poll::Pending, "every place is taken");
        hanging.abort_all();
        assert_eq!(next.await, 2);
    }

    /// Connections that hang give their places to the next one.
    #[tokio::test]
    async fn g5_a_connection_that_hangs_loses_its_place() {
        let queue = ConnectQueue::default();
        let mut hanging = fill(&queue, "a").await;
        assert_eq!(queue.run("a", ready(1)).await, 1);
        assert!(hanging.try_join_next().is_none(), "it goes on");
    }
}
