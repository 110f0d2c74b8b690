//! Where notifications arrive, bounded: a wake-up carries no data, so any number of them is one (C6), and of the
//! slugs that were asked for by name (I7) a limited number is kept; past that, every agent is looked at instead.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What has arrived since one looked last.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrival: Notify,
    proof: Notify,
}

#[derive(Debug, Default)]
struct State {
    woken: bool,
    asked: BTreeSet<String>,
    overflowed: bool,
    /// The token of the probe that is to arrive (`session::proof`).
    expected: Option<String>,
    /// Why the connection ended.
    closed: Option<String>,
}

/// The slugs that were asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// These.
    Slugs(Vec<String>),
    /// More than are kept: all of them.
    Everything,
}

impl Inbox {
    /// How many different slugs are kept; a payload has fewer than 8,000 bytes, so this bounds the memory.
    pub const CAPACITY: usize = 1000;

    /// Takes a notification in.
    pub fn deliver(&self, payload: &str) {
        let mut state = self.lock();
        state.woken = true;
        if !payload.is_empty() && !state.overflowed {
            state.asked.insert(payload.to_owned());
            if state.asked.len() > Self::CAPACITY {
                state.overflowed = true;
                state.asked.clear();
            }
        }
        drop(state);
        self.arrival.notify_one();
    }

    /// Says that nothing will arrive any more: the connection is gone, and why.
    pub fn close(&self, cause: String) {
        self.lock().closed = Some(cause);
        self.arrival.notify_one();
        self.proof.notify_one();
    }

    /// Says which probe is to arrive.
    pub(super) fn expect(&self, token: &str) {
        self.lock().expected = Some(token.to_owned());
    }

    /// Takes in a probe: ours, or that of another daemon.
    pub(super) fn deliver_probe(&self, token: &str) {
        let mut state = self.lock();
        if state.expected.as_deref() == Some(token) {
            state.expected = None;
            drop(state);
            self.proof.notify_one();
        }
    }

    /// Waits until the expected probe has arrived, or nothing ever will.
    pub(super) async fn heard(&self) {
        loop {
            {
                let state = self.lock();
                if state.expected.is_none() || state.closed.is_some() {
                    return;
                }
            }
            self.proof.notified().await;
        }
    }

    /// Waits until something has arrived, or nothing ever will. Safe to drop at any time: nothing is taken.
    pub async fn arrival(&self) {
        loop {
            {
                let state = self.lock();
                if state.woken || state.closed.is_some() {
                    return;
                }
            }
            self.arrival.notified().await;
        }
    }

    /// Whether anything has arrived since one looked last.
    pub fn has_news(&self) -> bool {
        self.lock().woken
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// Why the connection is gone.
    pub fn cause(&self) -> String {
        self.lock().closed.clone().unwrap_or_default()
    }

    /// Takes what has arrived.
    pub fn take(&self) -> Asked {
        let mut state = self.lock();
        state.woken = false;
        if std::mem::take(&mut state.overflowed) {
            return Asked::Everything;
        }
        Asked::Slugs(std::mem::take(&mut state.asked).into_iter().collect())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is held for a few instructions that cannot panic; a poisoned state would be a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn any_number_of_wake_ups_is_one() {
        let inbox = Inbox::default();
        for _ in 0..10_000 {
            inbox.deliver("");
        }
        inbox.arrival().await;
        assert_eq!(inbox.take(), Asked::Slugs(Vec::new()));
        let nothing = tokio::time::timeout(std::time::Duration::from_millis(1), inbox.arrival()).await;
        assert!(nothing.is_err(), "the wake-ups were taken together");
    }

    #[tokio::test]
    async fn the_probe_of_another_daemon_is_neither_ours_nor_a_wake_up() {
        let inbox = Inbox::default();
        inbox.expect("ours");
        inbox.deliver_probe("theirs");
        let soon = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, inbox.heard()).await.is_err());
        inbox.deliver_probe("ours");
        inbox.heard().await;
        assert!(tokio::time::timeout(soon, inbox.arrival()).await.is_err());
    }

    #[test]
    fn a_flood_of_requests_becomes_a_request_for_everything() {
        let inbox = Inbox::default();
        for number in 0..=Inbox::CAPACITY {
            inbox.deliver(&format!("agent-{number}"));
            inbox.deliver("agent-0");
        }
        assert_eq!(inbox.take(), Asked::Everything);
        inbox.deliver("one");
        assert_eq!(inbox.take(), Asked::Slugs(vec!["one".to_owned()]));
    }
}
