//! Tenants (T5): where tenants are set, tenant and slug identify an agent.

use serde_json::Value;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// A type of the tenant column, with three tenants.
#[derive(Clone, Copy)]
struct Tenants {
    of_type: &'static str,
    of: [&'static str; 3],
}

const UUID: Tenants = Tenants {
    of_type: "uuid NOT NULL",
    of: [
        "0b1f2c3d-0000-4000-8000-000000000001",
        "0b1f2c3d-0000-4000-8000-000000000002",
        "0b1f2c3d-0000-4000-8000-00000000000a",
    ],
};
const INTEGER: Tenants = Tenants {
    of_type: "integer",
    of: ["1", "-2", "2147483647"],
};
const BIGINT: Tenants = Tenants {
    of_type: "bigint NOT NULL",
    of: ["7", "9223372036854775807", "-1"],
};
const TEXT: Tenants = Tenants {
    of_type: "text",
    of: ["acme", "a/b%2F", ""],
};
const VARCHAR: Tenants = Tenants {
    of_type: "varchar(20) NOT NULL",
    of: ["%", "/", "x/%25"],
};
/// No index serves, so every lookup scans.
const ENUM: Tenants = Tenants {
    of_type: "client",
    of: ["first", "the/second", "%third"],
};
const CHAR: Tenants = Tenants {
    of_type: "char(8) NOT NULL",
    of: ["acme", "a/b", "%"],
};
const ALL: [Tenants; 7] = [UUID, INTEGER, BIGINT, TEXT, VARCHAR, ENUM, CHAR];

impl Platform {
    /// Inserts an agent of a tenant, with an empty configuration.
    async fn agent_of(&self, tenant: &str, slug: &str) {
        self.run(&format!(
            "INSERT INTO agents (client_id, slug, name) VALUES ('{tenant}', '{slug}',
               'of {tenant}');
             INSERT INTO agent_configurations (client_id, agent_slug) VALUES ('{tenant}', '{slug}')"
        ))
        .await;
    }

    /// Waits until the configurations of a tenant's agent have this name.
    async fn is_named(&self, tenant: &str, slug: &str, name: &str) {
        self.holds(&format!(
            "SELECT bool_and(agent_name = '{name}') IS TRUE FROM agent_configurations
             WHERE client_id = '{tenant}' AND agent_slug = '{slug}'"
        ))
        .await;
    }

    /// The kind of the problem that is noted for a tenant's agent.
    async fn problem_of(&self, tenant: &str, slug: &str) -> Option<String> {
        let sql = format!(
            "SELECT (SELECT p.kind FROM agent_sync.problem p
                     WHERE p.tenant = '{tenant}' AND p.slug = '{slug}')"
        );
        self.value(&sql).await
    }

    async fn has_problem(&self, tenant: &str, slug: &str, kind: Option<&str>) {
        let kind = kind.map_or("NULL".to_owned(), |kind| format!("'{kind}'"));
        self.holds(&format!(
            "SELECT (SELECT p.kind FROM agent_sync.problem p
                     WHERE p.tenant = '{tenant}' AND p.slug = '{slug}') IS NOT DISTINCT FROM {kind}"
        ))
        .await;
    }

    /// Waits until the daemon sleeps.
    async fn asleep(&self) {
        self.holds(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
               WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 2 AND l.granted
                 AND l.mode = 'ExclusiveLock' AND d.datname = current_database())",
        )
        .await;
    }

    /// Whether a value of one tenant is in the configuration of another (G13).
    async fn is_mixed(&self) -> bool {
        self.value(
            "SELECT EXISTS (SELECT FROM agent_configurations
               WHERE NOT starts_with(agent_name, 'of ' || client_id::text COLLATE \"C\"))",
        )
        .await
    }
}

/// Equal slugs of several tenants are different agents, by the batch and by the fast path.
#[tokio::test]
async fn t5_equal_slugs_of_tenants_are_different_agents() {
    for Tenants { of_type, of } in ALL {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        for tenant in of {
            platform.agent_of(tenant, "reception").await;
        }
        let _daemon = platform.caught_up_daemon().await;
        for tenant in of {
            platform
                .is_named(tenant, "reception", &format!("of {tenant}"))
                .await;
        }
        // One at a time, to a daemon that sleeps: the fast path, where an index finds the key.
        for tenant in of {
            platform.asleep().await;
            let name = format!("of {tenant}, saved");
            platform
                .run(&format!(
                    "UPDATE agents SET name = '{name}' WHERE client_id = '{tenant}'"
                ))
                .await;
            platform.is_named(tenant, "reception", &name).await;
        }
        platform.drained().await;
        assert!(!platform.is_mixed().await, "{of_type}");
        let checked = platform.says(&["check"]).await;
        assert_eq!(checked.code, 0, "{of_type}: {checked:?}");
        assert_eq!(platform.says(&["doctor"]).await.code, 0, "{of_type}");
        assert_eq!(platform.problems().await, 0, "{of_type}");
    }
}

