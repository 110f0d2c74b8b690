//! The parts of the answer about one database.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::observe::compared::{self, Counts, Unnoticed};
use crate::observe::histogram::Histogram;
use crate::observe::hour::Minute;
use crate::observe::state::{self, Backlog, InForce, Problem, Trouble};
use crate::observe::unmapped::UnmappedSettings;
use crate::observe::verdict;
use crate::observe::{self, Snapshot, Totals};
use crate::show::count;
use crate::time;

#[derive(Serialize)]
pub(super) struct Reason {
    reason: String,
    remedy: Option<String>,
}

impl Reason {
    pub(super) fn of(reason: verdict::Reason) -> Self {
        Self {
            reason: reason.why,
            remedy: reason.remedy,
        }
    }
}

#[derive(Serialize)]
pub(super) struct LastError<'a> {
    cause: &'a str,
    remedy: &'a str,
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
}

impl<'a> LastError<'a> {
    pub(super) fn of(trouble: &'a Trouble) -> Self {
        Self {
            cause: &trouble.cause,
            remedy: &trouble.remedy,
            at: trouble.at,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Finding<'a> {
    #[serde(rename = "finding")]
    what: Cow<'a, str>,
    remedy: &'a str,
    misses_changes: bool,
    #[serde(serialize_with = "time::serialize")]
    since: SystemTime,
}

impl<'a> Finding<'a> {
    pub(super) fn of(found: &'a InForce) -> Self {
        let observe::Finding {
            what,
            remedy,
            misses_changes,
        } = &found.finding;
        Self {
            what: what.into(),
            remedy,
            misses_changes: *misses_changes,
            since: found.since,
        }
    }

    /// The finding about configurations that differ, from the last comparison.
    pub(super) fn of_drift(compared: &compared::Compared) -> Option<Self> {
        let (are, differ) = match compared.counts.differing {
            0 => return None,
            1 => ("configuration", "differs"),
            _ => ("configurations", "differ"),
        };
        let number = count(compared.counts.differing);
        let cause = compared.counts.cause_of_drift();
        let what = format!("{number} {are} {differ} from the mapping of their agents{cause}");
        Some(Self {
            what: what.into(),
            remedy: compared.counts.remedy_of_drift(),
            misses_changes: false,
            since: compared.at,
        })
    }

    /// The finding about changes that were never noticed, for a day after they were found.
    pub(super) fn of_unnoticed(found: &'a Unnoticed, now: SystemTime) -> Option<Self> {
        let age = now.duration_since(found.at).unwrap_or_default();
        (age < compared::TOLD_FOR).then(|| Self {
            what: found.sentence().into(),
            remedy: compared::UNNOTICED_REMEDY,
            misses_changes: false,
            since: found.at,
        })
    }
}

/// The last comparison of every agent, in numbers of agents.
#[derive(Serialize)]
pub(super) struct Audit {
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
    agents: u64,
    in_sync: u64,
    drifted: u64,
    pending: u64,
    problems: u64,
    unmapped: u64,
    unnoticed: u64,
}

impl Audit {
    pub(super) fn of(compared: &compared::Compared) -> Self {
        let Counts {
            agents,
            in_sync,
            drifted,
            pending,
            problems,
            unmapped,
            unnoticed,
            ..
        } = compared.counts;
        Self {
            at: compared.at,
            agents,
            in_sync,
            drifted,
            pending,
            problems,
            unmapped,
            unnoticed,
        }
    }
}

/// The last comparison of every configuration with its agent.
#[derive(Serialize)]
pub(super) struct Compared {
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
    differing: u64,
    equal: u64,
}

impl Compared {
    pub(super) fn of(compared: &compared::Compared) -> Self {
        Self {
            at: compared.at,
            differing: compared.counts.differing,
            equal: compared.counts.equal,
        }
    }
}

/// The voice settings that no rule reads, as far as they were met.
#[derive(Serialize)]
pub(super) struct Unmapped<'a> {
    listed: Vec<UnmappedSetting<'a>>,
    /// Whether there are others.
    more: bool,
}

#[derive(Serialize)]
struct UnmappedSetting<'a> {
    setting: &'a str,
    remark: &'a str,
    /// The tenant of the first agent that was met with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    /// Its slug.
    slug: &'a str,
    #[serde(serialize_with = "time::serialize")]
    since: SystemTime,
}

