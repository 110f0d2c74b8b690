//! The owners of installed objects, and the roles that an install trusts (S4, S5, S17): an install
//! by a superuser gives no role extra rights and runs no code of another role.

use std::fmt::Write as _;
use std::process::Command;

use crate::support::{Daemon, Platform};

/// A role name that no other test uses, because roles belong to the whole cluster.
fn unique(platform: &Platform, what: &str) -> String {
    format!("{what}_{}", platform.name())
}

/// A platform whose two tables belong to two ordinary roles that may create schemas, and these
/// roles.
async fn owned() -> (Platform, [String; 2]) {
    let platform = Platform::new().await;
    let owners = ["agents", "configs"].map(|what| unique(&platform, what));
    let [agents, configs] = &owners;
    platform
        .run(&format!(
            "CREATE ROLE {agents} LOGIN; CREATE ROLE {configs} LOGIN; GRANT CREATE
                  ON DATABASE {} TO {agents}, {configs};
             GRANT ALL ON SCHEMA public TO {agents}, {configs};
             ALTER TABLE agents OWNER TO {agents}; ALTER TABLE agent_configurations OWNER TO
               {configs}",
            platform.name()
        ))
        .await;
    (platform, owners)
}

/// A platform with an install by its owner, and that role.
async fn installed_by_its_owner() -> (Platform, String) {
    let (platform, [owner, _]) = owned().await;
    platform
        .run(&format!(
            "ALTER TABLE agent_configurations OWNER TO {owner}"
        ))
        .await;
    let said = platform.says_as(&owner, &["install"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    (platform, owner)
}

fn command_as(platform: &Platform, role: &str, arguments: &[&str]) -> Command {
    let mut command = platform.command(arguments);
    command
        .env("DATABASE_URL", platform.url_as(role))
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    command
}

async fn is_superuser(platform: &Platform, role: &str) -> bool {
    platform
        .value(&format!(
            "SELECT rolsuper FROM pg_roles WHERE rolname = '{role}'"
        ))
        .await
}

/// The owners of the two capture functions.
async fn function_owners(platform: &Platform) -> String {
    platform
        .value(
            "SELECT string_agg(proname || ' ' || proowner::regrole, ', ' ORDER BY proname)
                  FROM pg_proc
             WHERE pronamespace = 'agent_sync'::regnamespace AND proname LIKE 'capture%'",
        )
        .await
}

/// The privileges of a role in the schema `agent_sync`.
async fn holds(platform: &Platform, role: &str) -> String {
    platform
        .value(&format!(
            "SELECT coalesce(string_agg(what, ', ' ORDER BY what), '') FROM (
                 SELECT 'schema ' || a.privilege_type FROM pg_namespace n, aclexplode(n.nspacl) a
                     WHERE n.nspname = 'agent_sync' AND a.grantee = '{role}'::regrole
                 UNION ALL SELECT c.relname || ' ' || a.privilege_type
                   FROM pg_class c, aclexplode(c.relacl) a
                     WHERE c.relnamespace = 'agent_sync'::regnamespace
                       AND a.grantee = '{role}'::regrole
                 UNION ALL SELECT t.attrelid::regclass::text || '.' || t.attname || ' ' ||
                   a.privilege_type
                     FROM pg_attribute t JOIN pg_class c
                       ON c.oid = t.attrelid, aclexplode(t.attacl) a
                     WHERE c.relnamespace = 'agent_sync'::regnamespace
                       AND a.grantee = '{role}'::regrole) AS held (what)"
        ))
        .await
}

/// The privileges that the owner of a table needs for the capture, and its only ones in the schema.
const NEEDED: &str = "agent_sync.outbox.ctid SELECT, outbox INSERT, schema USAGE, uncaptured USAGE";

/// GIVEN tables of two ordinary roles, WHEN a superuser installs, THEN each function belongs to the
/// owner of its table, who has exactly the privileges that it needs, and code of the owner that the
/// function calls runs with the owner's rights alone.
#[tokio::test]
async fn s4_an_install_by_a_superuser_gives_owners_nothing() {
    for printed in [false, true] {
        let (platform, [agents, configs]) = owned().await;
        if printed {
            platform
                .run(&platform.says(&["install", "--print"]).await.out)
                .await;
        } else {
            platform.install();
        }
        assert_eq!(
            function_owners(&platform).await,
            format!("capture_agent {agents}, capture_configuration {configs}")
        );
        for owner in [&agents, &configs] {
            assert_eq!(holds(&platform, owner).await, NEEDED);
        }
        assert!(
            platform
                .says(&["install"])
                .await
                .out
                .contains("nothing to change")
        );
        platform
            .run_as(&agents, "INSERT INTO agents (slug) VALUES ('a')")
            .await;
        platform
            .run_as(
                &configs,
                "INSERT INTO agent_configurations (agent_slug) VALUES ('b')",
            )
            .await;
        let mut noted = platform.outbox().await;
        noted.sort();
        assert_eq!(noted, ["a", "b"]);

        // A cast of the owner's type to text, which the function calls.
        let evil = format!(
            "CREATE TABLE public.ran_as (role text);
             CREATE TYPE public.evil AS ENUM ('x');
             CREATE FUNCTION public.evil_text(public.evil) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO public.ran_as VALUES (current_user);
                 BEGIN EXECUTE 'ALTER ROLE {agents} SUPERUSER'; EXCEPTION WHEN OTHERS
                   THEN NULL; END;
                 RETURN 'x'; END $$;
             CREATE CAST (public.evil AS text) WITH FUNCTION public.evil_text(public.evil) AS
               IMPLICIT;
             ALTER TABLE agents RENAME COLUMN slug TO former; ALTER TABLE agents ADD COLUMN slug
               public.evil;
             INSERT INTO agents (former, slug) VALUES ('c', 'x')"
        );
        platform.run_as(&agents, &evil).await;
        assert_eq!(
            platform
                .value::<String>("SELECT min(role) FROM public.ran_as")
                .await,
            agents
        );
        assert!(!is_superuser(&platform, &agents).await);
    }
}

/// GIVEN a save that can be neither noted nor counted, WHEN the function belongs to the owner of
/// the table, THEN the large object that records the save belongs to that owner, and the uninstall
/// removes it.
#[tokio::test]
async fn s4_the_trace_of_a_lost_save_belongs_to_the_table_owner() {
    let (platform, [agents, _]) = owned().await;
    platform.install();
    platform
        .run("INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ('a', '{}')")
        .await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    platform.drained().await;
    daemon.terminate().await;
    let other = platform.connect().await;
    other
        .batch_execute(&format!(
            "BEGIN; ALTER TABLE agent_sync.outbox OWNER TO {agents}; ALTER SEQUENCE \
            agent_sync.uncaptured OWNER TO {agents}"
        ))
        .await
        .unwrap();
    platform
        .run_as(
            &agents,
            "INSERT INTO agents (slug, name) VALUES ('a', 'not noted')",
        )
        .await;
    other.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(platform.outbox().await, Vec::<String>::new());
    let owner = "SELECT string_agg(lomowner::regrole::text, ',') FROM pg_largeobject_metadata";
    assert_eq!(platform.value::<String>(owner).await, agents);
    let _daemon = platform.brisk_daemon();
    platform
        .holds("SELECT agent_name = 'not noted' IS TRUE FROM agent_configurations")
        .await;
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
    assert!(
        platform
            .value::<bool>("SELECT NOT EXISTS (SELECT FROM pg_largeobject_metadata)")
            .await
    );
}

/// The remedy of an install by a member of the owner's role grants the options that the membership
/// lacks.
#[tokio::test]
async fn i6_the_remedy_grants_the_options_of_a_membership() {
    let (platform, [owner, _]) = owned().await;
    let deployer = unique(&platform, "deployer");
    platform
        .run(&format!(
            "ALTER TABLE agent_configurations OWNER TO {owner}; CREATE ROLE {deployer} LOGIN;
             GRANT CREATE ON DATABASE {} TO {deployer}",
            platform.name()
        ))
        .await;
    let has_options = "SELECT current_setting('server_version_num')::int4 >= 160000";
    let (options, with) = if platform.value::<bool>(has_options).await {
        (
            vec![
                " WITH INHERIT TRUE, SET FALSE",
                " WITH INHERIT FALSE, SET TRUE",
                " WITH INHERIT FALSE, SET FALSE",
            ],
            " WITH INHERIT TRUE, SET TRUE",
        )
    } else {
        (vec![""], "")
    };
    for option in options {
        platform
            .run(&format!(
                "ALTER ROLE {deployer} NOINHERIT; GRANT {owner} TO {deployer}{option}"
            ))
            .await;
        let grant = format!("GRANT {owner} TO {deployer}{with}");
        let mut remedies = vec![grant.clone()];
        if with.is_empty() {
            remedies.push(format!("ALTER ROLE {deployer} INHERIT"));
        }
        let said = platform.says_as(&deployer, &["install"]).await;
        assert!(said.code != 0, "{option}: {said:?}");
        for remedy in &remedies {
            assert!(said.err.contains(remedy), "{option}, {remedy}: {said:?}");
            platform.run(remedy).await;
        }
        let said = platform.says_as(&deployer, &["install"]).await;
        assert_eq!(said.code, 0, "{option}: {said:?}");
        let said = platform.says_as(&deployer, &["uninstall", "--yes"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        platform
            .run(&format!("REVOKE {owner} FROM {deployer}"))
            .await;
    }
}

/// GIVEN a former owner with a trigger and a grant of the capture function, WHEN the install gives
/// the function to a new owner, THEN it refuses while the trigger exists, and the grant is gone.
#[tokio::test]
async fn s4_a_former_owner_gets_no_rights_of_the_new_one() {
    let (platform, [agents, configs]) = owned().await;
    platform.install();
    platform
        .run_as(
            &agents,
            &format!(
                "CREATE TABLE public.trap (slug text, name text, system_prompt text,
               agent_image text, voice_settings jsonb);
             CREATE TRIGGER trap AFTER INSERT ON public.trap FOR EACH ROW
               EXECUTE FUNCTION agent_sync.capture_agent();
             GRANT EXECUTE ON FUNCTION agent_sync.capture_agent() TO {configs}"
            ),
        )
        .await;
    platform.run("ALTER TABLE agents OWNER TO postgres").await;
    let said = platform.says(&["install"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("trap on public.trap") && said.err.contains("Drop them, and"),
        "{said:?}"
    );
    platform.run("DROP TABLE public.trap").await;
    platform.install();
    let granted = format!(
        "SELECT has_function_privilege('{configs}', 'agent_sync.capture_agent()', 'EXECUTE')"
    );
    assert!(!platform.value::<bool>(&granted).await);
    platform.run("INSERT INTO agents (slug) VALUES ('a')").await;
    assert_eq!(platform.outbox().await, ["a"]);
}

/// GIVEN functions of another role than the owner of the table, THEN `doctor` and the daemon warn
/// and name both, and an install gives the functions to the owner in every case; the former owner
/// keeps no rights.
#[tokio::test]
async fn s4_functions_of_another_owner_go_to_the_table_owner() {
    let (platform, [agents, configs]) = owned().await;
    platform.install();
    platform
        .run(&format!(
            "ALTER FUNCTION agent_sync.capture_agent() OWNER TO postgres;
             GRANT EXECUTE ON FUNCTION agent_sync.capture_agent() TO {agents}"
        ))
        .await;
    let daemon = platform.brisk_daemon();
    let text = format!(
        "agent_sync.capture_agent() belongs to the superuser postgres, and the owner of \
        public.agents, {agents}, can act with the rights of that role through it"
    );
    let line = daemon.logged(&text).await;
    assert_eq!(line["level"], "WARN");
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("`agent-sync install`"),
        "{line}"
    );
    daemon.logged("caught up").await;
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(said.code == 0 && said.out.contains(&text), "{said:?}");
    platform.install();
    assert_eq!(
        function_owners(&platform).await,
        format!("capture_agent {agents}, capture_configuration {configs}")
    );
    assert!(
        !platform
            .says(&["doctor"])
            .await
            .out
            .contains("belongs to the superuser")
    );

    let heir = unique(&platform, "heir");
    platform
        .run(&format!(
            "CREATE ROLE {heir} LOGIN; ALTER TABLE agents OWNER TO {heir}; GRANT USAGE \
            ON SCHEMA public TO {heir}"
        ))
        .await;
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(
        said.out.contains(&format!(
            "belongs to the role {agents}, and the owner of public.agents, {heir},"
        )),
        "{said:?}"
    );
    platform.install();
    assert_eq!(
        function_owners(&platform).await,
        format!("capture_agent {heir}, capture_configuration {configs}")
    );
    assert_eq!(
        (
            holds(&platform, &agents).await.as_str(),
            holds(&platform, &heir).await.as_str()
        ),
        ("", NEEDED)
    );
    platform
        .run_as(&heir, "INSERT INTO agents (slug) VALUES ('after')")
        .await;
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
}

/// GIVEN an ordinary role that is a member of the owners of both tables, WHEN it installs, THEN it
/// gives the functions to them; a member of only one owner is refused.
#[tokio::test]
async fn s4_a_role_of_both_owners_installs_and_gives_functions() {
    let (platform, [agents, configs]) = owned().await;
    let deploy = unique(&platform, "deploy");
    platform
        .run(&format!(
            "CREATE ROLE {deploy} LOGIN IN ROLE {agents}; GRANT CREATE ON DATABASE {} TO {deploy}",
            platform.name()
        ))
        .await;
    let said = platform.says_as(&deploy, &["install"]).await;
    assert!(said.code == 1 && said.err.contains("42501"), "{said:?}");
    platform.run(&format!("GRANT {configs} TO {deploy}")).await;
    let said = platform.says_as(&deploy, &["install"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(
        function_owners(&platform).await,
        format!("capture_agent {agents}, capture_configuration {configs}")
    );
    for owner in [&agents, &configs] {
        assert_eq!(holds(&platform, owner).await, NEEDED);
    }
    let said = platform.says_as(&deploy, &["install"]).await;
    assert!(said.out.contains("nothing to change"), "{said:?}");
    assert_eq!(
        platform
            .says_as(&deploy, &["uninstall", "--yes"])
            .await
            .code,
        0
    );
    assert!(
        platform
            .value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL")
            .await
    );
}

/// Preparations of an attacker, `{mallory}`, as that role or as a superuser, and the text of the
/// refusal. A call of the prepared code would make the attacker a superuser.
const PREPARED: &[(&str, &str, &str)] = &[
    (
        "CREATE SCHEMA agent_sync;
         CREATE TABLE agent_sync.install (only_row boolean, version integer, tables jsonb,
           fingerprint text, uncaptured_seen bigint, seal text,
             installed_at timestamptz);
         COMMENT ON TABLE agent_sync.install IS 'What is installed: one row.';
         INSERT INTO agent_sync.install VALUES (true, 1, '{}', '', 0, '', now());
         CREATE TRIGGER evil BEFORE INSERT OR UPDATE ON agent_sync.install
           FOR EACH ROW EXECUTE FUNCTION app.evil()",
        "",
        "found the schema agent_sync ({mallory}), table agent_sync.install ({mallory})",
    ),
    (
        "CREATE SCHEMA agent_sync",
        "",
        "found the schema agent_sync ({mallory})",
    ),
    (
        "CREATE SCHEMA agent_sync;
         CREATE VIEW agent_sync.role AS SELECT app.evil_text() AS name; CREATE VIEW
           agent_sync.outbox AS SELECT app.evil_text() AS slug;
         CREATE VIEW agent_sync.install AS SELECT length(app.evil_text()) AS version, '{}'::jsonb
           AS tables",
        "",
        "found the schema agent_sync ({mallory}), view agent_sync.install ({mallory}), view \
        agent_sync.outbox ({mallory}), view agent_sync.role ({mallory})",
    ),
    (
        "",
        "CREATE SCHEMA agent_sync; GRANT ALL ON SCHEMA agent_sync TO {mallory}; SET ROLE {mallory};
         CREATE TABLE agent_sync.role (name text); CREATE TYPE agent_sync.kind AS ENUM ('a');
           RESET ROLE",
        "found table agent_sync.role ({mallory}), type agent_sync.kind ({mallory})",
    ),
];

/// GIVEN a schema `agent_sync`, or an object in it, of a role without rights on the tables, WHEN a
/// superuser installs or uninstalls, THEN the command refuses it by name and runs none of its code.
#[tokio::test]
async fn s5_what_somebody_else_has_prepared_is_refused_and_not_run() {
    for (by_mallory, by_superuser, named) in PREPARED {
        let (platform, _) = owned().await;
        let mallory = unique(&platform, "mallory");
        platform
            .run(&format!(
                "CREATE ROLE {mallory} LOGIN; GRANT CREATE ON DATABASE {} TO {mallory}",
                platform.name()
            ))
            .await;
        let evil = format!(
            "CREATE SCHEMA app;
             CREATE FUNCTION app.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RESET ROLE; ALTER ROLE {mallory} SUPERUSER; RETURN NEW; END $$;
             CREATE FUNCTION app.evil_text() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 ALTER ROLE {mallory} SUPERUSER; RETURN 'x'; END $$;
             GRANT USAGE ON SCHEMA app TO PUBLIC; {by_mallory}"
        );
        platform.run_as(&mallory, &evil).await;
        platform
            .run(&by_superuser.replace("{mallory}", &mallory))
            .await;
        let named = named.replace("{mallory}", &mallory);
        let expected = "expected it and every object in it to belong to ";
        for arguments in [&["install"][..], &["uninstall", "--yes"], &["uninstall"]] {
            let said = platform.says(arguments).await;
            assert!(
                said.code == 1 && said.err.contains(&named) && said.err.contains(expected),
                "{arguments:?}: {said:?}"
            );
            assert!(
                said.err.contains("nothing was changed")
                    && said.err.contains("DROP SCHEMA agent_sync CASCADE"),
                "{said:?}"
            );
        }
        for arguments in [
            &["doctor"][..],
            &["status"],
            &["check"],
            &["why", "a"],
            &["reconcile", "a"],
        ] {
            let said = platform.says(arguments).await;
            let told = format!("{}{}", said.out, said.err);
            let told: Vec<&str> = told.split_whitespace().collect();
            let told = told.join(" ");
            assert!(
                said.code != 0
                    && told.contains(&format!("({mallory})"))
                    && told.contains("nothing of it was used"),
                "{arguments:?}: {said:?}"
            );
        }
        let script = platform.says(&["install", "--print"]).await.out;
        let error = platform.client.batch_execute(&script).await.unwrap_err();
        assert!(
            error.as_db_error().unwrap().message().contains(&named),
            "{error:?}"
        );
        assert!(!is_superuser(&platform, &mallory).await, "{by_mallory}");
    }
}

/// Objects that the owner of an install may attach to its tables and that would run in another
/// role's `install`, and the text of the refusal.
const ATTACHED: &[(&str, &str)] = &[
    (
        "CREATE TRIGGER evil BEFORE UPDATE ON agent_sync.install FOR EACH ROW EXECUTE FUNCTION \
        app.evil()",
        "trigger evil on table agent_sync.install",
    ),
    (
        "CREATE RULE evil AS ON INSERT TO agent_sync.role DO ALSO SELECT app.evil_text()",
        "rule evil on table agent_sync.role",
    ),
    (
        "CREATE POLICY evil ON agent_sync.install USING (app.evil_text() = 'x'); ALTER TABLE
              agent_sync.install FORCE ROW LEVEL SECURITY;
         ALTER TABLE agent_sync.install ENABLE ROW LEVEL SECURITY",
        "function app.evil_text() of policy evil on table agent_sync.install",
    ),
    (
        "ALTER TABLE agent_sync.granted ALTER COLUMN object SET DEFAULT app.evil_text()",
        "function app.evil_text() of default value for column object of table agent_sync.granted",
    ),
    (
        "ALTER TABLE agent_sync.install ADD CONSTRAINT evil CHECK (app.evil_text() = 'x') NOT \
        VALID",
        "function app.evil_text() of constraint evil on table agent_sync.install",
    ),
    (
        "CREATE TABLE app.child () INHERITS (agent_sync.install);
         CREATE TRIGGER evil BEFORE UPDATE ON app.child FOR EACH ROW EXECUTE FUNCTION app.evil()",
        "app.child, a child of agent_sync.install",
    ),
    (
        "CREATE DOMAIN app.domain AS text CHECK (app.evil_text() = 'x'); ALTER TABLE \
        agent_sync.install ALTER COLUMN seal TYPE app.domain",
        "type app.domain of column seal of table agent_sync.install",
    ),
];

/// A role that is a member of the owner and may create roles.
async fn member_of(platform: &Platform, owner: &str) -> String {
    let member = unique(platform, "member");
    platform
        .run(&format!(
            "CREATE ROLE {member} LOGIN CREATEROLE IN ROLE {owner}"
        ))
        .await;
    member
}

/// GIVEN an install of the owner of the tables, WHEN a superuser installs or uninstalls, THEN it is
/// refused, because the owner's code would run with the rights of the superuser; SET ROLE does not
/// prevent that. The refusal does not depend on the objects of the owner.
#[tokio::test]
async fn s5_a_superuser_is_refused_over_the_install_of_another_role() {
    for put in [
        "SELECT 1",
        "ALTER TABLE agent_sync.install ADD CONSTRAINT c CHECK (ts_rewrite('a'::tsquery, 'select \
        app.evil(), app.evil()') IS NOT NULL)",
        "DROP TABLE agent_sync.history; CREATE VIEW agent_sync.history AS SELECT app.evil() AS id",
    ] {
        let (platform, owner) = installed_by_its_owner().await;
        let evil = format!(
            "CREATE SCHEMA app;
             CREATE FUNCTION app.evil() RETURNS tsquery LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM set_config('role', 'none', true);
                 IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
                   THEN ALTER ROLE {owner} SUPERUSER; END IF;
                 RETURN 'x'; END $$;
             UPDATE agent_sync.install SET fingerprint = ''; {put}"
        );
        platform.run_as(&owner, &evil).await;
        let refusal = format!(
            "the schema agent_sync belongs to the role {owner}, and postgres, which can act as a \
            superuser, runs this: expected that role"
        );
        for arguments in [&["install"][..], &["uninstall", "--yes"], &["uninstall"]] {
            let said = platform.says(arguments).await;
            assert!(
                said.code == 1 && said.err.contains(&refusal),
                "{arguments:?}: {said:?}"
            );
            assert!(
                said.err.contains(&format!("Connect as the role {owner}")),
                "{said:?}"
            );
        }
        let script = platform.says(&["install", "--print"]).await.out;
        let error = platform.client.batch_execute(&script).await.unwrap_err();
        assert!(
            error.as_db_error().unwrap().message().contains(&refusal),
            "{error:?}"
        );
        assert!(!is_superuser(&platform, &owner).await, "{put}");
    }
}

/// GIVEN an install of the owner of the tables who has attached code to its tables, WHEN a member
/// of the owner installs or uninstalls, THEN it is refused by name, and the code does not run. SET
/// ROLE alone would not protect, because such code can return to the role of the session.
#[tokio::test]
async fn s5_code_of_others_on_our_tables_is_refused_and_not_run() {
    for (attached, named) in ATTACHED {
        let (platform, owner) = installed_by_its_owner().await;
        let member = member_of(&platform, &owner).await;
        let evil = format!(
            "CREATE SCHEMA app; CREATE TABLE app.ran (what text);
             CREATE FUNCTION app.evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO app.ran VALUES ('trigger'); RETURN NEW; END $$;
             CREATE FUNCTION app.evil_text() RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO app.ran VALUES ('text'); RETURN 'x'; END $$;
             DELETE FROM agent_sync.install; {attached}; DELETE FROM app.ran"
        );
        platform.run_as(&owner, &evil).await;
        for arguments in [
            &["install"][..],
            &["install", "--role", "nobody"],
            &["uninstall", "--yes"],
            &["uninstall"],
        ] {
            let said = platform.says_as(&member, arguments).await;
            assert!(
                said.code == 1 && said.err.contains(named),
                "{arguments:?}: {said:?}"
            );
            assert!(
                said.err.contains("nothing was changed") && said.err.contains("try: "),
                "{said:?}"
            );
        }
        assert!(
            platform
                .value::<bool>("SELECT NOT EXISTS (SELECT FROM app.ran)")
                .await,
            "{attached}"
        );
    }
}

/// GIVEN an install of the owner of the tables, WHEN a member of the owner installs again or
/// uninstalls, THEN it acts as the owner: new objects belong to the owner, and a transaction around
/// a printed script continues in its own role.
#[tokio::test]
async fn s5_a_member_acts_as_the_owner_of_the_schema() {
    for printed in [false, true] {
        let (platform, owner) = installed_by_its_owner().await;
        platform
            .run(
                "DROP VIEW agent_sync.state; DROP TABLE agent_sync.outbox, agent_sync.history; \
                DROP TRIGGER agent_sync_update ON agents",
            )
            .await;
        let member = member_of(&platform, &owner).await;
        let role = unique(&platform, "daemon");
        if printed {
            let script = platform
                .says(&["install", "--print", "--role", &role])
                .await
                .out;
            let whole = format!(
                "BEGIN; {script}; CREATE TEMP TABLE afterwards AS
                      SELECT current_user AS who; COMMIT;
                 DO $$ BEGIN ASSERT (SELECT who FROM pg_temp.afterwards) = '{member}'; END $$"
            );
            platform.run_as(&member, &whole).await;
        } else {
            let said = platform
                .says_as(&member, &["install", "--role", &role])
                .await;
            assert_eq!(said.code, 0, "{said:?}");
        }
        let owners = "SELECT string_agg(DISTINCT owner::regrole::text, ',') FROM (
            SELECT relowner FROM pg_class WHERE relnamespace = 'agent_sync'::regnamespace
            UNION ALL SELECT proowner FROM pg_proc WHERE pronamespace = 'agent_sync'::regnamespace
            UNION ALL SELECT nspowner FROM pg_namespace WHERE nspname = 'agent_sync') AS o (owner)";
        assert_eq!(platform.value::<String>(owners).await, owner);
        for by in [&owner, &member] {
            let said = platform.says_as(by, &["install"]).await;
            assert!(said.out.contains("nothing to change"), "{by}: {said:?}");
        }
        platform.save("a", "{}").await;
        assert_eq!(platform.outbox().await, ["a"]);
        let said = platform.says_as(&member, &["uninstall", "--yes"]).await;
        assert!(
            said.code == 0 && said.out.contains("is dropped"),
            "{said:?}"
        );
        assert!(
            platform
                .value::<bool>("SELECT to_regnamespace('agent_sync') IS NULL")
                .await
        );
    }
}

/// GIVEN records of grants that the owner of an install has forged, WHEN a member of the owner
/// uninstalls or installs again, THEN no part of them runs as SQL, and only the owner's own grants
/// change.
#[tokio::test]
async fn s5_what_was_granted_is_data_and_is_never_run() {
    for arguments in [&["uninstall", "--yes"][..], &["install"]] {
        let (platform, owner) = installed_by_its_owner().await;
        let [victim, friend] = ["victim", "friend"].map(|what| unique(&platform, what));
        platform
            .run(&format!(
                "CREATE ROLE {victim}; CREATE ROLE {friend}; CREATE TABLE payroll (salary int);
                      GRANT SELECT ON payroll TO {victim};
                 ALTER TABLE agent_configurations OWNER TO {}",
                if arguments[0] == "install" {
                    "postgres"
                } else {
                    owner.as_str()
                }
            ))
            .await;
        let text = format!(
            "SELECT ON public.agents FROM {victim}; ALTER ROLE {owner} SUPERUSER; REVOKE SELECT ON \
            public.agents"
        );
        platform.run_as(&owner,
            &format!(
                "ALTER TABLE agent_sync.granted DROP CONSTRAINT granted_privilege_is_known, DROP
                      CONSTRAINT granted_kind_is_known;
                 INSERT INTO agent_sync.role VALUES ('{victim}'){};
                 INSERT INTO agent_sync.granted VALUES
                     ('{victim}', '{text}', 'relation', 'public', 'agents', ''), ('{victim}',
                       'SELECT', '{text}', 'public', '{text}', ''),
                     ('{victim}', 'SELECT', 'relation', 'public', 'agents', 'slug) ON agents FROM {victim}; {text} --'),
                     ('{victim}', 'SELECT', 'relation', 'public', 'payroll', '')",
                if arguments[0] == "install" { format!(", ('{friend}')") } else { String::new() }
            ),
        )
        .await;
        let member = member_of(&platform, &owner).await;
        let said = platform.says_as(&member, arguments).await;
        let name = arguments[0];
        if name == "install" {
            // The owner cannot give away objects of the other owner, and neither can a member.
            assert_eq!(said.code, 1, "{said:?}");
        } else {
            assert_eq!(said.code, 0, "{said:?}");
        }
        assert!(!is_superuser(&platform, &owner).await, "{name}");
        let keeps = format!("SELECT has_table_privilege('{victim}', 'payroll', 'SELECT')");
        assert!(
            platform.value::<bool>(&keeps).await,
            "{name}: what the owner could not take is not taken"
        );
        let got = format!(
            "SELECT has_column_privilege('{friend}', 'agent_configurations', 'provider_config', \
            'SELECT')"
        );
        assert!(
            !platform.value::<bool>(&got).await,
            "{name}: what the owner could not give is not given"
        );
    }
}

/// GIVEN a daemon with a superuser role, THEN the log and `doctor` warn with a remedy; for an
/// ordinary role they do not.
#[tokio::test]
async fn s17_a_daemon_that_is_a_superuser_is_told() {
    let platform = Platform::new().await;
    let role = unique(&platform, "daemon");
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    let text = "the role postgres is a superuser or can act as one, and code of the owners of the tables runs with \
        its rights";
    let daemon = platform.brisk_daemon();
    let line = daemon.logged(text).await;
    assert_eq!(line["level"], "WARN");
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("`agent-sync install --role NAME`"),
        "{line}"
    );
    daemon.logged("caught up").await;
    let said = platform.says(&["doctor", "--json"]).await;
    assert!(said.code == 0 && said.out.contains(text), "{said:?}");
    assert!(daemon.terminate().await.success());

    let daemon = Daemon::start(command_as(&platform, &role, &["run"]));
    daemon.logged("caught up").await;
    let said = platform.says_as(&role, &["doctor"]).await;
    assert!(
        said.code == 0 && !said.out.contains("superuser,"),
        "{said:?}"
    );
    assert!(daemon.lines("the role").is_empty());
}

/// A platform of one owner, an attacker role without rights on the tables that may create schemas,
/// and code that makes it a superuser if it can.
async fn with_an_attacker() -> (Platform, String, String) {
    let (platform, [owner, _]) = owned().await;
    let mallory = unique(&platform, "mallory");
    platform
        .run(&format!(
            "ALTER TABLE agent_configurations OWNER TO {owner};
             CREATE ROLE {mallory} LOGIN; GRANT CREATE ON DATABASE {} TO {mallory}",
            platform.name()
        ))
        .await;
    let evil = format!(
        "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC; CREATE TABLE app.ran (role text);
         CREATE FUNCTION app.evil() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO app.ran VALUES (current_user);
             PERFORM set_config('role', 'none', true);
             IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
               THEN ALTER ROLE {mallory} SUPERUSER; END IF;
             RETURN 1; END $$;
         CREATE FUNCTION app.on_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM
           app.evil(); RETURN NEW; END $$;
         GRANT INSERT ON app.ran TO PUBLIC"
    );
    platform.run_as(&mallory, &evil).await;
    (platform, owner, mallory)
}

/// GIVEN a database without an install, WHEN an attacker creates the schema between two steps of an
/// install or uninstall by a superuser, THEN the next step fails, and no code of the attacker runs.
#[tokio::test]
async fn s5_a_schema_that_comes_between_two_steps_is_not_used() {
    const PROOF: &str = concat!(
        include_str!("../../sql/names.sql"),
        include_str!("../../sql/proof.sql")
    );
    for (next, view) in [
        (
            include_str!("../../sql/guard.sql"),
            "CREATE VIEW agent_sync.install AS SELECT app.evil() AS version, '{}'::jsonb AS tables",
        ),
        (
            include_str!("../../sql/uninstall.sql"),
            "CREATE VIEW agent_sync.role AS SELECT app.evil()::text AS name",
        ),
    ] {
        let (platform, _, mallory) = with_an_attacker().await;
        let superuser = platform.connect().await;
        superuser.batch_execute("BEGIN").await.unwrap();
        superuser.batch_execute(PROOF).await.unwrap();
        platform
            .run_as(&mallory, &format!("CREATE SCHEMA agent_sync; {view}"))
            .await;
        let error = superuser.batch_execute(next).await.unwrap_err();
        let message = error.as_db_error().unwrap().message();
        assert!(
            message.contains("no proof that an install of agent-sync made the schema agent_sync"),
            "{error:?}"
        );
        superuser.batch_execute("ROLLBACK").await.unwrap();
        assert!(!is_superuser(&platform, &mallory).await);
        assert!(
            platform
                .value::<bool>("SELECT NOT EXISTS (SELECT FROM app.ran)")
                .await
        );
    }
    // From the next step on, no other role can create it.
    let (platform, _, mallory) = with_an_attacker().await;
    let superuser = platform.connect().await;
    for step in ["BEGIN", PROOF, include_str!("../../sql/guard.sql")] {
        superuser.batch_execute(step).await.unwrap();
    }
    let (stranger, _) = crate::support::platform::connect(&platform.url_as(&mallory)).await;
    let made = stranger.batch_execute(
        "SET lock_timeout = '50ms'; SET statement_timeout = '1s'; CREATE SCHEMA agent_sync",
    );
    assert!(made.await.is_err());
}

/// GIVEN an install of the owner, WHEN the owner replaces the schema while a member waits for a
/// lock, THEN the member's command fails with that reason and runs none of its code.
#[tokio::test]
async fn s5_a_schema_replaced_during_a_lock_wait_is_not_used() {
    let (platform, owner) = installed_by_its_owner().await;
    let member = member_of(&platform, &owner).await;
    let tables = ["install", "role", "granted", "history"];
    let mut copies = String::new();
    for table in tables {
        let _ = write!(
            copies,
            "CREATE TABLE evil.{table} (LIKE agent_sync.{table} INCLUDING ALL);
             ALTER TABLE evil.{table} ENABLE ROW LEVEL SECURITY; ALTER TABLE evil.{table} FORCE
               ROW LEVEL SECURITY;
             CREATE POLICY p ON evil.{table} USING (evil.ran());"
        );
    }
    platform
        .run_as(
            &owner,
            &format!(
                "CREATE SCHEMA evil; CREATE TABLE evil.log (role text);
             CREATE FUNCTION evil.ran() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO evil.log VALUES (current_user); RETURN true; END $$; {copies}"
            ),
        )
        .await;
    let (holder, _) = crate::support::platform::connect(&platform.url_as(&owner)).await;
    holder
        .batch_execute(
            "BEGIN; LOCK TABLE agent_sync.granted IN ACCESS EXCLUSIVE MODE;
             ALTER SCHEMA agent_sync RENAME TO agent_sync_old; ALTER SCHEMA evil RENAME TO
               agent_sync",
        )
        .await
        .unwrap();
    let installing = platform.says_as(&member, &["install"]);
    let swap = async {
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'relation')",
            )
            .await;
        holder.batch_execute("COMMIT").await.unwrap();
    };
    let (said, ()) = tokio::join!(installing, swap);
    assert!(
        said.code == 1 && said.err.contains("has replaced the schema agent_sync"),
        "{said:?}"
    );
    assert!(
        platform
            .value::<bool>("SELECT NOT EXISTS (SELECT FROM agent_sync.log)")
            .await
    );
}

