//! `reconcile` with and without a daemon: differences are repaired through the outbox.

use serde_json::json;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Platform, Said, eventually};

/// Agents that a daemon has brought in sync.
async fn in_sync(agents: u32) -> Platform {
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'Agent ' || i
                  FROM generate_series(1, {agents}) i;
             INSERT INTO agent_configurations (agent_slug, agent_name) SELECT slug, name
               FROM agents"
        ))
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    assert!(daemon.terminate().await.success());
    platform
}

/// Edits by hand the configurations of the agents whose slug has this ending.
async fn drift(platform: &Platform, ending: &str) {
    platform
        .run(&format!(
            "UPDATE agent_configurations SET agent_name = 'by hand' WHERE agent_slug LIKE \
            '%{ending}'"
        ))
        .await;
}

async fn by_hand(platform: &Platform) -> i64 {
    platform
        .value("SELECT count(*) FROM agent_configurations WHERE agent_name = 'by hand'")
        .await
}

async fn leader(platform: &Platform) -> Option<i32> {
    let sql = "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
          AND d.datname = current_database()";
    platform
        .client
        .query_opt(sql, &[])
        .await
        .unwrap()
        .map(|row| row.get(0))
}

/// Reconcile passes the differences to a sleeping or a busy daemon.
#[tokio::test]
async fn reconcile_hands_differences_to_the_daemon() {
    let platform = in_sync(3000).await;
    let daemon = platform.caught_up_daemon().await;
    let session = leader(&platform).await;
    // One agent, with a sleeping daemon: the sweep interval is long, so only a wake-up can cause
    // the sync.
    drift(&platform, "-7").await;
    let said = platform.says(&["reconcile", "agent-7"]).await.fits();
    assert_eq!(
        (said.code, said.out.as_str()),
        (
            0,
            "default: 1 synced, 0 unchanged, 0 missing, 0 rejected, 0 failed\n"
        )
    );
    assert_eq!(by_hand(&platform).await, 0);
    // More than one portion, with a daemon that other writers keep awake.
    drift(&platform, "").await;
    let others = platform.connect().await;
    let saves = tokio::spawn(async move {
        for round in 0.. {
            let sql =
                format!("UPDATE agents SET name = 'Agent 1, round {round}' WHERE slug = 'agent-1'");
            if others.batch_execute(&sql).await.is_err() {
                break;
            }
        }
    });
    let said = platform.says(&["reconcile", "--all", "--yes"]).await.fits();
    saves.abort();
    assert_eq!(said.code, 0, "{said:?}");
    // A save of another writer may have synced its agent before the check.
    let fits = ["3,000 synced, 0 unchanged", "2,999 synced, 1 unchanged"];
    assert!(
        fits.iter().any(|fits| said
            .out
            .contains(&format!("{fits}, 0 missing, 0 rejected, 0 failed"))),
        "{said:?}"
    );
    assert_eq!(by_hand(&platform).await, 0);
    assert_eq!(
        leader(&platform).await,
        session,
        "the daemon went on leading"
    );
    assert!(daemon.outages().is_empty());
    // A second run finds nothing to do and does not ask.
    platform.drained().await;
    let said = platform.says(&["reconcile", "--all"]).await.fits();
    assert_eq!(
        said.out,
        "default: 0 synced, 3,000 unchanged, 0 missing, 0 rejected, 0 failed\n"
    );
}

/// Without a leader, reconcile does the work itself and releases the leader lock.
#[tokio::test]
async fn reconcile_works_itself_where_no_daemon_leads() {
    let platform = in_sync(1500).await;
    drift(&platform, "").await;
    // A pending change is in the outbox.
    platform
        .run("UPDATE agents SET name = 'saved' WHERE slug = 'agent-5'")
        .await;
    let said = platform.says(&["reconcile", "--all", "--yes"]).await.fits();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.starts_with("default: 1,500 synced, 0 unchanged"),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("No daemon leads, so this command did the work."),
        "{}",
        said.out
    );
    assert_eq!(by_hand(&platform).await, 0);
    let name: String = platform
        .value("SELECT agent_name FROM agent_configurations WHERE agent_slug = 'agent-5'")
        .await;
    assert_eq!(name, "saved");
    assert_eq!(leader(&platform).await, None, "the lock is given back");
    let _daemon = platform.caught_up_daemon().await;
    platform.save("new", EXAMPLE).await;
    platform.configure("new").await;
    platform.becomes("new", EXPECTED).await;
}

