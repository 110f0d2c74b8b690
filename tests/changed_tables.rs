//! Tables that change while a daemon works on them or waits (G2, G13, G14): within one sweep it works with what there is.

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// Tables without the column `agent_image` of the configurations.
async fn without_image() -> Platform {
    let platform = Platform::new().await;
    platform.run("ALTER TABLE agent_configurations DROP COLUMN agent_image").await;
    platform.install();
    for slug in ["a", "b", "ABC", "abc"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    platform
}

async fn image_arrives(platform: &Platform, image: &str) {
    platform
        .run(&format!("UPDATE agents SET agent_image = '{image}', name = '{image}' WHERE slug = 'b'"))
        .await;
    platform
        .holds(&format!("SELECT (agent_image = '{image}' AND agent_name = '{image}') IS TRUE FROM agent_configurations WHERE agent_slug = 'b'"))
        .await;
}

#[tokio::test]
async fn g2_a_standby_that_takes_over_works_with_the_tables_as_they_are() {
    for change in [
        "ALTER TABLE agent_configurations ADD COLUMN agent_image text",
        "ALTER TABLE agent_configurations ADD COLUMN image text; ALTER TABLE agent_configurations RENAME COLUMN image TO agent_image",
        "CREATE TABLE another (LIKE agent_configurations INCLUDING ALL); ALTER TABLE another ADD COLUMN agent_image text;
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
        assert_eq!(standby.lines("database unavailable").len(), 0, "{change}");
    }
}

#[tokio::test]
async fn g2_a_column_that_comes_just_after_the_connection_is_written() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("connected and leading").await;
    platform.run("ALTER TABLE agent_configurations ADD COLUMN agent_image text").await;
    daemon.logged("caught up").await;
    platform.run("UPDATE agents SET agent_image = 'first', name = 'first' WHERE slug = 'b'").await;
    platform
        .holds("SELECT (agent_image = 'first') IS TRUE FROM agent_configurations WHERE agent_slug = 'b'")
        .await;
}

#[tokio::test]
async fn g13_a_collation_that_comes_under_a_running_daemon_mixes_up_no_agents() {
    let platform = without_image().await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .run(
            "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             DROP TRIGGER agent_sync_insert ON agent_configurations; DROP TRIGGER agent_sync_update ON agent_configurations;
             ALTER TABLE agent_configurations ALTER agent_slug TYPE text COLLATE lenient",
        )
        .await;
    for name in ["one", "two", "three"] {
        platform.run(&format!("UPDATE agents SET name = '{name}' WHERE slug = 'abc'")).await;
        // It is written, or stands as a problem; the other is not touched.
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'abc')
                     OR EXISTS (SELECT FROM agent_configurations WHERE agent_slug::text COLLATE \"C\" = 'abc' AND agent_name = '{name}')"
            ))
            .await;
        platform.holds("SELECT agent_name = 'Agent ABC' FROM agent_configurations WHERE agent_slug::text COLLATE \"C\" = 'ABC'").await;
    }
    drop(daemon);
    platform.install();
    let _next = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .holds("SELECT bool_and(agent_name = name) FROM agents a JOIN agent_configurations c ON a.slug = c.agent_slug::text COLLATE \"C\"")
        .await;
}

#[tokio::test]
async fn g14_an_index_that_goes_is_noticed_and_comes_back_likewise() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    let index: String = platform
        .value("SELECT indexname::text FROM pg_indexes WHERE tablename = 'agent_configurations' AND indexdef LIKE '%(agent_slug)'")
        .await;
    platform.run(&format!("DROP INDEX {index}")).await;
    let line = daemon.logged("no index begins with agent_slug").await;
    assert!(line["remedy"].as_str().unwrap().contains("CREATE INDEX"), "{line}");
    platform.run("ALTER TABLE agents DROP CONSTRAINT agents_slug_key").await;
    daemon.logged("public.agents has no unique index on slug").await;
    platform.run("UPDATE agents SET name = 'late' WHERE slug = 'a'").await;
    platform.holds("SELECT agent_name = 'late' FROM agent_configurations WHERE agent_slug = 'a'").await;
    assert_eq!(daemon.lines("database unavailable").len(), 0);
}

#[tokio::test]
async fn g14_a_column_that_goes_is_told_while_the_daemon_runs() {
    let platform = without_image().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.run("ALTER TABLE agent_configurations RENAME COLUMN agent_name TO display_name").await;
    let line = daemon.logged("columns that do not exist any more").await;
    assert!(line["columns"].as_str().unwrap().contains("agent_name"), "{line}");
}

