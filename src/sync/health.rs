//! The health of one database over all its connections: outages, and the faults that are known and
//! reported.

use std::time::{Duration, Instant};

use super::slow::Slow;
use crate::observe::{Event, Observer, Pause, Totals, event};
use crate::store::{CaptureFault, Finding, Lookups, finding};

/// How long no connection listens after a notification of others has ended one.
const NOT_LISTENING: Duration = Duration::from_secs(600);

/// The time after which an event reports a lock of another session.
const REPORT_LOCK_AFTER: Duration = Duration::from_secs(5);

/// The most faults, and the most findings, that are told. A false server has any number.
const MOST_TOLD: usize = 1000;

/// How the database is doing, over all attempts.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// The slow writes that the last connection knew.
    pub(super) slow: Option<Slow>,
    /// Since when scans have left slugs in the outbox, and whether that was reported.
    pub(super) left_since: Option<(Instant, bool)>,
    /// Since when another session has had a table locked, and whether that was reported.
    pub(super) locked_since: Option<(Instant, bool)>,
    /// Since when it has been unavailable.
    pub(super) outage: Option<Instant>,
    /// Since when the running attempt has done its work.
    pub(super) healthy: Option<Instant>,
    was_standing_by: bool,
    /// The reported pause.
    pause: Option<Pause>,
    has_led: bool,
    pub(super) was_healthy: bool,
    /// The reported findings that are still in force, and the full checks that are owed.
    pub(super) noticed: Noticed,
    /// The cause of the outage that was reported last.
    pub(super) reported_cause: Option<String>,
}

/// The facts that later connections must know: the reported findings that are still in force, and
/// the facts that outlast a connection.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is about something else"
)]
#[derive(Debug, Default)]
pub(super) struct Noticed {
    /// Whether changes may have been missed since the last check of every agent, as far as this
    /// process knows.
    pub(super) misses_changes: bool,
    faults: Vec<CaptureFault>,
    findings: Vec<Finding>,
    missing: Vec<String>,
    /// Whether another session leads, and changes have been waiting for a while.
    pub(super) leader_hangs: bool,
    /// The time of the last full check because of too many requests, and whether another one is
    /// owed.
    pub(super) full_check_at: Option<Instant>,
    pub(super) owes_full_check: bool,
    /// When requests may be looked up.
    pub(super) lookups: Lookups,
    /// Whether it works under another mapping.
    pub(super) other_mapping: bool,
    /// Whether the layout has changed under a connection since the last one in good health.
    pub(super) layout_changed: bool,
    pub(super) uncaptured: Uncaptured,
    /// Until when no connection listens, because a notification of others has ended one.
    pub(super) not_listening_until: Option<Instant>,
}

/// The saves that could not be captured, as far as they are reported: at once, and then at most
/// once in [`Uncaptured::PAUSE`], because each save may be one of them.
#[derive(Debug, Default)]
pub(super) struct Uncaptured {
    /// The count of the install up to which they are reported or unreported.
    counted: i64,
    unreported: i64,
    reported_at: Option<Instant>,
    /// Whether the present reset of the count is reported.
    pub(super) is_reset_reported: bool,
}

impl Uncaptured {
    const PAUSE: Duration = Duration::from_secs(60);

    /// Adds the saves between these counts of the install, each save once.
    pub(super) fn add(&mut self, from: i64, upto: i64) {
        if upto < self.counted {
            // Another install.
            self.counted = from;
        }
        let saves = upto.saturating_sub(from.max(self.counted)).max(0);
        self.unreported = self.unreported.saturating_add(saves);
        self.counted = upto;
    }

    /// Reports the saves that are due.
    pub(super) fn report_due(&mut self, observer: &Observer) {
        if let Some(saves) = self.take_due() {
            observer.tell(event::FullCheck::Uncaptured(saves));
        }
    }

    /// The number of saves that are due to be reported.
    fn take_due(&mut self) -> Option<i64> {
        let is_due = self
            .reported_at
            .is_none_or(|at| at.elapsed() >= Self::PAUSE);
        if self.unreported == 0 || !is_due {
            return None;
        }
        self.reported_at = Some(Instant::now());
        Some(std::mem::take(&mut self.unreported))
    }
}

impl Noticed {
    /// Lets no connection listen for a while.
    pub(super) fn stop_listening(&mut self) {
        self.not_listening_until = Some(Instant::now() + NOT_LISTENING);
    }

    /// Until when no connection listens, if that is not over.
    pub(super) fn not_listening_for_now(&self) -> Option<Instant> {
        self.not_listening_until
            .filter(|until| *until > Instant::now())
    }

