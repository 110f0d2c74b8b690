//! The audit: compares every agent with its configurations, whatever the triggers have noted.
//!
//! It runs over a connection of its own, at `audit.interval` where this process leads, after a
//! change of the mapping, and again while a configuration differs. A [`pass`] reads in portions,
//! each in a short read-only transaction, and takes a share of the time. The position is a key, so
//! a lost connection or lead interrupts it, and it goes on from there.
//!
//! Authority: the audit writes no configuration. It puts agents into the outbox, as a save does;
//! the session that leads decides on the values and writes them (G2).
//!
//! After a change of the mapping it puts nothing into the outbox, and only counts what differs.
//! Where nothing does, the session that leads notes the mapping in `agent_sync.install`. No other
//! session may: another daemon may lead, and write under other rules meanwhile (G14).

mod indexes;
mod pass;
mod remembered;
mod reports;
mod second_look;
mod when;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use self::indexes::look_at_indexes;
use self::pass::{Ground, Pass};
use self::remembered::Remembered;
use self::reports::Reports;
use self::second_look::Standing;
use self::when::{Cause, Next, PAUSE, Patience, changed, due, rest};
use super::context::{Context, InSync, Lead};
use super::error::AttemptError;
use crate::mapping::Rules;
use crate::observe::compared::Compared;
use crate::observe::{Totals, event};
use crate::pg::QueryError;
use crate::pg::sqlstate::Class;
use crate::session::{Limits, Session};
use crate::store::Layout;
use crate::store::audited::{note_audit, note_position};
use crate::survey::Step;

/// The interval at which the position is noted in `agent_sync.install`, for another daemon.
const NOTED: Duration = Duration::from_secs(5);

/// The failures in a row after which the audit is reported as interrupted.
const FAILURES: u32 = 3;

/// The reported drift under the rules in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reported {
    /// Nothing: the rules have just changed.
    Nothing,
    /// That some configurations differ.
    Drift,
}

/// A note in `agent_sync.install`, whose row another session may have locked. The note is for a
/// later daemon alone, and the audit goes on without it.
fn if_not_locked(noted: Result<(), QueryError>) -> Result<(), QueryError> {
    match noted {
        Err(error) if error.class() == Some(Class::Locked) => Ok(()),
        noted => noted,
    }
}

struct Auditor<'a> {
    context: &'a Context,
    rules: watch::Receiver<Arc<Rules>>,
    lead: watch::Receiver<Lead>,
    next: Option<Next>,
    /// The running or interrupted pass.
    pass: Option<Pass>,
    pause: Duration,
    failures: u32,
    /// Whether this process leads, as far as the audit knows.
    leads: bool,
    reported: Reported,
    reports: Reports,
    remembered: Remembered,
    patience: Patience,
    /// The last result of this process.
    concluded: Option<(Instant, Compared)>,
    /// Whether the effect of another mapping is still to be reported, by a pass that meets no
    /// pending agent.
    owes_report: bool,
}

/// Audits a database until its task has to stop. The drift in `reported` is not reported again
/// for the first change of the mapping.
pub(super) async fn keep_audited(
    context: Context,
    mut stop: watch::Receiver<bool>,
    reported: Reported,
) {
    let mut auditor = Auditor::new(&context, reported);
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = auditor.run() => {}
    }
}

impl<'a> Auditor<'a> {
    fn new(context: &'a Context, reported: Reported) -> Self {
        let mut auditor = Self {
            context,
            rules: context.rules.clone(),
            lead: context.lead.subscribe(),
            next: None,
            pass: None,
            pause: PAUSE.0,
            failures: 0,
            leads: false,
            reported,
            reports: Reports::default(),
            remembered: Remembered::default(),
            patience: Patience::default(),
            concluded: None,
            owes_report: false,
        };
        auditor.rules.mark_unchanged();
        auditor.next = auditor.at_interval(0.1);
        auditor
    }

    /// The next pass at the interval of the settings, where it has one. The databases of a process
    /// are spread over the last part of the interval, from `least` on.
    fn at_interval(&self, least: f64) -> Option<Next> {
        let interval = self.context.options.audit.interval?;
        let spread = least + (1.0 - least) * fastrand::f64();
        Some(Next {
            at: Instant::now() + interval.mul_f64(spread),
            needs_lead: true,
        })
    }

