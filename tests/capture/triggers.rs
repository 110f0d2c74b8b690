//! The capture in the database, without a daemon (C1-C6).

use crate::support::platform::{TABLES, connect};
use crate::support::{Platform, eventually};

const EMPTY: &[&str] = &[];

async fn cleared(platform: &Platform) {
    platform.run("DELETE FROM agent_sync.outbox").await;
    platform.take_notices();
}

#[tokio::test]
async fn c1_an_insert_and_every_relevant_update_are_noted() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    assert_eq!(platform.outbox().await, ["a"]);
    for change in [
        "name = 'new'",
        "system_prompt = 'new'",
        "agent_image = 'new.png'",
        r#"voice_settings = '{"provider":"openai"}'"#,
        "name = NULL",
        "voice_settings = NULL",
    ] {
        cleared(&platform).await;
        platform
            .run(&format!("UPDATE agents SET {change} WHERE slug = 'a'"))
            .await;
        assert_eq!(platform.outbox().await, ["a"], "{change}");
    }
}

#[tokio::test]
async fn c1_a_rename_notes_both_slugs() {
    let platform = Platform::installed().await;
    platform.save("old", "{}").await;
    cleared(&platform).await;
    platform
        .run("UPDATE agents SET slug = 'new' WHERE slug = 'old'")
        .await;
    let mut slugs = platform.outbox().await;
    slugs.sort();
    assert_eq!(slugs, ["new", "old"]);
}

#[tokio::test]
async fn c1_an_update_of_nothing_relevant_causes_no_work() {
    let platform = Platform::installed().await;
    platform.save("a", r#"{"a": 1}"#).await;
    cleared(&platform).await;
    for change in [
        "enabled = false",
        "description = 'x', webhooks = '{}', tools_config = '[]', updated_at = now()",
        "name = name, slug = slug, voice_settings = voice_settings",
        r#"voice_settings = '{"a":1}'"#,
    ] {
        platform.run(&format!("UPDATE agents SET {change}")).await;
        assert_eq!(platform.outbox().await, EMPTY, "{change}");
    }
}

#[tokio::test]
async fn c1_what_a_before_trigger_changes_is_noted_too() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    cleared(&platform).await;
    platform
        .run(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$;
             CREATE TRIGGER shout BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION shout()",
        )
        .await;
    // `outage` tests an object that was created after the install.
    platform.install();
    cleared(&platform).await;
    platform.run("UPDATE agents SET enabled = false").await;
    assert_eq!(platform.outbox().await, ["a"]);
    cleared(&platform).await;
    platform.run("UPDATE agents SET enabled = true").await;
    assert_eq!(
        platform.outbox().await,
        EMPTY,
        "and what changes nothing causes no work there either"
    );
    platform.run("DROP TRIGGER shout ON agents").await;
    platform.install();
    platform
        .run("UPDATE agents SET enabled = false, name = 'b'")
        .await;
    assert_eq!(platform.outbox().await, ["a"]);
}

#[tokio::test]
async fn c1_every_mapped_column_is_watched_by_itself() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    for before_trigger in [false, true] {
        if before_trigger {
            platform
                .run(
                    "CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN
                          NEW; END $$;
                     CREATE TRIGGER same BEFORE UPDATE ON agents
                       FOR EACH ROW EXECUTE FUNCTION same()",
                )
                .await;
            platform.install();
        }
        for column in ["name", "system_prompt", "agent_image"] {
            for value in ["'something'", "NULL", "''"] {
                cleared(&platform).await;
                platform
                    .run(&format!("UPDATE agents SET {column} = {value}"))
                    .await;
                assert_eq!(platform.outbox().await, ["a"], "{column} = {value}");
                cleared(&platform).await;
                platform
                    .run(&format!("UPDATE agents SET {column} = {value}"))
                    .await;
                assert_eq!(platform.outbox().await, EMPTY, "{column} = {value} again");
            }
        }
        for value in [r#"'{"a": 1}'"#, "NULL", "'{}'"] {
            cleared(&platform).await;
            platform
                .run(&format!("UPDATE agents SET voice_settings = {value}"))
                .await;
            assert_eq!(platform.outbox().await, ["a"], "voice_settings = {value}");
        }
    }
}

/// A configuration that is created later or given to another agent is noted.
#[tokio::test]
async fn c2_a_later_or_reassigned_configuration_is_noted() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    assert_eq!(platform.outbox().await, ["a"]);
    cleared(&platform).await;
    platform
        .run("UPDATE agent_configurations SET agent_slug = 'b'")
        .await;
    let mut slugs = platform.outbox().await;
    slugs.sort();
    assert_eq!(slugs, ["a", "b"]);
    cleared(&platform).await;
    platform
        .run(
            "UPDATE agent_configurations SET provider_config = '{}', voice_id = 'v', updated_at = \
            now()",
        )
        .await;
    assert_eq!(
        platform.outbox().await,
        EMPTY,
        "what the daemon writes is not noted: no loops"
    );
}

#[tokio::test]
async fn c2_the_capture_of_configurations_can_be_switched_off() {
    let platform = Platform::new().await;
    let install = || {
        let mut command = platform.command(&["install"]);
        command.env("AGENT_SYNC__CAPTURE__CONFIGURATIONS", "false");
        assert!(command.status().unwrap().success());
    };
    install();
    platform.configure("a").await;
    assert_eq!(platform.outbox().await, EMPTY);
    platform.install();
    platform.configure("b").await;
    assert_eq!(platform.outbox().await, ["b"]);
    install();
    platform.configure("c").await;
    assert_eq!(
        platform.outbox().await,
        ["b"],
        "switching off again takes the triggers away"
    );
}

