//! The role of the daemon (G4) and other roles: their privileges, and that these suffice.

use std::process::Command;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, eventually};

/// A role name that no other test uses, because roles belong to the whole cluster.
pub(super) async fn unique(platform: &Platform, what: &str) -> String {
    format!(
        "{what}_{}",
        platform
            .value::<String>("SELECT current_database()::text")
            .await
    )
}

/// The program, connected as a role.
fn command_as(platform: &Platform, role: &str, arguments: &[&str]) -> Command {
    let mut command = platform.command(arguments);
    command.env("DATABASE_URL", platform.url_as(role));
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    command
}

fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The SQLSTATE of the refused statement.
pub(super) async fn refused(platform: &Platform, role: &str, sql: &str) -> String {
    let (client, _) = crate::support::platform::connect(&platform.url_as(role)).await;
    let error = client.batch_execute(sql).await.expect_err(sql);
    error.code().unwrap().code().to_owned()
}

/// Every privilege in the database, and every role of agent-sync.
pub(super) async fn privileges(platform: &Platform, role: &str) -> String {
    platform
        .value(&format!(
            "SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
                 SELECT 'relation ' || oid::regclass || ' ' || relacl::text FROM pg_class
                     WHERE relacl IS NOT NULL
                       AND relnamespace NOT IN ('pg_catalog'::regnamespace,
                       'information_schema'::regnamespace)
                 UNION ALL SELECT 'column ' || attrelid::regclass || '.' || attname || ' ' ||
                   attacl::text FROM pg_attribute
                     WHERE attacl IS NOT NULL
                 UNION ALL SELECT 'schema ' || nspname || ' ' || coalesce(nspacl::text, '')
                   FROM pg_namespace
                 UNION ALL SELECT 'database ' || datname || ' ' || coalesce(datacl::text, '')
                   FROM pg_database
                     WHERE datname = current_database()
                 UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname = '{role}'
             ) AS catalog (line)"
        ))
        .await
}

