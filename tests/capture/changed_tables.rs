//! Tables that change while a daemon runs (G2, G13, G14): within one sweep the daemon uses the
//! present definition.

use agent_sync::store::queries;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, http};

/// A platform whose configurations have no column `agent_image`.
async fn without_image() -> Platform {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agent_configurations DROP COLUMN agent_image")
        .await;
    platform.install();
    for slug in ["a", "b", "ABC", "abc"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    platform
}

async fn image_arrives(platform: &Platform, image: &str) {
    platform
        .run(&format!(
            "UPDATE agents SET agent_image = '{image}', name = '{image}' WHERE slug = 'b'"
        ))
        .await;
    platform
        .holds(&format!(
            "SELECT (agent_image = '{image}' AND agent_name = '{image}') IS TRUE FROM \
            agent_configurations WHERE agent_slug = 'b'"
        ))
        .await;
}

/// A standby that takes over uses the present definition of the tables.
#[tokio::test]
async fn g2_a_new_leader_works_with_the_tables_as_they_are() {
    for change in [
        "ALTER TABLE agent_configurations ADD COLUMN agent_image text",
        "ALTER TABLE agent_configurations ADD COLUMN image text; ALTER TABLE agent_configurations \
        RENAME COLUMN image TO agent_image",
        "CREATE TABLE another (LIKE agent_configurations INCLUDING ALL); ALTER TABLE another ADD
              COLUMN agent_image text;
         INSERT INTO another SELECT * FROM agent_configurations; DROP TABLE agent_configurations;
         ALTER TABLE another RENAME TO agent_configurations",
    ] {
        let platform = without_image().await;
        let leader = platform.caught_up_daemon().await;
        let standby = platform.daemon();
        standby.logged("another daemon leads here").await;
        platform.run(change).await;
        platform.install();
        leader.signal("KILL");
        standby.logged("connected and leading").await;
        image_arrives(&platform, "after").await;
        assert_eq!(standby.outages().len(), 0, "{change}");
    }
}

#[tokio::test]
async fn g2_a_column_that_comes_just_after_the_connection_is_written() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("connected and leading").await;
    platform
        .run("ALTER TABLE agent_configurations ADD COLUMN agent_image text")
        .await;
    daemon.logged("caught up").await;
    platform
        .run("UPDATE agents SET agent_image = 'first', name = 'first' WHERE slug = 'b'")
        .await;
    platform
        .holds(
            "SELECT (agent_image = 'first') IS TRUE FROM agent_configurations WHERE agent_slug \
            = 'b'",
        )
        .await;
}

/// A new collation under a running daemon mixes up no agents.
#[tokio::test]
async fn g13_a_new_collation_mixes_up_no_agents() {
    let platform = without_image().await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .run(
            "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', deterministic
                  = false);
             DROP TRIGGER agent_sync_insert ON agent_configurations; DROP TRIGGER
               agent_sync_update ON agent_configurations;
             ALTER TABLE agent_configurations ALTER agent_slug TYPE text COLLATE lenient",
        )
        .await;
    for name in ["one", "two", "three"] {
        platform
            .run(&format!(
                "UPDATE agents SET name = '{name}' WHERE slug = 'abc'"
            ))
            .await;
        // It is written or has a problem; the other agent is unchanged.
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'abc')
                     OR EXISTS (SELECT FROM agent_configurations
                       WHERE agent_slug::text COLLATE \"C\" = 'abc' AND agent_name = '{name}')"
            ))
            .await;
        platform
            .holds(
                "SELECT agent_name = 'Agent ABC' FROM agent_configurations WHERE \
                agent_slug::text COLLATE \"C\" = 'ABC'",
            )
            .await;
    }
    drop(daemon);
    platform.install();
    let _next = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .holds(
            "SELECT bool_and(agent_name = name) FROM agents a JOIN agent_configurations c ON \
            a.slug = c.agent_slug::text COLLATE \"C\"",
        )
        .await;
}

#[tokio::test]
async fn g14_an_index_that_goes_is_noticed_and_comes_back_likewise() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    let index: String = platform
        .value(
            "SELECT indexname::text FROM pg_indexes WHERE tablename = 'agent_configurations' \
            AND indexdef LIKE '%(agent_slug)'",
        )
        .await;
    platform.run(&format!("DROP INDEX {index}")).await;
    let line = daemon.logged("no index begins with agent_slug").await;
    assert!(
        line["remedy"].as_str().unwrap().contains("CREATE INDEX"),
        "{line}"
    );
    platform
        .run("ALTER TABLE agents DROP CONSTRAINT agents_slug_key")
        .await;
    daemon
        .logged("public.agents has no unique index on slug")
        .await;
    platform
        .run("UPDATE agents SET name = 'late' WHERE slug = 'a'")
        .await;
    platform
        .holds("SELECT agent_name = 'late' FROM agent_configurations WHERE agent_slug = 'a'")
        .await;
    assert_eq!(daemon.outages().len(), 0);
}

#[tokio::test]
async fn g14_a_column_that_goes_is_told_while_the_daemon_runs() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .run("ALTER TABLE agent_configurations RENAME COLUMN agent_name TO display_name")
        .await;
    let line = daemon.logged("columns that do not exist any more").await;
    assert!(
        line["columns"].as_str().unwrap().contains("agent_name"),
        "{line}"
    );
}

/// An altered capture is reported until it is repaired.
#[tokio::test]
async fn g14_an_altered_capture_is_told_until_it_is_mended() {
    let body = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE
                  plpgsql SECURITY DEFINER AS $$ BEGIN {body} RETURN NULL; END $$"
        )
    };
    for (change, message) in [
        (body(""), "capture broken"),
        (
            "ALTER FUNCTION agent_sync.capture_agent() SET transaction_read_only = \
            on"
            .to_owned(),
            "capture \
            broken",
        ),
        (
            "ALTER FUNCTION agent_sync.capture_agent() SET role = \
            'none'"
                .to_owned(),
            "capture \
            broken",
        ),
        (
            "ALTER FUNCTION agent_sync.capture_agent() STABLE".to_owned(),
            "capture broken",
        ),
        (
            body("INSERT INTO agent_sync.outbox (slug) VALUES (NEW.slug);"),
            "capture broken",
        ),
        (
            "CREATE OR REPLACE TRIGGER agent_sync_insert AFTER INSERT ON agents FOR EACH ROW
                  WHEN (NEW.slug = 'a')
                 EXECUTE FUNCTION agent_sync.capture_agent(); ALTER TABLE agents ENABLE ALWAYS
                   TRIGGER agent_sync_insert"
                .to_owned(),
            "capture broken",
        ),
        (
            "UPDATE agent_sync.install SET fingerprint = ''".to_owned(),
            "capture broken",
        ),
        (
            "ALTER TABLE agents RENAME COLUMN name TO title".to_owned(),
            "capture broken",
        ),
        (
            "ALTER TABLE agents ENABLE REPLICA TRIGGER \
            agent_sync_update"
                .to_owned(),
            "capture \
            broken",
        ),
        (
            "ALTER TABLE agents ENABLE TRIGGER \
            agent_sync_update"
                .to_owned(),
            "a trigger is enabled \
            but not ALWAYS",
        ),
    ] {
        let platform = without_image().await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform.run(&change).await;
        daemon.logged(message).await;
        let said = platform.says(&["doctor"]).await;
        assert_eq!(said.code, 2, "{change}: {said:?}");
        platform.install();
        daemon.logged("the capture works again").await;
        assert_eq!(platform.says(&["doctor"]).await.code, 0, "{change}");
    }
}

