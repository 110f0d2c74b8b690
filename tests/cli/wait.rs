//! `wait`: it returns when what was committed before the call is applied, and not earlier.

use std::process::Command;

use tokio::task::JoinHandle;

use crate::support::platform::{EXAMPLE, MISSED, connect};
use crate::support::{Platform, Said};

/// A command that still waits, after its first count of the changes that it waits for.
pub(super) async fn waits(platform: &Platform, command: Command) -> JoinHandle<Said> {
    let looks = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'agent-sync wait%' AND query LIKE '%count(DISTINCT w.key)%'";
    let before: i64 = platform.value(looks).await;
    let command = tokio::spawn(Said::of(command));
    platform
        .holds(&format!("SELECT ({looks}) > {before}"))
        .await;
    command
}

/// GIVEN changes that no daemon has applied, THEN the command waits; WHEN a daemon starts, THEN it
/// returns, and every configuration has its values.
#[tokio::test]
async fn i1_wait_returns_when_the_changes_before_it_are_applied() {
    let platform = Platform::installed().await;
    platform.save("other", EXAMPLE).await;
    platform.configure("other").await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    drop(daemon);
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    let command = waits(&platform, platform.command(&["wait"])).await;
    let named = waits(&platform, platform.command(&["wait", "reception"])).await;
    // An agent that is not pending is not waited for.
    let other = platform.says(&["wait", "other", "--timeout", "1ms"]).await;
    assert_eq!(other.code, 0, "{other:?}");
    assert!(!command.is_finished() && !named.is_finished());
    let _daemon = platform.caught_up_daemon().await;
    for command in [command, named] {
        let said = command.await.unwrap();
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            said.out
                .contains("default: every change saved before is applied")
        );
    }
    assert!(
        platform
            .value::<bool>("SELECT voice_id = 'test-voice-123' FROM agent_configurations WHERE agent_slug = 'reception'")
            .await
    );
}

/// GIVEN changes that are committed after the call, THEN they are not waited for.
#[tokio::test]
async fn i1_wait_ignores_changes_after_the_call() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    drop(daemon);
    platform.save("first", EXAMPLE).await;
    let command = waits(&platform, platform.command(&["wait", "--json"])).await;
    platform.save("second", EXAMPLE).await;
    platform
        .run("DELETE FROM agent_sync.outbox WHERE slug = 'first'")
        .await;
    let said = command.await.unwrap();
    assert_eq!(said.code, 0, "{said:?}");
    let object = said.object();
    assert_eq!(object["applied"], true);
    assert_eq!(platform.outbox().await, ["second"]);
}

