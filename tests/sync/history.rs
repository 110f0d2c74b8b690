//! The history: the writes with their time and cause; bounded, and only if enabled.

use serde_json::Value;

use crate::install::upgrades::with_an_older_schema;
use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, Said, eventually};

/// Rows of the history, as text.
async fn rows(platform: &Platform, select: &str) -> Vec<String> {
    let sql = format!("SELECT ({select})::text FROM agent_sync.history h ORDER BY h.id");
    platform
        .client
        .query(&sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// The program with an enabled history.
fn keeping(platform: &Platform, arguments: &[&str]) -> std::process::Command {
    let mut command = platform.command(arguments);
    command.env("AGENT_SYNC__HISTORY__ENABLED", "true");
    command
}

/// A database with a history.
async fn kept(tables: &str) -> Platform {
    let platform = Platform::with_tables(crate::support::cluster(), tables).await;
    let said = Said::of(keeping(&platform, &["install"])).await;
    assert!(said.out.contains("default: installed"), "{said:?}");
    platform
}

async fn caught_up(platform: &Platform) -> Daemon {
    let daemon = Daemon::start(keeping(platform, &["run"]));
    daemon.logged("caught up").await;
    daemon
}

/// A write is recorded with its cause and its differences, without prompts.
#[tokio::test]
async fn g11_a_write_is_kept_with_its_cause_without_prompts() {
    let platform = kept(TABLES).await;
    let role = format!("ui_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {role}; GRANT ALL ON agents TO {role}; GRANT CREATE ON SCHEMA public TO \
            {role}"
        ))
        .await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run("UPDATE agent_configurations SET provider_config = '{\"mine\": 0.10}'")
        .await;
    let daemon = caught_up(&platform).await;
    platform
        .holds("SELECT voice_id IS NOT NULL FROM agent_configurations")
        .await;
    platform.drained().await;

    // Like the platform's UI: a separate session with SET ROLE.
    let ui = platform.connect().await;
    let save =
        "UPDATE agents SET voice_settings = '{\"provider\":\"openai\",\"voice_id\":\"alloy\"}',
                       system_prompt = 'a secret of the prompt' WHERE slug = 'a'";
    ui.batch_execute(&format!(
        "SET application_name = 'dashboard'; SET ROLE {role}; {save}"
    ))
    .await
    .unwrap();
    platform
        .holds("SELECT voice_id = 'alloy' FROM agent_configurations")
        .await;
    // Like an ordinary login; a save that changes no provider_config.
    ui.batch_execute("RESET ROLE; SET application_name = ''; UPDATE agents SET name = 'Other'")
        .await
        .unwrap();
    platform
        .holds("SELECT agent_name = 'Other' FROM agent_configurations")
        .await;

    assert_eq!(
        rows(
            &platform,
            "SELECT concat_ws('|', h.slug, h.columns, h.application_name, h.role)"
        )
        .await[1..],
        [
            format!("a|{{system_prompt,voice_id,provider_config,voice_settings}}|dashboard|{role}"),
            "a|{agent_name}||postgres".to_owned()
        ]
    );
    let whose = "h.configuration = (SELECT c.id::text FROM agent_configurations c)";
    assert_eq!(rows(&platform, whose).await, ["true", "true", "true"]);
    let mine = "h.before::jsonb ->> 'mine'";
    assert_eq!(
        rows(&platform, &format!("SELECT coalesce({mine}, 'none')")).await,
        ["0.10", "0.10", "none"]
    );
    let chain = "h.after::jsonb IS NOT DISTINCT FROM
        coalesce((SELECT n.before FROM agent_sync.history n WHERE n.id > h.id
          AND n.before IS NOT NULL ORDER BY n.id LIMIT 1),
                 (SELECT c.provider_config::text FROM agent_configurations c
                   WHERE h.after IS NOT NULL))::jsonb";
    assert_eq!(
        rows(&platform, chain).await,
        ["true", "true", "true"],
        "each begins where the one before it ended"
    );
    let all = rows(&platform, "to_jsonb(h)").await.join("\n");
    assert!(
        !all.contains("secret of the prompt") && !all.contains("You are a"),
        "{all}"
    );

    // `why` and `status` report it from SQL alone.
    assert!(daemon.terminate().await.success());
    let told = platform.says(&["why", "a"]).await.fits();
    assert!(
        told.out.contains("writes, the latest first"),
        "{}",
        told.out
    );
    assert!(
        told.out.contains(&format!("ago by dashboard as {role}")),
        "{}",
        told.out
    );
    assert!(!told.out.contains("secret of the prompt"), "{}", told.out);
    let object = platform.says(&["why", "a", "--json"]).await.object();
    assert_eq!(
        object["history"][0]["columns"],
        serde_json::json!(["agent_name"])
    );
    assert_eq!(object["history"][1]["application_name"], "dashboard");
    let status = platform.says(&["status", "--json"]).await.object();
    let near = "SELECT abs(extract(epoch FROM i.last_sync - h.at)) < 1
                FROM agent_sync.install i, agent_sync.history h ORDER BY h.id DESC LIMIT 1";
    assert!(
        status["last_sync"].is_string() && platform.value::<bool>(near).await,
        "{status}"
    );
    assert!(
        platform
            .says(&["status"])
            .await
            .fits()
            .out
            .contains("Last written: default ")
    );
}

#[tokio::test]
async fn a_bulk_statement_is_kept_row_by_row_whatever_the_key_is() {
    let tables = TABLES.replace(
        "id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),\n    agent_slug",
        "tenant integer DEFAULT 7, number integer GENERATED ALWAYS AS IDENTITY, PRIMARY KEY \
        (number, tenant),\n    agent_slug",
    );
    let platform = kept(&tables).await;
    platform
        .run(
            "INSERT INTO agents (slug, voice_settings) SELECT 'a' || n, '{\"voice_id\": \"x\"}'
                  FROM generate_series(1, 1500) n;
             INSERT INTO agent_configurations (agent_slug, provider_config) SELECT 'a' || n, '{}'
               FROM generate_series(1, 1500) n",
        )
        .await;
    let _daemon = caught_up(&platform).await;
    platform.drained().await;
    let kept = "SELECT count(*) = 1500 AND count(DISTINCT h.slug) = 1500
                   AND bool_and(h.configuration = concat_ws(',', c.number, c.tenant))
                FROM agent_sync.history h JOIN agent_configurations c ON c.agent_slug = h.slug";
    assert!(platform.value::<bool>(kept).await);
}

/// GIVEN several saves of an agent in one batch, WHEN its write is recorded, THEN the latest save
/// is the cause.
#[tokio::test]
async fn of_several_saves_the_latest_is_the_cause() {
    let platform = kept(TABLES).await;
    platform.configure("a").await;
    for (application, voice) in [("earlier", "one"), ("later", "two")] {
        platform
            .run(&format!("SET application_name = '{application}'"))
            .await;
        platform
            .save(
                "a",
                &format!(r#"{{"provider":"openai","voice_id":"{voice}"}}"#),
            )
            .await;
    }
    let _daemon = caught_up(&platform).await;
    platform.drained().await;
    let cause = "SELECT concat_ws('|', h.application_name, h.after::jsonb #>> '{tts,voice}')";
    assert_eq!(rows(&platform, cause).await, ["later|two"]);
}

/// The history is bounded by rows and by age and pruned in portions.
#[tokio::test]
async fn the_history_is_bounded_and_pruned_in_portions() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agent_sync.history (slug, columns, at)
             SELECT n::text, '{}', now() - CASE WHEN n <= 3000 THEN interval '3 hours'
               ELSE interval '0' END
             FROM generate_series(1, 5000) n",
        )
        .await;
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__HISTORY__KEEP", "2h");
    let daemon = Daemon::start(command);
    platform
        .holds("SELECT count(*) = 2000 AND min(h.id) = 3001 FROM agent_sync.history h")
        .await;
    assert!(daemon.terminate().await.success());
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__HISTORY__MAX_ROWS", "10");
    let _daemon = Daemon::start(command);
    platform
        .holds("SELECT count(*) = 10 AND min(h.id) = 4991 FROM agent_sync.history h")
        .await;
}

