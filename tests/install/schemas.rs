//! Several pairs of tables in one database, each with an install of its own (T6).

use std::process::Command;

use crate::support::platform::TABLES;
use crate::support::{Daemon, Platform, Said, eventually, tcp_cluster};

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
    assert_eq!(daemon.outages().len(), 0);

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
        // The daemon of the other install is no standby.
        assert!(!said.out.contains("1 stand by"), "{said:?}");
    }
}

/// GIVEN two pairs, WHEN one of them gets a problem, THEN the problem is noted in its install
/// alone, and messages name the schema of this install.
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
            .contains("the install in the schema \"agent_sync\" serves public"),
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
    // The move names what it leaves, and asks.
    for pending in [
        "1 change that is not yet in sync is not applied any more",
        "2 changes that are not yet in sync are not applied any more",
    ] {
        platform
            .run("INSERT INTO public.agents (slug) VALUES ('of the old ' || random())")
            .await;
        let asked = with(&others, &["install", "--move"]).await;
        assert_eq!(asked.code, 64, "{asked:?}");
        for text in [
            "expected --yes",
            &*format!("database {})", platform.name()),
            "public.agents and public.agent_configurations are no longer served",
            pending,
        ] {
            assert!(asked.err.contains(text), "{text}: {asked:?}");
        }
        assert_eq!(platform.value::<String>(after).await, before);
    }
    // Nothing is left where the tables are the same.
    let same = with(&[], &["install", "--move"]).await;
    assert_eq!(same.code, 0, "{same:?}");
    let moved = with(&others, &["install", "--move", "--yes"]).await;
    assert_eq!(moved.code, 0, "{moved:?}");
    let again = with(&others, &["install", "--move"]).await;
    assert_eq!(again.code, 0, "{again:?}");
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

/// The program for the tables `agents` and `configurations` (schemas) with an install in `install`.
fn command_for(
    platform: &Platform,
    [agents, configurations, install]: [&str; 3],
    captures: bool,
    arguments: &[&str],
) -> Command {
    let mut command = platform.command(arguments);
    let key = "AGENT_SYNC__DATABASES__DEFAULT__";
    command
        .env_remove("DATABASE_URL")
        .env(format!("{key}URL"), &platform.url)
        .env(format!("{key}AGENTS__SCHEMA"), agents)
        .env(format!("{key}CONFIGURATIONS__SCHEMA"), configurations)
        .env(format!("{key}INSTALL__SCHEMA"), install)
        .env("AGENT_SYNC__CAPTURE__CONFIGURATIONS", captures.to_string())
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    command
}

/// GIVEN an install for a table of configurations, WHEN another one asks for it at the same moment,
/// with or without triggers on it, for a partition of it, or after a restore without comments, THEN
/// only one of them is made.
#[tokio::test]
async fn t6_only_one_install_serves_a_table_of_configurations() {
    const A: [&str; 3] = ["tenant_a", "tenant_a", "sync_a"];
    const B: [&str; 3] = ["tenant_b", "tenant_a", "sync_b"];
    for (first_captures, second_captures) in
        [(true, true), (false, true), (true, false), (false, false)]
    {
        for at_once in [true, false] {
            let platform = two_pairs().await;
            let install = |pair, captures| {
                tokio::spawn(Said::of(command_for(
                    &platform,
                    pair,
                    captures,
                    &["install"],
                )))
            };
            let first = install(A, first_captures);
            let said = if at_once {
                let second = install(B, second_captures);
                [first.await.unwrap(), second.await.unwrap()]
            } else {
                [
                    first.await.unwrap(),
                    install(B, second_captures).await.unwrap(),
                ]
            };
            let mut codes = [said[0].code, said[1].code];
            codes.sort_unstable();
            assert_eq!(
                codes,
                [0, 1],
                "{first_captures} {second_captures} {at_once}: {said:?}"
            );
            let refused = said.iter().find(|said| said.code == 1).unwrap();
            assert!(
                refused
                    .err
                    .contains("serves tenant_a.agent_configurations already"),
                "{refused:?}"
            );
        }
    }

    // A partition, and a restore without comments.
    let platform = two_pairs().await;
    platform
        .run(
            "DROP TABLE tenant_a.agent_configurations, tenant_b.agent_configurations;
             CREATE TABLE tenant_a.agent_configurations (agent_slug text, tenant text, agent_name text,
               provider_config jsonb) PARTITION BY LIST (tenant);
             CREATE TABLE tenant_b.agent_configurations PARTITION OF tenant_a.agent_configurations
               FOR VALUES IN ('b')",
        )
        .await;
    let said = Said::of(command_for(&platform, A, true, &["install"])).await;
    assert_eq!(said.code, 0, "{said:?}");
    platform
        .run(
            "DO $$ DECLARE t record; BEGIN
                 FOR t IN SELECT tgname, tgrelid::regclass AS relation FROM pg_trigger
                          WHERE tgname LIKE 'sync_a%' AND tgparentid = 0 LOOP
                     EXECUTE format('COMMENT ON TRIGGER %I ON %s IS NULL', t.tgname, t.relation);
                 END LOOP; END $$;
             COMMENT ON COLUMN sync_a.install.tables IS NULL; COMMENT ON SCHEMA sync_a IS NULL",
        )
        .await;
    for pair in [B, ["tenant_b", "tenant_b", "sync_b"]] {
        let said = Said::of(command_for(&platform, pair, true, &["install"])).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.err.contains("agent_configurations already"),
            "{said:?}"
        );
    }
}

