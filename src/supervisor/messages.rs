//! The messages for the supervisor, computed from the status registry without socket, clock or log.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::observe::verdict::{stuck, unready};
use crate::observe::{Phase, Snapshot, State};
use crate::show::{Clean, brief, count};

/// The additional time that each message grants a running start, and the interval of these
/// messages.
const EXTENSION: NotifyState<'_> = NotifyState::ExtendTimeoutUsec(60_000_000);
const EXTEND_EVERY: Duration = Duration::from_secs(5);

/// The limit of a reason in the status line, in bytes.
const REASON: usize = 160;

/// The messages sent so far.
#[derive(Debug)]
pub(super) struct Messages {
    /// Whether the watchdog is enabled.
    watchdog: bool,
    ready: bool,
    status: String,
    extended: Option<Instant>,
}

/// The next message.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The lines of the message; empty if there is nothing to send.
    pub(super) text: String,
    /// The hung tasks.
    pub(super) hanging: Vec<Hanging>,
}

/// A task whose heartbeat is overdue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Hanging {
    pub(super) database: String,
    pub(super) silence: Duration,
    pub(super) phase: &'static str,
}

impl Messages {
    pub(super) fn new(watchdog: bool) -> Self {
        Self {
            watchdog,
            ready: false,
            status: String::new(),
            extended: None,
        }
    }

    /// Whether READY=1 has been sent: once, when every database is in sync or is retried after a
    /// failure (I4).
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The next message, for this snapshot.
    pub(super) fn next_message(&mut self, board: &Snapshot) -> Message {
        let mut told = Vec::new();
        let now = board.taken.1;
        let hanging: Vec<_> = board
            .databases
            .iter()
            .filter_map(|entry| hanging(entry, now))
            .collect();
        if !self.ready {
            self.ready = board.databases.iter().all(|(_, state)| has_started(state));
            if self.ready {
                told.push(NotifyState::Ready);
            } else if hanging.is_empty()
                && self.extended.is_none_or(|last| now >= last + EXTEND_EVERY)
            {
                // The first catch-up of a large database takes longer than any fixed time.
                self.extended = Some(now);
                told.push(EXTENSION);
            }
        }
        let status = status(board);
        if status != self.status {
            self.status = status;
            told.push(NotifyState::Status(&self.status));
        }
        if self.watchdog && hanging.is_empty() {
            told.push(NotifyState::Watchdog);
        }
        Message {
            text: lines(&told),
            hanging,
        }
    }
}

