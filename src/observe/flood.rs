//! Limits the log lines about single agents: the first few of each kind within a time window are
//! logged, and the others are counted in one summary line. A backlog of a million agents without
//! configurations does not cause a million lines.
//!
//! No timer runs. The next event of the kind, the next empty outbox or the end of the session ends
//! the window, so it ends within one sweep.
//!
//! Invariant: the logged lines and the numbers of the summaries add up to the agents seen. Beyond
//! [`REMEMBERED`] different agents, an agent that is seen again is counted again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::event::{Connection, Event, NotInSync};
use crate::key::Key;

/// The number of lines of a kind that are logged within [`WINDOW`].
const LOGGED: usize = 20;

/// The length of the time window.
const WINDOW: Duration = Duration::from_secs(10);

/// The number of agents remembered in a window, so that the same event of an agent is logged once.
const REMEMBERED: usize = 1024;

/// The kinds of events about a single agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Missing,
    Rejected,
    Ambiguous,
    Failed,
    Mapped,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [
        Self::Missing,
        Self::Rejected,
        Self::Ambiguous,
        Self::Failed,
        Self::Mapped,
    ];

    /// The kind, the agent and the detail of an event about a single agent; `None` for other
    /// events.
    fn of<'a>(event: &Event<'a>) -> Option<(Self, &'a Key<'a>, &'a str)> {
        match *event {
            Event::NotInSync { key, problem, .. } => Some(match problem {
                NotInSync::MissingConfiguration { .. } => (Self::Missing, key, ""),
                NotInSync::Rejected(reasons) => (Self::Rejected, key, reasons),
                NotInSync::Ambiguous => (Self::Ambiguous, key, ""),
                NotInSync::Failed { detail, .. } => (Self::Failed, key, detail),
            }),
            Event::Mapped { key, warning } => Some((Self::Mapped, key, warning)),
            _ => None,
        }
    }
}

/// How an event is logged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LogDecision {
    /// Whether the event gets no line of its own.
    pub(super) held: bool,
    /// The number of agents of each kind to log in a summary first, in the order of [`Kind::ALL`].
    pub(super) summaries: [u64; 5],
}

/// The windows of one database, one for each kind.
#[derive(Debug, Default)]
pub(super) struct Flood([Window; 5]);

/// The time window of one kind.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    /// Hashes of key and detail of the agents seen since the outbox was last empty; a repetition is
    /// not logged.
    seen: HashSet<u64>,
    logged: usize,
    held: u64,
    summed_up: bool,
}

impl Flood {
    /// Counts an event and decides how it is logged.
    pub(super) fn decide(&mut self, event: &Event<'_>, now: Instant) -> LogDecision {
        if event.is_known() {
            return LogDecision {
                held: true,
                ..LogDecision::default()
            };
        }
        let mut decision = LogDecision::default();
        if let Some((kind, agent, detail)) = Kind::of(event) {
            let mut key = DefaultHasher::new();
            (agent, detail).hash(&mut key);
            for ((known, window), due) in Kind::ALL
                .iter()
                .zip(&mut self.0)
                .zip(&mut decision.summaries)
            {
                if *known == kind {
                    *due = window.renew(now);
                    decision.held = window.holds(key.finish());
                }
            }
            return decision;
        }
        let ends = matches!(
            event,
            Event::Connection(Connection::Stopped | Connection::Lost { .. })
        );
        if ends || matches!(event, Event::Emptied) {
            for (window, due) in self.0.iter_mut().zip(&mut decision.summaries) {
                window.seen.clear();
                if ends || window.is_over(now) || !window.summed_up {
                    *due = std::mem::take(&mut window.held);
                    window.summed_up |= *due > 0;
                }
            }
        }
        decision
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        self.began
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
    }

    /// Starts a new window if this one is over. Returns the number of lines held back in the old
    /// one.
    fn renew(&mut self, now: Instant) -> u64 {
        if !self.is_over(now) {
            return 0;
        }
        std::mem::replace(
            self,
            Self {
                began: Some(now),
                ..Self::default()
            },
        )
        .held
    }