/// The role of `install --role` can do the work of the daemon and nothing else.
#[tokio::test]
async fn g4_the_role_of_install_can_do_its_job_and_nothing_else() {
    let platform = Platform::new().await;
    let role = unique(&platform, "daemon").await;
    let said = run(platform.command(&["install", "--role", &role]));
    assert!(
        said.contains(&format!("the role {role} has the privileges of the daemon"))
            && said.contains("\\password"),
        "{said}"
    );

    platform.save("before", EXAMPLE).await;
    platform.configure("before").await;
    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    daemon.logged("caught up").await;
    platform.becomes("before", EXPECTED).await;
    platform.save("after", EXAMPLE).await;
    eventually("the missing configuration is noted", async || {
        platform.problem("after").await.is_some()
    })
    .await;
    platform.configure("after").await;
    platform.becomes("after", EXPECTED).await;
    platform
        .holds(
            "SELECT touched FROM (SELECT last_updated > '2021-01-01' AS touched FROM \
            agent_configurations WHERE agent_slug = 'after') c",
        )
        .await;
    // A refused write, a retry, a problem of a deleted agent, and a request by NOTIFY.
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT short CHECK (length(voice_id) < 20)")
        .await;
    platform
        .save("after", r#"{"voice_id":"far too long for the constraint"}"#)
        .await;
    eventually("the failure is noted", async || {
        platform.problem("after").await.is_some()
    })
    .await;
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT short")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform.save("gone", "{}").await;
    eventually("the missing configuration is noted", async || {
        platform.problem("gone").await.is_some()
    })
    .await;
    platform.run("DELETE FROM agents WHERE slug = 'gone'").await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .run("UPDATE agent_configurations SET voice_id = 'by hand'; NOTIFY agent_sync, 'before'")
        .await;
    platform
        .holds(
            "SELECT voice_id = 'test-voice-123' FROM agent_configurations WHERE agent_slug = \
            'before'",
        )
        .await;
    assert!(daemon.outages().is_empty());

    for sql in [
        "SELECT openai_api_key FROM agent_configurations",
        "SELECT * FROM agent_configurations",
        "SELECT c FROM agent_configurations c",
        "SELECT count(*) FROM agent_configurations WHERE elevenlabs_api_key LIKE 'e%'",
        "SELECT notes FROM agent_configurations",
        "UPDATE agent_configurations SET voice_id = 'v' RETURNING cartesia_api_key",
        "UPDATE agent_configurations SET voice_id = openai_api_key",
        "UPDATE agent_configurations SET openai_api_key = 'x'",
        "UPDATE agent_configurations SET agent_slug = 'x'",
        "UPDATE agent_configurations SET notes = 'x'",
        "INSERT INTO agent_configurations (agent_slug) VALUES ('x')",
        "DELETE FROM agent_configurations",
        "TRUNCATE agent_configurations",
        "SELECT description FROM agents",
        "SELECT webhooks FROM agents",
        "UPDATE agents SET name = 'x'",
        "INSERT INTO agents (slug) VALUES ('x')",
        "DELETE FROM agents",
        "UPDATE agent_sync.install SET version = 9",
        "DELETE FROM agent_sync.install",
        "SELECT nextval('agent_sync.uncaptured')",
        "INSERT INTO agent_sync.role (name) VALUES ('x')",
        "SELECT * FROM agent_sync.granted",
        "CREATE TABLE agent_sync.mine ()",
        "DROP TABLE agent_sync.outbox",
    ] {
        assert_eq!(refused(&platform, &role, sql).await, "42501", "{sql}");
    }
    let (client, _) = crate::support::platform::connect(&platform.url_as(&role)).await;
    client
        .batch_execute("SELECT * FROM agent_sync.state; SELECT * FROM agent_sync.problem")
        .await
        .unwrap();
}

/// Generated columns are read like any other column, and never written.
#[tokio::test]
async fn g4_generated_columns_are_granted_only_where_read() {
    let platform = Platform::new().await;
    let role = unique(&platform, "generated").await;
    platform
        .run(
            "ALTER TABLE agents DROP COLUMN slug, DROP COLUMN name, ADD COLUMN title text;
             ALTER TABLE agents ADD COLUMN slug text GENERATED ALWAYS AS (lower(title)) STORED
               UNIQUE,
                 ADD COLUMN name text GENERATED ALWAYS AS (upper(title)) STORED;
             ALTER TABLE agent_configurations DROP COLUMN agent_slug, DROP COLUMN system_prompt,
               ADD COLUMN handle text;
             ALTER TABLE agent_configurations ADD COLUMN agent_slug text GENERATED ALWAYS AS
               (lower(handle)) STORED,
                 ADD COLUMN system_prompt text GENERATED ALWAYS AS ('none') STORED",
        )
        .await;
    run(platform.command(&["install", "--role", &role]));
    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    daemon
        .logged("system_prompt of public.agent_configurations is GENERATED")
        .await;
    daemon.logged("caught up").await;
    platform
        .run("INSERT INTO agent_configurations (handle) VALUES ('A'), ('B')")
        .await;
    platform
        .client
        .execute(
            "INSERT INTO agents (title, voice_settings) VALUES ('A', $1::text::jsonb)",
            &[&EXAMPLE],
        )
        .await
        .unwrap();
    platform.becomes("a", EXPECTED).await;
    platform.run("UPDATE agents SET title = 'B'").await;
    platform.becomes("b", EXPECTED).await;
    platform
        .holds("SELECT agent_name = 'B' FROM agent_configurations WHERE agent_slug = 'b'")
        .await;
    let may = "SELECT has_column_privilege('{role}', 'agent_configurations', 'system_prompt', \
        'SELECT, UPDATE')";
    assert!(!platform.value::<bool>(&may.replace("{role}", &role)).await);
    let said = run(platform.command(&["install", "--role", &role]));
    assert!(said.contains("nothing to change"), "{said}");
}

/// GIVEN a generated `provider_config`, WHEN the install runs, or when the column becomes generated
/// under a daemon, THEN both report it with a remedy.
#[tokio::test]
async fn t3_a_generated_provider_config_is_refused() {
    const COMPUTE: &str = "ALTER TABLE agent_configurations DROP COLUMN provider_config,
        ADD COLUMN provider_config jsonb GENERATED ALWAYS AS ('{}'::jsonb) STORED";
    let platform = Platform::installed().await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.run(COMPUTE).await;
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    assert!(
        line["cause"].as_str().unwrap().contains("is GENERATED"),
        "{line}"
    );
    let said = platform.says(&["install"]).await;
    assert!(
        said.code == 1 && said.err.contains("is GENERATED") && said.err.contains("DROP EXPRESSION"),
        "{said:?}"
    );
}

/// GIVEN a table that was renamed, WHEN a view takes its name, THEN the daemon and the commands say
/// that it is a view.
#[tokio::test]
async fn g10_a_view_in_place_of_a_table_is_named() {
    for table in ["agents", "agent_configurations"] {
        let platform = Platform::installed().await;
        let daemon = platform.brisk_daemon();
        daemon.logged("caught up").await;
        platform
            .run(&format!(
                "ALTER TABLE {table} RENAME TO renamed;
                 CREATE VIEW {table} AS SELECT * FROM renamed"
            ))
            .await;
        let line = daemon
            .logged("the daemon cannot work in the database")
            .await;
        let cause = format!("expected a table public.{table}, and it is a view");
        assert_eq!(line["cause"].as_str(), Some(cause.as_str()), "{line}");
        for command in ["check", "doctor", "status"] {
            let said = platform.says(&[command]).await;
            let all = format!("{}{}", said.out, said.err);
            let words: Vec<_> = all.split_whitespace().collect();
            assert!(
                words.join(" ").contains("it is a view"),
                "{command}: {said:?}"
            );
            assert!(!all.contains("CREATE UNIQUE INDEX"), "{command}: {said:?}");
        }
        platform
            .run(&format!(
                "DROP VIEW {table}; ALTER TABLE renamed RENAME TO {table}"
            ))
            .await;
        daemon.logged("database available again").await;
    }
}

/// The remedy for too many connections names the limits of the role and of the database.
#[tokio::test]
async fn g10_the_connection_limit_of_a_role_is_named() {
    let platform = Platform::installed().await;
    let role = unique(&platform, "limited").await;
    platform
        .run(&format!("CREATE ROLE {role} LOGIN CONNECTION LIMIT 0"))
        .await;
    let output = command_as(&platform, &role, &["check"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("53300") && said.contains("CONNECTION LIMIT"),
        "{said}"
    );
}

#[tokio::test]
async fn i6_install_grants_what_is_missing_and_uninstall_revokes() {
    let platform = Platform::new().await;
    let role = unique(&platform, "Odd \"role\"").await;
    let before = privileges(&platform, &role).await;
    run(platform.command(&["install", "--role", &role]));
    let granted = privileges(&platform, &role).await;
    for arguments in [&["install", "--role", &role][..], &["install"]] {
        let said = run(platform.command(arguments));
        assert!(
            said.contains("already installed, nothing to change"),
            "{said}"
        );
    }
    assert_eq!(granted, privileges(&platform, &role).await);

    // Lost privileges are granted again without naming the role, also on a recreated object.
    let quoted = format!("\"{}\"", role.replace('"', "\"\""));
    platform
        .run(&format!(
            "REVOKE SELECT (slug) ON agents FROM {quoted}; DROP TABLE agent_sync.outbox CASCADE"
        ))
        .await;
    run(platform.command(&["install"]));
    assert_eq!(granted, privileges(&platform, &role).await);

    run(platform.command(&["uninstall", "--yes"]));
    assert_eq!(before, privileges(&platform, &role).await);
}

#[tokio::test]
async fn i6_a_role_that_was_there_before_keeps_what_it_had() {
    let platform = Platform::new().await;
    let role = unique(&platform, "old").await;
    platform
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT (slug, id), UPDATE (name) ON agents TO {role}"
        ))
        .await;
    let before = privileges(&platform, &role).await;
    let script = run(platform.command(&["install", "--print", "--role", &role]));
    platform.run(&script).await;
    platform.run(&script).await;
    let said = run(platform.command(&["install", "--role", &role]));
    assert!(said.contains("nothing to change"), "{said}");
    Daemon::start(command_as(&platform, &role, &["run"]))
        .logged("caught up")
        .await;
    run(platform.command(&["uninstall", "--yes"]));
    assert_eq!(before, privileges(&platform, &role).await);
}

