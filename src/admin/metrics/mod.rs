//! `/metrics`: every metric in the text format of Prometheus, or in that of `OpenMetrics` where the
//! client asks for it.
//!
//! `table` is the only source of names, types, labels and help. The exposition and
//! `docs/metrics.md` are made from it, and tests hold the dashboard and the alert rules to it.
//! Names follow the conventions of Prometheus: base units, and `_total` for counters.
//!
//! An unknown value is left out and never reported as 0: only the leading daemon knows the backlog.

mod table;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::observe::Snapshot;
use crate::observe::histogram::Histogram;
use crate::observe::state::State;

pub use self::table::METRICS;

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

    fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
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

/// The content of a histogram: the number of values in each bucket, and the last without a bound.
struct Buckets {
    counts: Vec<(f64, u64)>,
    sum: f64,
    count: u64,
}

impl<const N: usize> From<&Histogram<N>> for Buckets {
    fn from(histogram: &Histogram<N>) -> Self {
        Self {
            counts: histogram.buckets().collect(),
            sum: histogram.sum(),
            count: histogram.count(),
        }
    }
}

/// The form of the exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The text format 0.0.4 of Prometheus.
    Text,
    /// The text format of `OpenMetrics`.
    OpenMetrics,
}

impl Format {
    /// The format for a client that accepts these media types: `OpenMetrics` if one names it.
    pub(super) fn accepted<'a>(mut accept: impl Iterator<Item = &'a str>) -> Self {
        let names = |range: &str| {
            let mut parts = range.split(';').map(str::trim);
            let is_named = parts.next() == Some("application/openmetrics-text");
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            is_named && weight.unwrap_or(1.0) > 0.0
        };
        if accept.any(|header| header.split(',').any(names)) {
            Self::OpenMetrics
        } else {
            Self::Text
        }
    }

    /// The media type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Every metric with its values.
pub(super) fn exposition(snapshot: Snapshot, format: Format) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match format {
        Format::Text => prometheus_text::encode(&mut text, &registry),
        Format::OpenMetrics => text::encode(&mut text, &registry),
    };
    text
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        METRICS
            .iter()
            .try_for_each(|metric| metric.encode(self, &mut encoder))
    }
}

impl Metric {
    /// Whether each database has a value of its own.
    pub fn is_of_database(&self) -> bool {
        !matches!(self.read, Read::Process(_))
    }

    fn encode(&self, snapshot: &Snapshot, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        // The encoder adds the ending of a counter.
        let name = self.name.trim_end_matches("_total");
        let mut out = encoder.encode_descriptor(name, self.help, None, self.kind.metric_type())?;
        let label = self.label.map_or("", |(label, _)| label);
        if let Read::Process(read) = &self.read
            && let Some(value) = read(snapshot)
        {
            let labels = [(label, crate::VERSION)];
            let labels = if label.is_empty() { &[] } else { &labels[..] };
            self.sample(&mut out, labels, value)?;
        }
        for (database, state) in &snapshot.databases {
            let database = ("database", &**database);
            match &self.read {
                Read::Process(_) => {}
                Read::Database(read) => {
                    if let Some(value) = read(state, snapshot) {
                        self.sample(&mut out, &[database], value)?;
                    }
                }
                Read::Each(read) => {
                    for (word, value) in read(state) {
                        self.sample(&mut out, &[database, (label, word)], value)?;
                    }
                }
                Read::Buckets(read) => {
                    let of = read(state);
                    out.encode_family(&[database])?
                        .encode_histogram::<NoLabelSet>(of.sum, of.count, &of.counts, None)?;
                }
            }
        }
        Ok(())
    }

    fn sample(
        &self,
        out: &mut MetricEncoder<'_>,
        labels: &[(&str, &str)],
        value: f64,
    ) -> fmt::Result {
        let mut out = out.encode_family(&labels)?;
        // A value without a fraction is written without one.
        let whole = value.to_string().parse::<u64>();
        match (self.kind, whole) {
            (Kind::Counter, Ok(whole)) => out.encode_counter::<NoLabelSet, _, f64>(&whole, None),
            (Kind::Counter, Err(_)) => out.encode_counter::<NoLabelSet, _, f64>(&value, None),
            (Kind::Gauge | Kind::Histogram, Ok(whole)) => out.encode_gauge(&whole),
            (Kind::Gauge | Kind::Histogram, Err(_)) => out.encode_gauge(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Board, Committed, Event, Totals};

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
        let text = exposition(board.snapshot(), Format::Text);
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
    #[test]
    fn the_exposition_has_the_form_of_its_format() {
        let board = Board::default();
        let observer = board.observer("eu-1", "");
        let batch = Committed {
            rows: 3,
            ..Committed::default()
        };
        let totals = Totals::default();
        observer.tell(Event::Batch { totals, batch });
        let text = exposition(board.snapshot(), Format::Text);
        for lines in [
            "\n# HELP agent_sync_batches_total Committed batches.\n\
            # TYPE agent_sync_batches_total counter\n\
            agent_sync_batches_total{database=\"eu-1\"} 1\n",
            "\nagent_sync_batch_rows_bucket{database=\"eu-1\",le=\"2\"} 0\n\
            agent_sync_batch_rows_bucket{database=\"eu-1\",le=\"5\"} 1\n",
            "\nagent_sync_batch_rows_bucket{database=\"eu-1\",le=\"+Inf\"} 1\n",
            "\nagent_sync_batch_rows_count{database=\"eu-1\"} 1\n",
        ] {
            assert!(text.contains(lines), "{lines} in {text}");
        }
        let text = exposition(board.snapshot(), Format::OpenMetrics);
        for lines in [
            "\n# TYPE agent_sync_batches counter\nagent_sync_batches_total{database=\"eu-1\"} 1\n",
            "\nagent_sync_batch_rows_bucket{le=\"5.0\",database=\"eu-1\"} 1\n",
            "le=\"+Inf\"",
        ] {
            assert!(text.contains(lines), "{lines} in {text}");
        }
        assert!(text.ends_with("\n# EOF\n"));
    }

    #[test]
    fn a_client_gets_the_format_that_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
        for (accept, format) in [
            (&[][..], Format::Text),
            (&["*/*"], Format::Text),
            (&["text/plain;version=0.0.4"], Format::Text),
            (
                &["application/openmetrics-text; q=0, text/plain"],
                Format::Text,
            ),
            (&[prometheus], Format::OpenMetrics),
            (
                &["text/html", "application/openmetrics-text"],
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(
                Format::accepted(accept.iter().copied()),
                format,
                "{accept:?}"
            );
        }
    }
}
