//! The capture under the search path of the session that saves (C4): its functions have no path of
//! their own, so no name in them may depend on one.

use std::collections::BTreeSet;

use crate::support::Platform;
use crate::support::platform::connect;
use crate::support::qualified::unqualified;

/// The bodies of the functions of the capture, without comments and texts.
async fn bodies(platform: &Platform) -> Vec<String> {
    let sources: Vec<String> = platform
        .value(
            "SELECT array_agg(f.prosrc ORDER BY f.proname) FROM pg_proc f
             WHERE f.pronamespace = 'agent_sync'::regnamespace AND f.proname LIKE 'capture_%'",
        )
        .await;
    assert_eq!(sources.len(), 2);
    let text = regex_lite::Regex::new("'[^']*'").unwrap();
    let bare = |source: &String| {
        let lines = source.lines();
        let code = lines.map(|line| line.split("--").next().unwrap());
        let code = code.collect::<Vec<_>>().join(" ");
        text.replace_all(&code, "''").into_owned()
    };
    sources.iter().map(bare).collect()
}

/// The names in the body of a function of the capture that the search path decides.
fn decided_by_path(body: &str) -> Vec<String> {
    const WORDS: &[&str] = &[
        "and", "coalesce", "else", "exists", "if", "not", "or", "row", "then", "values", "when",
    ];
    let squeezed = body.split_whitespace().collect::<Vec<_>>().join(" ");
    // The syntax of PL/pgSQL, of RAISE and of LOCK names nothing.
    let code = squeezed
        .replace(":=", "")
        .replace("ERRCODE = SQLSTATE", "")
        .replace("HINT = ''", "")
        .replace("IN ROW EXCLUSIVE MODE", "");
    let mut found = unqualified(&code, WORDS);
    for word in [
        " ANY ",
        " ALL ",
        "CASE new",
        "CASE app",
        "CASE not",
        " GREATEST",
        " LEAST",
    ] {
        if code.contains(word) {
            found.push(word.to_owned());
        }
    }
    if code.matches("INTO agent").count() != code.matches("INTO agent_sync.").count() {
        found.push("INTO agent".to_owned());
    }
    let (declared, _) = code.split_once(" BEGIN ").unwrap();
    for line in declared.replace("DECLARE", "").split(';') {
        if !line.trim().is_empty() && !line.contains(" pg_catalog.") {
            found.push(line.to_owned());
        }
    }
    found
}

/// Nothing in the functions of the capture is looked up by the search path, with tenants or
/// without.
#[tokio::test]
async fn c4_the_capture_names_the_schema_of_everything() {
    for platform in [Platform::installed().await, {
        let platform = Platform::with_tenants("uuid").await;
        platform.install();
        platform
    }] {
        for body in bodies(&platform).await {
            assert_eq!(decided_by_path(&body), Vec::<String>::new(), "{body}");
        }
    }
    for wrong in [
        "a := b = c;",
        "a := b || c;",
        "a := now();",
        "a := b::text;",
        "IF a IS DISTINCT FROM b THEN",
        "IF a IN (b) THEN",
        "a := b COLLATE \"C\";",
    ] {
        let body = format!("DECLARE a pg_catalog.text; BEGIN {wrong} END");
        assert_ne!(decided_by_path(&body), Vec::<String>::new(), "{wrong}");
    }
    let declared = "DECLARE a text; BEGIN NULL; END";
    assert_ne!(decided_by_path(declared), Vec::<String>::new());
}

/// Every branch of the capture, for a role whose path begins with a schema of its own and
/// `pg_temp`, in which there is an operator, function, type, collation and table for every name.
/// None is used.
#[tokio::test]
async fn c4_no_path_of_a_writer_leads_the_capture_astray() {
    for tenants in [false, true] {
        let platform = if tenants {
            let platform = Platform::with_tenants("text").await;
            platform.install();
            platform
        } else {
            Platform::installed().await
        };
        writes_of_every_kind(&platform).await;
    }
}

