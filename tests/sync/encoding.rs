//! Databases with other encodings than UTF-8. A `SQL_ASCII` database accepts any bytes: an agent
//! with invalid text is rejected, and the others are synced (G5). A `LATIN1` database cannot store
//! every character: noted texts contain only characters that it can store.

use crate::support::Platform;
use crate::support::platform::{TABLES, connect};

/// A platform in a `SQL_ASCII` database.
async fn ascii(name: &str) -> Platform {
    encoded(name, "SQL_ASCII").await
}

/// A platform in a database of this encoding.
async fn encoded(name: &str, encoding: &str) -> Platform {
    let cluster = crate::support::cluster();
    let (admin, _) = connect(&cluster.url("postgres")).await;
    let name = format!("{name}_{}", std::process::id());
    admin
        .batch_execute(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' \
            LC_CTYPE 'C'"
        ))
        .await
        .unwrap();
    let mut platform = Platform::new().await;
    platform.url = cluster.url(&name);
    platform.client = platform.connect().await.into();
    platform.run(TABLES).await;
    platform.install();
    platform
}

#[tokio::test]
async fn g5_text_that_is_no_utf8_rejects_its_agent_and_no_other() {
    let platform = ascii("encoding").await;
    platform
        .run(
            r"INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n' FROM generate_series(1, 40) i;
              UPDATE agents SET name = E'caf\xe9' WHERE slug = 'agent-3';
              UPDATE agents SET system_prompt = E'\xff' WHERE slug = 'agent-4';
              UPDATE agents SET slug = E'caf\xe9' WHERE slug = 'agent-5';
              UPDATE agents SET slug = E'caf\xe8' WHERE slug = 'agent-6';
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
              UPDATE agent_configurations SET voice_id = E'\xff' WHERE agent_slug = 'agent-7'",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 35 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform
        .holds("SELECT count(*) = 5 FROM agent_sync.problem WHERE kind = 'rejected'")
        .await;
    let rejected = daemon.lines("agent rejected");
    assert!(
        rejected.iter().any(|line| line["slug"] == "(not shown)"),
        "{rejected:?}"
    );
    let (_, detail) = platform.problem("agent-3").await.unwrap();
    assert_eq!(detail, "name: expected text in UTF-8, found other bytes");
    platform
        .save("agent-8", r#"{"provider":"openai","voice_id":"late"}"#)
        .await;
    platform
        .holds(
            "SELECT voice_id = 'late' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-8'",
        )
        .await;
    assert_eq!(daemon.lines("database unavailable").len(), 0);
    for subcommand in [
        &["check"][..],
        &["status"],
        &["doctor"],
        &["why", "agent-3"],
        &["reconcile", "--all", "--dry-run"],
    ] {
        let said = platform.says(subcommand).await;
        assert!(
            said.code <= 2 && !said.err.contains("UTF-8"),
            "{subcommand:?}: {said:?}"
        );
    }
    platform.run(r"UPDATE agents SET slug = 'agent-5' WHERE slug = E'caf\xe9'; UPDATE agent_configurations SET agent_slug = 'agent-5' WHERE agent_slug = E'caf\xe9'").await;
    platform
        .holds(
            "SELECT agent_name = 'n' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-5'",
        )
        .await;
    platform
        .run("UPDATE agents SET name = 'mended' WHERE slug = 'agent-3'")
        .await;
    platform
        .holds(
            "SELECT agent_name = 'mended' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-3'",
        )
        .await;
}

#[tokio::test]
async fn s22_an_agent_is_rejected_in_latin1_whatever_its_reason_holds() {
    let platform = encoded("latin1", "LATIN1").await;
    // The triggers depend on the type of the column.
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
    platform
        .run(
            r#"ALTER TABLE agents ALTER voice_settings TYPE text;
               INSERT INTO agents (slug, voice_settings) VALUES
                 ('long', '{"temperature": 34.56789012345678901234567890123456789012345678901234567890}'),
                 ('key', E'{"provider": "openai", "gr\\u00f6\\u20ac": "\\u0000"}'),
                 ('plain', '{"provider": "openai", "voice_id": "alloy"}');
               INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"#,
        )
        .await;
    platform.install();
    let daemon = platform.caught_up_daemon().await;
    for (slug, reason) in [
        (
            "long",
            "voice_settings.temperature: expected a number from 0 to 2, found the number \
            34.5678901234567890123456789012345678901...",
        ),
        (
            "key",
            r#"voice_settings."gr\u00f6\u20ac": expected a value that PostgreSQL can store, found"#,
        ),
    ] {
        let (kind, detail) = platform.problem(slug).await.unwrap();
        assert_eq!(kind, "rejected", "{slug}: {detail}");
        assert!(detail.starts_with(reason), "{detail}");
    }
    platform
        .holds(
            "SELECT voice_id = 'alloy' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'plain'",
        )
        .await;
    assert_eq!(daemon.lines("configuration could not be written").len(), 0);
    assert_eq!(daemon.lines("database unavailable").len(), 0);
}

/// A character outside of the encoding is named.
#[tokio::test]
async fn g14_a_character_outside_the_encoding_is_named() {
    let platform = encoded("latin1json", "LATIN1").await;
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
    platform
        .run("ALTER TABLE agents ALTER voice_settings TYPE json")
        .await;
    platform.install();
    platform
        .run(
            r#"INSERT INTO agents (slug, voice_settings) VALUES ('a', '{"provider":"openai","voice_id":"\u20ac"}');
               INSERT INTO agent_configurations (agent_slug) VALUES ('a')"#,
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    let line = daemon.logged("configuration could not be written").await;
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("a character that the database cannot hold"),
        "{line}"
    );
}
