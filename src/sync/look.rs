//! Now and then the loop that leads asks its database what is waiting and what is not in sync, for
//! those who ask the daemon over HTTP.
//!
//! Only when something may have changed: while all is quiet, nothing is asked but with the sweep.
//! And never for more than a small share of the time, whatever the outbox holds: an answer that
//! took long is not asked for again soon.

use std::time::{Duration, Instant};

use crate::observe::{Event, Observer};
use crate::session::Session;
use crate::store::{Store, StoreError};

/// The pause between two looks: this at least, and so many times what the last one took.
const PAUSE: Duration = Duration::from_secs(1);
const SHARE: u32 = 100;

/// When to look again.
#[derive(Debug)]
pub(super) struct Look {
    not_before: Instant,
    news: bool,
}

impl Look {
    pub(super) fn new() -> Self {
        Self {
            not_before: Instant::now(),
            news: true,
        }
    }

    /// Says that something may have changed.
    pub(super) fn expect_news(&mut self) {
        self.news = true;
    }

    /// When to look, if something may have changed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.news.then_some(self.not_before)
    }

    /// Looks, if something may have changed and it is time, and tells what there is.
    pub(super) async fn if_due(
        &mut self,
        store: &Store,
        session: &Session,
        observer: &Observer,
    ) -> Result<(), StoreError> {
        let began = Instant::now();
        if self.due().is_none_or(|due| began < due) {
            return Ok(());
        }
        store.verify_parts(session.client()).await?;
        let backlog = store.backlog(session.client()).await?;
        observer.tell(&Event::Backlog {
            backlog: &backlog.into(),
        });
        self.news = false;
        self.not_before = Instant::now() + PAUSE.max(began.elapsed() * SHARE);
        Ok(())
    }
}
