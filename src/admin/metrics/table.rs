//! The table of metrics.

use super::super::process;
use super::{Kind, Metric, Read};
use crate::observe::state::{State, WakeUp};
use crate::observe::verdict::unready;
use crate::observe::{Backlog, Condition, Phase, Snapshot};

/// Every metric, in the order of the exposition.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "agent_sync_up",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Whether the daemon has a connection to the database and can work in it.",
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
        name: "agent_sync_state",
        kind: Kind::Gauge,
        unit: "",
        label: Some(("state", "ok, busy, standby, paused, broken or unreachable")),
        help: "The state of the database, in the words of `agent-sync status`: 1 for the present \
            state, 0 for the others.",
        read: Read::Each(|state| {
            let present = Condition::of(state);
            let of_a_daemon = Condition::ALL
                .into_iter()
                .filter(|one| *one != Condition::NoDaemon);
            of_a_daemon
                .map(|one| (one.name(), flag(one == present)))
                .collect()
        }),
    },
    Metric {
        name: "agent_sync_paused",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Whether the database is paused (`agent-sync pause`): changes are noted and not \
            applied.",
        read: Read::Database(|state, _| Some(flag(state.phase == Phase::Paused))),
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
            rejected: the agent cannot be mapped, or the slug is ambiguous; failed: the agent \
            could not be brought in sync and is tried again; gone: there is no such agent any \
            more.",
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
        help: "The time from the statement that saved an agent to the commit of its batch, by \
            the clock of the server. A writer that commits late adds to it.",
        read: Read::Buckets(|state| (&state.latency).into()),
    },
    Metric {
        name: "agent_sync_last_sync_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "The time of the last committed batch, also of one that wrote nothing. Absent before \
            the first. The last_sync of `status --json` is the time of the last write.",
        read: Read::Database(|state, _| state.last_sync.map(seconds_since_1970)),
    },
    Metric {
        name: "agent_sync_batches_total",
        kind: Kind::Counter,
        unit: "",
        label: None,
        help: "Committed batches.",
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
        help: "Rows in the outbox, counted up to 100000, about once a second and less often for \
            a huge outbox. Only the daemon that leads has it, like the next two.",
        read: Read::Database(|state, _| backlog(state).map(|backlog| float(backlog.rows))),
    },
    Metric {
        name: "agent_sync_outbox_oldest_seconds",
        kind: Kind::Gauge,
        unit: "seconds",
        label: None,
        help: "The age of the oldest row of the outbox; 0 when it is empty.",
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
        help: "Faults and warnings about the database itself, such as a missing trigger; \
            /status has the texts.",
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
        help: "Configurations that differ from the mapping of their agents, as of the last \
            comparison of every agent, and that nothing is going to write. The daemon compares at \
            audit.interval, when the rules change, and while one differs again, about once a \
            minute. Absent before the first comparison.",
        read: Read::Database(|state, _| {
            let compared = state.compared?;
            Some(float(compared.counts.differing))
        }),
    },
    Metric {
        name: "agent_sync_compared_timestamp_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "The time of that comparison.",
        read: Read::Database(compared_at),
    },
    Metric {
        name: "agent_sync_last_audit_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "The same time under a second name: the end of the last complete audit.",
        read: Read::Database(compared_at),
    },
    Metric {
        name: "agent_sync_unmapped",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Agents with a voice setting that no rule reads, as of that comparison.",
        read: Read::Database(|state, _| {
            let compared = state.compared?;
            Some(float(compared.counts.unmapped))
        }),
    },
    Metric {
        name: "agent_sync_unnoticed_total",
        kind: Kind::Counter,
        unit: "",
        label: None,
        help: "Changes of agents that the capture never noticed, as audits have found and \
            repaired them. Any increase is a fault of the capture.",
        read: Read::Database(|state, _| Some(float(state.unnoticed_total))),
    },
    Metric {
        name: "agent_sync_unmapped_settings",
        kind: Kind::Gauge,
        unit: "",
        label: None,
        help: "Different voice settings that no rule reads, as far as batches have met them since \
            the start or the last change of the rules: up to 50, and 51 stands for more. Only the \
            daemon that leads has it. `agent-sync check --unmapped` counts them in every agent.",
        read: Read::Database(|state, _| {
            let number = u64::try_from(state.unmapped.number()).unwrap_or(u64::MAX);
            state.phase.leads().then_some(float(number))
        }),
    },
    Metric {
        name: "agent_sync_wakeups_total",
        kind: Kind::Counter,
        unit: "",
        label: Some(("cause", "notification, request, sweep, retry, poll or busy")),
        help: "Wake-ups of the sleeping loop by cause. request: a slug was requested by NOTIFY; \
            retry: a retry was due; poll: a timed wake-up; busy: another attempt at slugs that \
            were left.",
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
        help: "Connections after the first.",
        read: Read::Database(|state, _| Some(float(state.reconnects))),
    },
    Metric {
        name: "agent_sync_outage_seconds_total",
        kind: Kind::Counter,
        unit: "seconds",
        label: None,
        help: "The time in which the database was unavailable to the daemon, the running \
            outage included.",
        read: Read::Database(|state, snapshot| Some(state.outage(snapshot.taken.1).as_secs_f64())),
    },
    Metric {
        name: "agent_sync_build_info",
        kind: Kind::Gauge,
        unit: "",
        label: Some(("version", "of this program")),
        help: "Always 1; the label has the version, and the commit of the build.",
        read: Read::Process(|_| Some(1.0)),
    },
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        unit: "seconds since 1970",
        label: None,
        help: "The start time of the process.",
        read: Read::Process(|snapshot| Some(seconds_since_1970(snapshot.started.0))),
    },
    Metric {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        unit: "seconds",
        label: None,
        help: "The CPU time of the process, in user and in system mode.",
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
        help: "The most files and sockets that it may have open.",
        read: Read::Process(|_| process::max_fds()),
    },
];

fn compared_at(state: &State, _: &Snapshot) -> Option<f64> {
    Some(seconds_since_1970(state.compared?.at))
}

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