#[tokio::test]
async fn c3_the_capture_shares_the_fate_of_the_transaction() {
    let platform = Platform::installed().await;
    platform
        .run(
            "BEGIN; INSERT INTO agents (slug) VALUES ('aborted'); ROLLBACK;
             BEGIN; INSERT INTO agents (slug) VALUES ('kept');
             SAVEPOINT s; INSERT INTO agents (slug) VALUES ('undone'); ROLLBACK TO s;
             INSERT INTO agents (slug) VALUES ('kept too'); COMMIT",
        )
        .await;
    assert_eq!(platform.outbox().await, ["kept", "kept too"]);
}

/// Statements that break the outbox, and statements that repair it.
const BROKEN: &[(&str, &str, &str)] = &[
    (
        "renamed",
        "ALTER TABLE agent_sync.outbox RENAME TO gone",
        "ALTER TABLE agent_sync.gone RENAME TO outbox",
    ),
    (
        "another shape",
        "ALTER TABLE agent_sync.outbox RENAME COLUMN slug TO s",
        "ALTER TABLE agent_sync.outbox RENAME COLUMN s TO slug",
    ),
    (
        "no privilege",
        "ALTER FUNCTION agent_sync.capture_agent() OWNER TO CURRENT_USER",
        "ALTER FUNCTION agent_sync.capture_agent() OWNER TO CURRENT_USER",
    ),
];

#[tokio::test]
async fn c4_a_save_succeeds_with_a_broken_outbox_and_warns() {
    for (what, breaking, mending) in BROKEN {
        let platform = Platform::new().await;
        // A superuser passes every privilege check, so the capture belongs to an ordinary owner.
        let owner = format!(
            "owner_{}",
            platform
                .value::<String>("SELECT current_database()::text")
                .await
        );
        platform
            .run(&format!(
                "CREATE ROLE {owner}; GRANT CREATE ON DATABASE {} TO {owner}; ALTER TABLE agents
                      OWNER TO {owner};
                 ALTER TABLE agent_configurations OWNER TO {owner}; GRANT CREATE
                   ON SCHEMA public TO {owner}",
                platform
                    .value::<String>("SELECT current_database()::text")
                    .await
            ))
            .await;
        let script = platform.command(&["install", "--print"]).output().unwrap();
        platform.run(&format!("SET ROLE {owner}")).await;
        platform
            .run(&String::from_utf8(script.stdout).unwrap())
            .await;
        platform.save("a", "{}").await;
        cleared(&platform).await;
        platform.run("RESET ROLE").await;

        let (breaking, mending) = if *what == "no privilege" {
            (
                format!("REVOKE ALL ON agent_sync.outbox FROM {owner}"),
                format!("GRANT ALL ON agent_sync.outbox TO {owner}"),
            )
        } else {
            ((*breaking).to_owned(), (*mending).to_owned())
        };
        platform.run(&breaking).await;
        platform
            .run("UPDATE agents SET name = 'saved anyway'; INSERT INTO agents (slug) VALUES ('b')")
            .await;
        platform
            .run("BEGIN; UPDATE agents SET name = '1'; UPDATE agents SET name = '2'; COMMIT")
            .await;
        assert_eq!(
            platform
                .value::<i64>("SELECT count(*) FROM agents WHERE name = '2'")
                .await,
            2,
            "{what}"
        );
        eventually("the warnings arrive", async || {
            let notices = platform.take_notices();
            notices
                .iter()
                .any(|notice| notice.starts_with("WARNING: agent-sync could not note a change"))
        })
        .await;
        let uncaptured: i64 = platform
            .value("SELECT last_value FROM agent_sync.uncaptured")
            .await;
        assert!(
            uncaptured > 0,
            "{what}: the daemon can see that saves were not captured"
        );

        platform.run(&mending).await;
        platform
            .run("UPDATE agents SET name = '3' WHERE slug = 'a'")
            .await;
        assert_eq!(platform.outbox().await, ["a"], "{what}: mended");
    }
}

#[tokio::test]
async fn c4_a_save_succeeds_with_the_outbox_dropped() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform
        .run("DROP VIEW agent_sync.state; DROP TABLE agent_sync.outbox")
        .await;
    platform.save("a", r#"{"provider":"openai"}"#).await;
    platform.save("b", "{}").await;
    assert_eq!(
        platform.value::<i64>("SELECT count(*) FROM agents").await,
        2
    );
}

#[tokio::test]
async fn c4_a_save_waits_for_no_lock() {
    let platform = Platform::installed().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    platform.run("SET statement_timeout = '20s'").await;
    platform.save("a", "{}").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        platform
            .value::<i64>("SELECT last_value FROM agent_sync.uncaptured")
            .await,
        1
    );
}