/// A missing configuration and a second agent concern one tenant alone.
#[tokio::test]
async fn t5_a_problem_of_one_tenant_is_none_of_another() {
    for Tenants { of_type, of } in ALL {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        let [one, other, third] = of;
        platform.agent_of(one, "a").await;
        platform.agent_of(other, "a").await;
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug, name) VALUES ('{third}', 'a', 'of {third}')"
            ))
            .await;
        let daemon = platform.caught_up_daemon().await;
        platform
            .has_problem(third, "a", Some("missing_configuration"))
            .await;
        let said = daemon.logged("no configuration has this slug").await;
        assert_eq!(said["tenant"], third, "{said}");
        assert_eq!(said["slug"], "a", "{said}");
        let remedy = said["remedy"].as_str().unwrap();
        assert!(
            remedy.contains("(client_id, agent_slug, provider_config)"),
            "{remedy}"
        );
        assert_eq!(platform.problem_of(one, "a").await, None);
        platform
            .run(
                "ALTER TABLE agents DROP CONSTRAINT agents_client_id_slug_key;
                 CREATE INDEX ON agents (client_id, slug)",
            )
            .await;
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug, name) VALUES ('{one}', 'a', 'SECRET')"
            ))
            .await;
        platform.has_problem(one, "a", Some("ambiguous")).await;
        platform
            .run(&format!(
                "UPDATE agents SET name = 'of {other}, saved' WHERE client_id = '{other}'"
            ))
            .await;
        platform
            .is_named(other, "a", &format!("of {other}, saved"))
            .await;
        assert_eq!(platform.problem_of(other, "a").await, None, "{of_type}");
        platform
            .run(&format!(
                "UPDATE agents SET client_id = '{third}', slug = 'b', name = 'of {third}' WHERE \
                name = 'SECRET';
                 INSERT INTO agent_configurations (client_id, agent_slug) VALUES ('{third}', 'a')"
            ))
            .await;
        platform.has_problem(one, "a", None).await;
        platform.has_problem(third, "a", None).await;
        platform.is_named(third, "a", &format!("of {third}")).await;
        assert!(!platform.is_mixed().await, "{of_type}");
    }
}

/// C1, C2: a change of the tenant notes the old key and the new one.
#[tokio::test]
async fn c1_c2_a_change_of_the_tenant_is_a_change_of_the_key() {
    for Tenants { of_type, of } in ALL {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        let [one, other, third] = of;
        let noted = async |save: &str| -> Vec<(Option<String>, String)> {
            platform.run("TRUNCATE agent_sync.outbox").await;
            platform.run(save).await;
            let sql = "SELECT tenant, slug FROM agent_sync.outbox ORDER BY ctid";
            let rows = platform.client.query(sql, &[]).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1))).collect()
        };
        let key = |tenant: &str, slug: &str| (Some(tenant.to_owned()), slug.to_owned());
        platform.agent_of(one, "a").await;
        assert_eq!(
            noted(&format!("UPDATE agents SET client_id = '{other}'")).await,
            [key(other, "a"), key(one, "a")],
            "{of_type}"
        );
        assert_eq!(
            noted("UPDATE agents SET slug = 'b'").await,
            [key(other, "b"), key(other, "a")]
        );
        assert_eq!(
            noted(&format!(
                "UPDATE agents SET client_id = '{third}', slug = 'a'"
            ))
            .await,
            [key(third, "a"), key(other, "b")]
        );
        assert_eq!(noted("UPDATE agents SET description = 'x'").await, []);
        assert_eq!(
            noted(&format!(
                "UPDATE agent_configurations SET client_id = '{other}'"
            ))
            .await,
            [key(other, "a"), key(one, "a")]
        );
        assert_eq!(
            noted("UPDATE agent_configurations SET agent_slug = NULL").await,
            [key(other, "a")],
            "the agent that it belonged to"
        );
        assert_eq!(
            noted(&format!(
                "UPDATE agent_configurations SET agent_slug = 'a', client_id = '{third}'"
            ))
            .await,
            [key(third, "a")]
        );
        assert_eq!(
            noted("UPDATE agent_configurations SET notes = 'x'").await,
            []
        );
        // Many in one transaction.
        platform.run("TRUNCATE agent_sync.outbox").await;
        let many = format!(
            "INSERT INTO agents (client_id, slug) SELECT '{one}', 's' || n
               FROM generate_series(1, 200) n;
             UPDATE agents SET client_id = '{other}' WHERE slug LIKE 's%'"
        );
        platform.run(&many).await;
        let counted = format!(
            "SELECT count(*) FILTER (WHERE tenant = '{one}') = 400
                AND count(*) FILTER (WHERE tenant = '{other}') = 200 FROM agent_sync.outbox"
        );
        assert!(platform.value::<bool>(&counted).await, "{of_type}");
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let name = format!("of {third}");
        platform
            .run(&format!(
                "UPDATE agents SET name = '{name}' WHERE client_id = '{third}'"
            ))
            .await;
        platform.is_named(third, "a", &name).await;
        drop(daemon);
    }
}

