//! How much of an agent a story reads and keeps.
//!
//! A command reads what a daemon reads: an agent of at most 16 MiB with its configuration. For a
//! page, the daemon itself reads, beside its databases and as often as clients ask; so a page reads
//! less than a batch that waits for no turn, and keeps the beginning of each list and of each
//! value.

use std::time::Duration;

use crate::mapping::{Difference, Value};
use crate::show::bounded;
use crate::store::HEAVIEST;
use crate::survey::{LONGEST, Reading};

/// How much a story reads and keeps.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// The most that the agent and one of its configurations weigh together, in bytes.
    pub(super) weight: u32,
    /// The most rows at a time.
    rows: usize,
    /// The time limit of the server for a statement.
    pub time: Duration,
    /// The most agents and configurations whose contents are kept.
    pub(super) kept: usize,
    /// The most bytes of the fields or differences of one of them.
    pub(super) list: usize,
    /// The most bytes of one value, and of a path.
    value: usize,
    /// The most reasons of a rejection.
    pub(super) reasons: usize,
}

impl Reach {
    /// Of a command.
    pub const COMMAND: Self = Self {
        weight: HEAVIEST,
        rows: 32,
        time: LONGEST,
        kept: usize::MAX,
        list: usize::MAX,
        value: usize::MAX,
        reasons: usize::MAX,
    };

    /// Of a page. The rows of an answer fit into `session::BRIEF`.
    pub const PAGE: Self = Self {
        weight: 512 * 1024,
        rows: 4,
        time: Duration::from_secs(10),
        kept: 4,
        list: 32 * 1024,
        value: 2 * 1024,
        reasons: 20,
    };

    pub(super) fn reading(self, can_read_notes: bool) -> Reading {
        Reading {
            can_read_notes,
            weight: self.weight,
            rows: self.rows,
            time: self.time,
        }
    }

    /// The first fields, each cut, and the number of the others.
    pub(super) fn fields(&self, all: Vec<(String, Value)>) -> (Vec<(String, Value)>, usize) {
        self.first(all, |(path, value)| {
            let (path, value) = (self.cut(path), self.bounded(value));
            (path.len() + size(&value), (path, value))
        })
    }

    /// The first differences, each cut, and the number of the others.
    pub(super) fn differences(&self, all: Vec<Difference>) -> (Vec<Difference>, usize) {
        self.first(all, |difference| {
            let Difference {
                column,
                inside,
                current,
                expected,
            } = difference;
            let inside = inside.map(|inside| self.cut(inside));
            let [current, expected] =
                [current, expected].map(|value| value.map(|value| self.bounded(value)));
            let values = current.iter().chain(&expected).map(size).sum::<usize>();
            let difference = Difference {
                column,
                inside,
                current,
                expected,
            };
            (difference.path().len() + values, difference)
        })
    }

    /// The first of them that have room together, and the number of the others.
    fn first<T>(&self, all: Vec<T>, cut: impl Fn(T) -> (usize, T)) -> (Vec<T>, usize) {
        let (number, mut room) = (all.len(), self.list);
        let kept = all.into_iter().map_while(|one| {
            let (size, one) = cut(one);
            room = room.checked_sub(size)?;
            Some(one)
        });
        // A list of its own, so that the memory of the whole one ends here.
        let kept = kept.fold(Vec::new(), |mut kept, one| {
            kept.push(one);
            kept
        });
        let left = number - kept.len();
        (kept, left)
    }

    fn cut(&self, path: String) -> String {
        if path.len() <= self.value {
            return path;
        }
        bounded(&path, self.value).into_owned()
    }

    /// The value with the beginning of its text. It is cut before anything is escaped.
    fn bounded(&self, value: Value) -> Value {
        match value {
            Value::Json(raw) if raw.len() > self.value => match serde_json::from_str(&raw) {
                Ok(serde_json::Value::String(text)) => {
                    let text = serde_json::Value::from(bounded(&text, self.value));
                    Value::Json(text.to_string())
                }
                _ => Value::Described(format!("a value of {} bytes", raw.len())),
            },
            short => short,
        }
    }
}

/// The size of a value, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::Json(text) | Value::Described(text) => text.len(),
        Value::Length(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::Column;

    const REACH: Reach = Reach {
        list: 100,
        value: 10,
        ..Reach::PAGE
    };

    fn told(raw: &str) -> Value {
        Value::Json(raw.to_owned())
    }

    #[test]
    fn g12_a_list_keeps_what_has_room_and_counts_the_others() {
        let fields = |number: usize| -> Vec<_> {
            (0..number)
                .map(|one| (format!("key-{one:04}"), told("\"v\"")))
                .collect()
        };
        for (number, kept) in [(0, 0), (9, 9), (10, 9), (240_000, 9)] {
            let (found, left) = REACH.fields(fields(number));
            assert_eq!((found.len(), left), (kept, number - kept));
            assert_eq!(Reach::COMMAND.fields(fields(number)).0.len(), number);
        }
        let difference = Difference {
            column: Column::ProviderConfig,
            inside: Some("x".repeat(50)),
            current: Some(told("1")),
            expected: None,
        };
        let (found, left) = REACH.differences(vec![difference; 5]);
        assert_eq!((found.len(), left), (2, 3));
        assert_eq!(
            found[0].path(),
            "provider_config.xxxxxxxxxx… (40 bytes left out)"
        );
    }

    #[test]
    fn g12_a_value_is_cut_before_it_is_escaped() {
        let control = serde_json::Value::from("\u{1}".repeat(1_000_000)).to_string();
        for (raw, expected) in [
            ("\"short\"", told("\"short\"")),
            (
                "\"0123456789ä\"",
                told("\"0123456789… (2 bytes left out)\""),
            ),
            (
                &*control,
                told(
                    "\"\\u0001\\u0001\\u0001\\u0001\\u0001\\u0001\\u0001\\u0001\\u0001\\u0001… \
                    (999990 bytes left out)\"",
                ),
            ),
            (
                "12345678901",
                Value::Described("a value of 11 bytes".to_owned()),
            ),
        ] {
            assert_eq!(REACH.bounded(told(raw)), expected);
            assert_eq!(Reach::COMMAND.bounded(told(raw)), told(raw));
        }
    }
}
