//! The status registry: the current state of every database, for HTTP and systemd.
//!
//! Authority: the events. The database tasks emit them, [`Cell::note`] alone applies them to the
//! state, and readers get copies. So a reader neither accesses PostgreSQL nor delays a task: the
//! lock of a database is held for a few instructions. Invariant: memory is bounded, see
//! [`super::state`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::event::{Committed, Event};
use super::flood::{Flood, Manner};
use super::observer::Observer;
use super::state::{
    Backlog, CHANGES, Change, Columns, Compared, FINDINGS, Finding, InForce, Outcome, Phase, State,
    Trouble, WakeUp, brief,
};
use super::totals::Totals;

/// The limits of a stored slug and a stored sentence, in bytes.
const SLUG: usize = 128;
const SENTENCE: usize = 2000;

/// The states of all databases.
#[derive(Debug)]
pub struct Board {
    started: (SystemTime, Instant),
    databases: Mutex<BTreeMap<String, Arc<Cell>>>,
}

/// The state of one database.
#[derive(Debug)]
pub(super) struct Cell {
    /// The start of the first minute of the last-hour ring: the start of the process.
    started: Instant,
    state: Mutex<State>,
    flood: Mutex<Flood>,
}

/// A copy of all states.
#[derive(Debug)]
pub struct Snapshot {
    /// The start of the process.
    pub started: (SystemTime, Instant),
    /// The time of the copy.
    pub taken: (SystemTime, Instant),
    /// The states, ordered by the names of the databases.
    pub databases: Vec<(String, State)>,
}

impl Snapshot {
    /// The number of the running minute since the start of the process.
    pub fn minute(&self) -> u64 {
        minute(self.started.1, self.taken.1)
    }
}

fn minute(started: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(started).as_secs() / 60
}

impl Default for Board {
    fn default() -> Self {
        Self {
            started: (SystemTime::now(), Instant::now()),
            databases: Mutex::default(),
        }
    }
}

impl Board {
    /// Adds a database and returns the observer of its events. A database that is already present
    /// keeps its counts.
    pub fn observer(&self, database: &str, target: &str) -> Observer {
        let mut databases = lock(&self.databases);
        let cell = databases
            .entry(database.to_owned())
            .or_insert_with(|| Arc::new(Cell::new(target, self.started.1)));
        cell.lock().target = target.into();
        Observer::of(database, Arc::clone(cell))
    }

    /// Whether the database is in the phase [`Phase::Lost`].
    pub fn is_lost(&self, database: &str) -> bool {
        lock(&self.databases)
            .get(database)
            .is_some_and(|cell| cell.lock().phase == Phase::Lost)
    }

    /// Whether the last comparison found configurations that differ.
    pub fn is_drifting(&self, database: &str) -> bool {
        let databases = lock(&self.databases);
        let compared = databases
            .get(database)
            .and_then(|cell| cell.lock().compared);
        compared.is_some_and(|compared| compared.differing > 0)
    }

    /// Removes a database.
    pub fn remove(&self, database: &str) {
        lock(&self.databases).remove(database);
    }

    /// Copies all states.
    pub fn snapshot(&self) -> Snapshot {
        let databases: Vec<_> = lock(&self.databases)
            .iter()
            .map(|(name, cell)| (name.clone(), Arc::clone(cell)))
            .collect();
        let databases = databases
            .into_iter()
            .map(|(name, cell)| (name, cell.lock().clone()))
            .collect();
        Snapshot {
            started: self.started,
            taken: (SystemTime::now(), Instant::now()),
            databases,
        }
    }
}