/// A trigger of others on a third table that calls a function of the install keeps no change from
/// the two tables, so the capture is not broken.
#[tokio::test]
async fn g10_a_trigger_on_a_third_table_breaks_no_capture() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .run(
            "CREATE TABLE third (LIKE agents);
             CREATE TRIGGER agent_sync_insert AFTER INSERT ON third FOR EACH ROW
               EXECUTE FUNCTION agent_sync.capture_agent()",
        )
        .await;
    let said = platform.says(&["doctor"]).await;
    assert!(!said.out.contains("not defined"), "{said:?}");
    assert_eq!(said.code, 0, "{said:?}");
    platform.save("a", EXAMPLE).await;
    platform.drained().await;
    assert_eq!(daemon.lines("capture broken").len(), 0);
    // The install has no use for it.
    platform.install();
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'third'::regclass)")
        .await;
}

#[tokio::test]
async fn g14_a_rule_in_the_way_is_named_and_its_end_is_noticed() {
    for (rule, drop) in [
        (
            "CREATE TABLE seen (slug text); CREATE RULE also AS
                  ON UPDATE TO agent_configurations DO ALSO
                 INSERT INTO seen VALUES (NEW.agent_slug)",
            "DROP RULE also ON public.agent_configurations",
        ),
        (
            "CREATE RULE nothing AS ON UPDATE TO agent_configurations DO INSTEAD NOTHING",
            "DROP RULE nothing ON public.agent_configurations",
        ),
        (
            "CREATE RULE nothing AS ON INSERT TO agent_sync.problem DO INSTEAD NOTHING",
            "DROP RULE nothing ON agent_sync.problem",
        ),
    ] {
        let platform = without_image().await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform.run(rule).await;
        let line = daemon.outage().await;
        assert!(
            line["cause"].as_str().unwrap().contains("has the rule"),
            "{line}"
        );
        assert!(line["remedy"].as_str().unwrap().contains(drop), "{line}");
        assert_eq!(platform.says(&["doctor"]).await.code, 2);
        platform.save("a", EXAMPLE).await;
        platform.run(drop).await;
        platform.drained().await;
        platform
            .holds(
                "SELECT provider_config ? 'tts' FROM agent_configurations WHERE agent_slug = \
                'a'",
            )
            .await;
    }
}

/// Other rules or columns at a restart are reported until no configuration differs.
#[tokio::test]
async fn g2_other_rules_at_a_restart_are_told_until_nothing_differs() {
    let platform = without_image().await;
    platform.save("a", EXAMPLE).await;
    platform.caught_up_daemon().await.terminate().await;
    let folder = tempfile::tempdir().unwrap();
    let [_, rules] = two_rules(folder.path());
    for _ in 0..2 {
        let daemon = daemon_with(&platform, &rules);
        let line = daemon.logged("the mapping has changed").await;
        assert_eq!(line["differ"], 1, "{line}");
        daemon.terminate().await;
    }
    let daemon = daemon_with(&platform, &rules);
    daemon.logged("the mapping has changed").await;
    platform.run("NOTIFY agent_sync, 'a'").await;
    platform.holds(&stt_model_is("nova-3", "a")).await;
    let seen = "SELECT mapping FROM agent_sync.install";
    let before: String = platform.value(seen).await;
    crate::support::eventually("the new mapping is noted", async || {
        platform.value::<String>(seen).await != before
    })
    .await;
    daemon.terminate().await;
    let daemon = daemon_with(&platform, &rules);
    daemon.logged("caught up").await;
    platform.drained().await;
    assert_eq!(daemon.lines("the mapping has changed").len(), 0);
}

#[tokio::test]
async fn i1_slugs_in_two_collations_are_compared_by_every_command() {
    let platform = Platform::new().await;
    platform
        .run(
            "ALTER TABLE agents ALTER slug TYPE text COLLATE \"C\"; ALTER TABLE \
            agent_configurations ALTER agent_slug TYPE text COLLATE \"POSIX\"",
        )
        .await;
    platform.install();
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    for subcommand in [
        &["check"][..],
        &["check", "a"],
        &["why", "a"],
        &["reconcile", "a", "--yes"],
        &["doctor"],
        &["status"],
    ] {
        let said = platform.says(subcommand).await;
        assert_eq!(said.code, 0, "{subcommand:?}: {said:?}");
    }
}

/// Two rules files; the second has another model for a section of the example.
fn two_rules(folder: &std::path::Path) -> [std::path::PathBuf; 2] {
    let rules = include_str!("../../config/providers.toml");
    let files = [folder.join("one.toml"), folder.join("two.toml")];
    std::fs::write(&files[0], rules).unwrap();
    std::fs::write(&files[1], rules.replace("\"nova-2\"", "\"nova-3\"")).unwrap();
    files
}

fn daemon_with(platform: &Platform, rules: &std::path::Path) -> Daemon {
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__RULES__FILE", rules);
    Daemon::start(command)
}

fn stt_model_is(model: &str, slug: &str) -> String {
    format!(
        "SELECT (provider_config #>> '{{stt,model}}' = '{model}') IS TRUE FROM \
        agent_configurations WHERE agent_slug = '{slug}'"
    )
}

