//! The round trip: a slug that no agent has goes into the outbox and wakes the daemon as a save
//! does, and the daemon drops it.
//!
//! It proves the outbox, the wake-up and the loop, and touches no row of the user's. Behaviour on
//! failure: a canary that nobody takes is taken back; where no daemon leads, none is sent.

use std::time::{Duration, Instant};

use postgres_types::Type;
use tokio_postgres::error::SqlState;

use super::note::Note;
use super::problem;
use crate::pg::{Db, Parameter, QueryError, sqlstate};
use crate::settings::Settings;
use crate::show::time;
use crate::store::report;

/// How long a daemon gets that is awake, or is woken.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The first and the longest pause between two looks.
const LOOK: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

/// How long the daemon gets. One that nobody wakes may first sleep for a whole
/// `sync.poll_interval`.
fn limit(settings: &Settings) -> Duration {
    TIME_LIMIT
        + if settings.capture.notify {
            Duration::ZERO
        } else {
            settings.sync.poll_interval
        }
}

/// Sends one, and says what became of it.
pub async fn canary(db: &Db, settings: &Settings) -> Note {
    let limit = limit(settings);
    match db.value(report::LED, &[]).await {
        Ok(true) => {}
        Ok(false) => {
            return Note::warn(
                "round trip",
                "not tried, because no daemon leads here",
                format!("{}.", problem::START),
            );
        }
        Err(error) => return Note::unanswered("round trip", &error),
    }
    let slug = format!("agent-sync doctor {:016x}", fastrand::u64(..));
    let began = Instant::now();
    let sent = report::send(db, &[&slug]).await;
    let outcome = match sent {
        Ok(()) => wait(db, &slug, began, limit).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Outcome::Back(after)) => {
            // There is none, unless row-level security may hide agents from the daemon.
            let _ = delete(db, report::FORGET_CANARY, &slug).await;
            Note::pass(
                "round trip",
                format!("outbox, wake-up and daemon took {} together", time(after)),
            )
        }
        Ok(outcome) => {
            let back = delete(db, report::TAKE_BACK, &slug).await;
            missing(&outcome, limit, back.is_ok())
        }
        Err(error) => {
            let _ = delete(db, report::TAKE_BACK, &slug).await;
            refused(&error)
        }
    }
}

/// What became of it.
enum Outcome {
    Back(Duration),
    /// The daemon takes others, which are before it.
    Behind,
    /// Nothing was taken at all.
    Untouched,
}

async fn wait(db: &Db, slug: &str, began: Instant, limit: Duration) -> Result<Outcome, QueryError> {
    let slugs = [slug];
    let slugs: [Parameter<'_>; 1] = [(&&slugs[..], Type::TEXT_ARRAY)];
    let (mut pause, mut before) = (LOOK.0, None);
    loop {
        let row = db.one(report::STILL_PENDING, &slugs).await?;
        let (left, taken): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let before = *before.get_or_insert(taken);
        if left == 0 {
            return Ok(Outcome::Back(began.elapsed()));
        }
        if began.elapsed() > limit {
            return Ok(if taken > before {
                Outcome::Behind
            } else {
                Outcome::Untouched
            });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK.1);
    }
}

/// Deletes what there is of the canary: its row of the outbox, or its problem.
async fn delete(db: &Db, statement: &str, slug: &str) -> Result<(), QueryError> {
    db.run(statement, &[(&slug, Type::TEXT)]).await
}

fn missing(outcome: &Outcome, limit: Duration, taken_back: bool) -> Note {
    // What cannot be taken back is in a batch: the daemon drops it, or the server undoes the batch
    // and the next daemon does.
    let left = if taken_back {
        ""
    } else {
        "; it is in a batch that is not over"
    };
    match outcome {
        Outcome::Behind => Note::warn(
            "round trip",
            format!(
                "not back within {limit:?}, though the daemon works: others are before it{left}"
            ),
            "See with `agent-sync status --watch` whether the outbox empties.",
        ),
        Outcome::Back(_) | Outcome::Untouched => Note::fail(
            "round trip",
            format!(
                "a daemon leads, and has not taken what was put into the outbox within \
                {limit:?}{left}"
            ),
            "See the log of the daemon and whether its process hangs; restart it: another one, or \
            the next, takes over.",
        ),
    }
}

/// What could not be asked.
fn refused(error: &QueryError) -> Note {
    match error {
        QueryError::Postgres(cause) if cause.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Note::fail(
                "round trip",
                format!(
                    "the role may not put a slug into the outbox and take it out again: {}",
                    sqlstate::describe(cause)
                ),
                "GRANT SELECT, INSERT, DELETE ON agent_sync.outbox TO the role of the daemon, or \
                run `agent-sync install --role …`.",
            )
        }
        error => Note::unanswered("round trip", error),
    }
}