/// GIVEN a daemon with few rights, WHEN an attacker's schema replaces the install, THEN the daemon
/// refuses it at the next sweep and at each connect, and runs none of its code. Every command with
/// that role does the same.
#[tokio::test]
async fn s5_a_daemon_of_few_rights_uses_no_schema_of_a_stranger() {
    let (platform, owner, mallory) = with_an_attacker().await;
    let daemon_role = unique(&platform, "dmn");
    platform
        .run(&format!("ALTER ROLE {owner} CREATEROLE"))
        .await;
    let said = platform
        .says_as(&owner, &["install", "--role", &daemon_role])
        .await;
    assert_eq!(said.code, 0, "{said:?}");
    let daemon = Daemon::start(command_as(&platform, &daemon_role, &["run"]));
    daemon.logged("caught up").await;
    platform
        .run(&format!(
            "BEGIN; UPDATE agent_sync.install SET seal = 'md5 other'; ALTER SCHEMA agent_sync
                  OWNER TO {mallory};
             DO $$ DECLARE part record; BEGIN
                 FOR part IN SELECT oid::regclass AS name FROM pg_class
                   WHERE relnamespace = 'agent_sync'::regnamespace AND relkind IN ('r', 'v') LOOP
                     EXECUTE format('ALTER TABLE %s OWNER TO {mallory}', part.name);
                 END LOOP; END $$;
             ALTER SEQUENCE agent_sync.uncaptured OWNER TO {mallory};
             CREATE TRIGGER t BEFORE UPDATE ON agent_sync.install
               FOR EACH ROW EXECUTE FUNCTION app.on_write();
             CREATE TRIGGER t BEFORE DELETE ON agent_sync.outbox
               FOR EACH ROW EXECUTE FUNCTION app.on_write(); COMMIT"
        ))
        .await;
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    assert!(
        line["cause"]
            .as_str()
            .unwrap()
            .contains("expected objects of a superuser or of the owner"),
        "{line}"
    );
    for arguments in [
        &["reconcile", "--all", "--yes"][..],
        &["status"],
        &["check"],
        &["doctor"],
    ] {
        let said = platform.says_as(&daemon_role, arguments).await;
        assert!(said.code != 0, "{arguments:?}: {said:?}");
    }
    assert!(
        platform
            .value::<bool>("SELECT NOT EXISTS (SELECT FROM app.ran)")
            .await
    );
}

