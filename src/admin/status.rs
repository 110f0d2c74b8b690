//! `/status`: the status registry as JSON, for programs and for the status page.
//!
//! The field names are an interface: fields are added, and never renamed or given another meaning.
//! Times are RFC 3339 in UTC; unknown values are null. Lists are bounded: `?problems=N` and
//! `?changes=N` limit the lists of each database, and all databases together list at most 1,000 of
//! each, or one for each database if there are more.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::observe::histogram::Histogram;
use crate::observe::hour::Minute;
use crate::observe::state::{self, Backlog, CHANGES, InForce, PROBLEMS, Problem, Trouble, WakeUp};
use crate::observe::verdict::{stuck, unready};
use crate::observe::{Kinds, Snapshot, State};
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
    phase: &'static str,
    #[serde(serialize_with = "time::serialize")]
    phase_since: SystemTime,
    connected: bool,
    leader: bool,
    /// Whether the task of the database makes progress.
    live: bool,
    ready: bool,
    not_ready: Vec<Reason>,
    last_error: Option<LastError<'a>>,
    findings: Vec<Finding<'a>>,
    compared: Option<Compared>,
    outbox: Option<Outbox>,
    problems: Option<Problems<'a>>,
    agents: Agents,
    wakeups: std::collections::BTreeMap<&'static str, u64>,
    batches: u64,
    reconnects: u64,
    outage_seconds: f64,
    last_sync_at: Option<String>,
    latency: Latencies,
    hour: Vec<InMinute>,
    changes: Vec<Change<'a>>,
}

#[derive(Serialize)]
struct Reason {
    reason: String,
    remedy: Option<String>,
}

#[derive(Serialize)]
struct LastError<'a> {
    cause: &'a str,
    remedy: &'a str,
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
}

#[derive(Serialize)]
struct Finding<'a> {
    #[serde(rename = "finding")]
    what: Cow<'a, str>,
    remedy: &'a str,
    misses_changes: bool,
    #[serde(serialize_with = "time::serialize")]
    since: SystemTime,
}

/// The last comparison of every configuration with its agent.
#[derive(Serialize)]
struct Compared {
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
    differing: u64,
    equal: u64,
}

#[derive(Serialize)]
struct Outbox {
    rows: u64,
    /// Whether the outbox has more rows than were counted.
    at_least: bool,
    oldest_seconds: Option<f64>,
}

#[derive(Serialize)]
struct Problems<'a> {
    missing_configuration: u64,
    rejected: u64,
    ambiguous: u64,
    failed: u64,
    /// Whether there are more problems than were counted.
    at_least: bool,
    /// The latest problems.
    listed: Vec<OneProblem<'a>>,
}

#[derive(Serialize)]
struct OneProblem<'a> {
    slug: &'a str,
    kind: &'a str,
    detail: &'a str,
    remedy: &'a str,
    sqlstate: Option<&'a str>,
    #[serde(serialize_with = "time::serialize")]
    since: SystemTime,
    attempts: i32,
}

#[derive(Serialize)]
struct Agents {
    synced: u64,
    unchanged: u64,
    missing: u64,
    rejected: u64,
    failed: u64,
    gone: u64,
}

#[derive(Serialize)]
struct Latencies {
    /// Since the start of the process.
    total: Latency,
    last_hour: Latency,
}

#[derive(Serialize)]
struct Latency {
    count: u64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

/// One minute of the last hour, oldest first; the last one is still running.
#[derive(Serialize)]
struct InMinute {
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
    #[serde(flatten)]
    agents: Agents,
    #[serde(flatten)]
    latency: Latency,
}

#[derive(Serialize)]
struct Change<'a> {
    slug: &'a str,
    outcome: &'static str,
    columns: Vec<&'static str>,
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
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
        version: env!("CARGO_PKG_VERSION"),
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
    let mut hour = Histogram::new(&crate::observe::histogram::LATENCY);
    let minutes: Vec<_> = state.hour.until(snapshot.minute()).collect();
    for minute in &minutes {
        hour.merge(&minute.latency);
    }
    Database {
        name,
        target: &state.target,
        server_version: state.server_version.as_deref(),
        phase: state.phase.name(),
        phase_since: state.since.0,
        connected: state.phase.is_connected(),
        leader: state.phase.leads(),
        live: stuck(state, snapshot.taken.1).is_none(),
        ready: reasons.is_empty(),
        not_ready: reasons
            .into_iter()
            .map(|reason| Reason {
                reason: reason.why,
                remedy: reason.remedy,
            })
            .collect(),
        last_error: state.trouble.as_ref().map(last_error),
        findings: state
            .findings
            .iter()
            .map(finding)
            .chain(state.compared.as_ref().and_then(drift))
            .collect(),
        compared: state.compared.map(
            |state::Compared {
                 at,
                 differing,
                 equal,
             }| Compared {
                at,
                differing,
                equal,
            },
        ),
        outbox: state
            .backlog
            .as_deref()
            .map(|backlog| outbox(backlog, snapshot)),
        problems: state
            .backlog
            .as_deref()
            .map(|backlog| problems(backlog, wanted)),
        agents: agents(state.totals, state.failed),
        wakeups: WakeUp::ALL
            .iter()
            .map(|cause| cause.name())
            .zip(state.wake_ups)
            .collect(),
        batches: state.batch_rows.count(),
        reconnects: state.reconnects,
        outage_seconds: seconds(state.outage(snapshot.taken.1)),
        last_sync_at: state.last_sync.map(time::rfc3339),
        latency: Latencies {
            total: latency(&state.latency),
            last_hour: latency(&hour),
        },
        hour: minutes
            .iter()
            .map(|minute| in_minute(minute, snapshot))
            .collect(),
        changes: state
            .changes
            .iter()
            .rev()
            .take(wanted.changes)
            .map(change)
            .collect(),
    }
}

