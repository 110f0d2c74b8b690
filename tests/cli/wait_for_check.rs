//! `wait` while a check of every agent is due: it returns when the rows that the check enters into
//! the outbox are applied.

use tokio_postgres::Client;

use super::wait::waits;
use crate::support::platform::{EXAMPLE, MISSED};
use crate::support::{Platform, Said, eventually};

/// Two agents in sync. The check of the second one can be held back.
async fn two_agents() -> Platform {
    let platform = Platform::new().await;
    for slug in ["free", "held"] {
        platform.save(slug, EXAMPLE).await;
        platform.configure(slug).await;
    }
    platform
}

/// The lock of a session on the configuration of the second agent: a batch leaves it in the outbox.
async fn hold(platform: &Platform) -> Client {
    let session = platform.connect().await;
    let lock = "BEGIN; SELECT FROM agent_configurations WHERE agent_slug = 'held' FOR UPDATE";
    session.batch_execute(lock).await.unwrap();
    session
}

/// A save that meets a lock on the outbox, and so is counted in place of noted.
async fn counted_save(platform: &Platform) {
    let locks = platform.connect().await;
    let lock = "BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE";
    locks.batch_execute(lock).await.unwrap();
    platform.run("UPDATE agents SET name = 'counted'").await;
    locks.batch_execute("ROLLBACK").await.unwrap();
}

/// Starts the command while the check is due, and then the daemon, which enters the rows of the
/// check and applies that of the first agent. The command goes on waiting until the other one is
/// applied, whether the daemon `restarts` or not. Returns its output.
async fn waits_for_both(
    platform: &Platform,
    command: std::process::Command,
    restarts: bool,
) -> Said {
    let held = hold(platform).await;
    let command = waits(platform, command).await;
    let mut daemon = platform.daemon();
    platform
        .holds(
            "SELECT (array_agg(DISTINCT o.slug) = '{held}' AND bool_and(i.uncaptured_seen = \
             u.last_value)) IS TRUE
             FROM agent_sync.outbox o, agent_sync.install i, agent_sync.uncaptured u",
        )
        .await;
    let now: String = platform.value("SELECT clock_timestamp()::text").await;
    let looked = format!(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
           AND application_name LIKE 'agent-sync wait%' AND state = 'idle'
           AND query LIKE '%FROM agent_sync.outbox o%' AND query_start > '{now}')"
    );
    eventually("a look at the outbox, or the end", async || {
        command.is_finished() || platform.value(&looked).await
    })
    .await;
    assert!(!command.is_finished(), "{:?}", command.await);
    let is: bool = platform.value("SELECT agent_sync.in_sync('held')").await;
    assert!(!is, "a row of the check is pending");
    if restarts {
        drop(daemon);
        daemon = platform.daemon();
    }
    held.batch_execute("ROLLBACK").await.unwrap();
    let said = command.await.unwrap();
    let differ = "SELECT count(*) FROM agents a JOIN agent_configurations c ON c.agent_slug = \
        a.slug WHERE a.name IS DISTINCT FROM c.agent_name";
    assert_eq!(platform.value::<i64>(differ).await, 0, "{said:?}");
    drop(daemon);
    said
}

/// GIVEN a new install, THEN the command waits for every agent that the first start enters.
#[tokio::test]
async fn g14_wait_after_an_install_waits_for_every_agent() {
    let platform = two_agents().await;
    platform.install();
    let said = waits_for_both(&platform, platform.command(&["wait"]), false).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// GIVEN changes that were missed, in each way that makes a check of every agent due, THEN the
/// command waits until the agents that the check enters are applied; also while another change is
/// noted, and where the daemon is killed meanwhile.
#[tokio::test]
async fn g14_wait_after_missed_changes_waits_for_the_check() {
    let platform = two_agents().await;
    platform.install();
    for (missed, restarts) in [
        (MISSED, false),
        (MISSED, true),
        (
            "UPDATE agents SET name = 'emptied'; TRUNCATE agent_sync.outbox",
            false,
        ),
    ] {
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        drop(daemon);
        platform
            .run("UPDATE agent_configurations SET agent_name = 'edited'")
            .await;
        platform.run(missed).await;
        let said = waits_for_both(&platform, platform.command(&["wait"]), restarts).await;
        assert_eq!(said.code, 0, "{missed}: {said:?}");
    }
    platform
        .run("UPDATE agents SET name = 'noted' WHERE slug = 'free'")
        .await;
    platform.run(MISSED).await;
    let said = waits_for_both(&platform, platform.command(&["wait"]), false).await;
    assert_eq!(said.code, 0, "{said:?}");
    counted_save(&platform).await;
    let said = waits_for_both(&platform, platform.command(&["wait"]), false).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// GIVEN missed changes, THEN the command waits for the check as well for a named agent, with JSON,
/// and as a role of `install --monitor`; and its JSON says so.
#[tokio::test]
async fn g14_every_form_of_wait_waits_for_the_check() {
    let platform = two_agents().await;
    let monitor = format!("monitor_{}", platform.name());
    let said = platform.says(&["install", "--monitor", &monitor]).await;
    assert_eq!(said.code, 0, "{said:?}");
    platform.run(&format!("ALTER ROLE {monitor} LOGIN")).await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    drop(daemon);
    for arguments in [&["wait", "held"] as &[&str], &["wait", "--json"]] {
        for role in ["postgres", &monitor] {
            platform
                .run(&MISSED.replace("'missed'", &format!("'{role} {}'", arguments[1])))
                .await;
            let mut command = platform.command(arguments);
            command.env("DATABASE_URL", platform.url_as(role));
            let said = waits_for_both(&platform, command, false).await;
            assert_eq!(said.code, 0, "{role} {arguments:?}: {said:?}");
            if arguments.contains(&"--json") {
                let object = said.object();
                assert_eq!(object["missed_changes_ruled_out"], true, "{object}");
                assert_eq!(object["pending"], 0, "{object}");
            }
        }
    }
    platform
        .run(&format!("DROP OWNED BY {monitor}; DROP ROLE {monitor}"))
        .await;
}