/// GIVEN a sleeping daemon, WHEN the install is removed and an attacker creates tables of the same
/// form, THEN no request, change or save makes the daemon use them: it checks that the names still
/// refer to the verified tables.
#[tokio::test]
async fn s5_a_waiting_daemon_uses_no_tables_of_a_stranger() {
    for wake in [
        "NOTIFY agent_sync, 'a'",
        "NOTIFY agent_sync",
        "NOTIFY agent_sync_change, '(0,1)'",
        "UPDATE public.agents SET name = 'new'",
    ] {
        for as_owner in [false, true] {
            let (platform, owner, mallory) = with_an_attacker().await;
            let role = if as_owner {
                owner.clone()
            } else {
                unique(&platform, "dmn")
            };
            platform
                .run(&format!(
                    "ALTER ROLE {owner} CREATEROLE; INSERT INTO agents (slug, name) VALUES ('a', \
                    'n')"
                ))
                .await;
            platform.configure("a").await;
            let install = if as_owner {
                vec!["install"]
            } else {
                vec!["install", "--role", &role]
            };
            let said = platform.says_as(&owner, &install).await;
            assert_eq!(said.code, 0, "{said:?}");
            let mut command = command_as(&platform, &role, &["run"]);
            command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h");
            let daemon = Daemon::start(command);
            daemon.logged("caught up").await;
            platform.drained().await;
            let tables = ["outbox", "problem", "install", "history", "role", "granted"];
            let mut copies = String::new();
            for table in tables {
                let _ = write!(
                    copies,
                    "CREATE TABLE agent_sync.{table} (LIKE gone.{table} INCLUDING ALL);
                     CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE
                       ON agent_sync.{table} EXECUTE FUNCTION app.on_write();
                     ALTER TABLE agent_sync.{table} ENABLE ROW LEVEL SECURITY; ALTER TABLE
                       agent_sync.{table} FORCE ROW LEVEL SECURITY;
                     CREATE POLICY p ON agent_sync.{table} USING (app.evil() = 1);
                     ALTER TABLE agent_sync.{table} OWNER TO {mallory}; GRANT ALL
                       ON agent_sync.{table} TO PUBLIC;"
                );
            }
            platform
                .run(&format!(
                    "BEGIN; ALTER SCHEMA agent_sync RENAME TO gone; CREATE SCHEMA agent_sync
                          AUTHORIZATION {mallory};
                     GRANT USAGE ON SCHEMA agent_sync TO PUBLIC; {copies}
                     CREATE SEQUENCE agent_sync.uncaptured; ALTER SEQUENCE agent_sync.uncaptured
                       OWNER TO {mallory};
                     GRANT ALL ON agent_sync.uncaptured TO PUBLIC; TRUNCATE app.ran; COMMIT"
                ))
                .await;
            platform.run(wake).await;
            let line = daemon
                .logged("the daemon cannot work in the database")
                .await;
            assert!(
                line["cause"]
                    .as_str()
                    .unwrap()
                    .contains("expected objects of a superuser or of the owner"),
                "{line}"
            );
            let ran = format!("SELECT NOT EXISTS (SELECT FROM app.ran WHERE role = '{role}')");
            // The capture of a save runs as the owner of the table, another role here.
            assert!(
                as_owner && wake.starts_with("UPDATE") || platform.value::<bool>(&ran).await,
                "{wake} {as_owner}"
            );
        }
    }
}

