//! Databases with other encodings than UTF-8. A `SQL_ASCII` database accepts any bytes: an agent
//! with invalid text is rejected, and the others are synced (G5). So is one in `WIN1252` or
//! `EUC_JP` whose slug has a character that UTF-8 does not have, or that comes back as another. A
//! `LATIN1` database cannot store every character: noted texts contain only characters that it can
//! store.

use crate::support::{Daemon, Platform};

/// A platform in a `SQL_ASCII` database.
async fn ascii(name: &str) -> Platform {
    Platform::encoded(name, "SQL_ASCII").await
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
    assert_eq!(daemon.outages().len(), 0);
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
    let platform = Platform::encoded("latin1", "LATIN1").await;
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
    assert_eq!(daemon.lines("agent could not be brought in sync").len(), 0);
    assert_eq!(daemon.outages().len(), 0);
}

/// A character outside of the encoding is named.
#[tokio::test]
async fn g14_a_character_outside_the_encoding_is_named() {
    let platform = Platform::encoded("latin1json", "LATIN1").await;
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
    let line = daemon.logged("agent could not be brought in sync").await;
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("a character that the database cannot hold"),
        "{line}"
    );
}

/// The name of the only agent that is saved comes to its configuration.
async fn is_synced(platform: &Platform, name: &str) {
    platform
        .run(&format!(
            "UPDATE agents SET name = '{name}' WHERE slug = 'plain'"
        ))
        .await;
    platform
        .holds(&format!(
            "SELECT agent_name = '{name}' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'plain'"
        ))
        .await;
}

/// The number of the last batch that the log names.
fn batches(daemon: &Daemon) -> u64 {
    let numbers = daemon.log().into_iter();
    let numbers = numbers.filter_map(|line| line["batch"].as_u64());
    numbers.max().unwrap_or_default()
}

/// A slug with a character that UTF-8 does not have rejects its agent and no other, whether an
/// agent, a configuration or the outbox has it; and every command goes on.
#[tokio::test]
async fn g5_a_slug_that_utf8_lacks_rejects_its_agent_alone() {
    for (encoding, bytes, shown) in [
        ("WIN1252", r"\xc3\x81", r"\\303\\201gnes"),
        ("EUC_JP", r"\xa9\xa1", r"\\251\\241gnes"),
    ] {
        let platform =
            Platform::encoded(&format!("lacks_{encoding}").to_lowercase(), encoding).await;
        platform
            .run("INSERT INTO agents (slug) VALUES ('plain'); INSERT INTO agent_configurations (agent_slug) VALUES ('plain')")
            .await;
        let daemon = platform.caught_up_daemon().await;
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name) VALUES (E'{bytes}gnes', 'A');
                 INSERT INTO agent_configurations (agent_slug) VALUES (E'{bytes}gnes')"
            ))
            .await;
        is_synced(&platform, "agent").await;
        platform
            .run(&format!(
                "INSERT INTO agent_configurations (agent_slug) VALUES (E'{bytes}')"
            ))
            .await;
        is_synced(&platform, "configuration").await;
        platform
            .run(&format!(
                "INSERT INTO agent_sync.outbox (slug) VALUES (E'{bytes}x')"
            ))
            .await;
        is_synced(&platform, "outbox").await;
        platform
            .holds(&format!(
                "SELECT count(*) = 1 FROM agent_sync.problem WHERE slug = E'{bytes}gnes' AND kind = \
                'rejected' AND detail LIKE 'slug: expected characters%'"
            ))
            .await;
        assert_eq!(daemon.outages().len(), 0);
        let said = platform.says(&["check"]).await;
        assert!(said.code == 2 && said.out.contains(shown), "{said:?}");
        let said = platform.says(&["status"]).await;
        assert!(said.code == 0 && said.out.contains(shown), "{said:?}");
        for arguments in [&["doctor"][..], &["why", "plain"], &["check", "--unmapped"]] {
            let said = platform.says(arguments).await;
            let goes_on = said.code <= 2 && said.err.is_empty();
            assert!(goes_on && said.code != 1, "{arguments:?}: {said:?}");
        }
        let said = platform.says(&["reconcile", "--all", "--yes"]).await;
        assert!(said.code <= 2 && said.err.is_empty(), "{said:?}");
        platform
            .run(&format!("DELETE FROM agent_configurations WHERE agent_slug = E'{bytes}'; UPDATE agents SET slug = 'agnes' WHERE name = 'A'; UPDATE agent_configurations SET agent_slug = 'agnes' WHERE agent_slug = E'{bytes}gnes'"))
            .await;
        platform
            .holds("SELECT agent_name = 'A' IS TRUE FROM agent_configurations WHERE agent_slug = 'agnes'")
            .await;
        drop(daemon);
        let daemon = platform.brisk_daemon();
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
        assert!(batches(&daemon) < 100);
    }
}

