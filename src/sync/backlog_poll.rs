//! Queries the backlog and the number of agents that are not in sync, for the reports over HTTP.
//!
//! Only after a possible change: an idle database is queried only by the sweep. And only for a
//! small share of the time: a query that took long is not repeated soon.

use std::time::{Duration, Instant};

use crate::observe::{Event, Observer};
use crate::pg::QueryError;
use crate::store::Store;

/// The pause between two queries: this at least, and so many times the duration of the last one.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;

/// The time of the next query.
#[derive(Debug)]
pub(super) struct BacklogPoll {
    not_before: Instant,
    news: bool,
}

impl BacklogPoll {
    pub(super) fn new() -> Self {
        Self {
            not_before: Instant::now(),
            news: true,
        }
    }

    /// Notes that something may have changed.
    pub(super) fn expect_news(&mut self) {
        self.news = true;
    }

    /// The time of the next query, if something may have changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.news.then_some(self.not_before)
    }

    /// Queries the backlog and reports it, if something may have changed and it is time.
    pub(super) async fn if_due(
        &mut self,
        store: &Store,
        observer: &Observer,
    ) -> Result<(), QueryError> {
        let began = Instant::now();
        if self.due().is_none_or(|due| began < due) {
            return Ok(());
        }
        store.verify_parts().await?;
        let backlog = store.backlog().await?;
        observer.tell(Event::Backlog(&backlog.into()));
        self.news = false;
        self.not_before = Instant::now() + PAUSE.max(began.elapsed() * SHARE);
        Ok(())
    }
}
