//! A superuser over tables of a role that is none (S27), and objects of strangers with the names of
//! an install (S28).

use std::collections::BTreeSet;

use agent_sync::cli::Cli;
use clap::CommandFactory as _;

use crate::support::Platform;

/// The commands that use the install of a database and do not need the rows of the two tables
/// (`commands::open_with_care`), with the exit code for an install of one's own; none: any. The
/// tests of S27 run each of them.
const CAREFUL: [(&[&str], Option<i32>); 4] = [
    (&["databases"], Some(0)),
    (&["wait", "--timeout", "100ms"], None),
    (&["pause", "--timeout", "5s"], Some(0)),
    (&["resume"], Some(0)),
];

/// The commands that change the install, and check its owner themselves.
const INSTALLING: [&str; 2] = ["install", "uninstall"];

/// The commands whose purpose is the rows of the two tables.
const OF_ROWS: [&str; 6] = ["run", "check", "reconcile", "status", "why", "doctor"];

/// The commands that connect to no database.
const WITHOUT_DATABASE: [&str; 6] = ["config", "rules", "render", "probe", "completions", "man"];

/// Every command has its place in the lists of S27, and the pages name those that it protects.
#[test]
fn s27_every_command_is_in_a_list() {
    let careful = CAREFUL.map(|(arguments, _)| arguments[0]);
    let listed: Vec<&str> = [
        &careful[..],
        &INSTALLING[..],
        &OF_ROWS[..],
        &WITHOUT_DATABASE[..],
    ]
    .concat();
    let command = Cli::command();
    let commands: BTreeSet<&str> = command
        .get_subcommands()
        .map(clap::Command::get_name)
        .collect();
    assert_eq!(commands, listed.iter().copied().collect(), "{listed:?}");
    assert_eq!(commands.len(), listed.len(), "in one list: {listed:?}");

    let names = careful.map(|name| format!("`{name}`"));
    let (last, others) = names.split_last().unwrap();
    let sentence = format!("{} and {last}", others.join(", "));
    for (page, times) in [
        (include_str!("../../docs/security.md"), 2),
        (include_str!("../../docs/operating.md"), 1),
    ] {
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(page.matches(&sentence).count(), times, "{sentence}");
    }
}

/// The role that owns both tables, which may create schemas.
async fn owner_of(platform: &Platform) -> String {
    let owner = format!("owner_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {owner} LOGIN; GRANT CREATE ON DATABASE {} TO {owner};
             GRANT ALL ON SCHEMA public TO {owner};
             ALTER TABLE agents OWNER TO {owner}; ALTER TABLE agent_configurations OWNER TO {owner}",
            platform.name()
        ))
        .await;
    owner
}

/// Makes a function that leaves a file in the directory of the server where a superuser runs it,
/// also in a transaction that is read-only and rolled back.
async fn set_the_trap(platform: &Platform, owner: &str) {
    let name = platform.name();
    platform
        .run_as(
            owner,
            &format!(
                "CREATE FUNCTION public.trap() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN
                 -- The role of the session is no bound.
                 PERFORM set_config('role', r.rolname, true) FROM pg_roles r
                   WHERE r.rolsuper AND pg_has_role(session_user, r.oid, 'MEMBER') LIMIT 1;
                 IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
                     COPY (SELECT 1) TO PROGRAM 'cat > ran_in_{name}';
                 END IF;
                 RETURN true; END $$;
             CREATE FUNCTION public.harmless(text) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
                 BEGIN RETURN public.trap(); END $$"
            ),
        )
        .await;
}

async fn ran_as_superuser(platform: &Platform) -> bool {
    let stat = format!(
        "SELECT (pg_stat_file('ran_in_{}', true)).size IS NOT NULL",
        platform.name()
    );
    platform.value(&stat).await
}

/// Removes the file.
async fn set_anew(platform: &Platform) {
    let name = platform.name();
    platform
        .run(&format!("COPY (SELECT 1) TO PROGRAM 'rm -f ran_in_{name}'"))
        .await;
}