/// GIVEN two agents in sync under one mapping, WHEN one of them is written under another mapping,
/// by the same daemon after a reload, by another daemon or by `reconcile`, and the first mapping is
/// in force again, THEN the daemon reports the difference at every start.
#[tokio::test]
async fn g14_writes_under_other_rules_are_told_after_a_rollback() {
    for written_by in ["a reload", "another daemon", "reconcile"] {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = two_rules(folder.path());
        let in_force = folder.path().join("rules.toml");
        std::fs::copy(&one, &in_force).unwrap();
        let platform = without_image().await;
        for slug in ["a", "b"] {
            platform.save(slug, EXAMPLE).await;
        }
        let daemon = daemon_with(&platform, &in_force);
        daemon.logged("caught up").await;
        platform.holds(&stt_model_is("nova-2", "b")).await;
        platform.drained().await;
        let again = EXAMPLE.replace("test-voice-123", "again");
        match written_by {
            "a reload" => {
                std::fs::copy(&two, &in_force).unwrap();
                daemon.signal("HUP");
                daemon.logged("the mapping has changed").await;
                platform.save("a", &again).await;
                platform.holds(&stt_model_is("nova-3", "a")).await;
                daemon.terminate().await;
                std::fs::copy(&one, &in_force).unwrap();
            }
            "another daemon" => {
                daemon.terminate().await;
                let other = daemon_with(&platform, &two);
                other.logged("the mapping has changed").await;
                platform.save("a", &again).await;
                platform.holds(&stt_model_is("nova-3", "a")).await;
                other.terminate().await;
            }
            _ => {
                daemon.terminate().await;
                let mut command = platform.command(&["reconcile", "a", "--yes"]);
                command.env("AGENT_SYNC__RULES__FILE", &two);
                assert_eq!(crate::support::Said::of(command).await.code, 0);
            }
        }
        for _ in 0..2 {
            let daemon = daemon_with(&platform, &in_force);
            let line = daemon.logged("the mapping has changed").await;
            assert_eq!(
                (&line["differ"], &line["level"]),
                (&1.into(), &"WARN".into()),
                "{written_by}: {line}"
            );
            daemon.terminate().await;
        }
    }
}

/// Agents that new rules reject are reported until their problems are noted.
#[tokio::test]
async fn g7_agents_that_new_rules_reject_are_told_until_noted() {
    let folder = tempfile::tempdir().unwrap();
    let strict = folder.path().join("strict.toml");
    let rules = include_str!("../../config/providers.toml");
    std::fs::write(&strict, rules.replacen("max = 1 }", "max = 0.3 }", 1)).unwrap();
    assert_ne!(std::fs::read_to_string(&strict).unwrap(), rules);
    let platform = without_image().await;
    platform
        .save(
            "a",
            r#"{"provider":"elevenlabs","voice_id":"v","stability":0.5,"similarity_boost":0.5}"#,
        )
        .await;
    platform.caught_up_daemon().await.terminate().await;
    for _ in 0..2 {
        let daemon = daemon_with(&platform, &strict);
        let line = daemon.logged("the mapping has changed").await;
        assert_eq!(
            (&line["differ"], &line["level"]),
            (&1.into(), &"WARN".into()),
            "{line}"
        );
        daemon.terminate().await;
    }
    let mut command = platform.command(&["reconcile", "--all", "--yes"]);
    command.env("AGENT_SYNC__RULES__FILE", &strict);
    crate::support::Said::of(command).await;
    assert_eq!(platform.problem("a").await.unwrap().0, "rejected");
    let daemon = daemon_with(&platform, &strict);
    daemon
        .logged("the mapping has changed; no configuration differs")
        .await;
}

/// GIVEN agents whose name has an enum type, directly, under a domain, in an array or in a
/// composite type, WHEN a value of the enum is renamed, THEN their configurations have the new name
/// within one sweep, although no trigger has fired.
#[tokio::test]
async fn g14_a_renamed_enum_value_changes_every_agent() {
    for (column, value, name) in [
        ("mood", "'calm'", "brave"),
        ("moody", "'calm'", "brave"),
        ("mood[]", "'{calm}'", "{brave}"),
        ("moods", "'(calm)'", "(brave)"),
        ("moodrange", "'[calm,calm]'", "[brave,brave]"),
        (
            "moodrange[]",
            "ARRAY[moodrange('calm', 'calm', '[]')]",
            "{\"[brave,brave]\"}",
        ),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "CREATE TYPE mood AS ENUM ('calm', 'sad'); CREATE DOMAIN moody AS mood; CREATE
                      TYPE moods AS (one mood);
                 CREATE TYPE moodrange AS RANGE (subtype = mood);
                 ALTER TABLE agents DROP COLUMN name; ALTER TABLE agents ADD COLUMN name {column}"
            ))
            .await;
        platform.install();
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name) VALUES ('a', {value})"
            ))
            .await;
        platform.configure("a").await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform
            .holds("SELECT agent_name IS NOT NULL FROM agent_configurations")
            .await;
        platform
            .run("ALTER TYPE mood RENAME VALUE 'calm' TO 'brave'")
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = '{name}' FROM agent_configurations"
            ))
            .await;
    }
}

/// The standby reports a leading session that does nothing.
#[tokio::test]
async fn g14_an_idle_leader_is_told_by_the_standby() {
    let platform = without_image().await;
    let stranger = platform.connect().await;
    stranger
        .batch_execute("SELECT pg_advisory_lock(1634169721, 1)")
        .await
        .unwrap();
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '2 minutes'")
        .await;
    let daemon = platform.daemon();
    let line = daemon
        .logged("another session leads here, and changes are not applied")
        .await;
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("pg_terminate_backend"),
        "{line}"
    );
    drop(stranger);
    platform.drained().await;
    platform
        .holds("SELECT bool_and(agent_name = 'Agent ' || agent_slug) FROM agent_configurations")
        .await;
}

/// A role that cannot be a daemon and holds the leader lock is named by every command and by the
/// daemon.
#[tokio::test]
async fn s7_a_strange_holder_of_the_leader_lock_is_named() {
    for lock in ["pg_advisory_lock", "pg_advisory_lock_shared"] {
        is_named_while_it_holds_the_leader_lock(lock).await;
    }
}

