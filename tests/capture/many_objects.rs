//! Very many objects of a role that may do no more than make them (S30).

use agent_sync::store::queries;

use crate::support::Platform;
use crate::support::platform::connect;

/// As many functions as this have the name of a part of the install, in a schema that several roles
/// may use; a fifth as many have that of a function which the capture calls, and as many types have
/// labels.
const OBJECTS: u32 = 50_000;

/// As many publications as this are of a table of others with partitions, a tenth as many.
const PUBLICATIONS: u32 = 1000;

/// The pages that a query may read more than before: those of the functions of PostgreSQL itself,
/// one by one. A whole read of the functions takes several thousand.
const MORE: i64 = 1000;

/// The queries of the sweep, the daemon's start and the commands on the parts of the install, each
/// with its tables. `CAPTURE_FAULTS` prints the triggers, for which PostgreSQL itself looks up
/// every function of the name.
fn looks() -> Vec<(&'static str, String, [&'static str; 2])> {
    const AGENTS: &str = r#""public"."agents""#;
    const CONFIGURATIONS: &str = r#""public"."agent_configurations""#;
    let (usual, turned) = ([AGENTS, CONFIGURATIONS], [CONFIGURATIONS, AGENTS]);
    vec![
        ("rivals", queries::rivals(), turned),
        ("lent rights", queries::LENDS_RIGHTS.to_owned(), usual),
        ("grants", queries::grants_to_others(), usual),
        ("notify", queries::INSTALLED_NOTIFY.to_owned(), usual),
        ("layout version", queries::layout_version(), usual),
        ("publications", queries::unpublishable(), turned),
        (
            "parts of publications",
            queries::PUBLISHED_IN_PART.to_owned(),
            turned,
        ),
        ("rules", queries::rules(), turned),
    ]
}

/// The pages that a query reads.
async fn pages(client: &tokio_postgres::Client, query: &str, tables: [&str; 2]) -> i64 {
    let mut query = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}");
    for (index, table) in tables.iter().enumerate() {
        query = query.replace(&format!("${}", index + 1), &format!("'{table}'"));
    }
    // The first execution reads into the caches of the session.
    client.simple_query(&query).await.unwrap();
    let plan = client.simple_query(&query).await.unwrap();
    let plan = plan.iter().find_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: serde_json::Value = serde_json::from_str(plan.unwrap()).unwrap();
    let read = |what: &str| plan[0]["Plan"][what].as_i64().unwrap();
    read("Shared Hit Blocks") + read("Shared Read Blocks")
}