#[tokio::test]
async fn g14_a_capture_that_is_not_as_it_was_made_is_told_until_it_is_mended() {
    let body = |body: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                 SET search_path = pg_catalog, pg_temp AS $$ BEGIN {body} RETURN NULL; END $$"
        )
    };
    for (change, message) in [
        (body(""), "capture broken"),
        (body("INSERT INTO agent_sync.outbox (slug) VALUES (NEW.slug);"), "capture broken"),
        (
            "CREATE OR REPLACE TRIGGER agent_sync_insert AFTER INSERT ON agents FOR EACH ROW WHEN (NEW.slug = 'a')
                 EXECUTE FUNCTION agent_sync.capture_agent(); ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert"
                .to_owned(),
            "capture broken",
        ),
        ("ALTER TABLE agents RENAME COLUMN name TO title".to_owned(), "capture broken"),
        ("ALTER TABLE agents ENABLE REPLICA TRIGGER agent_sync_update".to_owned(), "capture broken"),
        ("ALTER TABLE agents ENABLE TRIGGER agent_sync_update".to_owned(), "a trigger is enabled but not ALWAYS"),
    ] {
        let platform = without_image().await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform.run(&change).await;
        daemon.logged(message).await;
        let said = platform.says(&["doctor"]).await;
        assert_eq!(said.code, 2, "{change}: {said:?}");
        platform.install();
        daemon.logged("changes are noticed again").await;
        assert_eq!(platform.says(&["doctor"]).await.code, 0, "{change}");
    }
}

#[tokio::test]
async fn g14_a_rule_in_the_way_is_named_and_its_end_is_noticed() {
    for (rule, drop) in [
        (
            "CREATE TABLE seen (slug text); CREATE RULE also AS ON UPDATE TO agent_configurations DO ALSO
                 INSERT INTO seen VALUES (NEW.agent_slug)",
            "DROP RULE also ON agent_configurations",
        ),
        (
            "CREATE RULE nothing AS ON UPDATE TO agent_configurations DO INSTEAD NOTHING",
            "DROP RULE nothing ON agent_configurations",
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
        let line = daemon.logged("database unavailable").await;
        assert!(line["cause"].as_str().unwrap().contains("has the rule"), "{line}");
        assert!(line["remedy"].as_str().unwrap().contains(drop), "{line}");
        assert_eq!(platform.says(&["doctor"]).await.code, 2);
        platform.save("a", EXAMPLE).await;
        platform.run(drop).await;
        platform.drained().await;
        platform
            .holds("SELECT provider_config ? 'tts' FROM agent_configurations WHERE agent_slug = 'a'")
            .await;
    }
}

#[tokio::test]
async fn g2_other_rules_or_columns_at_a_restart_are_told_until_nothing_differs() {
    let platform = without_image().await;
    platform.save("a", EXAMPLE).await;
    platform.caught_up_daemon().await.terminate().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let rules = include_str!("../config/providers.toml");
    std::fs::write(&file, rules.replace("\"nova-2\"", "\"nova-3\"")).unwrap();
    let with_rules = || {
        let mut command = platform.command(&["run"]);
        command.env("AGENT_SYNC__RULES__FILE", &file);
        command
    };
    for _ in 0..2 {
        let daemon = Daemon::start(with_rules());
        let line = daemon.logged("the mapping has changed").await;
        assert_eq!(line["differ"], 1, "{line}");
        daemon.terminate().await;
    }
    let daemon = Daemon::start(with_rules());
    daemon.logged("the mapping has changed").await;
    platform.run("NOTIFY agent_sync, 'a'").await;
    platform.holds("SELECT provider_config #>> '{stt,model}' = 'nova-3' FROM agent_configurations WHERE agent_slug = 'a'").await;
    let seen = "SELECT mapping FROM agent_sync.install";
    let before: String = platform.value(seen).await;
    crate::support::eventually("the new mapping is noted", async || {
        platform.value::<String>(seen).await != before
    })
    .await;
    daemon.terminate().await;
    let daemon = Daemon::start(with_rules());
    daemon.logged("caught up").await;
    platform.drained().await;
    assert_eq!(daemon.lines("the mapping has changed").len(), 0);
}

#[tokio::test]
async fn i1_slugs_in_two_collations_are_compared_by_every_verb() {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agents ALTER slug TYPE text COLLATE \"C\"; ALTER TABLE agent_configurations ALTER agent_slug TYPE text COLLATE \"POSIX\"")
        .await;
    platform.install();
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    for verb in [
        &["check"][..],
        &["check", "a"],
        &["why", "a"],
        &["reconcile", "a", "--yes"],
        &["doctor"],
        &["status"],
    ] {
        let said = platform.says(verb).await;
        assert_eq!(said.code, 0, "{verb:?}: {said:?}");
    }
}

#[tokio::test]
async fn g14_a_session_that_leads_and_does_nothing_is_told_by_the_standby() {
    let platform = without_image().await;
    let stranger = platform.connect().await;
    stranger.batch_execute("SELECT pg_advisory_lock(1634169721, 1)").await.unwrap();
    platform.run("UPDATE agent_sync.outbox SET at = now() - interval '2 minutes'").await;
    let daemon = platform.daemon();
    let line = daemon.logged("another session leads here, and changes are not applied").await;
    assert!(line["remedy"].as_str().unwrap().contains("pg_terminate_backend"), "{line}");
    drop(stranger);
    platform.drained().await;
    platform.holds("SELECT bool_and(agent_name = 'Agent ' || agent_slug) FROM agent_configurations").await;
}