/// GIVEN a daemon's role that was renamed or dropped, WHEN another role gets its name and the
/// install runs, THEN that role gets nothing and is named, and the renamed role is followed, also
/// by the uninstall.
#[tokio::test]
async fn s5_another_role_of_a_noted_name_gets_nothing() {
    let platform = Platform::new().await;
    let role = unique(&platform, "dmn").await;
    let (renamed, none) = (format!("{role}_new"), "none".to_owned());
    let holds = async |role: &str| {
        let held = format!(
            "SELECT concat_ws(' ', coalesce((SELECT 'outbox' WHERE has_table_privilege('{role}',
                 to_regclass('agent_sync.outbox'), 'DELETE')), 'none'),
                 (SELECT 'prompts' WHERE has_column_privilege('{role}', 'agents',
                 'system_prompt', 'SELECT')))"
        );
        platform.value::<String>(&held).await
    };
    let all = "outbox prompts";
    run(platform.command(&["install", "--role", &role]));
    platform
        .run(&format!(
            "ALTER ROLE {role} RENAME TO {renamed}; CREATE ROLE {role} LOGIN;
             REVOKE SELECT (system_prompt) ON agents FROM {renamed}"
        ))
        .await;
    let told = format!("the role {role} was granted nothing");
    let said = run(platform.command(&["install"]));
    assert!(said.contains(&told), "{said}");
    assert_eq!(
        (holds(&role).await, holds(&renamed).await),
        (none.clone(), all.to_owned())
    );
    let said = run(platform.command(&["install"]));
    assert!(
        said.contains("nothing to change") && !said.contains(&told),
        "{said}"
    );

    // It is renamed once more before the uninstall.
    platform
        .run(&format!(
            "DROP ROLE {role}; ALTER ROLE {renamed} RENAME TO {role}; CREATE ROLE {renamed};
             GRANT SELECT (system_prompt) ON agents TO {renamed}"
        ))
        .await;
    let said = run(platform.command(&["uninstall", "--yes"]));
    assert!(
        said.contains(&format!("the role {role}, which an install had made")),
        "{said}"
    );
    assert_eq!(
        holds(&renamed).await,
        "none prompts",
        "its own privilege stays"
    );
    let gone = format!("SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')");
    assert!(platform.value::<bool>(&gone).await);
    platform.run(&format!("DROP OWNED BY {renamed}")).await;

    let gets_nothing = async || {
        let said = run(platform.command(&["install"]));
        assert!(
            said.contains(&format!("the role {renamed} was granted nothing")),
            "{said}"
        );
        assert_eq!(holds(&renamed).await, none);
    };
    // A role that is dropped and made anew.
    run(platform.command(&["install", "--role", &renamed]));
    assert_eq!(holds(&renamed).await, all);
    platform
        .run(&format!(
            "DROP OWNED BY {renamed}; DROP ROLE {renamed}; CREATE ROLE {renamed}"
        ))
        .await;
    gets_nothing().await;
    let said = run(platform.command(&["install", "--role", &renamed]));
    assert!(!said.contains("granted nothing"), "{said}");
    assert_eq!(holds(&renamed).await, all);

    // A dump in another cluster names its roles and has other OIDs; an earlier install has none.
    for change in [
        "UPDATE agent_sync.role SET oid = 7",
        "ALTER TABLE agent_sync.role DROP oid",
    ] {
        platform
            .run(&format!(
                "{change}; REVOKE SELECT (system_prompt) ON agents FROM {renamed}"
            ))
            .await;
        run(platform.command(&["install"]));
        assert_eq!(holds(&renamed).await, all, "{change}");
    }
    platform
        .run(&format!(
            "UPDATE agent_sync.role SET oid = 7; DROP OWNED BY {renamed}"
        ))
        .await;
    gets_nothing().await;
    run(platform.command(&["uninstall", "--yes"]));
    platform.run(&format!("DROP ROLE {renamed}")).await;
}

