//! The sweep: the periodic check, for everything that no notification announces.
//!
//! It checks the server, the install and the capture, repairs missed changes (G1), puts due retries
//! into the outbox, and deletes old history.

use std::time::Instant;

use super::ConnectionLoop;
use crate::install;
use crate::observe::{self, Event, event};
use crate::store::{self, CaptureFault, FaultKind, Finding, Installed, Seal, checks, finding};
use crate::sync::error::{AttemptError, refuse, refuse_pause};

/// How many portions of the history a sweep deletes at most; the rest is for the next.
const PRUNED: u32 = 10;

/// The capture as the sweep finds it.
struct Capture {
    faults: Vec<CaptureFault>,
    findings: Vec<Finding>,
    /// Whether changes may be missed.
    misses: bool,
}

impl ConnectionLoop<'_> {
    /// The whole sweep: checks the session and the owners, and then sweeps the tables.
    pub(super) async fn sweep_all(&mut self) -> Result<(), AttemptError> {
        self.next_sweep = Instant::now() + self.context.options.sync.sweep_interval;
        self.has_swept = true;
        // Code of others may run in ways that no catalog shows, such as a function of PostgreSQL
        // that runs SQL text.
        self.verify_session().await?;
        self.session.plan_as_usual().await?;
        // The schema may be another one by now.
        let owners = store::owners(self.session.db(), &self.context.database).await?;
        refuse(owners.untrusted.into_iter().collect())?;
        self.store.verify_parts().await?;
        let swept = self.sweep_tables().await;
        // Also after a lock that was not had, which ends no session.
        if swept.as_ref().err().is_none_or(AttemptError::is_locked) {
            self.session.plan_for_batches().await?;
        }
        swept
    }

    async fn sweep_tables(&mut self) -> Result<(), AttemptError> {
        self.sweep().await?;
        if !self.caught_up {
            let audited = self.store.audited().await?;
            self.context.audited.send_replace(audited);
        }
        self.look_at_everything().await?;
        self.look_elsewhere();
        self.foreign_code = self.store.foreign_code().await?;
        self.owes_sweep = false;
        Ok(())
    }

    /// The checks and repairs of the sweep that concern the install, the capture and the outbox.
    async fn sweep(&mut self) -> Result<(), AttemptError> {
        let (installed, seal) = self.check_install().await?;
        let capture = self.check_capture().await?;
        let looked = self.resync_if_missed(installed, seal, &capture).await;
        self.report_findings(&capture);
        looked?;
        let store = &self.store;
        // No trigger captures changes in such a child, so every sweep has to.
        let lacks_child = |fault: &CaptureFault| fault.kind == FaultKind::Child;
        if capture.faults.iter().any(lacks_child) {
            store.enqueue_absent().await?;
        }
        self.report_in_force(&capture);
        if capture.misses {
            self.store.distrust().await?;
        }
        self.keep_house().await?;
        self.enqueue_retries().await?;
        self.backlog_poll.expect_news();
        Ok(())
    }

    /// Checks the server, the install and the tables. Returns the record of the install, and the
    /// comparison of the seal.
    async fn check_install(&mut self) -> Result<(Installed, Seal), AttemptError> {
        let (db, store) = (self.session.db(), &self.store);
        let database = &self.context.database;
        let own = checks::own_tables(db, database, install::VERSION).await?;
        refuse(own.into_iter().collect())?;
        refuse_pause(store).await?;
        let seal = store.seal().await?;
        let installed = store
            .installed()
            .await?
            .ok_or_else(|| AttemptError::Unfit(vec![finding::Install::NoRecord.into()]))?;
        refuse(checks::server(db).await?)?;
        refuse(checks::publications(db, store.layout()).await?)?;
        refuse(checks::types(db, database, store.layout()).await?)?;
        if seal != Seal::Unchanged {
            self.uncaptured = None;
        }
        if seal == Seal::Changed {
            self.context.observer.tell(event::FullCheck::CaptureTouched);
        }
        if !store.is_current().await? {
            // The next connection reads them again, and finds in `uncaptured_seen` whether every
            // agent has to be checked.
            return Err(AttemptError::TablesChanged);
        }
        Ok((installed, seal))
    }

    /// Checks the capture and all that it depends on.
    async fn check_capture(&mut self) -> Result<Capture, AttemptError> {
        let store = &self.store;
        let options = &self.context.options;
        let faults = store.capture_faults().await?;
        let findings = store
            .cautions(options.capture.notify, options.history.enabled)
            .await?;
        // Each sweep looks up another sample, so an index that has missed rows stays a finding until
        // it is rebuilt: then the next connection looks again.
        let (bad, mut findings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(Finding::is_bad_index);
        for finding in bad {
            if !self.bad_indexes.contains(&finding) {
                self.bad_indexes.push(finding);
            }
        }
        findings.extend(self.bad_indexes.iter().cloned());
        let misses = !faults.is_empty() || findings.iter().any(Finding::misses_changes);
        Ok(Capture {
            faults,
            findings,
            misses,
        })
    }

    /// Repairs missed changes. While changes are missed, every agent is checked once, and again
    /// when saves were counted or were still open.
    async fn resync_if_missed(
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
            self.uncaptured = None;
        }
        let counted = self
            .uncaptured
            .as_ref()
            .is_none_or(|(saves, left)| *saves != installed.uncaptured || !left.is_empty());
        if misses && !counted {
            return Ok(());
        }
        self.make_good(installed, mended || seal == Seal::Changed)
            .await
    }

    /// Reports the faults and findings that are new.
    fn report_findings(&mut self, capture: &Capture) {
        let observer = &self.context.observer;
        let schema = self.session.db().schema();
        for fault in self.health.noticed.untold_faults(&capture.faults) {
            observer.tell(Event::CaptureFault {
                kind: match fault.kind {
                    FaultKind::Broken | FaultKind::Outbox => event::CaptureFault::Broken,
                    FaultKind::NotAlways => event::CaptureFault::NotAlways,
                    FaultKind::Child => event::CaptureFault::LacksChild,
                },
                trigger: &fault.trigger,
                fault: &fault.fault,
                remedy: &schema.localize(fault.remedy()),
            });
        }
        for finding in self.health.noticed.untold_findings(&capture.findings) {
            let (finding, remedy) = (finding.to_string(), finding.remedy());
            observer.tell(Event::Found {
                finding: &schema.localize(&finding),
                remedy: &schema.localize(&remedy),
            });
        }
    }

    /// Reports everything that is wrong now, for the status.
    fn report_in_force(&mut self, capture: &Capture) {
        let schema = self.session.db().schema();
        let local = |text: &str| schema.localize(text).into_owned();
        let faults = capture.faults.iter().map(|fault| observe::Finding {
            what: fault.to_string(),
            remedy: local(fault.remedy()),
            misses_changes: true,
        });
        let findings = capture.findings.iter().map(|finding| observe::Finding {
            what: local(&finding.to_string()),
            remedy: local(&finding.remedy()),
            misses_changes: finding.misses_changes(),
        });
        self.in_force = faults.chain(findings).collect();
        self.tell_in_force();
    }

    /// Puts the problems that a new check may clear into the outbox, notes the time of the last
    /// write, and deletes old history.
    async fn keep_house(&mut self) -> Result<(), AttemptError> {
        let store = &self.store;
        store.sweep_problems().await?;
        if let Some(at) = self.drain.take_last_write() {
            store.note_last_sync(at.elapsed()).await?;
        }
        let history = &self.context.options.history;
        for _ in 0..PRUNED {
            if !store.prune_history(history).await? {
                break;
            }
        }
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
    ///    counted save.
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
        let known = self.uncaptured.take();
        let open = store.savers().await?;
        let (left, is_new) = match known {
            Some((before, mut left)) if before == saves => {
                left.retain(|saver| open.contains(saver));
                (left, false)
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
        } else if is_new {
            store.enqueue_all().await?;
        }
        self.uncaptured = Some((saves, left));
        Ok(())
    }

    /// Checks that the session is as the daemon has set it up, after code of others has run in it.
    /// This precedes a sleep, which depends on LISTEN.
    pub(super) async fn verify_session(&mut self) -> Result<(), AttemptError> {
        let state = self.store.session_state().await?;
        let changed = if !state.listens {
            "the channels that it listens on (UNLISTEN)"
        } else if !state.leads || self.drain.holds_idle_lock() && !state.holds_idle {
            "the locks that it holds (pg_advisory_unlock)"
        } else if state.settings != self.settings {
            "its settings (SET)"
        } else {
            return Ok(());
        };
        Err(AttemptError::SessionChanged(changed))
    }
}