async fn is_named_while_it_holds_the_leader_lock(lock: &str) {
    let platform = without_image().await;
    let role = format!("mallory_{}", platform.name());
    platform.run(&format!("CREATE ROLE {role} LOGIN")).await;
    let (mallory, _) = crate::support::platform::connect(&platform.url_as(&role)).await;
    mallory
        .batch_execute(&format!("SELECT {lock}(1634169721, 1)"))
        .await
        .unwrap();
    let daemon = Daemon::start(http::command(&platform));
    let address = http::address(&daemon).await;
    let line = daemon
        .logged("another session leads here, and changes are not applied")
        .await;
    assert!(
        line["leader"]
            .as_str()
            .unwrap()
            .contains(&format!("of the role {role} holds the leader lock")),
        "{line}"
    );
    let (code, body) = http::get(address, "/readyz").await;
    assert_eq!(code, 503, "{body}");
    assert!(
        body.contains(&role) && body.contains("pg_terminate_backend"),
        "{body}"
    );
    for subcommand in ["status", "doctor"] {
        let said = platform.says(&[subcommand]).await.fits();
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.out.contains(&role), "{said:?}");
    }
    drop(mallory);
    daemon.logged("connected and leading").await;
    platform.drained().await;
    crate::support::eventually("it is ready", async || {
        http::get(address, "/readyz").await.0 == 200
    })
    .await;
}

/// A busy session of an able role that holds the leader lock, and is no daemon, is named.
#[tokio::test]
async fn s7_a_busy_holder_of_the_leader_lock_is_named() {
    let platform = without_image().await;
    let holder = platform.connect().await;
    let lock = "SELECT pg_advisory_lock(1634169721, 1)";
    holder.batch_execute(lock).await.unwrap();
    let busy = tokio::spawn(async move {
        while holder.batch_execute("SELECT pg_sleep(0.05)").await.is_ok() {}
    });
    let daemon = Daemon::start(http::command(&platform));
    let address = http::address(&daemon).await;
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '2 minutes'")
        .await;
    let line = daemon
        .logged("another session leads here, and changes are not applied")
        .await;
    let leader = line["leader"].as_str().unwrap();
    assert!(leader.contains("for its application name is"), "{line}");
    let (code, body) = http::get(address, "/readyz").await;
    assert_eq!(code, 503, "{body}");
    for subcommand in ["status", "doctor"] {
        let said = platform.says(&[subcommand]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.out.contains("pg_terminate_backend"), "{said:?}");
    }
    busy.abort();
    daemon.logged("connected and leading").await;
    platform.drained().await;
}

/// A daemon whose login takes a role by `ALTER ROLE … SET role` is a daemon to all others.
#[tokio::test]
async fn s7_a_daemon_with_a_role_that_it_sets_is_a_daemon() {
    let platform = without_image().await;
    let [role, login] = ["able", "login"].map(|what| format!("{what}_{}", platform.name()));
    let install = platform.says(&["install", "--role", &role]).await;
    assert_eq!(install.code, 0, "{install:?}");
    platform
        .run(&format!(
            "CREATE ROLE {login} LOGIN NOINHERIT IN ROLE {role}; ALTER ROLE {login} SET role = \
             '{role}'"
        ))
        .await;
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", platform.url_as(&login));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    for subcommand in ["status", "doctor"] {
        let said = platform.says(&[subcommand]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.contains("is no daemon"), "{said:?}");
    }
}

/// A leader lock of a prepared transaction has no process and survives a restart of the server.
#[tokio::test]
async fn s7_a_prepared_holder_of_the_leader_lock_is_named() {
    let (_own, platform) = Platform::on_own_server("max_prepared_transactions = 5").await;
    platform.run("CREATE ROLE mallory LOGIN").await;
    platform
        .run(
            "SET ROLE mallory; BEGIN; SELECT pg_advisory_xact_lock(1634169721, 1); PREPARE \
            TRANSACTION 'm''1'; RESET ROLE",
        )
        .await;
    let daemon = Daemon::start(http::command(&platform));
    let address = http::address(&daemon).await;
    daemon
        .logged("another session leads here, and changes are not applied")
        .await;
    let (code, body) = http::get(address, "/readyz").await;
    assert!(
        code == 503 && body.contains("the prepared transaction m'1 of the role mallory"),
        "{code} {body}"
    );
    for subcommand in ["status", "doctor"] {
        let said = platform.says(&[subcommand]).await.fits();
        let words: Vec<&str> = said.out.split_whitespace().collect();
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            words.join(" ").contains("ROLLBACK PREPARED 'm''1'"),
            "{said:?}"
        );
    }
    platform.run("ROLLBACK PREPARED 'm''1'").await;
    daemon.logged("connected and leading").await;
}

#[tokio::test]
async fn g14_a_leader_that_was_stopped_makes_its_standby_unready() {
    let platform = without_image().await;
    let leader = platform.brisk_daemon();
    leader.logged("caught up").await;
    platform.drained().await;
    let mut command = http::command(&platform);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let standby = Daemon::start(command);
    let address = http::address(&standby).await;
    standby.logged("another daemon leads here").await;
    // Stops the server process of its session; the kernel still acknowledges for it.
    let pid: i32 = platform
        .value(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE \
            l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1 AND l.granted AND \
            d.datname = current_database()",
        )
        .await;
    leader.signal("STOP");
    let kill = |signal: &str| {
        std::process::Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .unwrap()
    };
    assert!(kill("-STOP").success());
    platform.save("a", EXAMPLE).await;
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '2 minutes'")
        .await;
    standby
        .logged("another session leads here, and changes are not applied")
        .await;
    let (code, body) = http::get(address, "/readyz").await;
    assert!(
        code == 503 && body.contains("applies no changes"),
        "{code} {body}"
    );
    assert!(kill("-CONT").success());
    leader.signal("KILL");
    standby.logged("connected and leading").await;
    platform.drained().await;
}

