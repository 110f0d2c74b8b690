//! The commands where tenants are set (T5): the names of tenants and agents on the command line.

use crate::support::http::{serving, status};
use crate::support::{Platform, Said};

const UUID: &str = "0b1f2c3d-0000-4000-8000-00000000000a";

/// A database with one agent, in sync, of each tenant.
async fn with_tenants(of_type: &str, tenants: &[&str]) -> Platform {
    let platform = Platform::with_tenants(of_type).await;
    platform.install();
    for tenant in tenants {
        agent(&platform, tenant, "a").await;
    }
    drop(platform.caught_up_daemon().await);
    platform
}

async fn agent(platform: &Platform, tenant: &str, slug: &str) {
    platform
        .run(&format!(
            "INSERT INTO agents (client_id, slug, name) VALUES ('{tenant}', '{slug}', 'n');
             INSERT INTO agent_configurations (client_id, agent_slug, agent_name)
               VALUES ('{tenant}', '{slug}', 'n')"
        ))
        .await;
}

/// A mistyped tenant is told by every command that takes one, with similar tenants.
#[tokio::test]
async fn i1_a_tenant_that_nothing_has_is_told() {
    for (of_type, tenant, typed, is_similar) in [
        ("text", "acme", "acem", true),
        ("text", "acme", "ACME", true),
        ("text", "acme", "globex", false),
        ("uuid", UUID, "0b1f2c3d-0000-4000-8000-00000000000b", true),
        ("uuid", UUID, "acme", false),
        ("bigint", "1044", "1040", true),
        ("bigint", "1044", "x", false),
        ("char(8)", "1044", "7", false),
    ] {
        let platform = with_tenants(of_type, &[tenant]).await;
        for (command, code) in [
            (&["check"][..], 2),
            (&["check", "a"], 2),
            (&["check", "--rules", "config/providers.toml"], 2),
            (&["reconcile", "--all"], 1),
            (&["reconcile", "--all", "--dry-run"], 2),
            (&["wait", "--timeout", "1ms"], 2),
        ] {
            let known = platform
                .says(&[command, &["--tenant", tenant]].concat())
                .await;
            assert_eq!(known.code, 0, "{command:?}: {known:?}");
            let arguments = [command, &["--tenant", typed]].concat();
            let said = platform.says(&arguments).await;
            assert_eq!(said.code, code, "{arguments:?}: {said:?}");
            let sentence = "no agent and no configuration has this tenant";
            let out = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(out.contains(sentence), "{arguments:?}: {said:?}");
            let similar = format!("similar: {tenant}");
            assert_eq!(
                out.contains(&similar),
                is_similar,
                "{arguments:?}: {said:?}"
            );
            let said = platform.says(&[&arguments[..], &["--json"]].concat()).await;
            assert_eq!(said.code, code, "{arguments:?}: {said:?}");
            let start = r#"{"type":"unknown","tenant":"#;
            assert!(
                said.out.lines().any(|line| line.starts_with(start)),
                "{arguments:?}: {said:?}"
            );
            let objects = said.objects();
            let unknown = objects
                .iter()
                .find(|object| object["verdict"] == "unknown" && object["slug"].is_null())
                .unwrap_or_else(|| panic!("{arguments:?}: {said:?}"));
            assert_eq!(unknown["tenant"], typed);
            assert_eq!(
                unknown["near"].as_array().unwrap().len(),
                usize::from(is_similar)
            );
        }
        let said = platform.says(&["why", "a", "--tenant", typed]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("nothing has this tenant"), "{said:?}");
    }
}

/// A tenant is unknown only if no database has it. One with a configuration alone is known.
#[tokio::test]
async fn i1_a_tenant_of_one_database_is_known() {
    let one = with_tenants("text", &["acme"]).await;
    let other = with_tenants("text", &["globex"]).await;
    one.run("DELETE FROM agents").await;
    let says = async |arguments: &[&str]| {
        let mut command = one.command(arguments);
        command.env_remove("DATABASE_URL");
        for table in ["AGENTS", "CONFIGURATIONS"] {
            command.env_remove(format!(
                "AGENT_SYNC__DATABASES__DEFAULT__{table}__COLUMNS__TENANT"
            ));
        }
        for (name, platform) in [("ONE", &one), ("OTHER", &other)] {
            let prefix = format!("AGENT_SYNC__DATABASES__{name}");
            command.env(format!("{prefix}__URL"), &platform.url);
            for table in ["AGENTS", "CONFIGURATIONS"] {
                command.env(format!("{prefix}__{table}__COLUMNS__TENANT"), "client_id");
            }
        }
        Said::of(command).await
    };
    for command in [
        &["check"][..],
        &["reconcile", "--all"],
        &["wait", "--timeout", "1ms"],
    ] {
        for (tenant, is_known) in [("acme", true), ("globex", true), ("initech", false)] {
            let arguments = [command, &["--tenant", tenant]].concat();
            let said = says(&arguments).await;
            assert_eq!(said.code == 0, is_known, "{arguments:?}: {said:?}");
            let told = said.out.contains("unknown");
            assert_eq!(told, !is_known, "{arguments:?}: {said:?}");
        }
    }
}

