//! Install and uninstall beside transactions of the platform, and DDL of the platform beside an
//! install.

use std::time::Duration;

use crate::support::platform::TABLES;
use crate::support::{Platform, Said};

/// The seconds for which a session has been waiting for a lock on one of the platform's tables
/// while it holds a lock on the other one that blocks writers (0 without such a session), and
/// whether a session waits for a lock on one of them.
const HOLDS_UP: &str = "
    WITH lock AS (
        SELECT l.pid, l.relation, l.granted, l.waitstart, l.mode FROM pg_locks l
        WHERE l.relation IN ('agents'::regclass, 'agent_configurations'::regclass)
          AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
    )
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waits.waitstart)) FILTER (
               WHERE EXISTS (SELECT FROM lock holds WHERE holds.pid = waits.pid AND holds.granted
                 AND holds.mode IN ('ShareRowExclusiveLock', 'AccessExclusiveLock')
                 AND holds.relation <> waits.relation)), 0)::float8,
           count(*) > 0
    FROM lock waits WHERE NOT waits.granted";

/// Runs the command while a transaction is open on `held`, polls until five waits are seen, and
/// ends the transaction. Returns the longest wait of a session that blocks writers of the other
/// table.
async fn longest_hold(platform: &Platform, held: &str, arguments: &[&str]) -> (f64, Said) {
    let writer = platform.connect().await;
    writer
        .batch_execute(&format!("BEGIN; LOCK TABLE {held} IN ROW EXCLUSIVE MODE"))
        .await
        .unwrap();
    let command = tokio::spawn(Said::of(platform.command(arguments)));
    let (mut longest, mut waits, mut waited) = (0.0_f64, 0, false);
    while waits < 5 {
        assert!(!command.is_finished(), "it ended after {waits} waits");
        let row = platform.client.query_one(HOLDS_UP, &[]).await.unwrap();
        longest = longest.max(row.get(0));
        waits += i32::from(waited && !row.get::<_, bool>(1));
        waited = row.get(1);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    writer.batch_execute("ROLLBACK").await.unwrap();
    (longest, command.await.unwrap())
}

/// GIVEN a long transaction on one of the tables, WHEN agent-sync is installed or uninstalled, THEN
/// writers of the other table are not blocked during the wait, and the command succeeds after the
/// end of the transaction.
#[tokio::test]
async fn i6_g3_an_install_that_waits_stops_no_other_writers() {
    let platform = Platform::new().await;
    for (arguments, held) in [
        (&["install"][..], "agent_configurations"),
        (&["uninstall", "--yes"], "agent_configurations"),
        (&["install"], "agents"),
        (&["uninstall", "--yes"], "agents"),
    ] {
        let (longest, said) = longest_hold(&platform, held, arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            longest < 1.0,
            "{arguments:?} has stopped writers for {longest} s"
        );
    }
}

/// GIVEN an install, WHEN the platform drops and recreates its tables, THEN PostgreSQL allows it,
/// and the next install restores the view.
#[tokio::test]
async fn i6_the_platform_drops_its_tables_beside_an_install() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform
        .run("DROP TABLE agents; DROP TABLE agent_configurations")
        .await;
    let renamed = TABLES
        .replace(
            "slug            text UNIQUE",
            "slug            varchar(40) UNIQUE",
        )
        .replace("id              uuid", "number          uuid");
    platform.run(&renamed).await;
    platform.install();
    platform.run("INSERT INTO agents (slug) VALUES ('b')").await;
    platform
        .holds("SELECT array_agg(slug) = ARRAY['b'] AND bool_and(pending) FROM agent_sync.state")
        .await;
}

/// GIVEN an install, WHEN one agent is selected from the view, THEN PostgreSQL uses the index of
/// the table.
#[tokio::test]
async fn g7_the_view_of_the_agents_is_planned_as_the_table_is() {
    let platform = Platform::installed().await;
    platform.run("SET enable_seqscan = off").await;
    let rows = platform
        .client
        .query(
            "EXPLAIN SELECT * FROM agent_sync.state WHERE slug = 'a'",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("agents_slug_key"), "{plan}");
}
