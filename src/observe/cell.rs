//! The state of one database, as the events leave it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::event::{Audit, Committed, Connection, Event, Mapping, NotInSync, Tables};
use super::flood::{Flood, LogDecision};
use super::pause::Pause;
use super::phase::Phase;
use super::state::{
    Backlog, CHANGES, Change, Columns, FINDINGS, Finding, InForce, Outcome, State, Trouble, WakeUp,
};
use super::totals::Totals;
use super::unmapped::{Novelty, UnmappedSettings};
use crate::key::Key;
use crate::show::{TEXT, bounded, brief};

/// The limits of a stored slug or tenant and a stored sentence, in bytes.
const SLUG: usize = 128;
const SENTENCE: usize = 2000;

/// The length of the version of a server, in bytes.
const NAME: usize = 255;

/// The state of one database.
#[derive(Debug)]
pub(super) struct Cell {
    /// The start of the first minute of the last-hour ring: the start of the process.
    started: Instant,
    state: Mutex<State>,
    flood: Mutex<Flood>,
    /// The number of batches begun.
    batches: AtomicU64,
}

impl Cell {
    pub(super) fn new(target: &str, started: Instant) -> Self {
        Self {
            started,
            state: Mutex::new(State::new(target)),
            flood: Mutex::default(),
            batches: AtomicU64::new(0),
        }
    }

