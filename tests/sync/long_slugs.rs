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

/// GIVEN a daemon that has caught up, WHEN a writer saves 600 agents whose slugs have 100 KB, 60 MB in
/// all, THEN each is rejected, the connection stays, and other agents are in sync.
#[tokio::test]
async fn s3_slugs_that_are_too_long_never_reach_the_daemon() {
    let platform = platform().await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT repeat(' ', 100000) || i, 'n'
               FROM generate_series(1, 600) i",
        )
        .await;
    neighbour_becomes(&platform, "in sync").await;
    let rejected = "SELECT count(*) = 600 FROM agent_sync.problem WHERE kind = 'rejected' AND \
        detail LIKE 'slug: expected at most 8192 bytes, found 10000%'";
    platform.holds(rejected).await;
    // Each of them again, as a problem that is noted already.
    platform
        .run("UPDATE agents SET name = 'm' WHERE slug <> 'neighbour'")
        .await;
    neighbour_becomes(&platform, "in sync again").await;
    platform.drained().await;
    is_bounded(&daemon);
}

/// GIVEN hash indexes, which hold texts of any length, WHEN one agent has a slug of 17 MB, THEN it is
/// rejected, also by the next connection, which begins with it, and other agents are in sync.
#[tokio::test]
async fn s3_a_slug_of_megabytes_is_set_aside() {
    let platform = platform().await;
    platform
        .run(
            "ALTER TABLE agents DROP CONSTRAINT agents_slug_key;
             CREATE INDEX ON agents USING hash (slug);
             DROP INDEX agent_configurations_agent_slug_idx;
             CREATE INDEX ON agent_configurations USING hash (agent_slug)",
        )
        .await;
    let long = "INSERT INTO agents (slug, name) VALUES (repeat('q', 17000000), 'n')";
    let rejected = "SELECT count(*) = 1 FROM agent_sync.problem WHERE kind = 'rejected' AND \
        detail = 'slug: expected at most 8192 bytes, found 17000000'";
    platform.run(long).await;
    let daemon = platform.caught_up_daemon().await;
    neighbour_becomes(&platform, "in sync").await;
    platform.holds(rejected).await;
    platform
        .run("DELETE FROM agent_sync.problem; UPDATE agents SET name = 'm' WHERE slug LIKE 'q%'")
        .await;
    neighbour_becomes(&platform, "in sync again").await;
    platform.holds(rejected).await;
    platform.drained().await;
    is_bounded(&daemon);
}

/// GIVEN agents with slugs of 8,100 bytes and 5,000 configurations each, 40 MB of slugs, WHEN they are
/// saved, THEN all of them are in sync.
#[tokio::test]
async fn s3_a_long_slug_is_sent_once_for_its_configurations() {
    let platform = platform().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) SELECT {LONG}, 'n' FROM generate_series(1, 2) i;
             INSERT INTO agent_configurations (agent_slug) SELECT {LONG}
               FROM generate_series(1, 2) i, generate_series(1, 5000)"
        ))
        .await;
    let daemon = platform.caught_up_daemon().await;
    neighbour_becomes(&platform, "in sync").await;
    platform
        .holds("SELECT count(*) = 10000 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform.drained().await;
    is_bounded(&daemon);
}

/// GIVEN the largest batches, as many light rows of the outbox make them, WHEN 5,000 agents with slugs
/// of 8,100 bytes are saved, with a configuration each or with none, THEN all of them are processed.
#[tokio::test]
async fn s3_long_slugs_make_small_batches() {
    for configurations in [5000, 0] {
        let platform = platform().await;
        let mut command = platform.command(&["run"]);
        command.env("AGENT_SYNC__SYNC__BATCH_SIZE", "10000");
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        platform
            .run(&format!(
                "BEGIN;
                 INSERT INTO agent_sync.outbox (slug) SELECT 'gone-' || i
                   FROM generate_series(1, 20000) i;
                 INSERT INTO agents (slug, name) SELECT {LONG}, 'n' FROM generate_series(1, 5000) i;
                 INSERT INTO agent_configurations (agent_slug) SELECT {LONG}
                   FROM generate_series(1, {configurations}) i;
                 COMMIT"
            ))
            .await;
        neighbour_becomes(&platform, "in sync").await;
        platform
            .holds(&format!(
                "SELECT (SELECT count(*) FROM agent_configurations WHERE agent_name = 'n')
                          = {configurations}
                    AND (SELECT count(*) FROM agent_sync.problem) = 5000 - {configurations}"
            ))
            .await;
        platform.drained().await;
        is_bounded(&daemon);
    }
}