/// GIVEN a mapped column with a type of a foreign role, WHEN agent-sync is installed, THEN it is
/// refused by name; a running daemon that finds such a column stops, because the type's owner can
/// add a cast or a constraint at any time.
#[tokio::test]
async fn s5_a_column_of_a_type_of_a_stranger_is_refused() {
    for (made, table, column) in [
        ("CREATE TYPE app.tag AS ENUM ('x')", "agents", "agent_image"),
        ("CREATE DOMAIN app.tag AS text", "agents", "name"),
        (
            "CREATE DOMAIN app.tag AS text",
            "agent_configurations",
            "agent_name",
        ),
        (
            "CREATE DOMAIN app.tag AS timestamptz",
            "agent_configurations",
            "updated_at",
        ),
    ] {
        let (platform, owner, mallory) = with_an_attacker().await;
        platform.run_as(&mallory, made).await;
        platform
            .run(&format!(
                "ALTER TABLE {table} DROP COLUMN {column}; ALTER TABLE {table} ADD COLUMN {column} \
                app.tag"
            ))
            .await;
        let said = platform.says_as(&owner, &["install"]).await;
        let expected = format!(
            "the column public.{table}.{column} has the type app.tag of the role {mallory}"
        );
        assert!(said.code == 1 && said.err.contains(&expected), "{said:?}");
        assert!(
            said.err
                .contains(&format!("ALTER TYPE app.tag OWNER TO {owner}")),
            "{said:?}"
        );

        platform
            .run(&format!(
                "GRANT CREATE ON SCHEMA app TO {owner}; ALTER TYPE app.tag OWNER TO {owner}"
            ))
            .await;
        assert_eq!(platform.says_as(&owner, &["install"]).await.code, 0);
        let daemon = Daemon::start(command_as(&platform, &owner, &["run"]));
        daemon.logged("caught up").await;
        platform
            .run(&format!("ALTER TYPE app.tag OWNER TO {mallory}"))
            .await;
        let line = daemon
            .logged("the daemon cannot work in the database")
            .await;
        assert!(
            line["cause"]
                .as_str()
                .unwrap()
                .contains("whose code would run with the rights of others"),
            "{line}"
        );
        assert_eq!(platform.says_as(&owner, &["doctor"]).await.code, 2);
    }
}