/// GIVEN two daemons of one database with different rules or columns, WHEN one is the standby, THEN
/// it reports the difference, and `doctor` with its settings reports configurations in sync under
/// another mapping.
#[tokio::test]
async fn g14_a_standby_with_another_mapping_says_so() {
    for (name, value) in [
        ("AGENT_SYNC__RULES__FILE", None),
        (
            "AGENT_SYNC__DATABASES__DEFAULT__CONFIGURATIONS__COLUMNS__AGENT_NAME",
            Some("title"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let [_, two] = two_rules(folder.path());
        let value = value.map_or(two.clone().into_os_string(), Into::into);
        let platform = without_image().await;
        platform
            .run("ALTER TABLE agent_configurations ADD COLUMN title text")
            .await;
        let leader = platform.caught_up_daemon().await;
        platform.drained().await;
        let mut command = platform.command(&["run"]);
        command.env(name, &value);
        let standby = Daemon::start(command);
        standby
            .logged("the daemon that leads here works with other rules or columns than this one")
            .await;
        let mut command = platform.command(&["doctor"]);
        command.env(name, &value);
        let said = crate::support::Said::of(command).await.fits();
        assert!(said.out.contains("warn  mapping"), "{}", said.out);
        assert!(
            platform
                .says(&["doctor"])
                .await
                .out
                .contains("pass  mapping"),
            "the settings of the leader"
        );
        drop(leader);
        standby.logged("the mapping has changed").await;
        assert!(
            platform
                .says(&["doctor"])
                .await
                .out
                .contains("warn  mapping"),
            "others have been in force since"
        );
    }
}

/// GIVEN an object on the outbox that can block or delay saves, THEN it is a fault with the
/// statement that repairs it.
#[tokio::test]
async fn g3_what_others_make_on_the_outbox_is_a_fault_of_the_capture() {
    for (made, what) in [
        (
            "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS
                  'BEGIN RETURN NULL; END';
             CREATE TRIGGER theirs BEFORE INSERT ON agent_sync.problem
               FOR EACH ROW EXECUTE FUNCTION public.nothing()",
            "has the trigger theirs",
        ),
        (
            "CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS
                  'BEGIN RETURN NEW; END';
             CREATE TRIGGER theirs BEFORE UPDATE ON agent_sync.install
               FOR EACH ROW EXECUTE FUNCTION public.nothing()",
            "has the trigger theirs",
        ),
        (
            "ALTER TABLE agent_sync.outbox ADD PRIMARY KEY (slug, at)",
            "has the unique index agent_sync.outbox_pkey",
        ),
        (
            "ALTER SEQUENCE agent_sync.uncaptured CACHE 50",
            "is a sequence with other parameters",
        ),
        (
            "ALTER SEQUENCE agent_sync.uncaptured MAXVALUE 1 \
            CYCLE",
            "is a sequence with other \
            parameters",
        ),
        (
            "ALTER TABLE agent_sync.outbox ADD COLUMN company integer NOT \
            NULL",
            "has the column \
            company as integer NOT NULL",
        ),
        (
            "ALTER TABLE agent_sync.outbox ALTER COLUMN at DROP \
            DEFAULT",
            "has the column at as \
            timestamp with time zone NOT NULL",
        ),
        (
            "ALTER TABLE agent_sync.problem ADD COLUMN company integer NOT \
            NULL",
            "has the column \
            company as integer NOT NULL",
        ),
        (
            "ALTER TABLE agent_sync.problem ALTER COLUMN sqlstate TYPE \
            varchar(3)",
            "has the column \
            sqlstate as character varying(3)",
        ),
        (
            "ALTER TABLE agent_sync.problem ADD CONSTRAINT few CHECK (attempts < \
            3)",
            "has the \
            constraint few",
        ),
        (
            "CREATE UNIQUE INDEX one ON agent_sync.outbox (slug, \
            at)",
            "has the unique index \
            agent_sync.one",
        ),
        (
            "ALTER TABLE agent_sync.outbox ADD EXCLUDE USING hash (slug WITH =)",
            "has the unique index agent_sync.outbox_slug_excl",
        ),
        (
            "ALTER TABLE agent_sync.outbox ADD CONSTRAINT short CHECK (length(slug) < 99)",
            "has the constraint short",
        ),
        (
            "ALTER TABLE agent_sync.outbox ADD CONSTRAINT known FOREIGN KEY (slug) REFERENCES \
            agents (slug)",
            "has the constraint known",
        ),
    ] {
        let platform = without_image().await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform.drained().await;
        platform.run(made).await;
        let line = daemon.logged("capture broken").await;
        assert!(line["fault"].as_str().unwrap().contains(what), "{line}");
        assert_eq!(platform.says(&["doctor"]).await.code, 2);
        platform.run(line["remedy"].as_str().unwrap()).await;
        daemon.logged("the capture works again").await;
        assert_eq!(platform.says(&["doctor"]).await.code, 0, "{made}");
    }
}

/// A partitioned table with another owner is a fault until the next install.
#[tokio::test]
async fn g14_a_partitioned_table_with_another_owner_is_a_fault() {
    let platform = Platform::new().await;
    let role = format!("owner_{}", platform.name());
    platform
        .run(&format!(
            "DROP TABLE agents; CREATE TABLE agents (slug text, name text, system_prompt text,
                  agent_image text, voice_settings jsonb)
             PARTITION BY LIST (slug); CREATE ROLE {role}; GRANT ALL ON SCHEMA public TO {role}"
        ))
        .await;
    platform.install();
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .run(&format!("ALTER TABLE agents OWNER TO {role}"))
        .await;
    let line = daemon.logged("capture broken").await;
    assert!(
        line["fault"]
            .as_str()
            .unwrap()
            .contains("not allowed to the owner of the table"),
        "{line}"
    );
    platform.install();
    daemon.logged("the capture works again").await;
    platform
        .run(&format!(
            "SET ROLE {role}; CREATE TABLE agents_a PARTITION OF agents FOR VALUES IN ('a'); RESET \
            ROLE"
        ))
        .await;
}

/// A platform whose database and tables belong to an ordinary role, and that role.
async fn owned() -> (Platform, String) {
    let platform = Platform::new().await;
    let role = format!("owner_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {role} LOGIN; ALTER DATABASE {} OWNER TO {role}; ALTER SCHEMA public
                  OWNER TO {role};
             ALTER TABLE agents OWNER TO {role}; ALTER TABLE agent_configurations OWNER TO {role}",
            platform.name()
        ))
        .await;
    (platform, role)
}

/// GIVEN a server on which PUBLIC may not call a function that the capture calls, THEN the install
/// refuses, and for an earlier install it is a fault with the statement that repairs it, because
/// saves fail.
#[tokio::test]
async fn c4_a_function_that_the_capture_may_not_call_is_named() {
    for function in [
        "pg_catalog.current_setting(text, boolean)",
        "pg_catalog.pg_current_xact_id()",
        "pg_catalog.pg_try_advisory_xact_lock_shared(integer, integer)",
    ] {
        let (platform, role) = owned().await;
        let install = || platform.says_as(&role, &["install"]);
        platform
            .run(&format!(
                "REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"
            ))
            .await;
        let said = install().await;
        assert_eq!(said.code, 1, "{said:?}");
        // The install itself calls `current_setting`.
        if !function.contains("current_setting") {
            assert!(
                said.err
                    .contains("saves of agents would fail, or could not be noted"),
                "{said:?}"
            );
            assert!(said.err.contains("GRANT EXECUTE ON FUNCTION"), "{said:?}");
        }
        platform
            .run(&format!("GRANT EXECUTE ON FUNCTION {function} TO PUBLIC"))
            .await;
        assert_eq!(install().await.code, 0);
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform
            .run(&format!(
                "REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC"
            ))
            .await;
        let line = daemon.logged("capture broken").await;
        assert!(
            line["fault"]
                .as_str()
                .unwrap()
                .contains("not allowed to call"),
            "{line}"
        );
        platform.run(line["remedy"].as_str().unwrap()).await;
        daemon.logged("the capture works again").await;
    }
}

