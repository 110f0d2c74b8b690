//! The key (T5, G13): nothing is written for a slug of several agents, and an unreadable row is not
//! treated as missing (G14).

use crate::support::{Daemon, Platform, eventually};

/// Nothing is written for a slug of two agents, and the problem clears itself.
#[tokio::test]
async fn t5_nothing_is_written_for_a_slug_of_two_agents() {
    for configurations in [1, 3] {
        let platform = Platform::new().await;
        platform
            .run(
                "ALTER TABLE agents DROP CONSTRAINT agents_slug_key; CREATE INDEX ON agents (slug)",
            )
            .await;
        platform.install();
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name) VALUES ('shared', 'one'), ('own', 'own');
                 INSERT INTO agent_configurations (agent_slug) SELECT 'shared'
                   FROM generate_series(1, {configurations});
                 INSERT INTO agent_configurations (agent_slug) VALUES ('own')"
            ))
            .await;
        let daemon = platform.caught_up_daemon().await;
        let named = |name: &str| {
            format!(
                "SELECT count(*) = {configurations} FROM agent_configurations WHERE agent_slug = \
                'shared' AND agent_name = '{name}'"
            )
        };
        platform.holds(&named("one")).await;
        platform
            .run("INSERT INTO agents (slug, name) VALUES ('shared', 'SECRET of another')")
            .await;
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'shared' AND kind = \
                'ambiguous')",
            )
            .await;
        platform
            .run(
                "UPDATE agents SET name = 'changed' WHERE name = 'one'; UPDATE agents SET \
                name = 'mine' WHERE slug = 'own'",
            )
            .await;
        platform
            .holds(
                "SELECT agent_name = 'mine' IS TRUE FROM agent_configurations WHERE agent_slug \
                = 'own'",
            )
            .await;
        platform.drained().await;
        assert!(
            platform.value::<bool>(&named("one")).await,
            "nothing is written, not even the one that was there first"
        );
        assert!(
            daemon.lines("more than one agent has this slug").len() <= 2,
            "said once a save at most"
        );
        platform
            .run("UPDATE agents SET slug = 'other' WHERE name LIKE 'SECRET%'")
            .await;
        platform.holds(&named("changed")).await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'shared')")
            .await;
    }
}

/// Two agents with one slug and no configuration are ambiguous and not missing.
#[tokio::test]
async fn t5_agents_with_one_slug_are_ambiguous_and_not_missing() {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agents DROP CONSTRAINT agents_slug_key")
        .await;
    platform.install();
    platform
        .run("INSERT INTO agents (slug, name) SELECT 'shared', 'n' FROM generate_series(1, 3)")
        .await;
    let _daemon = platform.caught_up_daemon().await;
    assert_eq!(platform.problem("shared").await.unwrap().0, "ambiguous");
}

/// A daemon with the role of `install --role`, which is subject to row-level security.
async fn with_role(platform: &Platform, sweep: &str) -> Daemon {
    let role = format!("role_{}", platform.name());
    let said = platform.says(&["install", "--role", &role]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", platform.url_as(&role))
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", sweep);
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    daemon
}

#[tokio::test]
async fn g14_an_agent_that_a_policy_hides_is_not_taken_for_gone() {
    for (hide, show) in [
        (
            "ALTER TABLE agents ENABLE ROW LEVEL \
            SECURITY",
            "ALTER TABLE agents DISABLE ROW LEVEL \
            SECURITY",
        ),
        (
            "CREATE POLICY parts ON agents USING (slug <> 'a'); ALTER TABLE agents ENABLE ROW \
            LEVEL SECURITY",
            "DROP POLICY parts ON agents; CREATE POLICY every ON agents USING (true)",
        ),
        (
            "CREATE POLICY every ON agents USING (true); CREATE POLICY no
                  ON agents AS RESTRICTIVE USING (slug <> 'a');
             ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
            "DROP POLICY no ON agents",
        ),
    ] {
        let platform = Platform::installed().await;
        for slug in ["a", "b"] {
            platform.save(slug, "{}").await;
            platform.configure(slug).await;
        }
        // No sweep runs in between, so the batch decides alone.
        let _daemon = with_role(&platform, "1h").await;
        platform.drained().await;
        platform.run(hide).await;
        platform
            .run("UPDATE agents SET name = 'while hidden' WHERE slug = 'a'")
            .await;
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'a' AND kind = \
                'failed' AND detail LIKE '%may hide it')",
            )
            .await;
        platform.run(show).await;
        platform
            .holds(
                "SELECT agent_name = 'while hidden' IS TRUE FROM agent_configurations WHERE \
                agent_slug = 'a'",
            )
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
        // A deleted agent counts as deleted, also under a policy that shows every row.
        platform
            .run(
                "DELETE FROM agents WHERE slug = 'b'; INSERT INTO agent_sync.outbox (slug) \
                VALUES ('b'); NOTIFY agent_sync",
            )
            .await;
        platform.drained().await;
        assert_eq!(platform.problems().await, 0);
    }
}