/// GIVEN a schema in which any role may create tables, WHEN a table is renamed and a stranger takes
/// its name, THEN no code of the stranger runs, nothing is read from its table or written to it,
/// and the fault is named; the daemon goes on when the table is back.
#[tokio::test]
async fn s5_a_table_of_a_stranger_is_neither_read_nor_written() {
    for table in ["agents", "agent_configurations"] {
        let (platform, owner) = installed_by_its_owner().await;
        let stranger = unique(&platform, "stranger");
        platform.save("a", "{}").await;
        platform.configure("a").await;
        platform
            .run(&format!(
                "CREATE ROLE {stranger} LOGIN; GRANT CREATE ON SCHEMA public TO {stranger};
                 CREATE TABLE public.ran (code text); GRANT ALL ON public.ran TO PUBLIC"
            ))
            .await;
        let daemons = [None, Some(&owner)].map(|role: Option<&String>| {
            let mut command = match role {
                None => platform.command(&["run"]),
                Some(role) => command_as(&platform, role, &["run"]),
            };
            command
                .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
                .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
            Daemon::start(command)
        });
        platform.becomes("a", "{}").await;
        platform
            .run(&format!("ALTER TABLE {table} RENAME TO away"))
            .await;
        let take = format!(
            "CREATE FUNCTION public.seen(what text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                 IF current_user <> '{stranger}' THEN
                     INSERT INTO public.ran VALUES (current_user || ' ' || what); END IF;
                 RETURN true; END $$;
             CREATE FUNCTION public.planned() RETURNS bool LANGUAGE plpgsql IMMUTABLE AS
                 $$ BEGIN RETURN public.seen('plan'); END $$;
             CREATE TABLE public.{table} (LIKE public.away INCLUDING DEFAULTS);
             INSERT INTO public.{table} (id, {slug}) VALUES (gen_random_uuid(), 'a');
             CREATE INDEX ON public.{table} ({slug}) WHERE public.planned();
             CREATE POLICY seen ON public.{table} USING (public.seen('policy'));
             ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;
             GRANT ALL ON public.{table} TO PUBLIC",
            slug = if table == "agents" {
                "slug"
            } else {
                "agent_slug"
            },
        );
        platform
            .run(&format!("GRANT SELECT ON away TO {stranger}"))
            .await;
        platform.run_as(&stranger, &take).await;
        platform
            .run("INSERT INTO agent_sync.outbox (slug) VALUES ('a'); NOTIFY agent_sync")
            .await;
        for daemon in &daemons {
            daemon
                .logged("the daemon cannot work in the database")
                .await;
        }
        let expected = format!("found table public.{table} ({stranger})");
        for arguments in [&["status"][..], &["check"], &["why", "a"], &["doctor"]] {
            let said = platform.says(arguments).await;
            let text = format!("{}{}", said.out, said.err);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&expected), "{arguments:?}: {text}");
            assert_ne!(said.code, 0, "{arguments:?}");
        }
        let ran = "SELECT coalesce(string_agg(code, ', '), '') FROM public.ran";
        assert_eq!(platform.value::<String>(ran).await, "", "{table}");
        platform
            .run(&format!(
                "DROP TABLE public.{table}; ALTER TABLE away RENAME TO {table};
                 UPDATE agents SET name = 'back'"
            ))
            .await;
        platform
            .holds("SELECT (agent_name = 'back') IS TRUE FROM agent_configurations")
            .await;
    }
}

