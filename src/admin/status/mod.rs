//! `/status`: the status registry as JSON, for programs and for the status page.
//!
//! The field names are an interface: fields are added, and never renamed or given another meaning.
//! Times are RFC 3339 in UTC; unknown values are null. Lists are bounded: `?problems=N` and
//! `?changes=N` limit the lists of each database, and all databases together list at most 1,000 of
//! each, or one for each database if there are more.

mod parts;
mod sessions;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use self::parts::{
    Agents, Audit, Change, Compared, Finding, InMinute, LastError, Latencies, Latency, Outbox,
    Problems, Reason, Unmapped, seconds,
};
use self::sessions::Sessions;
use crate::observe::histogram::{Histogram, LATENCY};
use crate::observe::state::{CHANGES, PROBLEMS, WakeUp};
use crate::observe::verdict::{stuck, unready};
use crate::observe::{Pause, Snapshot, State};
use crate::time;

/// The requested lengths of the lists.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    problems: usize,
    changes: usize,
}

impl Wanted {
    /// Parses a query such as `problems=10&changes=0`.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut wanted = Self {
            problems: 100,
            changes: 50,
        };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let number = value
                .parse()
                .map_err(|_| format!("{name}: expected a whole number"));
            match name {
                "problems" => wanted.problems = usize::min(number?, PROBLEMS),
                "changes" => wanted.changes = usize::min(number?, CHANGES),
                _ => return Err("expected the parameters `problems` and `changes`".to_owned()),
            }
        }
        Ok(wanted)
    }

    /// The lengths for each of this number of databases: its share of [`LISTED`], at least one.
    fn of_each(&self, databases: usize) -> Self {
        let part = (LISTED / databases.max(1)).max(1);
        Self {
            problems: self.problems.min(part),
            changes: self.changes.min(part),
        }
    }
}

/// The number of problems, and of changes, that all databases list together.
const LISTED: usize = 1000;

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    #[serde(serialize_with = "time::serialize")]
    now: SystemTime,
    #[serde(serialize_with = "time::serialize")]
    started_at: SystemTime,
    live: bool,
    ready: bool,
    databases: Vec<Database<'a>>,
}

#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Database<'a> {
    name: &'a str,
    target: &'a str,
    server_version: Option<&'a str>,
    /// The state, in the words of the command `status`.
    state: &'static str,
    /// The time since which it is in this state, over any number of phases.
    #[serde(serialize_with = "time::serialize")]
    state_since: SystemTime,
    /// The step of the daemon's work.
    phase: &'static str,
    #[serde(serialize_with = "time::serialize")]
    phase_since: SystemTime,
    pause: Option<&'a Pause>,
    connected: bool,
    leader: bool,
    #[serde(flatten)]
    sessions: Sessions<'a>,
    /// Whether the task of the database makes progress.
    live: bool,
    ready: bool,
    not_ready: Vec<Reason>,
    last_error: Option<LastError<'a>>,
    findings: Vec<Finding<'a>>,
    compared: Option<Compared>,
    audit: Option<Audit>,
    unmapped: Unmapped<'a>,
    outbox: Option<Outbox>,
    problems: Option<Problems<'a>>,
    agents: Agents,
    /// The number of agents by the statistics of the server, if it has some.
    agents_estimate: Option<u64>,
    wakeups: BTreeMap<&'static str, u64>,
    batches: u64,
    reconnects: u64,
    outage_seconds: f64,
    /// The time of the last committed batch, also of one that wrote nothing.
    last_sync_at: Option<String>,
    latency: Latencies,
    hour: Vec<InMinute>,
    changes: Vec<Change<'a>>,
}

/// The JSON text of the answer.
pub(super) fn status(snapshot: &Snapshot, wanted: &Wanted) -> String {
    let wanted = wanted.of_each(snapshot.databases.len());
    let databases: Vec<_> = snapshot
        .databases
        .iter()
        .map(|(name, state)| database(name, state, snapshot, &wanted))
        .collect();
    let status = Status {
        version: crate::VERSION,
        now: snapshot.taken.0,
        started_at: snapshot.started.0,
        live: databases.iter().all(|database| database.live),
        ready: databases.iter().all(|database| database.ready),
        databases,
    };
    // Serialization cannot fail: all keys of maps are texts.
    serde_json::to_string(&status).unwrap_or_default()
}

fn database<'a>(
    name: &'a str,
    state: &'a State,
    snapshot: &Snapshot,
    wanted: &Wanted,
) -> Database<'a> {
    let reasons = unready(state);
    let backlog = state.backlog.as_deref();
    let mut last_hour = Histogram::new(&LATENCY);
    let minutes: Vec<_> = state.hour.until(snapshot.minute()).collect();
    for minute in &minutes {
        last_hour.merge(&minute.latency);
    }
    let findings = state.findings.iter().map(Finding::of);
    let unnoticed = state.unnoticed.as_ref();
    let hour = minutes.iter().map(|minute| InMinute::of(minute, snapshot));
    let changes = state.changes.iter().rev().take(wanted.changes);
    Database {
        name,
        target: &state.target,
        server_version: state.server_version.as_deref(),
        state: state.condition.0.name(),
        state_since: state.condition.1,
        phase: state.phase.name(),
        phase_since: state.since.0,
        pause: state.pause.as_deref(),
        connected: state.phase.is_connected(),
        leader: state.phase.leads(),
        sessions: Sessions::of(state),
        live: stuck(state, snapshot.taken.1).is_none(),
        ready: reasons.is_empty(),
        not_ready: reasons.into_iter().map(Reason::of).collect(),
        last_error: state.trouble.as_ref().map(LastError::of),
        findings: findings
            .chain(state.compared.as_ref().and_then(Finding::of_drift))
            .chain(unnoticed.and_then(|found| Finding::of_unnoticed(found, snapshot.taken.0)))
            .collect(),
        compared: state.compared.as_ref().map(Compared::of),
        audit: state.compared.as_ref().map(Audit::of),
        unmapped: Unmapped::of(&state.unmapped),
        outbox: backlog.map(|backlog| Outbox::of(backlog, snapshot)),
        problems: backlog.map(|backlog| Problems::of(backlog, wanted.problems)),
        agents: Agents::of(state.totals, state.failed),
        agents_estimate: backlog.and_then(|backlog| backlog.agents),
        wakeups: wakeups(state),
        batches: state.batch_rows.count(),
        reconnects: state.reconnects,
        outage_seconds: seconds(state.outage(snapshot.taken.1)),
        last_sync_at: state.last_sync.map(time::rfc3339),
        latency: Latencies {
            total: Latency::of(&state.latency),
            last_hour: Latency::of(&last_hour),
        },
        hour: hour.collect(),
        changes: changes.map(Change::of).collect(),
    }
}

/// The wake-ups by their cause.
fn wakeups(state: &State) -> BTreeMap<&'static str, u64> {
    let names = WakeUp::ALL.iter().map(|cause| cause.name());
    names.zip(state.wake_ups).collect()
}