/// A moved configuration takes the values of the agent that it is for now.
#[tokio::test]
async fn g13_a_configuration_follows_its_tenant() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        let [one, other, _] = of;
        platform.agent_of(one, "a").await;
        platform.agent_of(other, "a").await;
        let _daemon = platform.caught_up_daemon().await;
        platform
            .run(&format!(
                "UPDATE agent_configurations SET client_id = '{other}' WHERE client_id = '{one}'"
            ))
            .await;
        platform
            .has_problem(one, "a", Some("missing_configuration"))
            .await;
        let two = format!(
            "SELECT count(*) = 2 FROM agent_configurations WHERE agent_name = 'of {other}'"
        );
        platform.holds(&two).await;
        // The agent moves as well, and leaves its configurations behind.
        platform
            .run(&format!(
                "DELETE FROM agents WHERE client_id = '{one}';
                 UPDATE agents SET client_id = '{one}', name = 'of {one}'"
            ))
            .await;
        platform
            .has_problem(one, "a", Some("missing_configuration"))
            .await;
        platform.drained().await;
        assert!(platform.value::<bool>(&two).await, "{of_type}");
    }
}

/// NULL is no tenant: an agent without tenant is rejected, and a configuration without tenant
/// belongs to no agent.
#[tokio::test]
async fn g14_null_is_no_tenant_and_is_reported() {
    for Tenants { of_type, of } in [INTEGER, TEXT, ENUM] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        platform.agent_of(of[0], "a").await;
        platform
            .run(
                "INSERT INTO agents (slug, name) VALUES ('a', 'of nobody');
                 INSERT INTO agent_configurations (agent_slug) VALUES ('a')",
            )
            .await;
        let daemon = platform.caught_up_daemon().await;
        let rejected = "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE tenant IS NULL
            AND slug = 'a' AND kind = 'rejected' AND detail LIKE 'tenant: %')";
        platform.holds(rejected).await;
        daemon.logged("agent rejected").await;
        platform
            .is_named(of[0], "a", &format!("of {}", of[0]))
            .await;
        let unwritten =
            "SELECT agent_name IS NULL FROM agent_configurations WHERE client_id IS NULL";
        platform.drained().await;
        assert!(platform.value::<bool>(unwritten).await);
        let checked = platform.says(&["check", "--json"]).await;
        assert_eq!(checked.code, 2, "{checked:?}");
        assert!(checked.out.contains("rejected"), "{checked:?}");
        let status = platform.says(&["status"]).await;
        assert!(
            status.out.contains("have a slug and no client_id"),
            "{status:?}"
        );
        // The agent with this slug that has a tenant is in sync.
        let in_sync = format!("SELECT agent_sync.in_sync('a', '{}')", of[0]);
        assert!(platform.value::<bool>(&in_sync).await);
        let waited = platform.says(&["wait", "a", "--tenant", of[0]]).await;
        assert_eq!(waited.code, 0, "{waited:?}");
        let in_sync = "SELECT agent_sync.in_sync('a')";
        assert!(!platform.value::<bool>(in_sync).await);
        // With a tenant, both are as any other.
        platform
            .run(&format!(
                "UPDATE agents SET client_id = '{0}', name = 'of {0}' WHERE client_id IS NULL;
                 UPDATE agent_configurations SET client_id = '{0}' WHERE client_id IS NULL",
                of[1]
            ))
            .await;
        platform
            .is_named(of[1], "a", &format!("of {}", of[1]))
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
    }
}

/// I7: a request names a slug of every tenant, or one tenant's.
#[tokio::test]
async fn i7_a_request_names_a_slug_or_tenant_and_slug() {
    let is_indexed = ["", "CREATE INDEX ON agents (slug)"];
    let shapes = [UUID, INTEGER, TEXT, ENUM].into_iter();
    for (Tenants { of_type, of }, sql) in shapes.flat_map(|of| is_indexed.map(|sql| (of, sql))) {
        let platform = Platform::with_tenants(of_type).await;
        platform.run(sql).await;
        platform.install();
        for tenant in of {
            for slug in ["a", "b/c", "b%2F/b/c"] {
                platform.agent_of(tenant, slug).await;
            }
        }
        let _daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let drifted = async || {
            platform
                .run("UPDATE agent_configurations SET agent_name = 'edited'")
                .await;
        };
        let synced = "SELECT count(*) FROM agent_configurations WHERE agent_name <> 'edited'";
        drifted().await;
        platform.run("NOTIFY agent_sync, 'a'").await;
        platform
            .holds(&format!("{synced} AND agent_slug = 'a'").replace("count(*)", "count(*) = 3"))
            .await;
        platform.drained().await;
        assert_eq!(platform.value::<i64>(synced).await, 3, "{of_type}");
        drifted().await;
        let [one, other, _] = of;
        platform
            .run(&format!(
                "NOTIFY agent_sync, '{one}/a'; NOTIFY agent_sync, '{other}/b/c'"
            ))
            .await;
        platform.is_named(one, "a", &format!("of {one}")).await;
        platform
            .is_named(other, "b/c", &format!("of {other}"))
            .await;
        platform.drained().await;
        // "a/b%2F/b/c" is the slug "b/c" of the tenant "a/b%2F"; "a" is no tenant.
        assert_eq!(platform.value::<i64>(synced).await, 2, "{of_type}");
        platform
            .run("NOTIFY agent_sync, 'nobody/a'; NOTIFY agent_sync, '99999999999999999999/a'")
            .await;
        platform.run("NOTIFY agent_sync, 'b%2F/b/c'").await;
        platform
            .holds(
                &format!("{synced} AND agent_slug = 'b%2F/b/c'")
                    .replace("count(*)", "count(*) = 3"),
            )
            .await;
    }
}