impl<'a> Unmapped<'a> {
    pub(super) fn of(settings: &'a UnmappedSettings) -> Self {
        let listed = settings.listed.iter().map(|one| UnmappedSetting {
            setting: &one.setting,
            remark: &one.remark,
            tenant: one.tenant.as_deref(),
            slug: &one.slug,
            since: one.since,
        });
        Self {
            listed: listed.collect(),
            more: settings.more,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Outbox {
    rows: u64,
    /// Whether the outbox has more rows than were counted.
    at_least: bool,
    oldest_seconds: Option<f64>,
}

impl Outbox {
    pub(super) fn of(backlog: &Backlog, snapshot: &Snapshot) -> Self {
        let since = snapshot.taken.1.saturating_duration_since(backlog.taken);
        Self {
            rows: backlog.rows,
            at_least: backlog.more_rows,
            oldest_seconds: backlog.oldest.map(|age| seconds(age + since)),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Problems<'a> {
    missing_configuration: u64,
    rejected: u64,
    ambiguous: u64,
    failed: u64,
    /// Whether there are more problems than were counted.
    at_least: bool,
    /// The latest problems of each kind, in turn.
    listed: Vec<OneProblem<'a>>,
}

impl<'a> Problems<'a> {
    /// With this number of them, a share of each kind.
    pub(super) fn of(backlog: &'a Backlog, listed: usize) -> Self {
        let kinds = backlog.problems;
        let listed = backlog.listed.iter().take(listed);
        Self {
            missing_configuration: kinds.missing_configuration,
            rejected: kinds.rejected,
            ambiguous: kinds.ambiguous,
            failed: kinds.failed,
            at_least: backlog.more_problems,
            listed: listed.map(OneProblem::of).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct OneProblem<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    slug: &'a str,
    kind: &'a str,
    detail: &'a str,
    remedy: &'a str,
    sqlstate: Option<&'a str>,
    #[serde(serialize_with = "time::serialize")]
    since: SystemTime,
    attempts: i32,
}

impl<'a> OneProblem<'a> {
    fn of(problem: &'a Problem) -> Self {
        Self {
            tenant: problem.tenant.as_deref(),
            slug: &problem.slug,
            kind: &problem.kind,
            detail: &problem.detail,
            remedy: &problem.remedy,
            sqlstate: problem.sqlstate.as_deref(),
            since: problem.since,
            attempts: problem.attempts,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Agents {
    synced: u64,
    unchanged: u64,
    missing: u64,
    rejected: u64,
    failed: u64,
    gone: u64,
}

impl Agents {
    pub(super) fn of(totals: Totals, failed: u64) -> Self {
        Self {
            synced: totals.written,
            unchanged: totals.unchanged,
            missing: totals.missing,
            rejected: totals.rejected,
            failed,
            gone: totals.gone,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Latencies {
    /// Since the start of the process.
    pub(super) total: Latency,
    pub(super) last_hour: Latency,
}

#[derive(Serialize)]
pub(super) struct Latency {
    count: u64,
    p50_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    max_seconds: Option<f64>,
}

impl Latency {
    pub(super) fn of<const N: usize>(histogram: &Histogram<N>) -> Self {
        let quantile = |q| histogram.quantile(q).map(rounded);
        Self {
            count: histogram.count(),
            p50_seconds: quantile(0.5),
            p99_seconds: quantile(0.99),
            max_seconds: histogram.max().map(rounded),
        }
    }
}

/// One minute of the last hour, oldest first; the last one is still running.
#[derive(Serialize)]
pub(super) struct InMinute {
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
    #[serde(flatten)]
    agents: Agents,
    #[serde(flatten)]
    latency: Latency,
}

impl InMinute {
    pub(super) fn of(minute: &Minute, snapshot: &Snapshot) -> Self {
        Self {
            at: snapshot.started.0 + Duration::from_secs(minute.number * 60),
            agents: Agents::of(minute.totals, minute.failed),
            latency: Latency::of(&minute.latency),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Change<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    slug: &'a str,
    outcome: &'static str,
    columns: Vec<&'static str>,
    #[serde(serialize_with = "time::serialize")]
    at: SystemTime,
}

impl<'a> Change<'a> {
    pub(super) fn of(change: &'a state::Change) -> Self {
        Self {
            tenant: change.tenant.as_deref(),
            slug: &change.slug,
            outcome: change.outcome.name(),
            columns: change.columns.names().collect(),
            at: change.at,
        }
    }
}

pub(super) fn seconds(duration: Duration) -> f64 {
    rounded(duration.as_secs_f64())
}

/// Rounds to a tenth of a millisecond, the precision of the measurement.
fn rounded(seconds: f64) -> f64 {
    (seconds * 10_000.0).round() / 10_000.0
}