/// The steps of [`c4_no_path_of_a_writer_leads_the_capture_astray`] in one database.
async fn writes_of_every_kind(platform: &Platform) {
    let role = format!("{}_attacker", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {role} LOGIN;
             GRANT SELECT, INSERT, UPDATE, DELETE ON agents, agent_configurations TO {role};
             CREATE SCHEMA hostile AUTHORIZATION {role}"
        ))
        .await;
    let call = regex_lite::Regex::new(r"pg_catalog\.([a-z_]+)\(").unwrap();
    let bodies = bodies(platform).await.concat();
    let called: BTreeSet<&str> = call
        .captures_iter(&bodies)
        .map(|call| call.get(1).unwrap().as_str())
        .collect();
    assert!(called.len() > 12, "{called:?}");
    let (attacker, notices) = connect(&platform.url_as(&role)).await;
    let functions = called.into_iter().collect::<Vec<_>>().join(" ");
    attacker
        .batch_execute(&format!("SET hostile.functions = '{functions}'"))
        .await
        .unwrap();
    attacker
        .batch_execute(include_str!("hostile_path.sql"))
        .await
        .unwrap();
    attacker
        .batch_execute(
            "CREATE TEMP TABLE outbox (slug text);
             SET search_path = hostile, pg_temp, pg_catalog, public",
        )
        .await
        .unwrap();
    let run = async |statements: &str| {
        attacker
            .batch_execute(statements)
            .await
            .unwrap_or_else(|error| panic!("{statements}: {error:?}"));
        let was_called: bool = platform.value("SELECT is_called FROM hostile.calls").await;
        assert!(
            !was_called,
            "a name of somebody else was looked up by {statements}"
        );
    };
    let other = platform.connect().await;
    for (name, lock) in [
        ("awake", "SELECT"),
        (
            "asleep",
            "SELECT pg_catalog.pg_advisory_lock(1634169721, 2)",
        ),
    ] {
        other.batch_execute(lock).await.unwrap();
        // The operators of the statements would be those of the attacker as well.
        for statement in [
            "INSERT INTO public.agents (slug, name) VALUES ('NAME', 'n')",
            "UPDATE public.agents SET name = 'm', voice_settings = '{}'",
            "UPDATE public.agents SET name = name",
            "UPDATE public.agents SET slug = pg_catalog.concat(slug, '-')",
            "INSERT INTO public.agent_configurations (agent_slug) VALUES ('NAME')",
            "UPDATE public.agent_configurations SET agent_slug = 'other'",
            "UPDATE public.agent_configurations SET agent_slug = NULL",
            "BEGIN; INSERT INTO public.agents (slug, name) VALUES ('NAME-1', 'n');
             INSERT INTO public.agents (slug, name) VALUES ('NAME-2', 'n'); COMMIT",
            // Guarded appends, and those after them.
            "INSERT INTO public.agents (slug, name)
               SELECT pg_catalog.concat('NAME-', i), 'n' FROM pg_catalog.generate_series(3, 70) i",
            "UPDATE public.agents SET slug = pg_catalog.concat(slug, '+'), name = 'o'",
            "DELETE FROM public.agents; DELETE FROM public.agent_configurations",
        ] {
            run(&statement.replace("NAME", name)).await;
        }
        other
            .batch_execute("SELECT pg_catalog.pg_advisory_unlock_all()")
            .await
            .unwrap();
    }
    assert_eq!(notices.lock().unwrap().len(), 0, "{notices:?}");
    // What cannot be noted, and what cannot be counted either.
    for lock in [
        "BEGIN; LOCK TABLE agent_sync.outbox",
        "ALTER SEQUENCE agent_sync.uncaptured OWNED BY NONE",
    ] {
        other.batch_execute(lock).await.unwrap();
        run(
            "INSERT INTO public.agents (slug, name) VALUES ('lost', 'n');
             UPDATE public.agents SET slug = 'found'; DELETE FROM public.agents",
        )
        .await;
    }
    other.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        notices
            .lock()
            .unwrap()
            .iter()
            .any(|notice| notice.contains("could not note"))
    );
}