/// GIVEN an extension that a role with CREATE on the database has put into the schema, WHEN
/// `doctor`, an install and an uninstall meet it, THEN they name it, and the remedy moves it and
/// keeps the install.
#[tokio::test]
async fn s5_an_extension_of_another_is_moved_out_and_the_install_stays() {
    let platform = Platform::installed().await;
    let there = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext')";
    if !platform.value::<bool>(there).await {
        eprintln!("skipped: this server has no extension citext");
        return;
    }
    let mallory = unique(&platform, "mallory");
    platform
        .run(&format!(
            "CREATE ROLE {mallory} LOGIN; GRANT CREATE ON DATABASE {} TO {mallory}",
            platform.name()
        ))
        .await;
    platform
        .run_as(&mallory, "CREATE EXTENSION citext SCHEMA agent_sync")
        .await;
    let told = platform.says(&["doctor"]).await.out;
    let told: Vec<&str> = told.split_whitespace().collect();
    let told = told.join(" ");
    assert!(
        told.contains("the schema agent_sync has extensions") && told.contains("citext"),
        "{told}"
    );
    for arguments in [&["install"][..], &["uninstall", "--yes"]] {
        let said = platform.says(arguments).await;
        assert!(
            said.code == 1
                && said.err.contains(&format!("found citext ({mallory})"))
                && said.err.contains("ALTER EXTENSION citext SET SCHEMA")
                && said.err.contains("DROP EXTENSION citext;")
                && !said.err.contains("DROP SCHEMA"),
            "{arguments:?}: {said:?}"
        );
    }
    platform
        .run("ALTER EXTENSION citext SET SCHEMA public")
        .await;
    assert_eq!(platform.says(&["install"]).await.code, 0);
    let told = platform.says(&["doctor"]).await.out;
    assert!(!told.contains("citext"), "{told}");
    assert_eq!(platform.says(&["uninstall", "--yes"]).await.code, 0);
}