#[tokio::test]
async fn reconcile_steps_in_when_the_daemon_dies_meanwhile() {
    let platform = in_sync(3).await;
    let mut daemon = platform.caught_up_daemon().await;
    daemon.signal("STOP");
    drift(&platform, "").await;
    let says = tokio::spawn(Said::of(platform.command(&["reconcile", "--all"])));
    platform
        .holds("SELECT count(*) = 3 FROM agent_sync.outbox")
        .await;
    daemon.signal("KILL");
    daemon.ended().await;
    let said = says.await.unwrap().fits();
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.contains("3 synced") && said.out.contains("did the work"),
        "{}",
        said.out
    );
    assert_eq!(by_hand(&platform).await, 0);
}

/// Reconcile gives up on a hung daemon without a loss.
#[tokio::test]
async fn reconcile_gives_up_on_a_hanging_daemon_without_loss() {
    let platform = in_sync(3).await;
    let daemon = platform.caught_up_daemon().await;
    daemon.signal("STOP");
    drift(&platform, "").await;
    let mut command = platform.command(&["reconcile", "--all", "--json"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "600ms");
    let said = Said::of(command).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("given up with 3 agents to do, which stay in the outbox"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("a daemon leads, and has not taken") && said.err.contains("try: "),
        "{}",
        said.err
    );
    daemon.signal("CONT");
    eventually("the daemon does it", async || by_hand(&platform).await == 0).await;
}

#[tokio::test]
async fn reconcile_tells_what_cannot_be_brought_in_sync_and_why() {
    for led in [true, false] {
        let platform = in_sync(2).await;
        platform
            .run(
                "ALTER TABLE agent_configurations ADD CONSTRAINT short CHECK (length(voice_id) < \
                5)",
            )
            .await;
        platform
            .run(
                "INSERT INTO agents (slug, voice_settings)
                      VALUES ('missing', '{}'), ('rejected', '{\"temperature\":3}'),
                    ('refused', '{\"voice_id\":\"far too long\"}');
                 INSERT INTO agent_configurations (agent_slug) VALUES ('rejected'), ('refused');
                 INSERT INTO agent_sync.problem (slug, kind, detail)
                   VALUES ('agent-2', 'rejected', 'it was once');
                 TRUNCATE agent_sync.outbox",
            )
            .await;
        // The constraint has changed the table, so a new daemon checks every agent first.
        let _daemon = if led {
            Some(platform.caught_up_daemon().await)
        } else {
            None
        };
        drift(&platform, "-1").await;
        let said = platform.says(&["reconcile", "--all"]).await.fits();
        assert_eq!(said.code, 1, "{said:?}");
        for line in [
            "missing   missing",
            "rejected  rejected",
            "voice_settings.temperature: expected a number from 0 to 2",
            "failed    refused",
            "constraint short",
            "try: Correct the row",
            "default: 1 synced, 1 unchanged, 1 missing, 1 rejected, 1 failed",
        ] {
            assert!(said.out.contains(line), "{line} in:\n{}", said.out);
        }
        assert!(!said.out.contains("agent-1"), "{}", said.out);
        // agent_sync.problem agrees with the output of the command (G7).
        let problems =
            "SELECT string_agg(slug || ' ' || kind, ', ' ORDER BY slug) FROM agent_sync.problem";
        assert_eq!(
            platform.value::<String>(problems).await,
            "missing missing_configuration, refused failed, rejected rejected"
        );
        let objects = platform
            .says(&["reconcile", "refused", "missing", "--json"])
            .await
            .objects();
        assert_eq!(objects[0]["verdict"], "missing");
        assert_eq!(
            (&objects[1]["slug"], &objects[1]["outcome"]),
            (&json!("refused"), &json!("failed"))
        );
        assert_eq!(
            objects[2]["summary"],
            json!({"synced": 0, "unchanged": 0, "missing": 1, "rejected": 0, "failed": 1})
        );
    }
}

/// Reconcile asks before it changes many configurations, and refuses without a terminal.
#[tokio::test]
async fn reconcile_asks_before_many_or_refuses() {
    let platform = in_sync(12).await;
    drift(&platform, "").await;
    let command = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command.env("AGENT_SYNC__RECONCILE__CONFIRM_ABOVE", "11");
        command
    };
    let said = Said::of(command(&["reconcile", "--all"])).await.fits();
    assert_eq!(said.code, 64);
    assert!(
        said.err
            .contains("12 configurations, more than the 11 of reconcile.confirm_above"),
        "{}",
        said.err
    );
    assert!(said.err.contains("try: add --yes"), "{}", said.err);
    assert_eq!(
        (by_hand(&platform).await, platform.outbox().await.len()),
        (12, 0),
        "nothing was changed"
    );

    // Without a daemon, the command also processes the pending changes, so they count.
    platform
        .run("INSERT INTO agent_sync.outbox (slug) SELECT slug FROM agents")
        .await;
    assert_eq!(Said::of(command(&["reconcile", "agent-1"])).await.code, 64);
    platform.run("TRUNCATE agent_sync.outbox").await;
    assert_eq!(Said::of(command(&["reconcile", "agent-1"])).await.code, 0);
    // Eleven are left, which is not above the limit.
    assert_eq!(Said::of(command(&["reconcile", "--all"])).await.code, 0);
    drift(&platform, "").await;
    assert_eq!(
        Said::of(command(&["reconcile", "--all", "--yes"]))
            .await
            .code,
        0
    );
    assert_eq!(by_hand(&platform).await, 0);
}

