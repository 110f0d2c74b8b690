//! Foreign names in the search path (S1). No statement of agent-sync looks a name up there.

use std::process::Command;

use agent_sync::store::queries;

use crate::support::qualified::unqualified;
use crate::support::{Daemon, Platform, Said, shadow};

/// A platform in which every role has the schema `shadow` first in its search path.
async fn platform() -> Platform {
    let platform = Platform::new().await;
    platform.run(&shadow::statements()).await;
    platform
}

/// The program on this platform, with that search path.
fn command(platform: &Platform, arguments: &[&str]) -> Command {
    let mut command = platform.command(arguments);
    let separator = if platform.url.contains('?') { '&' } else { '?' };
    let url = format!(
        "{}{separator}options=-csearch_path%3Dshadow,public",
        platform.url
    );
    command.env("DATABASE_URL", url);
    command
        .env("AGENT_SYNC__HISTORY__ENABLED", "true")
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    command
}

/// Runs a command and expects this exit code.
async fn says(platform: &Platform, arguments: &[&str], code: i32) {
    let said = Said::of(command(platform, arguments)).await;
    assert_eq!(said.code, code, "{arguments:?}: {said:?}");
    assert_none_called(platform, &arguments.join(" ")).await;
}

async fn assert_none_called(platform: &Platform, by: &str) {
    assert!(!shadow::is_called(&platform.client).await, "by {by}");
}

/// A test with `AGENT_SYNC_TEST_SHADOW` fails if a foreign name is called.
#[tokio::test]
async fn s1_a_test_in_whose_database_a_shadow_was_called_fails() {
    let platform = platform().await;
    let watch = async || {
        shadow::Watch::begin(&platform.client, platform.name(), platform.url.clone()).await
    };
    drop(watch().await);
    let session = platform.connect().await;
    session
        .batch_execute("SET search_path = shadow, public; SELECT 1::int2 & 1")
        .await
        .unwrap_err();
    let watch = watch().await;
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(watch))).unwrap_err();
}

#[tokio::test]
async fn s1_the_shadows_are_called_by_an_ordinary_session() {
    let platform = platform().await;
    platform.run("SET search_path = shadow, public").await;
    for statement in [
        "SELECT 'a'::varchar = 'a'::text",
        "SELECT 1::int2 & 1",
        "SELECT format('%s'::text, 'a'::text)",
    ] {
        let error = platform.client.batch_execute(statement).await.unwrap_err();
        assert!(
            error
                .as_db_error()
                .unwrap()
                .message()
                .contains("somebody else"),
            "{statement}: {error}"
        );
    }
}