/// A message in the form of the protocol: a line for each state.
pub(super) fn lines(states: &[NotifyState<'_>]) -> String {
    let mut text = String::new();
    for state in states {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{state}");
    }
    text
}

fn hanging((database, state): &(String, State), now: Instant) -> Option<Hanging> {
    let silence = stuck(state, now)?;
    Some(Hanging {
        database: database.clone(),
        silence,
        phase: state.phase.name(),
    })
}

/// Whether a database has caught up, stands by, or is retried after a failure.
fn has_started(state: &State) -> bool {
    !matches!(state.phase, Phase::Connecting | Phase::CatchingUp)
}

/// The status line.
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
    let paused = board
        .databases
        .iter()
        .filter(|(_, state)| state.phase == Phase::Paused);
    let paused = paused.count();
    let number = |number: usize| count(number as u64);
    let mut line = format!(
        "{} of {} {noun} served",
        number(served - paused),
        number(all)
    );
    if paused > 0 {
        let _ = write!(line, "; {} paused", number(paused));
    }
    if problems > 0 {
        let noun = if problems == 1 { "agent" } else { "agents" };
        let _ = write!(line, "; {} {noun} not in sync", count(problems));
    }
    let compared = board.databases.iter();
    let compared = compared.filter_map(|(_, state)| state.compared);
    let differing: u64 = compared.map(|compared| compared.counts.differing).sum();
    match differing {
        0 => {}
        1 => line.push_str("; 1 configuration differs"),
        _ => {
            let _ = write!(line, "; {} configurations differ", count(differing));
        }
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

    use std::time::SystemTime;

    use super::*;
    use crate::observe::compared::{Compared, Counts};
    use crate::observe::verdict::SLACK;
    use crate::observe::{Backlog, Board, Event, Kinds, Observer, event};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A status registry with a database of each name.
    fn board<const N: usize>(names: [&str; N]) -> (Board, [Observer; N]) {
        let board = Board::default();
        let observers = names.map(|name| board.observer(name, "here"));
        for observer in &observers {
            observer.alive(MINUTE);
        }
        (board, observers)
    }

    fn phase(observer: &Observer, phase: Phase) {
        observer.tell(Event::Phase(phase));
    }

    #[test]
    fn i4_ready_is_said_once_and_only_when_every_database_is_in_sync_or_being_tried_again() {
        let (board, [one, two]) = board(["one", "two"]);
        let mut messages = Messages::new(false);
        let ready = |messages: &mut Messages| {
            messages
                .next_message(&board.snapshot())
                .text
                .contains("READY=1\n")
        };
        assert!(!ready(&mut messages), "both connect");
        phase(&one, Phase::CatchingUp);
        phase(&two, Phase::Waiting);
        assert!(!ready(&mut messages), "one of them has not caught up");
        one.tell(event::Connection::Lost {
            cause: "no route",
            remedy: "",
            is_answered: false,
        });
        assert!(ready(&mut messages), "it is being tried again");
        phase(&one, Phase::CatchingUp);
        assert!(
            !ready(&mut messages) && messages.is_ready(),
            "the start is over"
        );
    }

    #[test]
    fn a_start_is_given_time_while_it_goes_on_and_none_when_it_hangs() {
        let (board, [_one]) = board(["one"]);
        let mut messages = Messages::new(false);
        let mut extends = |board: &Snapshot| {
            messages
                .next_message(board)
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
        let mut messages = Messages::new(true);
        let mut later = board.snapshot();
        assert!(messages.next_message(&later).text.contains("WATCHDOG=1\n"));
        later.taken.1 += Duration::from_secs(74);
        assert!(
            messages.next_message(&later).text.contains("WATCHDOG=1\n"),
            "still within the promise"
        );
        one.alive(MINUTE * 5);
        let mut later = board.snapshot();
        later.taken.1 += MINUTE + SLACK + Duration::from_secs(1);
        let message = messages.next_message(&later);
        assert!(!message.text.contains("WATCHDOG"), "{}", message.text);
        assert_eq!(
            message
                .hanging
                .iter()
                .map(|hang| &*hang.database)
                .collect::<Vec<_>>(),
            ["two"]
        );
        assert!(
            !Messages::new(false)
                .next_message(&board.snapshot())
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
        let mut messages = Messages::new(false);
        let message = messages.next_message(&board.snapshot()).text;
        assert!(
            message.ends_with("STATUS=2 of 2 databases served\n"),
            "{message}"
        );
        assert!(
            !messages
                .next_message(&board.snapshot())
                .text
                .contains("STATUS"),
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
            sessions: None,
            agents: None,
        };
        one.tell(Event::Backlog(&Arc::new(backlog)));
        let cause = format!("no\nroute {}", "x".repeat(1000));
        two.tell(event::Connection::Lost {
            cause: &cause,
            remedy: "",
            is_answered: false,
        });
        let message = messages.next_message(&board.snapshot()).text;
        let start = "STATUS=1 of 2 databases served; 2 agents not in sync; two: database \
            unavailable: no route x";
        assert!(message.starts_with(start), "{message}");
        assert!(
            message.len() < 300 && message.lines().count() == 1,
            "{message}"
        );
    }

    #[test]
    fn g17_the_status_counts_the_configurations_that_differ() {
        let (board, [one, two]) = board(["one", "two"]);
        phase(&one, Phase::Waiting);
        phase(&two, Phase::Standby);
        let mut messages = Messages::new(false);
        let status = |differing: [u64; 2], messages: &mut Messages| {
            for (observer, differing) in [&one, &two].into_iter().zip(differing) {
                let counts = Counts {
                    differing,
                    ..Counts::default()
                };
                let at = SystemTime::now();
                observer.tell(event::Audit::Finished(Compared { at, counts }));
            }
            messages.next_message(&board.snapshot()).text
        };
        for (differing, end) in [
            ([0, 0], ""),
            ([1, 0], "; 1 configuration differs"),
            ([1200, 5000], "; 6,200 configurations differ"),
            ([0, 0], ""),
        ] {
            let message = status(differing, &mut messages);
            let expected = format!("2 of 2 databases served{end}\n");
            assert!(message.ends_with(&expected), "{message}");
        }
    }
}