/// GIVEN two installs for one table of configurations all the same, THEN neither daemon writes
/// anything, and all lights are red until one of them is removed.
#[tokio::test]
async fn t6_two_installs_for_one_table_stop_each_other() {
    let platform = two_pairs().await;
    let first = ["tenant_a", "tenant_a", "sync_a"];
    let second = ["tenant_b", "tenant_b", "sync_b"];
    for pair in [first, second] {
        let said = Said::of(command_for(&platform, pair, true, &["install"])).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    let daemons =
        [first, second].map(|pair| Daemon::start(command_for(&platform, pair, true, &["run"])));
    for daemon in &daemons {
        daemon.logged("caught up").await;
    }
    // As an install could that was made before this was checked.
    platform
        .run(
            "CREATE TRIGGER sync_b_insert AFTER INSERT ON tenant_a.agent_configurations FOR EACH ROW
               EXECUTE FUNCTION sync_b.capture_configuration()",
        )
        .await;
    eventually("the sweep stops the daemon", async || {
        let lines = daemons[0].lines("the daemon cannot work in the database");
        let cause =
            "the install in the schema \"sync_b\" serves tenant_a.agent_configurations as well";
        lines.iter().any(|line| line["cause"] == cause)
    })
    .await;
    let said = Said::of(command_for(&platform, first, true, &["doctor"])).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out
            .contains("the install in the schema \"sync_b\" serves"),
        "{said:?}"
    );
}

/// GIVEN two names of schemas whose locks have one key, THEN the second install is refused.
#[tokio::test]
async fn t6_schemas_whose_locks_have_one_key_are_refused() {
    let platform = two_pairs().await;
    let first = ["tenant_a", "tenant_a", "tenant_fewokufa"];
    let said = Said::of(command_for(&platform, first, true, &["install"])).await;
    assert_eq!(said.code, 0, "{said:?}");
    let second = ["tenant_b", "tenant_b", "tenant_ratowigo"];
    let said = Said::of(command_for(&platform, second, true, &["install"])).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("advisory locks"), "{said:?}");
    assert!(
        !platform
            .value::<bool>("SELECT to_regnamespace('tenant_ratowigo') IS NOT NULL")
            .await
    );
}