/// GIVEN tables whose owner has code in indexes and statistics, WHEN a superuser runs a command
/// that does not need their rows, THEN that code is not run.
#[tokio::test]
async fn s27_a_superuser_runs_no_code_of_the_owner() {
    for tenants in [false, true] {
        let platform = if tenants {
            Platform::with_tenants("text").await
        } else {
            Platform::new().await
        };
        let owner = owner_of(&platform).await;
        set_the_trap(&platform, &owner).await;
        let slugs = [("agents", "slug"), ("agent_configurations", "agent_slug")];
        for (table, slug) in slugs {
            let made = format!(
                "CREATE INDEX ON {table} ({slug}) WHERE public.harmless('x');
                 CREATE INDEX ON {table} ((public.harmless('x')));
                 CREATE STATISTICS ON {slug}, (public.harmless('x')) FROM {table}"
            );
            let made = made.replace("STATISTICS ON", &format!("STATISTICS of_{table} ON"));
            platform.run_as(&owner, &made).await;
        }
        let tenant: &[&str] = if tenants { &["--tenant", "t"] } else { &[] };
        let wait = [&["wait", "a", "--timeout", "100ms"], tenant].concat();
        let role = format!("daemon_{}", platform.name());
        let mut ran = Vec::new();
        let installs = [
            (&["install"][..], Some(0)),
            (&["install"][..], Some(0)),
            (&["install", "--role", &role][..], Some(0)),
            (&["install", "--move", "--yes"][..], Some(0)),
            (&["install", "--print"][..], Some(0)),
            (&wait[..], None),
        ];
        let uninstalls = [
            (&["uninstall"][..], None),
            (&["uninstall", "--yes"][..], Some(0)),
        ];
        for (arguments, code) in installs.into_iter().chain(CAREFUL).chain(uninstalls) {
            let said = platform.says(arguments).await;
            let is_expected = code.is_none_or(|code| code == said.code);
            assert!(is_expected, "{arguments:?}: {said:?}");
            if ran_as_superuser(&platform).await {
                ran.push(arguments.join(" "));
                set_anew(&platform).await;
            }
        }
        assert_eq!(ran, Vec::<String>::new());
        // The code is there, and a query on the table runs it.
        platform.run("SELECT count(*) FROM agents").await;
        assert!(ran_as_superuser(&platform).await);
    }
}

/// What a session has the rights of a superuser by, beside the role of the session.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// A superuser logs in.
    Login,
    /// The owner of the database has made its own role that of each session of it.
    RoleOfTheDatabase,
    /// A member of a superuser logs in.
    Membership,
}

impl Reach {
    const ALL: [Self; 3] = [Self::Login, Self::RoleOfTheDatabase, Self::Membership];

    /// Sets it up; the role that logs in, if it is another one than that of the platform.
    async fn prepare(self, platform: &Platform, owner: &str) -> Option<String> {
        let name = platform.name();
        match self {
            Self::Login => None,
            Self::RoleOfTheDatabase => {
                let setting = format!(
                    "ALTER DATABASE {name} OWNER TO {owner};
                     ALTER DATABASE {name} SET role = '{owner}'"
                );
                platform.run(&setting).await;
                None
            }
            Self::Membership => {
                let (group, member) = (format!("group_{name}"), format!("member_{name}"));
                let made = format!(
                    "CREATE ROLE {group} SUPERUSER; CREATE ROLE {member} LOGIN IN ROLE {group}"
                );
                platform.run(&made).await;
                let given = format!(
                    "GRANT USAGE ON SCHEMA agent_sync, public TO {member};
                     GRANT ALL ON ALL TABLES IN SCHEMA agent_sync, public TO {member}"
                );
                platform.run_as(owner, &given).await;
                Some(member)
            }
        }
    }
}

