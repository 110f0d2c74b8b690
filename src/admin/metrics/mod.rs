//! `/metrics`: every metric in the text format of Prometheus.
//!
//! `table` is the only source of names, types, labels and help. The exposition and
//! `docs/metrics.md` are made from it, and tests hold the dashboard and the alert rules to it.
//! Names follow the conventions of Prometheus: base units, and `_total` for counters.
//!
//! An unknown value is left out and never reported as 0: only the leading daemon knows the backlog.

mod table;

use std::fmt::Write as _;

use crate::observe::Snapshot;
use crate::observe::histogram::Histogram;
use crate::observe::state::State;

pub use self::table::METRICS;

/// The media type of [`exposition`].
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The unit of the value; empty for a plain number.
    pub unit: &'static str,
    /// The label besides `database`, and its values.
    pub label: Option<(&'static str, &'static str)>,
    /// One paragraph of documentation.
    pub help: &'static str,
    read: Read,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number that only grows.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// Counts of values in buckets.
    Histogram,
}

impl Kind {
    /// The name of the type in the exposition.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// The source of a value.
#[derive(Debug)]
enum Read {
    /// The process.
    Process(fn(&Snapshot) -> Option<f64>),
    /// A database.
    Database(fn(&State, &Snapshot) -> Option<f64>),
    /// A database, with one value for each value of the label.
    Each(fn(&State) -> Vec<(&'static str, f64)>),
    /// A database, with values in buckets.
    Buckets(fn(&State) -> Buckets),
}

/// The content of a histogram.
struct Buckets {
    cumulative: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl<const N: usize> From<&Histogram<N>> for Buckets {
    fn from(histogram: &Histogram<N>) -> Self {
        let cumulative = histogram.cumulative().collect();
        Self {
            cumulative,
            sum: histogram.sum(),
            count: histogram.count(),
        }
    }
}

/// Every metric with its values.
pub(super) fn exposition(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for metric in METRICS {
        metric.write(snapshot, &mut text);
    }
    text
}

impl Metric {
    /// Whether each database has a value of its own.
    pub fn is_of_database(&self) -> bool {
        !matches!(self.read, Read::Process(_))
    }

    fn write(&self, snapshot: &Snapshot, text: &mut String) {
        let Self { name, help, .. } = self;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP {name} {help}\n# TYPE {name} {}",
            self.kind.name()
        );
        if let Read::Process(read) = &self.read {
            let labels = self
                .label
                .map(|(label, _)| format!("{{{label}=\"{}\"}}", env!("CARGO_PKG_VERSION")));
            if let Some(value) = read(snapshot) {
                let _ = writeln!(text, "{name}{} {value}", labels.unwrap_or_default());
            }
        }
        // The name of a database has letters, digits, `_` and `-` only, so nothing is escaped.
        for (database, state) in &snapshot.databases {
            match &self.read {
                Read::Process(_) => {}
                Read::Database(read) => {
                    if let Some(value) = read(state, snapshot) {
                        let _ = writeln!(text, "{name}{{database=\"{database}\"}} {value}");
                    }
                }
                Read::Each(read) => {
                    let label = self.label.map_or("", |(label, _)| label);
                    for (word, value) in read(state) {
                        let _ = writeln!(
                            text,
                            "{name}{{database=\"{database}\",{label}=\"{word}\"}} {value}"
                        );
                    }
                }
                Read::Buckets(read) => {
                    let Buckets {
                        cumulative,
                        sum,
                        count,
                    } = read(state);
                    for (bound, below) in cumulative {
                        let _ = writeln!(
                            text,
                            "{name}_bucket{{database=\"{database}\",le=\"{bound}\"}} {below}"
                        );
                    }
                    let _ = writeln!(
                        text,
                        "{name}_bucket{{database=\"{database}\",le=\"+Inf\"}} {count}"
                    );
                    let _ = writeln!(text, "{name}_sum{{database=\"{database}\"}} {sum}");
                    let _ = writeln!(text, "{name}_count{{database=\"{database}\"}} {count}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Board;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for (index, metric) in METRICS.iter().enumerate() {
            let Metric {
                name,
                kind,
                unit,
                help,
                ..
            } = metric;
            let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(name.chars().all(allowed), "{name}");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let base = unit.split(' ').next().unwrap_or_default();
            assert!(
                name.trim_end_matches("_total").ends_with(base),
                "{name} is in {unit}"
            );
            assert!(
                !help.contains(['\n', '\\', '|']) && help.ends_with('.'),
                "{name}"
            );
            assert!(
                METRICS[..index].iter().all(|other| other.name != *name),
                "{name} is there once"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let board = Board::default();
        let _observer = board.observer("eu-1", "");
        let text = exposition(&board.snapshot());
        assert!(
            text.contains("\nagent_sync_up{database=\"eu-1\"} 0\n"),
            "{text}"
        );
        for unknown in [
            "outbox_rows",
            "outbox_oldest_seconds",
            "problems",
            "last_sync_timestamp_seconds",
        ] {
            assert!(
                !text.contains(&format!("\nagent_sync_{unknown}{{")),
                "{unknown}"
            );
        }
    }
}
