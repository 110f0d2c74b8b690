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
    let ended = daemon.outages();
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

/// GIVEN a daemon that has caught up, WHEN a writer saves 12,000 agents without a configuration,
/// whose slugs have 8,100 bytes, THEN each is a problem, and the memory does not grow with their
/// number.
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

/// GIVEN a daemon that has caught up, WHEN a writer saves 600 agents whose slugs have 100 KB, 60 MB
/// in all, THEN each is rejected, the connection stays, and other agents are in sync.
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

/// GIVEN hash indexes, which hold texts of any length, WHEN one agent has a slug of 17 MB, THEN it
/// is rejected, also by the next connection, which begins with it, and other agents are in sync.
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

/// GIVEN agents with slugs of 8,100 bytes and 5,000 configurations each, 40 MB of slugs, WHEN they
/// are saved, THEN all of them are in sync.
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

/// GIVEN the largest batches, as many light rows of the outbox make them, WHEN 5,000 agents with
/// slugs of 8,100 bytes are saved, with a configuration each or with none, THEN all of them are
/// processed.
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

/// The detail of the problem of an agent without a configuration, once it is noted.
async fn missing(platform: &Platform, slug: &str) -> String {
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) VALUES ('{slug}', 'n')"
        ))
        .await;
    platform
        .holds(&format!(
            "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = '{slug}')"
        ))
        .await;
    platform.problem(slug).await.unwrap().1
}

/// A platform with these configurations, in addition to that of the neighbour, and a daemon whose
/// statements may take a second.
async fn with_configurations(sql: &str) -> (Platform, Daemon) {
    let platform = Platform::new().await;
    platform.run(sql).await;
    platform.save("neighbour", "{}").await;
    platform.configure("neighbour").await;
    platform.install();
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;
    (platform, daemon)
}

/// GIVEN 20,000 configurations with slugs of 8 KB of blanks, 160 MB in a few MiB of storage, WHEN
/// an agent without a configuration is saved, THEN the look for an almost equal slug takes no time
/// with them, and names the slug of another one: of a long slug, the beginning.
#[tokio::test]
async fn s3_slugs_of_blanks_make_no_look_for_near_slugs_long() {
    let (platform, daemon) = with_configurations(
        "INSERT INTO agent_configurations (agent_slug) SELECT repeat(' ', 8000) || i
           FROM generate_series(1, 20000) i;
         INSERT INTO agent_configurations (agent_slug) VALUES ('Lonely'), (repeat('X', 1000))",
    )
    .await;
    let detail = missing(&platform, "lonely").await;
    assert!(detail.contains("one has \"Lonely\""), "{detail}");
    let detail = missing(&platform, &"x".repeat(1000)).await;
    let beginning = format!("one has \"{}…\"", "X".repeat(200));
    assert!(detail.contains(&beginning), "{detail}");
    neighbour_becomes(&platform, "in sync").await;
    is_bounded(&daemon);
}

/// GIVEN so many configurations that a look for an almost equal slug takes too long, WHEN agents
/// without a configuration are saved, THEN they are noted without one, by one look that the next
/// connection does not repeat, and the other agents are in sync.
#[tokio::test]
async fn s3_a_look_for_near_slugs_that_fails_costs_no_batch() {
    let (platform, daemon) = with_configurations(
        "ALTER TABLE agent_configurations ALTER agent_slug SET STORAGE EXTERNAL;
         DROP INDEX agent_configurations_agent_slug_idx;
         INSERT INTO agent_configurations (agent_slug) SELECT repeat(chr(64922), 300) || i
           FROM generate_series(1, 50000) i;
         CREATE INDEX agent_configurations_agent_slug_idx ON agent_configurations (agent_slug);
         INSERT INTO agent_configurations (agent_slug) VALUES ('First'), ('Second'), ('Third')",
    )
    .await;
    let small = "SELECT pg_relation_size('agent_configurations') < 67108864";
    assert!(platform.value::<bool>(small).await, "there is a look");
    let without = "no configuration has this slug";
    assert_eq!(missing(&platform, "first").await, without);
    neighbour_becomes(&platform, "in sync").await;
    is_bounded(&daemon);
    // What made the look long is gone, and so is the connection.
    platform
        .run("DELETE FROM agent_configurations WHERE length(agent_slug) > 100")
        .await;
    platform.drained().await;
    assert_eq!(missing(&platform, "second").await, without);
    platform
        .run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = \
            current_database() AND application_name LIKE 'agent-sync%' AND pid <> pg_backend_pid()",
        )
        .await;
    daemon.logged("database available again").await;
    assert_eq!(missing(&platform, "third").await, without);
}
