//! The check of every agent because of changes that may have been missed (G1).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::ConnectionLoop;
use super::sweep::Capture;
use crate::observe::{Event, Finding, event};
use crate::store::{Installed, Seal};
use crate::sync::error::AttemptError;

/// The time after which a wait for open transactions that may have saved is reported.
const REPORT_SAVERS_AFTER: Duration = Duration::from_secs(60);

/// The saves that could not be captured, as far as they are not settled.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    /// Of the last sweep: the count of missed changes, and the writers of that count whose
    /// transactions were still open.
    count: Option<(i64, Vec<String>)>,
    /// Since when such a transaction has been open, and whether that was reported.
    since: Option<(Instant, bool)>,
}

impl Unsettled {
    /// Another check begins.
    pub(super) fn forget(&mut self) {
        self.count = None;
    }

    /// Whether this count of saves is still to be settled.
    fn is_owed(&self, saves: i64) -> bool {
        self.count
            .as_ref()
            .is_none_or(|(known, left)| *known != saves || !left.is_empty())
    }

    /// The open transactions that may have saved.
    fn open(&self) -> usize {
        self.count.as_ref().map_or(0, |(_, left)| left.len())
    }

    /// Whether the wait for such transactions has become long enough to be reported. True once,
    /// because it is noted as told.
    fn take_overdue(&mut self) -> bool {
        if self.open() == 0 {
            self.since = None;
            return false;
        }
        let (since, told) = self.since.get_or_insert((Instant::now(), false));
        !*told && since.elapsed() >= REPORT_SAVERS_AFTER && !std::mem::replace(told, true)
    }

    fn event(&self) -> Event<'static> {
        event::FullCheck::WaitsForSavers(self.open()).into()
    }

    /// The wait as a finding, once it was reported.
    pub(super) fn in_force(&self) -> Option<Finding> {
        let (_, true) = self.since? else {
            return None;
        };
        Some(Finding {
            what: format!(
                "the check of every agent waits for the end of {} open transactions that may have \
                saved; changes that are committed are applied, and for a minute audits leave \
                differences to this check",
                self.open()
            ),
            remedy: event::FullCheck::WAITS_FOR_SAVERS_REMEDY.to_owned(),
            misses_changes: false,
        })
    }
}

impl ConnectionLoop<'_> {
    /// Repairs missed changes. While changes are missed, every agent is checked once, and again
    /// when saves were counted or were still open.
    pub(super) async fn resync_if_missed(
        &mut self,
        mut installed: Installed,
        seal: Seal,
        capture: &Capture,
    ) -> Result<(), AttemptError> {
        let misses = capture.misses;
        let was_missing = std::mem::replace(&mut self.health.noticed.misses_changes, misses);
        let mended =
            was_missing && !misses && !(self.health.is_first() && installed.uncaptured_seen < 0);
        if mended {
            self.context.observer.tell(event::FullCheck::CaptureMended);
            self.store.distrust().await?;
            installed.uncaptured_seen = -1;
            self.unsettled.forget();
        }
        let counted = self.unsettled.is_owed(installed.uncaptured);
        if misses && !counted {
            return Ok(());
        }
        self.make_good(installed, mended || seal == Seal::Changed)
            .await?;
        if self.unsettled.take_overdue() {
            self.context.observer.tell(self.unsettled.event());
        }
        self.tell_in_force();
        Ok(())
    }

    /// Checks every agent because of saves that could not be captured (G1); the first start after
    /// an install counts as one of them. `told`: it was reported already.
    ///
    /// The count grows when a save is made, and the save is visible only after its commit. So the
    /// agents that are visible are enqueued at once, and only a statement that sees every counted
    /// save settles the count. The locks show when that is possible. A transaction that has saved
    /// holds its lock on the table until it ends, prepared or not, and PostgreSQL makes a
    /// transaction visible before it releases its locks. The order:
    /// 1. Read the count.
    /// 2. List the holders of such locks. Each counted save is visible by now, or its transaction
    ///    is in the list.
    /// 3. When no transaction of the list holds its lock any more, a new statement sees every
    ///    counted save. Until then, each sweep that finds one of them ended enqueues all agents
    ///    again, so a committed save waits for no transaction but its own.
    ///
    /// Transactions elsewhere and later saves delay nothing. Transaction numbers do not show this:
    /// the snapshot of a quiet server ends at the last transaction that has ended, and an open
    /// transaction may have the next number. `tests/model/uncaptured.rs` checks the order.
    async fn make_good(&mut self, installed: Installed, told: bool) -> Result<(), AttemptError> {
        let (saves, seen) = (installed.uncaptured, installed.uncaptured_seen);
        let observer = &self.context.observer;
        let reported = &mut self.health.noticed.uncaptured;
        if !installed.owes_check() {
            reported.report_due(observer);
            return Ok(());
        }
        let store = &self.store;
        let known = self.unsettled.count.take();
        let open = store.savers().await?;
        let (left, is_news) = match known {
            Some((before, mut left)) if before == saves => {
                let waited_for = left.len();
                let open: BTreeSet<&String> = open.iter().collect();
                left.retain(|saver| open.contains(saver));
                let some_ended = left.len() < waited_for;
                (left, some_ended)
            }
            known => {
                let before = known.map_or(seen, |(before, _)| before);
                let is_reset = before < 0 || installed.may_have_jumped;
                if is_reset && !told && !reported.is_reset_reported {
                    observer.tell(if before < 0 {
                        event::FullCheck::FirstStart
                    } else {
                        event::FullCheck::CountJumped
                    });
                }
                reported.is_reset_reported |= is_reset;
                if !is_reset && !told {
                    reported.add(before, saves);
                }
                reported.report_due(observer);
                (open, true)
            }
        };
        if left.is_empty() {
            store.enqueue_uncaptured(saves).await?;
            self.health.noticed.uncaptured.is_reset_reported = false;
        } else if is_news {
            store.enqueue_all().await?;
        }
        self.unsettled.count = Some((saves, left));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{REPORT_SAVERS_AFTER, Unsettled};

    #[test]
    fn a_long_wait_for_savers_is_reported_once_and_is_a_finding_until_its_end() {
        let mut unsettled = Unsettled::default();
        assert!(!unsettled.take_overdue() && unsettled.is_owed(0));
        unsettled.count = Some((1, vec!["3/7".to_owned()]));
        assert!(!unsettled.take_overdue() && unsettled.in_force().is_none());
        unsettled.since = Instant::now()
            .checked_sub(REPORT_SAVERS_AFTER)
            .map(|since| (since, false));
        assert!(unsettled.take_overdue() && !unsettled.take_overdue());
        let what = unsettled.in_force().map(|finding| finding.what);
        assert!(what.is_some_and(|what| what.contains("of 1 open")));
        unsettled.count = Some((1, Vec::new()));
        assert!(!unsettled.take_overdue() && unsettled.in_force().is_none());
        assert!(!unsettled.is_owed(1) && unsettled.is_owed(2));
    }
}
