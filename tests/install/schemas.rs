//! Several pairs of tables in one database, each with an install of its own (T6).

use std::process::Command;

use crate::support::platform::TABLES;
use crate::support::{Daemon, Platform, Said, eventually};

/// The pairs: the schema of the tables, which is also the name in the settings, and the schema of
/// the install.
const PAIRS: [(&str, &str); 2] = [("tenant_a", "sync_a"), ("tenant_b", "sync_b")];

/// A database with both pairs of tables.
async fn two_pairs() -> Platform {
    let platform = Platform::new().await;
    for (schema, _) in PAIRS {
        platform
            .run(&format!(
                "CREATE SCHEMA {schema}; SET search_path = {schema}, public; {TABLES}; RESET \
                search_path"
            ))
            .await;
    }
    platform
        .run("DROP TABLE agents, agent_configurations")
        .await;
    platform
}

/// The program with an entry for each pair.
fn command(platform: &Platform, arguments: &[&str]) -> Command {
    let mut command = platform.command(arguments);
    command.env_remove("DATABASE_URL");
    for (schema, install) in PAIRS {
        let key = format!("AGENT_SYNC__DATABASES__{}__", schema.to_uppercase());
        command
            .env(format!("{key}URL"), &platform.url)
            .env(format!("{key}AGENTS__SCHEMA"), schema)
            .env(format!("{key}CONFIGURATIONS__SCHEMA"), schema)
            .env(format!("{key}INSTALL__SCHEMA"), install);
    }
    command
}

async fn says(platform: &Platform, arguments: &[&str]) -> Said {
    Said::of(command(platform, arguments)).await
}

