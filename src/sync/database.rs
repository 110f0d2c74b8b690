//! Keeping one database in sync for good: attempt after attempt, with a pause in between that grows
//! (G8).
//!
//! An outage is two log lines, whatever happens during it: one when it begins, one when it is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::backoff::Backoff;
use super::connection;
use super::fleet::Options;
use crate::mapping::Rules;
use crate::observe::{Event, Observer, Phase, Totals, pulse};
use crate::settings::Database;
use crate::store::{CaptureFault, Finding};

/// The pause before the next attempt when another session held a lock, or the tables have changed.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// What stays the same from attempt to attempt.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) database: Database,
    pub(super) options: Options,
    /// The rules in force: a reload changes them under a running attempt.
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) observer: Observer,
    /// Told when the rules or the columns are not those under which the configurations were last in
    /// sync.
    pub(super) mapping_changed: Arc<Notify>,
}

impl Context {
    /// Of one database, with the rules and whoever is told what happens.
    pub fn new(
        database: Database,
        options: Options,
        rules: watch::Receiver<Arc<Rules>>,
        observer: Observer,
    ) -> Self {
        Self {
            database,
            options,
            rules,
            observer,
            mapping_changed: Arc::default(),
        }
    }
}

/// How the database is doing, over all attempts.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since when it has been unavailable.
    outage: Option<Instant>,
    /// Since when the running attempt has done its work.
    healthy: Option<Instant>,
    was_standing_by: bool,
    has_led: bool,
    was_healthy: bool,
    /// What is wrong with the database itself.
    pub(super) noticed: Noticed,
    /// The cause of the outage that was told last.
    told: Option<String>,
}

/// What has been found wrong and told, and is still so, over all attempts.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is about something else"
)]
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// Whether changes may have been missed since every agent was last looked at, as far as this
    /// process knows.
    pub(super) misses_changes: bool,
    faults: Vec<CaptureFault>,
    findings: Vec<Finding>,
    missing: Vec<String>,
    /// Whether another session leads, and changes have been waiting for a while.
    pub(super) leader_hangs: bool,
    /// When every agent was last looked at on account of those who ask for slugs, and whether that
    /// is to be done again.
    pub(super) everything_at: Option<Instant>,
    pub(super) owes_everything: bool,
    /// Whether it works under another mapping.
    pub(super) other_mapping: bool,
}

impl Noticed {
    /// Whether the triggers do not notify, as found last.
    pub(super) fn is_deaf(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| matches!(finding, Finding::QueueFull { .. }))
    }

    /// Whether other columns are missing than before.
    pub(super) fn has_news_of_missing(&mut self, missing: &[String]) -> bool {
        std::mem::replace(&mut self.missing, missing.to_vec()) != missing
    }

    /// Of the faults that there are, those that have not been told.
    pub(super) fn untold_faults<'a>(
        &mut self,
        faults: &'a [CaptureFault],
    ) -> Vec<&'a CaptureFault> {
        let told = std::mem::replace(&mut self.faults, faults.to_vec());
        faults
            .iter()
            .filter(|fault| !told.contains(fault))
            .collect()
    }

    /// The same for findings.
    pub(super) fn untold_findings<'a>(&mut self, findings: &'a [Finding]) -> Vec<&'a Finding> {
        let told = std::mem::replace(&mut self.findings, findings.to_vec());
        findings
            .iter()
            .filter(|finding| !told.contains(finding))
            .collect()
    }
}

impl Health {
    /// Whether no attempt has been healthy before.
    pub(super) fn is_first(&self) -> bool {
        !self.was_healthy
    }

    /// Whether no attempt has led before: what is worth saying at the start is not worth repeating.
    pub(super) fn is_first_lead(&mut self) -> bool {
        !std::mem::replace(&mut self.has_led, true)
    }

    /// Says that the attempt stands by, in good health. True the first time in a row.
    pub(super) fn standing_by(&mut self) -> bool {
        self.healthy.get_or_insert_with(Instant::now);
        !std::mem::replace(&mut self.was_standing_by, true)
    }

    /// Says that the attempt has caught up.
    pub(super) fn healthy(&mut self, observer: &Observer, totals: Totals) {
        self.healthy = Some(Instant::now());
        self.was_standing_by = false;
        match self.outage.take() {
            Some(since) if self.was_healthy => {
                observer.tell(&Event::Recovered {
                    outage: since.elapsed(),
                    totals,
                });
            }
            _ => observer.tell(&Event::CaughtUp { totals }),
        }
        self.was_healthy = true;
    }
}

/// Runs until told to stop.
pub async fn keep_in_sync(context: Context, mut stop: watch::Receiver<bool>) {
    let reconnect = &context.options.reconnect;
    let mut backoff = Backoff::new(reconnect.initial_delay, reconnect.max_delay);
    let mut health = Health::default();
    context.observer.tell(&Event::Phase(Phase::Connecting));
    while let Err(error) = Box::pin(connection::run(&context, &mut health, stop.clone())).await {
        let was_healthy = health.healthy.is_some();
        if let Some(since) = health.healthy.take() {
            backoff.lost_after(since.elapsed());
        }
        let (cause, remedy) = (error.to_string(), error.remedy());
        // Neither is an outage: the server is there, and will let us work again (G16).
        let is_usual = error.is_locked() || was_healthy && error.is_layout_change();
        if health.outage.is_none() && (error.has_seen_a_change() || health.was_healthy && is_usual)
        {
            if error.is_layout_change() {
                context
                    .observer
                    .tell(&Event::LayoutChanged { cause: &cause });
            }
            health.noticed.misses_changes |= error.misses_changes();
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                () = pulse::sleep(SHORT_PAUSE) => continue,
            }
        }
        let pause = backoff.delay();
        health.noticed.misses_changes |= error.misses_changes();
        // A finding is told though the outage began for another reason: its remedy is another
        // (G10).
        if health.outage.is_none() || (error.is_finding() && health.told.as_ref() != Some(&cause)) {
            health.outage.get_or_insert_with(Instant::now);
            context.observer.tell(&Event::Lost {
                cause: &cause,
                remedy: &remedy,
            });
            health.told = Some(cause);
        } else {
            context.observer.tell(&Event::StillLost {
                cause: &cause,
                remedy: &remedy,
                pause,
            });
        }
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = pulse::sleep(pause) => {}
        }
    }
    context.observer.tell(&Event::Stopped);
}