#[tokio::test]
async fn s1_no_name_is_looked_up_where_somebody_else_can_put_one() {
    // Without foreign code, and with some of each kind, which makes the writes run under the search
    // path of the role.
    for code_of_others in [
        "",
        "CREATE TRIGGER theirs BEFORE UPDATE ON agent_configurations FOR EACH ROW EXECUTE FUNCTION \
        public.theirs()",
        "CREATE CONSTRAINT TRIGGER theirs AFTER UPDATE
              ON agent_configurations DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION public.theirs()",
    ] {
        let platform = platform().await;
        platform
            .run(&format!(
                "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                      RETURN NEW; END $$;
                 {code_of_others}"
            ))
            .await;
        says(
            &platform,
            &[
                "install",
                "--role",
                &format!("shadowed_{}", platform.name()),
            ],
            0,
        )
        .await;
        let daemon = Daemon::start(command(&platform, &["run"]));
        daemon.logged("caught up").await;

        // A batch with a problem of every kind, then a single agent, and a sweep.
        platform
            .run(
                r#"INSERT INTO agents (slug, name, voice_settings)
                   SELECT 'a' || i, 'n', '{"provider":"cartesia","voice_id":"v"}' FROM generate_series(1, 30) i;
                   UPDATE agents SET voice_settings = '{"provider":1}' WHERE slug = 'a3';
                   ALTER TABLE agent_configurations ADD CONSTRAINT short CHECK (length(voice_id) < 5);
                   UPDATE agents SET voice_settings = '{"provider":"openai","voice_id":"too long"}' WHERE slug = 'a4';
                   INSERT INTO agent_configurations (agent_slug, provider_config)
                   SELECT 'a' || i, '{}' FROM generate_series(1, 28) i"#,
            )
            .await;
        platform
            .holds("SELECT count(*) = 26 FROM agent_configurations WHERE voice_id = 'v'")
            .await;
        platform
            .holds("SELECT count(*) = 4 FROM agent_sync.problem")
            .await;
        for round in 0..5 {
            platform
                .save(
                    "a1",
                    &format!(r#"{{"provider":"openai","voice_id":"o{round}"}}"#),
                )
                .await;
            let synced = format!(
                "SELECT voice_id = 'o{round}' FROM agent_configurations WHERE agent_slug = \
                'a1'"
            );
            platform.holds(&synced).await;
        }
        platform
            .run("DELETE FROM agents WHERE slug = 'a30'; NOTIFY agent_sync, 'a1'")
            .await;
        platform
            .holds("SELECT count(*) = 3 FROM agent_sync.problem")
            .await;
        assert_none_called(&platform, "the daemon").await;

        for (arguments, code) in [
            (&["check"][..], 2),
            (&["check", "a1", "a4"], 2),
            (&["status"], 0),
            (&["doctor"], 0),
            (&["why", "a1"], 0),
            (&["why", "a4"], 0),
            (&["reconcile", "a2", "--yes"], 0),
            (&["reconcile", "--all", "--yes"], 1),
            (&["install"], 0),
        ] {
            says(&platform, arguments, code).await;
        }
        drop(daemon);
        says(&platform, &["reconcile", "--all", "--yes"], 1).await;
        says(&platform, &["uninstall", "--yes"], 0).await;
    }
}

/// GIVEN code of the platform that finds its tables by the search path of the role, in a trigger,
/// in a deferred one, and in a constraint, WHEN the daemon writes one agent or many, THEN the code
/// finds its tables.
#[tokio::test]
async fn s1_code_of_the_platform_keeps_the_path_of_the_role() {
    for code in [
        "CREATE TRIGGER noted AFTER UPDATE ON agent_configurations FOR EACH ROW EXECUTE FUNCTION \
        app.noted()",
        "CREATE CONSTRAINT TRIGGER noted AFTER UPDATE
              ON agent_configurations DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION app.noted()",
        "ALTER TABLE agent_configurations ADD CONSTRAINT allowed CHECK (app.is_allowed(voice_id))",
        "CREATE FUNCTION app.same(l text, r text) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN RETURN app.is_allowed(l); END $$;
         CREATE OPERATOR app.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = app.same);
         ALTER TABLE agent_configurations ADD CONSTRAINT allowed CHECK (voice_id
           OPERATOR(app.===) '')",
        "ALTER TABLE agent_configurations ADD UNIQUE (agent_slug, voice_id);
         CREATE TABLE app.copy (slug text, voice text, FOREIGN KEY (slug, voice)
             REFERENCES agent_configurations (agent_slug, voice_id) ON UPDATE CASCADE);
         CREATE FUNCTION app.copied() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN INSERT INTO note VALUES ('copied'); RETURN NEW; END $$;
         CREATE TRIGGER copied AFTER UPDATE ON app.copy FOR EACH ROW EXECUTE FUNCTION app.copied()",
        "CREATE DOMAIN app.voice AS text CHECK (app.is_allowed(VALUE));
         ALTER TABLE agent_configurations ALTER COLUMN voice_id TYPE app.voice",
    ] {
        let platform = Platform::installed().await;
        platform
            .run(&format!(
                "CREATE SCHEMA app; CREATE TABLE app.note (slug text);
                 CREATE FUNCTION app.noted() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO note VALUES (NEW.agent_slug); RETURN NEW; END $$;
                 CREATE FUNCTION app.is_allowed(voice text) RETURNS boolean LANGUAGE plpgsql AS
                     $$ BEGIN RETURN NOT EXISTS (SELECT FROM note WHERE slug = voice); END $$;
                 ALTER DATABASE {} SET search_path = app, public;
                   SET search_path = app, public; {code}",
                platform.name()
            ))
            .await;
        let daemon = platform.caught_up_daemon().await;
        for slug in ["a", "b", "c"] {
            platform.configure(slug).await;
        }
        platform
            .run(
                "INSERT INTO agents (slug, voice_settings) SELECT s, '{\"voice_id\":\"v\"}' \
                FROM unnest(ARRAY['a', 'b', 'c']) s",
            )
            .await;
        platform
            .holds("SELECT count(*) = 3 FROM agent_configurations WHERE voice_id = 'v'")
            .await;
        for round in 0..3 {
            platform
                .save("a", &format!(r#"{{"voice_id":"w{round}"}}"#))
                .await;
            let synced = format!(
                "SELECT voice_id = 'w{round}' FROM agent_configurations WHERE agent_slug = \
                'a'"
            );
            platform.holds(&synced).await;
        }
        assert_eq!(daemon.lines("did not write it").len(), 0, "{code}");
        assert_eq!(
            platform
                .value::<i64>(
                    "SELECT count(*) FROM \
                    agent_sync.problem"
                )
                .await,
            0,
            "{code}"
        );
    }
}

/// The words that stand before a parenthesis in the statements of a write.
const WORDS: [&str; 13] = [
    "materialized",
    "on",
    "any",
    "array",
    "exists",
    "from",
    "with",
    "as",
    "u",
    "t",
    "and",
    "history",
    "not",
];

#[test]
fn s1_what_is_unqualified_is_found() {
    for statement in [
        "SELECT count(*)",
        "SELECT 1 WHERE a = b",
        "SELECT a::text",
        "SELECT a::varchar(3)",
        "SELECT a COLLATE \"C\"",
        "SELECT a || b",
        "SELECT a IN (1)",
        "SELECT now()",
    ] {
        assert_ne!(
            unqualified(statement, &WORDS),
            Vec::<String>::new(),
            "{statement}"
        );
    }
    let good = "SELECT pg_catalog.count(*) FROM ROWS FROM (pg_catalog.unnest($1)) AS u (slug) \
        WHERE a OPERATOR(pg_catalog.=) ANY ($1)";
    assert_eq!(unqualified(good, &WORDS), Vec::<String>::new());
}

#[tokio::test]
async fn s1_the_statements_that_write_name_the_schema_of_everything() {
    let platform = Platform::installed().await;
    let layout = platform.layout().await;
    for history in [false, true] {
        for statement in [
            queries::write(&layout, history),
            queries::write_change(&layout, history),
        ] {
            assert_eq!(
                unqualified(&statement, &WORDS),
                Vec::<String>::new(),
                "{statement}"
            );
        }
    }
}
