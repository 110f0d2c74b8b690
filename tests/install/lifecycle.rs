//! `install`, `install --print`, `uninstall` (I6), through the binary.

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, Said};

/// The files of an install, in the order of the header of `sql/proof.sql`.
const INSTALL: [&str; 11] = [
    "prefix.sql",
    "names.sql",
    "proof.sql",
    "guard.sql",
    "mend.sql",
    "0001_schema.sql",
    "mend.sql",
    "capture.sql",
    "tables.sql",
    "attach.sql",
    "grant.sql",
];

/// The catalog entries that an install could change or leave behind.
const CATALOG: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' ||
          coalesce(c.relacl::text, '')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname NOT LIKE 'pg\\_%'
        UNION ALL SELECT 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') FROM pg_namespace
            WHERE nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast%'
        UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid) || p.proowner::regrole ||
          coalesce(p.proacl::text, '') FROM pg_proc p
            JOIN pg_namespace n ON n.oid = p.pronamespace
              WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
        UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger
          WHERE NOT tgisinternal
        UNION ALL SELECT 'role ' || rolname FROM pg_roles
        UNION ALL SELECT 'setting ' || s::text FROM pg_db_role_setting s
            WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database
              WHERE datname = current_database()))
        UNION ALL SELECT 'comment ' || objoid || ' ' || description FROM pg_description
          WHERE objoid >= 16384
        UNION ALL SELECT 'default ' || d::text FROM pg_default_acl d
    ) AS catalog (line)";

fn run(platform: &Platform, arguments: &[&str]) -> (i32, String, String) {
    let output = platform.command(arguments).output().unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

async fn catalog(platform: &Platform) -> String {
    // Other tests create and drop roles at the same time.
    platform
        .value::<String>(
            &CATALOG.replace("FROM pg_roles", "FROM pg_roles WHERE rolname LIKE 'agent%'"),
        )
        .await
}

#[tokio::test]
async fn i6_uninstall_leaves_the_catalog_as_it_was() {
    let platform = Platform::new().await;
    let before = catalog(&platform).await;
    assert_eq!(run(&platform, &["install"]).0, 0);
    let installed = catalog(&platform).await;
    assert_ne!(before, installed);
    platform.save("a", "{}").await;
    assert_eq!(run(&platform, &["uninstall", "--yes"]).0, 0);
    assert_eq!(before, catalog(&platform).await);

    let (code, said, _) = run(&platform, &["uninstall", "--yes"]);
    assert_eq!(code, 0);
    assert!(said.contains("nothing is installed"), "{said}");
}

/// The printed uninstall does the same as the command, also within the transaction of a migration
/// and where nothing is installed.
#[tokio::test]
async fn i6_a_printed_uninstall_is_the_uninstall() {
    let platform = Platform::new().await;
    let before = catalog(&platform).await;
    assert_eq!(run(&platform, &["install"]).0, 0);
    let (code, script, _) = run(&platform, &["uninstall", "--print"]);
    assert_eq!(code, 0);
    assert_ne!(before, catalog(&platform).await, "--print changes nothing");
    platform.run(&format!("BEGIN;\n{script}\nCOMMIT")).await;
    assert_eq!(before, catalog(&platform).await);
    platform.run(&script).await;
}

#[tokio::test]
async fn i6_a_second_install_changes_nothing_and_locks_nothing() {
    let platform = Platform::installed().await;
    let before = catalog(&platform).await;
    let oids = "SELECT string_agg(oid::text || xmin::text, ',' ORDER BY oid) FROM pg_trigger";
    let triggers: String = platform.value(oids).await;
    // A lock that blocks every lock of an install on the table.
    let writer = platform.connect().await;
    writer
        .batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('busy')")
        .await
        .unwrap();
    let (code, said, _) = run(&platform, &["install"]);
    assert_eq!(code, 0);
    assert!(
        said.contains("already installed, nothing to change"),
        "{said}"
    );
    assert_eq!(before, catalog(&platform).await);
    assert_eq!(
        triggers,
        platform.value::<String>(oids).await,
        "no trigger was made anew"
    );
}

#[tokio::test]
async fn i6_install_mends_what_was_tampered_with() {
    for damage in [
        "DROP TRIGGER agent_sync_update ON agents",
        "ALTER TABLE agents DISABLE TRIGGER agent_sync_update",
        "ALTER TABLE agents ENABLE TRIGGER agent_sync_update",
        "DROP VIEW agent_sync.state",
        "DROP TRIGGER agent_sync_insert ON agent_configurations",
        "CREATE OR REPLACE TRIGGER agent_sync_update AFTER UPDATE OF description ON agents
              FOR EACH ROW
             EXECUTE FUNCTION agent_sync.capture_agent();
         ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update",
        "ALTER FUNCTION agent_sync.capture_agent() SECURITY INVOKER",
        "ALTER FUNCTION agent_sync.capture_agent() SET search_path = public",
        "ALTER FUNCTION agent_sync.capture_agent() SET work_mem = '1MB'",
        "CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE plpgsql
              SECURITY DEFINER
             AS 'BEGIN RETURN NULL; END'",
        "GRANT EXECUTE ON FUNCTION agent_sync.capture_agent() TO PUBLIC",
    ] {
        let platform = Platform::installed().await;
        let before = catalog(&platform).await;
        platform.run(damage).await;
        let (code, said, error) = run(&platform, &["install"]);
        assert_eq!(code, 0, "{damage}: {error}");
        assert!(said.contains("default: installed"), "{damage}: {said}");
        let after = catalog(&platform).await;
        let without_oids = |catalog: String| -> Vec<String> {
            catalog
                .lines()
                .filter(|line| !line.starts_with("comment"))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(without_oids(before), without_oids(after), "{damage}");
    }
}

/// GIVEN an install by the owner of the tables, an ordinary role, WHEN the owner of a capture
/// function lacks a privilege, THEN an install repairs that, as the remedy of the fault says, and
/// the next install changes nothing.
#[tokio::test]
async fn i6_install_mends_an_owner_that_cannot_do_the_work() {
    for damage in [
        "REVOKE INSERT ON agent_sync.outbox FROM {owner}",
        "REVOKE ALL ON agent_sync.outbox FROM {owner}",
        "REVOKE SELECT ON agent_sync.outbox FROM {owner}",
        "REVOKE ALL ON SEQUENCE agent_sync.uncaptured FROM {owner}",
        "REVOKE USAGE ON SCHEMA agent_sync FROM {owner}",
        "REVOKE ALL ON ALL TABLES IN SCHEMA agent_sync FROM {owner}; REVOKE ALL ON ALL SEQUENCES \
        IN SCHEMA agent_sync FROM {owner}",
        "GRANT {other} TO {owner}; ALTER FUNCTION agent_sync.capture_agent() OWNER TO {other}",
        "DROP TABLE agent_sync.outbox CASCADE",
        "DROP SEQUENCE agent_sync.uncaptured",
    ] {
        let platform = Platform::new().await;
        let (owner, other) = owned(&platform).await;
        let install = async || platform.says_as(&owner, &["install"]).await;
        platform
            .run(&damage.replace("{owner}", &owner).replace("{other}", &other))
            .await;
        let said = install().await;
        assert!(
            said.code == 0 && said.out.contains("default: installed"),
            "{damage}: {} {}",
            said.out,
            said.err
        );
        // Both ways to append: with an awake daemon, and with a sleeping one that gets the ctid of
        // the row.
        platform.save("a", "{}").await;
        let sleeper = platform.connect().await;
        sleeper
            .batch_execute("SELECT pg_advisory_lock(1634169721, 2)")
            .await
            .unwrap();
        platform.save("b", "{}").await;
        assert_eq!(platform.outbox().await, ["a", "b"], "{damage}");
        assert_eq!(
            platform
                .value::<i64>("SELECT last_value FROM agent_sync.uncaptured")
                .await,
            0,
            "{damage}: nothing had to be counted"
        );
        let able: bool = platform
            .value(
                "SELECT bool_and(has_sequence_privilege(f.proowner, 'agent_sync.uncaptured',
                      'USAGE')
                                 AND f.proowner = n.nspowner)
                 FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                   WHERE n.nspname = 'agent_sync'",
            )
            .await;
        assert!(
            able,
            "{damage}: the functions belong to the owner of the schema, who can count"
        );
        let said = install().await;
        assert!(
            said.out.contains("nothing to change"),
            "{damage}: {}",
            said.out
        );
    }
}