/// GIVEN a server on which PUBLIC may not call a function that the capture never calls, or only
/// after a failure, THEN the install succeeds and saves are synced. `doctor` warns of the latter.
#[tokio::test]
async fn c4_a_function_that_no_save_needs_is_not_required() {
    let (platform, role) = owned().await;
    platform
        .run(
            "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_create(oid),
                 pg_catalog.extract(text, interval) FROM PUBLIC",
        )
        .await;
    let said = platform.says_as(&role, &["install"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = platform.says_as(&role, &["install"]).await;
    assert!(said.out.contains("nothing to change"), "{said:?}");
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform.drained().await;
    let said = platform.says(&["doctor", "--json"]).await;
    let remedy = format!("GRANT EXECUTE ON FUNCTION lo_create(oid) TO {role};");
    assert!(
        said.out.contains("may leave no trace") && said.out.contains(&remedy),
        "{said:?}"
    );
    assert!(!said.out.contains("extract"), "{said:?}");
    platform.run(&remedy).await;
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(!said.out.contains("may leave no trace"), "{said:?}");
    assert!(daemon.lines("capture broken").is_empty());
}

/// The lists of the functions that the capture calls are complete, and those of the install and of
/// the program are the same.
#[tokio::test]
async fn c4_the_lists_of_called_functions_are_complete() {
    let platform = Platform::installed().await;
    let attach = include_str!("../../sql/attach.sql");
    let mut names = Vec::new();
    for signature in queries::CALLED
        .iter()
        .chain(queries::CALLED_AFTER_A_FAILURE)
    {
        let known = format!("SELECT to_regprocedure('{signature}') IS NOT NULL");
        assert!(platform.value::<bool>(&known).await, "{signature}");
        assert!(attach.contains(&format!("'{signature}'")), "{signature}");
        let (name, _) = signature.split_once('(').unwrap();
        names.push(name.trim_start_matches("pg_catalog.").to_owned());
    }
    names.sort();
    names.dedup();
    let called: String = platform
        .value(
            "SELECT string_agg(DISTINCT called.name[1], ' ' ORDER BY called.name[1])
             FROM pg_proc f CROSS JOIN LATERAL
                 regexp_matches(f.prosrc, 'pg_catalog[.]([a-z_]+)[(]', 'g') AS called (name)
             WHERE f.oid = 'agent_sync.capture_agent()'::regprocedure",
        )
        .await;
    assert_eq!(called, names.join(" "));
}

/// GIVEN a dropped outbox, a dropped counter, and a missing privilege on a function that the
/// capture calls only then, WHEN an agent is saved, THEN the save succeeds.
#[tokio::test]
async fn c4_what_fails_in_the_capture_after_a_failure_fails_no_save() {
    let (platform, role) = owned().await;
    assert_eq!(platform.says_as(&role, &["install"]).await.code, 0);
    platform
        .run(
            "DROP TABLE agent_sync.outbox CASCADE; DROP SEQUENCE agent_sync.uncaptured;
             REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notification_queue_usage() FROM PUBLIC",
        )
        .await;
    let (owner, _) = crate::support::platform::connect(&platform.url_as(&role)).await;
    owner
        .batch_execute("INSERT INTO agents (slug) VALUES ('a'); UPDATE agents SET name = 'saved'")
        .await
        .unwrap();
    assert_eq!(
        platform.value::<String>("SELECT name FROM agents").await,
        "saved"
    );
}

/// GIVEN a transaction that has locked every object of agent-sync and is rolled back, so no catalog
/// row records it, WHEN an agent is saved meanwhile without a listening daemon, THEN the next
/// daemon checks every agent, and an uninstall removes every trace.
#[tokio::test]
async fn g1_a_save_neither_noted_nor_counted_leaves_a_trace() {
    for by_reassigning in [false, true] {
        let platform = without_image().await;
        let [owner, heir] = ["owner", "heir"].map(|what| format!("{what}_{}", platform.name()));
        platform
            .run(&format!(
                "CREATE ROLE {owner} IN ROLE postgres; CREATE ROLE {heir} IN ROLE postgres"
            ))
            .await;
        let lock = if by_reassigning {
            platform
                .run(&format!(
                    "ALTER TABLE agent_sync.outbox OWNER TO {owner}; ALTER SEQUENCE \
                    agent_sync.uncaptured OWNER TO {owner}"
                ))
                .await;
            format!("REASSIGN OWNED BY {owner} TO {heir}")
        } else {
            format!(
                "ALTER TABLE agent_sync.outbox OWNER TO {heir}; ALTER SEQUENCE \
                agent_sync.uncaptured OWNER TO {heir}"
            )
        };
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform.drained().await;
        daemon.terminate().await;
        let other = platform.connect().await;
        other
            .batch_execute(&format!("BEGIN; {lock}"))
            .await
            .unwrap();
        platform
            .run("UPDATE agents SET name = 'not noted' WHERE slug = 'a'")
            .await;
        other.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(
            platform.outbox().await,
            Vec::<String>::new(),
            "it could not be noted"
        );
        let _daemon = platform.brisk_daemon();
        platform
            .holds(
                "SELECT agent_name = 'not noted' FROM agent_configurations WHERE agent_slug = 'a'",
            )
            .await;
        assert_eq!(
            platform
                .value::<i64>("SELECT count(*) FROM pg_largeobject_metadata")
                .await,
            1
        );
        // The install does not trust objects of a role without rights on the tables (S5).
        platform
            .run(
                "ALTER TABLE agent_sync.outbox OWNER TO CURRENT_USER; ALTER SEQUENCE \
                agent_sync.uncaptured OWNER TO CURRENT_USER",
            )
            .await;
        // Large objects of other programs stay.
        platform
            .run("SELECT lo_create(0); SELECT lo_create(1634173929)")
            .await;
        assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
        assert_eq!(
            platform
                .value::<i64>("SELECT count(*) FROM pg_largeobject_metadata")
                .await,
            2
        );
    }
}

/// GIVEN a role without privileges that makes large objects with the comment of the capture, THEN
/// the catalog of functions is not read once for each of them, though the statistics know none.
#[tokio::test]
async fn s8_marked_large_objects_of_others_cost_one_scan() {
    const MADE: usize = 400;
    let platform = Platform::installed().await;
    let stranger = format!("stranger_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {stranger}; SET ROLE {stranger};
             SELECT lo_create(0) FROM generate_series(1, 50000);
             RESET ROLE; ANALYZE;
             SET ROLE {stranger};
             DO $$ DECLARE made oid; BEGIN
                 FOR made IN SELECT oid FROM pg_largeobject_metadata LIMIT {MADE} LOOP
                     EXECUTE format('COMMENT ON LARGE OBJECT %s IS %L', made, '{}');
                 END LOOP;
             END $$;
             RESET ROLE",
            queries::LOST_SAVE
        ))
        .await;
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(!said.out.contains("large objects"), "{said:?}");
    let query = queries::layout_version()
        .replace("$1", "'\"public\".\"agents\"'")
        .replace("$2", "'\"public\".\"agent_configurations\"'");
    let explain =
        format!("SET enable_hashjoin = off; SET enable_mergejoin = off; EXPLAIN ANALYZE {query}");
    let answer = platform
        .connect()
        .await
        .simple_query(&explain)
        .await
        .unwrap();
    let lines = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan = lines.collect::<Vec<_>>().join("\n");
    assert!(plan.contains(" on pg_largeobject_metadata"), "{plan}");
    let repeated = plan.lines().filter(|line| {
        let loops = line.split_once("loops=").map(|(_, loops)| loops);
        let loops = loops.and_then(|loops| loops.trim_end_matches(')').parse::<usize>().ok());
        line.contains(" on pg_proc") && loops >= Some(MADE)
    });
    assert_eq!(repeated.collect::<Vec<_>>(), Vec::<&str>::new(), "{plan}");
}

/// GIVEN a role that repeatedly requests more slugs than are kept, THEN every agent is checked
/// once, and unknown slugs cause no work.
#[tokio::test]
async fn s8_requests_by_notify_are_bounded_in_what_they_cost() {
    let platform = without_image().await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let rounds = 3;
    for round in 0..rounds {
        // All of the flood arrives at once: while the daemon waits for this lock, it takes in
        // nothing.
        let holder = platform.connect().await;
        holder
            .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN EXCLUSIVE MODE")
            .await
            .unwrap();
        platform.run("NOTIFY agent_sync, 'a'").await;
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted
                     AND relation = 'agent_sync.outbox'::regclass)",
            )
            .await;
        platform
            .run(&format!(
                "SELECT pg_notify('agent_sync', 'nobody-' || {round} || '-' || i) FROM \
                generate_series(1, 1100) i"
            ))
            .await;
        holder.batch_execute("COMMIT").await.unwrap();
        // A request for an agent is still served.
        platform
            .run(&format!(
                "UPDATE agent_configurations SET agent_name = 'edited {round}' WHERE agent_slug = \
                'a'"
            ))
            .await;
        crate::support::eventually(
            "it is served, once the flood has been taken in",
            async || {
                platform.run("NOTIFY agent_sync, 'a'").await;
                platform
                .value("SELECT agent_name = 'Agent a' FROM agent_configurations WHERE agent_slug = \
                    'a'")
                .await
            },
        )
        .await;
        platform.drained().await;
    }
    let told = |which: &str| {
        let message = format!("more slugs were requested at once {which}");
        daemon.lines(&message).len()
    };
    assert_eq!([told("than the daemon keeps"), told("again")], [1, 1]);
    let gone: u64 = daemon
        .lines("batch committed")
        .iter()
        .map(|line| line["gone"].as_u64().unwrap())
        .sum();
    assert_eq!(gone, 0, "no slug that nobody has was put into the outbox");
}

