//! The state of a database in one word: the same words in `status`, `/readyz`, `/status`, the page
//! and the metrics.

use super::phase::Phase;
use super::state::State;
use super::verdict::unready;

/// The state of a database, or of a daemon in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// A daemon leads, and nothing is pending.
    Ok,
    /// A daemon starts, catches up or applies changes.
    Busy,
    /// This daemon stands by: another one leads.
    Standby,
    /// Changes are noted and not applied, on purpose.
    Paused,
    /// No daemon leads, so changes wait.
    NoDaemon,
    /// The database has a fault: changes are not applied, or may be missed.
    Broken,
    /// There is no connection to the database.
    Unreachable,
}

impl Condition {
    /// Every state, the best first.
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::Busy,
        Self::Standby,
        Self::Paused,
        Self::NoDaemon,
        Self::Broken,
        Self::Unreachable,
    ];

    /// Its name in every output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Standby => "standby",
            Self::Paused => "paused",
            Self::NoDaemon => "no daemon",
            Self::Broken => "broken",
            Self::Unreachable => "unreachable",
        }
    }

    /// The state as the task of a database sees it. It never is [`Self::NoDaemon`].
    pub fn of(state: &State) -> Self {
        match state.phase {
            Phase::Lost => match &state.trouble {
                Some(trouble) if trouble.is_answered => Self::Broken,
                _ => Self::Unreachable,
            },
            Phase::Connecting | Phase::CatchingUp => Self::Busy,
            _ if !unready(state).is_empty() => Self::Broken,
            Phase::Paused => Self::Paused,
            Phase::Standby => Self::Standby,
            // An open save keeps the daemon from sleeping, and nothing may be pending. A sleeping
            // daemon may wait for rows that other sessions have locked.
            Phase::Draining | Phase::Waiting => match &state.backlog {
                Some(backlog) if backlog.rows > 0 => Self::Busy,
                None if state.phase == Phase::Draining => Self::Busy,
                _ => Self::Ok,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::super::{Backlog, Board, Event, Finding, Kinds, Observer};
    use super::*;

    fn after(tell: impl FnOnce(&Observer)) -> Condition {
        let board = Board::default();
        tell(&board.observer("main", "here"));
        Condition::of(&board.snapshot().databases[0].1)
    }

    fn backlog() -> Backlog {
        Backlog {
            taken: Instant::now(),
            rows: 0,
            more_rows: false,
            oldest: None,
            problems: Kinds::default(),
            more_problems: false,
            listed: Vec::new(),
            sessions: None,
            agents: None,
        }
    }

    #[test]
    fn each_phase_has_a_state() {
        for (phase, expected) in [
            (Phase::Connecting, "busy"),
            (Phase::Standby, "standby"),
            (Phase::CatchingUp, "busy"),
            (Phase::Draining, "busy"),
            (Phase::Waiting, "ok"),
            (Phase::Paused, "paused"),
            (Phase::Lost, "unreachable"),
        ] {
            let state = after(|observer| observer.tell(Event::Phase(phase)));
            assert_eq!(state.name(), expected, "{phase:?}");
        }
    }

    #[test]
    fn a_daemon_with_pending_changes_is_busy() {
        for (phase, rows, expected) in [
            (Phase::Draining, 0, Condition::Ok),
            (Phase::Draining, 1, Condition::Busy),
            (Phase::Waiting, 0, Condition::Ok),
            (Phase::Waiting, 1, Condition::Busy),
        ] {
            let backlog = Backlog { rows, ..backlog() };
            let state = after(|observer| {
                observer.tell(Event::Phase(phase));
                observer.tell(Event::Backlog(&Arc::new(backlog)));
            });
            assert_eq!(state, expected, "{phase:?} {rows}");
        }
    }

    #[test]
    fn a_state_lasts_over_the_phases_that_have_it() {
        let board = Board::default();
        let observer = board.observer("main", "here");
        let told = |event: Event<'_>| {
            observer.tell(event);
            board.snapshot().databases[0].1.condition
        };
        let with = |rows| Arc::new(Backlog { rows, ..backlog() });
        assert_eq!(told(Event::Phase(Phase::CatchingUp)).0, Condition::Busy);
        told(Event::Backlog(&with(0)));
        let ok = told(Event::Phase(Phase::Waiting));
        assert_eq!(ok.0, Condition::Ok);
        for phase in [Phase::Draining, Phase::Waiting, Phase::Draining] {
            assert_eq!(told(Event::Phase(phase)), ok, "{phase:?}");
        }
        let busy = told(Event::Backlog(&with(1)));
        assert!(busy.0 == Condition::Busy && busy.1 > ok.1, "{busy:?}");
        assert_eq!(told(Event::Backlog(&with(2))), busy);
        let again = told(Event::Emptied);
        assert!(again.0 == Condition::Ok && again.1 > busy.1, "{again:?}");
    }

    #[test]
    fn a_server_that_answers_is_not_unreachable() {
        for (is_answered, expected) in [(true, Condition::Broken), (false, Condition::Unreachable)]
        {
            let lost = super::super::event::Connection::Lost {
                cause: "x",
                remedy: "y",
                is_answered,
            };
            let state = after(|observer| observer.tell(Event::Connection(lost)));
            assert_eq!(state, expected);
        }
    }

    #[test]
    fn a_database_whose_changes_may_be_missed_is_broken() {
        let finding = |misses_changes| Finding {
            what: "x".into(),
            remedy: "y".into(),
            misses_changes,
        };
        for (phase, misses_changes, expected) in [
            (Phase::Waiting, true, Condition::Broken),
            (Phase::Draining, true, Condition::Broken),
            (Phase::Standby, true, Condition::Broken),
            (Phase::Paused, true, Condition::Broken),
            (Phase::Paused, false, Condition::Paused),
            (Phase::Waiting, false, Condition::Ok),
        ] {
            let state = after(|observer| {
                observer.tell(Event::Phase(phase));
                observer.tell(Event::InForce(&[finding(misses_changes)]));
            });
            assert_eq!(state, expected, "{phase:?}");
        }
    }
}
