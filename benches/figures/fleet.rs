//! One daemon with very many databases: the time until all are ready, what it takes when it is
//! idle, and a reload that changes one of them.
//!
//! The server is one of its own, with a connection for each database. Each database has few agents,
//! so the figure is about the databases. The daemon has its default settings, and the idle span is
//! longer than a sweep. All sessions but that of the changed database have to outlive the reload.

use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Entry};
use crate::support::database::Flavour;
use crate::support::generator::Prompt;
use crate::support::lab::Lab;
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::{TIMEOUT, procfs, say, until};

const SETTINGS: &str = "max_connections = 1100\nmax_locks_per_transaction = 16\n";

/// The sessions of daemons: those that began before a time, and those that began after it.
const SESSIONS: &str = "
    SELECT count(*) FILTER (WHERE backend_start < $1), count(*) FILTER (WHERE backend_start >= $1)
    FROM pg_stat_activity WHERE application_name LIKE 'agent-sync/%' AND datname <> 'postgres'";

/// What the daemon took in one round.
#[derive(Debug, Clone, Copy)]
struct Taken {
    ready_seconds: f64,
    cpu_percent: f64,
    rss_mib: f64,
    reload_seconds: f64,
}

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let number = lab.scaled(1_000, 5);
    let mut lab = Lab::start_with(lab.args.clone(), SETTINGS)?;
    let mut entries = Vec::new();
    for _ in 0..number {
        let database = lab.copy(10, Prompt::Short, Flavour::Plain).await?;
        entries.push(Entry::of(&database));
    }
    say(format_args!("installing in {number} databases"));
    Daemon::install_all(&lab, &entries).await?;

    let mut rounds = Vec::new();
    for round in 0..lab.rounds(1) {
        let taken = take(&lab, &mut entries).await?;
        say(format_args!(
            "round {}: {number} databases ready in {} s, {} % of a core idle, {} MiB, reload of one \
            in {} s",
            round + 1,
            digits(taken.ready_seconds),
            digits(taken.cpu_percent),
            digits(taken.rss_mib),
            digits(taken.reload_seconds)
        ));
        rounds.push(taken);
    }
    let label = |what: &str| format!("{} databases, {what}", super::count(number));
    let of = |value: fn(&Taken) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let (ready, processor) = (
        of(|taken| taken.ready_seconds),
        of(|taken| taken.cpu_percent),
    );
    let (memory, reload) = (of(|taken| taken.rss_mib), of(|taken| taken.reload_seconds));
    Ok(vec![
        Row::alone(label("start to all ready"), Unit::Seconds, &ready).goal(Goal::AtMost(30.0)),
        Row::alone(label("processor, idle"), Unit::Percent, &processor).goal(Goal::AtMost(1.0)),
        Row::alone(label("RSS"), Unit::Mebibytes, &memory).goal(Goal::AtMost(150.0)),
        Row::alone(label("reload of one"), Unit::Seconds, &reload),
    ])
}

async fn take(lab: &Lab, entries: &mut [Entry]) -> anyhow::Result<Taken> {
    let begun = Instant::now();
    let daemon = Daemon::start_for(lab, entries, "")?;
    daemon.catch_up().await?;
    let ready_seconds = begun.elapsed().as_secs_f64();
    // After an install, each database is checked once more with the next sweep.
    tokio::time::sleep(Duration::from_secs(lab.scaled(35, 0))).await;
    let (begun, before) = (Instant::now(), procfs::activity(daemon.pid())?);
    tokio::time::sleep(Duration::from_secs(lab.scaled(40, 2))).await;
    let (span, after) = (
        begun.elapsed().as_secs_f64(),
        procfs::activity(daemon.pid())?,
    );
    let rss_mib = procfs::memory_kib(daemon.pid(), |status| status.vmrss)? / 1024.0;
    let reload_seconds = reload(lab, &daemon, entries).await?;
    Ok(Taken {
        ready_seconds,
        cpu_percent: 100.0 * (after.cpu_seconds - before.cpu_seconds) / span,
        rss_mib,
        reload_seconds,
    })
}

/// Changes the URL of the first database, and waits for its new session. Fails if another session
/// ends.
async fn reload(lab: &Lab, daemon: &Daemon, entries: &mut [Entry]) -> anyhow::Result<f64> {
    let admin = lab.admin().await?;
    let now: std::time::SystemTime = admin
        .query_one("SELECT clock_timestamp()", &[])
        .await?
        .try_get(0)?;
    if let Some(first) = entries.first_mut() {
        first.url.push_str("?connect_timeout=7");
    }
    let begun = Instant::now();
    daemon.reload(lab, entries)?;
    let wait = Duration::from_millis(20);
    let took = until(
        "a session of the changed database",
        TIMEOUT,
        wait,
        async || {
            let sessions = admin.query_one(SESSIONS, &[&now]).await?;
            let (old, new): (i64, i64) = (sessions.try_get(0)?, sessions.try_get(1)?);
            let others = i64::try_from(entries.len())? - 1;
            anyhow::ensure!(old >= others, "{} other sessions have ended", others - old);
            Ok((old == others && new > 0).then(|| begun.elapsed().as_secs_f64()))
        },
    );
    let took = took.await?;
    if let Some(first) = entries.first_mut() {
        first
            .url
            .truncate(first.url.find('?').unwrap_or(first.url.len()));
    }
    Ok(took)
}