/// Gives the tables and the install to an ordinary role. Returns that role, and a role without
/// rights.
async fn owned(platform: &Platform) -> (String, String) {
    let (owner, other) = (
        format!("owner_{}", platform.name()),
        format!("other_{}", platform.name()),
    );
    platform
        .run(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {other}; GRANT CREATE ON DATABASE {} TO {owner};
             GRANT ALL ON SCHEMA public TO {owner};
             ALTER TABLE agents OWNER TO {owner}; ALTER TABLE agent_configurations OWNER TO
               {owner}",
            platform.name()
        ))
        .await;
    assert_eq!(platform.says_as(&owner, &["install"]).await.code, 0);
    (owner, other)
}

#[tokio::test]
async fn i6_the_printed_script_does_the_same_as_install() {
    let printed = Platform::new().await;
    let (_, script, _) = run(&printed, &["install", "--print"]);
    printed.run(&script).await;
    let (_, said, _) = run(&printed, &["install"]);
    assert!(said.contains("nothing to change"), "{said}");
    printed.run(&script).await;
    printed.save("a", "{}").await;
    assert_eq!(printed.outbox().await, ["a"]);

    let tool = Platform::new().await;
    let before = catalog(&tool).await;
    tool.run("BEGIN").await;
    tool.run(&script).await;
    tool.run("ROLLBACK").await;
    // The transaction of the tool goes on with its own settings.
    let settings = "SELECT current_setting('search_path') || current_setting('lock_timeout')
        || current_setting('quote_all_identifiers')";
    tool.run("BEGIN; SET LOCAL search_path = \"$user\", app; SET LOCAL lock_timeout = '7s'")
        .await;
    let set: String = tool.value(settings).await;
    tool.run(&script).await;
    assert_eq!(tool.value::<String>(settings).await, set);
    tool.run("ROLLBACK").await;
    assert_eq!(
        before,
        catalog(&tool).await,
        "a migration tool can take it back"
    );
}