/// GIVEN default privileges that open every new object to a role, WHEN the install runs, THEN that
/// role may read the documented tables, and nothing more; and the daemon's role keeps its
/// privileges.
#[tokio::test]
async fn s5_default_privileges_do_not_open_the_schema() {
    let platform = Platform::new().await;
    let app = unique(&platform, "app").await;
    let role = unique(&platform, "dmn").await;
    platform
        .run(&format!(
            "CREATE ROLE {app} LOGIN;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO {app}, PUBLIC;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO {app} WITH GRANT OPTION;
             ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO {app};
             ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO {app}"
        ))
        .await;
    let said = run(platform.command(&["install", "--role", &role]));
    for role in [&app, "PUBLIC"] {
        let told = format!("{role}, which is no role of a daemon, has lost privileges");
        assert!(said.contains(&told), "{said}");
    }
    let closed = [
        "DELETE FROM agent_sync.outbox",
        "SELECT * FROM agent_sync.outbox",
        "TRUNCATE agent_sync.outbox",
        "INSERT INTO agent_sync.role (name) VALUES ('x')",
        "UPDATE agent_sync.install SET seal = ''",
        "DELETE FROM agent_sync.problem",
        "SELECT * FROM agent_sync.history",
        "INSERT INTO agent_sync.granted DEFAULT VALUES",
        "SELECT nextval('agent_sync.uncaptured')",
        "SELECT nextval('agent_sync.history_id_seq')",
        "CREATE TABLE agent_sync.mine ()",
        "SELECT agent_sync.capture_agent()",
    ];
    for sql in closed {
        assert_eq!(refused(&platform, &app, sql).await, "42501", "{sql}");
    }
    platform
        .run(&format!("GRANT SELECT (slug) ON agents TO {app}"))
        .await;
    let (client, _) = crate::support::platform::connect(&platform.url_as(&app)).await;
    client
        .batch_execute("SELECT * FROM agent_sync.state; SELECT * FROM agent_sync.problem")
        .await
        .unwrap();
    let said = run(platform.command(&["install"]));
    assert!(said.contains("nothing to change"), "{said}");
    platform.configure("a").await;
    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    drop(daemon);
}