/// GIVEN 50,000 functions with the name of a capture function, and other functions and types, of a
/// role without privileges on the install, WHEN the install is looked at, THEN each query reads
/// about as much as before.
#[tokio::test]
async fn s30_the_objects_of_a_stranger_make_no_look_longer() {
    const MADE: &str = "
        SET synchronous_commit = off; CREATE TEMP TABLE t ();
        DO $$ DECLARE
            types text[] := ARRAY(SELECT format_type(t.oid, -1) FROM pg_type t
                WHERE t.typtype = 'b' AND t.typnamespace = 'pg_catalog'::regnamespace
                  AND t.typname !~ '^_' ORDER BY t.oid LIMIT 40);
            arguments text;
        BEGIN
            FOR n IN 0..OBJECTS - 1 LOOP
                arguments := concat_ws(',', types[1 + n % 40], types[1 + n / 40 % 40],
                  types[1 + n / 1600 % 40]);
                EXECUTE format('CREATE FUNCTION public.capture_agent(%s) RETURNS int LANGUAGE sql
                  AS %L', arguments, 'SELECT 1 /* (1634169721, 2) */');
                CONTINUE WHEN n % 5 > 0;
                EXECUTE format('CREATE FUNCTION pg_temp.set_config(%s) RETURNS int LANGUAGE sql
                  AS %L', arguments, 'SELECT 1');
                EXECUTE format('CREATE TYPE pg_temp.e%s AS ENUM (%L, %L)', n, 'a', 'b');
            END LOOP;
        END $$";
    let platform = Platform::installed().await;
    let stranger = format!("stranger_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {stranger} LOGIN; GRANT CREATE ON SCHEMA public TO {stranger}"
        ))
        .await;
    let client = platform.connect().await;
    client
        .batch_execute("SET search_path = pg_catalog, pg_temp; SET jit = off")
        .await
        .unwrap();
    let mut before = Vec::new();
    for (_, query, tables) in looks() {
        before.push(pages(&client, &query, tables).await);
    }
    // Its session keeps the temporary ones.
    let (others, _) = connect(&platform.url_as(&stranger)).await;
    let made = MADE.replace("OBJECTS", &OBJECTS.to_string());
    others.batch_execute(&made).await.unwrap();
    let mut longer = Vec::new();
    for ((name, query, tables), before) in looks().into_iter().zip(before) {
        let after = pages(&client, &query, tables).await;
        if after > before + MORE {
            longer.push(format!("{name}: {before} pages before, and {after} after"));
        }
    }
    assert_eq!(longer, Vec::<String>::new());
}

/// GIVEN configurations without a replica identity, 1,000 publications of one table with 100
/// partitions, of a role with CREATE on the database alone, and as many of all tables, WHEN the
/// daemon looks at the publications, THEN it reads about as much as before.
#[tokio::test]
async fn s30_the_publications_of_a_stranger_make_no_look_longer() {
    const MADE: &str = "
        SET synchronous_commit = off; SET client_min_messages = error;
        CREATE SCHEMA pubs; CREATE TABLE pubs.root (a int) PARTITION BY LIST (a);
        DO $$ BEGIN
            FOR n IN 1..PUBLICATIONS / 10 LOOP
                EXECUTE format('CREATE TABLE pubs.r%s PARTITION OF pubs.root FOR VALUES IN (%s)', n,
                  n);
            END LOOP;
            FOR n IN 1..PUBLICATIONS LOOP
                EXECUTE format('CREATE PUBLICATION q%s FOR TABLE pubs.root', n);
            END LOOP;
        END $$";
    const OF_ALL: &str = "
        SET client_min_messages = error;
        DO $$ BEGIN
            FOR n IN 1..PUBLICATIONS LOOP
                EXECUTE format('CREATE PUBLICATION a%s FOR ALL TABLES', n);
            END LOOP;
        END $$";
    let platform = Platform::installed().await;
    let stranger = format!("stranger_{}", platform.name());
    let name = platform.value::<String>("SELECT current_database()").await;
    platform
        .run(&format!(
            "CREATE ROLE {stranger} LOGIN; GRANT CREATE ON DATABASE \"{name}\" TO {stranger};
             ALTER TABLE agent_configurations REPLICA IDENTITY NOTHING"
        ))
        .await;
    let client = platform.connect().await;
    client
        .batch_execute("SET search_path = pg_catalog, pg_temp; SET jit = off")
        .await
        .unwrap();
    let looks: Vec<_> = looks()
        .into_iter()
        .filter(|(name, ..)| name.contains("publications"))
        .collect();
    let mut before = Vec::new();
    for (_, query, tables) in &looks {
        before.push(pages(&client, query, *tables).await);
    }
    let (others, _) = connect(&platform.url_as(&stranger)).await;
    let made = |sql: &str| sql.replace("PUBLICATIONS", &PUBLICATIONS.to_string());
    others.batch_execute(&made(MADE)).await.unwrap();
    platform.run(&made(OF_ALL)).await;
    let mut longer = Vec::new();
    for ((name, query, tables), before) in looks.iter().zip(before) {
        let after = pages(&client, query, *tables).await;
        if after > before + MORE / 2 {
            longer.push(format!("{name}: {before} pages before, and {after} after"));
        }
    }
    assert_eq!(longer, Vec::<String>::new());
}