/// I7: a request may write a tenant and a slug in any way that the type takes.
#[tokio::test]
async fn i7_a_request_may_write_a_value_in_any_way() {
    const ID: &str = "0b1f2c3d-0000-4000-8000-00000000000a";
    const UPPER: &str = "0B1F2C3D-0000-4000-8000-00000000000A";
    const BARE: &str = "{0B1F2C3D00004000800000000000000A}";
    for (of_tenant, of_slug, tenant, slug, requests) in [
        (
            "uuid",
            "text",
            ID,
            "a/b",
            &[[UPPER, "a/b"], [BARE, "a/b"]][..],
        ),
        (
            "integer",
            "text",
            "7",
            "a",
            &[["07", "a"], ["+7", "a"], [" 7", "a"]],
        ),
        ("bigint", "uuid", "-7", ID, &[["-07", UPPER], ["-7", BARE]]),
        ("text", "uuid", "x/y", ID, &[["x/y", UPPER], ["x/y", BARE]]),
        ("uuid", "integer", ID, "7", &[[UPPER, "007"], [ID, "7"]]),
        ("", "uuid", "", ID, &[["", UPPER], ["", BARE]]),
        ("", "bigint", "", "7", &[["", "07"], ["", "+7"]]),
    ] {
        let platform = if of_tenant.is_empty() {
            Platform::new().await
        } else {
            Platform::with_tenants(of_tenant).await
        };
        platform
            .run(&format!(
                "ALTER TABLE agents ALTER slug TYPE {of_slug} USING slug::{of_slug};
                 ALTER TABLE agent_configurations ALTER agent_slug TYPE {of_slug}
                   USING agent_slug::{of_slug}"
            ))
            .await;
        platform.install();
        if of_tenant.is_empty() {
            platform
                .run(&format!(
                    "INSERT INTO agents (slug, name) VALUES ('{slug}', 'n');
                     INSERT INTO agent_configurations (agent_slug) VALUES ('{slug}')"
                ))
                .await;
        } else {
            platform.agent_of(tenant, slug).await;
        }
        let _daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        let edit = "UPDATE agent_configurations SET agent_name = 'edited'";
        let is_synced = "SELECT bool_and(agent_name <> 'edited') FROM agent_configurations";
        for [of, name] in requests {
            let mut texts = vec![(*name).to_owned()];
            if !of_tenant.is_empty() {
                texts.push(format!("{of}/{name}"));
            }
            for text in texts {
                platform.run(edit).await;
                platform.run(&format!("NOTIFY agent_sync, '{text}'")).await;
                platform.holds(is_synced).await;
                platform.run(edit).await;
                let said = platform.says(&["reconcile", "--", &text]).await;
                assert_eq!(said.code, 0, "{text}: {said:?}");
                assert!(platform.value::<bool>(is_synced).await, "{text}");
                for command in [&["check"][..], &["why"], &["wait", "--timeout", "1m"]] {
                    let said = platform.says(&[command, &["--", &*text]].concat()).await;
                    assert_eq!(said.code, 0, "{command:?} {text}: {said:?}");
                    assert!(
                        !said.out.contains("unknown"),
                        "{command:?} {text}: {said:?}"
                    );
                }
            }
        }
        let said = platform.says(&["check", "nobody/a", "8"]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert_eq!(said.out.matches("unknown").count(), 2, "{said:?}");
    }
}

/// A slug of 8,000 bytes fails no batch, whatever the tenant, and two of them have two problems.
#[tokio::test]
async fn t5_large_slugs_of_tenants_are_kept_apart() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        platform
            .run("ALTER TABLE agents DROP CONSTRAINT agents_client_id_slug_key; CREATE INDEX ON agents (client_id)")
            .await;
        platform.install();
        for tenant in of {
            platform
                .run(&format!(
                    "INSERT INTO agents (client_id, slug, name)
                       VALUES ('{tenant}', repeat('x', 8000), 'long'),
                              ('{tenant}', repeat('y', 9000), 'too long')"
                ))
                .await;
        }
        platform.agent_of(of[0], "b").await;
        let _daemon = platform.caught_up_daemon().await;
        platform
            .is_named(of[0], "b", &format!("of {}", of[0]))
            .await;
        platform
            .holds(
                "SELECT count(*) = 6 AND count(DISTINCT (tenant, slug)) = 6
                   AND count(*) FILTER (WHERE kind = 'missing_configuration') = 3
                 FROM agent_sync.problem",
            )
            .await;
        let again = platform.client.execute(
            "INSERT INTO agent_sync.problem (tenant, slug, kind, detail)
             SELECT tenant, slug, kind, detail FROM agent_sync.problem LIMIT 1",
            &[],
        );
        assert_eq!(again.await.unwrap_err().code().unwrap().code(), "23505");
    }
}