/// GIVEN no daemon, THEN the time is over, with a remedy; GIVEN an install that has never been
/// checked, THEN that counts as pending.
#[tokio::test]
async fn i1_wait_ends_with_its_time_and_says_why() {
    let platform = Platform::installed().await;
    let said = platform.says(&["wait", "--timeout", "1ms"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(
        said.err.contains("every agent is still to be checked"),
        "{said:?}"
    );
    let daemon = platform.caught_up_daemon().await;
    assert_eq!(platform.says(&["wait"]).await.code, 0);
    drop(daemon);
    platform.save("reception", EXAMPLE).await;
    let said = platform.says(&["wait", "--timeout", "1ms"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(
        said.err
            .contains("database default: after 1ms, 1 agent is still pending"),
        "{said:?}"
    );
    assert!(said.err.contains("try: Start the daemon"), "{said:?}");
    let said = platform.says(&["wait", "--timeout", "5"]).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.contains("a number with a unit"), "{said:?}");
}

/// GIVEN an agent with a problem, THEN the command ends with 2 and the remedy, and for another
/// agent with 0; GIVEN a broken capture, THEN it ends with 2.
#[tokio::test]
async fn i1_wait_tells_problems_and_a_broken_capture() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("alone", EXAMPLE).await;
    platform.save("well", EXAMPLE).await;
    platform.configure("well").await;
    let said = platform.says(&["wait"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out.contains("1 agent has no configuration: alone"),
        "{said:?}"
    );
    assert_eq!(platform.says(&["wait", "well"]).await.code, 0);
    let said = platform.says(&["wait", "well", "alone"]).await;
    assert!(
        said.code == 2 && said.out.contains("alone: missing_configuration"),
        "{said:?}"
    );
    platform
        .run("DELETE FROM agents WHERE slug = 'alone'")
        .await;
    platform.run("NOTIFY agent_sync, 'alone'").await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    assert_eq!(platform.says(&["wait", "well"]).await.code, 0);
    platform
        .run("DROP TRIGGER agent_sync_update ON agents")
        .await;
    // The daemon has not seen it yet, so changes may have been missed.
    let said = platform.says(&["wait", "--timeout", "1ms"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(said.out.contains("capture broken"), "{said:?}");
}

/// GIVEN a trigger that was off for a while, or an outbox that was emptied, THEN changes may have
/// been missed, and the command waits until the daemon has checked every agent; GIVEN a slug that
/// no agent has, THEN it says so.
#[tokio::test]
async fn g14_wait_waits_where_changes_may_have_been_missed() {
    let platform = Platform::installed().await;
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    for missed in [
        MISSED,
        "UPDATE agents SET name = 'missed again'; TRUNCATE agent_sync.outbox",
    ] {
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let said = platform.says(&["wait"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        drop(daemon);
        platform.run(missed).await;
        let said = platform.says(&["wait", "--timeout", "1ms"]).await;
        assert_eq!(said.code, 69, "{missed}: {said:?}");
        assert!(
            said.err.contains("every agent is still to be checked"),
            "{said:?}"
        );
    }
    let _daemon = platform.caught_up_daemon().await;
    assert_eq!(platform.says(&["wait"]).await.code, 0);
    let names = "SELECT agent_name = 'missed again' FROM agent_configurations";
    assert!(platform.value::<bool>(names).await);
    for slug in ["Reception", "acme/reception"] {
        let said = platform.says(&["wait", slug]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.out.contains("no agent has this slug"), "{said:?}");
    }
}

/// GIVEN row-level security and a trigger that was off for a while, THEN the command waits as the
/// role of the daemon; as another role it says that missed changes are not ruled out.
#[tokio::test]
async fn g14_wait_claims_nothing_that_it_cannot_know() {
    let platform = Platform::installed().await;
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    let other = format!("other_{}", platform.name());
    platform
        .run(&format!(
            "ALTER TABLE agents ENABLE ROW LEVEL SECURITY; CREATE ROLE {other} LOGIN SUPERUSER"
        ))
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let said = platform.says(&["wait", "--json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(said.object()["missed_changes_ruled_out"], true);
    platform.run(MISSED).await;
    let said = platform.says(&["wait", "--timeout", "1ms"]).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(
        said.err.contains("every agent is still to be checked"),
        "{said:?}"
    );
    let status = platform.says(&["status"]).await;
    assert!(
        status.out.contains("changed since the last sweep"),
        "{status:?}"
    );

    let said = platform.says_as(&other, &["wait"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.out.contains("every change noted before is applied")
            && words(&said.out).contains("whether changes were missed before is not known"),
        "{said:?}"
    );
    let said = platform.says_as(&other, &["wait", "--json"]).await;
    assert_eq!(said.object()["missed_changes_ruled_out"], false);
    let said = platform.says_as(&other, &["doctor"]).await;
    assert!(
        words(&said.out).contains("not known: row-level security is in use"),
        "{said:?}"
    );

    // While a trigger is off, nothing is said to be applied.
    platform
        .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
        .await;
    let said = platform.says_as(&other, &["wait"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out.contains("capture broken") && !said.out.contains("is applied"),
        "{said:?}"
    );
    let said = platform.says_as(&other, &["wait", "--json"]).await;
    assert_eq!(said.object()["applied"], false);
    platform.run(&format!("DROP ROLE {other}")).await;
}

/// The function for SQL: false from a save until it is applied, and while the agent has a problem,
/// for a role that may read nothing.
#[tokio::test]
async fn i6_in_sync_tells_a_runtime_whether_its_agent_is_current() {
    let platform = Platform::installed().await;
    let runtime = format!("runtime_{}", std::process::id());
    platform
        .run(&format!(
            "CREATE ROLE {runtime} LOGIN; GRANT USAGE ON SCHEMA agent_sync TO {runtime}"
        ))
        .await;
    let (reader, _) = connect(&platform.url_as(&runtime)).await;
    let is = async |slug: &str| {
        let row = reader
            .query_one("SELECT agent_sync.in_sync($1)", &[&slug])
            .await;
        row.unwrap().get::<_, Option<bool>>(0)
    };
    // No daemon has looked at the agents yet.
    assert_eq!(is("reception").await, Some(false));
    platform.save("lonely", EXAMPLE).await;
    let daemon = platform.caught_up_daemon().await;
    platform.save("reception", EXAMPLE).await;
    platform.configure("reception").await;
    platform.drained().await;
    assert_eq!(is("reception").await, Some(true));
    assert_eq!(is("lonely").await, Some(false), "it has no configuration");
    drop(daemon);
    platform
        .run("UPDATE agents SET name = 'New' WHERE slug = 'reception'")
        .await;
    assert_eq!(is("reception").await, Some(false));
    assert_eq!(is("other").await, Some(true));
    // A change that could not be noted may be of any agent.
    platform
        .run("DELETE FROM agent_sync.outbox; SELECT nextval('agent_sync.uncaptured')")
        .await;
    assert_eq!(is("other").await, Some(false));
    let none = reader
        .query_one("SELECT agent_sync.in_sync(NULL)", &[])
        .await;
    assert_eq!(none.unwrap().get::<_, Option<bool>>(0), None);
    drop(reader);
    platform
        .run(&format!("DROP OWNED BY {runtime}; DROP ROLE {runtime}"))
        .await;
}

/// The function for SQL takes a slug and a tenant in every way that their types take, and text as
/// it is.
#[tokio::test]
async fn i6_in_sync_takes_values_in_every_way_of_their_type() {
    const ID: &str = "0b1f2c3d-0000-4000-8000-00000000abcd";
    for (of_slug, slug, ways, others) in [
        (
            "uuid",
            ID,
            &[
                "0B1F2C3D-0000-4000-8000-00000000ABCD",
                "{0b1f2c3d00004000800000000000abcd}",
            ] as &[&str],
            &["0b1f2c3d-0000-4000-8000-00000000abce", "0B1F2C3D"] as &[&str],
        ),
        ("integer", "7", &["+7", " 007 "], &["-7", "70", "7.0", ""]),
        ("id", "-12", &["-0012"], &["12", "+12", "--12"]),
        ("bigint", "0", &["-0", "000", "+0"], &["10", "-"]),
        (
            "char(5)",
            "007",
            &["007  ", "007      "],
            &["7", "7  ", " 007"],
        ),
        ("text", "007", &[], &["7", "+007", " 007", "007  "]),
        ("text", "ABCD", &[], &["abcd"]),
    ] {
        for is_tenant in [false, true] {
            let platform = if is_tenant {
                Platform::with_tenants("text").await
            } else {
                Platform::new().await
            };
            let (agents, configurations) = if is_tenant {
                ("client_id", "client_id")
            } else {
                ("slug", "agent_slug")
            };
            platform
                .run(&format!(
                    "CREATE DOMAIN id AS bigint;
                     ALTER TABLE agents ALTER COLUMN {agents} TYPE {of_slug} USING NULL;
                     ALTER TABLE agent_configurations ALTER COLUMN {configurations}
                       TYPE {of_slug} USING NULL"
                ))
                .await;
            platform.install();
            drop(platform.caught_up_daemon().await);
            let (columns, values) = if is_tenant {
                ("slug, client_id", format!("'a', '{slug}'"))
            } else {
                ("slug", format!("'{slug}'"))
            };
            platform
                .run(&format!(
                    "INSERT INTO agents ({columns}, name) VALUES ({values}, 'New')"
                ))
                .await;
            let is_in_sync = async |given: &str| {
                let given = if is_tenant {
                    ["a", given]
                } else {
                    [given, "any"]
                };
                let call = "SELECT agent_sync.in_sync($1, $2)";
                let row = platform
                    .client
                    .query_one(call, &[&given[0], &given[1]])
                    .await;
                row.unwrap().get::<_, bool>(0)
            };
            for way in ways.iter().chain([&slug]) {
                assert!(
                    !is_in_sync(way).await,
                    "{of_slug} {is_tenant} {way:?} is pending"
                );
            }
            for other in others {
                assert!(
                    is_in_sync(other).await,
                    "{of_slug} {is_tenant} {other:?} is another"
                );
            }
        }
    }
}

/// GIVEN a server that says nothing, THEN the command ends soon after the timeout.
#[tokio::test]
async fn i1_wait_ends_with_a_server_that_says_nothing() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .args(["wait", "--timeout", "1s"])
        .env("DATABASE_URL", format!("postgres://app@{address}/app"));
    let start = std::time::Instant::now();
    let said = Said::of(command).await;
    assert!(start.elapsed().as_secs() < 8, "{:?}", start.elapsed());
    assert_eq!(said.code, 69, "{said:?}");
    let text = "database default: after 1s, it has not told what is pending";
    assert!(said.err.contains(text), "{said:?}");
}