/// Locks a mutex. The critical sections are a few instructions that cannot panic, so a poisoned
/// state is still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cell {
    pub(super) fn new(target: &str, started: Instant) -> Self {
        Self {
            started,
            state: Mutex::new(State::new(target)),
            flood: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Records a heartbeat; the next one is due within this time.
    pub(super) fn alive(&self, within: Duration) {
        let now = Instant::now();
        self.lock().alive = (now, now + within);
    }

    /// Decides how an event is logged, because the lines about single agents are limited.
    pub(super) fn meet(&self, event: &Event<'_>) -> Manner {
        lock(&self.flood).meet(event, Instant::now())
    }

    /// Applies an event to the state. Many events only concern the log.
    pub(super) fn note(&self, event: &Event<'_>) {
        let minute = || minute(self.started, Instant::now());
        let mut state = self.lock();
        let state = &mut *state;
        match *event {
            Event::Phase(phase) => enter(state, phase),
            Event::Connected {
                server_version,
                target,
            } => {
                // A reloaded connection string may lead to another server.
                if *state.target != *target {
                    state.target = target.into();
                }
                // The first connection is no reconnect.
                state.reconnects += u64::from(state.server_version.is_some());
                state.server_version = Some(server_version.into());
            }
            Event::Lost { cause, remedy } | Event::StillLost { cause, remedy, .. } => {
                enter(state, Phase::Lost);
                state.trouble = Some(Trouble {
                    cause: brief(cause, SENTENCE).into(),
                    remedy: brief(remedy, SENTENCE).into(),
                    at: SystemTime::now(),
                });
            }
            Event::Woken { cause } => {
                let place = WakeUp::ALL.iter().position(|known| *known == cause);
                if let Some(count) = place.and_then(|place| state.wake_ups.get_mut(place)) {
                    *count += 1;
                }
            }
            Event::InForce { findings } => replace_findings(state, findings),
            Event::RulesChanged { totals } | Event::Compared { totals } => {
                let Totals {
                    written: differing,
                    unchanged: equal,
                    ..
                } = totals;
                state.compared = Some(Compared {
                    at: SystemTime::now(),
                    differing,
                    equal,
                });
            }
            // The last comparison used other rules.
            Event::DriftUnknown { .. } => state.compared = None,
            Event::Backlog { backlog } => state.backlog = Some(Arc::clone(backlog)),
            // The last backlog is older than the lock.
            Event::LockedOut { .. } => state.backlog = None,
            Event::Emptied => empty_outbox(state),
            Event::Batch { totals, batch } => {
                let minute = Arc::make_mut(&mut state.hour).at(minute());
                minute.totals.add(totals);
                for seconds in batch.latencies() {
                    minute.latency.add(seconds);
                    state.latency.add(seconds);
                }
                count_batch(state, totals, batch);
            }
            Event::MissingConfiguration { slug, .. } => {
                record_change(
                    state,
                    slug,
                    Outcome::MissingConfiguration,
                    Columns::default(),
                );
            }
            Event::Rejected { slug, .. } => {
                record_change(state, slug, Outcome::Rejected, Columns::default());
            }
            Event::Ambiguous { slug, .. } => {
                record_change(state, slug, Outcome::Ambiguous, Columns::default());
            }
            Event::Failed { slug, .. } => {
                state.failed += 1;
                Arc::make_mut(&mut state.hour).at(minute()).failed += 1;
                record_change(state, slug, Outcome::Failed, Columns::default());
            }
            _ => {}
        }
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
    if !phase.leads() {
        state.backlog = None;
    }
}

/// Replaces the findings. A finding that is already known keeps its time.
fn replace_findings(state: &mut State, findings: &[Finding]) {
    let known = |finding: &Finding| {
        state
            .findings
            .iter()
            .find(|known| known.finding == *finding)
    };
    let since = |finding| known(finding).map_or_else(SystemTime::now, |known| known.since);
    let findings = findings.iter().take(FINDINGS);
    state.findings = findings
        .map(|finding| InForce {
            finding: finding.clone(),
            since: since(finding),
        })
        .collect();
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

/// Counts a batch and records its changes.
fn count_batch(state: &mut State, totals: Totals, batch: Committed<'_>) {
    state.totals.add(totals);
    #[allow(clippy::cast_precision_loss, reason = "a batch is far smaller")]
    state.batch_rows.add(batch.rows as f64);
    state.last_sync = Some(SystemTime::now());
    // Only the last changes of a large batch are kept.
    let skipped = batch.written.len().saturating_sub(CHANGES);
    for (slug, columns) in batch.written.iter().skip(skipped) {
        record_change(state, slug, Outcome::Written, *columns);
    }
}

fn record_change(state: &mut State, slug: &str, outcome: Outcome, columns: Columns) {
    let changes = Arc::make_mut(&mut state.changes);
    if changes.len() >= CHANGES {
        changes.pop_front();
    }
    changes.push_back(Change {
        at: SystemTime::now(),
        slug: brief(slug, SLUG).into(),
        outcome,
        columns,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Column;

    fn state(board: &Board) -> State {
        board.snapshot().databases.remove(0).1
    }

    #[test]
    fn whatever_is_told_the_board_of_a_database_stays_small() {
        let board = Board::default();
        let observer = board.observer("main", "");
        let slugs: Vec<String> = (0..5000).map(|number| format!("{number:0>500}")).collect();
        let written: Vec<_> = slugs
            .iter()
            .map(|slug| (slug.as_str(), Column::ALL.into_iter().collect()))
            .collect();
        for _ in 0..3 {
            let batch = Committed {
                rows: 5000,
                written: &written,
                ages: &vec![0.1; 5000],
                took: Duration::ZERO,
            };
            observer.tell(&Event::Batch {
                totals: Totals::default(),
                batch,
            });
        }
        let long = "x".repeat(1_000_000);
        observer.tell(&Event::Lost {
            cause: &long,
            remedy: &long,
        });
        let many: Vec<_> = (0..1000)
            .map(|number| Finding {
                what: number.to_string(),
                remedy: String::new(),
                misses_changes: true,
            })
            .collect();
        observer.tell(&Event::InForce { findings: &many });
        let state = state(&board);
        assert_eq!(
            (state.changes.len(), state.findings.len()),
            (CHANGES, FINDINGS)
        );
        let slugs = state
            .changes
            .iter()
            .map(|change| size_of::<Change>() + change.slug.len() + 16)
            .sum::<usize>();
        let hour = size_of::<super::super::hour::Minute>() * super::super::hour::MINUTES;
        let trouble = state
            .trouble
            .map_or(0, |trouble| trouble.cause.len() + trouble.remedy.len());
        let all = size_of::<State>() + slugs + hour + trouble + FINDINGS * size_of::<InForce>();
        assert!(all < 64 * 1024, "{all} bytes");
    }

    #[test]
    fn a_database_that_is_put_on_the_board_again_keeps_what_was_counted_until_it_is_taken_off() {
        let board = Board::default();
        let connected = |observer: &Observer, target| {
            observer.tell(&Event::Connected {
                server_version: "16",
                target,
            });
        };
        connected(&board.observer("main", "here"), "here");
        connected(&board.observer("main", "there"), "there");
        assert_eq!(
            (state(&board).reconnects, &*state(&board).target),
            (1, "there")
        );
        board.remove("main");
        connected(&board.observer("main", "there"), "elsewhere");
        assert_eq!(
            &*state(&board).target,
            "elsewhere",
            "where the session leads"
        );
        assert_eq!(state(&board).reconnects, 0);
    }

    #[test]
    fn the_time_without_a_connection_adds_up_and_the_running_outage_counts() {
        let board = Board::default();
        let observer = board.observer("main", "");
        let lost = Event::Lost {
            cause: "",
            remedy: "",
        };
        observer.tell(&lost);
        let since = state(&board).since.1;
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(state(&board).outage(since + minute), minute);
        observer.tell(&Event::Phase(Phase::CatchingUp));
        assert!(state(&board).outage(since + minute) < second, "it is over");
        let before = state(&board).outage(since);
        observer.tell(&lost);
        observer.tell(&Event::StillLost {
            cause: "",
            remedy: "",
            pause: second,
        });
        let since = state(&board).since.1;
        assert_eq!(
            state(&board).outage(since + minute),
            before + minute,
            "one outage, told of twice"
        );
    }

    #[test]
    fn an_outbox_that_was_found_empty_is_not_told_as_it_was_counted_before() {
        let board = Board::default();
        let observer = board.observer("main", "");
        let problems = super::super::Kinds {
            failed: 2,
            ..Default::default()
        };
        let (oldest, taken) = (Some(Duration::from_secs(9)), Instant::now());
        let backlog = Backlog {
            taken,
            rows: 7,
            more_rows: true,
            oldest,
            problems,
            more_problems: false,
            listed: Vec::new(),
        };
        observer.tell(&Event::Phase(Phase::Draining));
        observer.tell(&Event::Backlog {
            backlog: &Arc::new(backlog),
        });
        observer.tell(&Event::Emptied);
        let backlog = state(&board).backlog;
        let told = backlog.map(|backlog| {
            (
                backlog.rows,
                backlog.more_rows,
                backlog.oldest,
                backlog.problems,
            )
        });
        assert_eq!(told, Some((0, false, None, problems)));
        observer.tell(&Event::Lost {
            cause: "",
            remedy: "",
        });
        assert!(
            state(&board).backlog.is_none(),
            "who does not lead does not know"
        );
    }
}
