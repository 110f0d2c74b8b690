//! The slugs that a command or the audit puts into the outbox, and that a command takes out of it
//! again.

use postgres_types::Type;

use super::queries;
use crate::key::Keys;
use crate::pg::{Db, Parameter, QueryError};

/// Wakes the daemon the way the trigger does (C6): with a notification only if it sleeps; and
/// otherwise it cannot go to sleep before it has seen what this transaction has put into the
/// outbox.
pub const WAKE: &str = "
    SELECT pg_notify('agent_sync', '')
    WHERE NOT pg_try_advisory_xact_lock_shared(1634169721, 2)
      AND pg_notification_queue_usage() < 0.5";

/// Whether another session waits for a lock that this transaction holds.
pub const BLOCKS: &str = "
    SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
                   WHERE NOT l.granted AND l.locktype = 'relation'
                     AND pg_catalog.pg_backend_pid()
                         OPERATOR(pg_catalog.=) ANY (pg_catalog.pg_blocking_pids(l.pid)))";

/// Takes the slug `$1` out of the outbox again: a canary that no daemon took.
pub const TAKE_BACK: &str = "DELETE FROM agent_sync.outbox o WHERE o.slug = $1::text";

/// Takes away the problem of the slug `$1`: where row-level security may hide agents, the daemon
/// notes one for a canary.
pub fn forget_canary() -> String {
    let is = Keys::Slugs.is("p", "$1::text");
    format!("DELETE FROM agent_sync.problem p WHERE {is}")
}

/// Puts keys into the outbox and wakes the daemon, as a save does.
pub async fn put(db: &Db, keys: Keys, texts: &[&str]) -> Result<(), QueryError> {
    let enqueue = queries::enqueue(keys);
    let texts: [Parameter<'_>; 1] = [(&texts, Type::TEXT_ARRAY)];
    // In one round trip. After an error PostgreSQL takes COMMIT for ROLLBACK.
    let (begun, enqueued, woken, committed) = tokio::join!(
        biased;
        db.batch("BEGIN"),
        db.run(&enqueue, &texts),
        db.all(WAKE, &[]),
        db.batch("COMMIT"),
    );
    begun?;
    enqueued?;
    woken?;
    committed
}

#[cfg(test)]
mod tests {
    use super::WAKE;

    #[test]
    fn a_command_wakes_the_daemon_in_the_words_of_the_trigger() {
        let trigger = include_str!("../../sql/capture.sql")
            .replace("OPERATOR(pg_catalog.<)", "<")
            .replace("pg_catalog.", "");
        for words in [
            "pg_try_advisory_xact_lock_shared(1634169721, 2)",
            "pg_notification_queue_usage() < 0.5",
            "pg_notify('agent_sync', '')",
        ] {
            assert!(trigger.contains(words) && WAKE.contains(words), "{words}");
        }
    }
}