/// GIVEN a role that may write to tables of agent-sync, WHEN a sweep comes, THEN the daemon and
/// `doctor` name it with the remedy; the roles of daemons are not named.
#[tokio::test]
async fn g14_a_role_that_may_write_our_tables_is_told() {
    let platform = Platform::new().await;
    let app = unique(&platform, "app").await;
    let [one, other] = [
        unique(&platform, "dmn").await,
        unique(&platform, "dmn2").await,
    ];
    for role in [&one, &other] {
        run(platform.command(&["install", "--role", role]));
    }
    let daemon = Daemon::start(command_as(&platform, &one, &["run"]));
    daemon.logged("caught up").await;
    platform
        .run(&format!(
            "CREATE ROLE {app}; GRANT INSERT, SELECT ON agent_sync.role TO {app};
             GRANT SELECT ON agent_sync.state TO {app};
             GRANT UPDATE (seal) ON agent_sync.install TO {app};
             GRANT USAGE ON SEQUENCE agent_sync.uncaptured TO {app}"
        ))
        .await;
    let told = format!(
        "{app}, which is no role of a daemon here, may write agent_sync.install, agent_sync.role, \
        agent_sync.uncaptured"
    );
    let line = daemon.logged(&told).await;
    let remedy = line["remedy"].as_str().unwrap();
    let revoke = format!(
        "REVOKE UPDATE ON agent_sync.install FROM {app} CASCADE; REVOKE INSERT ON agent_sync.role \
        FROM {app} CASCADE; REVOKE USAGE ON SEQUENCE agent_sync.uncaptured FROM {app} CASCADE;"
    );
    assert!(remedy.contains(&revoke), "{remedy}");
    let doctor = async || {
        let said = platform.says(&["doctor"]).await;
        said.out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let said = doctor().await;
    assert!(said.contains(&told), "{said}");
    assert_eq!(said.matches("may write").count(), 1, "{said}");
    platform.run(&revoke).await;
    let said = doctor().await;
    assert!(!said.contains("may write"), "{said}");

    platform
        .run(&format!("GRANT DELETE ON agent_sync.outbox TO {app}"))
        .await;
    let said = run(platform.command(&["install"]));
    assert!(said.contains("has lost privileges"), "{said}");
    let said = doctor().await;
    assert!(!said.contains("may write"), "{said}");
    let reads = format!("SELECT has_table_privilege('{app}', 'agent_sync.state', 'SELECT')");
    assert!(platform.value::<bool>(&reads).await);
}

/// A role of two databases is dropped by the last uninstall.
#[tokio::test]
async fn i6_a_role_of_two_databases_goes_with_the_last_uninstall() {
    let (one, other) = (Platform::new().await, Platform::new().await);
    let role = unique(&one, "shared").await;
    let there = format!("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')");
    run(one.command(&["install", "--role", &role]));
    run(other.command(&["install", "--role", &role]));
    let said = run(one.command(&["uninstall", "--yes"]));
    assert!(
        said.contains(&format!(
            "the role {role} stays, without what was granted to it"
        )),
        "{said}"
    );
    assert!(one.value::<bool>(&there).await);
    Daemon::start(command_as(&other, &role, &["run"]))
        .logged("caught up")
        .await;
    let said = run(other.command(&["uninstall", "--yes"]));
    assert!(
        said.contains(&format!(
            "the role {role}, which an install had made, is dropped"
        )),
        "{said}"
    );
    assert!(!one.value::<bool>(&there).await);
}

#[tokio::test]
async fn i6_grants_follow_the_settings_to_other_columns() {
    let platform = Platform::new().await;
    let role = unique(&platform, "follows").await;
    platform
        .run(
            "ALTER TABLE agents ADD COLUMN title text; ALTER TABLE agent_configurations DROP \
            COLUMN voice_id",
        )
        .await;
    run(platform.command(&["install", "--role", &role]));
    let mut command = platform.command(&["install"]);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__MAIN__URL", &platform.url);
    run({
        command.env(
            "AGENT_SYNC__DATABASES__MAIN__AGENTS__COLUMNS__NAME",
            "title",
        );
        command
    });
    let may = |column: &str| {
        format!("SELECT has_column_privilege('{role}', 'agents', '{column}', 'SELECT')")
    };
    assert!(platform.value::<bool>(&may("title")).await);
    assert!(!platform.value::<bool>(&may("name")).await);
}

/// Row-level security and roles in the setup of Supabase.
async fn supabase(platform: &Platform) -> [String; 3] {
    let roles = [
        unique(platform, "anon").await,
        unique(platform, "authenticated").await,
        unique(platform, "service_role").await,
    ];
    let [anon, authenticated, service_role] = &roles;
    platform
        .run(&format!(
            "CREATE ROLE {anon} LOGIN; CREATE ROLE {authenticated} LOGIN; CREATE ROLE
                  {service_role} LOGIN BYPASSRLS;
             ALTER TABLE agents ENABLE ROW LEVEL SECURITY;
             ALTER TABLE agent_configurations ENABLE ROW LEVEL SECURITY;
             GRANT SELECT, INSERT, UPDATE ON agents TO {anon}, {authenticated}, {service_role};
             CREATE POLICY own ON agents TO {anon}, {authenticated} USING (slug LIKE 'public-%')
               WITH CHECK (slug LIKE 'public-%')"
        ))
        .await;
    roles
}

/// Saves with each of the roles and waits until all agents are in sync.
async fn saves_are_synced(platform: &Platform, roles: &[String], round: &str) {
    for role in roles {
        let slug = format!("public-{role}-{round}");
        platform.configure(&slug).await;
        let (client, _) = crate::support::platform::connect(&platform.url_as(role)).await;
        let sql = "INSERT INTO public.agents (slug, voice_settings) VALUES ($1, $2::text::jsonb)";
        client.execute(sql, &[&slug, &"{}"]).await.unwrap();
        let sql = "UPDATE public.agents SET voice_settings = $2::text::jsonb WHERE slug = $1";
        assert_eq!(client.execute(sql, &[&slug, &EXAMPLE]).await.unwrap(), 1);
        platform.becomes(&slug, EXPECTED).await;
    }
}

/// A Supabase setup is synced by the owner of the tables and by a role with policies.
#[tokio::test]
async fn a_supabase_setup_syncs_by_owner_or_by_policies() {
    let platform = Platform::new().await;
    let roles = supabase(&platform).await;
    let (owner, daemon_role) = (
        unique(&platform, "owner").await,
        unique(&platform, "policied").await,
    );
    platform
        .run(&format!(
            "CREATE ROLE {owner} LOGIN CREATEROLE; ALTER TABLE agents OWNER TO {owner};
             ALTER TABLE agent_configurations OWNER TO {owner};
             GRANT ALL ON SCHEMA public TO {owner}; GRANT CREATE ON DATABASE {} TO {owner}",
            platform
                .value::<String>("SELECT current_database()::text")
                .await
        ))
        .await;
    run(command_as(
        &platform,
        &owner,
        &["install", "--role", &daemon_role],
    ));

    let daemon = Daemon::start(command_as(&platform, &owner, &["run"]));
    daemon.logged("caught up").await;
    saves_are_synced(&platform, &roles, "owner").await;
    assert!(
        daemon.lines("row-level security").is_empty(),
        "the owner sees every row"
    );
    assert!(daemon.terminate().await.success());

    platform
        .run(&format!(
            "CREATE POLICY agent_sync_select ON agents FOR SELECT TO {daemon_role} USING (true);
             CREATE POLICY agent_sync ON agent_configurations TO {daemon_role} USING (true)"
        ))
        .await;
    let daemon = Daemon::start(command_as(&platform, &daemon_role, &["run"]));
    daemon.logged("caught up").await;
    saves_are_synced(&platform, &roles, "policied").await;
    assert!(
        daemon.lines("row-level security").is_empty(),
        "the policies let it at every row"
    );
}

#[tokio::test]
async fn rls_that_hides_rows_is_reported() {
    let platform = Platform::new().await;
    let roles = supabase(&platform).await;
    let role = unique(&platform, "blind").await;
    run(platform.command(&["install", "--role", &role]));
    platform.save("public-hidden", EXAMPLE).await;
    platform.configure("public-hidden").await;
    // One of the permissive policies passes only some rows, and a restrictive one cancels another.
    platform
        .run(&format!(
            "CREATE POLICY partial_one ON agents FOR SELECT TO {role} USING (slug LIKE 'seen-%');
             CREATE POLICY all_rows ON agent_configurations FOR SELECT TO {role} USING (true);
             CREATE POLICY never ON agent_configurations AS RESTRICTIVE FOR UPDATE USING (false)"
        ))
        .await;
    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    let lines = daemon.logged_times("row-level security", 2).await;
    daemon.logged("caught up").await;
    for (line, table, remedy) in [
        (&lines[0], "public.agent_configurations", "FOR UPDATE"),
        (&lines[1], "public.agents", "FOR SELECT"),
    ] {
        let (said, do_this) = (
            line["message"].as_str().unwrap(),
            line["remedy"].as_str().unwrap(),
        );
        assert_eq!(line["level"], "WARN");
        assert!(said.contains(table) && said.contains(&role), "{said}");
        assert!(
            do_this.contains("CREATE POLICY agent_sync_") && do_this.contains(remedy),
            "{do_this}"
        );
        assert!(
            do_this.contains(&format!("ALTER ROLE {role} BYPASSRLS")),
            "{do_this}"
        );
    }
    // The daemon continues and reports it once; after the repair, the hidden agents are synced
    // without another save.
    platform.run("NOTIFY agent_sync, 'public-hidden'").await;
    saves_are_saved(&platform, &roles).await;
    daemon.logged_times("batch committed", 2).await;
    platform
        .run(&format!(
            "DROP POLICY never ON agent_configurations;
             CREATE POLICY agent_sync_update ON agent_configurations
               FOR UPDATE TO {role} USING (true) WITH CHECK (true);
             CREATE POLICY agent_sync_select ON agents FOR SELECT TO {role} USING (true)"
        ))
        .await;
    platform.becomes("public-hidden", EXPECTED).await;
    assert_eq!(daemon.lines("row-level security").len(), 2);
}

async fn saves_are_saved(platform: &Platform, roles: &[String]) {
    for role in roles {
        let (client, _) = crate::support::platform::connect(&platform.url_as(role)).await;
        let slug = format!("public-{role}");
        client
            .execute("INSERT INTO public.agents (slug) VALUES ($1)", &[&slug])
            .await
            .unwrap();
    }
}

/// Row-level security on the tables of agent-sync is reported and stops the daemon if it hides
/// rows.
#[tokio::test]
async fn g14_row_security_on_our_tables_is_told() {
    for (table, fatal) in [
        ("outbox", true),
        ("problem", true),
        ("install", true),
        ("history", false),
    ] {
        let platform = Platform::new().await;
        let role = unique(&platform, "blinded").await;
        run(platform.command(&["install", "--role", &role]));
        platform.save("a", "{}").await;
        platform.configure("a").await;
        let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
        daemon.logged("caught up").await;
        platform
            .run(&format!(
                "ALTER TABLE agent_sync.{table} ENABLE ROW LEVEL SECURITY"
            ))
            .await;
        let text = format!(
            "row-level security hides rows of agent-sync's own tables from the role {role}: \
            agent_sync.{table}"
        );
        let line = daemon
            .logged(if fatal {
                "the daemon cannot work in the database"
            } else {
                &text
            })
            .await;
        assert!(line.to_string().contains(&text), "{line}");
        assert!(line["remedy"].as_str().unwrap().contains(&format!(
            "ALTER TABLE agent_sync.{table} DISABLE ROW LEVEL SECURITY"
        )));
        platform.save("a", EXAMPLE).await;
        for subcommand in ["doctor", "status"] {
            let said =
                crate::support::Said::of(command_as(&platform, &role, &[subcommand, "--json"]))
                    .await;
            assert!(said.out.contains(&text), "{said:?}");
            if subcommand == "doctor" {
                assert_eq!(said.code == 2, fatal, "{said:?}");
            } else {
                assert_eq!(said.object()["state"] == "broken", fatal, "{said:?}");
                assert_eq!(
                    said.object()["outbox"].is_null(),
                    fatal,
                    "what is not known is not told as 0: {said:?}"
                );
            }
        }
        if fatal {
            assert!(daemon.lines("database available again").is_empty());
        }
        platform
            .run(&format!(
                "ALTER TABLE agent_sync.{table} DISABLE ROW LEVEL SECURITY"
            ))
            .await;
        platform.becomes("a", EXPECTED).await;
    }
}

/// Row-level security on the tables of agent-sync does not affect their owner or a role with
/// BYPASSRLS.
#[tokio::test]
async fn row_security_does_not_affect_owners_and_bypassers() {
    let platform = Platform::new().await;
    let role = unique(&platform, "bypasses").await;
    run(platform.command(&["install", "--role", &role]));
    platform
        .run(&format!(
            "ALTER ROLE {role} BYPASSRLS; ALTER TABLE agent_sync.outbox ENABLE ROW LEVEL SECURITY;
             ALTER TABLE agent_sync.problem ENABLE ROW LEVEL SECURITY; ALTER TABLE
               agent_sync.install ENABLE ROW LEVEL SECURITY"
        ))
        .await;
    platform.configure("a").await;
    for command in [
        command_as(&platform, &role, &["run"]),
        platform.command(&["run"]),
    ] {
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
        platform
            .run("DELETE FROM agents; UPDATE agent_configurations SET provider_config = '{}'")
            .await;
        assert!(daemon.lines("row-level security").is_empty() && daemon.outages().is_empty());
        assert!(daemon.terminate().await.success());
    }
}

/// Settings of a role that change the meaning of SQL do not affect the daemon.
#[tokio::test]
async fn settings_of_a_role_do_not_affect_the_daemon() {
    for setting in [
        "quote_all_identifiers = on",
        "row_security = off",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "array_nulls = off",
        "enable_tidscan = off",
        "enable_indexscan = off",
        "enable_hashjoin = off",
    ] {
        let platform = Platform::new().await;
        let role = unique(&platform, "odd").await;
        run(platform.command(&["install", "--role", &role]));
        platform
            .run(&format!("ALTER ROLE {role} SET {setting}"))
            .await;
        platform.configure("a").await;
        let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
        daemon.logged("caught up").await;
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
        platform
            .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
            .await;
        let said = crate::support::Said::of(command_as(&platform, &role, &["doctor"])).await;
        assert!(said.out.contains("0 faults"), "{setting}: {said:?}");
        assert!(
            daemon
                .log()
                .iter()
                .all(|line| line["level"] != "WARN" && line["level"] != "ERROR"),
            "{setting}"
        );
    }
}

/// GIVEN a mapped column with a type in a schema closed to other roles, WHEN a role gets the
/// privileges of the daemon, THEN the daemon can write the column; `doctor` reports a revoked
/// privilege, and the uninstall leaves no trace.
#[tokio::test]
async fn g10_the_role_can_use_the_schema_of_the_type_of_a_column() {
    let platform = Platform::new().await;
    let role = unique(&platform, "typed").await;
    platform
        .run(
            "CREATE SCHEMA kinds; GRANT USAGE ON SCHEMA kinds TO current_user;
             CREATE TYPE kinds.voice AS ENUM ('test-voice-123', 'other');
             CREATE DOMAIN public.voice AS kinds.voice;
             ALTER TABLE agent_configurations ALTER voice_id TYPE public.voice USING NULL",
        )
        .await;
    let before = privileges(&platform, &role).await;
    run(platform.command(&["install", "--role", &role]));
    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    daemon.logged("caught up").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    platform
        .holds("SELECT voice_id::text = 'test-voice-123' FROM agent_configurations")
        .await;
    drop(daemon);

    platform
        .run(&format!("REVOKE USAGE ON SCHEMA kinds FROM {role}"))
        .await;
    let said = platform.says_as(&role, &["doctor"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.out.contains("USAGE ON SCHEMA kinds"), "{said:?}");
    run(platform.command(&["install"]));
    let said = platform.says_as(&role, &["doctor"]).await;
    assert!(!said.out.contains("kinds"), "{said:?}");
    run(platform.command(&["uninstall", "--yes"]));
    assert_eq!(before, privileges(&platform, &role).await);
}
