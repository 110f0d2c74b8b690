//! The tables of production (T1-T4): other names and types, missing columns, double-encoded JSON.

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Daemon, Platform, Said, cluster};

/// Starts the daemon with additional settings in the environment.
async fn daemon(platform: &Platform, settings: &[(&str, &str)]) -> Daemon {
    let with = |subcommand: &str| {
        let mut command = platform.command(&[subcommand]);
        command
            .env_remove("DATABASE_URL")
            .env("AGENT_SYNC__DATABASES__MAIN__URL", &platform.url);
        for (name, value) in settings {
            command.env(format!("AGENT_SYNC__{name}"), value);
        }
        command
    };
    let output = with("install").output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let daemon = Daemon::start(with("run"));
    daemon.logged("caught up").await;
    daemon
}

#[tokio::test]
async fn t3_only_four_columns_are_required() {
    let platform = Platform::with_tables(
        cluster(),
        "CREATE TABLE agents (slug text PRIMARY KEY, voice_settings jsonb);
         CREATE TABLE agent_configurations (agent_slug text, provider_config jsonb)",
    )
    .await;
    let daemon = daemon(&platform, &[]).await;
    let line = daemon
        .logged("columns that do not exist here are left out")
        .await;
    let columns = line["columns"].as_str().unwrap();
    for column in [
        "public.agents.name",
        "public.agent_configurations.voice_id",
        "public.agent_configurations.updated_at",
    ] {
        assert!(columns.contains(column), "{column} in {columns}");
    }
    daemon.logged("no index begins with ").await;
    // An index in another collation does not help either.
    platform
        .run("CREATE INDEX ON agent_configurations (agent_slug COLLATE \"C\")")
        .await;
    assert!(
        platform
            .says(&["doctor"])
            .await
            .out
            .contains("  warn  index         no index begins with agent_slug")
    );
    platform
        .run("CREATE INDEX ON agent_configurations (agent_slug)")
        .await;
    assert!(
        platform
            .says(&["doctor"])
            .await
            .out
            .contains("  pass  index")
    );
    platform
        .run(&format!(
            "INSERT INTO agents VALUES ('a', '{EXAMPLE}'); INSERT INTO agent_configurations VALUES \
            ('a')"
        ))
        .await;
    let expected =
        format!("SELECT provider_config = '{EXPECTED}' IS TRUE FROM agent_configurations");
    platform.holds(&expected).await;
}

/// Every type of JSON, number and timestamp column is written in its type.
#[tokio::test]
async fn t2_each_type_of_json_number_and_clock_is_kept() {
    for (json, temperature, clock, slug) in [
        ("jsonb", "numeric(3,1)", "timestamp", "varchar(80)"),
        ("json", "real", "timestamptz", "text"),
        ("text", "numeric", "timestamp", "varchar"),
        ("text", "text", "timestamptz", "text"),
    ] {
        let tables = TABLES
            .replace("jsonb", json)
            .replace("double precision", temperature)
            .replace("timestamptz", clock)
            .replace("_slug          text", &format!("_slug          {slug}"))
            .replace("slug            text", &format!("slug            {slug}"))
            .replace(
                "id                  uuid PRIMARY KEY DEFAULT gen_random_uuid()",
                "id bigserial PRIMARY KEY",
            );
        let platform = Platform::with_tables(cluster(), &tables).await;
        let daemon = daemon(&platform, &[]).await;
        let types = format!("{json} {temperature} {clock} {slug}");
        platform
            .run(
                "INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ('a', \
                '{\"kept\": 1.50}')",
            )
            .await;
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name, voice_settings) VALUES ('a', 'Ann', '{}')",
                EXAMPLE.replace("0.9", "0.94")
            ))
            .await;
        let expected = EXPECTED
            .replacen('{', r#"{"kept": 1.50, "#, 1)
            .replace("0.9", "0.94");
        platform
            .holds(&format!(
                "SELECT (provider_config::jsonb = '{expected}') IS TRUE FROM agent_configurations"
            ))
            .await;
        let shown: String = platform
            .value("SELECT temperature::text FROM agent_configurations")
            .await;
        assert_eq!(
            shown,
            if temperature == "numeric(3,1)" {
                "0.9"
            } else {
                "0.94"
            },
            "{types}"
        );
        assert!(
            platform
                .value::<bool>("SELECT updated_at > '2021-01-01' FROM agent_configurations")
                .await,
            "{types}"
        );
        assert!(
            platform
                .value::<String>("SELECT provider_config::text FROM agent_configurations")
                .await
                .contains("1.50"),
            "{types}"
        );
        // M8 for every type: an equal value is no change.
        platform.drained().await;
        let before: String = platform
            .value("SELECT ctid::text FROM agent_configurations")
            .await;
        platform.run("NOTIFY agent_sync, 'a'").await;
        crate::support::eventually("the request is served", async || {
            daemon
                .lines("batch committed")
                .iter()
                .any(|line| line["unchanged"] == 1 && line["written"] == 0)
        })
        .await;
        assert_eq!(
            before,
            platform
                .value::<String>("SELECT ctid::text FROM agent_configurations")
                .await,
            "{types}"
        );
    }
}