    /// The number of the next batch, from 1 on.
    pub(super) fn next_batch(&self) -> u64 {
        self.batches.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Records a heartbeat; the next one is due within this time.
    pub(super) fn alive(&self, within: Duration) {
        let now = Instant::now();
        self.lock().alive = (now, now + within);
    }

    /// Decides how an event is logged, because the lines about single agents are limited.
    pub(super) fn decide_log(&self, event: &Event<'_>) -> LogDecision {
        lock(&self.flood).decide(event, Instant::now())
    }

    /// Notes a voice setting that no rule reads.
    pub(super) fn note_unmapped(
        &self,
        setting: &str,
        key: &Key<'_>,
        remark: impl FnOnce() -> String,
    ) -> Novelty {
        self.lock().unmapped.note(setting, key, remark)
    }

    /// Applies an event to the state. Many events only concern the log.
    pub(super) fn note(&self, event: &Event<'_>) {
        let minute = || minute(self.started, Instant::now());
        let mut state = self.lock();
        let state = &mut *state;
        match *event {
            Event::Phase(phase) => enter(state, phase),
            Event::Paused(pause) => begin_pause(state, pause),
            Event::LedBy(leader) => state.led_by = leader.map(|leader| Arc::new(leader.clone())),
            Event::Connected {
                server_version,
                target,
            } => {
                // A reloaded connection string may lead to another server.
                state.target = target.into();
                // The first connection is no reconnect.
                state.reconnects += u64::from(state.server_version.is_some());
                state.server_version = Some(bounded(server_version, NAME).into());
            }
            Event::Connection(
                Connection::Lost {
                    cause,
                    remedy,
                    is_answered,
                }
                | Connection::StillLost {
                    cause,
                    remedy,
                    is_answered,
                    ..
                },
            ) => lose(state, cause, remedy, is_answered),
            Event::Woken(cause) => {
                let place = WakeUp::ALL.iter().position(|known| *known == cause);
                if let Some(count) = place.and_then(|place| state.wake_ups.get_mut(place)) {
                    *count += 1;
                }
            }
            Event::InForce(findings) => replace_findings(state, findings),
            Event::Audit(ref audit) => note_audit(state, audit),
            Event::Mapping(Mapping::Adopted) => state.unmapped = UnmappedSettings::default(),
            // The last comparison used other rules.
            Event::Mapping(Mapping::DriftUnknown(_)) => state.compared = None,
            Event::Backlog(backlog) => state.backlog = Some(Arc::clone(backlog)),
            // The last backlog is older than the lock.
            Event::Tables(Tables::LockedOut(_)) => state.backlog = None,
            Event::Emptied => empty_outbox(state),
            Event::Batch { totals, batch } => count_batch(state, minute(), totals, batch),
            Event::NotInSync { key, problem, .. } => {
                if let NotInSync::Failed { .. } = problem {
                    state.failed += 1;
                    Arc::make_mut(&mut state.hour).at(minute()).failed += 1;
                }
                record_change(state, key, outcome(problem), Columns::default());
            }
            _ => {}
        }
        state.note_condition();
    }
}

/// Enters a phase, unless it is the current one. The backlog is dropped when the daemon does not
/// lead, because only the leader reads it.
fn enter(state: &mut State, phase: Phase) {
    if state.phase == phase {
        return;
    }
    let now = Instant::now();
    state.outage = state.outage(now);
    // The findings of a standby concern the leader, and those of a leader the database, so a change
    // of role drops them.
    if phase == Phase::Standby || state.phase == Phase::Standby {
        state.findings = Arc::default();
    }
    (state.phase, state.since) = (phase, (SystemTime::now(), now));
    (state.pause, state.led_by) = (None, None);
    if !phase.leads() {
        state.backlog = None;
    }
}

fn lose(state: &mut State, cause: &str, remedy: &str, is_answered: bool) {
    enter(state, Phase::Lost);
    state.trouble = Some(Trouble {
        cause: bounded(cause, SENTENCE).into(),
        remedy: bounded(remedy, SENTENCE).into(),
        is_answered,
        at: SystemTime::now(),
    });
}

fn begin_pause(state: &mut State, pause: &Pause) {
    enter(state, Phase::Paused);
    if pause.releases {
        // Nothing looks whether they still hold.
        state.findings = Arc::default();
    }
    state.pause = Some(Arc::new(pause.clone()));
}

/// Replaces the findings. A finding that is already known keeps its time.
fn replace_findings(state: &mut State, findings: &[Finding]) {
    let known = |finding: &Finding| {
        state
            .findings
            .iter()
            .find(|known| known.finding == *finding)
    };
    let since =
        |finding: &Finding| known(finding).map_or_else(SystemTime::now, |known| known.since);
    let brief = findings.iter().take(FINDINGS).map(|finding| Finding {
        what: bounded(&finding.what, TEXT).into_owned(),
        remedy: bounded(&finding.remedy, TEXT).into_owned(),
        ..*finding
    });
    state.findings = brief
        .map(|finding| InForce {
            since: since(&finding),
            finding,
        })
        .collect();
}

/// Notes what a comparison of every agent has found.
fn note_audit(state: &mut State, audit: &Audit<'_>) {
    match audit {
        Audit::Finished(compared) => state.compared = Some(*compared),
        Audit::Known(compared, unnoticed) => {
            state.compared = Some(*compared);
            state.unnoticed = unnoticed.cloned();
        }
        Audit::Unnoticed(unnoticed) => {
            state.unnoticed_total += unnoticed.agents;
            state.unnoticed = Some((*unnoticed).clone());
        }
        Audit::Edited { .. }
        | Audit::Stuck { .. }
        | Audit::Reverted { .. }
        | Audit::Unread { .. }
        | Audit::Interrupted(_) => {}
    }
}

/// Sets the backlog to zero rows, because a later scan found the outbox empty.
fn empty_outbox(state: &mut State) {
    let Some(backlog) = state.backlog.as_mut().filter(|backlog| backlog.rows > 0) else {
        return;
    };
    *backlog = Arc::new(Backlog {
        rows: 0,
        more_rows: false,
        oldest: None,
        ..Backlog::clone(backlog)
    });
}

/// Counts a batch in the running minute, and records its changes.
fn count_batch(state: &mut State, minute: u64, totals: Totals, batch: Committed<'_>) {
    let minute = Arc::make_mut(&mut state.hour).at(minute);
    minute.totals.add(totals);
    for seconds in batch.latencies() {
        minute.latency.add(seconds);
        state.latency.add(seconds);
    }
    state.totals.add(totals);
    #[allow(clippy::cast_precision_loss, reason = "a batch is far smaller")]
    state.batch_rows.add(batch.rows as f64);
    state.last_sync = Some(SystemTime::now());
    // Only the last changes of a large batch are kept.
    let skipped = batch.written.len().saturating_sub(CHANGES);
    for (key, columns) in batch.written.iter().skip(skipped) {
        record_change(state, key, Outcome::Written, *columns);
    }
}

fn record_change(state: &mut State, key: &Key<'_>, outcome: Outcome, columns: Columns) {
    let changes = Arc::make_mut(&mut state.changes);
    if changes.len() >= CHANGES {
        changes.pop_front();
    }
    changes.push_back(Change {
        at: SystemTime::now(),
        tenant: key
            .tenant
            .as_deref()
            .map(|tenant| brief(tenant, SLUG).into()),
        slug: brief(key.slug, SLUG).into(),
        outcome,
        columns,
    });
}

fn outcome(problem: NotInSync<'_>) -> Outcome {
    match problem {
        NotInSync::MissingConfiguration { .. } => Outcome::MissingConfiguration,
        NotInSync::Rejected(_) => Outcome::Rejected,
        NotInSync::Ambiguous => Outcome::Ambiguous,
        NotInSync::Failed { .. } => Outcome::Failed,
    }
}

/// Locks a mutex. The critical sections are a few instructions that cannot panic, so a poisoned
/// state is still valid.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a minute since the start.
pub(super) fn minute(started: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(started).as_secs() / 60
}