/// A privilege that is revoked during a transaction fails no save.
#[tokio::test]
async fn c4_a_privilege_lost_in_a_transaction_fails_no_save() {
    let platform = Platform::new().await;
    platform
        .run(
            "CREATE ROLE c4_middle_owner; GRANT ALL ON SCHEMA public TO c4_middle_owner; \
            ALTER TABLE agents OWNER TO c4_middle_owner; ALTER TABLE agent_configurations OWNER TO \
            c4_middle_owner",
        )
        .await;
    platform
        .run(&format!(
            "GRANT CREATE ON DATABASE {} TO c4_middle_owner",
            platform
                .value::<String>("SELECT current_database()::text")
                .await
        ))
        .await;
    let script = platform.command(&["install", "--print"]).output().unwrap();
    platform.run("SET ROLE c4_middle_owner").await;
    platform
        .run(&String::from_utf8(script.stdout).unwrap())
        .await;
    platform.run("RESET ROLE").await;
    // After the first 50 appends, which are guarded individually.
    platform
        .run("BEGIN; INSERT INTO agents (slug) SELECT 'agent-' || i FROM generate_series(1, 200) i")
        .await;
    let other = platform.connect().await;
    other
        .batch_execute("REVOKE ALL ON agent_sync.outbox FROM c4_middle_owner")
        .await
        .unwrap();
    platform.run("UPDATE agents SET name = 'x'; COMMIT").await;
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agents WHERE name = 'x'")
            .await,
        200
    );
    assert_eq!(
        platform
            .value::<i64>("SELECT last_value FROM agent_sync.uncaptured")
            .await,
        200
    );
}

/// GIVEN a statement that changes many agents, WHEN the privilege to append is revoked after half
/// of the rows, THEN it succeeds with one warning, and the lost changes are counted. Only the
/// append itself makes the writer notice the REVOKE.
#[tokio::test]
async fn c4_a_privilege_lost_in_a_statement_fails_no_save() {
    let platform = Platform::installed().await;
    platform
        .run(
            "CREATE ROLE c4_statement_owner;
             GRANT USAGE, CREATE ON SCHEMA agent_sync, public TO c4_statement_owner;
             GRANT ALL ON ALL TABLES IN SCHEMA agent_sync TO c4_statement_owner;
             GRANT ALL ON ALL SEQUENCES IN SCHEMA agent_sync TO c4_statement_owner;
             ALTER FUNCTION agent_sync.capture_agent() OWNER TO c4_statement_owner;
             INSERT INTO agents (slug) SELECT 'a' || n FROM generate_series(1, 200) n;
             CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF NEW.slug = 'a100' THEN PERFORM pg_catalog.pg_advisory_xact_lock(100); END IF;
                   RETURN NULL; END $$;
             CREATE TRIGGER a_pause AFTER UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION pause()",
        )
        .await;
    cleared(&platform).await;
    platform.take_notices();
    let writer = platform.connect().await;
    platform.run("SELECT pg_advisory_lock(100)").await;
    let statement = tokio::spawn(async move {
        writer
            .execute("UPDATE agents SET name = 'Other'", &[])
            .await
    });
    platform
        .holds(
            "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND \
            objid = 100",
        )
        .await;
    platform
        .run("REVOKE ALL ON agent_sync.outbox FROM c4_statement_owner")
        .await;
    platform.run("SELECT pg_advisory_unlock(100)").await;
    assert_eq!(statement.await.unwrap().unwrap(), 200, "saved");
    let noted = platform.outbox().await.len();
    assert!(
        (50..150).contains(&noted),
        "{noted} of 200 were noted before the privilege was lost"
    );
    assert!(
        platform
            .value::<bool>("SELECT last_value > 0 FROM agent_sync.uncaptured")
            .await
    );
}

/// Roles that edit agents need no grants and cannot misuse the capture.
#[tokio::test]
async fn c4_writers_need_no_grants_and_cannot_hijack_the_capture() {
    let platform = Platform::installed().await;
    platform
        .run(
            "CREATE ROLE c4_editor; GRANT SELECT, INSERT, UPDATE ON agents TO c4_editor;
             CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO c4_editor;
             SET ROLE c4_editor;
             CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE sql AS $$
               SELECT 1 / 0 $$;
             SET search_path = evil, public;
             INSERT INTO public.agents (slug, name) VALUES ('a', 'n')",
        )
        .await;
    let denied = platform
        .client
        .batch_execute("SELECT * FROM agent_sync.outbox")
        .await
        .unwrap_err();
    assert_eq!(denied.code().unwrap().code(), "42501");
    platform.run("RESET ROLE; RESET search_path").await;
    assert_eq!(platform.outbox().await, ["a"]);
    let open: i64 = platform
        .value(
            "SELECT count(*) FROM pg_proc f WHERE f.pronamespace = 'agent_sync'::regnamespace
             -- The function of the view has the rights of its reader, and qualified names.
             AND f.proname <> 'slugs'
             AND (NOT f.prosecdef
                  -- It gives one boolean, to roles with USAGE on the schema.
                  OR f.proname <> 'in_sync' AND has_function_privilege('public', f.oid, 'EXECUTE')
                  -- Those of the capture have qualified names (`super::search_path`).
                  OR f.proname NOT LIKE 'capture_%'
                     AND NOT 'search_path=pg_catalog, pg_temp' = ANY (f.proconfig))",
        )
        .await;
    assert_eq!(
        open, 0,
        "every function is safe from the path of its caller and closed to PUBLIC"
    );
}

#[tokio::test]
async fn c4_replicas_and_restores_are_captured_too() {
    let platform = Platform::installed().await;
    platform
        .run("SET session_replication_role = replica; INSERT INTO agents (slug) VALUES ('a')")
        .await;
    assert_eq!(platform.outbox().await, ["a"]);
}

#[tokio::test]
async fn c5_a_bulk_statement_is_one_wake_up_and_few_subtransactions() {
    let platform = Platform::installed().await;
    let sleeper = platform.connect().await;
    sleeper
        .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
        .await
        .unwrap();
    platform.run("LISTEN agent_sync").await;
    platform
        .run(
            "INSERT INTO agents (slug) SELECT 'agent-' || i FROM generate_series(1, 5000) i;
             SELECT 1",
        )
        .await;
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agent_sync.outbox")
            .await,
        5000
    );
    // Each subtransaction has its own, which are those of the rows that it has written.
    let numbers: i64 = platform
        .value("SELECT count(DISTINCT xmin::text) FROM agent_sync.outbox")
        .await;
    assert!(
        (2..60).contains(&numbers),
        "{numbers} transaction numbers were used"
    );
    eventually("one wake-up arrives", async || {
        platform
            .take_notices()
            .iter()
            .filter(|notice| notice.starts_with("NOTIFY"))
            .count()
            == 1
    })
    .await;
}

