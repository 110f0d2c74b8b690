//! Slugs of many bytes, and slugs with many rows: what a writer chooses as a slug costs a bounded
//! memory and no connection, and delays no other slug for long (S3, G5, G12).

use crate::support::{Daemon, Platform};

/// The memory limit of a daemon in these tests, in KiB.
const MOST_KIB: u64 = 72 * 1024;

/// A slug of 8,100 bytes and the number `i`, as SQL.
const LONG: &str = "(repeat('x', 8090) || lpad(i::text, 10, '0'))";

/// Waits until the neighbour has this name in its configuration.
async fn neighbour_becomes(platform: &Platform, name: &str) {
    let sql = format!("UPDATE agents SET name = '{name}' WHERE slug = 'neighbour'");
    platform.run(&sql).await;
    platform
        .holds(&format!(
            "SELECT agent_name IS NOT DISTINCT FROM '{name}' FROM agent_configurations WHERE \
            agent_slug = 'neighbour'"
        ))
        .await;
}

/// A platform with the agent `neighbour`.
async fn platform() -> Platform {
    let platform = Platform::installed().await;
    platform.save("neighbour", "{}").await;
    platform.configure("neighbour").await;
    platform
}

fn is_bounded(daemon: &Daemon) {
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
    let ended = daemon.lines("database unavailable");
    assert!(ended.is_empty(), "{ended:?}");
}

/// GIVEN 60,000 rows of one slug of 8,100 bytes in the outbox, WHEN a connection begins with that
/// slug, THEN all of them are taken, whether it has a configuration or no agent, and the memory
/// does not grow with their number.
#[tokio::test]
async fn s3_many_rows_of_one_long_slug_take_bounded_memory() {
    for agent in [
        "INSERT INTO agents (slug, name) VALUES (repeat('x', 8100), 'n');
         INSERT INTO agent_configurations (agent_slug) VALUES (repeat('x', 8100));",
        "",
    ] {
        let platform = Platform::installed().await;
        platform
            .run(&format!(
                "{agent} INSERT INTO agent_sync.outbox (slug) SELECT repeat('x', 8100)
                   FROM generate_series(1, 60000)"
            ))
            .await;
        platform.save("neighbour", "{}").await;
        platform.configure("neighbour").await;
        let daemon = platform.caught_up_daemon().await;
        neighbour_becomes(&platform, "in sync").await;
        platform.drained().await;
        let stale = "SELECT count(*) FROM agents a JOIN agent_configurations c ON c.agent_slug = \
            a.slug WHERE c.agent_name IS DISTINCT FROM a.name";
        assert_eq!(platform.value::<i64>(stale).await, 0);
        is_bounded(&daemon);
    }
}

/// GIVEN a daemon that has caught up, WHEN a writer saves 12,000 agents without a configuration, whose
/// slugs have 8,100 bytes, THEN each is a problem, and the memory does not grow with their number.
#[tokio::test]
async fn s3_long_slugs_with_problems_take_bounded_memory() {
    let platform = platform().await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) SELECT {LONG}, 'n' FROM generate_series(1, 12000) i"
        ))
        .await;
    neighbour_becomes(&platform, "in sync").await;
    platform
        .holds("SELECT count(*) = 12000 FROM agent_sync.problem")
        .await;
    is_bounded(&daemon);
}