    async fn run(&mut self) {
        let mut next = None;
        loop {
            let cause = match next.take() {
                Some(cause) => cause,
                None => self.cause().await,
            };
            if self.rules.has_changed().unwrap_or_default() {
                self.reported = Reported::Nothing;
            }
            let rules = Arc::clone(&self.rules.borrow_and_update());
            let mut others = self.rules.clone();
            let context = self.context;
            tokio::select! {
                biased;
                () = changed(&mut others) => next = Some(Cause::Mapping),
                () = context.mapping_changed.notified(), if cause == Cause::Due => {
                    next = Some(Cause::Mapping);
                }
                () = self.audit(cause, &rules) => {}
            }
        }
    }

    /// Waits for the next pass.
    async fn cause(&mut self) -> Cause {
        let mut other_lead = self.lead.clone();
        loop {
            let leads = self.leads;
            tokio::select! {
                biased;
                () = changed(&mut self.rules) => {
                    self.reported = Reported::Nothing;
                    return Cause::Mapping;
                }
                () = self.context.mapping_changed.notified() => return Cause::Mapping,
                Ok(_) = other_lead.wait_for(|lead| (*lead != Lead::None) != leads) => {}
                () = due(self.next, &mut self.lead) => {
                    return if self.owes_report { Cause::Mapping } else { Cause::Due };
                }
            }
            self.leads = !leads;
            if self.leads {
                self.adopt();
            }
        }
    }

    /// Goes on from the record of the audits, as this process begins to lead. The audits before may
    /// be those of another daemon. A later result of this process stays in force, as that under new
    /// rules which a start has found before it led.
    fn adopt(&mut self) {
        let audited = self.context.audited.borrow().clone();
        let unnoticed = audited.unnoticed.as_ref().map(|(found, _)| found);
        if let (Some((at, own)), Some((_, ago))) = (self.concluded, audited.last)
            && at.elapsed().as_secs_f64() <= ago
        {
            let known = event::Audit::Known(own, unnoticed);
            return self.context.observer.tell(known);
        }
        if let Some((last, _)) = audited.last {
            let known = event::Audit::Known(last, unnoticed);
            self.context.observer.tell(known);
        }
        let Some(interval) = self.context.options.audit.interval else {
            return;
        };
        let running = audited.running.as_deref();
        self.pass = running.and_then(|running| Pass::restored(running, interval));
        let (differs, ago) = match audited.last {
            Some((last, ago)) => (last.counts.differing > 0, ago),
            None if self.pass.is_some() => (false, 0.0),
            None => return,
        };
        let ago = Duration::try_from_secs_f64(ago).unwrap_or_default();
        let is_soon = differs || self.pass.is_some() || ago >= interval;
        let longest = if is_soon {
            PAUSE.1.min(interval)
        } else {
            interval.saturating_sub(ago)
        };
        self.next = Some(Next {
            at: Instant::now() + longest.mul_f64(fastrand::f64()),
            needs_lead: true,
        });
    }

    /// One pass, however often its connection is lost, unless the lead is.
    async fn audit(&mut self, cause: Cause, rules: &Rules) {
        if cause == Cause::Mapping {
            self.pass = None;
        }
        let needs_lead = cause == Cause::Due && self.next.is_none_or(|next| next.needs_lead);
        loop {
            match Box::pin(self.attempt(needs_lead, rules)).await {
                Ok(Some((standing, mapping))) => return self.conclude(cause, standing, mapping),
                Ok(None) => return,
                Err(error) => self.failed(cause, &error),
            }
            let pause = PAUSE.0.saturating_mul(1 << self.failures.min(6));
            tokio::time::sleep(pause.min(PAUSE.1)).await;
            if needs_lead && *self.lead.borrow() == Lead::None {
                return;
            }
        }
    }

