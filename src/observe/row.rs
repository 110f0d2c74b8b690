//! Limits like lines in a row: the first 20 are logged, and one line counts the others.
//!
//! Lines are alike if the same place of the code logs them, whatever the database. A row ends with
//! another line, or with a minute without a like line. While it lasts, the further lines are
//! counted after 10 s, and then after pauses that double to ten minutes. Lines of the levels debug
//! and trace have no limit, because an operator has asked for each of them.
//!
//! Invariant: the logged lines and the counts add up to the lines.

use std::time::{Duration, Instant};

use tracing::Level;
use tracing::callsite::Identifier;

/// The number of like lines in a row that are logged.
const LOGGED: usize = 20;

/// The time without a like line that ends a row.
const END: Duration = Duration::from_secs(60);

/// The first and the longest time until further lines are counted while the row lasts.
const COUNT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// The common part of lines that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) callsite: Identifier,
    pub(super) level: Level,
    /// The command that lists what the lines are about.
    pub(super) lists: &'static str,
}

/// The lines of a row that were not logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Further {
    pub(super) level: Level,
    pub(super) lines: u64,
    /// The message of one of them.
    pub(super) like: String,
    pub(super) lists: &'static str,
}

/// The running row.
#[derive(Debug, Default)]
pub(super) struct Row(Option<Running>);

#[derive(Debug)]
struct Running {
    kind: Kind,
    logged: usize,
    further: u64,
    like: String,
    last: Instant,
    /// When the further lines are counted.
    due: Instant,
    pause: Duration,
}

impl Row {
    /// Takes a line. Returns whether it is logged, and the count to log before it.
    pub(super) fn take(
        &mut self,
        kind: Kind,
        now: Instant,
        like: impl FnOnce() -> String,
    ) -> (bool, Option<Further>) {
        let is_limited = kind.level <= Level::INFO;
        let Some(row) = (self.0.as_mut()).filter(|row| is_limited && row.goes_on(&kind, now))
        else {
            let further = self.end();
            self.0 = is_limited.then(|| Running::new(kind, now));
            return (true, further);
        };
        row.last = now;
        if row.logged < LOGGED {
            row.logged += 1;
            return (true, None);
        }
        if row.further == 0 {
            row.like = like();
            row.due = now + row.pause;
        }
        row.further += 1;
        (false, self.due(now))
    }

    /// The count of the further lines, if it is time for it.
    pub(super) fn due(&mut self, now: Instant) -> Option<Further> {
        let row = self.0.as_mut()?;
        if row.is_over(now) {
            return self.end();
        }
        if now < row.due {
            return None;
        }
        let further = row.counted()?;
        row.pause = (row.pause * 2).min(COUNT.1);
        Some(further)
    }

    /// Ends the row. Returns the count of its further lines.
    pub(super) fn end(&mut self) -> Option<Further> {
        self.0.take()?.counted()
    }
}

impl Running {
    fn new(kind: Kind, now: Instant) -> Self {
        Self {
            kind,
            logged: 1,
            further: 0,
            like: String::new(),
            last: now,
            due: now,
            pause: COUNT.0,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) >= END
    }

    fn goes_on(&self, kind: &Kind, now: Instant) -> bool {
        self.kind == *kind && !self.is_over(now)
    }

    fn counted(&mut self) -> Option<Further> {
        let lines = std::mem::take(&mut self.further);
        (lines > 0).then(|| Further {
            level: self.kind.level,
            lines,
            like: self.like.clone(),
            lists: self.kind.lists,
        })
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::Callsite as _;
    use tracing::metadata;

    use super::*;

    /// A line of the place `a` or of another one.
    fn kind(name: char, level: Level) -> Kind {
        let metadata = match name {
            'a' => tracing::callsite!(name: "a", kind: metadata::Kind::EVENT, fields: x).metadata(),
            _ => tracing::callsite!(name: "b", kind: metadata::Kind::EVENT, fields: x).metadata(),
        };
        Kind {
            callsite: metadata.callsite(),
            level,
            lists: "list",
        }
    }

    /// The numbers of logged and of counted lines after so many like ones.
    fn take(row: &mut Row, lines: usize, now: Instant) -> (usize, u64) {
        let mut seen = (0, 0);
        for _ in 0..lines {
            let (logged, further) = row.take(kind('a', Level::WARN), now, || "like".to_owned());
            seen.0 += usize::from(logged);
            seen.1 += further.map_or(0, |further| further.lines);
        }
        seen
    }

    #[test]
    fn at_most_20_like_lines_in_a_row_are_logged_and_the_rest_is_counted() {
        let (mut row, now) = (Row::default(), Instant::now());
        assert_eq!(take(&mut row, 1000, now), (LOGGED, 0));
        let (logged, further) = row.take(kind('b', Level::INFO), now, String::new);
        let expected = Further {
            level: Level::WARN,
            lines: 980,
            like: "like".to_owned(),
            lists: "list",
        };
        assert_eq!((logged, further), (true, Some(expected)));
        assert_eq!(take(&mut row, LOGGED, now), (LOGGED, 0), "a new row");
        assert_eq!(row.end(), None, "nothing is left out");
    }

    #[test]
    fn a_long_row_is_counted_in_growing_pauses() {
        let (mut row, start) = (Row::default(), Instant::now());
        let second = Duration::from_secs(1);
        let (mut lines, mut counts) = (0, Vec::new());
        for passed in 0..200 {
            let (logged, further) =
                row.take(kind('a', Level::WARN), start + second * passed, String::new);
            lines += u64::from(logged);
            if let Some(further) = further {
                counts.push((passed, further.lines));
                lines += further.lines;
            }
        }
        assert_eq!(counts, [(30, 11), (51, 21), (92, 41), (173, 81)]);
        let further = row
            .due(start + second * 200 + END)
            .map_or(0, |further| further.lines);
        assert_eq!(lines + further, 200, "they add up");
    }

    #[test]
    fn a_pause_ends_a_row_and_what_was_asked_for_has_no_limit() {
        let (mut row, now) = (Row::default(), Instant::now());
        take(&mut row, LOGGED, now);
        assert_eq!(take(&mut row, 1, now + END), (1, 0));
        for _ in 0..=LOGGED {
            assert!(row.take(kind('a', Level::DEBUG), now, String::new).0);
        }
    }
}