/// An outbox row with a tenant of another type is dropped, and stops no other.
#[tokio::test]
async fn g5_a_text_that_is_no_tenant_stops_nothing() {
    for Tenants { of_type, of } in [UUID, INTEGER, BIGINT] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        platform.agent_of(of[0], "a").await;
        platform
            .run(
                "INSERT INTO agent_sync.outbox (tenant, slug) VALUES ('no tenant', 'a'), ('', 'a'),
                   ('9223372036854775808', 'a'), ('-', 'a')",
            )
            .await;
        let _daemon = platform.caught_up_daemon().await;
        platform
            .is_named(of[0], "a", &format!("of {}", of[0]))
            .await;
        platform.drained().await;
        assert_eq!(platform.problems().await, 0, "{of_type}");
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The commands name the tenant, and take one.
#[tokio::test]
async fn i1_commands_name_the_tenant_and_take_one() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        for tenant in of {
            platform.agent_of(tenant, "a").await;
        }
        let [one, other, _] = of;
        let arguments = ["reconcile", "a", "--tenant", one, "--json"];
        let said = platform.says(&arguments).await;
        assert_eq!(said.code, 0, "{said:?}");
        platform.is_named(one, "a", &format!("of {one}")).await;
        platform
            .run(
                "TRUNCATE agent_sync.outbox; UPDATE agent_configurations SET agent_name = 'edited'",
            )
            .await;
        let said = platform
            .says(&["check", "a", "--tenant", other, "--json"])
            .await;
        assert_eq!(said.code, 2, "{said:?}");
        let found = objects(&said.out);
        assert_eq!(found.len(), 2, "{said:?}");
        assert_eq!(
            (&found[0]["tenant"], &found[0]["slug"]),
            (&other.into(), &"a".into())
        );
        let said = platform.says(&["check", "--tenant", other]).await;
        assert!(said.out.contains("1 agent, "), "{said:?}");
        let said = platform.says(&["check", "a", "--json"]).await;
        assert_eq!(objects(&said.out).len(), 4, "{said:?}");
        let said = platform.says(&["check", "a", "--tenant", "nobody"]).await;
        assert!(said.code == 2 && said.out.contains("unknown"), "{said:?}");
        let arguments = ["why", "a", "--tenant", other, "--json"];
        let remedy = platform.says(&arguments).await.object()["remedy"].to_string();
        assert!(remedy.contains(&format!("--tenant={other} a")), "{remedy}");
        let said = platform.says(&["why", "a", "--json"]).await;
        let told = objects(&said.out);
        let tenants: Vec<_> = told
            .iter()
            .map(|agent| agent["tenant"].as_str().unwrap())
            .collect();
        assert_eq!(tenants.len(), 3, "{said:?}");
        assert!(of.iter().all(|tenant| tenants.contains(tenant)));
        let said = platform
            .says(&["reconcile", "--all", "--tenant", one, "--yes"])
            .await;
        assert_eq!(said.code, 0, "{said:?}");
        platform.is_named(one, "a", &format!("of {one}")).await;
        platform.is_named(other, "a", "edited").await;
        let said = platform.says(&["reconcile", "a"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        platform.is_named(other, "a", &format!("of {other}")).await;
        let state = format!(
            "SELECT count(*) = 3 AND bool_or(tenant = '{one}') AND NOT bool_or(pending)
             FROM agent_sync.state"
        );
        assert!(platform.value::<bool>(&state).await);
        platform
            .run("INSERT INTO agent_sync.outbox (slug) VALUES ('a')")
            .await;
        assert!(
            platform
                .value::<bool>("SELECT bool_and(pending) FROM agent_sync.state")
                .await
        );
    }
    let platform = Platform::installed().await;
    let said = platform.says(&["check", "--tenant", "1"]).await;
    assert_eq!(said.code, 64, "{said:?}");
}

/// With tenants, an agent is meant by slug and tenant, or every agent with the slug.
#[tokio::test]
async fn i6_in_sync_keeps_tenants_apart() {
    let platform = Platform::with_tenants("integer").await;
    platform.install();
    let _daemon = platform.caught_up_daemon().await;
    for tenant in ["1", "2"] {
        platform.agent_of(tenant, "a").await;
    }
    platform.drained().await;
    platform
        .run("INSERT INTO agent_sync.problem (tenant, slug, kind, detail) VALUES ('2', 'a', 'rejected', '')")
        .await;
    for (arguments, expected) in [
        ("'a', '1'", true),
        ("'a', '2'", false),
        ("'a'", false),
        ("'b'", true),
    ] {
        let is: bool = platform
            .value(&format!("SELECT agent_sync.in_sync({arguments})"))
            .await;
        assert_eq!(is, expected, "{arguments}");
    }
}

/// The history of each tenant's agent is its own.
#[tokio::test]
async fn the_history_has_the_tenant() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        let with_history = |arguments: &[&str]| {
            let mut command = platform.command(arguments);
            command.env("AGENT_SYNC__HISTORY__ENABLED", "true");
            command
        };
        assert!(with_history(&["install"]).status().unwrap().success());
        let daemon = Daemon::start(with_history(&["run"]));
        daemon.logged("caught up").await;
        for tenant in of {
            platform.agent_of(tenant, "a").await;
            platform
                .is_named(tenant, "a", &format!("of {tenant}"))
                .await;
            platform.asleep().await;
            platform
                .run(&format!(
                    "SET application_name = 'editor'; UPDATE agents SET name = 'of {tenant}, saved'
                     WHERE client_id = '{tenant}'; RESET application_name"
                ))
                .await;
            platform
                .holds(&format!(
                    "SELECT count(*) >= 2 AND bool_or(application_name = 'editor')
                     FROM agent_sync.history WHERE tenant = '{tenant}' AND slug = 'a'"
                ))
                .await;
        }
        let said = platform
            .says(&["why", "a", "--tenant", of[1], "--json"])
            .await;
        let told = objects(&said.out);
        assert!(
            !told[0]["history"].as_array().unwrap().is_empty(),
            "{said:?}"
        );
    }
}