#[tokio::test]
async fn i6_the_files_can_be_run_by_psql() {
    let platform = Platform::new().await;
    let psql = |files: &[&str]| {
        let mut command = crate::support::cluster().program("psql");
        command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        for file in files {
            // The server's user may not be able to read this directory, so psql reads standard
            // input.
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            command.args(["-c", &text]);
        }
        let output = command.arg(&platform.url).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    psql(&INSTALL);
    psql(&INSTALL);
    platform.save("a", "{}").await;
    assert_eq!(platform.outbox().await, ["a"]);
    psql(&["names.sql", "proof.sql", "uninstall.sql"]);
    psql(&["names.sql", "proof.sql", "uninstall.sql"]);
    assert!(
        platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL")
            .await
    );
}

/// GIVEN a text of `sql/capture.sql` that `sql/attach.sql` replaces, WHEN only one of the two files
/// has it, THEN the install fails and names it: the function would not note the tenant, for
/// instance.
#[tokio::test]
async fn t5_an_install_refuses_a_text_that_it_cannot_replace() {
    let platform = Platform::new().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let append = "(slug) VALUES (old_slug)";
    for (from, to, cause) in [
        (format!("/* key */{append}"), append, "lacks the text"),
        (
            append.to_owned(),
            "(slug) SELECT (old_slug)",
            "lacks the text",
        ),
        (
            "/* key */a.attname".to_owned(),
            "a.attname",
            "lacks the text",
        ),
        (
            "agent_sync./* function */".to_owned(),
            "agent_sync.",
            "lacks the text",
        ),
        // One of several.
        (
            "/* key */(slug) VALUES (new_slug)".to_owned(),
            "(slug) VALUES (new_slug)",
            "does not replace",
        ),
        (
            "NOT /* notify */true".to_owned(),
            "NOT /* notify */ true",
            "does not replace",
        ),
    ] {
        let client = platform.connect().await;
        client.batch_execute("BEGIN").await.unwrap();
        let mut refused = None;
        for file in INSTALL {
            let mut text = std::fs::read_to_string(folder.join(file)).unwrap();
            if file == "capture.sql" {
                assert!(text.contains(&from), "{from}");
                text = text.replacen(&from, to, 1);
            }
            if let Err(error) = client.batch_execute(&text).await {
                refused = Some((file, error.as_db_error().unwrap().message().to_owned()));
                break;
            }
        }
        let (file, message) = refused.unwrap_or_else(|| panic!("{from}: no error"));
        assert!(
            file == "attach.sql" && message.contains(cause),
            "{from}: {file}: {message}"
        );
    }
}

/// Install waits for a busy table up to a limit and then reports it.
#[tokio::test]
async fn i6_install_waits_for_a_busy_table_up_to_a_limit() {
    let platform = Platform::new().await;
    let writer = platform.connect().await;
    writer
        .batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('busy')")
        .await
        .unwrap();
    let before = catalog(&platform).await;
    let (code, _, error) = run(&platform, &["install"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("55P03"), "{error}");
    assert!(error.contains("nothing was changed"), "{error}");
    writer.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(before, catalog(&platform).await);
    assert_eq!(run(&platform, &["install"]).0, 0);
}

#[tokio::test]
async fn i6_uninstall_stops_at_what_belongs_to_somebody_else() {
    let platform = Platform::installed().await;
    platform
        .run("CREATE VIEW report AS SELECT * FROM agent_sync.state")
        .await;
    let before = catalog(&platform).await;
    let (code, _, error) = run(&platform, &["uninstall", "--yes"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("nothing was changed") && error.contains("2BP01"),
        "{error}"
    );
    assert_eq!(before, catalog(&platform).await);
}

/// GIVEN two databases of which one is unreachable, WHEN agent-sync is installed and uninstalled in
/// both, THEN it works in the other one.
#[tokio::test]
async fn i6_an_absent_database_stops_no_other_install() {
    let platform = Platform::new().await;
    for (arguments, done) in [
        (&["install"][..], "there: installed"),
        (&["uninstall", "--all", "--yes"], "there: uninstalled"),
    ] {
        let mut command = platform.command(arguments);
        command.env_remove("DATABASE_URL");
        command.env(
            "AGENT_SYNC__DATABASES__AWAY__URL",
            "postgres://nobody@127.0.0.1:1/none",
        );
        command.env("AGENT_SYNC__DATABASES__THERE__URL", &platform.url);
        let said = Said::of(command).await;
        assert_eq!(said.code, 69, "{said:?}");
        assert!(
            said.err.contains("database away: could not connect") && said.out.contains(done),
            "{said:?}"
        );
    }
}

/// GIVEN a session that holds the install lock, WHEN agent-sync is installed, THEN the message
/// names the session with a remedy.
#[tokio::test]
async fn s7_a_holder_of_the_install_lock_is_named_with_a_remedy() {
    let platform = Platform::new().await;
    let role = format!("squatter_{}", platform.name());
    platform.run(&format!("CREATE ROLE {role} LOGIN")).await;
    let (squatter, _) = crate::support::platform::connect(&platform.url_as(&role)).await;
    let named = "SET application_name = 'idler'";
    squatter.batch_execute(named).await.unwrap();
    let pid: i32 = squatter
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    // Of the schema, and of the database.
    for lock in ["1634169721, 3", "1634169722, 1"] {
        let held = format!("SELECT pg_advisory_lock({lock})");
        squatter.batch_execute(&held).await.unwrap();
        let said = platform.says(&["install"]).await;
        assert_eq!(said.code, 1, "{said:?}");
        for part in [
            format!("the lock of an install (advisory, {lock}) is held"),
            format!("process {pid} (role {role}, application 'idler')"),
            format!("SELECT pg_terminate_backend({pid});"),
            "SQLSTATE 55P03".to_owned(),
        ] {
            assert!(said.err.contains(&part), "{part}: {}", said.err);
        }
        let released = format!("SELECT pg_advisory_unlock({lock})");
        squatter.batch_execute(&released).await.unwrap();
    }
    platform.install();
}

#[tokio::test]
async fn i6_an_install_that_gets_no_lock_says_so() {
    let platform = Platform::new().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let said = platform.says(&["install"]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err
            .contains("canceling statement due to lock timeout (SQLSTATE 55P03)"),
        "{}",
        said.err
    );
    assert!(
        said.err
            .contains("try: run it again when the session that holds one of the tables has ended"),
        "{}",
        said.err
    );
}

/// GIVEN a daemon, WHEN a migration drops the objects that PostgreSQL names, changes the types of
/// watched columns and installs again, THEN the daemon continues in its role, and the saves in
/// between are in sync as well.
#[tokio::test]
async fn i6_g1_a_watched_column_changes_its_type_without_an_uninstall() {
    let platform = Platform::new().await;
    let role = format!("migrated_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;

    let refused = platform
        .client
        .batch_execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(200)")
        .await;
    assert!(
        refused
            .unwrap_err()
            .as_db_error()
            .unwrap()
            .detail()
            .unwrap()
            .contains("trigger agent_sync_update")
    );
    let migration = "
        DROP VIEW agent_sync.state;
        DROP TRIGGER agent_sync_insert ON agents;
        DROP TRIGGER agent_sync_update ON agents;
        ALTER TABLE agents ALTER COLUMN name TYPE varchar(200), ALTER COLUMN slug TYPE
          varchar(100)";
    platform.run(migration).await;
    platform
        .run("UPDATE agents SET name = 'saved in between'")
        .await;
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("default: installed")
    );
    platform
        .holds("SELECT agent_name = 'saved in between' FROM agent_configurations")
        .await;
    platform
        .run("UPDATE agents SET name = 'saved afterwards'")
        .await;
    platform
        .holds("SELECT agent_name = 'saved afterwards' FROM agent_configurations")
        .await;
    assert!(
        platform
            .says(&["doctor"])
            .await
            .out
            .contains("  pass  capture")
    );
}

#[tokio::test]
async fn a_database_without_the_tables_is_told_what_is_missing() {
    let platform = Platform::with_tables(crate::support::cluster(), "SELECT 1").await;
    let (code, _, error) = run(&platform, &["install"]);
    assert_eq!(code, 1);
    assert!(
        error.contains("expected the table public.agents, and this database has none"),
        "{error}"
    );
    assert!(
        error.contains("try: Name the table of the agents"),
        "{error}"
    );
    platform
        .run(
            "CREATE TABLE agents (slug text, voice_settings jsonb); CREATE TABLE \
            agent_configurations (agent_slug text)",
        )
        .await;
    let (_, _, error) = run(&platform, &["install"]);
    assert!(
        error
            .contains("expected a column provider_config in the table public.agent_configurations"),
        "{error}"
    );
}

#[tokio::test]
async fn g1_a_virtual_column_that_no_trigger_could_watch_is_refused() {
    let platform = Platform::new().await;
    if platform
        .value::<i32>("SELECT current_setting('server_version_num')::int")
        .await
        < 180_000
    {
        return;
    }
    for (table, column) in [
        ("agents", "name"),
        ("agents", "slug"),
        ("agent_configurations", "agent_slug"),
    ] {
        let platform = Platform::new().await;
        let add = |kind| {
            format!(
                "ALTER TABLE {table} DROP COLUMN {column}; ALTER TABLE {table} ADD COLUMN {column} \
                text GENERATED ALWAYS AS ('x') {kind}"
            )
        };
        platform.run(&add("VIRTUAL")).await;
        let (code, _, error) = run(&platform, &["install"]);
        assert_eq!(code, 1, "{error}");
        let said = format!("the column {column} of the table public.{table} is VIRTUAL");
        assert!(error.contains(&said) && error.contains("STORED"), "{error}");
        platform.run(&add("STORED")).await;
        platform.install();
    }
}

#[tokio::test]
async fn every_object_has_a_comment() {
    let platform = Platform::installed().await;
    let bare: Vec<String> = platform
        .client
        .query(
            "SELECT 'relation ' || c.relname FROM pg_class c
                 WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind IN ('r', 'v', 'S')
                   AND obj_description(c.oid, 'pg_class') IS NULL
             UNION ALL SELECT 'column ' || c.relname || '.' || a.attname FROM pg_class c
               JOIN pg_attribute a ON a.attrelid = c.oid
                 WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind IN ('r', 'v')
                   AND a.attnum > 0
                   AND col_description(c.oid, a.attnum) IS NULL
             UNION ALL SELECT 'function ' || f.proname FROM pg_proc f
                 WHERE f.pronamespace = 'agent_sync'::regnamespace
                   AND obj_description(f.oid, 'pg_proc') IS NULL
             UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t
                 WHERE t.tgname LIKE 'agent_sync%' AND obj_description(t.oid, 'pg_trigger') IS NULL
             UNION ALL SELECT 'schema' WHERE obj_description('agent_sync'::regnamespace,
               'pg_namespace') IS NULL",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(bare, Vec::<String>::new());
}

/// GIVEN an install whose table `agent_sync.install` lost its row, WHEN it is installed again, by
/// the command or by the printed script, THEN the row is back, every agent is checked, and the next
/// install changes nothing.
#[tokio::test]
async fn i6_g14_install_puts_back_the_row_of_its_table() {
    for damage in [
        "DELETE FROM agent_sync.install",
        "TRUNCATE agent_sync.install",
        "TRUNCATE agent_sync.install, agent_sync.outbox, agent_sync.problem, agent_sync.history, \
        agent_sync.role, agent_sync.granted",
    ] {
        for printed in [false, true] {
            let platform = Platform::installed().await;
            platform.configure("a").await;
            platform.save("a", EXAMPLE).await;
            platform.run(damage).await;
            platform.run("DELETE FROM agent_sync.outbox").await;
            let (_, script, _) = run(&platform, &["install", "--print"]);
            if printed {
                platform.run(&script).await;
            } else {
                let said = platform.says(&["install"]).await;
                assert!(
                    said.out.contains("default: installed"),
                    "{damage}: {said:?}"
                );
            }
            let said = platform.says(&["install"]).await;
            assert!(said.out.contains("nothing to change"), "{damage}: {said:?}");
            let whole = "SELECT version = 3 AND uncaptured_seen = -1 AND tables <> '{}' FROM \
                agent_sync.install";
            assert!(
                platform
                    .value::<bool>(&whole.replace('3', &agent_sync::install::VERSION.to_string()))
                    .await
            );
            let _daemon = platform.daemon();
            platform.becomes("a", EXPECTED).await;
        }
    }
}

/// GIVEN a database restored from the schema of another without its rows, WHEN agent-sync is
/// installed, THEN it works.
#[tokio::test]
async fn i6_g14_a_dump_of_the_schema_alone_is_made_whole() {
    let Some((platform, said)) = restored(&["--schema-only"]).await else {
        return;
    };
    assert!(said.out.contains("default: installed"), "{said:?}");
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    let _daemon = platform.daemon();
    platform.becomes("a", EXPECTED).await;
}

/// GIVEN a dump of an install without its comments, WHEN it is restored, THEN the install
/// recognizes its objects by their structure, and the uninstall removes all of them.
#[tokio::test]
async fn i6_an_install_whose_comments_were_stripped_is_still_ours() {
    let Some((platform, said)) = restored(&["--no-comments", "--inserts"]).await else {
        return;
    };
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
    assert!(
        platform
            .says(&["uninstall", "--yes"])
            .await
            .out
            .contains("uninstalled")
    );
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'agent_sync%'";
    assert_eq!(platform.value::<i64>(left).await, 0);
    assert!(
        platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL")
            .await
    );
}

/// A database restored from a dump of one with an install, and the output of the install there;
/// `None` without a dump program.
async fn restored(options: &[&str]) -> Option<(Platform, Said)> {
    let cluster = crate::support::cluster();
    let source = Platform::installed().await;
    let mut dump = cluster.program("pg_dump");
    let Ok(output) = dump.args(options).arg(&source.url).output() else {
        return None;
    };
    if !output.status.success() {
        assert!(
            !cluster.has_program("pg_dump"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return None;
    }
    let platform = Platform::with_tables(cluster, "SELECT 1").await;
    let script: String = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('\\'))
        .flat_map(|line| [line, "\n"])
        .collect();
    platform.run(&script).await;
    platform
        .run("RESET search_path; RESET row_security; RESET check_function_bodies")
        .await;
    let said = platform.says(&["install"]).await;
    Some((platform, said))
}

/// GIVEN tables of agent-sync with row-level security, WHEN agent-sync is installed, THEN it is
/// disabled there and nowhere else, and a daemon with an ordinary role works.
#[tokio::test]
async fn i6_g14_install_disables_row_security_on_its_tables() {
    let every_new_table = "
        CREATE FUNCTION public.secure() RETURNS event_trigger LANGUAGE plpgsql AS $$
        DECLARE made record; BEGIN
            FOR made IN SELECT * FROM pg_event_trigger_ddl_commands()
              WHERE object_type = 'table' LOOP
                EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity);
            END LOOP; END $$;
        CREATE EVENT TRIGGER secure ON ddl_command_end
          WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.secure()";
    for (before, after, by_the_owner) in [
        (every_new_table, "", false),
        (
            "",
            "ALTER TABLE agent_sync.outbox ENABLE ROW LEVEL SECURITY",
            false,
        ),
        (
            "",
            "ALTER TABLE agent_sync.problem ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            true,
        ),
        (
            "",
            "ALTER TABLE agent_sync.install ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             ALTER TABLE agent_sync.role ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
             ALTER TABLE agent_sync.history FORCE ROW LEVEL SECURITY",
            true,
        ),
    ] {
        let platform = Platform::new().await;
        platform.run(before).await;
        let owner = if by_the_owner {
            Some(owned(&platform).await.0)
        } else {
            None
        };
        let role = format!("daemon_{}", platform.name());
        platform.run(&format!("CREATE ROLE {role} LOGIN")).await;
        let says = async |arguments: &[&str]| match &owner {
            Some(owner) => platform.says_as(owner, arguments).await,
            None => platform.says(arguments).await,
        };
        let said = says(&["install", "--role", &role]).await;
        assert_eq!(said.code, 0, "{said:?}");
        platform
            .run(&format!(
                "ALTER TABLE agents ENABLE ROW LEVEL SECURITY; ALTER TABLE agent_configurations
                      DISABLE ROW LEVEL SECURITY;
                 CREATE POLICY open ON agents FOR SELECT TO {role} USING (true); {after}"
            ))
            .await;
        let install = async || says(&["install"]).await;
        let expected = if after.is_empty() {
            "nothing to change"
        } else {
            "default: installed"
        };
        let said = install().await;
        assert!(said.out.contains(expected), "{after}: {said:?}");
        let said = install().await;
        assert!(said.out.contains("nothing to change"), "{after}: {said:?}");
        let secured = "SELECT string_agg(oid::regclass::text, ',') FROM pg_class WHERE \
            relrowsecurity OR relforcerowsecurity";
        assert_eq!(platform.value::<String>(secured).await, "agents", "{after}");
        platform.configure("a").await;
        platform.save("a", EXAMPLE).await;
        let mut command = platform.command(&["run"]);
        command.env("DATABASE_URL", platform.url_as(&role));
        let _daemon = Daemon::start(command);
        platform.becomes("a", EXPECTED).await;
    }
}

/// Objects that had a name of the install before: the SQL that creates them, and the text of the
/// refusal. `{install}` marks a previous install.
const TAKEN: &[(&str, &str)] = &[
    (
        "CREATE TRIGGER agent_sync_update AFTER UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION \
        public.theirs()",
        "the table public.agents has a trigger agent_sync_update that was not made by an install \
        of agent-sync: it calls public.theirs()",
    ),
    (
        "CREATE TRIGGER agent_sync_insert BEFORE INSERT ON agent_configurations FOR EACH ROW \
        EXECUTE FUNCTION public.theirs()",
        "the table public.agent_configurations has a trigger agent_sync_insert that was not made \
        by an install",
    ),
    (
        "CREATE SCHEMA agent_sync; CREATE TABLE agent_sync.notes (id int)",
        "the schema agent_sync was not made by an install of agent-sync: expected its comment or \
        its table agent_sync.install, found neither, but table agent_sync.notes",
    ),
    (
        "CREATE SCHEMA agent_sync; CREATE FUNCTION agent_sync.copy() RETURNS int LANGUAGE sql AS \
        'SELECT 1'",
        "found neither, but function agent_sync.copy()",
    ),
    (
        "CREATE SCHEMA agent_sync; CREATE TABLE agent_sync.outbox (slug text, at timestamptz,
              extra int);
         CREATE TABLE agent_sync.role (name text)",
        "agent_sync.outbox was not made by an install of agent-sync: expected the comment of an \
        install, or no column but its own, found neither, and the columns extra integer",
    ),
    (
        "{install}; DROP TABLE agent_sync.history; CREATE TABLE agent_sync.history (what text)",
        "agent_sync.history was not made by an install of agent-sync: expected the columns id \
        bigint, at timestamp with time zone",
    ),
    (
        "{install}; DROP TABLE agent_sync.history; CREATE VIEW agent_sync.history AS SELECT 1 AS \
        one",
        "agent_sync.history was not made by an install of agent-sync: expected a table, found \
        something else",
    ),
    (
        "{install}; DROP FUNCTION agent_sync.capture_agent() CASCADE;
         CREATE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE plpgsql AS
           'BEGIN RETURN NULL; END';
         CREATE TRIGGER agent_sync_update AFTER UPDATE ON agents
           FOR EACH ROW EXECUTE FUNCTION agent_sync.capture_agent()",
        "the function agent_sync.capture_agent() was not made by an install of agent-sync",
    ),
    (
        "{install}; DROP TRIGGER agent_sync_update ON agents;
         CREATE TRIGGER agent_sync_update AFTER UPDATE ON agents
           FOR EACH ROW EXECUTE FUNCTION public.theirs()",
        "the table public.agents has a trigger agent_sync_update that was not made by an install",
    ),
];

/// A foreign object with a name of the install is refused by name and kept.
#[tokio::test]
async fn i6_foreign_objects_with_our_names_are_refused_and_kept() {
    for (before, named) in TAKEN {
        let platform = Platform::new().await;
        platform
            .run(
                "CREATE TABLE seen (slug text);
                 CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO public.seen
                       SELECT to_jsonb(NEW) ->> 'slug'; RETURN NEW; END $$",
            )
            .await;
        if before.starts_with("{install}") {
            platform.install();
        }
        platform.run(before.trim_start_matches("{install};")).await;
        let as_it_was = catalog(&platform).await;
        let said = platform.says(&["install"]).await;
        assert!(
            said.code == 1 && said.err.contains(named),
            "{before}: {}",
            said.err
        );
        assert!(
            said.err.contains("not installed; nothing was changed") && said.err.contains("try: "),
            "{}",
            said.err
        );
        assert_eq!(catalog(&platform).await, as_it_was, "{before}");
        let (_, script, _) = run(&platform, &["install", "--print"]);
        let error = platform.client.batch_execute(&script).await.unwrap_err();
        assert!(
            error.as_db_error().unwrap().message().contains(named),
            "{before}: {error:?}"
        );
        let said = platform.says(&["uninstall", "--yes"]).await;
        if named.contains("trigger") {
            // The uninstall removes the objects of the install and keeps the foreign ones.
            assert_eq!(said.code, 0, "{before}: {}", said.err);
            platform
                .run("INSERT INTO agents (slug) VALUES ('a'); UPDATE agents SET name = 'b'")
                .await;
            platform
                .run("INSERT INTO agent_configurations (agent_slug) VALUES ('a')")
                .await;
            assert!(
                platform.value::<i64>("SELECT count(*) FROM seen").await > 0,
                "{before}: it still fires"
            );
        } else {
            assert!(
                said.code == 1 && said.err.contains(named),
                "{before}: {}",
                said.err
            );
            assert_eq!(catalog(&platform).await, as_it_was, "{before}");
        }
    }
}

/// A schema that was created for the install is used, and an empty one is kept.
#[tokio::test]
async fn i6_a_schema_made_for_the_install_is_used() {
    let platform = Platform::new().await;
    platform
        .run("CREATE SCHEMA agent_sync; COMMENT ON SCHEMA agent_sync IS 'for the tool'")
        .await;
    let said = platform.says(&["uninstall", "--yes"]).await;
    assert!(said.out.contains("nothing is installed"), "{said:?}");
    assert!(
        platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NOT NULL")
            .await
    );
    platform.install();
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
    platform.save("a", "{}").await;
    assert_eq!(platform.outbox().await, ["a"]);
    assert!(
        platform
            .says(&["uninstall", "--yes"])
            .await
            .out
            .contains("uninstalled")
    );
}

/// A foreign trigger that calls the capture function is never dropped.
#[tokio::test]
async fn i6_a_foreign_trigger_that_calls_our_function_is_kept() {
    let platform = Platform::installed().await;
    platform
        .run(
            "CREATE TABLE other (LIKE agents INCLUDING ALL);
             CREATE TRIGGER theirs AFTER INSERT ON other
               FOR EACH ROW EXECUTE FUNCTION agent_sync.capture_agent();
             DROP TRIGGER agent_sync_update ON agents",
        )
        .await;
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("default: installed")
    );
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
    let said = platform.says(&["uninstall", "--yes"]).await;
    assert!(
        said.code == 1
            && said
                .err
                .contains("trigger theirs on table public.other depends on function"),
        "{said:?}"
    );
    platform.run("INSERT INTO other (slug) VALUES ('a')").await;
    assert_eq!(platform.outbox().await, ["a"]);
    // A renamed trigger of the install still belongs to it.
    platform
        .run(
            "DROP TRIGGER theirs ON other; ALTER TRIGGER agent_sync_update ON agents RENAME TO \
            renamed",
        )
        .await;
    assert!(
        platform
            .says(&["uninstall", "--yes"])
            .await
            .out
            .contains("uninstalled")
    );
}

/// Installs for the tables in a schema.
async fn install_for(
    platform: &Platform,
    agents: (&str, &str),
    configurations: (&str, &str),
) -> Said {
    let mut command = platform.command(&["install"]);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__MAIN__URL", &platform.url);
    for (key, value) in [
        ("AGENTS__SCHEMA", agents.0),
        ("AGENTS__TABLE", agents.1),
        ("CONFIGURATIONS__SCHEMA", configurations.0),
        ("CONFIGURATIONS__TABLE", configurations.1),
    ] {
        command.env(format!("AGENT_SYNC__DATABASES__MAIN__{key}"), value);
    }
    Said::of(command).await
}

/// An install for other tables is refused, and the first one is unchanged.
#[tokio::test]
async fn t6_an_install_for_other_tables_is_refused() {
    let tables = ("agents", "agent_configurations");
    for (first, second) in [
        ("one", "two"),
        ("two", "one"),
        ("public", "two"),
        ("one", "public"),
    ] {
        let platform = Platform::new().await;
        for schema in ["one", "two"] {
            let tables = TABLES;
            platform
                .run(&format!(
                    "CREATE SCHEMA {schema}; SET search_path = {schema}; {tables}"
                ))
                .await;
        }
        platform.run("RESET search_path").await;
        let said = install_for(&platform, (first, tables.0), (first, tables.1)).await;
        assert_eq!(said.code, 0, "{said:?}");
        let before = catalog(&platform).await;
        for (agents, configurations) in [(second, second), (first, second), (second, first)] {
            let said = install_for(&platform, (agents, tables.0), (configurations, tables.1)).await;
            let cause = format!(
                "the install in this database serves {first}.agents and \
                {first}.agent_configurations, and this one was asked for {agents}.agents and \
                {configurations}.agent_configurations"
            );
            assert!(said.code == 1 && said.err.contains(&cause), "{said:?}");
            assert!(
                said.err.contains("nothing was changed")
                    && said.err.contains("agent-sync install --move"),
                "{said:?}"
            );
        }
        assert_eq!(catalog(&platform).await, before);
        platform
            .run(&format!(
                "INSERT INTO {first}.agents (slug) VALUES ('a'); INSERT INTO
                      {first}.agent_configurations (agent_slug) VALUES ('b');
                 INSERT INTO {second}.agents (slug) VALUES ('c')"
            ))
            .await;
        let mut noted = platform.outbox().await;
        noted.sort();
        assert_eq!(noted, ["a", "b"], "the triggers of the first fire");
        // The remedy of the message.
        assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
        assert_eq!(
            install_for(&platform, (second, tables.0), (second, tables.1))
                .await
                .code,
            0
        );
    }
}

/// Renamed, moved or swapped tables keep their install.
#[tokio::test]
async fn t6_renamed_moved_or_swapped_tables_keep_their_install() {
    let (agents, configurations) = (("public", "agents"), ("public", "agent_configurations"));
    for (change, agents, configurations) in [
        (
            "ALTER TABLE agents RENAME TO people",
            ("public", "people"),
            configurations,
        ),
        (
            "ALTER TABLE agent_configurations RENAME TO settings",
            agents,
            ("public", "settings"),
        ),
        (
            "CREATE SCHEMA moved; ALTER TABLE agents SET SCHEMA moved; ALTER TABLE \
            agent_configurations SET SCHEMA moved",
            ("moved", "agents"),
            ("moved", "agent_configurations"),
        ),
        (
            "ALTER TABLE agents RENAME TO agents_old; CREATE TABLE agents (LIKE agents_old \
            INCLUDING ALL)",
            agents,
            configurations,
        ),
        (
            "DROP VIEW agent_sync.state; DROP TABLE agents; CREATE TABLE people (slug text UNIQUE, \
            name text, voice_settings jsonb)",
            ("public", "people"),
            configurations,
        ),
    ] {
        let platform = Platform::installed().await;
        platform.run(change).await;
        let said = install_for(&platform, agents, configurations).await;
        assert!(
            said.code == 0 && said.out.contains("main: installed"),
            "{change}: {said:?}"
        );
        let said = install_for(&platform, agents, configurations).await;
        assert!(said.out.contains("nothing to change"), "{change}: {said:?}");
        platform
            .run(&format!(
                "INSERT INTO {}.{} (slug) VALUES ('a')",
                agents.0, agents.1
            ))
            .await;
        assert_eq!(platform.outbox().await, ["a"], "{change}");
    }
}

/// GIVEN strings in which a backslash escapes, WHEN the printed install is run, THEN the view names
/// the tenant of each agent, as after an install, and the setting is as before.
#[tokio::test]
async fn i6_the_printed_install_means_its_backslashes() {
    let platform = Platform::with_tenants("text").await;
    platform
        .run(&format!(
            "ALTER DATABASE {} SET standard_conforming_strings = off;
             INSERT INTO agents (slug, client_id) VALUES ('a', 'acme'), ('a', NULL)",
            platform.name()
        ))
        .await;
    let (_, script, _) = run(&platform, &["install", "--print"]);
    let client = platform.connect().await;
    client.batch_execute(&script).await.unwrap();
    let setting = client.query_one("SHOW standard_conforming_strings", &[]);
    assert_eq!(setting.await.unwrap().get::<_, String>(0), "off");
    let tenants = "SELECT array_agg(tenant ORDER BY tenant) FROM agent_sync.state";
    let tenants: Vec<Option<String>> = platform.value(tenants).await;
    assert_eq!(tenants, [Some("acme".to_owned()), None]);
    let again = platform.says(&["install"]).await;
    assert!(again.out.contains("nothing to change"), "{again:?}");
}

/// GIVEN settings of the database that change the meaning of SQL or the printed form of
/// definitions, WHEN agent-sync is installed twice, THEN the second install changes nothing,
/// whether the first ran under the setting or without it.
#[tokio::test]
async fn i6_settings_of_a_database_do_not_make_the_install_anew() {
    let settings = [
        "quote_all_identifiers = on",
        "plpgsql.extra_errors = 'all'",
        "plpgsql.variable_conflict = 'use_column'",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "search_path = ''",
        "default_transaction_isolation = 'serializable'",
        "row_security = off",
        "check_function_bodies = off",
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'iso_8601'",
        "TimeZone = 'Asia/Kathmandu'",
        "session_replication_role = 'replica'",
        "array_nulls = off",
        "escape_string_warning = off",
    ];
    let platform = Platform::new().await;
    let set = async |how: &str| {
        for setting in settings {
            let (name, _) = setting.split_once(' ').unwrap();
            let change = if how == "SET" { setting } else { name };
            platform
                .run(&format!(
                    "ALTER DATABASE {} {how} {change}",
                    platform.name()
                ))
                .await;
        }
    };
    let installs = async |expected: &str, when: &str| {
        let said = platform.says(&["install"]).await;
        assert!(said.out.contains(expected), "{when}: {said:?}");
    };
    set("SET").await;
    installs("default: installed", "under the settings").await;
    installs("nothing to change", "under the settings, again").await;
    set("RESET").await;
    installs("nothing to change", "without the settings").await;
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
    installs("default: installed", "without the settings").await;
    set("SET").await;
    installs("nothing to change", "under the settings, made without them").await;
    let (_, script, _) = run(&platform, &["install", "--print"]);
    let before = catalog(&platform).await;
    platform
        .connect()
        .await
        .batch_execute(&script)
        .await
        .unwrap();
    assert_eq!(before, catalog(&platform).await);
}

#[tokio::test]
async fn i6_an_event_trigger_that_refuses_the_install_is_told_as_such() {
    const REMEDY: &str = "try: An event trigger or function of this database refuses it; the \
        message above is its own: ask its owner, or run the install as a role that it lets \
        through.";
    for (on, body, cause) in [
        (
            "ddl_command_start",
            "RAISE EXCEPTION 'no DDL today'",
            "because: no DDL today (SQLSTATE P0001)",
        ),
        (
            "ddl_command_end",
            "RAISE EXCEPTION 'ask %', 'Ada' USING ERRCODE = '42501', HINT = 'in the office'",
            "because: ask Ada (SQLSTATE 42501)",
        ),
        (
            "ddl_command_end",
            "PERFORM 1 / 0",
            "because: division by zero (SQLSTATE 22012)",
        ),
        (
            "ddl_command_start",
            "EXECUTE 'SELECT * FROM no_such_table'",
            "because: relation \"no_such_table\" does not exist",
        ),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "CREATE FUNCTION public.nope() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
                      {body}; END $$;
                 CREATE EVENT TRIGGER nope ON {on} EXECUTE FUNCTION public.nope()"
            ))
            .await;
        let said = platform.says(&["install"]).await;
        assert!(
            said.code == 1 && said.err.contains(cause) && said.err.contains(REMEDY),
            "{}",
            said.err
        );
        platform.run("DROP EVENT TRIGGER nope").await;
        platform.install();
    }
}

