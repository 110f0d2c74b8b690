//! What the supervisor is told, worked out of the board: no socket, clock or log in it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::observe::verdict::{stuck, unready};
use crate::observe::{Phase, Snapshot, State, brief};
use crate::show::Clean;

/// How much longer a start may take each time that it is seen to go on, and how often that is said.
const EXTENSION: Duration = Duration::from_secs(60);
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// How many bytes of a reason the status shows.
const REASON: usize = 160;

/// What has been said so far.
#[derive(Debug)]
pub(super) struct Words {
    /// Whether somebody waits for signs of life.
    watchdog: bool,
    ready: bool,
    status: String,
    extended: Option<Instant>,
}

/// What is to be said now.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The lines of one message; nothing where there is nothing to say.
    pub(super) text: String,
    /// The tasks that hang.
    pub(super) hanging: Vec<Hanging>,
}

/// A task that should have given a sign of life.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hanging {
    pub(super) database: String,
    pub(super) silence: Duration,
    pub(super) phase: &'static str,
}

impl Words {
    pub(super) fn new(watchdog: bool) -> Self {
        Self {
            watchdog,
            ready: false,
            status: String::new(),
            extended: None,
        }
    }

    /// Whether READY=1 has been said: once, when every database is in sync or is being tried again
    /// (I4).
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// What is to be said of this board.
    pub(super) fn say(&mut self, board: &Snapshot) -> Said {
        let mut text = String::new();
        let now = board.taken.1;
        let hanging: Vec<_> = board
            .databases
            .iter()
            .filter_map(|entry| hanging(entry, now))
            .collect();
        if !self.ready {
            self.ready = board.databases.iter().all(|(_, state)| has_started(state));
            if self.ready {
                text.push_str("READY=1\n");
            } else if hanging.is_empty()
                && self.extended.is_none_or(|last| now >= last + EXTEND_EVERY)
            {
                // The first catch-up of a large database takes longer than any fixed time.
                self.extended = Some(now);
                let _ = writeln!(text, "EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros());
            }
        }
        let status = status(board);
        if status != self.status {
            let _ = writeln!(text, "STATUS={status}");
            self.status = status;
        }
        if self.watchdog && hanging.is_empty() {
            text.push_str("WATCHDOG=1\n");
        }
        Said { text, hanging }
    }
}

fn hanging((database, state): &(String, State), now: Instant) -> Option<Hanging> {
    let silence = stuck(state, now)?;
    Some(Hanging {
        database: database.clone(),
        silence,
        phase: state.phase.name(),
    })
}

/// Whether a database has been brought in sync, or stands by, or is being tried again.
fn has_started(state: &State) -> bool {
    !matches!(state.phase, Phase::Connecting | Phase::CatchingUp)
}

/// One line for people.
fn status(board: &Snapshot) -> String {
    let all = board.databases.len();
    let mut unserved = board.databases.iter().filter_map(|(name, state)| {
        let reasons = unready(state);
        reasons.into_iter().next().map(|reason| (name, reason.why))
    });
    let first = unserved.next();
    let served = all - usize::from(first.is_some()) - unserved.count();
    let problems: u64 = board
        .databases
        .iter()
        .filter_map(|(_, state)| state.backlog.as_ref())
        .map(|backlog| backlog.problems.total())
        .sum();
    let noun = if all == 1 { "database" } else { "databases" };
    let mut line = format!("{served} of {all} {noun} served");
    if problems > 0 {
        let noun = if problems == 1 { "agent" } else { "agents" };
        let _ = write!(line, "; {problems} {noun} not in sync");
    }
    if let Some((name, why)) = first {
        let why = why.replace('\n', " ");
        let why = Clean::line(&why);
        let _ = write!(line, "; {name}: {}", brief(why.as_str(), REASON));
    }
    line
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::verdict::SLACK;
    use crate::observe::{Backlog, Board, Event, Kinds, Observer};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A board with a database of each name.
    fn board<const N: usize>(names: [&str; N]) -> (Board, [Observer; N]) {
        let board = Board::default();
        let observers = names.map(|name| board.observer(name, "here"));
        for observer in &observers {
            observer.alive(MINUTE);
        }
        (board, observers)
    }

    fn phase(observer: &Observer, phase: Phase) {
        observer.tell(&Event::Phase(phase));
    }

    #[test]
    fn i4_ready_is_said_once_and_only_when_every_database_is_in_sync_or_being_tried_again() {
        let (board, [one, two]) = board(["one", "two"]);
        let mut words = Words::new(false);
        let ready = |words: &mut Words| words.say(&board.snapshot()).text.contains("READY=1\n");
        assert!(!ready(&mut words), "both connect");
        phase(&one, Phase::CatchingUp);
        phase(&two, Phase::Waiting);
        assert!(!ready(&mut words), "one of them has not caught up");
        one.tell(&Event::Lost {
            cause: "no route",
            remedy: "",
        });
        assert!(ready(&mut words), "it is being tried again");
        phase(&one, Phase::CatchingUp);
        assert!(!ready(&mut words) && words.is_ready(), "the start is over");
    }

    #[test]
    fn a_start_is_given_time_while_it_goes_on_and_none_when_it_hangs() {
        let (board, [_one]) = board(["one"]);
        let mut words = Words::new(false);
        let mut extends = |board: &Snapshot| {
            words
                .say(board)
                .text
                .contains("EXTEND_TIMEOUT_USEC=60000000\n")
        };
        let mut later = board.snapshot();
        assert!(extends(&later));
        later.taken.1 += Duration::from_millis(4999);
        assert!(!extends(&later), "not all the time");
        later.taken.1 += Duration::from_millis(1);
        assert!(extends(&later));
        later.taken.1 += MINUTE + SLACK;
        assert!(!extends(&later), "it hangs");
    }

    #[test]
    fn the_watchdog_is_fed_until_one_task_of_many_hangs() {
        let (board, [one, _two]) = board(["one", "two"]);
        let mut words = Words::new(true);
        let mut later = board.snapshot();
        assert!(words.say(&later).text.contains("WATCHDOG=1\n"));
        later.taken.1 += Duration::from_secs(74);
        assert!(
            words.say(&later).text.contains("WATCHDOG=1\n"),
            "still within the promise"
        );
        one.alive(MINUTE * 5);
        let mut later = board.snapshot();
        later.taken.1 += MINUTE + SLACK + Duration::from_secs(1);
        let said = words.say(&later);
        assert!(!said.text.contains("WATCHDOG"), "{}", said.text);
        assert_eq!(
            said.hanging
                .iter()
                .map(|hang| &*hang.database)
                .collect::<Vec<_>>(),
            ["two"]
        );
        assert!(
            !Words::new(false)
                .say(&board.snapshot())
                .text
                .contains("WATCHDOG"),
            "nobody waits for it"
        );
    }

    #[test]
    fn the_status_is_one_line_about_what_is_wrong_and_is_said_when_it_changes() {
        let (board, [one, two]) = board(["one", "two"]);
        phase(&one, Phase::Waiting);
        phase(&two, Phase::Standby);
        let mut words = Words::new(false);
        let said = words.say(&board.snapshot()).text;
        assert!(said.ends_with("STATUS=2 of 2 databases served\n"), "{said}");
        assert!(
            !words.say(&board.snapshot()).text.contains("STATUS"),
            "it has not changed"
        );
        let problems = Kinds {
            rejected: 2,
            ..Kinds::default()
        };
        let backlog = Backlog {
            taken: Instant::now(),
            rows: 0,
            more_rows: false,
            oldest: None,
            problems,
            more_problems: false,
            listed: Vec::new(),
        };
        one.tell(&Event::Backlog {
            backlog: &Arc::new(backlog),
        });
        let cause = format!("no\nroute {}", "x".repeat(1000));
        two.tell(&Event::Lost {
            cause: &cause,
            remedy: "",
        });
        let said = words.say(&board.snapshot()).text;
        let start = "STATUS=1 of 2 databases served; 2 agents not in sync; two: database \
            unavailable: no route x";
        assert!(said.starts_with(start), "{said}");
        assert!(said.len() < 300 && said.lines().count() == 1, "{said}");
    }
}