/// GIVEN an install of the owner of the tables, WHEN a command that uses it runs in a session that
/// can act as a superuser, THEN it is refused, names the owner, and runs no code of the owner.
#[tokio::test]
async fn s27_a_superuser_uses_no_install_of_another_role() {
    for reach in Reach::ALL {
        let platform = Platform::new().await;
        let owner = owner_of(&platform).await;
        let said = platform.says_as(&owner, &["install"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        set_the_trap(&platform, &owner).await;
        for table in ["outbox", "problem", "install"] {
            let index =
                format!("CREATE INDEX ON agent_sync.{table} ((1)) WHERE public.harmless('x')");
            platform.run_as(&owner, &index).await;
        }
        let member = reach.prepare(&platform, &owner).await;
        let mut wrong = Vec::new();
        let installing = [&["install"][..], &["uninstall", "--yes"][..]];
        for arguments in CAREFUL.map(|(one, _)| one).into_iter().chain(installing) {
            let said = match &member {
                Some(member) => platform.says_as(member, arguments).await,
                None => platform.says(arguments).await,
            };
            let is_told = format!("{} {}", said.out, said.err).contains(&owner);
            let ran = ran_as_superuser(&platform).await;
            if said.code == 0 || !is_told || ran {
                wrong.push(format!("{reach:?}: {arguments:?}: ran {ran}, {said:?}"));
                set_anew(&platform).await;
            }
        }
        assert_eq!(wrong, Vec::<String>::new());
        let said = platform
            .says_as(&owner, &["pause", "--timeout", "5s"])
            .await;
        assert_eq!(said.code, 0, "{said:?}");
    }
}

/// GIVEN an install of the owner of the tables, WHEN a command that uses it runs as a role with
/// rights that the owner does not have, THEN it is refused and names them; a role for monitoring is
/// not.
#[tokio::test]
async fn s27_a_role_with_more_rights_uses_no_install_of_another() {
    let platform = Platform::new().await;
    let name = platform.name();
    let owner = owner_of(&platform).await;
    let said = platform.says_as(&owner, &["install"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let other = format!("other_{name}");
    platform.run(&format!("CREATE ROLE {other}")).await;
    let login = format!("login_{name}");
    for (made, rights) in [
        ("IN ROLE pg_read_all_data".to_owned(), "pg_read_all_data"),
        ("IN ROLE pg_write_all_data".to_owned(), "pg_write_all_data"),
        ("REPLICATION".to_owned(), "REPLICATION"),
        ("CREATEROLE".to_owned(), "CREATEROLE"),
        (format!("IN ROLE {other}"), &*other),
        (format!("IN ROLE {owner}, {other}"), &*other),
    ] {
        platform
            .run(&format!(
                "CREATE ROLE {login} LOGIN {made};
                 GRANT USAGE ON SCHEMA agent_sync TO {login};
                 GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA agent_sync TO {login}"
            ))
            .await;
        for (arguments, _) in CAREFUL {
            let said = platform.says_as(&login, arguments).await;
            let text = format!("{} {}", said.out, said.err);
            let is_told = text.contains(&owner) && text.contains(rights);
            assert!(said.code != 0 && is_told, "{made}: {arguments:?}: {said:?}");
        }
        platform
            .run(&format!("DROP OWNED BY {login}; DROP ROLE {login}"))
            .await;
    }
    platform
        .run(&format!("CREATE ROLE {login} LOGIN IN ROLE pg_monitor"))
        .await;
    let said = platform
        .says_as(&owner, &["install", "--monitor", &login])
        .await;
    assert_eq!(said.code, 0, "{said:?}");
    let said = platform.says_as(&login, &["databases"]).await;
    assert_eq!(said.code, 0, "{said:?}");
}

/// GIVEN an install of a member of a superuser, WHEN that member or the superuser uses it, THEN it
/// is not refused: each of them could act as the other.
#[tokio::test]
async fn s27_an_install_of_a_member_of_a_superuser_is_its_own() {
    let platform = Platform::new().await;
    let name = platform.name();
    let (group, member) = (format!("group_{name}"), format!("member_{name}"));
    platform
        .run(&format!(
            "CREATE ROLE {group} SUPERUSER; CREATE ROLE {member} LOGIN IN ROLE {group};
             GRANT CREATE ON DATABASE {name} TO {member}; GRANT ALL ON SCHEMA public TO {member};
             ALTER TABLE agents OWNER TO {member};
             ALTER TABLE agent_configurations OWNER TO {member}"
        ))
        .await;
    let install = (&["install"][..], Some(0));
    for (arguments, code) in [install, install].into_iter().chain(CAREFUL) {
        let said = platform.says_as(&member, arguments).await;
        let is_expected = code.is_none_or(|code| code == said.code);
        assert!(is_expected, "{arguments:?}: {said:?}");
    }
    for arguments in [
        &["pause", "--timeout", "5s"][..],
        &["uninstall", "--yes"][..],
    ] {
        let said = platform.says(arguments).await;
        assert_eq!(said.code, 0, "{arguments:?}: {said:?}");
    }
}

/// GIVEN a role that may connect, and create in the schema `public`, WHEN it makes functions and
/// tables with the names of another install, THEN no install and no daemon is stopped.
#[tokio::test]
async fn s28_a_name_of_a_stranger_is_no_other_install() {
    const NAMED: &str = "
        CREATE FUNCTION here.capture_agent() RETURNS int LANGUAGE sql AS
            'SELECT 1 /* (1634169721, 2) */';
        CREATE TABLE here.install (tables text);
        COMMENT ON COLUMN here.install.tables IS ' and public.agent_configurations.';
        CREATE TABLE here.outbox (slug text)";
    let platform = Platform::new().await;
    let stranger = format!("stranger_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {stranger} LOGIN; GRANT CREATE ON SCHEMA public TO {stranger};
             GRANT CREATE ON DATABASE {} TO {stranger}",
            platform.name()
        ))
        .await;
    platform.install();
    let (client, _) = crate::support::platform::connect(&platform.url_as(&stranger)).await;
    for schema in ["pg_temp", "public", "own"] {
        let named = NAMED.replace("here", schema);
        let made = if schema == "own" {
            format!("CREATE SCHEMA own; COMMENT ON SCHEMA own IS 'agent-sync: mine'; {named}")
        } else {
            named
        };
        client.batch_execute(&made).await.unwrap();
    }
    let mut wrong = Vec::new();
    let said = platform.says(&["install"]).await;
    if said.code != 0 {
        wrong.push(format!("{said:?}"));
    }
    let names = include_str!("../../sql/names.sql");
    let others = format!(
        "BEGIN; {names}; SELECT set_config('test.others', concat(current_setting(
           'agent_sync.other_outboxes'), current_setting('agent_sync.needed_elsewhere')), false);
         COMMIT"
    );
    platform.run(&others).await;
    let others: String = platform
        .value("SELECT current_setting('test.others')")
        .await;
    if others.contains("public") || others.contains("own") || !others.starts_with("{}") {
        wrong.push(others);
    }
    let said = platform.says(&["doctor"]).await;
    if said.out.contains("the install in the schema") {
        wrong.push(said.out);
    }
    assert_eq!(wrong, Vec::<String>::new());
    // The same of a trusted role is another install.
    for statement in [
        "ALTER FUNCTION own.capture_agent() OWNER TO CURRENT_USER",
        "ALTER TABLE own.install OWNER TO CURRENT_USER",
    ] {
        platform.run(statement).await;
        let said = platform.says(&["install"]).await;
        assert_eq!(said.code, 1, "{statement}: {said:?}");
        assert!(said.err.contains("own"), "{statement}: {said:?}");
        let said = platform.says(&["doctor"]).await;
        assert!(said.out.contains("schema \"own\""), "{statement}: {said:?}");
    }
}
