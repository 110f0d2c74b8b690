//! Where notifications arrive, bounded: a wake-up carries no data, so any number of them is one
//! (C6), and of the slugs that were asked for by name (I7) the first thousand are kept; past that,
//! every agent is looked at as well.
//!
//! A writer's only change names its place in the outbox, which saves looking for it. It is a hint,
//! and kept only as long as nothing else arrives: then there is more to look for.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::store::RowId;

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
    /// The place of the change that was told of, while that is all that has arrived.
    change: Option<RowId>,
    asked: BTreeSet<String>,
    /// Whether more was asked for than is kept.
    overflowed: bool,
    /// The token of the probe that is to arrive (`session::proof`).
    expected: Option<String>,
    /// Why the connection ended.
    closed: Option<String>,
}

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// These slugs; none if it was a wake-up and no more.
    Slugs(Vec<String>),
    /// More slugs than are kept, of which these came first.
    Everything(Vec<String>),
    /// A look at the one change that has come, at this place of the outbox.
    Change(RowId),
}

impl Inbox {
    /// How many different slugs are kept; a payload has fewer than 8,000 bytes, so this bounds the
    /// memory.
    pub const CAPACITY: usize = 1000;

    /// Takes a notification in.
    pub fn deliver(&self, payload: &str) {
        let mut state = self.lock();
        state.woken = true;
        state.change = None;
        if !payload.is_empty() && !state.asked.contains(payload) {
            if state.asked.len() < Self::CAPACITY {
                state.asked.insert(payload.to_owned());
            } else {
                state.overflowed = true;
            }
        }
        drop(state);
        self.arrival.notify_one();
    }

    /// Takes in the place of a change; what is no place is a wake-up.
    pub(super) fn deliver_change(&self, payload: &str) {
        let mut state = self.lock();
        state.change = if state.woken {
            None
        } else {
            payload.parse().ok()
        };
        state.woken = true;
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

    /// Waits until something has arrived, or nothing ever will. Safe to drop at any time: nothing
    /// is taken.
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
        if let Some(place) = state.change.take() {
            return Asked::Change(place);
        }
        let asked = std::mem::take(&mut state.asked).into_iter().collect();
        if std::mem::take(&mut state.overflowed) {
            Asked::Everything(asked)
        } else {
            Asked::Slugs(asked)
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is held for a few instructions that cannot panic; a poisoned state would be a
        // sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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
        let nothing =
            tokio::time::timeout(std::time::Duration::from_millis(1), inbox.arrival()).await;
        assert!(nothing.is_err(), "the wake-ups were taken together");
    }

    #[test]
    fn a_change_is_named_only_while_it_is_all_that_has_arrived() {
        let inbox = Inbox::default();
        let (wake_up, place) = (Asked::Slugs(Vec::new()), "(7,12)".parse().unwrap());
        inbox.deliver_change("(7,12)");
        assert_eq!(inbox.take(), Asked::Change(place));
        for others in [
            ["(7,12)", "(7,13)"],
            ["", "(7,12)"],
            ["(7,12)", ""],
            ["7,12", ""],
        ] {
            for payload in others {
                if payload.is_empty() {
                    inbox.deliver("");
                } else {
                    inbox.deliver_change(payload);
                }
            }
            assert_eq!(inbox.take(), wake_up, "{others:?}");
        }
        inbox.deliver_change("no place");
        assert_eq!(inbox.take(), wake_up);
        inbox.deliver_change("(7,12)");
        inbox.deliver("asked-for");
        assert_eq!(inbox.take(), Asked::Slugs(vec!["asked-for".to_owned()]));
        assert!(!inbox.has_news());
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
        let Asked::Everything(first) = inbox.take() else {
            panic!("more was asked for than is kept")
        };
        assert_eq!(first.len(), Inbox::CAPACITY);
        inbox.deliver("one");
        assert_eq!(inbox.take(), Asked::Slugs(vec!["one".to_owned()]));
    }
}