/// The setting is changed with rows in the outbox and problems: nothing is lost, in either
/// direction.
#[tokio::test]
async fn g1_tenants_are_set_and_unset_without_a_loss() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let mut platform = Platform::with_tenants(of_type).await;
        platform.tenants = false;
        platform.install();
        for tenant in of {
            platform.agent_of(tenant, "a").await;
        }
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug, name) VALUES ('{}', 'b', 'lonely')",
                of[2]
            ))
            .await;
        let daemon = platform.brisk_daemon();
        let noted = "SELECT count(*) = 2 AND coalesce(bool_and(tenant IS NULL), false) FROM agent_sync.problem
            WHERE kind IN ('ambiguous', 'missing_configuration')";
        platform.holds(noted).await;
        // A daemon of before the change refuses the install of after it.
        platform.tenants = true;
        platform.install();
        let said = daemon.outage().await;
        let cause = said["cause"].as_str().unwrap();
        assert!(cause.starts_with("the install is for tenants"), "{said}");
        drop(daemon);
        for tenant in of {
            platform
                .run(&format!(
                    "UPDATE agents SET name = 'of {tenant}, saved' WHERE client_id = '{tenant}' AND
                     slug = 'a'"
                ))
                .await;
        }
        platform
            .run("INSERT INTO agent_sync.outbox (slug) VALUES ('a'), ('gone')")
            .await;
        let daemon = platform.brisk_daemon();
        for tenant in of {
            platform
                .is_named(tenant, "a", &format!("of {tenant}, saved"))
                .await;
        }
        platform
            .holds(&format!(
                "SELECT count(*) = 1 AND coalesce(bool_and(tenant = '{}' AND slug = 'b'), false)
                 FROM agent_sync.problem",
                of[2]
            ))
            .await;
        platform.drained().await;
        drop(daemon);
        // And back, with rows of tenants in the outbox.
        platform
            .run(&format!(
                "UPDATE agents SET name = 'again' WHERE slug = 'b';
                 DELETE FROM agents WHERE slug = 'a' AND client_id <> '{0}';
                 UPDATE agents SET name = 'of all' WHERE slug = 'a'",
                of[0]
            ))
            .await;
        platform.tenants = false;
        platform.install();
        let columns =
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'agent_sync.state'::regclass
            AND attnum > 0";
        assert_eq!(platform.value::<i64>(columns).await, 4);
        let daemon = platform.brisk_daemon();
        platform
            .holds(
                "SELECT bool_and(agent_name = 'of all') IS TRUE FROM agent_configurations WHERE
                 agent_slug = 'a'",
            )
            .await;
        platform
            .holds(
                "SELECT count(*) = 1 AND coalesce(bool_and(tenant IS NULL AND slug = 'b'), false)
                 FROM agent_sync.problem",
            )
            .await;
        platform.drained().await;
        // A row with a tenant ends no connection.
        let failed = daemon.lines("agent could not be brought in sync");
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// A slug that several agents have is explained with the tenant that would keep them apart.
#[tokio::test]
async fn t5_a_column_that_may_be_the_tenant_is_named() {
    for of_type in ["uuid", "integer", "text"] {
        let mut platform = Platform::with_tenants(of_type).await;
        platform.tenants = false;
        platform.install();
        platform
            .run("INSERT INTO agents (slug) VALUES ('a'), ('a')")
            .await;
        let daemon = platform.caught_up_daemon().await;
        let said = daemon
            .logged("public.agents has no unique index on slug")
            .await;
        let remedy = said["remedy"].as_str().unwrap();
        assert!(
            remedy.contains("agents.columns.tenant = \"client_id\""),
            "{remedy}"
        );
        let why = platform.says(&["why", "a"]).await;
        assert!(why.out.contains("agents.columns.tenant"), "{why:?}");
    }
}