#[tokio::test]
async fn a_view_where_a_table_is_expected_is_told_as_such() {
    for (table, key, kind, shown) in [
        ("agents", "agents", "VIEW", "a view"),
        ("agent_configurations", "configurations", "VIEW", "a view"),
        (
            "agents",
            "agents",
            "MATERIALIZED VIEW",
            "a materialized view",
        ),
        (
            "agent_configurations",
            "configurations",
            "MATERIALIZED VIEW",
            "a materialized view",
        ),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "ALTER TABLE {table} RENAME TO behind; CREATE {kind} {table} AS SELECT * FROM \
                behind"
            ))
            .await;
        let said = platform.says(&["install"]).await;
        let cause = format!(
            "because: agent-sync expected a table public.{table}, and it is {shown} (SQLSTATE \
            0A000)"
        );
        let remedy = format!(
            "try: Triggers see changes of tables only: name the table behind it in the settings of \
            this database ({key}.schema, {key}.table)."
        );
        assert!(
            said.code == 1 && said.err.contains(&cause) && said.err.contains(&remedy),
            "{}",
            said.err
        );
    }
}

#[tokio::test]
async fn t7_a_slug_of_another_type_is_refused_by_name() {
    for (table, column) in [("agents", "slug"), ("agent_configurations", "agent_slug")] {
        for (kind, value) in [
            ("jsonb", "'1'"),
            ("numeric", "1"),
            ("bytea", "'new'"),
            ("number", "2"),
        ] {
            let platform = Platform::new().await;
            platform.run("CREATE DOMAIN number AS real").await;
            let change = |table: &str, column: &str| {
                format!(
                    "ALTER TABLE {table} DROP COLUMN {column}; ALTER TABLE {table} ADD COLUMN \
                    {column} {kind} UNIQUE DEFAULT {value}"
                )
            };
            platform.run(&change(table, column)).await;
            let shown = if kind == "number" {
                format!("public.{kind}")
            } else {
                kind.to_owned()
            };
            let said = platform.says(&["install"]).await;
            let cause = |shown: &str| {
                format!(
                    "the slug column public.{table}.{column} has the type {shown}; agent-sync \
                    needs text, varchar, char, citext, uuid, an integer, an enum or a domain over \
                    one of them"
                )
            };
            assert!(
                said.code == 1 && said.err.contains(&cause(&shown)),
                "{}",
                said.err
            );
            assert!(
                said.err.contains(&format!("columns.{column})")),
                "{}",
                said.err
            );
            // The commands that read the tables report the same.
            let said = platform.says(&["check"]).await;
            assert!(
                said.err.contains(&cause(&shown))
                    && said.err.contains("try: Name a column of such a type"),
                "{}",
                said.err
            );
        }
    }
}