/// GIVEN agents with a problem of each kind, WHEN a role repeatedly requests them, THEN only
/// changes are noted and logged.
#[tokio::test]
async fn s8_a_request_about_an_unchanged_problem_logs_nothing() {
    let platform = Platform::installed().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD CONSTRAINT no_bad CHECK (agent_name <> 'bad');
             INSERT INTO agents (slug, name, voice_settings) VALUES ('failed', 'bad', '{}'),
               ('rejected', 'n', '[]'), ('missing', 'n', '{}'), ('well', 'n', '{}'),
               ('edited', 'n', '{}');
             INSERT INTO agent_configurations (agent_slug) VALUES ('failed'), ('rejected'),
               ('well'), ('edited');
             UPDATE agent_configurations SET provider_config = '[]' WHERE agent_slug = 'edited'",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 4 FROM agent_sync.problem")
        .await;
    platform.drained().await;
    // No retry is due.
    platform
        .run(
            "UPDATE agent_sync.problem SET attempts = 1, next_attempt = now() + interval '4 minutes'
             WHERE next_attempt IS NOT NULL",
        )
        .await;
    let query = "SELECT string_agg(concat_ws(' ', slug, ctid, xmin, attempts, last_seen), \
        ', ' ORDER BY slug) FROM agent_sync.problem";
    let logged = || {
        [
            "agent rejected",
            "no configuration has",
            "agent could not be brought in sync",
        ]
        .map(|message| daemon.lines(message).len())
    };
    let (noted, told) = (platform.value::<String>(query).await, logged());
    let ask = async || {
        platform
            .run(
                "BEGIN; UPDATE agent_configurations SET agent_name = 'edited by hand'
                   WHERE agent_slug = 'well';
                 SELECT pg_notify('agent_sync', slug) FROM agents; COMMIT",
            )
            .await;
        platform
            .holds("SELECT agent_name = 'n' FROM agent_configurations WHERE agent_slug = 'well'")
            .await;
        platform.drained().await;
    };
    for _ in 0..10 {
        ask().await;
    }
    assert_eq!(platform.value::<String>(query).await, noted);
    assert_eq!(logged(), told);
    // A request finds a change.
    platform
        .run(
            "ALTER TABLE agent_configurations RENAME CONSTRAINT no_bad TO no_worse;
             UPDATE agent_configurations SET provider_config = '{}' WHERE agent_slug = 'edited'",
        )
        .await;
    ask().await;
    platform
        .holds(
            "SELECT count(*) = 3 AND bool_or(slug = 'failed' AND attempts = 2
               AND detail LIKE '%no_worse%') FROM agent_sync.problem",
        )
        .await;
    daemon
        .logged_times("agent could not be brought in sync", told[2] + 1)
        .await;
    platform.drained().await;
    // The failed write is not retried meanwhile.
    platform
        .run(
            "UPDATE agent_sync.problem SET next_attempt = now() + interval '4 minutes'
             WHERE next_attempt IS NOT NULL",
        )
        .await;
    let (noted, told) = (platform.value::<String>(query).await, logged());
    // More slugs than are kept, so every agent is checked.
    platform
        .run(
            "UPDATE agent_configurations SET agent_name = 'edited by hand'
               WHERE agent_slug = 'well'",
        )
        .await;
    // One statement, because an endless flood would delay the answers of the server.
    platform
        .run("SELECT pg_notify('agent_sync', 'nobody-' || i) FROM generate_series(1, 20000) i")
        .await;
    daemon.logged("more slugs were requested").await;
    platform
        .holds("SELECT agent_name = 'n' FROM agent_configurations WHERE agent_slug = 'well'")
        .await;
    platform.drained().await;
    assert_eq!(platform.value::<String>(query).await, noted);
    assert_eq!(logged(), told);
}