    /// The rest of the pass over one connection. Returns how the install stands, and the text of
    /// the mapping; nothing where the lead is lost.
    async fn attempt(
        &mut self,
        needs_lead: bool,
        rules: &Rules,
    ) -> Result<Option<(Standing, String)>, AttemptError> {
        let (context, database) = (self.context, &self.context.database);
        let limits = Limits::of(&context.options.sync);
        let session = Session::connect_further("agent-sync audit", database, limits)
            .await?
            .trusted(database)
            .await?;
        let layout = Layout::read(session.db(), database).await?;
        let (is_past_indexes, compared) =
            look_at_indexes(context, &mut self.reports, session.db(), &layout).await?;
        if needs_lead && !rest(&mut self.lead, compared).await {
            return Ok(None);
        }
        let ground = Ground {
            db: session.db(),
            mapping: layout.mapping_text(rules),
            layout: &layout,
            rules,
            needs_lead,
            repair: context.options.audit.repair,
            awaits_check: self.patience.is_left(Instant::now()),
            is_past_indexes,
        };
        let known = self.pass.take().filter(|pass| pass.fits(&ground));
        let pass = match known {
            Some(pass) => self.pass.insert(pass),
            None => self.pass.insert(Pass::begin(&ground).await?),
        };
        pass.worked += compared;
        let mut noted = Instant::now();
        loop {
            let turn = context.turns.comparisons.wait().await;
            let portion = pass.portion(&ground, &self.remembered, &mut self.lead);
            let (step, worked) = portion.await?;
            drop(turn);
            self.failures = 0;
            if step == Step::Over {
                if *self.lead.borrow() != Lead::None {
                    let (counts, unnoticed) = (&pass.found.counts, &pass.unnoticed);
                    if_not_locked(note_audit(ground.db, &ground.mapping, counts, unnoticed).await)?;
                }
                let standing = Standing::read(&ground).await?;
                return Ok(Some((standing, ground.mapping)));
            }
            if !needs_lead {
                continue;
            }
            if noted.elapsed() >= NOTED {
                if_not_locked(note_position(ground.db, pass).await)?;
                noted = Instant::now();
            }
            if !rest(&mut self.lead, worked).await {
                return Ok(None);
            }
        }
    }

    fn failed(&mut self, cause: Cause, error: &AttemptError) {
        self.failures = self.failures.saturating_add(1);
        if let Some(pass) = &mut self.pass {
            pass.shorten();
        }
        let (observer, text) = (&self.context.observer, error.to_string());
        match cause {
            // A later failure leaves the earlier report, with its time.
            Cause::Mapping if self.failures == 1 && self.reported == Reported::Nothing => {
                observer.tell(event::Mapping::DriftUnknown(&text));
            }
            // A lock of another session is reported by the session that leads (G16).
            Cause::Due if error.is_locked() => {}
            Cause::Due if self.failures == FAILURES && *self.lead.borrow() != Lead::None => {
                observer.tell(event::Audit::Interrupted(&text));
            }
            _ => {}
        }
    }

    /// Reports a complete pass, and sets the time of the next.
    fn conclude(&mut self, cause: Cause, standing: Standing, mapping: String) {
        let Some(pass) = self.pass.take() else {
            return;
        };
        let (observer, counts, at) = (&self.context.observer, pass.found.counts, SystemTime::now());
        observer.tell(event::Audit::Finished(Compared { at, counts }));
        self.concluded = Some((Instant::now(), Compared { at, counts }));
        let is_settled = standing == Standing::Settled;
        // A batch that began before the change may write under the former mapping yet.
        let passed_over = !is_settled && counts.differing == 0 && counts.pending > 0;
        let owes_report = cause == Cause::Mapping && self.reported == Reported::Nothing;
        self.owes_report = owes_report && passed_over;
        if owes_report && !passed_over {
            observer.tell(event::Mapping::Changed(Totals {
                written: counts.differing,
                unchanged: counts.equal,
                missing: pass.found.missing,
                rejected: pass.found.rejected,
                ..Totals::default()
            }));
        }
        let differs = counts.differing > 0;
        self.reported = if differs && standing != Standing::Settled {
            Reported::Drift
        } else {
            Reported::Nothing
        };
        self.reports
            .pass(observer, &pass, at, self.context.options.audit.repair);
        self.patience.note(standing, Instant::now());
        self.remembered.merge(pass.seen);
        if let (false, Some(noted)) = (is_settled, pass.noted)
            && (counts.differing, counts.pending, counts.enqueued) == (0, 0, 0)
        {
            self.context.in_sync.send_replace(Some(InSync {
                mapping,
                noted,
                counts,
            }));
        }
        let repeats = differs || passed_over || self.remembered.is_to_verify;
        let next = self.after(pass.worked, repeats, is_settled);
        // The next pass tells whether the full check has come.
        let again = pass.is_excused.then(Next::awaited);
        self.next = next.into_iter().chain(again).min_by_key(|next| next.at);
    }

    /// The pass after one that has read for this long: at the interval, or sooner if it `repeats`.
    fn after(&mut self, worked: Duration, repeats: bool, is_settled: bool) -> Option<Next> {
        let regular = self.at_interval(0.9);
        if !repeats {
            self.pause = PAUSE.0;
            return regular;
        }
        let again = Next::repeated(&mut self.pause, worked, is_settled);
        let both = regular.into_iter().chain([again]);
        both.min_by_key(|next| next.at)
    }
}