/// A tenant whose text depends on settings of a session, or whose equal values have several texts,
/// is refused by the install and by every command.
#[tokio::test]
async fn t7_a_tenant_of_another_type_is_refused_by_name() {
    for kind in [
        "bytea",
        "real",
        "double precision",
        "numeric",
        "date",
        "timestamp with time zone",
        "timestamp without time zone",
        "interval",
        "money",
        "jsonb",
        "xml",
        "boolean",
        "name",
        "oid",
        "text[]",
        "public.number",
    ] {
        let platform = Platform::with_tenants("text").await;
        platform.run("CREATE DOMAIN number AS real").await;
        for (table, other) in [
            ("agents", "agent_configurations"),
            ("agent_configurations", "agents"),
        ] {
            platform
                .run(&format!(
                    "ALTER TABLE {other} DROP COLUMN client_id, ADD COLUMN client_id text;
                     ALTER TABLE {table} DROP COLUMN client_id, ADD COLUMN client_id {kind}"
                ))
                .await;
            let cause = format!(
                "the tenant column public.{table}.client_id has the type {kind}; agent-sync needs \
                text, varchar, char, citext, uuid, an integer, an enum or a domain over one of them"
            );
            let install = platform.says(&["install"]).await;
            let check = platform.says(&["check"]).await;
            for said in [&install, &check] {
                assert!(said.code != 0 && said.err.contains(&cause), "{said:?}");
                assert!(
                    said.err.contains("try: Name a column of such a type"),
                    "{said:?}"
                );
                assert!(said.err.contains("columns.tenant"), "{said:?}");
            }
            let made = "SELECT to_regnamespace('agent_sync') IS NOT NULL";
            assert!(!platform.value::<bool>(made).await, "{kind}");
        }
    }
}

