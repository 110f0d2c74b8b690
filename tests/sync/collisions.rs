//! Slugs that a writer chooses, with one hash value: against the statements that join tables as a
//! whole, also where the planner takes a table for almost empty, and against the lookup of single
//! problems. No cost grows with the square of the number of agents (S34).

use agent_sync::key::Keys;
use agent_sync::pg::without_sent;
use agent_sync::store::surveyed::{self, Extent, Named};
use agent_sync::store::{Layout, enqueue, queries, report};
use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

use crate::support::Platform;

/// The rows of each table.
const ROWS: u32 = 3000;

/// The nodes of a plan that compare with all rows of one hash value.
const BY_HASH: [&str; 4] = ["Hash", "Hash Join", "Memoize", "SetOp"];

/// What is wrong with a plan, in this node or below it. `repeated`: whether it runs for each row of
/// another one.
fn faults(node: &Value, repeated: bool, found: &mut Vec<String>) {
    let text = |name: &str| node[name].as_str().unwrap_or_default();
    let kind = text("Node Type");
    let is_hashed = match kind {
        "SetOp" | "Aggregate" => text("Strategy") == "Hashed",
        _ => BY_HASH.contains(&kind),
    };
    if is_hashed {
        found.push(format!("{kind} by hash"));
    }
    let is_whole = node["Index Cond"].is_null() && node["Recheck Cond"].is_null();
    let is_bitmap = kind == "Bitmap Heap Scan";
    let is_scan = matches!(kind, "Seq Scan" | "Index Scan" | "Index Only Scan") || is_bitmap;
    if repeated && is_scan && is_whole {
        found.push(format!("{kind} of {} for each row", text("Relation Name")));
    }
    if !node["Hash Cond"].is_null() || node.to_string().contains("hashed SubPlan") {
        found.push("a hashed subquery".to_owned());
    }
    for below in node["Plans"].as_array().into_iter().flatten() {
        let relation = below["Parent Relationship"].as_str().unwrap_or_default();
        let is_inner = kind == "Nested Loop" && relation == "Inner";
        faults(
            below,
            relation != "InitPlan" && (repeated || is_inner || relation == "SubPlan"),
            found,
        );
    }
}

/// Plans a statement with these settings, and with null for its parameters.
async fn planned(platform: &Platform, settings: &str, statement: &str) -> Option<String> {
    let statement = ["$1", "$2", "$3"]
        .iter()
        .fold(without_sent(statement).into_owned(), |sql, parameter| {
            sql.replace(parameter, "NULL")
        });
    platform.run(&format!("BEGIN; {settings}")).await;
    let explain = format!("EXPLAIN (FORMAT JSON, COSTS OFF) {statement}");
    let answer = platform.client.simple_query(&explain).await.unwrap();
    let plan = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: Value = serde_json::from_str(plan.unwrap()).unwrap();
    platform.run("ROLLBACK").await;
    let mut found = Vec::new();
    faults(&plan[0]["Plan"], false, &mut found);
    let explain = format!("EXPLAIN {statement}");
    platform.run(&format!("BEGIN; {settings}")).await;
    let shown = platform.client.query(&explain, &[]).await.unwrap();
    platform.run("ROLLBACK").await;
    let shown: Vec<String> = shown.iter().map(|row| row.get(0)).collect();
    (!found.is_empty()).then(|| format!("{found:?}\n{statement}\n{}", shown.join("\n")))
}

/// Fills the tables: the server takes the outbox for empty, because a vacuum has found it so, and
/// the agents and problems for a few rows.
async fn filled(platform: &Platform, tenant: &str) {
    let (column, value) = if tenant.is_empty() {
        ("", "")
    } else {
        ("client_id, ", "'t' || i, ")
    };
    let of_ours = column.replace("client_id", "tenant");
    platform
        .run(&format!(
            "ALTER TABLE agent_sync.problem SET (autovacuum_enabled = off);
             ALTER TABLE agents SET (autovacuum_enabled = off);
             ALTER TABLE agent_sync.outbox SET (autovacuum_enabled = off);
             INSERT INTO agents ({column}slug, name) SELECT {value}'a' || i, 'n'
               FROM generate_series(1, {ROWS}) i;
             INSERT INTO agent_sync.problem ({of_ours}slug, kind, detail)
               SELECT {value}'p' || i, k.kind, 'd' FROM generate_series(1, {ROWS}) i,
                 LATERAL (SELECT (ARRAY['missing_configuration', 'ambiguous', 'failed'])
                                 [i % 3 + 1] AS kind) k"
        ))
        .await;
    platform
        .run(
            "DELETE FROM agent_sync.outbox; DELETE FROM agents WHERE slug <> 'a3000'; DELETE FROM \
            agent_sync.problem WHERE slug <> 'p3000'",
        )
        .await;
    for table in ["agents", "agent_sync.problem", "agent_sync.outbox"] {
        let vacuum = format!("VACUUM (ANALYZE, TRUNCATE off) {table}");
        platform.run(&vacuum).await;
    }
    platform
        .run(&format!(
            "INSERT INTO agents ({column}slug, name) SELECT {value}'b' || i, 'n'
               FROM generate_series(1, {ROWS}) i;
             INSERT INTO agent_sync.problem ({of_ours}slug, kind, detail)
               SELECT {value}'q' || i, k.kind, 'd' FROM generate_series(1, {ROWS}) i,
                 LATERAL (SELECT (ARRAY['missing_configuration', 'ambiguous', 'failed'])
                                 [i % 3 + 1] AS kind) k"
        ))
        .await;
}

