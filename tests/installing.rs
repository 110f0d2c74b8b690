//! `install`, `install --print`, `uninstall` (I6), through the binary.

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, Said};

/// Everything in the catalog that an install could leave behind or change.
const CATALOG: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT 'relation ' || n.nspname || '.' || c.relname || ' ' || c.relkind::text || ' ' || coalesce(c.relacl::text, '')
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_%'
        UNION ALL SELECT 'schema ' || nspname || ' ' || coalesce(nspacl::text, '') FROM pg_namespace
            WHERE nspname NOT LIKE 'pg\\_temp%' AND nspname NOT LIKE 'pg\\_toast%'
        UNION ALL SELECT 'function ' || pg_get_functiondef(p.oid) || p.proowner::regrole || coalesce(p.proacl::text, '') FROM pg_proc p
            JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
        UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'role ' || rolname FROM pg_roles
        UNION ALL SELECT 'setting ' || s::text FROM pg_db_role_setting s
        UNION ALL SELECT 'comment ' || objoid || ' ' || description FROM pg_description WHERE objoid >= 16384
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
    // Other tests make and drop roles at the same time.
    platform
        .value::<String>(&CATALOG.replace("FROM pg_roles", "FROM pg_roles WHERE rolname LIKE 'agent%'"))
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
    assert_eq!(run(&platform, &["uninstall"]).0, 0);
    assert_eq!(before, catalog(&platform).await);

    let (code, said, _) = run(&platform, &["uninstall"]);
    assert_eq!(code, 0);
    assert!(said.contains("nothing is installed"), "{said}");
}

#[tokio::test]
async fn i6_a_second_install_changes_nothing_and_locks_nothing() {
    let platform = Platform::installed().await;
    let before = catalog(&platform).await;
    let oids = "SELECT string_agg(oid::text || xmin::text, ',' ORDER BY oid) FROM pg_trigger";
    let triggers: String = platform.value(oids).await;
    // A lock that install would have to wait for, if it wanted any on the table.
    let writer = platform.connect().await;
    writer.batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('busy')").await.unwrap();
    let (code, said, _) = run(&platform, &["install"]);
    assert_eq!(code, 0);
    assert!(said.contains("already installed, nothing to change"), "{said}");
    assert_eq!(before, catalog(&platform).await);
    assert_eq!(triggers, platform.value::<String>(oids).await, "no trigger was made anew");
}

#[tokio::test]
async fn i6_install_mends_what_was_tampered_with() {
    for damage in [
        "DROP TRIGGER agent_sync_update ON agents",
        "ALTER TABLE agents DISABLE TRIGGER agent_sync_update",
        "ALTER TABLE agents ENABLE TRIGGER agent_sync_update",
        "DROP VIEW agent_sync.state",
        "DROP TRIGGER agent_sync_insert ON agent_configurations",
        "CREATE OR REPLACE TRIGGER agent_sync_update AFTER UPDATE OF description ON agents FOR EACH ROW
             EXECUTE FUNCTION agent_sync.capture_agent();
         ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update",
        "ALTER FUNCTION agent_sync.capture_agent() SECURITY INVOKER",
        "ALTER FUNCTION agent_sync.capture_configuration() RESET search_path",
        "ALTER FUNCTION agent_sync.capture_agent() SET search_path = public",
        "ALTER FUNCTION agent_sync.capture_agent() SET work_mem = '1MB'",
        "CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
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
            catalog.lines().filter(|line| !line.starts_with("comment")).map(str::to_owned).collect()
        };
        assert_eq!(without_oids(before), without_oids(after), "{damage}");
    }
}

/// GIVEN an install by the owner of the tables, an ordinary role, WHEN the role that a capture function belongs to cannot do its work,
/// THEN install mends that, as the message of the fault says, and has nothing to do the next time.
#[tokio::test]
async fn i6_install_mends_an_owner_that_cannot_do_the_work() {
    for (damage, by_the_owner) in [
        ("REVOKE INSERT ON agent_sync.outbox FROM {owner}", true),
        ("REVOKE ALL ON agent_sync.outbox FROM {owner}", true),
        ("REVOKE SELECT ON agent_sync.outbox FROM {owner}", true),
        ("REVOKE ALL ON SEQUENCE agent_sync.uncaptured FROM {owner}", true),
        ("REVOKE USAGE ON SCHEMA agent_sync FROM {owner}", false),
        ("ALTER FUNCTION agent_sync.capture_agent() OWNER TO {other}", false),
        // What a superuser's install makes anew belongs to the superuser.
        ("DROP TABLE agent_sync.outbox CASCADE", false),
        ("DROP SEQUENCE agent_sync.uncaptured", false),
    ] {
        let platform = Platform::new().await;
        let (owner, other) = owned(&platform).await;
        let install = async || {
            let mut command = platform.command(&["install"]);
            if by_the_owner {
                command.env("DATABASE_URL", platform.url_as(&owner));
            }
            Said::of(command).await
        };
        platform.run(&damage.replace("{owner}", &owner).replace("{other}", &other)).await;
        let said = install().await;
        assert!(
            said.code == 0 && said.out.contains("default: installed"),
            "{damage}: {} {}",
            said.out,
            said.err
        );
        // Both ways to append: the daemon is awake, and it sleeps, so that the place of the row is told.
        platform.save("a", "{}").await;
        let sleeper = platform.connect().await;
        sleeper.batch_execute("SELECT pg_advisory_lock(1634169721, 2)").await.unwrap();
        platform.save("b", "{}").await;
        assert_eq!(platform.outbox().await, ["a", "b"], "{damage}");
        assert_eq!(
            platform.value::<i64>("SELECT last_value FROM agent_sync.uncaptured").await,
            0,
            "{damage}: nothing had to be counted"
        );
        let able: bool = platform
            .value(
                "SELECT bool_and(has_sequence_privilege(f.proowner, 'agent_sync.uncaptured', 'USAGE')
                                 AND f.proowner = n.nspowner)
                 FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname = 'agent_sync'",
            )
            .await;
        assert!(able, "{damage}: the functions belong to the owner of the schema, who can count");
        let said = install().await;
        assert!(said.out.contains("nothing to change"), "{damage}: {}", said.out);
    }
}

