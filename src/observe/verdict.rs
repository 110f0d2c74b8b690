//! The health checks of a database: does its task make progress, and is it served?
//!
//! Both are about the present. A problem of a single agent affects neither: it is listed, and the
//! other agents are synced (G5).

use std::time::{Duration, Instant};

use super::phase::Phase;
use super::state::State;

/// The allowed delay of a heartbeat: the tasks share one thread, and the machine may be busy.
pub const SLACK: Duration = Duration::from_secs(15);

/// The time since the last heartbeat if the task hangs, otherwise `None`; for `/livez` and the
/// watchdog.
///
/// Before each wait, a task announces the longest duration of the wait ([`super::pulse`]). A task
/// hangs if this time and [`SLACK`] have passed without another heartbeat.
pub fn stuck(state: &State, now: Instant) -> Option<Duration> {
    let (last, due) = state.alive;
    (now > due + SLACK).then(|| now.saturating_duration_since(last))
}

/// A reason why a database is not served, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The reason.
    pub why: String,
    /// The remedy, if there is one.
    pub remedy: Option<String>,
}

/// The reasons why changes do not reach, or may not reach, the configurations of this database
/// through this daemon or the leader; empty if the database is served.
pub fn unready(state: &State) -> Vec<Reason> {
    let simply = |why: &str| {
        vec![Reason {
            why: why.to_owned(),
            remedy: None,
        }]
    };
    match state.phase {
        Phase::Connecting => simply("connecting for the first time"),
        Phase::CatchingUp => simply("catching up with what was saved before"),
        Phase::Lost => {
            let trouble = state.trouble.as_ref();
            let cause = trouble.map_or("unknown", |trouble| &trouble.cause);
            let what = match trouble {
                Some(trouble) if trouble.is_answered => "the daemon cannot work in the database",
                _ => "database unavailable",
            };
            vec![Reason {
                why: format!("{what}: {cause}"),
                remedy: trouble.map(|trouble| trouble.remedy.to_string()),
            }]
        }
        // A pause itself is on purpose, and shown everywhere.
        Phase::Paused | Phase::Standby | Phase::Draining | Phase::Waiting => {
            let findings = state
                .findings
                .iter()
                .filter(|found| found.finding.misses_changes);
            let before = if state.phase == Phase::Standby {
                ""
            } else {
                "changes may be missed: "
            };
            let reason = |found: &super::state::InForce| Reason {
                why: format!("{before}{}", found.finding.what),
                remedy: Some(found.finding.remedy.clone()),
            };
            findings.map(reason).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Board, Event, Finding};
    use super::*;

    fn board_and<T>(tell: impl FnOnce(&super::super::Observer) -> T) -> State {
        let board = Board::default();
        tell(&board.observer("main", "here"));
        board.snapshot().databases.remove(0).1
    }

    #[test]
    fn a_loop_is_stuck_once_its_promise_and_the_slack_are_over_and_not_before() {
        let promise = Duration::from_secs(40);
        let state = board_and(|observer| observer.alive(promise));
        let (last, _) = state.alive;
        for (after, expected) in [
            (Duration::ZERO, None),
            (promise, None),
            (promise + SLACK, None),
            (
                promise + SLACK + Duration::from_millis(1),
                Some(promise + SLACK + Duration::from_millis(1)),
            ),
            (Duration::from_secs(3600), Some(Duration::from_secs(3600))),
        ] {
            assert_eq!(stuck(&state, last + after), expected, "{after:?}");
        }
    }

    #[test]
    fn a_database_is_served_when_this_daemon_has_caught_up_or_stands_by() {
        for (phase, served) in [
            (Phase::Connecting, false),
            (Phase::Standby, true),
            (Phase::CatchingUp, false),
            (Phase::Draining, true),
            (Phase::Waiting, true),
            (Phase::Paused, true),
            (Phase::Lost, false),
        ] {
            let state = board_and(|observer| observer.tell(Event::Phase(phase)));
            assert_eq!(unready(&state).is_empty(), served, "{phase:?}");
        }
    }

    #[test]
    fn a_finding_counts_while_it_is_in_force_and_if_changes_may_be_missed() {
        let finding = |misses_changes| Finding {
            what: "x".into(),
            remedy: "y".into(),
            misses_changes,
        };
        let told = |observer: &super::super::Observer, findings: &[Finding]| {
            observer.tell(Event::Phase(Phase::Waiting));
            observer.tell(Event::InForce(findings));
        };
        let state = board_and(|observer| told(observer, &[finding(true), finding(false)]));
        let expected = Reason {
            why: "changes may be missed: x".into(),
            remedy: Some("y".into()),
        };
        assert_eq!(unready(&state), [expected]);
        assert!(unready(&board_and(|observer| told(observer, &[finding(false)]))).is_empty());
        let over = board_and(|observer| {
            told(observer, &[finding(true)]);
            told(observer, &[]);
        });
        assert!(unready(&over).is_empty());
    }
}