/// Plans each statement that joins tables as a whole.
async fn every_statement(platform: &Platform, layout: &Layout) -> Vec<String> {
    let mut faults = Vec::new();
    for (settings, look) in queries::looks(layout) {
        faults.extend(planned(platform, settings, &look).await);
    }
    let absent = queries::enqueue_absent(layout);
    faults.extend(planned(platform, queries::WHOLE_TABLES, &absent).await);
    let unmatched = surveyed::unmatched(layout);
    faults.extend(planned(platform, queries::WHOLE_TABLES, &unmatched).await);
    let noted = Extent {
        can_read_notes: true,
        versions: true,
        most: None,
    };
    let survey = surveyed::survey(layout, noted, Named::Keys);
    faults.extend(planned(platform, queries::WHOLE_TABLES, &survey).await);
    faults
}

/// GIVEN tables of thousands of rows that the server takes for almost empty, WHEN it plans the
/// statements that join them as a whole, THEN it joins none by hash, and reads none as a whole for
/// each row of another, whatever indexes there are.
#[tokio::test]
async fn s34_no_statement_of_whole_tables_joins_by_hash_or_row_by_row() {
    for tenant in ["", "text"] {
        let platform = if tenant.is_empty() {
            Platform::new().await
        } else {
            Platform::with_tenants(tenant).await
        };
        platform.install();
        filled(&platform, tenant).await;
        let faults = every_statement(&platform, &platform.layout().await).await;
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
        platform
            .run(
                "DO $$ DECLARE index record; BEGIN
                     FOR index IN SELECT c.conname, c.conrelid::regclass AS of FROM pg_constraint c
                       WHERE c.contype = 'u' AND c.conrelid = 'agents'::regclass
                     LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', index.of,
                       index.conname); END LOOP;
                     FOR index IN SELECT i.indexrelid::regclass AS name FROM pg_index i
                       WHERE i.indrelid IN ('agents'::regclass, 'agent_configurations'::regclass)
                         AND NOT i.indisprimary
                     LOOP EXECUTE format('DROP INDEX %s', index.name); END LOOP;
                 END $$",
            )
            .await;
        let faults = every_statement(&platform, &platform.layout().await).await;
        assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    }
}

/// The settings of the planner for batches.
const FOR_BATCHES: &str = "SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL \
    enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL enable_mergejoin = off;";

/// Adds the next 12 bytes to the state of PostgreSQL's hash function for text (`hash_bytes`), and
/// mixes it.
fn mixed([a, b, c]: [u32; 3], bytes: &[u8]) -> [u32; 3] {
    let words = words(bytes);
    let (mut a, mut b, mut c) = (
        a.wrapping_add(words[0]),
        b.wrapping_add(words[1]),
        c.wrapping_add(words[2]),
    );
    for turn in [4, 6, 8, 16, 19, 4] {
        a = a.wrapping_sub(c) ^ c.rotate_left(turn);
        c = c.wrapping_add(b);
        (a, b, c) = (b, c, a);
    }
    [a, b, c]
}