/// GIVEN a function that the capture calls, WHEN its privilege is revoked, an agent is saved, and
/// the privilege is granted again before the next sweep, THEN that sweep has every agent checked.
#[tokio::test]
async fn g14_a_privilege_that_was_revoked_for_a_moment_is_noticed() {
    for function in [
        "pg_current_xact_id()",
        "set_config(text, text, boolean)",
        "pg_try_advisory_xact_lock_shared(integer, integer)",
    ] {
        let platform = Platform::installed().await;
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        let role = format!("owner_{}", platform.name());
        platform
            .run(&format!(
                "CREATE ROLE {role};
                 GRANT USAGE, CREATE ON SCHEMA public, agent_sync TO {role};
                 ALTER TABLE agents OWNER TO {role};
                 ALTER TABLE agent_configurations OWNER TO {role}"
            ))
            .await;
        platform.install();
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform
            .run(&format!(
                "REVOKE EXECUTE ON FUNCTION pg_catalog.{function} FROM PUBLIC;
                 UPDATE agents SET name = 'unnoticed';
                 GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO PUBLIC"
            ))
            .await;
        platform
            .holds("SELECT agent_name = 'unnoticed' FROM agent_configurations")
            .await;
        drop(daemon);
    }
}

/// GIVEN agents that are a partition of another table, WHEN a BEFORE trigger of that table changes
/// a mapped column, THEN the change is captured.
#[tokio::test]
async fn c1_an_inherited_before_trigger_is_seen() {
    let platform = Platform::new().await;
    platform
        .run(
            "CREATE TABLE whole (LIKE agents) PARTITION BY LIST (slug);
             ALTER TABLE whole ATTACH PARTITION agents DEFAULT;
             CREATE FUNCTION public.renamed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 NEW.name := NEW.description; RETURN NEW; END $$;
             CREATE TRIGGER renamed BEFORE UPDATE ON whole FOR EACH ROW
               EXECUTE FUNCTION public.renamed()",
        )
        .await;
    platform.install();
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    for name in ["first", "second"] {
        platform
            .run(&format!("UPDATE agents SET description = '{name}'"))
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = '{name}' FROM agent_configurations"
            ))
            .await;
    }
}

/// The seal is restored as data. One of another server is no seal, although all parts have the same
/// OIDs and versions, as they have in each new server that the same dump is restored to.
#[tokio::test]
async fn g7_the_seal_of_another_server_is_no_seal() {
    for is_restored in [false, true] {
        let platform = Platform::installed().await;
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        platform
            .holds("SELECT seal LIKE 'md5 %' AND uncaptured_seen >= 0 FROM agent_sync.install")
            .await;
        assert!(daemon.terminate().await.success());
        platform
            .run("UPDATE agent_configurations SET agent_name = 'by hand'")
            .await;
        if is_restored {
            let seen: i64 = platform
                .value("SELECT uncaptured_seen FROM agent_sync.install")
                .await;
            let (layout, server) = (platform.layout().await, "7000000000000000000");
            let [agents, configurations] = layout.tables();
            let had_seal: Option<bool> = platform
                .new_db()
                .await
                .opt_value(
                    &queries::seal(),
                    &[agents, configurations, (&server, Type::TEXT)],
                )
                .await
                .unwrap();
            assert_eq!(had_seal, Some(true));
            let seen = format!("UPDATE agent_sync.install SET uncaptured_seen = {seen}");
            platform.run(&seen).await;
        }
        let daemon = platform.caught_up_daemon().await;
        platform.save("b", EXAMPLE).await;
        platform.configure("b").await;
        platform.drained().await;
        if is_restored {
            daemon
                .logged("the tables, their triggers or policies were changed")
                .await;
            platform.becomes("a", EXPECTED).await;
            platform
                .holds("SELECT count(*) = 0 FROM agent_configurations WHERE agent_name = 'by hand'")
                .await;
        } else {
            assert_eq!(
                daemon
                    .lines("the tables, their triggers or policies were changed")
                    .len(),
                0
            );
        }
    }
}

/// GIVEN an outage that is not caught up with, WHEN the tables change, THEN the daemon connects
/// again at once, and no other cause than the one that it finds then is shown during a pause.
#[tokio::test]
async fn g10_a_change_within_an_outage_is_read_at_once() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    // A check of every agent is due, and its end cannot be noted.
    let locks = platform.connect().await;
    let lock = "BEGIN; SELECT FROM agent_sync.install FOR UPDATE";
    locks.batch_execute(lock).await.unwrap();
    platform
        .run("SELECT nextval('agent_sync.uncaptured')")
        .await;
    let session = "FROM pg_stat_activity s JOIN pg_locks l ON l.pid = s.pid
        WHERE s.datname = current_database() AND l.locktype = 'advisory' AND l.objid = 1
          AND s.application_name LIKE 'agent-sync/%' AND l.granted";
    let former: i32 = platform.value(&format!("SELECT s.pid {session}")).await;
    platform
        .run(&format!("SELECT pg_terminate_backend({former})"))
        .await;
    daemon.outage().await;
    platform
        .holds(&format!(
            "SELECT EXISTS (SELECT {session} AND s.pid <> {former})"
        ))
        .await;
    let seen = daemon.log().len();
    let change = "ALTER TABLE agents RENAME COLUMN voice_settings TO settings; COMMIT";
    locks.batch_execute(change).await.unwrap();
    daemon.outage_times(2).await;
    let log = daemon.log_after(seen);
    let causes: Vec<_> = log
        .iter()
        .filter_map(|line| line["cause"].as_str())
        .collect();
    let found = causes.last().unwrap();
    assert!(found.contains("voice_settings"), "{log:?}");
    assert!(causes.iter().all(|cause| cause == found), "{causes:?}");
}
