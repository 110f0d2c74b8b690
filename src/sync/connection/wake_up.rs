//! The sleep and the pauses of the loop, and the service after a wake-up.

use std::time::{Duration, Instant};

use super::{ConnectionLoop, Phase};
use crate::observe::{Event, WakeUp, event, pulse};
use crate::pg::Tid;
use crate::pg::sqlstate::Class;
use crate::session::News;
use crate::store::ForeignCode;
use crate::sync::error::AttemptError;
use crate::sync::protocol::Input;

/// The first pause before another scan while slugs are left; it doubles up to
/// `sync.lock_timeout`.
pub(super) const LEFT_PAUSE: Duration = Duration::from_millis(20);

/// The interval at which requests for too many slugs may cause a check of every agent.
const BETWEEN_FULL_CHECKS: Duration = Duration::from_secs(600);

impl ConnectionLoop<'_> {
    /// A pause between two scans, in which requests are served as during a sleep (I7) and due
    /// retries are put into the outbox, before the next scan begins.
    pub(super) async fn poll(&mut self, pause: Duration) -> Result<Phase, AttemptError> {
        self.pause(Instant::now() + pause).await;
        let retry = self.is_retry_due();
        // Another scan is no wake-up: the daemon does not sleep.
        self.take_news(retry.then_some(WakeUp::Retry)).await?;
        // The due time of the writes that were just set aside is known only now.
        if self.drain.take_new_retry() || retry {
            self.enqueue_retries().await?;
        }
        Ok(Phase::Draining)
    }

    /// The sleep, until a notification arrives or something is due.
    pub(super) async fn wait(&mut self, left_rows: bool) -> Result<Phase, AttemptError> {
        if self.drain.take_new_retry() {
            // A write that was set aside may be due by now, and no writer notifies of the row that
            // the retry puts into the outbox.
            self.enqueue_retries().await?;
            self.backlog_poll.expect_news();
            return Ok(Phase::Draining);
        }
        self.backlog_poll
            .if_due(&self.store, &self.context.observer)
            .await?;
        let mut wake_up_at = self
            .next_sweep
            .min(self.next_retry.unwrap_or(self.next_sweep));
        let lookups = &self.health.noticed.lookups;
        let kept = lookups.next().filter(|_| self.session.inbox().has_slugs());
        wake_up_at = kept.map_or(wake_up_at, |next| wake_up_at.min(next));
        if left_rows {
            wake_up_at = wake_up_at.min(Instant::now() + self.left_pause);
            self.left_pause = (self.left_pause * 2).min(self.context.options.sync.lock_timeout);
        }
        if self
            .not_listening_until
            .is_some_and(|until| until <= Instant::now())
        {
            // The next connection listens again.
            return Err(AttemptError::ReconnectNow);
        }
        let listens = self.not_listening_until.is_none();
        if !listens
            || !self.context.options.capture.notify
            || self.health.noticed.triggers_do_not_notify()
        {
            wake_up_at = wake_up_at.min(Instant::now() + self.context.options.sync.poll_interval);
        }
        if self.session.inbox().has_news() {
            self.drain.tell(Input::MoreWork);
        }
        let in_time = self.rest(wake_up_at).await?;

        let retry = self.is_retry_due();
        let cause = self.cause(in_time, retry, left_rows);
        self.take_news(Some(cause)).await?;
        if in_time {
            self.drain.tell(Input::Unannounced);
        }
        if retry {
            self.enqueue_retries().await?;
        }
        Ok(Phase::Draining)
    }

    /// Takes the news out of the inbox, reports the wake-up, and serves the requests. News without
    /// a slug or a ctid is reported with the given `cause`.
    async fn take_news(&mut self, cause: Option<WakeUp>) -> Result<(), AttemptError> {
        let inbox = self.session.inbox();
        let (news, slugs) = if self.health.noticed.lookups.may_begin(Instant::now()) {
            inbox.take()
        } else {
            (inbox.take_news(), Vec::new())
        };
        let cause = match news {
            News::Nothing | News::WakeUp => cause,
            News::Slugs | News::FullCheck => Some(WakeUp::Request),
            News::Change(_) => Some(WakeUp::Notification),
        };
        if let Some(cause) = cause {
            self.report_woken(cause);
        }
        self.serve(news, &slugs).await
    }

    fn is_retry_due(&self) -> bool {
        self.next_retry.is_some_and(|due| Instant::now() >= due)
    }

    fn report_woken(&self, cause: WakeUp) {
        if !*self.stop.borrow() && !self.session.inbox().is_closed() {
            self.context.observer.tell(Event::Woken(cause));
        }
    }

    /// Passes the news to the drain, and puts the requested slugs into the outbox.
    async fn serve(&mut self, news: News<Tid>, slugs: &[String]) -> Result<(), AttemptError> {
        // PostgreSQL has no time limit for a commit, so a change takes the fast path only where no
        // code of others runs with the commit (G5). The fast path announces nothing.
        let fast_path = self.context.options.announce.channel.is_none()
            && self.foreign_code != ForeignCode::WithTheCommit;
        self.drain.tell(Input::Woken { news, fast_path });
        if let News::Change(_) = news {
            return Ok(());
        }
        if news == News::FullCheck {
            self.owe_full_check();
        }
        if !slugs.is_empty() {
            self.look_up(slugs).await?;
        }
        self.begin_full_check().await
    }

    /// Puts the requested slugs into the outbox.
    async fn look_up(&mut self, slugs: &[String]) -> Result<(), AttemptError> {
        let agents = &self.store.layout().agents;
        let names: Vec<_> = slugs.iter().flat_map(|name| agents.names(name)).collect();
        self.store.verify_parts().await?;
        // A request is sent once, so it is kept until the outbox can be written.
        let are_all = loop {
            let begun = Instant::now();
            let found = self.store.enqueue_known(&names).await;
            let lookups = &mut self.health.noticed.lookups;
            lookups.took(begun.elapsed(), Instant::now());
            match found {
                Ok(are_all) => break are_all,
                Err(error) if error.class() == Some(Class::Locked) && !*self.stop.borrow() => {}
                Err(error) => return Err(error.into()),
            }
            self.pause_for_lock().await;
        };
        self.drain.was_asked(&names);
        if !are_all {
            self.owe_full_check();
        }
        Ok(())
    }

    /// Notes that more was requested than is kept.
    fn owe_full_check(&mut self) {
        if !std::mem::replace(&mut self.health.noticed.owes_full_check, true)
            && self.must_postpone()
        {
            self.context.observer.tell(event::FullCheck::Postponed);
        }
    }

    /// Checks every agent, if more slugs were requested than the daemon keeps, and at most once in
    /// [`BETWEEN_FULL_CHECKS`]: any role may send requests, and each check is work.
    pub(super) async fn begin_full_check(&mut self) -> Result<(), AttemptError> {
        if !self.health.noticed.owes_full_check || self.must_postpone() {
            return Ok(());
        }
        self.store.verify_parts().await?;
        self.context
            .observer
            .tell(event::FullCheck::AskedForTooMany);
        self.store.enqueue_absent().await?;
        self.drain.was_asked_for_full_check();
        let noticed = &mut self.health.noticed;
        (noticed.owes_full_check, noticed.full_check_at) = (false, Some(Instant::now()));
        Ok(())
    }

    /// Whether the last check of every agent that was requested is too recent for another one.
    fn must_postpone(&self) -> bool {
        let last = self.health.noticed.full_check_at;
        last.is_some_and(|at| at.elapsed() < BETWEEN_FULL_CHECKS)
    }

    /// The cause of the wake-up, if no slug was requested.
    fn cause(&self, in_time: bool, retry: bool, left_rows: bool) -> WakeUp {
        if !in_time && self.drain.has_turn() {
            WakeUp::Left
        } else if !in_time {
            WakeUp::Notification
        } else if retry {
            WakeUp::Retry
        } else if Instant::now() >= self.next_sweep {
            WakeUp::Sweep
        } else if left_rows {
            WakeUp::Left
        } else {
            WakeUp::Timer
        }
    }

    pub(super) async fn enqueue_retries(&mut self) -> Result<(), AttemptError> {
        self.drain.tell(Input::Unannounced);
        self.store.verify_parts().await?;
        let pause = self.store.enqueue_retries().await?;
        self.next_retry = pause.map(|pause| Instant::now() + pause);
        Ok(())
    }

    /// Waits until something arrives, the connection is gone, it is time, the turn of heavy work
    /// comes to this connection, or the daemon stops.
    ///
    /// A notification shows that the connection is alive. Without one, it is probed every
    /// `sync.probe_interval`, and once more when it is time. So no other query is sent over a
    /// connection that has been dead for long (G9). A probe begins no batch, and writers keep
    /// notifying. Returns whether it is time.
    async fn rest(&mut self, until: Instant) -> Result<bool, AttemptError> {
        loop {
            let sync = &self.context.options.sync;
            let probe_at = until.min(Instant::now() + sync.probe_interval);
            let probe_at = self
                .backlog_poll
                .due()
                .map_or(probe_at, |due| probe_at.min(due));
            if !self.pause(probe_at).await {
                if !self.server_recheck.has_ended() {
                    return Ok(false);
                }
                // A former primary may go on with its open sessions, so the result counts at once.
                self.finish_server_recheck()?;
                continue;
            }
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Ok(false),
                answer = self.session.probe(self.context.options.sync.probe_timeout) => answer?,
            }
            self.adopt_rules().await?;
            // Not before the probe, which notices a dead connection sooner.
            self.backlog_poll
                .if_due(&self.store, &self.context.observer)
                .await?;
            if Instant::now() >= until {
                return Ok(true);
            }
        }
    }

    /// Like [`Self::rest`], without probes, and until a check of the server ends. Returns whether
    /// it is time.
    pub(super) async fn pause(&mut self, until: Instant) -> bool {
        pulse::promise(until.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            () = self.session.inbox().arrival() => false,
            () = self.drain.turn_comes() => false,
            () = self.server_recheck.end() => false,
            () = tokio::time::sleep_until(until.into()) => true,
        }
    }
}
