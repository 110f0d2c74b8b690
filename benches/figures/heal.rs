//! The time until changes are in sync again after a fault; beside a bare client that reconnects.
//!
//! A change is saved as soon as the fault allows, and the figure is the time of its arrival. Fair:
//! the bare client has the same faults. One restart of the server affects both sides at once, and
//! each side's session is killed in turn. The client reconnects immediately and then with the
//! daemon's backoff, listens, queries once for missed changes, and applies them. It takes no lock,
//! verifies nothing and has no standby, so the goal of the takeover is a time.
//!
//! Both sides are restarted before each fault, so no earlier fault has increased a backoff.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::support::daemon::Daemon;
use crate::support::database::{Database, Flavour, connect};
use crate::support::lab::Lab;
use crate::support::listener::{Listener, Work};
use crate::support::report::{Goal, Row, Unit, digits};
use crate::support::sample::{Subject, Worker};
use crate::support::stats::Pair;
use crate::support::{TIMEOUT, say, until};

/// The interval of polling for a change.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// Ends every session of a database except those of the benchmark.
const KILL: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = $1 AND application_name <> 'bench' AND backend_type = 'client backend'";

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let agents = lab.scaled(1_000, 200);
    let ours = lab.database(agents, Flavour::Installed).await?;
    let rival = lab.database(agents, Flavour::Notifying).await?;

    let (mut killed, mut taken_over) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(7) {
        let mut took = [0.0; 2];
        for side in super::in_turn(2, round) {
            took[side] = if side == 0 {
                let daemon = Daemon::caught_up(lab, &[&ours]).await?;
                kill(lab, &ours, Worker::Daemon(&daemon)).await?
            } else {
                let listener = Listener::start(&rival, Work::UpdateForEver)?;
                kill(lab, &rival, Worker::Listener(&listener)).await?
            };
        }
        let pair = Pair {
            ours: took[0],
            beside: took[1],
        };
        let takeover = take_over(lab, &ours).await?;
        say(format_args!(
            "round {}: killed session {} s beside {} s; takeover {} s",
            round + 1,
            digits(pair.ours),
            digits(pair.beside),
            digits(takeover)
        ));
        killed.push(pair);
        taken_over.push(takeover);
    }

    let (mut from_up, mut from_fault) = (Vec::new(), Vec::new());
    for round in 0..lab.rounds(7) {
        let (up, fault) = restart(lab, &ours, &rival).await?;
        say(format_args!(
            "round {}: restart {} s beside {} s, from the fault {} s beside {} s",
            round + 1,
            digits(up.ours),
            digits(up.beside),
            digits(fault.ours),
            digits(fault.beside)
        ));
        from_up.push(up);
        from_fault.push(fault);
    }
    let beside = "a bare client that reconnects";
    Ok(vec![
        Row::new(
            "server restart, from when it is up",
            Unit::Seconds,
            beside,
            &from_up,
        )
        .goal(Goal::RatioAtMost(1.5)),
        Row::new(
            "server restart, from the fault",
            Unit::Seconds,
            beside,
            &from_fault,
        ),
        Row::new("killed session", Unit::Seconds, beside, &killed).goal(Goal::RatioAtMost(2.0)),
        Row::alone("killed leader, with a standby", Unit::Seconds, &taken_over)
            .goal(Goal::AtMost(2.0)),
    ])
}

/// The time from the kill of a worker's session to the arrival of a change that is saved right
/// afterwards.
async fn kill(lab: &Lab, database: &Database, worker: Worker<'_>) -> anyhow::Result<f64> {
    let mut subject = Subject::open(database, worker).await?;
    subject.sample().await?;
    let admin = lab.admin().await?;
    let fault = Instant::now();
    let killed: i64 = admin.query_one(KILL, &[&database.name]).await?.try_get(0)?;
    anyhow::ensure!(killed > 0, "there was no session to kill");
    let (slug, voice) = subject.save().await?;
    subject.wait(&slug, &voice, POLL_INTERVAL).await?;
    Ok(fault.elapsed().as_secs_f64())
}

/// The time from the kill of the leading daemon to the arrival of a change that is saved right
/// afterwards.
async fn take_over(lab: &Lab, database: &Database) -> anyhow::Result<f64> {
    let leader = Daemon::caught_up(lab, &[database]).await?;
    let standby = Daemon::start(lab, &[database])?;
    standby
        .logged("another daemon leads here; standing by")
        .await?;
    let mut subject = Subject::open(database, Worker::Daemon(&standby)).await?;
    subject.sample().await?;
    // A random moment between two attempts of the standby.
    tokio::time::sleep(Duration::from_millis(fastrand::u64(..1000))).await;
    let fault = Instant::now();
    drop(leader);
    let (slug, voice) = subject.save().await?;
    subject.wait(&slug, &voice, POLL_INTERVAL).await?;
    Ok(fault.elapsed().as_secs_f64())
}

/// The times until a change has arrived that is saved right after a restart of the server: from the
/// moment when the server accepts connections, and from the fault.
async fn restart(lab: &Lab, ours: &Database, rival: &Database) -> anyhow::Result<(Pair, Pair)> {
    let daemon = Daemon::caught_up(lab, &[ours]).await?;
    let listener = Listener::start(rival, Work::UpdateForEver)?;
    let workers = [
        (ours, Worker::Daemon(&daemon)),
        (rival, Worker::Listener(&listener)),
    ];
    for (database, worker) in workers {
        Subject::open(database, worker).await?.sample().await?;
    }

    // Otherwise the shutdown writes the dirty pages while both sides wait for it.
    let witness = lab.admin().await?;
    witness.batch_execute("CHECKPOINT").await?;
    let cluster = Arc::clone(&lab.cluster);
    let fault = Instant::now();
    let restart = tokio::task::spawn_blocking(move || {
        cluster.control(&["-m", "fast", "stop"])?;
        cluster.control(&["start"])
    });
    until("the server goes down", TIMEOUT, POLL_INTERVAL, async || {
        Ok(witness.is_closed().then_some(()))
    })
    .await?;
    let is_up = until(
        "the server is up again",
        2 * TIMEOUT,
        Duration::from_millis(5),
        async || Ok(connect(&ours.url).await.ok()),
    );
    drop(is_up.await.with_context(|| lab.end_of_log())?);
    let up = Instant::now();

    let [(ours, ours_worker), (rival, rival_worker)] = workers;
    let mut subjects = [
        Subject::open(ours, ours_worker).await?,
        Subject::open(rival, rival_worker).await?,
    ];
    let [subject, other] = &mut subjects;
    let (change, other_change) = (subject.save().await?, other.save().await?);
    let arrival =
        async |subject: &Subject<'_>, (slug, voice): (String, String)| -> anyhow::Result<Instant> {
            subject.wait(&slug, &voice, POLL_INTERVAL).await?;
            Ok(Instant::now())
        };
    let (ours, beside) = tokio::join!(arrival(subject, change), arrival(other, other_change));
    let (ours, beside) = (ours?, beside?);
    restart.await?.context("the server did not come back")?;
    let since = |begin: Instant| Pair {
        ours: (ours - begin).as_secs_f64(),
        beside: (beside - begin).as_secs_f64(),
    };
    Ok((since(up), since(fault)))
}