fn words(bytes: &[u8]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// Texts of 24 bytes with this beginning of two bytes and one hash value: the second half of each
/// leads to the same state of the hash function, whatever the first half is.
fn of_one_hash(beginning: &str, number: usize) -> Vec<String> {
    let start = 0x9e37_79b9_u32.wrapping_add(24).wrapping_add(3_923_095);
    let of_all = mixed([start; 3], b"any 12 bytes");
    (0_u64..)
        .filter_map(|i| {
            let mut text = format!("{beginning}{i:010}").into_bytes();
            let state = mixed([start; 3], &text);
            for (word, of_all) in state.into_iter().zip(of_all) {
                text.extend(of_all.wrapping_sub(word).to_le_bytes());
            }
            let is_plain = |byte: &u8| matches!(byte, 1..128) && !b"'\\/%".contains(byte);
            let is_text = text[12..].iter().all(is_plain);
            is_text.then(|| String::from_utf8(text).unwrap())
        })
        .take(number)
        .collect()
}

/// The most pages that a node of the plan reads with those below it.
fn pages(node: &Value) -> u64 {
    let count = |name: &str| node[name].as_u64().unwrap_or_default();
    let own = count("Shared Hit Blocks") + count("Shared Read Blocks");
    let below = node["Plans"].as_array().into_iter().flatten().map(pages);
    below.fold(own, u64::max)
}

/// Executes a statement with these arguments, and takes it back: the plan and the pages.
async fn executed(
    platform: &Platform,
    settings: &str,
    statement: &str,
    arguments: &str,
) -> (u64, Value) {
    let answer = platform
        .client
        .simple_query(&format!(
            "BEGIN; {settings}; PREPARE one AS {}; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, COSTS \
            off, TIMING off) EXECUTE one{arguments}; DEALLOCATE one; ROLLBACK",
            without_sent(statement)
        ))
        .await
        .unwrap_or_else(|error| panic!("{error:?}\n{statement}"));
    let plan = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: Value = serde_json::from_str(plan.unwrap()).unwrap();
    (pages(&plan[0]["Plan"]), plan)
}

/// The statements that look up single problems, with their settings and arguments: of a key that
/// has a problem and, where they differ, of one that has none.
fn lookups(
    layout: &Layout,
    [known, new]: [&str; 2],
    row: (&str, &str),
) -> Vec<(&'static str, String, String)> {
    let (keys, (place, version)) = (layout.keys(), row);
    let note = |key| {
        format!(
            "(ARRAY['{key}'], '{{rejected}}', '{{other}}', '{{NULL}}', '{{false}}', '{{false}}')"
        )
    };
    let taken = format!("('{{\"{place}\"}}', '{{{version}}}')");
    let noted = Extent {
        can_read_notes: true,
        ..Extent::default()
    };
    let slug = &known[known.len() - 22..];
    let (named, of_canary) = match keys {
        Keys::Slugs => (format!("(ARRAY['{known}'])"), known),
        Keys::Tenants => (format!("(ARRAY['{known}'], ARRAY['{slug}'])"), slug),
    };
    let mut all = vec![
        (FOR_BATCHES, queries::note_problems(keys), note(known)),
        (FOR_BATCHES, queries::note_problems(keys), note(new)),
        (
            FOR_BATCHES,
            queries::clear_problems(keys),
            format!("(ARRAY['{known}'])"),
        ),
        (
            FOR_BATCHES,
            queries::set_aside_not_text(keys),
            taken.clone(),
        ),
        (FOR_BATCHES, queries::forget_not_text(keys), taken),
        (
            FOR_BATCHES,
            queries::note_suspect(keys),
            "('(0,0)', '57014', 3)".to_owned(),
        ),
        (
            FOR_BATCHES,
            queries::claim(layout),
            "('(0,0)', 500, 1e9, '{}')".to_owned(),
        ),
        (FOR_BATCHES, queries::enqueue_known(layout), named),
        ("", report::problem_of(keys), format!("('{known}')")),
        ("", enqueue::forget_canary(), format!("('{of_canary}')")),
        (
            "",
            "SELECT agent_sync.in_sync($1)".to_owned(),
            format!("('{of_canary}')"),
        ),
        (
            queries::NAMED_ROWS,
            surveyed::survey(layout, noted, Named::Keys),
            format!("(ARRAY['{known}'], NULL, NULL)"),
        ),
    ];
    if let Some(of_tenants) = queries::enqueue_tenants(layout) {
        all.push((FOR_BATCHES, of_tenants, format!("(ARRAY['{slug}'])")));
    }
    all
}

/// GIVEN problems of very many keys with one hash value, WHEN the problem of a key is looked up,
/// noted or cleared, THEN few of them are read.
#[tokio::test]
async fn s34_problems_of_one_hash_value_are_not_all_read() {
    let number = 2000;
    for (tenant, beginning) in [("", "s-"), ("text", "t/")] {
        let platform = if tenant.is_empty() {
            Platform::new().await
        } else {
            Platform::with_tenants(tenant).await
        };
        platform.install();
        let keys = of_one_hash(beginning, number + 1);
        let one = "SELECT count(DISTINCT pg_catalog.hashtext(k)) = 1 AND count(DISTINCT k) = \
            count(*) FROM unnest($1::text[]) AS k";
        let one = platform.client.query_one(one, &[&keys]).await.unwrap();
        assert!(one.get::<_, bool>(0));
        let (agents, problems, value) = if tenant.is_empty() {
            ("slug", "slug", "k")
        } else {
            ("client_id, slug", "tenant, slug", "'t', substr(k, 3)")
        };
        for insert in [
            format!(
                "INSERT INTO agents ({agents}) SELECT {value} FROM unnest($1::text[]) k LIMIT 1"
            ),
            format!(
                "INSERT INTO agent_sync.problem ({problems}, kind, detail)
                 SELECT {value}, 'rejected', repeat('d', 1000) FROM unnest($1::text[]) k
                 LIMIT {number}"
            ),
        ] {
            platform.client.execute(&insert, &[&keys]).await.unwrap();
        }
        platform.run("ANALYZE agent_sync.problem").await;
        let row = "SELECT ctid::text, xmin::text FROM agent_sync.outbox WHERE slug <> ''";
        let row = platform.client.query_one(row, &[]).await.unwrap();
        let layout = platform.layout().await;
        let of_key = lookups(&layout, [&keys[0], &keys[number]], (row.get(0), row.get(1)));
        for (settings, statement, arguments) in of_key {
            let (pages, plan) = executed(&platform, settings, &statement, &arguments).await;
            assert!(pages < 100, "{pages} pages: {statement}\n{plan:#}");
        }
    }
}
