//! The limits on answers whose size depends on the databases: `/status` and `/metrics`.
//!
//! Such an answer can be megabytes, and a client may ask for many and read none. So one answer is
//! made at a time, making takes at most half of the time of the thread, and all answers together
//! that clients have not read yet have a bounded size. `/livez` and `/readyz` are not limited, so
//! they are answered beside any number of such clients.

use std::future::Future;
use std::sync::Arc;

use hyper::body::Bytes;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

/// The size of all answers that clients have not read yet, in KiB.
const UNREAD: usize = 32 * 1024;

/// The limits of one server. All its listeners share them.
#[derive(Debug)]
pub(super) struct Limits {
    turn: Mutex<()>,
    unread: Arc<Semaphore>,
}

/// Room for an answer among those that clients have not read yet.
#[derive(Debug)]
pub(super) struct Room(OwnedSemaphorePermit);

/// The text of an answer. It counts as unread until the server drops it.
struct Unread {
    text: String,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(UNREAD)
    }
}

impl Limits {
    fn of(unread: usize) -> Self {
        Self {
            turn: Mutex::default(),
            unread: Arc::new(Semaphore::new(unread)),
        }
    }

    /// Makes an answer after the earlier ones, and then pauses for the time that it took.
    pub(super) async fn in_turn<T>(&self, make: impl Future<Output = T>) -> T {
        let _turn = self.turn.lock().await;
        let begin = Instant::now();
        let answer = make.await;
        sleep(begin.elapsed()).await;
        answer
    }

    /// Room for an answer of at most so many bytes, or `None` if too many are unread.
    pub(super) fn room(&self, bytes: usize) -> Option<Room> {
        let size = kib(bytes)?;
        let permit = Arc::clone(&self.unread).try_acquire_many_owned(size).ok()?;
        Some(Room(permit))
    }

    /// The body of an answer, or `None` if too many bytes are unread.
    pub(super) fn body(&self, text: String) -> Option<Bytes> {
        self.room(text.len())?.body(text)
    }
}

impl Room {
    /// The body of an answer, which keeps no more room than it needs; `None` if it needs more.
    pub(super) fn body(mut self, text: String) -> Option<Bytes> {
        let permit = self.0.split(kib(text.len())?.try_into().ok()?)?;
        Some(Bytes::from_owner(Unread {
            text,
            _permit: permit,
        }))
    }
}

fn kib(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(1024)).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_unread_answers_is_bounded_and_what_was_read_makes_room() {
        let limits = Limits::of(10);
        let text = || "x".repeat(4 * 1024);
        let first = limits.body(text());
        let second = limits.body(text());
        assert!(first.is_some() && second.is_some());
        assert!(limits.body(text()).is_none());
        // A copy of the bytes keeps them unread.
        let part = second.as_ref().map(|bytes| bytes.slice(..10));
        drop(second);
        assert!(limits.body(text()).is_none());
        drop(part);
        assert!(limits.body(text()).is_some());
        assert!(limits.body("x".repeat(11 * 1024)).is_none());
    }

    #[test]
    fn room_is_taken_before_an_answer_and_given_back_with_what_it_needs_less() {
        let limits = Limits::of(10);
        let room = limits.room(8 * 1024).unwrap();
        assert!(limits.room(3 * 1024).is_none());
        let body = room.body("x".repeat(1024)).unwrap();
        assert!(limits.room(9 * 1024).is_some() && limits.room(10 * 1024).is_none());
        drop(body);
        let room = limits.room(1024).unwrap();
        assert!(room.body("x".repeat(1025)).is_none());
        assert!(limits.room(10 * 1024).is_some());
    }

    #[tokio::test]
    async fn one_answer_is_made_at_a_time() {
        let limits = Limits::default();
        let steps = std::sync::Mutex::new(Vec::new());
        let note = |step| steps.lock().unwrap().push(step);
        let make = || {
            limits.in_turn(async {
                note("begin");
                tokio::task::yield_now().await;
                note("end");
            })
        };
        tokio::join!(make(), make());
        assert_eq!(*steps.lock().unwrap(), ["begin", "end", "begin", "end"]);
    }
}
