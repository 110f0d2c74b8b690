//! The checks at the start and at every reconnect (G10), and proof that no state of an install
//! blocks a save (C4).

use std::sync::Arc;
use std::time::Duration;

use agent_sync::pg::{AnswerLimit, Db, QueryError};
use agent_sync::store::Installed;

use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::{Daemon, Platform, Said, eventually};

/// The cause and the remedy of an unusable database.
async fn found(daemon: &Daemon) -> (String, String) {
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    (
        line["cause"].as_str().unwrap().to_owned(),
        line["remedy"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn standby_is_refused_until_promoted() {
    let (primary, platform) = Platform::on_own_server("").await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let name: String = platform.value("SELECT current_database()::text").await;
    let Some(standby) = crate::support::standby(&primary) else {
        return;
    };

    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", standby.url(&name))
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    let daemon = Daemon::start(command);
    let (cause, remedy) = found(&daemon).await;
    assert_eq!(cause, "this server is a standby, so nothing can be written");
    assert!(
        remedy.contains("Give the address of the primary"),
        "{remedy}"
    );
    daemon.logged_times("still unavailable", 3).await;

    drop(primary);
    standby.control(&["promote"]).unwrap();
    daemon.logged("caught up").await;
    let (client, _) = connect(&standby.url(&name)).await;
    let expected = format!("SELECT provider_config = '{EXPECTED}' FROM agent_configurations");
    assert!(
        client
            .query_one(&expected, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
    assert_eq!(
        daemon.lines("the daemon cannot work in the database").len(),
        1
    );
}

/// GIVEN a standby, WHEN it answers in place of the primary, as behind a proxy that splits reads
/// and writes, THEN the answer is refused; and `in_sync` tells a runtime there what is known.
#[tokio::test]
async fn g10_the_answer_of_a_standby_proves_nothing() {
    let (primary, platform) = Platform::on_own_server("").await;
    let name: String = platform.value("SELECT current_database()::text").await;
    let Some(standby) = crate::support::standby(&primary) else {
        return;
    };
    // The log of the sequence is ahead of it from now on.
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
    platform.install();
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform.becomes("a", EXPECTED).await;
    assert_eq!(platform.says(&["wait"]).await.code, 0);
    let (client, _) = connect(&standby.url(&name)).await;
    eventually("the standby has it in sync", async || {
        let in_sync = client
            .query_one("SELECT agent_sync.in_sync('a')", &[])
            .await;
        in_sync.is_ok_and(|row| row.get::<_, Option<bool>>(0) == Some(true))
    })
    .await;
    let db = Db::new(
        Arc::new(client),
        Duration::from_secs(30),
        AnswerLimit::default(),
    );
    let error = Installed::read(&db).await.unwrap_err();
    assert!(matches!(error, QueryError::Split), "{error}");
    assert!(error.remedy().contains("address of the primary"), "{error}");
    assert!(Installed::read(&platform.db()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_read_only_database_is_said_to_be_one_until_it_is_not() {
    let platform = Platform::installed().await;
    let name: String = platform.value("SELECT current_database()::text").await;
    platform
        .run(&format!(
            "ALTER DATABASE {name} SET default_transaction_read_only = on"
        ))
        .await;
    let daemon = platform.brisk_daemon();
    let (cause, remedy) = found(&daemon).await;
    assert_eq!(cause, "this server is read-only, so nothing can be written");
    assert!(remedy.contains("default_transaction_read_only"), "{remedy}");
    platform
        .run(&format!(
            "ALTER DATABASE {name} RESET default_transaction_read_only"
        ))
        .await;
    daemon.logged("caught up").await;
}

#[tokio::test]
async fn a_missing_stale_or_damaged_install_is_told_with_its_remedy() {
    for (damage, cause, remedy, mending) in [
        (
            "DROP SCHEMA agent_sync CASCADE",
            "agent-sync is not installed",
            "Run `agent-sync install`",
            "",
        ),
        (
            "DROP TABLE agent_sync.outbox CASCADE; DROP SEQUENCE agent_sync.uncaptured",
            "parts of the install are gone: agent_sync.outbox, agent_sync.uncaptured",
            "Run `agent-sync install`",
            "",
        ),
        (
            "UPDATE agent_sync.install SET version = 0",
            "the installed schema has version 0",
            "Run `agent-sync install` of this program's version",
            "UPDATE agent_sync.install SET version = {version}",
        ),
        (
            "UPDATE agent_sync.install SET version = 99",
            "the installed schema has version 99",
            "Run the version of agent-sync that installed it",
            "UPDATE agent_sync.install SET version = {version}",
        ),
    ] {
        let platform = Platform::installed().await;
        platform.run(damage).await;
        let daemon = platform.brisk_daemon();
        let (said, do_this) = found(&daemon).await;
        assert!(said.starts_with(cause), "{damage}: {said}");
        assert!(do_this.starts_with(remedy), "{damage}: {do_this}");
        if mending.is_empty() {
            platform.install();
        } else {
            let version = agent_sync::install::VERSION.to_string();
            platform.run(&mending.replace("{version}", &version)).await;
        }
        daemon.logged("caught up").await;
        assert_eq!(
            daemon.lines("the daemon cannot work in the database").len(),
            1,
            "{damage}"
        );
    }
}

/// Missing privileges are counted in the log and in `status`; `doctor` lists the grants that repair
/// them, one for each table.
#[tokio::test]
async fn missing_privileges_are_told_at_once_with_their_grants() {
    let platform = Platform::installed().await;
    let role = format!(
        "poor_{}",
        platform
            .value::<String>("SELECT current_database()::text")
            .await
    );
    platform
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA agent_sync TO {role};
             CREATE SCHEMA hidden; ALTER TABLE agents SET SCHEMA hidden;
             GRANT SELECT (slug) ON hidden.agents TO {role}"
        ))
        .await;
    let with = |subcommand: &str, url: &str| {
        let mut command = platform.command(&[subcommand]);
        command
            .env_remove("DATABASE_URL")
            .env("AGENT_SYNC__DATABASES__MAIN__URL", url);
        command.env("AGENT_SYNC__DATABASES__MAIN__AGENTS__SCHEMA", "hidden");
        command.env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
        command
    };
    assert!(with("install", &platform.url).status().unwrap().success());
    // After the install, which revokes what it has not granted.
    platform
        .run(&format!("GRANT SELECT ON agent_sync.outbox TO {role}"))
        .await;
    let url = platform.url_as(&role);
    let daemon = Daemon::start(with("run", &url));
    let (cause, remedy) = found(&daemon).await;
    assert_eq!(
        cause,
        format!("the role {role} lacks privileges on 8 objects")
    );
    let expected = format!("Run `agent-sync install --role {role}`");
    assert!(remedy.starts_with(&expected), "{remedy}");
    assert!(remedy.len() < 200 && !remedy.contains("GRANT"), "{remedy}");
    assert!(daemon.lines("caught up").is_empty());

    let told = async |arguments: &[&str]| {
        let mut command = with(arguments[0], &url);
        command.args(&arguments[1..]);
        Said::of(command).await.out
    };
    let json: serde_json::Value = serde_json::from_str(&told(&["doctor", "--json"]).await).unwrap();
    let checks = json["checks"].as_array().unwrap();
    let of = |topic: &str| checks.iter().find(|check| check["topic"] == topic).unwrap();
    assert_eq!(of("server").get("statements"), None);
    let grants = of("privileges")["statements"].as_array().unwrap();
    let grants: Vec<_> = grants.iter().map(|grant| grant.as_str().unwrap()).collect();
    let doctor = told(&["doctor"]).await;
    let doctor = doctor.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(doctor.contains(&grants.join(" ")), "{doctor}");
    for (object, lack) in [
        ("SCHEMA hidden", "USAGE"),
        (
            "hidden.agents",
            "SELECT (xmin, name, system_prompt, agent_image, voice_settings)",
        ),
        (
            "public.agent_configurations",
            "SELECT (tableoid, xmin, ctid, agent_slug, agent_name,",
        ),
        (
            "public.agent_configurations",
            "UPDATE (agent_name, system_prompt, agent_image, voice_id, temperature, \
            provider_config, voice_settings, updated_at, last_updated)",
        ),
        ("agent_sync.outbox", "DELETE, INSERT"),
        ("agent_sync.problem", "DELETE, INSERT, SELECT, UPDATE"),
        ("SEQUENCE agent_sync.uncaptured", "SELECT"),
        (
            "agent_sync.install",
            "UPDATE (uncaptured_seen, seal, last_sync, last_tried, tries, mapping, audit, \
            paused_since, paused_until, paused_by, pause_reason, pause_releases)",
        ),
    ] {
        let end = format!(" ON {object} TO {role};");
        let of_object: Vec<_> = grants
            .iter()
            .filter(|grant| grant.ends_with(&end))
            .collect();
        assert!(
            of_object.len() == 1 && of_object[0].contains(lack),
            "{lack} on {object} in {grants:?}"
        );
    }
    assert_eq!(grants.len(), 8, "{doctor}");
    let status = told(&["status"]).await + &told(&["status", "--json"]).await;
    assert!(
        status.contains("privileges on 8") && !status.contains("GRANT"),
        "{status}"
    );

    platform.run(&grants.join(" ")).await;
    daemon.logged("caught up").await;
}

/// Prepared transactions with notifications cause one warning.
#[tokio::test]
async fn g3_prepared_transactions_are_warned_of_once() {
    let (_own, platform) = Platform::on_own_server("max_prepared_transactions = 5").await;
    let daemon = platform.brisk_daemon();
    let line = daemon.logged("max_prepared_transactions is 5").await;
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("capture.notify = false"),
        "{line}"
    );
    daemon.logged("caught up").await;
    platform
        .run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name \
            LIKE 'agent-sync/%'",
        )
        .await;
    daemon.logged("database available again").await;
    assert_eq!(daemon.lines("max_prepared_transactions").len(), 1);

    let polling = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command.env("AGENT_SYNC__CAPTURE__NOTIFY", "false");
        command
    };
    assert!(daemon.terminate().await.success());
    let daemon = Daemon::start(polling(&["run"]));
    let line = daemon
        .logged("capture.notify is false, and the install")
        .await;
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("agent-sync install"),
        "{line}"
    );
    daemon.logged("caught up").await;
    assert!(daemon.lines("max_prepared_transactions").is_empty());
    let said = Said::of(polling(&["install"])).await;
    assert!(said.out.contains("default: installed"), "{said:?}");
    // A session with the idle lock cannot make such a save notify, which would fail it.
    let foreign = platform.connect().await;
    foreign
        .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
        .await
        .unwrap();
    platform
        .run("BEGIN; INSERT INTO agents (slug) VALUES ('noted'); PREPARE TRANSACTION 'n'")
        .await;
    platform.run("COMMIT PREPARED 'n'").await;
    drop(foreign);
    // With a polling daemon, a save in a prepared transaction succeeds even if it cannot be noted.
    platform
        .run("ALTER SCHEMA agent_sync RENAME TO elsewhere")
        .await;
    platform
        .run("BEGIN; INSERT INTO agents (slug) VALUES ('two-phase'); PREPARE TRANSACTION 'p'")
        .await;
    platform.run("COMMIT PREPARED 'p'").await;
}

/// Statements that damage an install, and statements that repair it; `agent-sync install` if empty.
/// `{owner}` owns the install; `{ui}` saves.
const DAMAGES: &[(&str, &str)] = &[
    ("DROP TABLE agent_sync.outbox CASCADE", ""),
    ("DROP TABLE agent_sync.problem CASCADE", ""),
    ("DROP TABLE agent_sync.install", ""),
    ("DROP VIEW agent_sync.state", ""),
    ("DROP SEQUENCE agent_sync.uncaptured", ""),
    (
        "DROP TABLE agent_sync.outbox CASCADE; DROP SEQUENCE agent_sync.uncaptured",
        "",
    ),
    ("DROP FUNCTION agent_sync.capture_agent() CASCADE", ""),
    ("DROP TRIGGER agent_sync_update ON agents", ""),
    ("ALTER TABLE agents DISABLE TRIGGER agent_sync_update", ""),
    ("DROP SCHEMA agent_sync CASCADE", ""),
    (
        "ALTER SCHEMA agent_sync RENAME TO elsewhere",
        "ALTER SCHEMA elsewhere RENAME TO agent_sync",
    ),
    (
        "ALTER TABLE agent_sync.outbox RENAME TO \
        gone",
        "ALTER TABLE agent_sync.gone RENAME TO \
        outbox",
    ),
    (
        "ALTER TABLE agent_sync.outbox SET SCHEMA \
        public",
        "ALTER TABLE public.outbox SET SCHEMA \
        agent_sync",
    ),
    (
        "ALTER TABLE agent_sync.outbox RENAME COLUMN slug TO s",
        "ALTER TABLE agent_sync.outbox RENAME COLUMN s TO slug",
    ),
    (
        "ALTER SEQUENCE agent_sync.uncaptured RENAME TO u; ALTER TABLE agent_sync.outbox RENAME TO \
        gone",
        "ALTER SEQUENCE agent_sync.u RENAME TO uncaptured; ALTER TABLE agent_sync.gone RENAME TO \
        outbox",
    ),
    (
        "ALTER TABLE agent_sync.outbox OWNER TO \
        {ui}",
        "ALTER TABLE agent_sync.outbox OWNER TO \
        {owner}",
    ),
    (
        "ALTER SCHEMA agent_sync OWNER TO {ui}",
        "ALTER SCHEMA agent_sync OWNER TO {owner}",
    ),
    (
        "ALTER FUNCTION agent_sync.capture_agent() OWNER TO {ui}",
        "ALTER FUNCTION agent_sync.capture_agent() OWNER TO {owner}",
    ),
    (
        "REVOKE ALL ON SCHEMA agent_sync FROM {owner}; REVOKE ALL ON ALL SEQUENCES IN SCHEMA \
        agent_sync FROM {owner}",
        "GRANT ALL ON SCHEMA agent_sync TO {owner}; GRANT ALL ON ALL SEQUENCES IN SCHEMA \
        agent_sync TO {owner}",
    ),
    (
        "REVOKE ALL ON agent_sync.outbox FROM {owner}",
        "GRANT ALL ON agent_sync.outbox TO {owner}",
    ),
    (
        "ALTER TABLE agent_sync.outbox ADD COLUMN more text NOT NULL",
        "ALTER TABLE agent_sync.outbox DROP COLUMN more",
    ),
    (
        "ALTER TABLE agent_sync.outbox ADD CONSTRAINT never CHECK (false) NOT VALID",
        "ALTER TABLE agent_sync.outbox DROP CONSTRAINT never",
    ),
    (
        "ALTER TABLE agent_sync.outbox ADD CONSTRAINT seldom CHECK (slug <> 'agent-100') NOT VALID",
        "ALTER TABLE agent_sync.outbox DROP CONSTRAINT seldom",
    ),
    (
        "CREATE UNIQUE INDEX once ON agent_sync.outbox (slug)",
        "DROP INDEX agent_sync.once",
    ),
    (
        "DROP VIEW agent_sync.state; ALTER TABLE agent_sync.outbox ALTER COLUMN slug TYPE \
        varchar(8)",
        "ALTER TABLE agent_sync.outbox ALTER COLUMN slug TYPE text",
    ),
    (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE TRIGGER fail BEFORE INSERT ON agent_sync.outbox
           FOR EACH ROW EXECUTE FUNCTION fail()",
        "DROP FUNCTION fail() CASCADE",
    ),
    (
        "ALTER TABLE agent_sync.outbox ENABLE ROW LEVEL SECURITY; ALTER TABLE agent_sync.outbox \
        FORCE ROW LEVEL SECURITY",
        "ALTER TABLE agent_sync.outbox NO FORCE ROW LEVEL SECURITY; ALTER TABLE agent_sync.outbox \
        DISABLE ROW LEVEL SECURITY",
    ),
    (
        "ALTER TABLE agent_sync.outbox SET UNLOGGED",
        "ALTER TABLE agent_sync.outbox SET LOGGED",
    ),
    (
        "CREATE RULE nothing AS ON INSERT TO agent_sync.outbox DO INSTEAD SELECT 1/0",
        "DROP RULE nothing ON agent_sync.outbox",
    ),
    (
        "BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE",
        "ROLLBACK",
    ),
    (
        "BEGIN; LOCK TABLE agent_sync.outbox, agent_sync.install, agent_sync.problem",
        "ROLLBACK",
    ),
    (
        "BEGIN; ALTER SCHEMA agent_sync RENAME TO elsewhere",
        "ROLLBACK",
    ),
    (
        "BEGIN; DROP TABLE agent_sync.outbox CASCADE; DROP SEQUENCE \
        agent_sync.uncaptured",
        "ROLLBACK",
    ),
];

#[tokio::test]
async fn saving_an_agent_succeeds_whatever_state_the_install_is_in() {
    let platform = Platform::new().await;
    let name: String = platform.value("SELECT current_database()::text").await;
    let (owner, ui) = (format!("damaged_{name}"), format!("ui_{name}"));
    // A superuser passes every privilege check, so the install belongs to an ordinary role.
    platform
        .run(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {ui} LOGIN; GRANT CREATE
                  ON DATABASE {name} TO {owner};
             GRANT ALL ON SCHEMA public TO {owner}; ALTER TABLE agents OWNER TO {owner};
             ALTER TABLE agent_configurations OWNER TO {owner}; GRANT SELECT, INSERT, UPDATE
               ON agents TO {ui};
             INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'new'
               FROM generate_series(1, 120) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"
        ))
        .await;
    let as_owner = |subcommand: &str| {
        let mut command = platform.command(&[subcommand]);
        command.env("DATABASE_URL", platform.url_as(&owner));
        command
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms");
        command
    };
    let install = || {
        let output = as_owner("install").output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    install();
    let daemon = Daemon::start(as_owner("run"));
    daemon.logged("caught up").await;
    let (editor, _) = connect(&platform.url_as(&ui)).await;
    editor
        .batch_execute("SET statement_timeout = '20s'")
        .await
        .unwrap();

    for (number, (damage, mending)) in DAMAGES.iter().enumerate() {
        let filled = |sql: &str| sql.replace("{owner}", &owner).replace("{ui}", &ui);
        // The daemon's locks are short, but the damage may meet one.
        eventually(damage, async || {
            let done = platform.client.batch_execute(&filled(damage)).await;
            if let Err(error) = &done {
                assert_eq!(error.code().unwrap().code(), "40P01", "{damage}: {error:?}");
            }
            done.is_ok()
        })
        .await;
        // One by one, all in one statement, each in a subtransaction, and a renamed one.
        let saves = format!(
            "UPDATE agents SET name = 'early-{number}' WHERE slug = 'agent-1';
             BEGIN;
             UPDATE agents SET name = 'middle-{number}' WHERE slug = 'agent-2';
             SAVEPOINT s; UPDATE agents SET name = 'late-{number}'
               WHERE slug = 'agent-3'; RELEASE s;
             UPDATE agents SET name = 'done-{number}';
             INSERT INTO agents (slug) VALUES ('new-{number}');
             UPDATE agents SET slug = 'renamed-{number}' WHERE slug = 'new-{number}';
             COMMIT"
        );
        // Also from a session without earlier saves.
        let (newcomer, _) = connect(&platform.url_as(&ui)).await;
        newcomer
            .batch_execute("SET statement_timeout = '20s'")
            .await
            .unwrap();
        let first = newcomer
            .batch_execute("UPDATE agents SET name = 'first' WHERE slug = 'agent-4'")
            .await;
        assert!(
            first.is_ok(),
            "{damage}: the first save of a session failed: {first:?}"
        );
        if let Err(error) = editor.batch_execute(&saves).await {
            panic!("{damage}: the save failed: {error:?}");
        }
        if mending.is_empty() {
            install();
        } else {
            platform.run(&filled(mending)).await;
        }
        let synced = format!(
            "SELECT count(*) = 120 FROM agent_configurations WHERE agent_name = 'done-{number}'"
        );
        eventually(
            &format!("{damage}: every agent is in sync again"),
            async || platform.value::<bool>(&synced).await,
        )
        .await;
        platform
            .run("DELETE FROM agents WHERE slug LIKE 'renamed-%'")
            .await;
    }
}

/// An install without its record is reported at the start, in a sweep and by `doctor`.
#[tokio::test]
async fn g14_an_install_without_its_record_is_told() {
    let platform = Platform::installed().await;
    let record = "the install has no record of itself, as after a copy of the schema alone";
    let running = platform.brisk_daemon();
    running.logged("caught up").await;
    let row: String = platform
        .value("SELECT to_jsonb(i)::text FROM agent_sync.install i")
        .await;
    platform.run("TRUNCATE agent_sync.install").await;
    let (starting, damaged) = (
        platform.brisk_daemon(),
        platform.says(&["doctor", "--json"]).await,
    );
    for daemon in [&running, &starting] {
        let (cause, remedy) = found(daemon).await;
        assert!(cause.starts_with(record), "{cause}");
        assert!(remedy.starts_with("Run `agent-sync install`"), "{remedy}");
    }
    assert_eq!(damaged.code, 2, "{damaged:?}");
    assert!(
        damaged.out.contains(record) && !damaged.out.contains("unexpected number of rows"),
        "{damaged:?}"
    );
    let said = platform.says(&["status", "--json"]).await;
    assert_eq!(said.object()["state"], "broken", "{said:?}");
    assert!(said.object()["outbox"].is_null(), "{said:?}");

    // A save without a capture is repaired, because the record was missing.
    platform.configure("a").await;
    platform
        .run("ALTER TABLE agents DISABLE TRIGGER USER")
        .await;
    platform.save("a", EXAMPLE).await;
    platform
        .run(
            "ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert; ALTER TABLE agents \
            ENABLE ALWAYS TRIGGER agent_sync_update",
        )
        .await;
    platform
        .run(&format!(
            "INSERT INTO agent_sync.install SELECT * FROM \
            jsonb_populate_record(NULL::agent_sync.install, $${row}$$)"
        ))
        .await;
    platform.becomes("a", EXPECTED).await;
}

#[tokio::test]
async fn t6_tables_that_the_install_was_not_made_for_are_refused() {
    for (from, to) in [
        ("agents", "AGENT_SYNC__DATABASES__MAIN__AGENTS__TABLE"),
        (
            "agent_configurations",
            "AGENT_SYNC__DATABASES__MAIN__CONFIGURATIONS__TABLE",
        ),
    ] {
        let platform = Platform::installed().await;
        platform
            .run(&format!("CREATE TABLE others (LIKE {from} INCLUDING ALL)"))
            .await;
        let with = |subcommand: &str| {
            let mut command = platform.command(&[subcommand]);
            command
                .env_remove("DATABASE_URL")
                .env("AGENT_SYNC__DATABASES__MAIN__URL", &platform.url);
            command
                .env(to, "others")
                .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
            command
        };
        let daemon = Daemon::start(with("run"));
        let (cause, remedy) = found(&daemon).await;
        assert!(
            cause.contains(
                "the install is for the tables public.agents and public.agent_configurations"
            ),
            "{cause}"
        );
        assert!(cause.contains("public.others"), "{cause}");
        assert!(
            remedy.contains("Name the tables of the install in the settings"),
            "{remedy}"
        );
        let doctor = crate::support::Said::of(with("doctor")).await;
        assert!(
            doctor.code == 2 && doctor.out.contains("the install is for the tables"),
            "{doctor:?}"
        );
    }
    // A running daemon finds an install for other tables in its next sweep.
    let platform = Platform::installed().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform
        .run(
            "UPDATE agent_sync.install SET tables = tables || '{\"agents\": {\"schema\": \
            \"other\", \"table\": \"user\"}}'",
        )
        .await;
    let (cause, _) = found(&daemon).await;
    assert!(
        cause.contains("the tables other.user and public.agent_configurations"),
        "{cause}"
    );
}

/// An index of an outdated collation is reported and not used.
#[tokio::test]
async fn g14_an_index_of_an_outdated_collation_is_not_used() {
    for (collated, told) in [
        (&["agents ALTER COLUMN slug"][..], 1),
        (&["agent_configurations ALTER COLUMN agent_slug"], 1),
        (
            &[
                "agents ALTER COLUMN slug",
                "agent_configurations ALTER COLUMN agent_slug",
            ],
            2,
        ),
    ] {
        let platform = Platform::new().await;
        platform
            .run("CREATE COLLATION plat (provider = icu, locale = 'en')")
            .await;
        for column in collated {
            platform
                .run(&format!("ALTER TABLE {column} TYPE text COLLATE plat"))
                .await;
        }
        platform.install();
        platform
            .run(
                "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'first'
                      FROM generate_series(1, 400) i;
                 INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            )
            .await;
        let daemon = platform.brisk_daemon();
        platform
            .holds("SELECT count(*) = 400 FROM agent_configurations WHERE agent_name = 'first'")
            .await;
        assert!(daemon.lines("the collation").is_empty());
        assert!(daemon.terminate().await.success());

        // Another collation library compares digits as numbers, and the indexes have the old order.
        platform
            .run(
                "DO $$ BEGIN EXECUTE
                      format('UPDATE pg_collation SET %I = ''en-u-kn-true'', collversion = ''1.0'' WHERE collname = ''plat''',
                     (SELECT attname FROM pg_attribute WHERE attrelid = 'pg_collation'::regclass
                          AND attname IN ('colliculocale', 'colllocale', 'collcollate')
                            ORDER BY attname DESC LIMIT 1)); END $$;
                 -- PostgreSQL 14 has the locale of ICU in two columns, and later versions in
                 -- neither.
                 UPDATE pg_collation SET collctype = collcollate WHERE collname = 'plat'",
            )
            .await;
        let daemon = platform.brisk_daemon();
        let lines = daemon
            .logged_times("the collation public.plat of", told)
            .await;
        for line in &lines {
            let remedy = line["remedy"].as_str().unwrap();
            assert!(
                remedy.contains("ALTER COLLATION public.plat REFRESH VERSION"),
                "{line}"
            );
            assert!(remedy.starts_with("REINDEX TABLE public.agent"), "{line}");
        }
        let doctor = platform.says(&["doctor", "--json"]).await;
        assert!(
            doctor
                .out
                .contains("so no index is used to find a slug there"),
            "{doctor:?}"
        );
        platform
            .run(
                "SET enable_indexscan = off; SET enable_bitmapscan = off; SET \
                enable_indexonlyscan = off",
            )
            .await;
        for number in [2, 9, 99, 100, 150, 399] {
            let saved = format!("UPDATE agents SET name = 'saved' WHERE slug = 'agent-{number}'");
            assert_eq!(platform.client.execute(&saved, &[]).await.unwrap(), 1);
        }
        platform
            .holds("SELECT count(*) = 6 FROM agent_configurations WHERE agent_name = 'saved'")
            .await;
        platform.drained().await;
        assert_eq!(platform.problems().await, 0);
        let check = platform.says(&["check"]).await;
        assert_eq!(check.code, 0, "{check:?}");
        assert!(daemon.terminate().await.success());

        // Rebuilt indexes are used again. A session caches the order, so this is another session.
        let mending = platform.connect().await;
        for statement in [
            "REINDEX TABLE agents",
            "REINDEX TABLE agent_configurations",
            "ALTER COLLATION plat REFRESH VERSION",
        ] {
            mending.batch_execute(statement).await.unwrap();
        }
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        mending
            .batch_execute("UPDATE agents SET name = 'last'")
            .await
            .unwrap();
        platform
            .holds("SELECT count(*) = 400 FROM agent_configurations WHERE agent_name = 'last'")
            .await;
        assert!(daemon.lines("the collation").is_empty());
    }
}

/// A full notification queue does not keep a daemon from connecting, and is reported.
#[tokio::test]
async fn g8_a_full_notification_queue_stops_no_connection() {
    let version = Platform::new()
        .await
        .value::<i32>("SELECT current_setting('server_version_num')::int")
        .await;
    if version < 170_000 {
        eprintln!(
            "skipped: before PostgreSQL 17, the queue of notifications is too large to be filled"
        );
        return;
    }
    let settings = "max_notify_queue_pages = 64";
    let (_own, platform) = Platform::on_own_server(settings).await;
    platform.configure("a").await;
    let stuck = platform.connect().await;
    stuck
        .batch_execute("SET application_name = 'stuck'; LISTEN filler")
        .await
        .unwrap();
    stuck.batch_execute("BEGIN; SELECT 1").await.unwrap();
    let filler = platform.connect().await;
    eventually("the queue is full", async || {
        filler
            .batch_execute("SELECT pg_notify('filler', repeat('x', 7000))")
            .await
            .is_err()
    })
    .await;

    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__SYNC__POLL_INTERVAL", "100ms");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let line = daemon.logged("the queue of notifications is").await;
    assert!(
        line["message"].as_str().unwrap().contains("stuck"),
        "{line}"
    );
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    let doctor = platform.says(&["doctor", "--json"]).await;
    assert!(
        doctor.code == 2 && doctor.out.contains("the queue of notifications is"),
        "{doctor:?}"
    );

    stuck.batch_execute("COMMIT").await.unwrap();
    eventually("it is no fault any more", async || {
        platform.says(&["doctor"]).await.code == 0
    })
    .await;
}

#[tokio::test]
async fn g14_what_is_left_out_or_gone_without_harm_is_named() {
    for (change, said, cure) in [
        (
            "ALTER TABLE agent_configurations ALTER COLUMN updated_at DROP DEFAULT, ALTER COLUMN \
            updated_at TYPE text",
            "updated_at of public.agent_configurations has the type text, which is no timestamp",
            "ALTER TABLE agent_configurations ALTER COLUMN updated_at TYPE timestamptz USING \
            updated_at::timestamptz",
        ),
        (
            "DROP VIEW agent_sync.state",
            "the install lacks agent_sync.state",
            "",
        ),
        (
            "DROP TABLE agent_sync.granted",
            "the install lacks agent_sync.granted",
            "",
        ),
        (
            "DROP TABLE agent_sync.role CASCADE",
            "the install lacks agent_sync.role",
            "",
        ),
    ] {
        let platform = Platform::installed().await;
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        platform.run(change).await;
        let daemon = platform.brisk_daemon();
        daemon.logged(said).await;
        platform.becomes("a", EXPECTED).await;
        let doctor = platform.says(&["doctor"]).await;
        assert!(
            doctor.code == 0 && doctor.out.contains("warn"),
            "{change}: {doctor:?}"
        );
        platform.run(cure).await;
        platform.install();
        let doctor = platform.says(&["doctor", "--json"]).await;
        assert!(!doctor.out.contains(said), "{change}: {doctor:?}");
    }
}

#[tokio::test]
async fn g14_a_table_of_the_platform_that_a_crash_empties_is_named() {
    for table in ["agents", "agent_configurations"] {
        let platform = Platform::installed().await;
        platform
            .run(&format!("ALTER TABLE {table} SET UNLOGGED"))
            .await;
        let daemon = platform.caught_up_daemon().await;
        let line = daemon
            .logged(&format!("the table public.{table} is UNLOGGED"))
            .await;
        platform.run(line["remedy"].as_str().unwrap()).await;
        let said = platform.says(&["doctor"]).await;
        assert!(!said.out.contains("UNLOGGED"), "{}", said.out);
    }
    let platform = Platform::installed().await;
    platform
        .run("CREATE UNLOGGED TABLE child () INHERITS (agents)")
        .await;
    let daemon = platform.caught_up_daemon().await;
    daemon.logged("the table public.child is UNLOGGED").await;
}

/// A synchronous standby that is missing delays neither the daemon nor the commands: the saves of
/// writers that do not wait for it are applied.
#[tokio::test]
async fn g16_a_missing_synchronous_standby_delays_nothing() {
    let (_own, platform) = Platform::on_own_server("").await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    platform.run("SET synchronous_commit = local").await;
    platform
        .run("ALTER SYSTEM SET synchronous_standby_names = 'missing'")
        .await;
    platform.run("SELECT pg_reload_conf()").await;
    platform
        .holds("SELECT current_setting('synchronous_standby_names') = 'missing'")
        .await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    let status = platform.says(&["status"]).await;
    assert!(status.out.contains(" ok "), "{status:?}");
    let doctor = platform.says(&["doctor"]).await;
    assert!(doctor.out.contains("round trip    outbox"), "{doctor:?}");

    assert!(daemon.terminate().await.success());
    let daemon = platform.caught_up_daemon().await;
    platform.save("a", "{}").await;
    platform.drained().await;
    assert_eq!(daemon.outages().len(), 0);
}

/// A time limit of the role that ends the statements of a new session is told with its remedy.
#[tokio::test]
async fn g10_a_time_limit_of_the_role_is_told() {
    let platform = Platform::new().await;
    let role = format!("hasty_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    platform
        .run(&format!("ALTER ROLE {role} SET statement_timeout = '1ms'"))
        .await;
    // Some attempts are fast enough.
    eventually("a statement takes longer", async || {
        let said = platform.says_as(&role, &["doctor", "--json"]).await;
        let object = said.object();
        let checks = object["checks"].as_array().unwrap();
        let check = &checks[0];
        let is_told = check["text"].to_string().contains("57014");
        let remedy = check["remedy"].to_string();
        assert!(
            !is_told || remedy.contains("ALTER ROLE … RESET statement_timeout"),
            "{object}"
        );
        is_told
    })
    .await;
}
