//! Locks of other sessions that stop the sweep or the audit while changes are applied: nothing is
//! missed in silence (G1, G14, G17).

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// An agent in sync, and a daemon with a sweep each second.
async fn with_agents(slugs: &[&str]) -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    for slug in slugs {
        platform.configure(slug).await;
        platform.save(slug, EXAMPLE).await;
    }
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.drained().await;
    (platform, daemon)
}

/// GIVEN a lock of another session that the sweep waits for, WHEN a trigger is disabled, THEN that
/// is reported, by the running daemon and by one that starts.
#[tokio::test]
async fn g14_a_lock_hides_no_broken_capture() {
    for lock in [
        "SELECT FROM agent_sync.install FOR UPDATE",
        "SELECT FROM agent_sync.install FOR NO KEY UPDATE",
        "LOCK TABLE agent_sync.install IN SHARE MODE",
        "LOCK TABLE agent_sync.problem IN SHARE MODE",
        "LOCK TABLE agent_sync.outbox IN SHARE MODE",
        "LOCK TABLE agent_configurations IN ACCESS EXCLUSIVE MODE",
    ] {
        let (platform, daemon) = with_agents(&["a"]).await;
        let holder = platform.connect().await;
        holder
            .batch_execute(&format!("BEGIN; {lock}"))
            .await
            .unwrap();
        platform
            .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
            .await;
        daemon.logged("capture broken: changes are missed").await;
        if lock.contains("install FOR UPDATE") {
            daemon
                .logged("another session holds a lock on a table or row that the sweep needs")
                .await;
            drop(daemon);
            let next = platform.brisk_daemon();
            next.logged("capture broken: changes are missed").await;
        }
        holder.batch_execute("ROLLBACK").await.unwrap();
    }
}

/// GIVEN a save that could not be noted and commits late, WHEN another transaction stays open that
/// may have saved as well, THEN the committed save is applied.
#[tokio::test]
async fn g1_a_committed_save_waits_for_no_other_transaction() {
    for other in [
        "UPDATE agents SET description = 'x' WHERE slug = 'b'",
        "UPDATE agent_configurations SET notes = 'x' WHERE agent_slug = 'b'",
    ] {
        let (platform, daemon) = with_agents(&["a", "b"]).await;
        let (open, holder, saver) = (
            platform.connect().await,
            platform.connect().await,
            platform.connect().await,
        );
        open.batch_execute(&format!("BEGIN; {other}"))
            .await
            .unwrap();
        holder
            .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox")
            .await
            .unwrap();
        saver
            .batch_execute("BEGIN; UPDATE agents SET name = 'late' WHERE slug = 'a'")
            .await
            .unwrap();
        holder.batch_execute("ROLLBACK").await.unwrap();
        daemon
            .logged("changes were saved that could not be captured")
            .await;
        // The other transaction may hold a configuration of the other agent locked.
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.outbox WHERE slug = 'a')")
            .await;
        saver.batch_execute("COMMIT").await.unwrap();
        platform
            .holds("SELECT agent_name = 'late' FROM agent_configurations WHERE agent_slug = 'a'")
            .await;
        let said = platform.says(&["status"]).await;
        assert!(
            said.out.contains("every agent is still to be checked"),
            "{said:?}"
        );
        open.batch_execute("COMMIT").await.unwrap();
        platform
            .holds("SELECT uncaptured_seen > 0 FROM agent_sync.install")
            .await;
    }
}
