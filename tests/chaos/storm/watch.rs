//! The check of the locks: no save may wait for a session of agent-sync, and no writer for an
//! object of agent-sync (G3).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::link::Link;

/// The waiting writers by process and statement: a save that waits for a daemon, or any statement
/// that waits for a lock on an object of agent-sync.
const WAITING: &str = "
    SELECT format('%s since %s waits for %s of %s: %s', a.pid, a.query_start,
                  (SELECT string_agg(format('%s %s %s', l.locktype, l.mode,
                    l.relation::regclass), ', ') FROM pg_locks l
                   WHERE l.pid = a.pid AND NOT l.granted),
                  (SELECT string_agg(format('%s (%s)', b.application_name, left(b.query, 200)),
                    ', ') FROM pg_stat_activity b
                   WHERE b.pid = ANY (pg_blocking_pids(a.pid))), a.query)
    FROM pg_stat_activity a
    WHERE a.application_name = 'storm writer' AND a.state = 'active' AND a.wait_event_type = 'Lock'
      AND (EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted
                   -- Who appends to a table that has to grow waits for who makes it grow, whatever
                   -- table it is.
                   AND l.locktype <> 'extend'
                   AND (l.classid = 1634169721 OR l.relation IN (SELECT c.oid FROM pg_class c
                     WHERE c.relnamespace = to_regnamespace('agent_sync'))))
           OR a.query LIKE '/* save */%' AND EXISTS (
               SELECT FROM unnest(pg_blocking_pids(a.pid)) AS blocker (pid)
                 JOIN pg_stat_activity b ON b.pid = blocker.pid
               WHERE b.application_name LIKE 'agent-sync/%'
                 -- An install, which has the install lock, may hold up saves for a moment (I6).
                 AND (NOT EXISTS (SELECT FROM pg_locks i WHERE i.pid = b.pid
                        AND i.locktype = 'advisory' AND i.classid = 1634169721 AND i.objid = 3)
                   OR clock_timestamp() - a.query_start > interval '1 second')))";

/// Checks until the stop flag is set. Returns the number of checks and the findings.
pub async fn watch(url: String, stop: Arc<AtomicBool>) -> (u64, Vec<String>) {
    let mut link = Link::to(&url, "storm watch");
    let (mut looks, mut seen) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        looks += 1;
        let waiting = link.texts(WAITING).await;
        if !waiting.is_empty() {
            // The catalog is not read in one instant, so a finding counts only if the same
            // statement still waits now.
            let still = link.texts(WAITING).await;
            seen.extend(
                waiting
                    .into_iter()
                    .filter(|statement| still.contains(statement)),
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (looks, seen)
}