/// Two slugs that are one text in UTF-8 stay two: the one that comes back as the other is rejected,
/// and no batch is repeated for it.
#[tokio::test]
async fn g13_a_slug_that_comes_back_as_another_is_rejected() {
    let platform = Platform::encoded("forms", "EUC_JP").await;
    platform
        .run("INSERT INTO agents (slug) VALUES ('plain'); INSERT INTO agent_configurations (agent_slug) VALUES ('plain')")
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .run(
            r"INSERT INTO agents (slug, name) VALUES (E'\xa2\xdc', 'A'), (E'\xad\xf7', 'B');
              INSERT INTO agent_configurations (agent_slug) VALUES (E'\xa2\xdc'), (E'\xad\xf7')",
        )
        .await;
    for name in ["one", "two", "three"] {
        is_synced(&platform, name).await;
        platform
            .run("UPDATE agents SET name = name || '.' WHERE slug <> 'plain'")
            .await;
    }
    platform.drained().await;
    platform
        .holds(r"SELECT agent_name = 'A...' IS TRUE FROM agent_configurations WHERE agent_slug = E'\xa2\xdc'")
        .await;
    platform
        .holds(
            r"SELECT agent_name IS NULL FROM agent_configurations WHERE agent_slug = E'\xad\xf7'",
        )
        .await;
    platform
        .holds(r"SELECT count(*) = 1 AND bool_and(slug = E'\xad\xf7' AND kind = 'rejected') FROM agent_sync.problem")
        .await;
    let said = platform.says(&["check"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.contains(r"\\255\\367"), "{said:?}");
    assert!(batches(&daemon) < 100, "{}", batches(&daemon));
}

/// A row of the outbox that a batch is to take and that stays there is set aside, or else left, and
/// its neighbours are synced.
#[tokio::test]
async fn g5_a_row_that_no_batch_takes_is_set_aside() {
    for (exception, problems) in [("AND current_query() NOT LIKE '%first AS (%'", 1), ("", 0)] {
        let platform = Platform::installed().await;
        platform
            .run("INSERT INTO agents (slug) VALUES ('plain'), ('stuck'); INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents")
            .await;
        let daemon = platform.caught_up_daemon().await;
        platform
            .run(&format!(
                "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
                 CREATE FUNCTION is_kept() RETURNS boolean LANGUAGE sql AS $$ SELECT true {exception} $$;
                 CREATE TRIGGER keep BEFORE DELETE ON agent_sync.outbox FOR EACH ROW
                   WHEN (OLD.slug = 'stuck' AND is_kept()) EXECUTE FUNCTION keep();
                 UPDATE agents SET name = 'x' WHERE slug = 'stuck'"
            ))
            .await;
        is_synced(&platform, "one").await;
        is_synced(&platform, "two").await;
        platform
            .holds(&format!(
                "SELECT count(*) = {problems} FROM agent_sync.problem WHERE kind = 'failed'"
            ))
            .await;
        assert!(batches(&daemon) < 200, "{}", batches(&daemon));
    }
}

/// GIVEN a database whose server cannot convert every text, WHEN any role notifies again and again
/// with such a text, THEN the daemon says so once, applies each change, and calls no agent a
/// problem.
#[tokio::test]
async fn g5_a_notification_outside_utf8_stops_no_change() {
    let platform = Platform::encoded("note_win1252", "WIN1252").await;
    let daemon = notified(&platform, "chr(129)", 20).await;
    let lost = daemon.outages();
    let [first] = &lost[..] else {
        panic!("one outage is expected: {lost:?}");
    };
    let remedy = first["remedy"].as_str().unwrap();
    assert!(remedy.contains("NOTIFY"), "{first}");
    assert_eq!(platform.problems().await, 0);
}

/// GIVEN a database without an encoding, WHEN any role notifies with bytes that are no UTF-8, THEN
/// the connection stays.
#[tokio::test]
async fn g5_a_notification_of_any_bytes_costs_no_connection() {
    let platform = ascii("note_ascii").await;
    let daemon = notified(&platform, r"E'\xff'", 20).await;
    assert_eq!(daemon.outages(), [""; 0]);
}

/// GIVEN a database whose encoding has one byte a character, WHEN any role notifies with the
/// longest text in UTF-8, THEN the connection stays.
#[tokio::test]
async fn g12_the_longest_notification_costs_no_connection() {
    let platform = Platform::encoded("longest_note", "WIN1252").await;
    let daemon = notified(&platform, "repeat(chr(128), 7999)", 20).await;
    assert_eq!(daemon.outages(), [""; 0]);
}

/// The daemon of a platform, while another session notifies with this payload as fast as it can,
/// and an agent is saved so many times.
async fn notified(platform: &Platform, payload: &str, saves: usize) -> Daemon {
    platform
        .run("INSERT INTO agents (slug) VALUES ('plain'); INSERT INTO agent_configurations (agent_slug) VALUES ('plain')")
        .await;
    let daemon = platform.caught_up_daemon().await;
    let other = platform.connect().await;
    let notify = format!("SELECT pg_notify('agent_sync', {payload})");
    let sending = tokio::spawn(async move {
        loop {
            other.batch_execute(&notify).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    });
    for number in 0..saves {
        is_synced(platform, &format!("name {number}")).await;
    }
    sending.abort();
    is_synced(platform, "the last one").await;
    daemon
}

/// A problem is found by a digest of its slug, and there is one for every text: that of its bytes.
#[tokio::test]
async fn s34_every_text_has_a_digest() {
    for (encoding, texts) in [
        ("UTF8", r"('é日'), (E'日\\é'), (repeat(E'日\\', 300000))"),
        (
            "LATIN1",
            r"(E'\xe9'), (E'\xe9\\\xff\\'), (repeat(E'\xe9\\', 500000))",
        ),
        (
            "SQL_ASCII",
            r"(E'\xe9'), (E'\xff\\\x80\\x'), (repeat(E'\xff\\', 500000))",
        ),
        ("EUC_JP", r"(E'\xa2\xdc'), (E'\xa2\xdc\\')"),
    ] {
        let name = format!("digest_{encoding}").to_lowercase();
        let platform = Platform::encoded(&name, encoding).await;
        platform
            .run(&format!(
                r"INSERT INTO agent_sync.problem (slug, kind, detail)
                  SELECT t.slug, 'rejected', 'd'
                  FROM (VALUES (''), ('a'), (E'\\'), (E'\\\\'), (E'\\x41'), (E'\\101'), (E'a\\'),
                        (E'\x01\x7f'), (repeat(E'\\', 1000000)), (repeat('a', 1000000)),
                        {texts}) AS t (slug)"
            ))
            .await;
        let digest: String = platform
            .value("SELECT pg_get_indexdef('agent_sync.problem_slug_digest'::regclass, 1, true)")
            .await;
        let same = format!(
            "SELECT bool_and({digest} = sha256(convert_to(slug, getdatabaseencoding())))
             FROM agent_sync.problem"
        );
        assert!(platform.value::<bool>(&same).await, "{encoding}: {digest}");
    }
}