/// Writers notify only a sleeping daemon and keep an awake one from sleeping.
#[tokio::test]
async fn c6_writers_notify_a_sleeping_daemon_only() {
    let platform = Platform::installed().await;
    platform
        .run("LISTEN agent_sync; LISTEN agent_sync_change")
        .await;
    let daemon = platform.connect().await;
    let try_sleep = async || -> bool {
        daemon
            .query_one("SELECT pg_try_advisory_lock(1634169721, 2)", &[])
            .await
            .unwrap()
            .get(0)
    };

    let writer = platform.connect().await;
    writer
        .batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('awake')")
        .await
        .unwrap();
    assert!(
        !try_sleep().await,
        "a writer that did not notify is in flight"
    );
    writer.batch_execute("COMMIT").await.unwrap();
    assert!(try_sleep().await, "it is over");
    assert_eq!(
        platform.outbox().await,
        ["awake"],
        "and what it appended is visible"
    );
    assert_eq!(platform.take_notices(), EMPTY, "nobody was notified");

    writer
        .batch_execute("INSERT INTO agents (slug) VALUES ('asleep')")
        .await
        .unwrap();
    eventually("the sleeper is notified", async || {
        platform.run("SELECT 1").await;
        platform.notices() == [r#"NOTIFY agent_sync_change "(0,2)""#]
    })
    .await;
}

/// One change sends the ctid of its row; several changes send none.
#[tokio::test]
async fn c6_a_single_change_sends_its_row_and_several_send_none() {
    let platform = Platform::installed().await;
    platform
        .run("INSERT INTO agents (slug) VALUES ('a'), ('b'), ('c')")
        .await;
    let sleeper = platform.connect().await;
    sleeper
        .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
        .await
        .unwrap();
    platform
        .run("LISTEN agent_sync; LISTEN agent_sync_change")
        .await;
    for (change, messages) in [
        (
            "UPDATE agents SET name = 'new' WHERE slug = 'a'",
            &["place"][..],
        ),
        ("INSERT INTO agents (slug) VALUES ('d')", &["place"]),
        (
            "INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ('d', '{}')",
            &["place"],
        ),
        (
            "UPDATE agents SET name = 'newer' WHERE slug IN ('a', 'b')",
            &["place", ""],
        ),
        ("UPDATE agents SET slug = 'e' WHERE slug = 'a'", &[""]),
        (
            "UPDATE agents SET name = 'renamed' WHERE slug = 'e'; UPDATE agents SET slug = 'f' \
            WHERE slug = 'e'",
            &["place", ""],
        ),
        (
            "SAVEPOINT s; UPDATE agents SET name = 'x' WHERE slug = 'b'; ROLLBACK TO s;
             UPDATE agents SET name = 'y' WHERE slug = 'c'",
            &["place"],
        ),
        (
            "UPDATE agents SET name = 'z' WHERE slug = 'b'; SAVEPOINT s;
             UPDATE agents SET name = 'z' WHERE slug = 'c'; ROLLBACK TO s",
            &["place"],
        ),
        ("UPDATE agents SET enabled = false", &[]),
    ] {
        cleared(&platform).await;
        platform.run(&format!("BEGIN; {change}; COMMIT")).await;
        let mut expected = Vec::new();
        for &message in messages {
            expected.push(if message.is_empty() {
                r#"NOTIFY agent_sync """#.to_owned()
            } else {
                let first: String = platform
                    .value("SELECT min(ctid)::text FROM agent_sync.outbox")
                    .await;
                format!("NOTIFY agent_sync_change {first:?}")
            });
        }
        eventually(change, async || {
            platform.run("SELECT 1").await;
            platform.notices() == expected
        })
        .await;
    }
}

#[tokio::test]
async fn odd_slugs_are_noted_as_they_are() {
    let platform = Platform::installed().await;
    for slug in [
        "",
        " ",
        "ünïcode 🦀",
        "it's \"quoted\"",
        "%s %I",
        &"x".repeat(2000),
    ] {
        cleared(&platform).await;
        platform.save(slug, "{}").await;
        assert_eq!(platform.outbox().await, [slug]);
    }
    cleared(&platform).await;
    platform
        .run("INSERT INTO agent_configurations (agent_slug) VALUES (NULL)")
        .await;
    assert_eq!(
        platform.outbox().await,
        EMPTY,
        "a configuration without a slug belongs to nobody"
    );
}

#[tokio::test]
async fn c4_a_save_succeeds_after_the_slug_was_renamed() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform
        .run("ALTER TABLE agents RENAME COLUMN slug TO handle")
        .await;
    platform
        .run("UPDATE agents SET name = 'saved'; INSERT INTO agents (handle) VALUES ('b')")
        .await;
    platform
        .run("ALTER TABLE agent_configurations RENAME COLUMN agent_slug TO handle")
        .await;
    platform
        .run(
            "UPDATE agent_configurations SET handle = 'b'; INSERT INTO agent_configurations \
            (handle) VALUES ('c')",
        )
        .await;
    assert_eq!(
        platform.value::<i64>("SELECT count(*) FROM agents").await,
        2
    );
    assert!(
        platform
            .value::<i64>("SELECT last_value FROM agent_sync.uncaptured")
            .await
            > 0
    );
}