/// A command takes the names that its lists and requests have: `tenant/slug`, also from a file. A
/// tenant alone is a scope of `reconcile`.
#[tokio::test]
async fn i1_a_command_takes_tenant_and_slug_as_one_name() {
    for (of_type, tenants) in [
        ("text", ["acme", "a/b", "globex"]),
        (
            "uuid",
            [
                UUID,
                "0b1f2c3d-0000-4000-8000-00000000000b",
                "0b1f2c3d-0000-4000-8000-00000000000c",
            ],
        ),
        ("integer", ["1", "-2", "3"]),
    ] {
        let platform = with_tenants(of_type, &tenants).await;
        for tenant in tenants {
            agent(&platform, tenant, "b/c").await;
        }
        platform
            .run("UPDATE agents SET name = 'of ' || client_id || ' ' || slug")
            .await;
        platform.run("TRUNCATE agent_sync.outbox").await;
        let synced = async || -> Vec<String> {
            let sql = "SELECT array_agg(client_id::text || '/' || agent_slug ORDER BY id)
                FROM agent_configurations WHERE agent_name LIKE 'of %'";
            let names: Option<Vec<String>> = platform.value(sql).await;
            platform
                .run("UPDATE agent_configurations SET agent_name = 'n'")
                .await;
            let mut names = names.unwrap_or_default();
            names.sort();
            names
        };
        let [one, other, third] = tenants;
        let name = |tenant: &str, slug: &str| format!("{tenant}/{slug}");
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };

        let said = platform.says(&["reconcile", &name(one, "a")]).await;
        assert_eq!(
            (said.code, synced().await),
            (0, vec![name(one, "a")]),
            "{said:?}"
        );

        let list = [name(other, "b/c"), String::new(), name(third, "a")].join("\r\n");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, list.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let arguments = ["reconcile", "--slugs-from", path, "--json"];
        let said = platform.says(&arguments).await;
        let expected = sorted(vec![name(other, "b/c"), name(third, "a")]);
        assert_eq!((said.code, synced().await), (0, expected), "{said:?}");

        let said = platform.says(&["reconcile", "--tenant", other]).await;
        let expected = sorted(vec![name(other, "a"), name(other, "b/c")]);
        assert_eq!((said.code, synced().await), (0, expected), "{said:?}");
        let said = platform
            .says(&["reconcile", "--tenant", other, "--dry-run"])
            .await;
        assert_eq!((said.code, synced().await.len()), (2, 0), "{said:?}");
        assert!(
            said.out.contains("`agent-sync reconcile --tenant TENANT`"),
            "{said:?}"
        );

        let said = platform.says(&["why", &name(third, "b/c"), "--json"]).await;
        assert_eq!(said.object()["tenant"], third, "{said:?}");
        assert_eq!(said.object()["slug"], "b/c", "{said:?}");
        for unknown in ["nobody/a", "a/a/a"] {
            let said = platform.says(&["check", unknown]).await;
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.out.contains("unknown"), "{said:?}");
            assert_eq!(platform.says(&["why", unknown]).await.code, 1);
        }
    }
}

/// The log and `/status` name the tenant of an agent with a setting that no rule reads.
#[tokio::test]
async fn m10_an_unmapped_setting_names_tenant_and_slug() {
    for (of_type, tenant) in [("text", "a/b"), ("uuid", UUID)] {
        let platform = with_tenants(of_type, &[tenant]).await;
        let (daemon, address) = serving(&platform).await;
        platform
            .run("UPDATE agents SET voice_settings = '{\"voiceId\": 1}'")
            .await;
        let line = daemon
            .logged("a voice setting of agents is mapped to nothing")
            .await;
        assert_eq!(
            (&line["tenant"], &line["slug"]),
            (&tenant.into(), &"a".into()),
            "{line}"
        );
        let listed = status(address).await["unmapped"]["listed"][0].clone();
        let named = (&listed["tenant"], &listed["slug"]);
        assert_eq!(named, (&tenant.into(), &"a".into()), "{listed}");
    }
}
