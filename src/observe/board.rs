//! The status registry: the current state of every database, for HTTP and systemd.
//!
//! Authority: the events. The database tasks emit them, [`Cell::note`] alone applies them to the
//! state, and readers get copies. So a reader neither accesses PostgreSQL nor delays a task: the
//! lock of a database is held for a few instructions. Invariant: memory is bounded, see
//! [`super::state`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use super::cell::{Cell, lock, minute};
use super::observer::Observer;
use super::phase::Phase;
use super::state::State;

/// The states of all databases.
#[derive(Debug)]
pub struct Board {
    started: (SystemTime, Instant),
    databases: Mutex<BTreeMap<String, Arc<Cell>>>,
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
        compared.is_some_and(|compared| compared.counts.differing > 0)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::columns::Column;
    use crate::key::Keys;
    use crate::observe::event::{Committed, Connection, Event};
    use crate::observe::state::{Backlog, CHANGES, Change, FINDINGS, Finding, InForce};
    use crate::observe::totals::Totals;

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
            .map(|slug| {
                let key = Keys::Tenants.parts(slug);
                (key, Column::ALL.into_iter().collect())
            })
            .collect();
        for _ in 0..3 {
            let batch = Committed {
                rows: 5000,
                written: &written,
                ages: &vec![0.1; 5000],
                took: Duration::ZERO,
            };
            observer.tell(Event::Batch {
                totals: Totals::default(),
                batch,
            });
        }
        let long = "x".repeat(1_000_000);
        observer.tell(Connection::Lost {
            cause: &long,
            remedy: &long,
            is_answered: false,
        });
        let many: Vec<_> = (0..1000)
            .map(|number| Finding {
                what: number.to_string(),
                remedy: String::new(),
                misses_changes: true,
            })
            .collect();
        observer.tell(Event::InForce(&many));
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
            observer.tell(Event::Connected {
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
        let lost = || Connection::Lost {
            cause: "",
            remedy: "",
            is_answered: false,
        };
        observer.tell(lost());
        let since = state(&board).since.1;
        let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(state(&board).outage(since + minute), minute);
        observer.tell(Event::Phase(Phase::CatchingUp));
        assert!(state(&board).outage(since + minute) < second, "it is over");
        let before = state(&board).outage(since);
        observer.tell(lost());
        observer.tell(Connection::StillLost {
            cause: "",
            remedy: "",
            is_answered: false,
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
            sessions: None,
            agents: None,
        };
        observer.tell(Event::Phase(Phase::Draining));
        observer.tell(Event::Backlog(&Arc::new(backlog)));
        observer.tell(Event::Emptied);
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
        observer.tell(Connection::Lost {
            cause: "",
            remedy: "",
            is_answered: false,
        });
        assert!(
            state(&board).backlog.is_none(),
            "who does not lead does not know"
        );
    }
}