/// GIVEN an install, WHEN a tenant gets a type that is refused, THEN the daemon stops with the
/// cause.
#[tokio::test]
async fn t7_a_tenant_that_gets_another_type_is_told() {
    let platform = Platform::with_tenants("text").await;
    let command = |arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command
            .env("AGENT_SYNC__CAPTURE__CONFIGURATIONS", "false")
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        command
    };
    assert!(command(&["install"]).output().unwrap().status.success());
    let daemon = Daemon::start(command(&["run"]));
    daemon.logged("caught up").await;
    platform
        .run("ALTER TABLE agent_configurations ALTER client_id TYPE bytea USING NULL")
        .await;
    let cause = "the tenant column public.agent_configurations.client_id has the type bytea";
    let told = || {
        daemon
            .log()
            .into_iter()
            .any(|line| line.to_string().contains(cause))
    };
    crate::support::eventually("the daemon tells the cause", async || told()).await;
    let said = Said::of(command(&["doctor"])).await;
    let out = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.code == 2 && out.contains(cause), "{said:?}");
    platform
        .run("ALTER TABLE agent_configurations ALTER client_id TYPE text USING NULL")
        .await;
    daemon.logged("database available again, caught up").await;
}

/// GIVEN tenants of every type that is served, WHEN sessions save under settings that change the
/// text of other types, THEN each save is applied, and nothing drifts.
#[tokio::test]
async fn t7_tenants_of_every_type_are_in_sync_under_any_settings() {
    for (of_type, tenant) in [
        ("text", "\\x61aa"),
        ("varchar(20)", "2026-11-30 12:00+02"),
        ("char(20)", "1.50"),
        ("citext", "Acme"),
        ("narrow", "é/x"),
        ("uuid", "0b1f2c3d-0000-4000-8000-00000000abcd"),
        ("smallint", "-7"),
        ("integer", "7"),
        ("id", "9223372036854775807"),
        ("client", "the/second"),
        ("clients", "%third"),
    ] {
        let platform = Platform::with_tenants("text").await;
        let citext = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext')";
        if of_type == "citext" {
            if !platform.value::<bool>(citext).await {
                continue;
            }
            platform.run("CREATE EXTENSION citext").await;
        }
        platform
            .run(&format!(
                "CREATE DOMAIN narrow AS varchar(40); CREATE DOMAIN id AS bigint;
                 CREATE DOMAIN clients AS client;
                 ALTER TABLE agents ALTER client_id TYPE {of_type} USING NULL;
                 ALTER TABLE agent_configurations ALTER client_id TYPE {of_type} USING NULL"
            ))
            .await;
        platform.install();
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug, name) VALUES ('{tenant}', 'a', 'n');
                 INSERT INTO agent_configurations (client_id, agent_slug) VALUES ('{tenant}', 'a')"
            ))
            .await;
        let _daemon = platform.caught_up_daemon().await;
        platform
            .run(
                "SET bytea_output = 'escape'; SET extra_float_digits = -15; SET DateStyle = 'German';
                 SET IntervalStyle = 'iso_8601'; SET TimeZone = 'Asia/Tokyo'; SET lc_monetary = 'C';
                 UPDATE agents SET name = 'saved'",
            )
            .await;
        platform
            .holds("SELECT agent_name = 'saved' FROM agent_configurations")
            .await;
        platform.drained().await;
        let said = platform.says(&["check"]).await;
        assert_eq!(said.code, 0, "{of_type}: {said:?}");
    }
}