/// PostgreSQL keeps the plans of a session when its role gets to see more rows.
#[tokio::test]
async fn g14_a_role_that_may_see_more_brings_in_sync_what_was_hidden() {
    for (policy, show) in [
        (
            "CREATE POLICY parts ON agents USING (slug <> 'a')",
            "ALTER ROLE {daemon} BYPASSRLS",
        ),
        (
            "CREATE ROLE {daemon}_group; CREATE POLICY every ON agents TO {daemon}_group USING \
            (true)",
            "GRANT {daemon}_group TO {daemon}",
        ),
    ] {
        let platform = Platform::installed().await;
        for slug in ["a", "b"] {
            platform.save(slug, "{}").await;
            platform.configure(slug).await;
        }
        let _daemon = with_role(&platform, "1s").await;
        platform.drained().await;
        let role = platform
            .value::<String>("SELECT name FROM agent_sync.role")
            .await;
        let run = async |sql: &str| platform.run(&sql.replace("{daemon}", &role)).await;
        run(policy).await;
        run("ALTER TABLE agents ENABLE ROW LEVEL SECURITY").await;
        run("UPDATE agents SET name = 'while hidden'").await;
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'a' AND kind = \
                'failed')",
            )
            .await;
        run(show).await;
        platform
            .holds(
                "SELECT agent_name = 'while hidden' IS TRUE FROM agent_configurations WHERE \
                agent_slug = 'a'",
            )
            .await;
        run("UPDATE agents SET name = 'afterwards'").await;
        platform
            .holds(
                "SELECT agent_name = 'afterwards' IS TRUE FROM agent_configurations WHERE \
                agent_slug = 'a'",
            )
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
    }
}

/// A hidden configuration is not treated as missing.
#[tokio::test]
async fn g14_a_hidden_configuration_is_not_taken_for_missing() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let _daemon = with_role(&platform, "1h").await;
    platform.drained().await;
    platform
        .run("ALTER TABLE agent_configurations ENABLE ROW LEVEL SECURITY")
        .await;
    platform
        .run("UPDATE agents SET name = 'while hidden'")
        .await;
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'a' AND kind = 'failed' \
            AND detail LIKE '%may hide it')",
        )
        .await;
    platform
        .run("ALTER TABLE agent_configurations DISABLE ROW LEVEL SECURITY")
        .await;
    platform
        .holds("SELECT agent_name = 'while hidden' IS TRUE FROM agent_configurations")
        .await;
}

