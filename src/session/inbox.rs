//! The buffer of received notifications, bounded. Any number of notifications without a payload
//! count as one (C6). Of the slugs that are requested by name (I7), the first thousand are kept,
//! as far as they have 256 KiB together; beyond these, every agent is checked, at most once in ten
//! minutes (`sync::connection::wake_up`). With tenants, any "/" may be the end of the tenant, so a
//! slug counts once more for each.
//!
//! A notification of one change has the ctid of its outbox row. The ctid is a hint, and is kept
//! only while nothing else arrives.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::pg::Tid;

/// The notifications since the last `take`.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    arrival: Notify,
    session_check_arrival: Notify,
}

#[derive(Debug, Default)]
struct State {
    news: News<Tid>,
    slugs: BTreeSet<String>,
    /// Their [weight] in all.
    bytes: usize,
    /// The token of the session check that is to arrive (`session::proof`).
    expected_session_check: Option<String>,
    /// Why the connection ended.
    closed: Option<String>,
    /// Whether it ended because the server cannot send a notification.
    is_unreadable: bool,
    /// Whether the guard ended it.
    is_refused: bool,
}

/// The kind of the notifications that have arrived since the last look. `T` is a ctid.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum News<T> {
    /// No notification.
    #[default]
    Nothing,
    /// One change, in the outbox row at this ctid.
    Change(T),
    /// Changes somewhere in the outbox, without a usable ctid.
    WakeUp,
    /// Requests for slugs, and perhaps changes.
    Slugs,
    /// Requests for more slugs than the inbox keeps, which ask for a full check, and perhaps
    /// changes.
    FullCheck,
}

impl<T> News<T> {
    /// The kind of both together. A ctid is kept only while nothing else has arrived.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        match (self, more) {
            (Self::Nothing, news) | (news, Self::Nothing) => news,
            (Self::FullCheck, _) | (_, Self::FullCheck) => Self::FullCheck,
            (Self::Slugs, _) | (_, Self::Slugs) => Self::Slugs,
            _ => Self::WakeUp,
        }
    }
}

impl Inbox {
    /// How many different slugs are kept.
    pub const CAPACITY: usize = 1000;
    /// How many bytes of them are kept.
    pub const BYTES: usize = 256 * 1024;

    /// Takes in a notification. Its payload is a slug, or empty.
    pub fn deliver(&self, payload: &str) {
        let mut state = self.lock();
        let bytes = state.bytes.saturating_add(weight(payload));
        let news = if payload.is_empty() || state.slugs.contains(payload) {
            News::WakeUp
        } else if state.slugs.len() < Self::CAPACITY && bytes <= Self::BYTES {
            state.bytes = bytes;
            state.slugs.insert(payload.to_owned());
            News::Slugs
        } else {
            News::FullCheck
        };
        state.news = state.news.and(news);
        drop(state);
        self.arrival.notify_one();
    }

    /// Takes in the ctid of a change. Any other payload is a wake-up.
    pub(super) fn deliver_change(&self, payload: &str) {
        let news = payload.parse().map_or(News::WakeUp, News::Change);
        let mut state = self.lock();
        state.news = state.news.and(news);
        drop(state);
        self.arrival.notify_one();
    }

    /// Closes the inbox with the cause of the end of the connection.
    pub fn close(&self, cause: String) {
        self.lock().closed = Some(cause);
        self.arrival.notify_one();
        self.session_check_arrival.notify_one();
    }

    /// Sets the token of the session check that is to arrive.
    pub(super) fn expect_session_check(&self, token: &str) {
        self.lock().expected_session_check = Some(token.to_owned());
    }

    /// Receives the notification of a session check: that of this daemon, or of another one.
    pub(super) fn deliver_session_check(&self, token: &str) {
        let mut state = self.lock();
        if state.expected_session_check.as_deref() == Some(token) {
            state.expected_session_check = None;
            drop(state);
            self.session_check_arrival.notify_one();
        }
    }

    /// Waits until the expected session check has arrived, or the connection is gone.
    pub(super) async fn session_check_arrived(&self) {
        loop {
            {
                let state = self.lock();
                if state.expected_session_check.is_none() || state.closed.is_some() {
                    return;
                }
            }
            self.session_check_arrival.notified().await;
        }
    }

    /// Waits until something has arrived, or nothing ever will. Safe to drop at any time: nothing
    /// is taken.
    pub async fn arrival(&self) {
        loop {
            {
                let state = self.lock();
                if state.news != News::Nothing || state.closed.is_some() {
                    return;
                }
            }
            self.arrival.notified().await;
        }
    }

    /// Whether a notification has arrived since the last look.
    pub fn has_news(&self) -> bool {
        self.lock().news != News::Nothing
    }

    /// Notes whether the connection ends because the server cannot send a notification.
    pub(super) fn note_unreadable(&self, is_unreadable: bool) {
        self.lock().is_unreadable = is_unreadable;
    }

    /// Whether the connection is gone because the server could not send a notification.
    pub fn is_unreadable(&self) -> bool {
        self.lock().is_unreadable
    }

    /// Notes whether the guard ends the connection.
    pub(super) fn note_refused(&self, is_refused: bool) {
        self.lock().is_refused = is_refused;
    }

    /// Whether the guard has ended the connection; its [`cause`](Self::cause) says why.
    pub(super) fn is_refused(&self) -> bool {
        let state = self.lock();
        state.is_refused && state.closed.is_some()
    }

