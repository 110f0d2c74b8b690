//! The role of `install --monitor`: it reads what `status`, `doctor` and a query of a monitor ask
//! for, and writes nothing.

use serde_json::Value;

use super::roles::{privileges, refused, unique};
use crate::support::platform::EXAMPLE;
use crate::support::{Platform, Said, eventually};

/// Installs with these options.
async fn installs(platform: &Platform, options: &[&str]) -> Said {
    let said = platform.says(&[&["install"], options].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    said
}

/// The exit code and the object of a command of this role.
async fn asks(platform: &Platform, role: &str, command: &str) -> (i32, Value) {
    let said = platform.says_as(role, &[command, "--json"]).await;
    (said.code, said.object())
}

/// The warnings and faults of `doctor`, but for those of the connection.
fn trouble(object: &Value) -> Vec<&Value> {
    let checks = object["checks"].as_array().unwrap();
    let is_trouble = |note: &&Value| {
        note["level"] != "pass" && note["level"] != "skip" && note["topic"] != "connection"
    };
    checks.iter().filter(is_trouble).collect()
}

/// GIVEN a monitoring role, THEN `status`, `doctor` and queries of the documented tables work as
/// this role, every statement that writes is refused, and so is the value of a prompt or of a
/// write; a further install changes nothing, and the uninstall leaves no trace.
#[tokio::test]
async fn s25_a_monitoring_role_reads_the_state_and_writes_nothing() {
    let platform = Platform::installed().await;
    let role = unique(&platform, "monitor").await;
    let before = privileges(&platform, &role).await;
    let said = installs(&platform, &["--monitor", &role]).await;
    assert!(
        said.out.contains(&format!("the role {role} may read")) && said.out.contains("\\password"),
        "{said:?}"
    );
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform.save("missing", EXAMPLE).await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    eventually("the role sees that all is in sync", async || {
        asks(&platform, &role, "status").await.1["state"] == "ok"
    })
    .await;
    let (code, object) = asks(&platform, &role, "status").await;
    assert_eq!(
        (code, &object["synced"], &object["missing"]),
        (0, &1.into(), &1.into()),
        "{object}"
    );
    let (code, object) = asks(&platform, &role, "doctor").await;
    assert_eq!(code, 0, "{object}");
    let told: Vec<_> = trouble(&object)
        .iter()
        .map(|note| note["topic"].clone())
        .collect();
    assert_eq!(told, ["agents"], "{object}");

    let (client, _) = crate::support::platform::connect(&platform.url_as(&role)).await;
    for (query, rows) in [
        (
            "SELECT * FROM agent_sync.state WHERE problem IS NOT NULL",
            1,
        ),
        ("SELECT * FROM agent_sync.problem", 1),
        ("SELECT * FROM agent_sync.outbox", 0),
        ("SELECT version FROM agent_sync.install", 1),
        ("SELECT at FROM agent_sync.history LIMIT 1", 0),
    ] {
        assert_eq!(
            client.query(query, &[]).await.unwrap().len(),
            rows,
            "{query}"
        );
    }
    for sql in [
        "INSERT INTO agent_sync.outbox (slug) VALUES ('a')",
        "DELETE FROM agent_sync.outbox",
        "UPDATE agent_sync.install SET paused_since = now()",
        "DELETE FROM agent_sync.problem",
        "INSERT INTO agent_sync.role (name) VALUES ('x')",
        "SELECT nextval('agent_sync.uncaptured')",
        "SELECT before FROM agent_sync.history",
        "SELECT * FROM agent_sync.granted",
        "UPDATE agents SET name = 'x'",
        "SELECT voice_settings FROM agents",
        "SELECT provider_config FROM agent_configurations",
        "UPDATE agent_configurations SET agent_slug = 'x'",
    ] {
        assert_eq!(refused(&platform, &role, sql).await, "42501", "{sql}");
    }
    for writes in [&["pause"][..], &["reconcile", "missing"], &["run"]] {
        let mut command = platform.command(writes);
        command.env("DATABASE_URL", platform.url_as(&role));
        if writes == ["run"] {
            let daemon = crate::support::Daemon::start(command);
            let line = daemon
                .logged("the daemon cannot work in the database")
                .await;
            let remedy = line["remedy"].as_str().unwrap();
            assert!(remedy.contains("agent-sync install --role"), "{line}");
        } else {
            let said = Said::of(command).await;
            assert_eq!(said.code, 1, "{said:?}");
            let words = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(
                words.contains("Run this as the role of the daemon"),
                "{said:?}"
            );
        }
    }

    let with_it = privileges(&platform, &role).await;
    let said = installs(&platform, &[]).await;
    assert!(said.out.contains("nothing to change"), "{said:?}");
    assert_eq!(privileges(&platform, &role).await, with_it);
    // A grant by hand that lets it write is reported, and the next install revokes it.
    platform
        .run(&format!("GRANT INSERT ON agent_sync.outbox TO {role}"))
        .await;
    let said = platform.says(&["doctor"]).await;
    let words: Vec<_> = said.out.split_whitespace().collect();
    let told = format!("{role}, which is no role of a daemon here, may write agent_sync.outbox");
    assert!(words.join(" ").contains(&told), "{said:?}");
    let said = installs(&platform, &[]).await;
    assert!(said.out.contains("has lost privileges"), "{said:?}");
    assert_eq!(privileges(&platform, &role).await, with_it);
    drop((client, daemon));
    let said = platform.says(&["uninstall", "--yes"]).await;
    assert!(
        said.code == 0
            && said
                .out
                .contains(&format!("the role {role}, which an install had made")),
        "{said:?}"
    );
    installs(&platform, &[]).await;
    assert_eq!(privileges(&platform, &role).await, before);
}

/// GIVEN a monitoring role that has lost a privilege, THEN `status` names it with the command that
/// grants it, and any further install grants it again, also after the role was renamed.
#[tokio::test]
async fn i6_an_install_keeps_the_privileges_of_a_monitoring_role() {
    let platform = Platform::installed().await;
    let role = unique(&platform, "monitor").await;
    installs(&platform, &["--monitor", &role]).await;
    platform
        .run(&format!(
            "REVOKE SELECT ON agent_sync.problem FROM {role};
             REVOKE SELECT (slug) ON agents FROM {role}"
        ))
        .await;
    let (code, object) = asks(&platform, &role, "status").await;
    assert_eq!((code, &object["state"]), (2, &"broken".into()), "{object}");
    let note = &object["trouble"][0];
    assert_eq!(
        note["text"],
        format!(
            "the role {role} lacks SELECT ON agent_sync.problem, SELECT (slug) ON public.agents"
        )
    );
    let remedy = note["remedy"].as_str().unwrap();
    assert!(
        remedy.contains(&format!("agent-sync install --monitor {role}")),
        "{remedy}"
    );
    let other = unique(&platform, "renamed").await;
    platform
        .run(&format!("ALTER ROLE {role} RENAME TO {other}"))
        .await;
    installs(&platform, &[]).await;
    let (code, object) = asks(&platform, &other, "status").await;
    assert_eq!(
        (code, &object["state"]),
        (0, &"no daemon".into()),
        "{object}"
    );
    let said = platform.says(&["uninstall", "--yes"]).await;
    assert!(
        said.out
            .contains(&format!("the role {other}, which an install had made")),
        "{said:?}"
    );
}

/// GIVEN a role of a daemon, WHEN it becomes a monitoring role, THEN it may write nothing any more,
/// and WHEN it becomes the role of a daemon again, THEN it has every privilege of one. A role that
/// was there before stays.
#[tokio::test]
async fn s25_a_daemon_that_becomes_a_monitor_may_write_nothing() {
    let platform = Platform::installed().await;
    let role = unique(&platform, "both").await;
    platform.run(&format!("CREATE ROLE {role} LOGIN")).await;
    let before = privileges(&platform, &role).await;
    let may = |what: &str, privilege: &str| {
        format!("SELECT has_table_privilege('{role}', '{what}', '{privilege}')")
    };
    let writes =
        format!("SELECT has_any_column_privilege('{role}', 'agent_configurations', 'UPDATE')");
    for (option, expected) in [("--role", true), ("--monitor", false), ("--role", true)] {
        installs(&platform, &[option, &role]).await;
        for (query, expected) in [
            (may("agent_sync.outbox", "DELETE"), expected),
            (may("agent_sync.history", "SELECT"), expected),
            (writes.clone(), expected),
            (may("agent_sync.outbox", "SELECT"), true),
        ] {
            assert_eq!(platform.value::<bool>(&query).await, expected, "{query}");
        }
        let (code, object) = asks(&platform, &role, "status").await;
        assert_eq!(code, 0, "{object}");
        let said = platform.says(&["doctor"]).await;
        assert!(!said.out.contains("may write"), "{said:?}");
    }
    installs(&platform, &["--monitor", &role]).await;
    let said = platform.says(&["uninstall", "--yes"]).await;
    assert!(
        said.out
            .contains(&format!("the role {role} stays, without what was granted")),
        "{said:?}"
    );
    installs(&platform, &[]).await;
    assert_eq!(privileges(&platform, &role).await, before);
    platform.run(&format!("DROP ROLE {role}")).await;
}

/// GIVEN row-level security that hides agents from a monitoring role, THEN `doctor` says so as that
/// role, and takes it for no fault of the daemon.
#[tokio::test]
async fn g14_policies_for_a_monitoring_role_are_no_fault() {
    let platform = Platform::installed().await;
    let role = unique(&platform, "monitor").await;
    installs(&platform, &["--monitor", &role]).await;
    platform
        .run("ALTER TABLE agents ENABLE ROW LEVEL SECURITY")
        .await;
    let (code, object) = asks(&platform, &role, "doctor").await;
    assert_eq!(code, 0, "{object}");
    let hidden: Vec<_> = trouble(&object)
        .into_iter()
        .filter(|note| note["topic"] == "row security")
        .collect();
    let [hidden] = hidden[..] else {
        panic!("{object}");
    };
    let text = hidden["text"].as_str().unwrap();
    assert!(
        hidden["level"] == "warn" && text.contains("may hide rows from this monitoring role"),
        "{object}"
    );
    let remedy = hidden["remedy"].as_str().unwrap();
    let (policy, _) = remedy.split_once(" or ").unwrap();
    platform.run(policy).await;
    let (_, object) = asks(&platform, &role, "doctor").await;
    let topics: Vec<_> = trouble(&object).iter().map(|note| &note["topic"]).collect();
    assert!(!topics.contains(&&"row security".into()), "{object}");
    platform
        .run("DROP POLICY agent_sync_select ON agents")
        .await;
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
}
