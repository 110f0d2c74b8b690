//! Lines about single agents, and a bound on them: of each kind the first few within some seconds
//! are logged one by one, and the others are counted and told in one line. A backlog of a million
//! agents without configurations is no million lines.
//!
//! No timer runs. The end of the time is noticed by the next event of the kind, by the next empty
//! outbox, or by the end of the session; so within one sweep.
//!
//! Invariant: the lines of single agents and the numbers of the summaries add up to the agents met.
//! Beyond [`REMEMBERED`] different agents, one that is met again is counted again.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::{Duration, Instant};

use super::event::Event;

/// How many lines of a kind are logged one by one within [`WINDOW`].
const TOLD: usize = 20;

/// The time that the bound is about.
const WINDOW: Duration = Duration::from_secs(10);

/// How many agents are remembered for as long, so that one that is met again is not told again.
const REMEMBERED: usize = 1024;

/// The kinds of lines about a single agent.
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

    /// What an event says of which agent, where it is about a single one.
    fn of<'a>(event: &Event<'a>) -> Option<(Self, &'a str, &'a str)> {
        match *event {
            Event::MissingConfiguration { slug, .. } => Some((Self::Missing, slug, "")),
            Event::Rejected { slug, reasons, .. } => Some((Self::Rejected, slug, reasons)),
            Event::Ambiguous { slug, .. } => Some((Self::Ambiguous, slug, "")),
            Event::Failed { slug, detail, .. } => Some((Self::Failed, slug, detail)),
            Event::Mapped { slug, warning } => Some((Self::Mapped, slug, warning)),
            _ => None,
        }
    }
}

/// How an event is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Whether it has no line of its own.
    pub(super) held: bool,
    /// How many agents of each kind are to be told in a summary first, in the order of
    /// [`Kind::ALL`].
    pub(super) summaries: [u64; 5],
}

/// The lines of one database.
#[derive(Debug, Default)]
pub(super) struct Flood([Window; 5]);

/// The lines of one kind since some moment.
#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    /// The agents that were met since the outbox was last empty: one that is met again, and
    /// unchanged, is the same news.
    met: HashSet<u64>,
    told: usize,
    held: u64,
    summed_up: bool,
}

impl Flood {
    /// Takes note of an event, and says how it is to be told.
    pub(super) fn meet(&mut self, event: &Event<'_>, now: Instant) -> Manner {
        if event.is_known() {
            return Manner {
                held: true,
                ..Manner::default()
            };
        }
        let mut manner = Manner::default();
        if let Some((kind, slug, detail)) = Kind::of(event) {
            let mut key = DefaultHasher::new();
            (slug, detail).hash(&mut key);
            for ((known, window), due) in
                Kind::ALL.iter().zip(&mut self.0).zip(&mut manner.summaries)
            {
                if *known == kind {
                    *due = window.renew(now);
                    manner.held = window.holds(key.finish());
                }
            }
            return manner;
        }
        let ends = matches!(event, Event::Stopped | Event::Lost { .. });
        if ends || matches!(event, Event::Emptied) {
            for (window, due) in self.0.iter_mut().zip(&mut manner.summaries) {
                window.met.clear();
                if ends || window.is_over(now) || !window.summed_up {
                    *due = std::mem::take(&mut window.held);
                    window.summed_up |= *due > 0;
                }
            }
        }
        manner
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        self.began
            .is_none_or(|began| now.saturating_duration_since(began) >= WINDOW)
    }

    /// Begins anew once the time is over; says how many were held back until then.
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

    /// Whether this agent is to have no line of its own.
    fn holds(&mut self, agent: u64) -> bool {
        if self.met.contains(&agent) {
            return true;
        }
        if self.met.len() < REMEMBERED {
            self.met.insert(agent);
        }
        if self.told < TOLD {
            self.told += 1;
            return false;
        }
        self.held += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(flood: &mut Flood, slug: &str, now: Instant) -> Manner {
        flood.meet(
            &Event::MissingConfiguration {
                slug,
                known: false,
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
        assert_eq!(held, 5000 - TOLD);
        let rejected = Event::Rejected {
            slug: "0",
            known: false,
            reasons: "x",
            remedy: "",
        };
        assert_eq!(
            flood.meet(&rejected, now),
            Manner::default(),
            "another kind"
        );
        assert_eq!(
            flood.meet(&Event::Emptied, now).summaries,
            [4980, 0, 0, 0, 0]
        );
        assert_eq!(flood.meet(&Event::Emptied, now).summaries, [0; 5], "once");
        assert!(flood.0.iter().all(|window| window.met.len() <= REMEMBERED));
    }

    #[test]
    fn what_is_held_back_after_a_summary_waits_for_the_end_of_the_time() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        for number in 0..30 {
            missing(&mut flood, &number.to_string(), start);
        }
        assert_eq!(flood.meet(&Event::Emptied, start).summaries[0], 10);
        for number in 30..35 {
            assert!(missing(&mut flood, &number.to_string(), start).held);
            assert_eq!(flood.meet(&Event::Emptied, start).summaries[0], 0);
        }
        let manner = missing(&mut flood, "35", start + WINDOW);
        assert_eq!(
            (manner.held, manner.summaries[0]),
            (false, 5),
            "a new line, and before it the rest of the old"
        );
        assert_eq!(
            flood.meet(&Event::Stopped, start + WINDOW).summaries,
            [0; 5]
        );
    }

    #[test]
    fn an_agent_that_is_met_again_unchanged_is_not_told_again_and_one_that_changed_is() {
        let (mut flood, start) = (Flood::default(), Instant::now());
        let rejected = |reasons| Event::Rejected {
            slug: "a",
            known: false,
            reasons,
            remedy: "",
        };
        assert!(!flood.meet(&rejected("one"), start).held);
        assert!(flood.meet(&rejected("one"), start).held);
        assert!(!flood.meet(&rejected("two"), start).held);
        assert!(flood.meet(&rejected("two"), start).held);
        assert_eq!(
            flood.meet(&Event::Emptied, start).summaries,
            [0; 5],
            "it is counted once"
        );
        assert!(
            !flood.meet(&rejected("one"), start).held,
            "once all was done it is news"
        );
        assert!(
            !flood.meet(&rejected("one"), start + WINDOW).held,
            "and some time later"
        );
    }

    #[test]
    fn a_problem_that_is_noted_already_has_no_line_and_is_not_counted() {
        let (mut flood, now) = (Flood::default(), Instant::now());
        for _ in 0..=TOLD {
            let known = Event::Rejected {
                slug: "a",
                known: true,
                reasons: "x",
                remedy: "",
            };
            assert!(flood.meet(&known, now).held);
        }
        assert_eq!(flood.meet(&Event::Emptied, now).summaries, [0; 5]);
    }

    #[test]
    fn the_end_of_a_session_tells_what_is_left() {
        for end in [
            Event::Stopped,
            Event::Lost {
                cause: "",
                remedy: "",
            },
        ] {
            let (mut flood, now) = (Flood::default(), Instant::now());
            for number in 0..=TOLD {
                flood.meet(
                    &Event::Mapped {
                        slug: &number.to_string(),
                        warning: "w",
                    },
                    now,
                );
            }
            assert_eq!(flood.meet(&end, now).summaries, [0, 0, 0, 0, 1]);
        }
    }
}
