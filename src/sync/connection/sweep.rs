//! The sweep: the slow round of an attempt, for what no notification tells of.
//!
//! It looks whether server, install and triggers are still what they should be, makes good what a
//! broken capture missed (G1), tries again what failed, and keeps house.

use super::{AttemptError, ConnectionLoop, refuse};
use crate::install;
use crate::observe::{self, Event};
use crate::store::{CaptureFault, FaultKind, Finding, Installed, Store, checks};

/// How many portions of the history a sweep deletes at most; the rest is for the next.
const PRUNED: u32 = 10;

impl ConnectionLoop<'_> {
    /// The slow round: what no notification tells of.
    pub(super) async fn sweep(&mut self) -> Result<(), AttemptError> {
        let (client, store, observer) =
            (self.session.client(), &self.store, &self.context.observer);
        let patience = Store::patience(&self.context.options.sync);
        let own =
            checks::own_tables(client, patience, &self.context.database, install::VERSION).await?;
        refuse(own.into_iter().collect())?;
        let resealed = store.seal(client).await?;
        let mut installed = store
            .installed(client)
            .await?
            .ok_or_else(|| AttemptError::Unfit(vec![Finding::NoRecord]))?;

        refuse(checks::server(client, patience).await?)?;
        refuse(checks::publications(client, patience, store.layout()).await?)?;
        refuse(checks::types(client, patience, &self.context.database, store.layout()).await?)?;
        if let Some(known_before) = resealed {
            self.uncaptured = None;
            if known_before {
                observer.tell(&Event::CaptureTouched);
            }
        }
        if !store.is_current(client).await? {
            // The next connection reads them again, and finds in `uncaptured_seen` whether every
            // agent is to be looked at.
            return Err(AttemptError::TablesChanged);
        }
        let faults = store.capture_faults(client).await?;
        let options = &self.context.options;
        let findings = store
            .cautions(client, options.capture.notify, options.history.enabled)
            .await?;
        let misses = !faults.is_empty() || findings.iter().any(Finding::misses_changes);
        let was_missing = std::mem::replace(&mut self.health.noticed.misses_changes, misses);
        let mended =
            was_missing && !misses && !(self.health.is_first() && installed.uncaptured_seen < 0);
        if mended {
            observer.tell(&Event::CaptureMended);
            store.distrust(client).await?;
            installed.uncaptured_seen = -1;
            self.uncaptured = None;
        }
        // While changes are missed, every agent is looked at once, and again when saves were
        // counted, or were not over.
        let counted = self
            .uncaptured
            .as_ref()
            .is_none_or(|(saves, left)| *saves != installed.uncaptured || !left.is_empty());
        let looked = if !misses || counted {
            self.make_good(installed, mended || resealed == Some(true))
                .await
        } else {
            Ok(())
        };
        let observer = &self.context.observer;
        for fault in self.health.noticed.untold_faults(&faults) {
            let CaptureFault {
                trigger,
                fault: what,
                kind,
                ..
            } = fault;
            let (fault, remedy) = (what.as_str(), fault.remedy());
            observer.tell(&match kind {
                FaultKind::Broken | FaultKind::Outbox => Event::CaptureBroken {
                    trigger,
                    fault,
                    remedy,
                },
                FaultKind::Sleeps => Event::CaptureSleeps { trigger, remedy },
                FaultKind::Child => Event::CaptureLacksChild {
                    trigger,
                    fault,
                    remedy,
                },
            });
        }
        for finding in self.health.noticed.untold_findings(&findings) {
            let (finding, remedy) = (finding.to_string(), finding.remedy());
            observer.tell(&Event::Found {
                finding: &finding,
                remedy: &remedy,
            });
        }
        looked?;
        // Of what no trigger tells, every sweep has to.
        if faults.iter().any(|fault| fault.kind == FaultKind::Child) {
            self.store.enqueue_absent(self.session.client()).await?;
        }
        self.tell_what_is_wrong(&faults, &findings);
        if misses {
            self.store.distrust(self.session.client()).await?;
        }

        let (client, store) = (self.session.client(), &self.store);
        store.sweep_problems(client).await?;
        if let Some(at) = self.drain.take_last_write() {
            store.note_last_sync(client, at.elapsed()).await?;
        }
        for _ in 0..PRUNED {
            if !store
                .prune_history(client, &self.context.options.history)
                .await?
            {
                break;
            }
        }
        self.enqueue_retries().await?;
        self.backlog_poll.expect_news();
        Ok(())
    }

    /// Tells everything that is wrong now, said before or not, for those who ask.
    fn tell_what_is_wrong(&mut self, faults: &[CaptureFault], findings: &[Finding]) {
        let faults = faults.iter().map(|fault| observe::Finding {
            what: fault.to_string(),
            remedy: fault.remedy().to_owned(),
            misses_changes: true,
        });
        let findings = findings.iter().map(|finding| observe::Finding {
            what: finding.to_string(),
            remedy: finding.remedy().into_owned(),
            misses_changes: finding.misses_changes(),
        });
        self.in_force = faults.chain(findings).collect();
        self.tell_in_force();
    }

    /// Looks at every agent on account of saves that could not be captured (G1); the first start
    /// after an install counts as one of them. Says so unless it is `told` already.
    ///
    /// The count grows when a save is made, and what was saved is visible only after its commit. So
    /// what is visible is enqueued at once, and the count is settled only by a statement that sees
    /// all of it. The locks say when that is. A transaction that has saved holds its lock on the
    /// table until it is over, prepared or not, and PostgreSQL makes a transaction visible before
    /// it releases its locks. The order is this: the count is read first; a later statement lists
    /// the holders of such locks, so each save that was counted is visible by then, or its
    /// transaction is listed; when none of those listed holds its lock any more, a statement that
    /// begins after that sees every save of the count. Transactions elsewhere, and those that save
    /// later, hold up nothing. The numbers of transactions cannot say it: the snapshot of a quiet
    /// server ends at the last transaction that is over, and one that is open may be the next.
    /// `tests/model/uncaptured.rs` checks the order.
    async fn make_good(&mut self, installed: Installed, told: bool) -> Result<(), AttemptError> {
        let Installed {
            uncaptured: saves,
            uncaptured_seen: seen,
            may_have_jumped,
        } = installed;
        if saves == seen {
            return Ok(());
        }
        let (client, store, observer) =
            (self.session.client(), &self.store, &self.context.observer);
        let known = self.uncaptured.take();
        let open = store.savers(client).await?;
        let (left, is_new) = match known {
            Some((before, mut left)) if before == saves => {
                left.retain(|saver| open.contains(saver));
                (left, false)
            }
            known => {
                if !told {
                    observer.tell(&match known.map_or(seen, |(before, _)| before) {
                        ..0 => Event::FirstStart,
                        _ if may_have_jumped => Event::CountJumped,
                        before => Event::Uncaptured {
                            saves: saves - before,
                        },
                    });
                }
                (open, true)
            }
        };
        if left.is_empty() {
            store.enqueue_uncaptured(client, saves).await?;
        } else if is_new {
            store.enqueue_all(client).await?;
        }
        self.uncaptured = Some((saves, left));
        Ok(())
    }
}