/// GIVEN a transaction after its individually guarded appends, WHEN it changes a column that the
/// capture reads, as a migration does, THEN its later saves succeed and are noted or counted, with
/// one warning.
#[tokio::test]
async fn c4_a_column_renamed_in_a_transaction_fails_no_save() {
    const UPDATE: &str = "UPDATE agents SET name = name || 'x'";
    const INSERT: &str =
        "INSERT INTO agents (slug) SELECT 'b-' || n FROM generate_series(1, 200) n";
    for (bulk, migration, save, noted) in [
        (
            UPDATE,
            "RENAME COLUMN agent_image TO image",
            "UPDATE agents SET image = 'saved'",
            0,
        ),
        (
            UPDATE,
            "RENAME COLUMN name TO title",
            "UPDATE agents SET title = 'saved'",
            0,
        ),
        (
            UPDATE,
            "RENAME COLUMN slug TO handle",
            "UPDATE agents SET handle = handle || '-saved'",
            0,
        ),
        (
            INSERT,
            "RENAME COLUMN slug TO handle",
            "INSERT INTO agents (handle) SELECT 'c-' || n FROM generate_series(1, 200) n",
            0,
        ),
        // An insert reads only the slug.
        (
            INSERT,
            "RENAME COLUMN name TO title",
            "INSERT INTO agents (slug) SELECT 'c-' || n FROM generate_series(1, 200) n",
            200,
        ),
        (
            INSERT,
            "DROP COLUMN agent_image CASCADE",
            "INSERT INTO agents (slug) SELECT 'c-' || n FROM generate_series(1, 200) n",
            200,
        ),
    ] {
        let platform = Platform::installed().await;
        platform
            .run(
                "INSERT INTO agents (slug, name) SELECT 'a-' || n, 'n' FROM generate_series(1, \
                200) n",
            )
            .await;
        cleared(&platform).await;
        platform
            .run(&format!("BEGIN; {bulk}; ALTER TABLE agents {migration}"))
            .await;
        let saved = platform
            .client
            .execute(save, &[])
            .await
            .unwrap_or_else(|error| panic!("{migration}; {save}: {error:?}"));
        platform.run("COMMIT").await;
        assert_eq!(saved, 200, "{migration}; {save}");
        assert_eq!(
            platform.outbox().await.len(),
            200 + noted,
            "{migration}; {save}"
        );
        let missed = if noted == 0 { 200 } else { 0 };
        let counted: i64 = platform
            .value("SELECT last_value FROM agent_sync.uncaptured")
            .await;
        assert_eq!(counted, missed, "{migration}; {save}");
        eventually(&format!("a warning, or none, of {save}"), async || {
            let warned = |notice: &&String| {
                notice.starts_with("WARNING: agent-sync could not note a change")
            };
            platform.notices().iter().filter(warned).count() == usize::from(noted == 0)
        })
        .await;
    }
}

/// A schema that is renamed during a transaction fails no save.
#[tokio::test]
async fn c4_a_schema_renamed_in_a_transaction_fails_no_save() {
    let platform = Platform::installed().await;
    platform
        .run("BEGIN; INSERT INTO agents (slug) SELECT 'agent-' || i FROM generate_series(1, 200) i")
        .await;
    let other = platform.connect().await;
    other
        .batch_execute("ALTER SCHEMA agent_sync RENAME TO elsewhere")
        .await
        .unwrap();
    platform.run("UPDATE agents SET name = 'x'; COMMIT").await;
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agents WHERE name = 'x'")
            .await,
        200
    );
}

/// GIVEN a session with forged values of the settings that the capture keeps for its transaction,
/// WHEN it saves, THEN the values are ignored: the daemon is woken, and a broken outbox fails no
/// save and is counted.
#[tokio::test]
async fn s6_c4_c6_what_a_session_sets_is_not_believed() {
    for value in ["50", "49", "1", "0 50", "1 50", "nonsense", " "] {
        let platform = Platform::installed().await;
        platform
            .run("INSERT INTO agents (slug) SELECT 'a' || n FROM generate_series(1, 100) n")
            .await;
        let sleeper = platform.connect().await;
        sleeper
            .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
            .await
            .unwrap();
        platform
            .run("LISTEN agent_sync; LISTEN agent_sync_change")
            .await;
        cleared(&platform).await;
        platform
            .run(&format!("SET agent_sync.appended = '{value}'"))
            .await;
        platform
            .run("UPDATE agents SET name = 'x' WHERE slug = 'a1'")
            .await;
        let place: String = platform
            .value("SELECT min(ctid)::text FROM agent_sync.outbox")
            .await;
        eventually(value, async || {
            platform.run("SELECT 1").await;
            platform.notices() == [format!("NOTIFY agent_sync_change {place:?}")]
        })
        .await;
        // Likewise for the value of an earlier transaction of this session, and for the setting
        // that limits the warnings.
        platform.run("SET agent_sync.warned = 'uncounted'").await;
        let earlier: String = platform.value("SELECT pg_current_xact_id()::text").await;
        platform
            .run(&format!(
                "SET agent_sync.appended = '{earlier} 50'; SET agent_sync.warned = '{earlier} \
                uncounted'"
            ))
            .await;
        platform
            .run("DROP VIEW agent_sync.state; ALTER TABLE agent_sync.outbox RENAME TO gone")
            .await;
        platform.run("UPDATE agents SET name = 'y'").await;
        assert_eq!(
            platform
                .value::<i64>("SELECT count(*) FROM agents WHERE name = 'y'")
                .await,
            100,
            "{value}"
        );
        assert_eq!(
            platform
                .value::<i64>("SELECT last_value FROM agent_sync.uncaptured")
                .await,
            100,
            "{value}"
        );
        eventually("one warning", async || {
            let warned = |notice: &&String| {
                notice.starts_with("WARNING: agent-sync could not note a change")
            };
            platform.notices().iter().filter(warned).count() == 1
        })
        .await;
    }
}