/// Agents that are swapped away for a moment are checked when they return.
#[tokio::test]
async fn g14_agents_swapped_away_are_checked_on_return() {
    let platform = Platform::installed().await;
    for slug in ["a", "b"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;
    platform
        .run(
            "CREATE TABLE agents_new (LIKE agents INCLUDING ALL);
             BEGIN; ALTER TABLE agents RENAME TO agents_old; ALTER TABLE agents_new RENAME TO
               agents; COMMIT;
             UPDATE agents_old SET name = 'while away' WHERE slug = 'a'",
        )
        .await;
    platform.drained().await;
    platform
        .run(
            "BEGIN; ALTER TABLE agents RENAME TO agents_new; ALTER TABLE agents_old RENAME TO \
            agents; COMMIT",
        )
        .await;
    platform
        .holds(
            "SELECT agent_name = 'while away' IS TRUE FROM agent_configurations WHERE \
            agent_slug = 'a'",
        )
        .await;
    drop(daemon);
}

/// Slugs that are equal under a collation are different agents.
#[tokio::test]
async fn g13_slugs_equal_under_a_collation_are_different_agents() {
    for columns in [
        "ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE text COLLATE lenient",
        "ALTER TABLE agents ALTER COLUMN slug TYPE text COLLATE lenient",
        "ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE text COLLATE lenient;
         ALTER TABLE agents DROP CONSTRAINT agents_slug_key, ALTER COLUMN slug TYPE text COLLATE
           lenient",
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "CREATE COLLATION lenient (provider = icu, locale = 'und-u-ks-level2',
                      deterministic = false);
                 ALTER TABLE agents DROP CONSTRAINT IF EXISTS agents_slug_key; {}",
                columns.replace("DROP CONSTRAINT agents_slug_key, ", "")
            ))
            .await;
        platform.install();
        platform
            .run(
                "INSERT INTO agents (slug, name) VALUES ('Foo', 'of Foo'), ('FOO', 'of FOO');
                 INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            )
            .await;
        let _daemon = platform.caught_up_daemon().await;
        for slug in ["Foo", "FOO", "Foo"] {
            platform
                .run(&format!(
                    "UPDATE agents SET name = 'of {slug} again' WHERE slug COLLATE \"C\" = '{slug}'"
                ))
                .await;
            platform
                .holds(&format!(
                    "SELECT agent_name = 'of {slug} again' IS TRUE FROM agent_configurations WHERE \
                    agent_slug COLLATE \"C\" = '{slug}'"
                ))
                .await;
            platform.drained().await;
        }
        let mixed = "SELECT count(*) FROM agent_configurations WHERE agent_name NOT LIKE 'of ' || \
            (agent_slug COLLATE \"C\") || '%'";
        assert_eq!(platform.value::<i64>(mixed).await, 0, "{columns}");
        assert_eq!(
            platform
                .value::<i64>(
                    "SELECT count(*) FROM \
                    agent_sync.problem"
                )
                .await,
            0,
            "{columns}"
        );
        assert_eq!(platform.says(&["check"]).await.code, 0, "{columns}");
    }
}

/// GIVEN an agent whose slug differs from that of a configuration in case, blanks or Unicode form
/// alone, THEN the configuration is named and not written; another agent is told as before.
#[tokio::test]
async fn t7_an_almost_equal_slug_is_named_and_not_matched() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug) VALUES ('reception'), ('sales'),
               (E'cafe\\u0301'), ('Front-Desk'), ('other')",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) VALUES ('Reception', 'n'), ('sales ', 'n'),
               (E'caf\\u00e9', 'n'), (E'\\tfront-desk', 'n'), ('alone', 'n')",
        )
        .await;
    platform
        .holds("SELECT count(*) = 5 FROM agent_sync.problem WHERE kind = 'missing_configuration'")
        .await;
    platform.drained().await;
    for (slug, near) in [
        ("Reception", Some("reception")),
        ("sales ", Some("sales")),
        ("caf\u{e9}", Some("cafe\u{301}")),
        ("\tfront-desk", Some("Front-Desk")),
        ("alone", None),
    ] {
        let (_, detail) = platform.problem(slug).await.unwrap();
        let named = near.map_or("has this slug", |near| near);
        assert!(detail.contains(named), "{slug}: {detail}");
        assert_eq!(
            detail.contains("case, blanks or Unicode"),
            near.is_some(),
            "{detail}"
        );
        let told = || {
            let lines = daemon.lines("no configuration has this slug");
            lines.into_iter().find(|line| line["slug"] == slug)
        };
        eventually("it is logged", async || told().is_some()).await;
        let line = told().unwrap();
        assert_eq!(line["near"].as_str(), near, "{line}");
        let why = platform.says(&["why", slug]).await;
        assert_eq!(why.out.contains("case, blanks"), near.is_some(), "{why:?}");
        let why = platform.says(&["why", slug, "--json"]).await.object();
        let begins = match near {
            Some(_) => "Correct the slug of the configuration that is named, or that of the agent",
            None => "Create it",
        };
        for remedy in [&line["remedy"], &why["remedy"]] {
            assert!(remedy.as_str().unwrap().starts_with(begins), "{remedy}");
        }
    }
    let status = platform.says(&["status", "--json"]).await;
    assert!(status.out.contains("case, blanks or Unicode"), "{status:?}");
    assert!(
        platform
            .value::<bool>("SELECT bool_and(agent_name IS NULL) FROM agent_configurations")
            .await
    );
    // The problem is the same when the agent is saved again, and is not logged once more.
    let told = daemon.lines("no configuration has this slug").len();
    platform.run("UPDATE agents SET name = 'm'").await;
    platform
        .holds("SELECT bool_and(attempts = 2) FROM agent_sync.problem")
        .await;
    let (_, detail) = platform.problem("Reception").await.unwrap();
    assert!(
        detail.contains("\"reception\"") || detail.contains("reception"),
        "{detail}"
    );
    assert!(daemon.lines("no configuration has this slug").len() >= told);
}

