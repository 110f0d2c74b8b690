//! Slugs that a writer chooses against the statements that join tables as a whole: with one hash
//! value, or where the planner takes a table for almost empty. No such cost grows with the square
//! of the number of agents (S34).

use agent_sync::store::surveyed::{self, Extent, Named};
use agent_sync::store::{Layout, queries};
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
    let statement = ["$1", "$2", "$3"].iter().fold(
        agent_sync::pg::without_sent(statement).into_owned(),
        |sql, parameter| sql.replace(parameter, "NULL"),
    );
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