    /// Whether the triggers do not notify, as found last.
    pub(super) fn triggers_do_not_notify(&self) -> bool {
        self.findings
            .iter()
            .any(|finding| matches!(finding, Finding::Server(finding::Server::QueueFull { .. })))
    }

    /// Whether other columns are missing than at the last call. Notes these.
    pub(super) fn take_news_of_missing(&mut self, missing: &[String]) -> bool {
        std::mem::replace(&mut self.missing, missing.to_vec()) != missing
    }

    /// The present faults that have not been reported.
    pub(super) fn untold_faults<'a>(
        &mut self,
        faults: &'a [CaptureFault],
    ) -> Vec<&'a CaptureFault> {
        untold(&mut self.faults, faults)
    }

    /// The findings of the last check.
    pub(super) fn known_findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The same for findings.
    pub(super) fn untold_findings<'a>(&mut self, findings: &'a [Finding]) -> Vec<&'a Finding> {
        untold(&mut self.findings, findings)
    }
}

/// The present ones that are not told. Notes the present ones as told, [`MOST_TOLD`] at most.
fn untold<'a, T: Clone + PartialEq>(told: &mut Vec<T>, present: &'a [T]) -> Vec<&'a T> {
    let present = present.get(..MOST_TOLD).unwrap_or(present);
    let former = std::mem::replace(told, present.to_vec());
    let is_news = |one: &&T| !former.contains(*one);
    present.iter().filter(is_news).collect()
}

impl Health {
    /// Notes that another session has a table or row locked. Returns how long that has lasted,
    /// once, when it is to be reported.
    pub(super) fn note_lock(&mut self) -> Option<Duration> {
        let now = Instant::now();
        let (since, told) = self.locked_since.get_or_insert((now, false));
        let lasted = now - *since;
        if *told || lasted < REPORT_LOCK_AFTER {
            return None;
        }
        *told = true;
        Some(lasted)
    }

    /// Whether no attempt has been healthy before.
    pub(super) fn is_first(&self) -> bool {
        !self.was_healthy
    }

    /// Notes that the connection leads. True the first time: the reports of a start are not
    /// repeated.
    pub(super) fn note_lead(&mut self) -> bool {
        !std::mem::replace(&mut self.has_led, true)
    }

    /// Notes and reports that the database is paused.
    pub(super) fn note_pause(&mut self, observer: &Observer, pause: &Pause) {
        observer.tell(Event::Paused(pause));
        self.healthy.get_or_insert_with(Instant::now);
        self.was_standing_by = false;
        if self.pause.as_ref() != Some(pause) {
            observer.tell(event::Leader::Paused(pause));
            self.pause = Some(pause.clone());
        }
    }

    /// Reports the end of a pause, if there was one.
    pub(super) fn note_resumed(&mut self, observer: &Observer) {
        if self.pause.take().is_some() {
            observer.tell(event::Leader::Resumed);
        }
    }

    /// Notes that the attempt stands by, in good health. True the first time in a row.
    pub(super) fn standing_by(&mut self) -> bool {
        self.healthy.get_or_insert_with(Instant::now);
        !std::mem::replace(&mut self.was_standing_by, true)
    }

    /// Notes that the connection has caught up.
    pub(super) fn mark_caught_up(&mut self, observer: &Observer, totals: Totals) {
        self.healthy = Some(Instant::now());
        self.was_standing_by = false;
        match self.outage.take() {
            Some(since) if self.was_healthy => {
                observer.tell(event::Connection::Recovered {
                    outage: since.elapsed(),
                    totals,
                });
            }
            _ => observer.tell(event::Connection::CaughtUp(totals)),
        }
        self.was_healthy = true;
    }
}

#[cfg(test)]
mod tests {
    use super::Uncaptured;

    #[test]
    fn each_save_that_could_not_be_captured_is_reported_once_and_not_one_by_one() {
        let mut uncaptured = Uncaptured::default();
        assert_eq!(uncaptured.take_due(), None);
        uncaptured.add(0, 3);
        assert_eq!(uncaptured.take_due(), Some(3));
        // The next connection meets the same count.
        uncaptured.add(0, 3);
        assert_eq!(uncaptured.take_due(), None);
        // More of them within the pause come with the next report.
        uncaptured.add(0, 5);
        uncaptured.add(5, 6);
        assert_eq!(uncaptured.take_due(), None);
        uncaptured.reported_at = None;
        assert_eq!(uncaptured.take_due(), Some(3));
        // A new install counts from its beginning.
        uncaptured.add(0, 1);
        uncaptured.reported_at = None;
        assert_eq!(uncaptured.take_due(), Some(1));
    }
}