/// GIVEN a sleeping daemon and a session whose settings name the next transaction number, which any
/// role can predict, WHEN that transaction saves, THEN the daemon is notified.
#[tokio::test]
async fn s6_c6_a_number_that_was_foretold_is_not_believed() {
    let platform = Platform::installed().await;
    platform
        .run("INSERT INTO agents (slug, name) VALUES ('a', 'n')")
        .await;
    let sleeper = platform.connect().await;
    sleeper
        .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
        .await
        .unwrap();
    platform
        .run("LISTEN agent_sync; LISTEN agent_sync_change")
        .await;
    let mut foretold = false;
    while !foretold {
        cleared(&platform).await;
        let next: String = platform
            .value("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
            .await;
        platform
            .run(&format!(
                "SET agent_sync.appended = '{next} 50'; SET agent_sync.warned = '{next} uncounted'"
            ))
            .await;
        platform.run("UPDATE agents SET name = name || 'x'").await;
        // Another process of the server may have used the number.
        foretold = platform
            .value(&format!("SELECT bool_and(xmin = '{next}') FROM agents"))
            .await;
    }
    let place: String = platform
        .value("SELECT min(ctid)::text FROM agent_sync.outbox")
        .await;
    eventually("the daemon is notified", async || {
        platform.run("SELECT 1").await;
        platform.notices() == [format!("NOTIFY agent_sync_change {place:?}")]
    })
    .await;
}

/// GIVEN the session of the daemon with the idle lock, WHEN a trigger of the platform saves an
/// agent there, THEN the daemon is notified without a ctid; a session without the mark finds the
/// lock free and does not notify.
#[tokio::test]
async fn c6_g2_a_save_in_the_session_of_the_daemon_notifies_it() {
    for (save, wanted) in [
        ("INSERT INTO agents (slug) VALUES ('b')", 1),
        ("UPDATE agents SET name = 'x' WHERE slug = 'a1'", 1),
        ("UPDATE agents SET slug = 'c' WHERE slug = 'a1'", 1),
        (
            "INSERT INTO agent_configurations (agent_slug) VALUES ('a1')",
            1,
        ),
        ("UPDATE agents SET name = 'many'", 1),
        ("UPDATE agents SET enabled = false", 0),
    ] {
        let platform = Platform::installed().await;
        platform
            .run("INSERT INTO agents (slug) SELECT 'a' || n FROM generate_series(1, 100) n")
            .await;
        platform
            .run("LISTEN agent_sync; LISTEN agent_sync_change")
            .await;
        let daemon = platform.connect().await;
        daemon
            .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
            .await
            .unwrap();
        cleared(&platform).await;
        daemon
            .batch_execute(&format!("BEGIN; {save}; ROLLBACK"))
            .await
            .unwrap();
        daemon
            .batch_execute("UPDATE agents SET name = 'unmarked' WHERE slug = 'a2'")
            .await
            .unwrap();
        platform.run("SELECT 1").await;
        assert_eq!(platform.take_notices(), EMPTY, "{save}: not marked");
        daemon
            .batch_execute("SET agent_sync.daemon = 'on'")
            .await
            .unwrap();
        daemon.batch_execute(save).await.unwrap();
        daemon
            .batch_execute("NOTIFY agent_sync, 'the end'")
            .await
            .unwrap();
        let mut expected = vec![r#"NOTIFY agent_sync """#.to_owned(); wanted];
        expected.push(r#"NOTIFY agent_sync "the end""#.to_owned());
        eventually(save, async || {
            platform.run("SELECT 1").await;
            platform.notices() == expected
        })
        .await;
        // A foreign session that sets the mark beside a sleeping daemon causes one notification
        // without a ctid.
        cleared(&platform).await;
        let foreign = platform.connect().await;
        foreign
            .batch_execute(
                "SET agent_sync.daemon = 'on'; UPDATE agents SET name = 'y' WHERE slug = 'a5'",
            )
            .await
            .unwrap();
        eventually("a foreign session", async || {
            platform.run("SELECT 1").await;
            platform.notices() == [r#"NOTIFY agent_sync """#]
        })
        .await;
    }
}

/// GIVEN a save that was counted because it could not be noted, WHEN the server crashes, THEN the
/// counter may have advanced by the values that PostgreSQL had reserved, and its `log_cnt` is 0, as
/// its comment says. After a clean restart it is unchanged.
#[tokio::test]
async fn g1_a_server_crash_is_told_from_missed_saves() {
    let (own, platform) = Platform::on_own_server("").await;
    let counter = "SELECT concat_ws(' ', last_value, log_cnt = 0) FROM agent_sync.uncaptured";
    platform
        .run("ALTER TABLE agent_sync.outbox RENAME TO gone")
        .await;
    platform.save("a", "{}").await;
    assert_eq!(platform.value::<String>(counter).await, "1 f");
    let url = platform.url.clone();
    drop(platform);
    own.control(&["-m", "fast", "stop"]).unwrap();
    own.control(&["start"]).unwrap();
    let value = async || -> String {
        let (client, _) = connect(&url).await;
        client.query_one(counter, &[]).await.unwrap().get(0)
    };
    assert!(value().await.starts_with("1 "));
    let (client, _) = connect(&url).await;
    // The throwaway server does not flush its log, and a crash may lose unwritten data.
    client
        .batch_execute("SET synchronous_commit = on; INSERT INTO agents (slug) VALUES ('b')")
        .await
        .unwrap();
    assert_eq!(value().await, "2 f");
    own.control(&["-m", "immediate", "stop"]).unwrap();
    own.control(&["start"]).unwrap();
    let after = value().await;
    let (last, reserved) = after.split_once(' ').unwrap();
    assert!(
        (2..=34).contains(&last.parse::<i64>().unwrap()) && reserved == "t",
        "{after}"
    );
}

/// A configuration that loses its slug is noted for its former agent.
#[tokio::test]
async fn c2_a_configuration_that_loses_its_slug_is_noted() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    platform.run("TRUNCATE agent_sync.outbox").await;
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT IF EXISTS agent_configurations_pkey")
        .await;
    platform
        .run("ALTER TABLE agent_configurations ALTER COLUMN agent_slug DROP NOT NULL")
        .await;
    platform
        .run("UPDATE agent_configurations SET agent_slug = NULL")
        .await;
    assert_eq!(platform.outbox().await, ["a"]);
    platform
        .run("TRUNCATE agent_sync.outbox; UPDATE agent_configurations SET agent_slug = 'b'")
        .await;
    assert_eq!(platform.outbox().await, ["b"]);
}

#[tokio::test]
async fn c1_a_domain_over_jsonb_is_compared_as_jsonb() {
    let platform = Platform::new().await;
    platform
        .run(
            "CREATE DOMAIN settings AS jsonb CHECK (jsonb_typeof(VALUE) = 'object');
             ALTER TABLE agents ALTER voice_settings DROP DEFAULT, ALTER voice_settings TYPE
               settings;
             CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
             CREATE TRIGGER touch BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION touch()",
        )
        .await;
    platform.install();
    let definition: String = platform
        .value(
            "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'agent_sync_update' \
            AND tgrelid = 'agents'::regclass",
        )
        .await;
    assert!(
        definition
            .contains("(old.voice_settings)::jsonb IS DISTINCT FROM (new.voice_settings)::jsonb"),
        "{definition}"
    );
    // A text of a gigabyte.
    platform
        .run(
            "INSERT INTO agents (slug, voice_settings) SELECT 'big', jsonb_build_object('x', \
            jsonb_agg(1e131071::numeric)) FROM generate_series(1, 9000)",
        )
        .await;
    platform
        .run("UPDATE agents SET description = 'saved' WHERE slug = 'big'")
        .await;
    platform
        .run("UPDATE agents SET voice_settings = '{}' WHERE slug = 'big'")
        .await;
    assert_eq!(platform.outbox().await, ["big", "big"]);
}

/// A jsonb that is copied as text is another one when a number of it has other digits, also where
/// the trigger has a WHEN clause; and no size of it fails a save.
#[tokio::test]
async fn g1_other_digits_of_a_number_in_jsonb_are_noted() {
    for has_trigger in [false, true] {
        let platform = Platform::new().await;
        platform
            .run(
                "CREATE DOMAIN document AS jsonb;
                 ALTER TABLE agents ALTER name TYPE document USING NULL,
                   ALTER system_prompt TYPE jsonb USING NULL;
                 CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            )
            .await;
        if has_trigger {
            platform
                .run(
                    "CREATE TRIGGER touch BEFORE UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION \
                    touch()",
                )
                .await;
        }
        platform.install();
        platform.configure("a").await;
        platform
            .run(
                "INSERT INTO agents (slug, name, system_prompt, voice_settings) VALUES ('a', \
                '\"n\"', '{\"t\": 1.0}', '{\"temperature\": 0.5}')",
            )
            .await;
        let daemon = platform.caught_up_daemon().await;
        for (column, value, configured) in [
            ("system_prompt", "{\"t\": 1.00}", "system_prompt"),
            ("name", "[1.0]", "agent_name"),
            ("name", "[1.000]", "agent_name"),
        ] {
            platform
                .run(&format!("UPDATE agents SET {column} = '{value}'"))
                .await;
            platform
                .holds(&format!(
                    "SELECT {configured} = '{value}' FROM agent_configurations"
                ))
                .await;
        }
        // The voice settings are equal, and so is their mapping.
        platform
            .run("UPDATE agents SET voice_settings = '{\"temperature\": 0.50}'")
            .await;
        platform.drained().await;
        assert_eq!(platform.says(&["check"]).await.code, 0);
        drop(daemon);
        platform
            .run("UPDATE agents SET name = name, system_prompt = system_prompt")
            .await;
        assert!(platform.outbox().await.is_empty());
        // A text of a gigabyte.
        platform
            .run(
                "INSERT INTO agents (slug, system_prompt) SELECT 'big', \
                jsonb_agg(1e131071::numeric) FROM generate_series(1, 9000)",
            )
            .await;
        platform
            .run("UPDATE agents SET system_prompt = '{}' WHERE slug = 'big'")
            .await;
        assert_eq!(platform.outbox().await, ["big", "big"]);
    }
}

/// From the second such trigger on, no catalog row changes.
#[tokio::test]
async fn g14_rows_kept_from_the_outbox_by_a_trigger_are_counted() {
    let platform = Platform::installed().await;
    platform
        .run("INSERT INTO agents (slug, name) VALUES ('a', 'n')")
        .await;
    platform
        .run("CREATE FUNCTION eat() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        .await;
    for _ in 0..2 {
        let before: i64 = platform
            .value("SELECT last_value FROM agent_sync.uncaptured")
            .await;
        platform
            .run(
                "CREATE TRIGGER eat BEFORE INSERT ON agent_sync.outbox
                      FOR EACH ROW EXECUTE FUNCTION eat();
                 UPDATE agents SET name = name || 'x'; DROP TRIGGER eat ON agent_sync.outbox",
            )
            .await;
        let after: i64 = platform
            .value("SELECT last_value FROM agent_sync.uncaptured")
            .await;
        assert!(after > before, "{before} {after}");
    }
}

/// GIVEN partitioned configurations, WHEN one statement moves a configuration to another partition
/// and to another agent, THEN both agents are noted.
#[tokio::test]
async fn c2_a_change_of_partition_notes_both_slugs() {
    let tables = TABLES
        .replace(
            "last_updated        timestamptz NOT NULL DEFAULT '2020-01-01'\n);",
            "last_updated        timestamptz NOT NULL DEFAULT '2020-01-01',
             region text NOT NULL DEFAULT 'eu') PARTITION BY LIST (region);
             CREATE TABLE configurations_eu PARTITION OF agent_configurations FOR VALUES IN ('eu');
             CREATE TABLE configurations_us PARTITION OF agent_configurations FOR VALUES IN ('us');",
        )
        .replace(
            "id                  uuid PRIMARY KEY DEFAULT",
            "id                  uuid NOT NULL DEFAULT",
        );
    let platform = Platform::with_tables(crate::support::cluster(), &tables).await;
    platform.install();
    let _daemon = platform.caught_up_daemon().await;
    for slug in ["old", "new"] {
        platform.save(slug, "{}").await;
    }
    platform.configure("old").await;
    platform
        .holds("SELECT agent_name = 'Agent old' IS TRUE FROM agent_configurations")
        .await;
    platform
        .run("UPDATE agent_configurations SET region = 'us', agent_slug = 'new'")
        .await;
    platform
        .holds("SELECT agent_name = 'Agent new' IS TRUE FROM agent_configurations")
        .await;
    platform
        .holds("SELECT array_agg(slug) = ARRAY['old'] FROM agent_sync.problem")
        .await;
    platform.run("DELETE FROM agent_configurations").await;
    platform
        .holds("SELECT array_agg(slug ORDER BY slug) = ARRAY['new', 'old'] FROM agent_sync.problem")
        .await;
    platform
        .run("ALTER TABLE agent_configurations DISABLE TRIGGER agent_sync_delete")
        .await;
    let said = platform.says(&["doctor"]).await;
    assert!(said.out.contains("agent_sync_delete"), "{said:?}");
}

/// A save whose warning has no form in the encoding of its client is counted like any other, and
/// warns without the text.
#[tokio::test]
async fn c4_a_warning_that_cannot_be_encoded_is_counted() {
    let platform = Platform::installed().await;
    platform.save("東京", "{}").await;
    let save = "SET client_encoding = 'LATIN1'; UPDATE agents SET name = name || 'x' WHERE slug = \
        convert_from('\\xe69db1e4baac', 'UTF8'); RESET client_encoding";
    let lost = "SELECT count(*) FROM pg_largeobject_metadata";
    let uncaptured = "SELECT last_value FROM agent_sync.uncaptured";
    let before: i64 = platform.value(uncaptured).await;
    let holder = platform.connect().await;
    for (lock, counted, objects) in [
        ("LOCK TABLE agent_sync.outbox", 1, 0),
        (
            "LOCK TABLE agent_sync.outbox; ALTER SEQUENCE agent_sync.uncaptured RESTART 7",
            1,
            1,
        ),
    ] {
        platform.take_notices();
        let lock = format!("BEGIN; {lock}");
        holder.batch_execute(&lock).await.unwrap();
        platform.run(save).await;
        holder.batch_execute("ROLLBACK").await.unwrap();
        let after: i64 = platform.value(uncaptured).await;
        assert_eq!(after - before, counted, "{lock}");
        assert_eq!(platform.value::<i64>(lost).await, objects, "{lock}");
        eventually("a warning", async || {
            let warned =
                |notice: &String| notice.starts_with("WARNING: agent-sync could not note a change");
            platform.notices().iter().any(warned)
        })
        .await;
    }
}

/// The apply worker of logical replication forgets the settings of the transaction after each row
/// (PostgreSQL 16). Its transaction sends one notification all the same.
#[tokio::test]
async fn c5_a_replicated_transaction_sends_one_notification() {
    let platform = Platform::installed().await;
    platform
        .run("INSERT INTO agents (slug, name) VALUES ('a', ''), ('b', ''), ('c', '')")
        .await;
    platform
        .run("LISTEN agent_sync; LISTEN agent_sync_change")
        .await;
    let sleeper = platform.connect().await;
    let sleep = "SELECT pg_advisory_lock(1634169721, 2)";
    sleeper.batch_execute(sleep).await.unwrap();
    let save = |slug| {
        format!(
            "UPDATE agents SET name = name || 'x' WHERE slug = '{slug}';
             SET LOCAL agent_sync.appended = '';"
        )
    };
    let saves = ["a", "b", "c"].map(save).join(" ");
    for (role, sent) in [("replica", 1), ("origin", 3)] {
        platform.take_notices();
        let transaction =
            format!("BEGIN; SET LOCAL session_replication_role = {role}; {saves} COMMIT");
        platform.run(&transaction).await;
        eventually("the sleeper is notified", async || {
            platform.run("SELECT 1").await;
            platform.notices().len() == sent
        })
        .await;
    }
}