#[tokio::test]
async fn i6_install_leaves_the_functions_to_any_owner_that_can_do_the_work() {
    let platform = Platform::new().await;
    let (owner, other) = owned(&platform).await;
    let said = platform.says(&["install"]).await;
    assert!(said.out.contains("nothing to change"), "a superuser, over the install of {owner}: {}", said.out);
    platform
        .run(&format!(
            "GRANT USAGE ON SCHEMA agent_sync TO {other}; GRANT SELECT, INSERT ON agent_sync.outbox TO {other};
             GRANT USAGE ON SEQUENCE agent_sync.uncaptured TO {other};
             ALTER FUNCTION agent_sync.capture_agent() OWNER TO {other}"
        ))
        .await;
    let said = platform.says(&["install"]).await;
    assert!(said.out.contains("nothing to change"), "{}", said.out);
    platform.run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update").await;
    assert!(platform.says(&["install"]).await.out.contains("default: installed"));
    let owns =
        "SELECT proowner::regrole::text FROM pg_proc WHERE oid = 'agent_sync.capture_agent()'::regprocedure";
    assert_eq!(platform.value::<String>(owns).await, other);
}

/// The tables and the install given to a role that is no superuser; that role, and one that may do nothing.
async fn owned(platform: &Platform) -> (String, String) {
    let (owner, other) = (format!("owner_{}", platform.name()), format!("other_{}", platform.name()));
    platform
        .run(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {other}; GRANT CREATE ON DATABASE {} TO {owner};
             GRANT ALL ON SCHEMA public TO {owner};
             ALTER TABLE agents OWNER TO {owner}; ALTER TABLE agent_configurations OWNER TO {owner}",
            platform.name()
        ))
        .await;
    let mut command = platform.command(&["install"]);
    command.env("DATABASE_URL", platform.url_as(&owner));
    assert_eq!(Said::of(command).await.code, 0);
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
    assert_eq!(before, catalog(&tool).await, "a migration tool can take it back");
}

