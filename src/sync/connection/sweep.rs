//! The sweep: the periodic check, for everything that no notification announces.
//!
//! It checks the server, the install and the capture, repairs missed changes (G1), puts due retries
//! and problems whose cause may be gone into the outbox, and deletes old history.

use std::time::Instant;

use super::ConnectionLoop;
use crate::install;
use crate::observe::{self, Event, event};
use crate::pg::QueryError;
use crate::pg::sqlstate::Class;
use crate::store::{self, CaptureFault, FaultKind, Finding, Installed, Seal, checks, finding};
use crate::sync::error::{AttemptError, refuse, refuse_pause};

/// How many portions of the history a sweep deletes at most; the rest is for the next.
const PRUNED: u32 = 10;

/// The capture as the sweep finds it.
pub(super) struct Capture {
    faults: Vec<CaptureFault>,
    findings: Vec<Finding>,
    /// Whether changes may be missed.
    pub(super) misses: bool,
    /// The lock of another session that kept the tables from being read. In that case `findings` is
    /// that of the last sweep.
    locked: Option<QueryError>,
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
        self.verify_install().await?;
        let swept = self.sweep_tables().await;
        // Also if a table was locked: such an error does not end the session.
        if swept.as_ref().err().is_none_or(AttemptError::is_locked) {
            self.session.plan_for_batches().await?;
        }
        swept
    }

    /// During a pause: checks the capture at the interval of the sweeps. Changes are to be noted
    /// meanwhile, and a fault that ends before the pause does would be told by nothing else (G14).
    pub(super) async fn look_at_capture(&mut self) -> Result<(), AttemptError> {
        if Instant::now() < self.next_sweep {
            return Ok(());
        }
        self.next_sweep = Instant::now() + self.context.options.sync.sweep_interval;
        self.verify_install().await?;
        let capture = self.check_capture().await?;
        self.report(&capture);
        if capture.misses {
            self.store.distrust().await?;
        }
        Ok(())
    }

    /// Checks that the install belongs to trusted owners, and is the one of this connection: the
    /// schema may be another one by now.
    async fn verify_install(&mut self) -> Result<(), AttemptError> {
        let owners = store::owners(self.session.db(), &self.context.database).await?;
        refuse(owners.untrusted.into_iter().collect())?;
        Ok(self.store.verify_parts().await?)
    }

    async fn sweep_tables(&mut self) -> Result<(), AttemptError> {
        self.sweep().await?;
        if !self.caught_up {
            let audited = self.store.audited().await?;
            self.context.audited.send_replace(audited);
        }
        self.begin_full_check().await?;
        self.begin_server_recheck();
        self.foreign_code = self.store.foreign_code().await?;
        self.locked.owes_sweep = false;
        Ok(())
    }

    /// The checks and repairs of the sweep that concern the install, the capture and the outbox.
    ///
    /// The check of the capture comes first and is reported at once: the others write to the tables
    /// of agent-sync, and a lock of another session there may last (G14, G16). An error of the
    /// check itself comes after what the install shows, which may be its cause.
    async fn sweep(&mut self) -> Result<(), AttemptError> {
        let capture = self.check_capture().await;
        if let Ok(capture) = &capture {
            self.report(capture);
        }
        let (installed, seal) = self.check_install().await?;
        let mut capture = capture?;
        if let Some(error) = capture.locked.take() {
            return Err(error.into());
        }
        self.resync_if_missed(installed, seal, &capture).await?;
        let store = &self.store;
        // No trigger captures changes in such a child, so every sweep has to.
        let lacks_child = |fault: &CaptureFault| fault.kind == FaultKind::Child;
        if capture.faults.iter().any(lacks_child) {
            store.enqueue_absent().await?;
        }
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
            self.unsettled.forget();
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
            .await;
        let (findings, locked) = match findings {
            Ok(findings) => (findings, None),
            Err(error) if error.class() == Some(Class::Locked) => {
                (self.health.noticed.known_findings().to_vec(), Some(error))
            }
            Err(error) => return Err(error.into()),
        };
        // Each sweep looks up another sample, so an index that has missed rows stays a finding
        // until it is rebuilt: then the next connection looks again.
        let (bad, mut findings): (Vec<_>, Vec<_>) =
            findings.into_iter().partition(Finding::is_bad_index);
        for finding in bad {
            if !self.bad_indexes.contains(&finding) {
                self.bad_indexes.push(finding);
            }
        }
        findings.extend(self.bad_indexes.iter().cloned());
        if self.session.was_used() {
            findings.push(finding::Server::UsedBackend.into());
        }
        let misses = !faults.is_empty() || findings.iter().any(Finding::misses_changes);
        Ok(Capture {
            faults,
            findings,
            misses,
            locked,
        })
    }

    /// Reports what the check of the capture has found.
    fn report(&mut self, capture: &Capture) {
        self.health.noticed.misses_changes |= capture.misses;
        self.report_findings(capture);
        self.report_in_force(capture);
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
                remedy: &schema.localize_message(fault.remedy()),
            });
        }
        for finding in self.health.noticed.untold_findings(&capture.findings) {
            let (finding, remedy) = (finding.to_string(), finding.remedy());
            observer.tell(Event::Found {
                finding: &schema.localize_message(&finding),
                remedy: &schema.localize_message(&remedy),
            });
        }
    }

    /// Reports everything that is wrong now, for the status.
    fn report_in_force(&mut self, capture: &Capture) {
        let schema = self.session.db().schema();
        let local = |text: &str| schema.localize_message(text).into_owned();
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

    /// Checks that the session is as the daemon has set it up, after code of others has run in it.
    /// This precedes a sleep, which depends on LISTEN.
    pub(super) async fn verify_session(&mut self) -> Result<(), AttemptError> {
        let state = self.store.session_state().await?;
        let changed = if !state.listens && self.not_listening_until.is_none() {
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