/// A disabled history costs neither saves nor batches anything.
#[tokio::test]
async fn a_history_that_is_off_costs_nothing() {
    let platform = Platform::new().await;
    let defaults =
        "SELECT count(*) FROM pg_attrdef d WHERE d.adrelid = 'agent_sync.outbox'::regclass";
    platform.install();
    assert_eq!(platform.value::<i64>(defaults).await, 1, "only the clock");
    let daemon = platform.caught_up_daemon().await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    assert_eq!(rows(&platform, "h.id").await, Vec::<String>::new());
    let told = platform.says(&["why", "a"]).await.fits();
    assert!(
        told.out
            .contains("nothing is noted; history.enabled = true notes it"),
        "{}",
        told.out
    );
    assert!(
        platform
            .says(&["doctor"])
            .await
            .fits()
            .out
            .contains("  pass  history       none is kept")
    );

    // The time of the last write is still recorded, at the latest at the end of the daemon.
    assert!(
        platform
            .says(&["status"])
            .await
            .fits()
            .out
            .contains("Last written: default: not recorded")
    );
    assert!(daemon.terminate().await.success());
    assert!(
        platform
            .says(&["status"])
            .await
            .fits()
            .out
            .contains("Last written: default ")
    );
    let status: Value = platform.says(&["status", "--json"]).await.object();
    let noted =
        "SELECT i.last_sync IS NOT NULL AND abs(extract(epoch FROM i.last_sync - c.updated_at)) < 1
                 FROM agent_sync.install i, agent_configurations c";
    assert!(
        status["last_sync"].is_string() && platform.value::<bool>(noted).await,
        "{status}"
    );

    let told = Said::of(keeping(&platform, &["why", "a"])).await.fits();
    assert!(
        told.out.contains("\n    none is noted\n") && !told.out.contains("history.enabled = true"),
        "{}",
        told.out
    );

    // `install` enables and disables it; until then `doctor` reports the difference.
    let doctor = Said::of(keeping(&platform, &["doctor"])).await.fits();
    assert!(
        doctor
            .out
            .contains("  warn  history       history.enabled is true, and the install"),
        "{}",
        doctor.out
    );
    assert!(
        Said::of(keeping(&platform, &["install"]))
            .await
            .out
            .contains("default: installed")
    );
    assert_eq!(platform.value::<i64>(defaults).await, 3);
    assert!(
        !Said::of(keeping(&platform, &["doctor"]))
            .await
            .out
            .contains("  warn  history")
    );
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("default: installed")
    );
    assert_eq!(platform.value::<i64>(defaults).await, 1);
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
}