#[tokio::test]
async fn t3_tables_and_columns_may_have_other_names() {
    let tables = TABLES
        .replace(
            "CREATE TABLE agents",
            "CREATE SCHEMA \"Voice Platform\"; CREATE TABLE \"Voice Platform\".\"Agents\"",
        )
        .replace("slug            text", "\"the Slug\"      text")
        .replace("voice_settings  jsonb", "settings        jsonb")
        .replace("agent_configurations", "\"select\"")
        .replace("agent_slug ", "\"order\" ")
        .replace("(agent_slug)", "(\"order\")")
        .replace("provider_config     jsonb", "\"Config\"\"s\"   jsonb");
    let platform = Platform::with_tables(cluster(), &tables).await;
    let _daemon = daemon(
        &platform,
        &[
            ("DATABASES__MAIN__AGENTS__SCHEMA", "Voice Platform"),
            ("DATABASES__MAIN__AGENTS__TABLE", "Agents"),
            ("DATABASES__MAIN__AGENTS__COLUMNS__SLUG", "the Slug"),
            (
                "DATABASES__MAIN__AGENTS__COLUMNS__VOICE_SETTINGS",
                "settings",
            ),
            ("DATABASES__MAIN__CONFIGURATIONS__TABLE", "select"),
            (
                "DATABASES__MAIN__CONFIGURATIONS__COLUMNS__AGENT_SLUG",
                "order",
            ),
            (
                "DATABASES__MAIN__CONFIGURATIONS__COLUMNS__PROVIDER_CONFIG",
                "Config\"s",
            ),
        ],
    )
    .await;
    platform
        .run(&format!(
            r#"INSERT INTO "Voice Platform"."Agents" ("the Slug", settings) VALUES ('a', '{EXAMPLE}');
               INSERT INTO "select" ("order") VALUES ('a')"#
        ))
        .await;
    platform
        .holds(&format!(
            r#"SELECT "Config""s" = '{EXPECTED}' IS TRUE FROM "select""#
        ))
        .await;
    // The daemon may process the configuration's own row of the outbox a moment later.
    platform
        .holds("SELECT NOT pending FROM agent_sync.state")
        .await;
}