/// The voice settings of the example are mapped for each tenant.
#[tokio::test]
async fn g13_provider_config_is_that_of_the_tenant() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        for (tenant, voice) in of.iter().zip(["one", "two", "three"]) {
            platform.agent_of(tenant, "a").await;
            let settings = EXAMPLE.replace("test-voice-123", voice);
            platform
                .run(&format!(
                    "UPDATE agents SET voice_settings = '{settings}' WHERE client_id = '{tenant}'"
                ))
                .await;
        }
        let _daemon = platform.caught_up_daemon().await;
        for (tenant, voice) in of.iter().zip(["one", "two", "three"]) {
            platform
                .holds(&format!(
                    "SELECT voice_id = '{voice}' AND provider_config #>> '{{tts,voice_id}}' = '{voice}'
                     FROM agent_configurations WHERE client_id = '{tenant}'"
                ))
                .await;
        }
    }
}

/// The tenant is compared in its own type, so the claim finds agents and configurations by index.
#[tokio::test]
async fn t5_an_index_on_tenant_and_slug_is_used() {
    for Tenants { of_type, .. } in [UUID, INTEGER, BIGINT, TEXT, VARCHAR] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        platform
            .run("DROP INDEX agent_configurations_agent_slug_idx")
            .await;
        let claim = agent_sync::store::queries::claim(&platform.layout().await);
        let claim = agent_sync::pg::without_sent(&claim);
        platform
            .run(&format!(
                "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; PREPARE claim \
                (pg_catalog.tid, pg_catalog.int8, pg_catalog.float8, pg_catalog.text[]) AS {claim}"
            ))
            .await;
        let explain = "EXPLAIN EXECUTE claim ('(0,0)', 500, 1e9, '{}')";
        let plan = platform.client.query(explain, &[]).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
        let lines = plan.iter();
        let found =
            lines.filter(|line| line.contains("Index Cond: ((") && line.contains("client_id"));
        assert!(found.count() >= 3, "{of_type}: {plan:#?}");
        let known = "Index Scan using problem_key_is_unique";
        assert!(
            plan.iter().any(|line| line.contains(known)),
            "{of_type}: {plan:#?}"
        );
    }
}

/// A policy by tenant hides every agent from the role of the daemon: it is a finding, and no agent
/// counts as deleted (G10, G14).
#[tokio::test]
async fn g10_a_policy_by_tenant_is_found_and_hides_nothing_silently() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        let role = format!("role_{}", platform.name());
        let said = platform.says(&["install", "--role", &role]).await;
        assert_eq!(said.code, 0, "{said:?}");
        for tenant in of {
            platform.agent_of(tenant, "a").await;
        }
        platform
            .run(
                "CREATE POLICY tenants ON agents USING (client_id::text = current_setting('app.client',
                   true));
                 ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
            )
            .await;
        let mut command = platform.command(&["run"]);
        command
            .env("DATABASE_URL", platform.url_as(&role))
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        let daemon = Daemon::start(command);
        let said = daemon.logged("row-level security of public.agents").await;
        let remedy = said["remedy"].as_str().unwrap().to_owned();
        assert!(remedy.contains("CREATE POLICY"), "{remedy}");
        for tenant in of {
            platform.has_problem(tenant, "a", Some("failed")).await;
        }
        let policy = remedy
            .split_once(';')
            .map_or(&*remedy, |(policy, _)| policy);
        platform.run(policy).await;
        for tenant in of {
            platform
                .is_named(tenant, "a", &format!("of {tenant}"))
                .await;
            platform.has_problem(tenant, "a", None).await;
        }
    }
}

/// GIVEN row-level security that may hide agents, WHEN tenants are set or unset, THEN no problem is
/// noted that is about no agent.
#[tokio::test]
async fn g14_the_row_that_wakes_a_daemon_is_no_hidden_agent() {
    for Tenants { of_type, of } in [UUID, INTEGER, TEXT] {
        let mut platform = Platform::with_tenants(of_type).await;
        let role = format!("role_{}", platform.name());
        platform.tenants = false;
        let said = platform.says(&["install", "--role", &role]).await;
        assert_eq!(said.code, 0, "{said:?}");
        platform
            .run(
                "CREATE POLICY known ON agents USING (slug <> 'hidden');
                 ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
            )
            .await;
        let runs = async |platform: &Platform, with_phantom: bool| {
            if with_phantom {
                // As a former daemon has noted it.
                platform
                    .run(
                        "INSERT INTO agent_sync.problem (slug, tenant, kind, detail, next_attempt)
                           VALUES ('', '', 'failed', 'x', now())",
                    )
                    .await;
            }
            let mut command = platform.command(&["run"]);
            command
                .env("DATABASE_URL", platform.url_as(&role))
                .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
            let daemon = Daemon::start(command);
            daemon.logged("caught up").await;
            platform.drained().await;
            platform
                .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
                .await;
        };
        for (tenants, with_phantom) in [(true, false), (true, true), (false, true)] {
            platform.tenants = tenants;
            platform.install();
            if tenants && !with_phantom {
                platform.agent_of(of[0], "a").await;
            }
            runs(&platform, with_phantom && tenants).await;
        }
        // Unset before a daemon has taken the row.
        platform.tenants = true;
        platform.install();
        let rows = "SELECT count(*) FROM agent_sync.outbox WHERE slug = ''";
        assert_eq!(platform.value::<i64>(rows).await, 1);
        platform.tenants = false;
        platform.install();
        assert_eq!(platform.value::<i64>(rows).await, 0);
        runs(&platform, false).await;
    }
}