    /// Whether the connection is gone.
    pub fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// Why the connection is gone.
    pub fn cause(&self) -> String {
        self.lock().closed.clone().unwrap_or_default()
    }

    /// Takes the kind of the notifications, and the requested slugs.
    pub fn take(&self) -> (News<Tid>, Vec<String>) {
        let mut state = self.lock();
        let slugs = std::mem::take(&mut state.slugs);
        state.bytes = 0;
        let requested = if slugs.is_empty() {
            News::Nothing
        } else {
            News::Slugs
        };
        let news = std::mem::take(&mut state.news).and(requested);
        (news, slugs.into_iter().collect())
    }

    /// Takes the kind of the notifications. The requested slugs stay, and are no news any more.
    pub fn take_news(&self) -> News<Tid> {
        std::mem::take(&mut self.lock().news)
    }

    /// Whether requested slugs are kept.
    pub fn has_slugs(&self) -> bool {
        !self.lock().slugs.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The lock is held for a few instructions that cannot panic; a poisoned state would be a
        // sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes of the texts that a requested slug stands for.
fn weight(slug: &str) -> usize {
    slug.len()
        .saturating_mul(1 + slug.bytes().filter(|byte| *byte == b'/').count())
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
        assert_eq!(inbox.take(), (News::WakeUp, Vec::new()));
        let nothing =
            tokio::time::timeout(std::time::Duration::from_millis(1), inbox.arrival()).await;
        assert!(nothing.is_err(), "the wake-ups were taken together");
    }

    #[test]
    fn a_change_is_named_only_while_it_is_all_that_has_arrived() {
        let inbox = Inbox::default();
        let tid = "(7,12)".parse().unwrap();
        inbox.deliver_change("(7,12)");
        assert_eq!(inbox.take(), (News::Change(tid), Vec::new()));
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
            assert_eq!(inbox.take(), (News::WakeUp, Vec::new()), "{others:?}");
        }
        inbox.deliver_change("no ctid");
        assert_eq!(inbox.take(), (News::WakeUp, Vec::new()));
        inbox.deliver_change("(7,12)");
        inbox.deliver("asked-for");
        inbox.deliver("");
        let slugs = vec!["asked-for".to_owned()];
        assert_eq!(inbox.take(), (News::Slugs, slugs));
        assert!(!inbox.has_news());
        assert_eq!(inbox.take(), (News::Nothing, Vec::new()));
    }

    #[tokio::test]
    async fn the_session_check_of_another_daemon_is_neither_ours_nor_a_wake_up() {
        let inbox = Inbox::default();
        inbox.expect_session_check("ours");
        inbox.deliver_session_check("theirs");
        let soon = std::time::Duration::from_millis(1);
        assert!(
            tokio::time::timeout(soon, inbox.session_check_arrived())
                .await
                .is_err()
        );
        inbox.deliver_session_check("ours");
        inbox.session_check_arrived().await;
        assert!(tokio::time::timeout(soon, inbox.arrival()).await.is_err());
    }

    #[test]
    fn a_flood_of_requests_becomes_a_request_for_a_full_check() {
        let inbox = Inbox::default();
        for number in 0..=Inbox::CAPACITY {
            inbox.deliver(&format!("agent-{number}"));
            inbox.deliver("agent-0");
        }
        inbox.deliver("");
        let (news, first) = inbox.take();
        assert_eq!((news, first.len()), (News::FullCheck, Inbox::CAPACITY));
        inbox.deliver("one");
        assert_eq!(inbox.take(), (News::Slugs, vec!["one".to_owned()]));
    }

    #[test]
    fn g12_the_bytes_of_requested_slugs_are_bounded() {
        let inbox = Inbox::default();
        for _ in 0..3 {
            let long = |number: usize| format!("{number:0>8000}");
            for number in 0..=Inbox::BYTES / 8000 {
                inbox.deliver(&long(number));
                inbox.deliver(&long(0));
            }
            let (news, kept) = inbox.take();
            let bytes: usize = kept.iter().map(String::len).sum();
            assert_eq!((news, kept.len()), (News::FullCheck, Inbox::BYTES / 8000));
            assert!(bytes <= Inbox::BYTES);
        }
    }

    #[test]
    fn s8_a_slug_weighs_as_many_times_as_it_can_be_divided() {
        let inbox = Inbox::default();
        inbox.deliver(&"/".repeat(511));
        inbox.deliver("a");
        let (news, kept) = inbox.take();
        assert_eq!((news, kept.len()), (News::Slugs, 2));
        inbox.deliver(&"/".repeat(512));
        inbox.deliver("a");
        assert_eq!(inbox.take(), (News::FullCheck, vec!["a".to_owned()]));
    }

    #[tokio::test]
    async fn s8_slugs_that_stay_are_kept_and_are_no_news() {
        let inbox = Inbox::default();
        inbox.deliver("one");
        assert_eq!(inbox.take_news(), News::Slugs);
        assert!(!inbox.has_news() && inbox.has_slugs());
        let soon = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(soon, inbox.arrival()).await.is_err());
        inbox.deliver_change("(7,12)");
        let slugs = vec!["one".to_owned()];
        assert_eq!(inbox.take(), (News::Slugs, slugs.clone()));
        inbox.deliver("one");
        assert_eq!(inbox.take_news(), News::Slugs);
        assert_eq!(inbox.take(), (News::Slugs, slugs));
        assert!(!inbox.has_slugs());
    }
}