/// Reconcile requires slugs or --all, and a dry run changes nothing.
#[tokio::test]
async fn i1_reconcile_wants_slugs_or_all_and_has_a_dry_run() {
    let platform = in_sync(2).await;
    let said = platform.says(&["reconcile"]).await;
    assert_eq!(said.code, 64);
    assert!(
        said.err
            .contains("`agent-sync reconcile SLUG…` or `agent-sync reconcile --all`"),
        "{}",
        said.err
    );
    assert_eq!(
        platform.says(&["reconcile", "--all", "agent-1"]).await.code,
        64
    );
    let said = platform.says(&["reconcile", "nobody"]).await.fits();
    assert_eq!(said.code, 1);
    // It stands below the summary, as `check` has it.
    assert!(
        said.out
            .ends_with("failed\nunknown   nobody  no agent has this slug\n"),
        "{}",
        said.out
    );

    drift(&platform, "-1").await;
    let [dry, check] = [
        platform.says(&["reconcile", "--all", "--dry-run"]).await,
        platform.says(&["check"]).await,
    ];
    assert_eq!((dry.code, &dry.out), (2, &check.out));
    assert_eq!(
        (by_hand(&platform).await, platform.outbox().await.len()),
        (1, 0)
    );
}

/// After a change of the rules, `reconcile --all` renews the reasons of agents that were rejected
/// before and are rejected now for other reasons. A second run finds nothing to renew.
#[tokio::test]
async fn m7_reconcile_renews_the_reasons_of_rejected_agents() {
    let platform = Platform::installed().await;
    let settings = r#"{"provider": "elevenlabs", "model": "fast", "temperature": "hot"}"#;
    for slug in ["one", "two"] {
        platform.save(slug, settings).await;
        platform.configure(slug).await;
    }
    // One of two configurations is wrong by itself.
    platform.configure("two").await;
    platform
        .run(
            "UPDATE agent_configurations SET provider_config = '[]'
             WHERE ctid = (SELECT max(ctid) FROM agent_configurations WHERE agent_slug = 'two')",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    assert!(daemon.terminate().await.success());
    let reasons = || async {
        let sql = "SELECT array_agg(slug || ': ' || detail ORDER BY slug) FROM agent_sync.problem";
        platform.value::<Vec<String>>(sql).await
    };
    let before = reasons().await;
    assert!(before.iter().all(|reason| reason.contains("temperature")));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let rules = include_str!("../../config/providers.toml");
    let number = "[settings]\nmodel = { type = \"number\" }\n";
    std::fs::write(&file, rules.replacen("[settings]\n", number, 1)).unwrap();
    let reconcile = || async {
        let mut command = platform.command(&["reconcile", "--all", "--yes"]);
        command.env("AGENT_SYNC__RULES__FILE", &file);
        Said::of(command).await
    };
    let said = reconcile().await;
    let after = reasons().await;
    assert_eq!(after.len(), 2, "{said:?}");
    assert!(
        after.iter().all(|reason| reason.contains("model")),
        "{after:?}"
    );
    let tried = "SELECT array_agg(last_seen::text ORDER BY slug) FROM agent_sync.problem";
    let renewed: Vec<String> = platform.value(tried).await;
    reconcile().await;
    assert_eq!(platform.value::<Vec<String>>(tried).await, renewed);
}

/// The long slug of an agent whose write fails is cut in text, as by `check`, and whole in JSON.
#[tokio::test]
async fn reconcile_cuts_the_long_slug_of_a_failed_agent() {
    let platform = Platform::installed().await;
    let slug = "x".repeat(2000);
    platform.configure(&slug).await;
    platform.save(&slug, EXAMPLE).await;
    platform
        .run("ALTER TABLE agent_configurations ADD CHECK (voice_id <> 'test-voice-123')")
        .await;
    let said = platform.says(&["reconcile", &slug]).await;
    assert!(said.out.contains("failed    xxx"), "{said:?}");
    assert!(!said.out.contains(&"x".repeat(401)), "{said:?}");
    let said = platform.says(&["reconcile", &slug, "--json"]).await;
    assert!(said.out.contains(&slug), "{said:?}");
}