#[tokio::test]
async fn i6_the_files_can_be_run_by_psql() {
    let platform = Platform::new().await;
    let psql = |files: &[&str]| {
        let mut command = crate::support::cluster().program("psql");
        command.args(["-X", "-q", "-1", "-v", "ON_ERROR_STOP=1"]);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
        for file in files {
            // The server's user may not be allowed into this folder, so psql reads standard input.
            let text = std::fs::read_to_string(folder.join(file)).unwrap();
            command.args(["-c", &text]);
        }
        let output = command.arg(&platform.url).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    psql(&["0001_schema.sql", "0002_history.sql", "0003_whole.sql", "attach.sql"]);
    psql(&["0001_schema.sql", "0002_history.sql", "0003_whole.sql", "attach.sql"]);
    platform.save("a", "{}").await;
    assert_eq!(platform.outbox().await, ["a"]);
    psql(&["uninstall.sql"]);
    psql(&["uninstall.sql"]);
    assert!(platform.value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL").await);
}

#[tokio::test]
async fn i6_install_waits_for_a_busy_table_only_so_long_and_then_says_so() {
    let platform = Platform::new().await;
    let writer = platform.connect().await;
    writer.batch_execute("BEGIN; INSERT INTO agents (slug) VALUES ('busy')").await.unwrap();
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
    platform.run("CREATE VIEW report AS SELECT * FROM agent_sync.state").await;
    let before = catalog(&platform).await;
    let (code, _, error) = run(&platform, &["uninstall"]);
    assert_eq!(code, 1);
    assert!(error.contains("nothing was changed") && error.contains("2BP01"), "{error}");
    assert_eq!(before, catalog(&platform).await);
}

/// GIVEN two databases of which one is away, WHEN it is installed and uninstalled in both, THEN the other one has it all the same.
#[tokio::test]
async fn i6_a_database_that_is_away_keeps_no_other_from_being_installed() {
    let platform = Platform::new().await;
    for (verb, done) in [("install", "there: installed"), ("uninstall", "there: uninstalled")] {
        let mut command = platform.command(&[verb]);
        command.env_remove("DATABASE_URL");
        command.env("AGENT_SYNC__DATABASES__AWAY__URL", "postgres://nobody@127.0.0.1:1/none");
        command.env("AGENT_SYNC__DATABASES__THERE__URL", &platform.url);
        let said = Said::of(command).await;
        assert_eq!(said.code, 69, "{said:?}");
        assert!(said.err.contains("database away: could not connect") && said.out.contains(done), "{said:?}");
    }
}

/// GIVEN somebody who holds a table, WHEN it is installed, THEN that is what the message is about.
#[tokio::test]
async fn i6_an_install_that_gets_no_lock_says_so() {
    let platform = Platform::new().await;
    let holder = platform.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let said = platform.says(&["install"]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("canceling statement due to lock timeout (SQLSTATE 55P03)"), "{}", said.err);
    assert!(
        said.err.contains("try: run it again when whoever holds one of the tables is done"),
        "{}",
        said.err
    );
}

/// GIVEN a daemon, WHEN a migration changes the types of watched columns after it has dropped what PostgreSQL names, and the install is run
/// again, THEN the daemon goes on in its role, and what was saved in between is in sync as well.
#[tokio::test]
async fn i6_g1_a_watched_column_changes_its_type_without_an_uninstall() {
    let platform = Platform::new().await;
    let role = format!("migrated_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", platform.url_as(&role));
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s").env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;

    let refused =
        platform.client.batch_execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(200)").await;
    assert!(
        refused.unwrap_err().as_db_error().unwrap().detail().unwrap().contains("trigger agent_sync_update")
    );
    let migration = "
        DROP VIEW agent_sync.state;
        DROP TRIGGER agent_sync_insert ON agents;
        DROP TRIGGER agent_sync_update ON agents;
        ALTER TABLE agents ALTER COLUMN name TYPE varchar(200), ALTER COLUMN slug TYPE varchar(100)";
    platform.run(migration).await;
    platform.run("UPDATE agents SET name = 'saved in between'").await;
    assert!(platform.says(&["install"]).await.out.contains("default: installed"));
    platform.holds("SELECT agent_name = 'saved in between' FROM agent_configurations").await;
    platform.run("UPDATE agents SET name = 'saved afterwards'").await;
    platform.holds("SELECT agent_name = 'saved afterwards' FROM agent_configurations").await;
    assert!(platform.says(&["doctor"]).await.out.contains("  pass  capture"));
}

#[tokio::test]
async fn a_database_without_the_tables_is_told_what_is_missing() {
    let platform = Platform::with_tables(crate::support::cluster(), "SELECT 1").await;
    let (code, _, error) = run(&platform, &["install"]);
    assert_eq!(code, 1);
    assert!(error.contains("expected the table public.agents, and this database has none"), "{error}");
    assert!(error.contains("try: Name the table of the agents"), "{error}");
    platform.run("CREATE TABLE agents (slug text, voice_settings jsonb); CREATE TABLE agent_configurations (agent_slug text)").await;
    let (_, _, error) = run(&platform, &["install"]);
    assert!(
        error.contains("expected a column provider_config in the table public.agent_configurations"),
        "{error}"
    );
}

#[tokio::test]
async fn g1_a_virtual_column_that_no_trigger_could_watch_is_refused() {
    let platform = Platform::new().await;
    if platform.value::<i32>("SELECT current_setting('server_version_num')::int").await < 180_000 {
        return;
    }
    for (table, column) in [("agents", "name"), ("agents", "slug"), ("agent_configurations", "agent_slug")] {
        let platform = Platform::new().await;
        let add = |kind| {
            format!(
                "ALTER TABLE {table} DROP COLUMN {column}; ALTER TABLE {table} ADD COLUMN {column} text GENERATED ALWAYS AS ('x') {kind}"
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
             UNION ALL SELECT 'column ' || c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                 WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0
                   AND col_description(c.oid, a.attnum) IS NULL
             UNION ALL SELECT 'function ' || f.proname FROM pg_proc f
                 WHERE f.pronamespace = 'agent_sync'::regnamespace AND obj_description(f.oid, 'pg_proc') IS NULL
             UNION ALL SELECT 'trigger ' || t.tgname FROM pg_trigger t
                 WHERE t.tgname LIKE 'agent_sync%' AND obj_description(t.oid, 'pg_trigger') IS NULL
             UNION ALL SELECT 'schema' WHERE obj_description('agent_sync'::regnamespace, 'pg_namespace') IS NULL",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(bare, Vec::<String>::new());
}