fn last_error(trouble: &Trouble) -> LastError<'_> {
    LastError {
        cause: &trouble.cause,
        remedy: &trouble.remedy,
        at: trouble.at,
    }
}

fn finding(found: &InForce) -> Finding<'_> {
    let crate::observe::Finding {
        what,
        remedy,
        misses_changes,
    } = &found.finding;
    Finding {
        what: what.into(),
        remedy,
        misses_changes: *misses_changes,
        since: found.since,
    }
}

/// The finding about configurations that differ, from the last comparison.
fn drift(compared: &state::Compared) -> Option<Finding<'static>> {
    let (are, differ) = match compared.differing {
        0 => return None,
        1 => ("configuration", "differs"),
        _ => ("configurations", "differ"),
    };
    let number = compared.differing;
    let what = format!("{number} {are} {differ} from the mapping of their agents");
    let remedy = state::DRIFT_REMEDY;
    Some(Finding {
        what: what.into(),
        remedy,
        misses_changes: false,
        since: compared.at,
    })
}

fn outbox(backlog: &Backlog, snapshot: &Snapshot) -> Outbox {
    let since = snapshot.taken.1.saturating_duration_since(backlog.taken);
    let oldest_seconds = backlog.oldest.map(|age| seconds(age + since));
    Outbox {
        rows: backlog.rows,
        at_least: backlog.more_rows,
        oldest_seconds,
    }
}

fn problems<'a>(backlog: &'a Backlog, wanted: &Wanted) -> Problems<'a> {
    let Kinds {
        missing_configuration,
        rejected,
        ambiguous,
        failed,
    } = backlog.problems;
    let listed = backlog
        .listed
        .iter()
        .take(wanted.problems)
        .map(problem)
        .collect();
    Problems {
        missing_configuration,
        rejected,
        ambiguous,
        failed,
        at_least: backlog.more_problems,
        listed,
    }
}

fn problem(problem: &Problem) -> OneProblem<'_> {
    let Problem {
        slug,
        kind,
        detail,
        remedy,
        sqlstate,
        since,
        attempts,
    } = problem;
    let (since, attempts) = (*since, *attempts);
    OneProblem {
        slug,
        kind,
        detail,
        remedy,
        sqlstate: sqlstate.as_deref(),
        since,
        attempts,
    }
}

fn agents(totals: crate::observe::Totals, failed: u64) -> Agents {
    let crate::observe::Totals {
        written: synced,
        unchanged,
        missing,
        rejected,
        gone,
        ..
    } = totals;
    Agents {
        synced,
        unchanged,
        missing,
        rejected,
        failed,
        gone,
    }
}

fn latency<const N: usize>(histogram: &Histogram<N>) -> Latency {
    let quantile = |q| histogram.quantile(q).map(rounded);
    let max_seconds = histogram.max().map(rounded);
    Latency {
        count: histogram.count(),
        p50_seconds: quantile(0.5),
        p99_seconds: quantile(0.99),
        max_seconds,
    }
}

fn in_minute(minute: &Minute, snapshot: &Snapshot) -> InMinute {
    let at = snapshot.started.0 + Duration::from_secs(minute.number * 60);
    InMinute {
        at,
        agents: agents(minute.totals, minute.failed),
        latency: latency(&minute.latency),
    }
}

fn change(change: &crate::observe::state::Change) -> Change<'_> {
    let columns = change.columns.names().collect();
    Change {
        slug: &change.slug,
        outcome: change.outcome.name(),
        columns,
        at: change.at,
    }
}

fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// Rounds to a tenth of a millisecond, the precision of the measurement.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10_000.0).round() / 10_000.0
}
