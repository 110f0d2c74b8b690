//! Keeping one database in sync for good: attempt after attempt, with a pause in between that grows
//! (G8).
//!
//! An outage is two log lines, whatever happens during it: one when it begins, one when it is over.

use std::mem;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::backoff::Backoff;
use super::connection;
use super::context::Context;
use super::error::AttemptError;
use super::health::Health;
use crate::observe::{Event, Phase, event, pulse};

/// The pause before the next attempt when another session held a lock, or the tables have changed.
const SHORT_PAUSE: Duration = Duration::from_millis(20);

/// The longest pause while a lock lasts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The time between two connections during a pause that closes them.
const RELEASED: Duration = Duration::from_secs(10);

/// Runs until told to stop.
pub async fn keep_in_sync(context: Context, mut stop: watch::Receiver<bool>) {
    let reconnect = &context.options.reconnect;
    let mut backoff = Backoff::new(reconnect.initial_delay, reconnect.max_delay);
    let mut health = Health::default();
    context.observer.tell(Event::Phase(Phase::Connecting));
    while let Err(error) = Box::pin(connection::run(&context, &mut health, stop.clone())).await {
        let pause = match &error {
            AttemptError::ReconnectNow => continue,
            AttemptError::Paused(paused) => {
                health.note_pause(&context.observer, paused);
                // The end of a pause that closes no connection is awaited over a new one.
                if !paused.releases {
                    continue;
                }
                RELEASED
            }
            error => after_error(&context, &mut health, &mut backoff, error),
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            () = pulse::sleep(pause) => {}
        }
    }
    context.observer.tell(event::Connection::Stopped);
}

/// Reports a lock that a connection has met before it could work. Returns the pause before the next
/// one, which is a quarter of the time that the lock has lasted, within bounds.
fn after_lock(context: &Context, health: &mut Health, error: &AttemptError) -> Duration {
    if !error.is_locked() {
        return SHORT_PAUSE;
    }
    if let Some(lasted) = health.note_lock() {
        context.observer.tell(event::Tables::LockedOut(lasted));
        context
            .observer
            .tell(Event::InForce(&[connection::lock_finding(true)]));
    }
    let lasted = health.locked_since.map(|(since, _)| since.elapsed());
    (lasted.unwrap_or_default() / 4).clamp(SHORT_PAUSE, LONGEST_PAUSE)
}

/// Reports the end of a connection. Returns the pause before the next one.
fn after_error(
    context: &Context,
    health: &mut Health,
    backoff: &mut Backoff,
    error: &AttemptError,
) -> Duration {
    if let Some(since) = health.healthy.take() {
        backoff.lost_after(since.elapsed());
        health.noticed.layout_changed = false;
    }
    let (cause, remedy) = (error.to_string(), error.remedy());
    let schema = &context.database.install.schema;
    let (cause, remedy) = (
        schema.localize_message(&cause).into_owned(),
        schema.localize_message(&remedy),
    );
    health.noticed.misses_changes |= error.misses_changes();
    // Neither is an outage: the server is there, and will let the daemon work again (G16). After a
    // change of the tables or of the install, the next connection finds out what has changed: at
    // once, also during an outage, for this cause says nothing of what is wrong (G10).
    let is_first =
        error.is_layout_change() && !mem::replace(&mut health.noticed.layout_changed, true);
    let is_in_outage = health.outage.is_some();
    if is_first
        || error.has_seen_a_change()
        || !is_in_outage && health.was_healthy && error.is_locked()
    {
        if !is_in_outage && error.is_layout_change() {
            context.observer.tell(event::Tables::Changed(&cause));
        }
        return after_lock(context, health, error);
    }
    // The next connection does not listen, and so does not end in the same way.
    let pause = if matches!(error, AttemptError::Unreadable(_)) {
        health.noticed.stop_listening();
        SHORT_PAUSE
    } else {
        backoff.delay()
    };
    // A finding is told though the outage began for another reason: its remedy is another (G10).
    if health.outage.is_none()
        || (error.is_finding() && health.reported_cause.as_ref() != Some(&cause))
    {
        health.outage.get_or_insert_with(Instant::now);
        context.observer.tell(event::Connection::Lost {
            cause: &cause,
            remedy: &remedy,
            is_answered: error.is_answer(),
        });
        health.reported_cause = Some(cause);
    } else {
        context.observer.tell(event::Connection::StillLost {
            cause: &cause,
            remedy: &remedy,
            is_answered: error.is_answer(),
            pause,
        });
    }
    pause
}