/// GIVEN a copy of a tenant's tables with their triggers, THEN an install for the copy is refused,
/// with the statements that drop the copied triggers; these make it possible.
#[tokio::test]
async fn t6_copied_triggers_are_named_with_their_remedy() {
    let platform = two_pairs().await;
    let said = Said::of(command_for(
        &platform,
        ["tenant_a", "tenant_a", "sync_a"],
        true,
        &["install"],
    ))
    .await;
    assert_eq!(said.code, 0, "{said:?}");
    platform
        .run(
            "CREATE TRIGGER sync_a_insert AFTER INSERT ON tenant_b.agents FOR EACH ROW EXECUTE
               FUNCTION sync_a.capture_agent();
             CREATE TRIGGER sync_a_insert AFTER INSERT ON tenant_b.agent_configurations FOR EACH ROW
               EXECUTE FUNCTION sync_a.capture_configuration()",
        )
        .await;
    let copy = ["tenant_b", "tenant_b", "sync_b"];
    let said = Said::of(command_for(&platform, copy, true, &["install"])).await;
    assert_eq!(said.code, 1, "{said:?}");
    let drops = "DROP TRIGGER sync_a_insert ON tenant_b.agent_configurations; DROP TRIGGER \
        sync_a_insert ON tenant_b.agents;";
    assert!(said.err.contains(drops), "{said:?}");
    platform.run(drops).await;
    let said = Said::of(command_for(&platform, copy, true, &["install"])).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// GIVEN an install beside one in the usual schema, and a role of that name, THEN no message takes
/// these names for those of the install itself.
#[tokio::test]
async fn t6_messages_keep_names_that_are_the_usual_one() {
    let platform = two_pairs().await;
    for [agents, configurations, schema] in [
        ["tenant_a", "tenant_a", "agent_sync"],
        ["tenant_b", "tenant_b", "sync_b"],
    ] {
        let command = command_for(
            &platform,
            [agents, configurations, schema],
            true,
            &["install"],
        );
        let said = Said::of(command).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    platform
        .run(
            "CREATE TRIGGER agent_sync_insert AFTER INSERT ON tenant_b.agent_configurations
               FOR EACH ROW EXECUTE FUNCTION agent_sync.capture_configuration()",
        )
        .await;
    let second = ["tenant_b", "tenant_b", "sync_b"];
    let said = Said::of(command_for(&platform, second, true, &["doctor"])).await;
    assert_eq!(said.code, 2, "{said:?}");
    let told = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
    let rival = "the install in the schema \"agent_sync\" serves";
    assert!(told.contains(rival), "{told}");
    let said = Said::of(command_for(&platform, second, true, &["install"])).await;
    assert_eq!(said.code, 1, "{said:?}");
    let drop = "DROP TRIGGER agent_sync_insert ON tenant_b.agent_configurations;";
    assert!(said.err.contains(drop), "{said:?}");
    platform.run(drop).await;
    let said = Said::of(command_for(&platform, second, true, &["doctor"])).await;
    assert!(!said.out.contains("the install in the schema"), "{said:?}");
}

/// GIVEN two installs with one role, with types below domains and without triggers on the
/// configurations, WHEN one is uninstalled, THEN the role can still serve the other.
#[tokio::test]
async fn t6_an_uninstall_leaves_types_and_tables_without_triggers() {
    for captures in [true, false] {
        let platform = two_pairs().await;
        platform
            .run(
                "CREATE SCHEMA types; CREATE SCHEMA shared; CREATE TYPE types.voice AS ENUM ('a', 'b'); CREATE DOMAIN public.voice AS types.voice;
                 ALTER TABLE tenant_a.agent_configurations DROP voice_id, ADD voice_id public.voice;
                 ALTER TABLE tenant_b.agent_configurations DROP voice_id, ADD voice_id public.voice;
                 ALTER TABLE tenant_a.agent_configurations RENAME TO of_a;
                 ALTER TABLE tenant_b.agent_configurations RENAME TO of_b;
                 DROP INDEX tenant_b.agent_configurations_agent_slug_idx;
                 ALTER TABLE tenant_b.of_b DROP CONSTRAINT agent_configurations_pkey;
                 ALTER TABLE tenant_a.of_a SET SCHEMA shared;
                 ALTER TABLE tenant_b.of_b SET SCHEMA shared",
            )
            .await;
        let role = format!("{}_daemon", platform.name());
        let of = |pair: &str, arguments: &[&str]| {
            let names = [&format!("tenant_{pair}"), "shared", &format!("sync_{pair}")];
            let mut command = command_for(&platform, names, captures, arguments);
            command.env(
                "AGENT_SYNC__DATABASES__DEFAULT__CONFIGURATIONS__TABLE",
                format!("of_{pair}"),
            );
            command
        };
        for pair in ["a", "b"] {
            let said = Said::of(of(pair, &["install", "--role", &role])).await;
            assert_eq!(said.code, 0, "{said:?}");
        }
        let said = Said::of(of("a", &["uninstall", "--yes"])).await;
        assert_eq!(said.code, 0, "{said:?}");
        let mut doctor = of("b", &["doctor"]);
        doctor.env(
            "AGENT_SYNC__DATABASES__DEFAULT__URL",
            platform.url_as(&role),
        );
        let said = Said::of(doctor).await;
        assert!(
            said.out.contains("the role has every privilege"),
            "{captures}: {said:?}"
        );
        let said = Said::of(of("b", &["uninstall", "--yes"])).await;
        assert_eq!(said.code, 0, "{said:?}");
        let remains = format!("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}')");
        assert!(
            !platform.value::<bool>(&remains).await,
            "{captures}: {said:?}"
        );
    }
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
        (
            "INSTALL__SCHEMA",
            "sync_a_change",
            "expected a name of 1 to 40",
        ),
    ] {
        let mut command = command(&platform, &["config"]);
        command.env(format!("AGENT_SYNC__DATABASES__TENANT_B__{name}"), value);
        let said = Said::of(command).await;
        assert_eq!(said.code, 64, "{said:?}");
        assert!(said.err.contains(expected), "{expected}: {said:?}");
    }
}

/// GIVEN a server and a promoted physical copy of it, which has its identifier and its numbers of
/// databases, THEN both databases are installed: they are two.
#[tokio::test]
async fn t6_a_physical_copy_is_another_database() {
    let (primary, platform) = Platform::on_own_server("").await;
    let Some(copy) = crate::support::standby(&primary) else {
        return;
    };
    copy.control(&["promote"]).unwrap();
    let mut command = platform.command(&["install"]);
    command
        .env_remove("DATABASE_URL")
        .env("AGENT_SYNC__DATABASES__PROD__URL", &platform.url)
        .env(
            "AGENT_SYNC__DATABASES__STAGING__URL",
            copy.url(platform.name()),
        );
    let said = Said::of(command).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// GIVEN an extension of the server whose settings begin with the name of the schema, THEN the
/// install is refused before anything is changed; GIVEN a module of PostgreSQL of this name, THEN
/// the settings are.
#[tokio::test]
async fn t6_the_name_of_an_extension_is_no_schema_of_an_install() {
    let platform = two_pairs().await;
    let with = |schema: &str, arguments: &[&str]| {
        let mut command = command(&platform, arguments);
        command
            .env("AGENT_SYNC__DATABASES__TENANT_B__INSTALL__SCHEMA", schema)
            .args(["--database", "tenant_b"]);
        command
    };
    let said = Said::of(with("auto_explain", &["install"])).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(said.err.contains("no module of PostgreSQL"), "{said:?}");

    // No extension of others is at hand, so a module of PostgreSQL stands for one.
    let prefix = include_str!("../../sql/prefix.sql");
    platform.run(prefix).await;
    let refused = platform
        .client
        .batch_execute(&prefix.replace("agent_sync.", "plpgsql."))
        .await
        .unwrap_err();
    let refused = refused.as_db_error().unwrap();
    assert!(
        refused
            .message()
            .starts_with("the setting plpgsql.check_asserts belongs"),
        "{refused}"
    );
    assert!(
        refused.hint().unwrap().contains("install.schema"),
        "{refused}"
    );
    let printed = Said::of(with("sync_b", &["install", "--print"])).await;
    assert!(printed.out.contains("'sync_b.')"), "{printed:?}");
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

/// GIVEN a role that existed before and serves two installs, WHEN both are uninstalled, in either
/// order, THEN what the installs granted is revoked, and what the role had before stays.
#[tokio::test]
async fn t6_the_last_uninstall_revokes_what_installs_granted() {
    for order in [["tenant_a", "tenant_b"], ["tenant_b", "tenant_a"]] {
        let platform = two_pairs().await;
        let role = format!("{}_before", platform.name());
        let name = platform.name().to_owned();
        platform
            .run(&format!(
                "CREATE ROLE {role} LOGIN; CREATE SCHEMA shared; CREATE TYPE shared.mood AS ENUM ('well');
                 ALTER TABLE tenant_a.agent_configurations ALTER COLUMN voice_id TYPE shared.mood
                   USING NULL;
                 ALTER TABLE tenant_b.agent_configurations ALTER COLUMN voice_id TYPE shared.mood
                   USING NULL;
                 REVOKE CONNECT ON DATABASE {name} FROM PUBLIC;
                 GRANT USAGE ON SCHEMA tenant_a TO {role}"
            ))
            .await;
        let privileges = format!(
            "SELECT concat_ws(' ', has_database_privilege('{role}', '{name}', 'CONNECT'),
               has_schema_privilege('{role}', 'shared', 'USAGE'),
               has_schema_privilege('{role}', 'tenant_a', 'USAGE'),
               has_schema_privilege('{role}', 'tenant_b', 'USAGE'))"
        );
        assert_eq!(platform.value::<String>(&privileges).await, "f f t f");
        let said = says(&platform, &["install", "--role", &role]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!(platform.value::<String>(&privileges).await, "t t t t");
        let said = says(&platform, &["install"]).await;
        assert_eq!(said.out.matches("already installed").count(), 2, "{said:?}");
        for removed in order {
            let said = says(&platform, &["uninstall", "--yes", "--database", removed]).await;
            assert_eq!(said.code, 0, "{said:?}");
            let left = platform.value::<String>(&privileges).await;
            assert_eq!(left.starts_with("t t t"), removed == order[0], "{left}");
        }
        assert_eq!(platform.value::<String>(&privileges).await, "f f t f");
    }
}

/// GIVEN one monitoring role for two installs of a database, one of them from the printed SQL, THEN
/// it reads the state of both; the first uninstall leaves it what the second install needs, and the
/// last one drops it.
#[tokio::test]
async fn t6_a_monitoring_role_reads_two_installs() {
    let platform = two_pairs().await;
    let role = format!("monitor_{}", platform.name());
    let install = ["install", "--monitor", &role, "--database"];
    let printed = says(
        &platform,
        &[&install[..], &["tenant_a", "--print"]].concat(),
    )
    .await;
    platform.run(&printed.out).await;
    let said = says(&platform, &[&install[..], &["tenant_b"]].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    let states = async |databases: &[&str]| {
        let mut arguments = vec!["status", "--json"];
        arguments.extend(databases.iter().flat_map(|name| ["--database", name]));
        let mut command = command(&platform, &arguments);
        for (schema, _) in PAIRS {
            let url = format!("AGENT_SYNC__DATABASES__{}__URL", schema.to_uppercase());
            command.env(url, platform.url_as(&role));
        }
        let said = Said::of(command).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.out.matches(r#""state":"no daemon""#).count()
    };
    assert_eq!(states(&["tenant_a", "tenant_b"]).await, 2);
    let uninstall = ["uninstall", "--yes", "--database"];
    let said = says(&platform, &[&uninstall[..], &["tenant_a"]].concat()).await;
    assert!(
        said.out.contains(&format!("the role {role} stays")),
        "{said:?}"
    );
    assert_eq!(states(&["tenant_b"]).await, 1);
    let said = says(&platform, &[&uninstall[..], &["tenant_b"]].concat()).await;
    let dropped = format!("the role {role}, which an install had made, is dropped");
    assert!(said.out.contains(&dropped), "{said:?}");
}

/// GIVEN two entries that lead to one install by different ways, THEN no install changes anything,
/// and a daemon serves it once.
#[tokio::test]
async fn t6_one_install_by_two_ways_is_seen_before_a_change() {
    let cluster = tcp_cluster();
    let ways = |name: &str| {
        let address = cluster.tcp_url(name);
        let localhost = address.replace("127.0.0.1", "localhost");
        (cluster.url(name), address, localhost)
    };
    for number in 0..3 {
        let platform = Platform::with_tables(cluster, TABLES).await;
        let (socket, address, localhost) = ways(platform.name());
        let [one, other] = [
            [&socket, &address],
            [&address, &localhost],
            [&localhost, &socket],
        ][number];
        let with = |other: &str, settings: &[(&str, &str)], arguments: &[&str]| {
            let mut command = platform.command(arguments);
            command.env_remove("DATABASE_URL");
            command.env("AGENT_SYNC__DATABASES__A__URL", one);
            command.env("AGENT_SYNC__DATABASES__B__URL", other);
            for (key, value) in settings {
                command.env(format!("AGENT_SYNC__DATABASES__B__{key}"), value);
            }
            command
        };
        let columns = [("AGENTS__COLUMNS__NAME", "description")];
        for arguments in [&["install"][..], &["install", "--move", "--yes"]] {
            let said = Said::of(with(other, &columns, arguments)).await;
            assert_eq!(said.code, 64, "{number}: {said:?}");
            let found = "found the server, the database and the install.schema of";
            assert!(said.err.contains(found), "{number}: {said:?}");
            let is_installed = "SELECT to_regnamespace('agent_sync') IS NOT NULL";
            assert!(!platform.value::<bool>(is_installed).await, "{number}");
        }
        // Another database of the server, and another schema, are no part of it.
        let apart = Platform::with_tables(cluster, TABLES).await;
        let elsewhere = other.replace(platform.name(), apart.name());
        let said = Said::of(with(&elsewhere, &[], &["install"])).await;
        assert_eq!(said.code, 0, "{number}: {said:?}");
        if number == 1 {
            continue; // The settings refuse it.
        }
        let daemon = Daemon::start(with(other, &[], &["run"]));
        daemon
            .logged("another daemon leads here; standing by")
            .await;
        daemon.logged("caught up").await;
        platform.save("a", "{}").await;
        platform.configure("a").await;
        platform
            .run("UPDATE agents SET name = 'n' WHERE slug = 'a'")
            .await;
        platform
            .holds("SELECT coalesce(bool_and(agent_name = 'n'), false) FROM agent_configurations")
            .await;
        platform.drained().await;
        assert_eq!(daemon.lines("connected and leading").len(), 1);
        drop(daemon);
        let said = Said::of(with(other, &[], &["check"])).await;
        assert_eq!(said.code, 0, "{number}: {said:?}");
    }
}
