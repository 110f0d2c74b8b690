//! The round trip of `doctor`: a slug without an agent goes into the outbox and wakes the daemon
//! like a save, and the daemon deletes it.
//!
//! The test covers outbox, wake-up and daemon, and changes no row of the two tables. A slug that
//! the daemon does not take in time is deleted from the outbox. While no daemon leads, none is
//! sent.

use std::time::{Duration, Instant};

use postgres_types::Type;

use super::note::Note;
use super::problem;
use crate::key::Keys;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::Settings;
use crate::show::time;
use crate::store::{enqueue, report};

/// The time limit for a daemon that is awake or receives a wake-up.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The first and the longest pause between two reads of the outbox.
const LOOK: (Duration, Duration) = (Duration::from_micros(200), Duration::from_millis(20));

/// The time limit of the round trip. With `capture.notify` off, the daemon may first sleep for a
/// whole `sync.poll_interval`.
fn limit(settings: &Settings) -> Duration {
    TIME_LIMIT
        + if settings.capture.notify {
            Duration::ZERO
        } else {
            settings.sync.poll_interval
        }
}

/// Makes the round trip and returns its check.
pub async fn canary(db: &Db, settings: &Settings, is_paused: bool) -> Note {
    let limit = limit(settings);
    match db.value(report::LED, &[]).await {
        Ok(true) => {}
        Ok(false) => {
            return Note::warn(
                "round trip",
                "not tried, because no daemon leads here",
                problem::without_leader(is_paused),
            );
        }
        Err(error) => return Note::unanswered("round trip", &error),
    }
    // Without a tenant, where tenants are set: the row is about the agents of every tenant.
    let slug = format!("agent-sync doctor {:016x}", fastrand::u64(..));
    let began = Instant::now();
    let sent = enqueue::put(db, Keys::Slugs, &[&slug]).await;
    let outcome = match sent {
        Ok(()) => wait(db, &slug, began, limit).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Outcome::Back(after)) => {
            // Usually there is no problem to delete; the daemon notes one if row-level security may
            // hide agents from it.
            let _ = delete(db, &enqueue::forget_canary(), &slug).await;
            Note::pass(
                "round trip",
                format!("outbox, wake-up and daemon took {} together", time(after)),
            )
        }
        Ok(outcome) => {
            let back = delete(db, enqueue::TAKE_BACK, &slug).await;
            missing(&outcome, limit, back.is_ok())
        }
        Err(error) => {
            let _ = delete(db, enqueue::TAKE_BACK, &slug).await;
            refused(&error)
        }
    }
}

/// The result of the round trip.
enum Outcome {
    Back(Duration),
    /// The daemon took other rows, which are ahead.
    Behind,
    /// The daemon took no row.
    Untouched,
}

async fn wait(db: &Db, slug: &str, began: Instant, limit: Duration) -> Result<Outcome, QueryError> {
    let slugs = [slug];
    let slugs: [Parameter<'_>; 1] = [(&&slugs[..], Type::TEXT_ARRAY)];
    let (mut pause, mut before) = (LOOK.0, None);
    let still_pending = report::still_pending(Keys::Slugs);
    loop {
        let row = db.one(&still_pending, &slugs).await?;
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

/// Deletes the slug from the outbox or its problem, as `statement` says.
async fn delete(db: &Db, statement: &str, slug: &str) -> Result<(), QueryError> {
    db.run(statement, &[(&slug, Type::TEXT)]).await
}

fn missing(outcome: &Outcome, limit: Duration, taken_back: bool) -> Note {
    // A row that cannot be deleted is locked by a batch. That batch deletes it, or the server rolls
    // the batch back and the next daemon deletes the row.
    let left = if taken_back {
        ""
    } else {
        "; it is in a batch that is not over"
    };
    match outcome {
        Outcome::Behind => Note::warn(
            "round trip",
            format!(
                "not back within {limit:?}, though the daemon works: other changes are before \
                it{left}"
            ),
            "See with `agent-sync status --watch` whether the outbox empties.",
        ),
        Outcome::Back(_) | Outcome::Untouched => Note::fail(
            "round trip",
            format!(
                "a daemon leads, and has not processed the slug in the outbox within \
                {limit:?}{left}"
            ),
            "See the log of the daemon and whether its process hangs; restart it: another one, or \
            the next, takes over.",
        ),
    }
}

/// The check for a refused statement.
fn refused(error: &QueryError) -> Note {
    if !error.is_unprivileged() {
        return Note::unanswered("round trip", error);
    }
    Note::fail(
        "round trip",
        format!("the role may not put a slug into the outbox and take it out again: {error}"),
        "GRANT SELECT, INSERT, DELETE ON agent_sync.outbox TO the role of the daemon, or run \
        `agent-sync install --role …`.",
    )
}