#[tokio::test]
async fn t7_slugs_of_every_kind_of_text_are_in_sync() {
    let setups = [
        ("text", "varchar(40)"),
        ("varchar(40)", "text"),
        ("char(20)", "char(20)"),
        ("narrow", "text"),
        ("narrower", "narrow"),
        ("citext", "citext"),
    ];
    for (of_agents, of_configurations) in setups {
        let platform = Platform::new().await;
        platform
            .run(
                "CREATE DOMAIN narrow AS varchar(40); CREATE DOMAIN narrower AS narrow CHECK \
                (VALUE <> '')",
            )
            .await;
        if of_agents == "citext" {
            let there = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext')";
            if !platform.value::<bool>(there).await {
                continue;
            }
            platform
                .run("CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions")
                .await;
            platform.run("SET search_path = public, extensions").await;
        }
        platform
            .run(&format!(
                "ALTER TABLE agents ALTER COLUMN slug TYPE {of_agents};
                 ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE {of_configurations}"
            ))
            .await;
        platform.install();
        let _daemon = platform.caught_up_daemon().await;
        platform
            .run(
                "INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ('sales', \
                '{}')",
            )
            .await;
        platform
            .run("INSERT INTO agents (slug, name) VALUES ('sales', 'one')")
            .await;
        platform
            .holds("SELECT agent_name = 'one' IS TRUE FROM agent_configurations")
            .await;
        platform.run("UPDATE agents SET name = 'two'").await;
        platform
            .holds("SELECT agent_name = 'two' FROM agent_configurations")
            .await;
    }
}

/// GIVEN slugs that are no text, WHEN agents and configurations are saved, renamed, moved and
/// requested, THEN they are in sync, an index serves where the type has one, and every command
/// works.
#[tokio::test]
async fn t7_slugs_of_other_types_are_in_sync() {
    let uuids = [
        "0b1f2c3d-0000-4000-8000-00000000abcd",
        "ffffffff-ffff-4fff-8fff-ffffffffffff",
    ];
    for (of_agents, of_configurations, [first, second], is_indexed) in [
        ("uuid", "uuid", uuids, true),
        ("uuid", "text", uuids, true),
        ("text", "uuid", uuids, true),
        ("integer", "integer", ["42", "7"], true),
        ("smallint", "bigint", ["1", "2"], true),
        ("bigint", "id", ["9223372036854775807", "0"], true),
        ("id", "text", ["1", "2"], true),
        ("stage", "stage", ["new", "old"], false),
        ("stages", "text", ["new", "old"], false),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "CREATE TYPE stage AS ENUM ('new', 'old'); CREATE DOMAIN stages AS stage;
                 CREATE DOMAIN id AS bigint CHECK (VALUE >= 0);
                 ALTER TABLE agents ALTER COLUMN slug TYPE {of_agents} USING NULL;
                 ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE {of_configurations}
                   USING NULL"
            ))
            .await;
        platform.install();
        let installed = platform.says(&["install"]).await;
        assert!(
            installed.out.contains("already installed"),
            "{of_agents}: {installed:?}"
        );
        let daemon = platform.caught_up_daemon().await;
        let holds = async |slug: &str, name: &str| {
            platform
                .holds(&format!(
                    "SELECT count(*) = 1 FROM agent_configurations WHERE agent_slug = '{slug}' AND \
                    agent_name = '{name}'"
                ))
                .await;
            platform.drained().await;
        };
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name) VALUES ('{first}', 'one');
                 INSERT INTO agent_configurations (agent_slug) VALUES ('{first}')"
            ))
            .await;
        holds(first, "one").await;
        // One change alone, and a batch.
        platform.run("UPDATE agents SET name = 'two'").await;
        holds(first, "two").await;
        platform
            .run(&format!(
                "UPDATE agents SET slug = '{second}', name = 'three'"
            ))
            .await;
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'missing_configuration' \
                AND slug = '{second}')"
            ))
            .await;
        platform
            .run(&format!(
                "UPDATE agent_configurations SET agent_slug = '{second}'"
            ))
            .await;
        holds(second, "three").await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
        platform
            .run("UPDATE agent_configurations SET agent_name = 'x'")
            .await;
        assert_eq!(platform.says(&["check"]).await.code, 2);
        // Text that is no value of the type is no error.
        platform
            .run(&format!(
                "NOTIFY agent_sync, 'no value'; NOTIFY agent_sync, '{second}'"
            ))
            .await;
        holds(second, "three").await;
        for arguments in [
            &["check"][..],
            &["check", second],
            &["why", second],
            &["reconcile", second],
        ] {
            let said = platform.says(arguments).await;
            assert_eq!(said.code, 0, "{of_agents} {arguments:?}: {said:?}");
        }
        let said = platform.says(&["doctor"]).await;
        assert_eq!(said.code, 0, "{of_agents}: {said:?}");
        let finds = said
            .out
            .contains("an index finds a slug in each of the two tables");
        assert_eq!(finds, is_indexed, "{of_agents}: {said:?}");
        assert!(daemon.outages().is_empty(), "{of_agents}");
    }
}