/// A database with both installs, and a daemon that has caught up with both.
async fn served() -> (Platform, Daemon) {
    let platform = two_pairs().await;
    let said = says(&platform, &["install"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = Daemon::start(command(&platform, &["run"]));
    eventually("both have caught up", async || {
        daemon.lines("caught up").len() == 2
    })
    .await;
    (platform, daemon)
}

/// Waits until the agent of each pair has this name in its configuration, with the name of the
/// schema behind it.
async fn both_have(platform: &Platform, name: &str) {
    for (schema, install) in PAIRS {
        platform
            .holds(&format!(
                "SELECT EXISTS (SELECT FROM {schema}.agent_configurations WHERE agent_slug = \
                'reception' AND agent_name = '{name} {schema}') AND NOT EXISTS (SELECT FROM \
                {install}.outbox)"
            ))
            .await;
    }
}

/// GIVEN two pairs of tables with the same slug, WHEN agents are saved alone and in bulk, THEN each
/// configuration has the values of its own agent, and every command works for both.
#[tokio::test]
async fn t6_two_pairs_in_one_database_are_served_apart() {
    let (platform, daemon) = served().await;
    for (schema, _) in PAIRS {
        platform
            .run(&format!(
                "INSERT INTO {schema}.agents (slug, name) VALUES ('reception', 'first {schema}');
                 INSERT INTO {schema}.agent_configurations (agent_slug) VALUES ('reception')"
            ))
            .await;
    }
    both_have(&platform, "first").await;
    // The fast path, and a batch that a transaction of both pairs makes.
    for name in ["second", "third"] {
        platform
            .run(&format!(
                "BEGIN;
                 UPDATE tenant_a.agents SET name = '{name} tenant_a';
                 UPDATE tenant_b.agents SET name = '{name} tenant_b';
                 COMMIT"
            ))
            .await;
        both_have(&platform, name).await;
    }
    let many = |schema: &str| {
        format!(
            "INSERT INTO {schema}.agents (slug, name) SELECT 's' || i, '{schema}' FROM \
            generate_series(1, 120) i;
             INSERT INTO {schema}.agent_configurations (agent_slug) SELECT 's' || i FROM \
            generate_series(1, 120) i;"
        )
    };
    // More appends than one transaction guards, in both outboxes.
    platform
        .run(&format!(
            "BEGIN; {}{} COMMIT",
            many("tenant_a"),
            many("tenant_b")
        ))
        .await;
    for (schema, _) in PAIRS {
        platform
            .holds(&format!(
                "SELECT count(*) = 120 FROM {schema}.agent_configurations WHERE agent_name = \
                '{schema}'"
            ))
            .await;
    }
    assert!(
        !platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NOT NULL")
            .await
    );
    assert_eq!(daemon.lines("database unavailable").len(), 0);

    let checked = says(&platform, &["check", "--json"]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    // Drift that no trigger sees, and a request for its slug (I7).
    platform
        .run("UPDATE tenant_b.agent_configurations SET agent_name = 'x' WHERE agent_slug = 's1'")
        .await;
    assert_eq!(says(&platform, &["check"]).await.code, 2);
    platform.run("NOTIFY sync_b, 's1'").await;
    platform
        .holds(
            "SELECT agent_name = 'tenant_b' FROM tenant_b.agent_configurations WHERE agent_slug = \
            's1'",
        )
        .await;
    platform
        .run("UPDATE tenant_a.agent_configurations SET agent_name = 'x' WHERE agent_slug = 's1'")
        .await;
    let reconciled = says(&platform, &["reconcile", "--all", "--yes"]).await;
    assert_eq!(reconciled.code, 0, "{reconciled:?}");
    assert_eq!(says(&platform, &["check"]).await.code, 0);
    for arguments in [&["doctor"][..], &["status"], &["why", "reception"]] {
        let said = says(&platform, arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.contains("agent_sync"), "{said:?}");
    }
}

/// GIVEN two pairs, WHEN one of them gets a problem, THEN the problem is noted in its install alone,
/// and messages name the schema of this install.
#[tokio::test]
async fn t6_a_problem_is_noted_in_the_install_of_its_pair() {
    let (platform, daemon) = served().await;
    platform
        .run(
            "INSERT INTO tenant_b.agents (slug, voice_settings) VALUES ('bad', '[]');
             INSERT INTO tenant_b.agent_configurations (agent_slug) VALUES ('bad')",
        )
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM sync_b.problem WHERE slug = 'bad')")
        .await;
    assert!(
        !platform
            .value::<bool>("SELECT EXISTS (SELECT FROM sync_a.problem)")
            .await
    );
    // A damaged install is told in its own name, and its repair leaves the other alone.
    platform
        .run("ALTER TABLE sync_b.outbox ADD CHECK (slug <> 'x'); DROP TRIGGER sync_b_update ON tenant_b.agents")
        .await;
    let said = says(&platform, &["doctor", "--json"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    let reports = said.objects();
    let level = |name: &str| {
        let of = reports.iter().find(|report| report["database"] == name);
        of.unwrap()["level"].clone()
    };
    assert_eq!([level("tenant_a"), level("tenant_b")], ["warn", "fail"]);
    assert!(said.out.contains("sync_b_update"), "{said:?}");
    assert!(!said.out.contains("agent_sync."), "{said:?}");
    let installed = says(&platform, &["install"]).await;
    assert_eq!(installed.code, 0, "{installed:?}");
    assert!(
        installed.out.contains("tenant_a: already installed"),
        "{installed:?}"
    );
    assert!(
        installed.out.contains("tenant_b: installed"),
        "{installed:?}"
    );
    drop(daemon);
}

/// GIVEN two installs whose daemon has one role, WHEN one is uninstalled, THEN the other goes on,
/// and the last uninstall leaves no trace.
#[tokio::test]
async fn t6_an_uninstall_leaves_the_other_install_its_role() {
    let platform = two_pairs().await;
    let role = format!("{}_daemon", platform.name());
    let said = says(&platform, &["install", "--role", &role]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let url = platform.url_as(&role);
    let as_role = |arguments: &[&str]| {
        let mut command = command(&platform, arguments);
        for (schema, _) in PAIRS {
            let key = format!("AGENT_SYNC__DATABASES__{}__URL", schema.to_uppercase());
            command.env(key, &url);
        }
        command
    };
    for (removed, kept) in [("tenant_a", Some("tenant_b")), ("tenant_b", None)] {
        let said = says(&platform, &["uninstall", "--yes", "--database", removed]).await;
        assert_eq!(said.code, 0, "{said:?}");
        if let Some(kept) = kept {
            let said = Said::of(as_role(&["check", "--database", kept])).await;
            assert_eq!(said.code, 0, "{said:?}");
            let said = Said::of(as_role(&["doctor", "--database", kept])).await;
            assert!(
                said.out.contains("the role has every privilege"),
                "{said:?}"
            );
        }
    }
    let traces = format!(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') OR to_regnamespace('sync_a') \
        IS NOT NULL OR to_regnamespace('sync_b') IS NOT NULL OR EXISTS (SELECT FROM pg_trigger \
        WHERE tgname LIKE 'sync_%')"
    );
    assert!(!platform.value::<bool>(&traces).await);
}

/// GIVEN an install, WHEN another one asks for its tables, or it is asked for other tables, THEN
/// nothing is changed and the remedy works.
#[tokio::test]
async fn t6_tables_of_another_install_are_refused_with_a_remedy() {
    let platform = Platform::installed().await;
    let before = platform
        .value::<String>("SELECT concat(fingerprint, tables, xmin) FROM agent_sync.install")
        .await;
    let key = "AGENT_SYNC__DATABASES__DEFAULT__";
    let with = |settings: &[(&str, &str)], arguments: &[&str]| {
        let mut command = platform.command(arguments);
        command
            .env_remove("DATABASE_URL")
            .env(format!("{key}URL"), &platform.url);
        for (name, value) in settings {
            command.env(format!("{key}{name}"), value);
        }
        Said::of(command)
    };
    let said = with(&[("INSTALL__SCHEMA", "sync_b")], &["install"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err
            .contains("the install in the schema agent_sync serves public"),
        "{said:?}"
    );
    assert!(
        said.err.contains("install.schema = \"agent_sync\""),
        "{said:?}"
    );
    assert!(
        !platform
            .value::<bool>("SELECT to_regnamespace('sync_b') IS NOT NULL")
            .await
    );

    platform
        .run(&format!(
            "CREATE SCHEMA other; SET search_path = other, public; {TABLES}; RESET search_path"
        ))
        .await;
    let others = [
        ("AGENTS__SCHEMA", "other"),
        ("CONFIGURATIONS__SCHEMA", "other"),
    ];
    let said = with(&others, &["install"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("install.schema") && said.err.contains("--move"),
        "{said:?}"
    );
    let after = "SELECT concat(fingerprint, tables, xmin) FROM agent_sync.install";
    assert_eq!(platform.value::<String>(after).await, before);

    // A schema of its own beside the first install.
    let apart = [others[0], others[1], ("INSTALL__SCHEMA", "sync_b")];
    assert_eq!(with(&apart, &["install"]).await.code, 0);
    assert_eq!(platform.value::<String>(after).await, before);
    assert_eq!(with(&apart, &["uninstall", "--yes"]).await.code, 0);
    assert_eq!(platform.value::<String>(after).await, before);

    // In place of the first tables: every agent of the others is checked.
    platform
        .run("INSERT INTO other.agents (slug, name) VALUES ('late', 'Late'); INSERT INTO other.agent_configurations (agent_slug) VALUES ('late')")
        .await;
    let moved = with(&others, &["install", "--move"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    let captured = "SELECT string_agg(DISTINCT tgrelid::regclass::text, ' ' ORDER BY \
        tgrelid::regclass::text) FROM pg_trigger WHERE tgname LIKE 'agent_sync%'";
    assert_eq!(
        platform.value::<String>(captured).await,
        "other.agent_configurations other.agents"
    );
    let mut command = platform.command(&["run"]);
    command
        .env_remove("DATABASE_URL")
        .env(format!("{key}URL"), &platform.url);
    for (name, value) in others {
        command.env(format!("{key}{name}"), value);
    }
    let _daemon = Daemon::start(command);
    platform
        .holds("SELECT EXISTS (SELECT FROM other.agent_configurations WHERE agent_name = 'Late')")
        .await;
}

/// GIVEN settings with two entries for one database, THEN they are refused where they would share
/// an install or a table.
#[tokio::test]
async fn t6_entries_that_share_an_install_or_a_table_are_refused() {
    let platform = two_pairs().await;
    for (name, value, expected) in [
        (
            "INSTALL__SCHEMA",
            "sync_a",
            "the two would share one install",
        ),
        (
            "CONFIGURATIONS__SCHEMA",
            "tenant_a",
            "both would write the same configurations",
        ),
        (
            "INSTALL__SCHEMA",
            "Sync",
            "expected a name of 1 to 40 lower-case letters",
        ),
        ("INSTALL__SCHEMA", "user", "is no key word of SQL"),
    ] {
        let mut command = command(&platform, &["config"]);
        command.env(format!("AGENT_SYNC__DATABASES__TENANT_B__{name}"), value);
        let said = Said::of(command).await;
        assert_eq!(said.code, 64, "{said:?}");
        assert!(said.err.contains(expected), "{expected}: {said:?}");
    }
}

/// The key words that need quotes are those of the server.
#[tokio::test]
async fn t6_no_schema_of_an_install_needs_quotes() {
    let platform = Platform::new().await;
    let words: Vec<String> = platform
        .client
        .query("SELECT word FROM pg_get_keywords()", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut quoted = 0;
    for word in words {
        let needs_quotes: bool = platform
            .value(&format!(
                "SELECT (SELECT catcode IN ('R', 'T') FROM pg_get_keywords() WHERE word = '{word}')"
            ))
            .await;
        let accepted = agent_sync::settings::InstallSchema::of(&word).is_some();
        assert!(!(needs_quotes && accepted), "{word}");
        quoted += i32::from(needs_quotes);
    }
    assert!(quoted > 90, "{quoted}");
}

/// The printed SQL installs into the schema as well.
#[tokio::test]
async fn t6_the_printed_install_has_the_schema() {
    let platform = two_pairs().await;
    for (schema, install) in PAIRS {
        let said = says(&platform, &["install", "--print", "--database", schema]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(!said.out.contains("agent_sync."), "{install}");
        platform.run(&said.out).await;
    }
    let said = says(&platform, &["install"]).await;
    assert_eq!(said.out.matches("already installed").count(), 2, "{said:?}");
}