    /// Whether this event gets no line of its own; counts it if so.
    fn holds(&mut self, agent: u64) -> bool {
        if self.seen.contains(&agent) {
            return true;
        }
        if self.seen.len() < REMEMBERED {
            self.seen.insert(agent);
        }
        if self.logged < LOGGED {
            self.logged += 1;
            return false;
        }
        self.held += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Keys;

    fn missing(flood: &mut Flood, slug: &str, now: Instant) -> LogDecision {
        flood.decide(
            &Event::NotInSync {
                key: &Keys::Slugs.parts(slug),
                known: false,
                problem: NotInSync::MissingConfiguration { near: None },
                remedy: "",
            },
            now,
        )
    }

    #[test]
    fn the_first_lines_of_each_kind_are_told_and_the_others_are_counted() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        let held = (0..5000)
            .filter(|number| missing(&mut flood, &number.to_string(), now).held)
            .count();
        assert_eq!(held, 5000 - LOGGED);
        let rejected = Event::NotInSync {
            key: &Keys::Slugs.parts("0"),
            known: false,
            problem: NotInSync::Rejected("x"),
            remedy: "",
        };
        assert_eq!(
            flood.decide(&rejected, now),
            LogDecision::default(),
            "another kind"
        );
        assert_eq!(
            flood.decide(&Event::Emptied, now).summaries,
            [4980, 0, 0, 0, 0]
        );
        assert_eq!(flood.decide(&Event::Emptied, now).summaries, [0; 5], "once");
        assert!(flood.0.iter().all(|window| window.seen.len() <= REMEMBERED));
    }

    #[test]
    fn what_is_held_back_after_a_summary_waits_for_the_end_of_the_time() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for number in 0..30 {
            missing(&mut flood, &number.to_string(), start);
        }
        assert_eq!(flood.decide(&Event::Emptied, start).summaries[0], 10);
        for number in 30..35 {
            assert!(missing(&mut flood, &number.to_string(), start).held);
            assert_eq!(flood.decide(&Event::Emptied, start).summaries[0], 0);
        }
        let decision = missing(&mut flood, "35", start + WINDOW);
        assert_eq!(
            (decision.held, decision.summaries[0]),
            (false, 5),
            "a new line, and before it the rest of the old"
        );
        assert_eq!(
            flood
                .decide(&Connection::Stopped.into(), start + WINDOW)
                .summaries,
            [0; 5]
        );
    }

    #[test]
    fn an_agent_that_is_met_again_unchanged_is_not_told_again_and_one_that_changed_is() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let key = Keys::Slugs.parts("a");
        let rejected = |reasons| Event::NotInSync {
            key: &key,
            known: false,
            problem: NotInSync::Rejected(reasons),
            remedy: "",
        };
        assert!(!flood.decide(&rejected("one"), start).held);
        assert!(flood.decide(&rejected("one"), start).held);
        assert!(!flood.decide(&rejected("two"), start).held);
        assert!(flood.decide(&rejected("two"), start).held);
        assert_eq!(
            flood.decide(&Event::Emptied, start).summaries,
            [0; 5],
            "it is counted once"
        );
        assert!(
            !flood.decide(&rejected("one"), start).held,
            "once all was done it is news"
        );
        assert!(
            !flood.decide(&rejected("one"), start + WINDOW).held,
            "and some time later"
        );
    }

    #[test]
    fn a_problem_that_is_noted_already_has_no_line_and_is_not_counted() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        for _ in 0..=LOGGED {
            let known = Event::NotInSync {
                key: &Keys::Slugs.parts("a"),
                known: true,
                problem: NotInSync::Rejected("x"),
                remedy: "",
            };
            assert!(flood.decide(&known, now).held);
        }
        assert_eq!(flood.decide(&Event::Emptied, now).summaries, [0; 5]);
    }

    #[test]
    fn the_end_of_a_session_tells_what_is_left() {
        for end in [
            Connection::Stopped.into(),
            Connection::Lost {
                cause: "",
                remedy: "",
                is_answered: false,
            }
            .into(),
        ] {
            let (mut flood, now) = (Flood::default(), Instant::now());
            for number in 0..=LOGGED {
                flood.decide(
                    &Event::Mapped {
                        key: &Keys::Slugs.parts(&number.to_string()),
                        warning: "w",
                    },
                    now,
                );
            }
            assert_eq!(flood.decide(&end, now).summaries, [0, 0, 0, 0, 1]);
        }
    }
}