/// The owner of a partitioned table can add partitions after an install by a superuser.
#[tokio::test]
async fn g3_an_owner_adds_partitions_after_a_superuser_installed() {
    let platform = Platform::new().await;
    let owner = format!("app_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {owner}; GRANT CREATE, USAGE
                  ON SCHEMA public TO {owner}; DROP TABLE agents; SET ROLE {owner};
             CREATE TABLE agents (slug text NOT NULL, region text NOT NULL, name text,
               voice_settings jsonb, UNIQUE (slug, region))
                 PARTITION BY LIST (region);
             RESET ROLE"
        ))
        .await;
    platform.install();
    platform
        .run(&format!(
            "SET ROLE {owner}; CREATE TABLE agents_eu PARTITION OF agents FOR VALUES IN ('eu');
             INSERT INTO agents (slug, region, name) VALUES ('a', 'eu', 'n'); RESET ROLE"
        ))
        .await;
    assert_eq!(platform.outbox().await, ["a"]);
}

/// GIVEN a name that contains the quote of the printed script, THEN it does not end the quote, and
/// the script runs no part of the name.
#[tokio::test]
async fn s18_a_name_ends_no_quote_of_the_printed_script() {
    let platform = Platform::new().await;
    let role = "$agent_sync_install$; CREATE TABLE pwned (); SELECT $$";
    let said = platform.says(&["install", "--role", role, "--print"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    platform.run(&said.out).await;
    assert!(
        platform
            .value::<bool>("SELECT to_regclass('pwned') IS NULL")
            .await
    );
    let quoted = role.replace('\'', "''");
    assert!(
        platform
            .value::<bool>(&format!(
                "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{quoted}')"
            ))
            .await
    );
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
}

#[tokio::test]
async fn s19_a_role_whose_name_is_too_long_is_refused() {
    let platform = Platform::new().await;
    let name = platform.name().to_owned();
    let fits = format!("{name}{}", "r".repeat(63 - name.len()));
    let said = platform
        .says(&["install", "--role", &format!("{fits}r")])
        .await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("the name of the role has 64 bytes, and PostgreSQL keeps 63"),
        "{said:?}"
    );
    assert!(
        platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL")
            .await,
        "nothing was changed"
    );
    assert_eq!(platform.says(&["install", "--role", &fits]).await.code, 0);
    assert!(
        platform
            .value::<bool>(&format!(
                "SELECT has_table_privilege('{fits}', 'agent_sync.outbox', 'DELETE')"
            ))
            .await
    );
}

/// The planner of a session for batches would read the whole catalog once for each row of the
/// catalog.
#[tokio::test]
async fn a_database_with_thousands_of_tables_is_handled() {
    let platform = Platform::new().await;
    platform
        .run(
            "DO $$ BEGIN FOR i IN 1 .. 2000 LOOP
                 EXECUTE
                   format('CREATE TABLE other_%s (id bigint PRIMARY KEY, a text, b jsonb, c timestamptz, d text)', i);
             END LOOP; END $$",
        )
        .await;
    let limited = [
        ("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "5s"),
        ("AGENT_SYNC__SYNC__LOCK_TIMEOUT", "1s"),
    ];
    let command = |subcommand| {
        let mut command = platform.command(&[subcommand]);
        command.envs(limited);
        command
    };
    let said = Said::of(command("install")).await;
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = Daemon::start(command("run"));
    daemon.logged("caught up").await;
    let said = Said::of(command("doctor")).await;
    assert!(said.out.contains("0 faults"), "{said:?}");
    assert!(daemon.outages().is_empty());
}

/// GIVEN a renamed table of an install, WHEN the install is run again, THEN the table has its name
/// and its rows again; the uninstall removes it under the other name as well.
#[tokio::test]
async fn i6_a_table_that_was_renamed_gets_its_name_back() {
    let platform = Platform::installed().await;
    platform
        .run("INSERT INTO agent_sync.problem (slug, kind, detail) VALUES ('kept', 'failed', '')")
        .await;
    let before = catalog(&platform).await;
    for table in ["install", "problem", "role", "granted", "history"] {
        platform
            .run(&format!(
                "ALTER TABLE agent_sync.{table} RENAME TO {table}_of_before"
            ))
            .await;
        let (code, _, error) = run(&platform, &["install"]);
        assert_eq!(code, 0, "{table}: {error}");
        assert_eq!(before, catalog(&platform).await, "{table}");
    }
    platform
        .holds("SELECT count(*) = 1 FROM agent_sync.problem WHERE slug = 'kept'")
        .await;
    platform
        .run("ALTER TABLE agent_sync.history RENAME TO \"Of before\"")
        .await;
    let (code, _, error) = run(&platform, &["uninstall", "--yes"]);
    assert_eq!(code, 0, "{error}");
    platform
        .holds("SELECT to_regnamespace('agent_sync') IS NULL")
        .await;
}

/// GIVEN partitioned agents, WHEN the trigger of one partition is disabled, or enabled but not
/// ALWAYS, THEN the remedy, an install, repairs it.
#[tokio::test]
async fn g14_install_mends_the_trigger_of_one_partition() {
    let tables = TABLES.replace(
        "updated_at      timestamptz NOT NULL DEFAULT now()\n);",
        "updated_at      timestamptz NOT NULL DEFAULT now()\n) PARTITION BY LIST (slug);
         CREATE TABLE agents_a PARTITION OF agents FOR VALUES IN ('a');
         CREATE TABLE agents_b PARTITION OF agents FOR VALUES IN ('b');",
    );
    let tables = tables.replacen("PRIMARY KEY DEFAULT", "NOT NULL DEFAULT", 1);
    let platform = Platform::with_tables(crate::support::cluster(), &tables).await;
    platform.install();
    for state in ["DISABLE", "ENABLE", "ENABLE REPLICA"] {
        platform
            .run(&format!(
                "ALTER TABLE agents_a {state} TRIGGER agent_sync_update"
            ))
            .await;
        let said = platform.says(&["doctor"]).await;
        assert!(said.out.contains("agents_a.agent_sync_update"), "{said:?}");
        platform.install();
        platform
            .holds("SELECT bool_and(tgenabled = 'A') FROM pg_trigger WHERE tgname ~ '^agent_sync_'")
            .await;
        let said = platform.says(&["doctor"]).await;
        assert!(said.out.contains("  pass  capture"), "{said:?}");
    }
}

/// GIVEN agents whose slug is unique only for each customer, THEN each install names the key and
/// the possible tenant, and succeeds.
#[tokio::test]
async fn t5_install_names_a_key_that_is_not_unique() {
    let platform = Platform::new().await;
    platform
        .run(
            "ALTER TABLE agents DROP CONSTRAINT agents_slug_key;
             ALTER TABLE agents ADD COLUMN client int NOT NULL DEFAULT 1, ADD UNIQUE (client, slug)",
        )
        .await;
    for _ in 0..2 {
        let said = platform.says(&["install"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        for part in [
            "public.agents has no unique index on slug",
            "agents.columns.tenant = \"client\"",
            "whatever client that has",
        ] {
            assert!(said.err.contains(part), "{part}: {said:?}");
        }
    }
}

/// The first install says what comes next; one that changes nothing, `--quiet`, and an install
/// beside a daemon do not.
#[tokio::test]
async fn the_first_install_says_what_comes_next() {
    let platform = Platform::new().await;
    let role = format!("next_{}", platform.name());
    for (arguments, next) in [
        (vec!["install"], "start the daemon with `agent-sync run`;"),
        (vec!["install"], ""),
        (
            vec!["install", "--role", &role],
            "set the user of the connection to ",
        ),
    ] {
        let said = platform.says(&arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
        let expected = format!("agent-sync: default: next, {next}");
        assert!(
            if next.is_empty() {
                said.err.is_empty()
            } else {
                said.err.starts_with(&expected)
            },
            "{said:?}"
        );
    }
    let _daemon = platform.caught_up_daemon().await;
    platform
        .run("DROP TRIGGER agent_sync_insert ON agents")
        .await;
    let said = platform.says(&["install"]).await;
    assert!(
        said.out.contains("default: installed") && said.err.is_empty(),
        "{said:?}"
    );
    platform
        .run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"))
        .await;
}