/// `wait` waits for the agents of one tenant, and names the problems of that tenant alone.
#[tokio::test]
async fn t5_a_wait_can_be_for_one_tenant() {
    for Tenants { of_type, of } in [UUID, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        platform.install();
        let daemon = platform.caught_up_daemon().await;
        let [first, second, _] = of;
        platform
            .run(&format!(
                "INSERT INTO agents (client_id, slug) VALUES ('{second}', 'alone')"
            ))
            .await;
        platform
            .has_problem(second, "alone", Some("missing_configuration"))
            .await;
        drop(daemon);
        platform.agent_of(first, "reception").await;
        let wait = async |arguments: &[&str]| {
            let arguments = [&["wait", "--timeout", "1ms"], arguments].concat();
            platform.says(&arguments).await
        };
        for arguments in [&["--tenant", first][..], &["reception"], &[]] {
            let said = wait(arguments).await;
            assert_eq!(said.code, 69, "{arguments:?}: {said:?}");
        }
        let said = wait(&["--tenant", second]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.out.contains("alone of tenant"), "{said:?}");
        let said = wait(&["--tenant", second, "reception"]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.out.contains("no agent has this slug"), "{said:?}");
        let _daemon = platform.caught_up_daemon().await;
        let said = platform.says(&["wait", "--tenant", first]).await;
        assert_eq!(said.code, 0, "{said:?}");
    }
    let platform = Platform::installed().await;
    let said = platform.says(&["wait", "--tenant", "a"]).await;
    assert_eq!(said.code, 64, "{said:?}");
}

/// GIVEN a daemon without tenants, WHEN the install gets tenants, THEN the daemon stops at once,
/// and no value of one tenant is written into the configuration of another.
#[tokio::test]
async fn t5_a_daemon_without_tenants_stops_at_an_install_with_them() {
    for Tenants { of_type, of } in [INTEGER, TEXT] {
        let platform = Platform::with_tenants(of_type).await;
        let without = |arguments: &[&str]| {
            let mut command = platform.command(arguments);
            for table in ["AGENTS", "CONFIGURATIONS"] {
                let key = format!("AGENT_SYNC__DATABASES__DEFAULT__{table}__COLUMNS__TENANT");
                command.env_remove(key);
            }
            command
        };
        assert!(without(&["install"]).output().unwrap().status.success());
        let [first, second, _] = of;
        platform.agent_of(first, "reception").await;
        let daemon = Daemon::start(without(&["run"]));
        daemon.logged("caught up").await;
        platform
            .is_named(first, "reception", &format!("of {first}"))
            .await;
        platform.install();
        for number in 0..10 {
            platform
                .run(&format!(
                    "INSERT INTO agent_configurations (client_id, agent_slug)
                       VALUES ('{second}', 'reception');
                     UPDATE agents SET name = 'of {first} {number}'"
                ))
                .await;
        }
        daemon.outage().await;
        assert!(!platform.is_mixed().await, "{of_type}");
        drop(daemon);
        let _daemon = platform.caught_up_daemon().await;
        platform
            .is_named(first, "reception", &format!("of {first} 9"))
            .await;
        assert!(!platform.is_mixed().await, "{of_type}");
    }
}

/// Tenants in a collation that takes different texts for equal are compared byte by byte.
#[tokio::test]
async fn t5_tenants_in_a_lenient_collation_are_different() {
    let platform = Platform::with_tenants("text").await;
    let has_icu = "SELECT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i')";
    if !platform.value::<bool>(has_icu).await {
        return;
    }
    platform
        .run(
            "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2', deterministic =
               false);
             ALTER TABLE agents ALTER COLUMN client_id TYPE text COLLATE lenient;
             ALTER TABLE agent_configurations ALTER COLUMN client_id TYPE text COLLATE lenient",
        )
        .await;
    platform.install();
    let _daemon = platform.caught_up_daemon().await;
    for tenant in ["acme", "other"] {
        platform.agent_of(tenant, "reception").await;
        platform
            .is_named(tenant, "reception", &format!("of {tenant}"))
            .await;
    }
    assert!(!platform.is_mixed().await);
    platform.run("SELECT * FROM agent_sync.state").await;
    assert_eq!(platform.says(&["check"]).await.code, 0);
}