/// GIVEN slugs of text beside a column of numbers or of the type `uuid`, WHEN one is written
/// otherwise than the server writes the value, THEN its configuration is missing, the almost equal
/// one is named, and nothing is written; an equal text is synced.
#[tokio::test]
async fn t7_a_text_that_is_no_canonical_value_is_missing() {
    let id = "0b1f2c3d-0000-4000-8000-00000000abcd";
    let upper = id.to_uppercase();
    let bare = id.replace('-', "");
    for (of_agents, of_configurations, exact, others) in [
        ("text", "integer", "7", vec!["07", "+7", " 7", "-7"]),
        ("text", "bigint", "7", vec!["007", "7.0"]),
        ("bigint", "text", "07", vec!["7"]),
        ("text", "uuid", id, vec![upper.as_str(), bare.as_str()]),
    ] {
        let platform = Platform::new().await;
        platform
            .run(&format!(
                "ALTER TABLE agents ALTER COLUMN slug TYPE {of_agents} USING NULL;
                 ALTER TABLE agent_configurations ALTER COLUMN agent_slug TYPE {of_configurations}
                   USING NULL;
                 CREATE INDEX ON agent_configurations (agent_slug);
                 INSERT INTO agent_configurations (agent_slug) VALUES ('{exact}')"
            ))
            .await;
        platform.install();
        let _daemon = platform.caught_up_daemon().await;
        for slug in &others {
            platform
                .run(&format!(
                    "INSERT INTO agents (slug, name) VALUES ('{slug}', 'other')"
                ))
                .await;
            let noted = async || platform.problem(slug).await.is_some();
            eventually(&format!("{slug} has a problem"), noted).await;
            let (kind, detail) = platform.problem(slug).await.unwrap();
            assert_eq!(kind, "missing_configuration", "{slug}: {detail}");
            let is_near = !["-7", "7.0"].contains(slug);
            assert_eq!(
                detail.contains("the way it is written"),
                is_near,
                "{slug}: {detail}"
            );
            assert_eq!(detail.contains(exact), is_near, "{slug}: {detail}");
        }
        let written = "SELECT count(*) FROM agent_configurations WHERE agent_name IS NOT NULL";
        assert_eq!(platform.value::<i64>(written).await, 0);
        let missing = platform.says(&["check", "--json"]).await;
        let missing = missing.out.matches("\"verdict\":\"missing\"").count();
        assert_eq!(missing, others.len());
        if of_agents == "text" {
            platform
                .run(&format!(
                    "INSERT INTO agents (slug, name) VALUES ('{exact}', 'exact')"
                ))
                .await;
            platform
                .holds("SELECT agent_name = 'exact' IS TRUE FROM agent_configurations")
                .await;
        }
    }
}
