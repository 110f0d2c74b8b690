//! `/metrics`: every metric, in one table, in the text format of Prometheus.
//!
//! The table is the single source of truth for names, types, labels and help; the exposition and
//! `docs/metrics.md` are made from it, and what the dashboard and the alert rules name is tested
//! against it. Names follow the conventions of Prometheus: base units, `_total` for what only
//! grows.
//!
//! A reading that is not known is left out, and not told as 0: what is waiting is known only to the
//! daemon that leads.

use std::fmt::Write as _;

use super::process;
use crate::observe::histogram::Histogram;
use crate::observe::state::{Phase, State, WakeUp};
use crate::observe::verdict::unready;
use crate::observe::{Backlog, Snapshot};

/// The format that [`exposition`] is in.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One metric.
struct Metric {
    name: &'static str,
    kind: Kind,
    /// Of the value; nothing where it is a mere number.
    unit: &'static str,
    /// The label besides `database`, and what it can be.
    label: Option<(&'static str, &'static str)>,
    help: &'static str,
    read: Read,
}

/// The type of a metric, as Prometheus calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where a value comes from.
enum Read {
    /// From the process.
    Process(fn(&Snapshot) -> Option<f64>),
    /// From a database.
    Database(fn(&State, &Snapshot) -> Option<f64>),
    /// From a database, one value for each value of the label.
    Each(fn(&State) -> Vec<(&'static str, f64)>),
    /// From a database, in buckets.
    Buckets(fn(&State) -> Buckets),
}

/// What a histogram holds.
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

/// Every metric, in the order in which they are told.
const METRICS: &[Metric] = &[
    Metric {
        name: "agent_sync_up",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Whether there is a connection to the database, and it can be worked in.",
        read: Read::Database(|state, _| Some(flag(state.phase.is_connected()))),
    },
    Metric {
        name: "agent_sync_ready",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Whether the database is served, as /readyz says: this daemon leads and has caught \
            up, or it stands by, and no finding means missed changes.",
        read: Read::Database(|state, _| Some(flag(unready(state).is_empty()))),
    },
    Metric {
        name: "agent_sync_leader",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Whether this daemon leads in the database. Of all daemons of a database, one \
            should.",
        read: Read::Database(|state, _| Some(flag(state.phase.leads()))),
    },
    Metric {
        name: "agent_sync_phase",
        kind: Kind::Gauge,
        unit: "",
        label: Some((
            "phase",
            "connecting, standby, catching_up, draining, waiting or lost",
        )),
        help: "The phase of the loop of the database: 1 for the present phase, 0 for the others.",
        read: Read::Each(|state| {
            Phase::ALL
                .map(|phase| (phase.name(), flag(phase == state.phase)))
                .to_vec()
        }),
    },
    Metric {
        name: "agent_sync_agents_total",
        kind: Kind::Counter,
        unit: "",
        label: Some((
            "result",
            "synced, unchanged, missing, rejected, failed or gone",
        )),
        help: "Processed agents by result. An agent with several configurations counts once for \
            each that was synced (written) or unchanged. missing: no configuration has the slug; \
            rejected: the settings cannot be mapped; failed: PostgreSQL refused the write; gone: \
            there is no such agent any more.",
        read: Read::Each(|state| {
            let totals = &state.totals;
            vec![
                ("synced", float(totals.written)),
                ("unchanged", float(totals.unchanged)),
                ("missing", float(totals.missing)),
                ("rejected", float(totals.rejected)),
                ("failed", float(state.failed)),
                ("gone", float(totals.gone)),
            ]
        }),
    },
    Metric {
        name: "agent_sync_sync_latency_seconds",
        kind: Kind::Histogram,
        unit: "seconds",
        label: None,
        help: "How long after an agent was saved its batch was committed, by the clock of the \
            server; from the statement that saved it, so a writer that commits late adds to it.",
        read: Read::Buckets(|state| (&state.latency).into()),
    },
    Metric {
        name: "agent_sync_last_sync_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "When the last batch was committed. Left out before the first.",
        read: Read::Database(|state, _| state.last_sync.map(seconds_since_1970)),
    },
    Metric {
        name: "agent_sync_batches_total",
        kind: Kind::Counter,
        unit: "",
        label: None,
        help: "Batches committed.",
        read: Read::Database(|state, _| Some(float(state.batch_rows.count()))),
    },
    Metric {
        name: "agent_sync_batch_rows",
        kind: Kind::Histogram,
        unit: "rows",
        label: None,
        help: "Rows of the outbox that a batch took.",
        read: Read::Buckets(|state| (&state.batch_rows).into()),
    },
    Metric {
        name: "agent_sync_outbox_rows",
        kind: Kind::Gauge,
        unit: "rows",
        label: None,
        help: "Rows waiting in the outbox, counted up to 100000, as of a second ago or so; of a \
            huge outbox, less often. Known only to the daemon that leads, like the next two.",
        read: Read::Database(|state, _| backlog(state).map(|backlog| float(backlog.rows))),
    },
    Metric {
        name: "agent_sync_outbox_oldest_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        label: None,
        help: "How long the oldest row of the outbox has been waiting; 0 when it is empty.",
        read: Read::Database(|state, snapshot| {
            let backlog = backlog(state)?;
            let since = snapshot.taken.1.saturating_duration_since(backlog.taken);
            Some(
                backlog
                    .oldest
                    .map_or(0.0, |age| (age + since).as_secs_f64()),
            )
        }),
    },
    Metric {
        name: "agent_sync_problems",
        kind: Kind::Gauge,
        unit: "",
        label: Some((
            "kind",
            "missing_configuration, rejected, ambiguous or failed",
        )),
        help: "Agents that are out of sync until the agent or a configuration is corrected, \
            counted up to 100000.",
        read: Read::Each(|state| {
            let kinds = backlog(state).map(|backlog| backlog.problems.each());
            kinds
                .into_iter()
                .flatten()
                .map(|(kind, count)| (kind, float(count)))
                .collect()
        }),
    },
    Metric {
        name: "agent_sync_findings",
        kind: Kind::Gauge,
        unit: "",
        label: Some((
            "misses_changes",
            "true: changes may be missed while it is so; or false",
        )),
        help: "Things found wrong with the database itself, such as a trigger that is missing; \
            /status has them in words.",
        read: Read::Each(|state| {
            let count = |misses| {
                let found = state
                    .findings
                    .iter()
                    .filter(|found| found.finding.misses_changes == misses);
                float(u64::try_from(found.count()).unwrap_or(u64::MAX))
            };
            vec![("true", count(true)), ("false", count(false))]
        }),
    },
    Metric {
        name: "agent_sync_drifted",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Configurations that differ from what the rules make of their agents, as of the last \
            comparison. One is made when the rules change, and again about once a minute until \
            none differs. Left out before the first.",
        read: Read::Database(|state, _| state.compared.map(|compared| float(compared.differing))),
    },
    Metric {
        name: "agent_sync_compared_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "When that comparison was made.",
        read: Read::Database(|state, _| {
            state
                .compared
                .map(|compared| seconds_since_1970(compared.at))
        }),
    },
    Metric {
        name: "agent_sync_wakeups_total",
        kind: Kind::Counter,
        unit: "",
        label: Some(("cause", "notification, request, sweep, retry, poll or busy")),
        help: "Wake-ups of the sleeping loop by cause. request: a slug was requested by NOTIFY; \
            retry: for a failed write; busy: for rows that another session had locked.",
        read: Read::Each(|state| {
            let counts = state.wake_ups.iter();
            WakeUp::ALL
                .iter()
                .zip(counts)
                .map(|(cause, count)| (cause.name(), float(*count)))
                .collect()
        }),
    },
    Metric {
        name: "agent_sync_reconnects_total",
        kind: Kind::Counter,
        unit: "",
        label: None,
        help: "Connections made again after the first.",
        read: Read::Database(|state, _| Some(float(state.reconnects))),
    },
    Metric {
        name: "agent_sync_outage_seconds_total",
        kind: Kind::Counter,
        unit: "seconds",
        label: None,
        help: "The time in which the database could not be reached or worked in, the running \
            outage included.",
        read: Read::Database(|state, snapshot| Some(state.outage(snapshot.taken.1).as_secs_f64())),
    },
    Metric {
        name: "agent_sync_build_info",
        kind: Kind::Gauge,
        unit: "",
        label: Some(("version", "of this program")),
        help: "Always 1; the label says what runs.",
        read: Read::Process(|_| Some(1.0)),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "When the process began.",
        read: Read::Process(|snapshot| Some(seconds_since_1970(snapshot.started.0))),
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        unit: "seconds",
        label: None,
        help: "The time that the process has computed, in user and in system mode.",
        read: Read::Process(|_| process::cpu_seconds()),
    },
    Metric {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        label: None,
        help: "The memory that the process has in use.",
        read: Read::Process(|_| process::resident_memory_bytes()),
    },
    Metric {
        name: "process_open_fds",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Files and sockets that the process has open.",
        read: Read::Process(|_| process::open_fds()),
    },
    Metric {
        name: "process_max_fds",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "How many it may have open.",
        read: Read::Process(|_| process::max_fds()),
    },
];

fn backlog(state: &State) -> Option<&Backlog> {
    state.backlog.as_deref()
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus counts in floats")]
fn float(count: u64) -> f64 {
    count as f64
}

fn seconds_since_1970(time: std::time::SystemTime) -> f64 {
    time.duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
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
    fn write(&self, snapshot: &Snapshot, text: &mut String) {
        let Self { name, help, .. } = self;
        // A String takes everything that is written to it.
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
        // The name of a database is made of letters, digits, `_` and `-`: nothing in it has to be
        // escaped.
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

/// `docs/metrics.md`.
pub fn reference() -> String {
    let mut text =
        format!("{HEAD}| metric | type | unit | labels | what it says |\n|---|---|---|---|---|\n");
    for Metric {
        name,
        kind,
        unit,
        label,
        help,
        read,
    } in METRICS
    {
        let database = (!matches!(read, Read::Process(_))).then(|| "`database`".to_owned());
        let own = label.map(|(label, values)| format!("`{label}` ({values})"));
        let labels = database
            .into_iter()
            .chain(own)
            .collect::<Vec<_>>()
            .join(", ");
        let _ = writeln!(
            text,
            "| `{name}` | {} | {unit} | {labels} | {help} |",
            kind.name()
        );
    }
    let bounds = |bounds: &[f64]| {
        bounds
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let _ = writeln!(
        text,
        "\nThe buckets of `agent_sync_sync_latency_seconds`: {}.\n\nThe buckets of \
        `agent_sync_batch_rows`: {}.",
        bounds(&crate::observe::histogram::LATENCY),
        bounds(&crate::observe::histogram::ROWS)
    );
    text + TAIL
}

const HEAD: &str = "\
# Metrics

<!-- Made from src/admin/metrics.rs by `UPDATE_DOCS=1 cargo test --test it packaging`; a test holds the two together. -->

The daemon serves them at `/metrics` on `admin.listen`, in the text format of Prometheus:

```yaml
scrape_configs:
  - job_name: agent-sync
    static_configs:
      - targets: [\"127.0.0.1:9878\"]
```

`database` is the name that the settings give a database. No metric holds a slug, for there may
  be a million of them: which agents
are not in sync says `/status`, the status page, and `SELECT *
  FROM agent_sync.problem`. What is not known is left out and not told
as 0: of several daemons for one database, only the one that leads knows what is waiting there.

";

const TAIL: &str = "
In `packaging/` there are alert rules (`prometheus/agent-sync.rules.yaml`) and a dashboard
(`grafana/agent-sync.json`) that use them.
";

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
                "{name} is told once"
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