#[tokio::test]
async fn a_sweep_notes_when_was_last_written() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.save("a", EXAMPLE).await;
    platform
        .holds(
            "SELECT coalesce(last_sync >= updated_at, false) FROM agent_sync.install, \
            agent_configurations",
        )
        .await;
}

/// GIVEN a daemon with an older schema, WHEN the new version is installed, THEN no change is lost,
/// and the daemon continues by itself.
#[tokio::test]
async fn i6_an_older_schema_is_upgraded_under_a_running_daemon() {
    let platform = with_an_older_schema().await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    let mut command = keeping(&platform, &["run"]);
    command.env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    let daemon = Daemon::start(command);
    let line = daemon.outage().await;
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("the installed schema has version 0"),
        "{line}"
    );
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("Run `agent-sync install`"),
        "{line}"
    );
    // A running save holds the outbox, so the upgrade waits for it, in short attempts.
    let writer = platform.connect().await;
    writer
        .batch_execute("BEGIN; UPDATE agents SET name = 'in flight'")
        .await
        .unwrap();
    let upgrade = tokio::spawn(Said::of(keeping(&platform, &["install"])));
    platform
        .holds(
            "SELECT count(*) > 0 FROM pg_locks l WHERE NOT l.granted AND l.database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    writer.batch_execute("COMMIT").await.unwrap();
    let said = upgrade.await.unwrap();
    assert!(
        said.code == 0 && said.out.contains("default: installed"),
        "{said:?}"
    );
    assert_eq!(
        platform
            .value::<i32>("SELECT version FROM agent_sync.install")
            .await,
        agent_sync::install::VERSION
    );
    daemon.logged("caught up").await;
    platform.becomes("a", EXPECTED).await;
    platform
        .holds("SELECT agent_name = 'in flight' FROM agent_configurations")
        .await;
    assert!(
        Said::of(keeping(&platform, &["install"]))
            .await
            .out
            .contains("nothing to change")
    );
    eventually("it is in the history", async || {
        !rows(&platform, "h.id").await.is_empty()
    })
    .await;
}

/// GIVEN a history with a reset sequence, WHEN one or many agents are saved, THEN they are synced,
/// and an install repairs the sequence.
#[tokio::test]
async fn g5_a_history_out_of_numbers_stops_no_write() {
    let platform = kept(TABLES).await;
    for slug in ["a", "b"] {
        platform.configure(slug).await;
    }
    let daemon = caught_up(&platform).await;
    let voice = |name: &str| format!(r#"{{"provider":"openai","voice_id":"{name}"}}"#);
    for slug in ["a", "b"] {
        platform.save(slug, &voice("first")).await;
    }
    platform
        .holds("SELECT count(*) = 2 FROM agent_configurations WHERE voice_id = 'first'")
        .await;
    platform
        .run("ALTER SEQUENCE agent_sync.history_id_seq RESTART")
        .await;
    platform.save("a", &voice("alone")).await;
    platform
        .holds("SELECT count(*) = 1 FROM agent_configurations WHERE voice_id = 'alone'")
        .await;
    platform
        .run(
            "ALTER SEQUENCE agent_sync.history_id_seq RESTART; UPDATE agents SET \
            voice_settings = '{\"voice_id\":\"many\"}'",
        )
        .await;
    platform
        .holds("SELECT count(*) = 2 FROM agent_configurations WHERE voice_id = 'many'")
        .await;
    assert_eq!(platform.problems().await, 0);
    drop(daemon);
    platform
        .run("ALTER SEQUENCE agent_sync.history_id_seq RESTART")
        .await;
    assert!(
        Said::of(keeping(&platform, &["install"]))
            .await
            .out
            .contains("installed")
    );
    assert!(
        platform
            .value::<bool>(
                "SELECT nextval('agent_sync.history_id_seq') > max(id) FROM agent_sync.history"
            )
            .await
    );
}