/// Double-encoded JSON is read and written as an object.
#[tokio::test]
async fn t4_double_encoded_json_is_read_and_written_as_an_object() {
    let platform = Platform::installed().await;
    platform
        .client
        .execute(
            "INSERT INTO agents (slug, voice_settings) VALUES ('a', to_jsonb($1::text))",
            &[&EXAMPLE],
        )
        .await
        .unwrap();
    platform
        .run(r#"INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ('a', to_jsonb('{"kept": {"a": 1}}'::text))"#)
        .await;
    let _daemon = platform.caught_up_daemon().await;
    let expected = EXPECTED.replacen('{', r#"{"kept": {"a": 1}, "#, 1);
    platform.becomes("a", &expected).await;
    let real = "SELECT jsonb_typeof(provider_config) || jsonb_typeof(voice_settings) FROM \
        agent_configurations";
    assert_eq!(platform.value::<String>(real).await, "objectobject");
}

/// Voice settings that say the same are kept, however they are spelled or encoded; others are
/// replaced, small or large.
#[tokio::test]
async fn m8_voice_settings_that_say_the_same_are_kept() {
    let platform = Platform::installed().await;
    platform
        .run(
            r#"CREATE TEMP TABLE made (slug text, theirs jsonb, ours jsonb);
               INSERT INTO made VALUES
                 ('equal',  '{"x": 1, "y": null}', '{"y": null, "x": 1.00}'),
                 ('string', '{"x": 1}', to_jsonb('{"x":1}'::text)),
                 ('theirs', to_jsonb('{"x":1}'::text), '{"x": 1}'),
                 ('array',  '{"x": 1}', '[1]'),
                 ('large',  jsonb_build_object('x', repeat('b', 9000)), jsonb_build_object('x', repeat('c', 9000))),
                 ('other',  '{"x": 1}', '{"x": 2}');
               INSERT INTO agents (slug, voice_settings) SELECT slug, theirs FROM made;
               INSERT INTO agent_configurations (agent_slug, voice_settings) SELECT slug, ours FROM made"#,
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    let written = "SELECT string_agg(agent_slug, ' ' ORDER BY agent_slug) FROM \
        agent_configurations WHERE last_updated > '2020-01-01'";
    assert_eq!(platform.value::<String>(written).await, "array large other");
    let differ = "SELECT count(*) FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug \
        WHERE c.voice_settings <> a.voice_settings AND a.slug IN ('array', 'large', 'other')";
    assert_eq!(platform.value::<i64>(differ).await, 0);
    // One change by the fast path.
    platform
        .run(r#"UPDATE agents SET voice_settings = '{"x": 3}' WHERE slug = 'other'"#)
        .await;
    platform
        .holds(
            r#"SELECT voice_settings = '{"x": 3}' FROM agent_configurations WHERE agent_slug = 'other'"#,
        )
        .await;
}

/// A name that is too long for its column is a problem and is not truncated.
#[tokio::test]
async fn a_name_too_long_for_its_column_is_a_problem() {
    let tables = TABLES.replace("agent_name          text", "agent_name varchar(5)");
    let platform = Platform::with_tables(cluster(), &tables).await;
    let daemon = daemon(&platform, &[]).await;
    platform.configure("a").await;
    platform
        .run(
            "INSERT INTO agents (slug, name, system_prompt) VALUES ('a', 'a secret too long', 'p')",
        )
        .await;
    let line = daemon.logged("agent could not be brought in sync").await;
    assert_eq!(line["sqlstate"], "22001");
    assert!(
        !line.to_string().contains("secret"),
        "values stay out of the log: {line}"
    );
    platform.run("UPDATE agents SET name = 'short'").await;
    platform
        .holds("SELECT agent_name = 'short' IS TRUE FROM agent_configurations")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
}

/// A row that no partition takes is told as such, and the remedy brings it in sync.
#[tokio::test]
async fn t2_a_row_that_no_partition_takes_is_told() {
    let tables = TABLES.replace("uuid PRIMARY KEY DEFAULT", "uuid DEFAULT").replace(
        "last_updated        timestamptz NOT NULL DEFAULT '2020-01-01'\n)",
        "last_updated timestamptz NOT NULL DEFAULT '2020-01-01'\n) PARTITION BY RANGE (updated_at)",
    ) + "CREATE TABLE part_old PARTITION OF agent_configurations FOR
           VALUES FROM ('2000-01-01') TO ('2021-01-01');";
    let platform = Platform::with_tables(cluster(), &tables).await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let daemon = daemon(&platform, &[]).await;
    let line = daemon.logged("agent could not be brought in sync").await;
    let (text, remedy) = (&line["detail"], line["remedy"].as_str().unwrap());
    let said = "PostgreSQL refused the write: no partition takes the row (SQLSTATE 23514, table \
        agent_configurations)";
    assert_eq!(text, said, "{line}");
    assert!(remedy.contains("PARTITION OF … FOR VALUES …, or DEFAULT"));
    let why = platform.says(&["why", "a", "--json"]).await.object();
    assert_eq!(why["remedy"], remedy, "{why}");
    platform
        .run("CREATE TABLE part_rest PARTITION OF agent_configurations DEFAULT")
        .await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
}

#[tokio::test]
async fn t2_configurations_may_be_partitioned() {
    let tables = TABLES.replace(
        "last_updated        timestamptz NOT NULL DEFAULT '2020-01-01'\n)",
        "last_updated timestamptz NOT NULL DEFAULT '2020-01-01'\n) PARTITION BY HASH (id)",
    ) + "CREATE TABLE part_0 PARTITION OF agent_configurations FOR
              VALUES WITH (MODULUS 3, REMAINDER 0);
           CREATE TABLE part_1 PARTITION OF agent_configurations FOR
             VALUES WITH (MODULUS 3, REMAINDER 1);
           CREATE TABLE part_2 PARTITION OF agent_configurations FOR
             VALUES WITH (MODULUS 3, REMAINDER 2);";
    let platform = Platform::with_tables(cluster(), &tables).await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'Agent ' || i
              FROM generate_series(1, 100) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
              INSERT INTO agent_configurations (agent_slug, agent_name)
                SELECT 'nobody-' || i, 'foreign' FROM generate_series(1, 100) i",
        )
        .await;
    let _daemon = daemon(&platform, &[]).await;
    let right = "SELECT count(*) FROM agent_configurations WHERE agent_name = replace(agent_slug, \
        'agent-', 'Agent ')";
    assert_eq!(
        platform.value::<i64>(right).await,
        100,
        "rows of different partitions share their places"
    );
    let foreign = "SELECT count(*) FROM agent_configurations WHERE agent_name = 'foreign'";
    assert_eq!(platform.value::<i64>(foreign).await, 100);
    let output = platform.command(&["install"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing to change"));
}

/// A temperature in a domain is compared in its stored form.
#[tokio::test]
async fn a_temperature_in_a_domain_is_compared_as_stored() {
    for domain in ["real", "numeric(3,1)", "double precision"] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "CREATE DOMAIN plain AS {domain}; CREATE DOMAIN degrees AS plain CHECK (value >= 0);
                 ALTER TABLE agent_configurations ALTER COLUMN temperature TYPE degrees"
            ))
            .await;
        platform.install();
        platform.save("a", r#"{"temperature":0.94}"#).await;
        platform.configure("a").await;
        let _daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let check = platform.says(&["check"]).await;
        assert_eq!(check.code, 0, "{domain}: {check:?}");
    }
}

#[tokio::test]
async fn a_temperature_of_money_is_left_out_and_told_once() {
    let platform = Platform::new().await;
    platform
        .run(
            "ALTER TABLE agent_configurations DROP COLUMN temperature, ADD COLUMN temperature \
            money",
        )
        .await;
    platform.install();
    platform
        .save("a", r#"{"temperature":0.94,"voice_id":"nova"}"#)
        .await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    let line = daemon
        .logged("temperature of public.agent_configurations has the type money")
        .await;
    assert_eq!(line["level"], "WARN");
    platform
        .holds("SELECT voice_id = 'nova' AND temperature IS NULL FROM agent_configurations")
        .await;
    let check = platform.says(&["check"]).await;
    assert_eq!(check.code, 0, "{check:?}");
}

/// GIVEN a column with a domain over a type with a length, WHEN the value is longer, THEN the write
/// fails, as with the type itself, and nothing is truncated.
#[tokio::test]
async fn m7_no_value_is_cut_off_by_the_type_of_its_column() {
    for (domains, of_type) in [
        ("", "varchar(12)"),
        ("CREATE DOMAIN short AS varchar(12)", "short"),
        (
            "CREATE DOMAIN short AS varchar(12); CREATE DOMAIN shorter AS short",
            "shorter",
        ),
        ("CREATE DOMAIN short AS char(12)", "short"),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "{domains}; ALTER TABLE agent_configurations ALTER voice_id TYPE {of_type}"
            ))
            .await;
        platform.install();
        for slug in ["a", "b"] {
            platform.configure(slug).await;
        }
        platform
            .save("a", r#"{"voice_id":"21m00Tcm4TlvDq8ikWAM"}"#)
            .await;
        platform.save("b", r#"{"voice_id":"21m00Tcm4Tlv"}"#).await;
        let _daemon = platform.caught_up_daemon().await;
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'a' AND sqlstate = \
                '22001')",
            )
            .await;
        platform
            .holds(
                "SELECT (voice_id = '21m00Tcm4Tlv') IS TRUE FROM agent_configurations WHERE \
                agent_slug = 'b'",
            )
            .await;
        let cut_off: bool = platform
            .value("SELECT voice_id IS NOT NULL FROM agent_configurations WHERE agent_slug = 'a'")
            .await;
        assert!(!cut_off, "{of_type}");
    }
}

#[tokio::test]
async fn m7_a_column_of_the_type_name_is_left_out_and_said_to_be() {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agent_configurations ALTER voice_id TYPE name")
        .await;
    platform.install();
    platform.configure("a").await;
    platform.save("a", r#"{"voice_id":"v"}"#).await;
    let daemon = platform.caught_up_daemon().await;
    daemon
        .logged("voice_id of public.agent_configurations has the type name")
        .await;
    platform.drained().await;
    platform
        .holds("SELECT agent_name IS NOT NULL AND voice_id IS NULL FROM agent_configurations")
        .await;
    assert!(
        platform
            .says(&["doctor"])
            .await
            .out
            .contains("has the type name")
    );
}

/// The settings name another key column than the install, and no install follows.
#[tokio::test]
async fn g14_an_install_for_another_slug_column_is_a_fault() {
    for (named, relation) in [
        (
            [
                ("AGENTS__COLUMNS__SLUG", "name"),
                ("AGENTS__COLUMNS__NAME", "slug"),
            ],
            "agents",
        ),
        (
            [
                ("CONFIGURATIONS__COLUMNS__AGENT_SLUG", "agent_name"),
                ("CONFIGURATIONS__COLUMNS__AGENT_NAME", "agent_slug"),
            ],
            "agent_configurations",
        ),
    ] {
        let platform = Platform::installed().await;
        platform
            .run("INSERT INTO agents (slug, name) VALUES ('a', 'name-a')")
            .await;
        let command = |subcommand: &str| {
            let mut command = platform.command(&[subcommand]);
            command
                .env_remove("DATABASE_URL")
                .env("AGENT_SYNC__DATABASES__MAIN__URL", &platform.url);
            command.envs(
                named.map(|(key, value)| (format!("AGENT_SYNC__DATABASES__MAIN__{key}"), value)),
            );
            command
        };
        let mut run = command("run");
        run.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        let daemon = Daemon::start(run);
        daemon.logged("capture broken").await;
        crate::support::eventually("it is told", async || {
            let made_for = |line: &serde_json::Value| {
                line["fault"]
                    .as_str()
                    .unwrap()
                    .starts_with("made for the slugs in the column ")
                    && line["trigger"].as_str().unwrap().contains(relation)
            };
            daemon.lines("capture broken").iter().any(made_for)
        })
        .await;
        assert_eq!(Said::of(command("doctor")).await.code, 2);
        assert_eq!(Said::of(command("install")).await.code, 0);
        daemon.logged("the capture works again").await;
    }
}
