//! The end of a session: what it has set in its backend is taken back before the connection closes.
//!
//! A pooler in session mode gives the backend of a session to its next client. With an empty
//! `server_reset_query`, settings, LISTEN, prepared statements and advisory locks go with it. So
//! every session restores its backend when it is dropped, whoever owned it: there is no other end.
//!
//! Invariants:
//! - The statement comes after all that the session has sent, finished or not. If a transaction is
//!   open then, the statement fails, and the pooler closes the backend instead.
//! - The end is bounded by [`LIMIT`], and an error of it changes nothing: the connection closes.
//! - The end runs as a task of its own, so it delays no database. [`all_ended`] waits for the ends
//!   of all sessions, and each event loop with sessions waits for that before it ends.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::proof;
use crate::pg::Db;

/// The statement that makes a session as if it had just begun. It drops settings, LISTEN, prepared
/// statements, temporary tables and advisory locks, and cannot run with others.
pub(super) const AFRESH: &str = "DISCARD ALL";

/// The longest time for the end of a session.
const LIMIT: Duration = Duration::from_secs(1);

/// How many sessions have not ended.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Told when the last one has.
static LAST: Notify = Notify::const_new();

/// A session that has not ended.
#[derive(Debug)]
pub(super) struct Open(());

impl Open {
    /// Counts one.
    pub(super) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::AcqRel);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if OPEN.fetch_sub(1, Ordering::AcqRel) == 1 {
            LAST.notify_waiters();
        }
    }
}

/// The changes of a session to its backend so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BackendState {
    /// Nothing.
    Untouched,
    /// LISTEN for the session check, during which the backend may be that of others.
    Listens,
    /// Settings, locks, LISTEN and prepared statements.
    SetUp,
}

impl BackendState {
    /// The statement that takes it back.
    fn taken_back(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Untouched => None,
            Self::Listens => Some(format!("UNLISTEN {}", proof::CHANNEL).into()),
            Self::SetUp => Some(AFRESH.into()),
        }
    }
}

/// Ends a session: restores its backend, and stops its driver, which closes the connection.
pub(super) fn end(db: Db, driver: AbortHandle, state: BackendState, open: Open) {
    let statement = state.taken_back().filter(|_| !driver.is_finished());
    match (Handle::try_current(), statement) {
        (Ok(runtime), Some(statement)) => {
            runtime.spawn(async move {
                let _ = timeout(LIMIT, db.batch(&statement)).await;
                driver.abort();
                drop(open);
            });
        }
        // Without an event loop, there is no driver any more.
        (Ok(_), None) | (Err(_), _) => driver.abort(),
    }
}

/// Waits until every session of the process has ended, but not for long.
pub async fn all_ended() {
    let ended = async {
        loop {
            let told = LAST.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if OPEN.load(Ordering::Acquire) == 0 {
                return;
            }
            told.await;
        }
    };
    let _ = timeout(LIMIT, ended).await;
}
