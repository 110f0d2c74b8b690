//! The tables of a storm of partitions: both are divided by the hash of the slug, so a rename moves
//! an agent from one partition to another.
//!
//! A partition goes and comes back (`DETACH PARTITION`, `ATTACH PARTITION`). Meanwhile its rows are
//! in no table of the platform, and a change of them fires no trigger.

use std::fmt::Write as _;

use fastrand::Rng;

use super::nemesis::try_within;
use super::world::World;

/// The partitions of each table.
const PARTITIONS: u32 = 4;

/// The table with a partition that goes and comes, its slug, and a column that agent-sync reads or
/// writes.
pub type Divided = (&'static str, &'static str, &'static str);

pub const AGENTS: Divided = ("agents", "slug", "name");
pub const CONFIGURATIONS: Divided = ("agent_configurations", "agent_slug", "agent_name");

/// The statements for the tables of the platform, divided. A primary key would need the slug.
pub fn divided(tables: &str) -> String {
    let mut statements = tables.replace("uuid PRIMARY KEY", "uuid NOT NULL");
    for (ending, slug) in [("now()\n);", "slug"), ("'2020-01-01'\n);", "agent_slug")] {
        assert!(statements.contains(ending), "{statements}");
        let whole = ending.replace(");", &format!(") PARTITION BY HASH ({slug});"));
        statements = statements.replace(ending, &whole);
    }
    for (table, ..) in [AGENTS, CONFIGURATIONS] {
        for number in 0..PARTITIONS {
            write!(
                statements,
                "; CREATE TABLE {table}_{number} PARTITION OF {table}
                   FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )
            .unwrap();
        }
    }
    statements
}

/// Detaches a partition, and changes some of its rows.
pub async fn detach(world: &mut World, rng: &mut Rng, (table, slug, column): Divided) {
    let part = format!("{table}_{}", rng.u32(..PARTITIONS));
    let apart = rng.u32(..);
    let sql = format!(
        "ALTER TABLE {table} DETACH PARTITION {part};
         UPDATE {part} SET {column} = 'apart {apart}' WHERE {slug} LIKE 'agent-%'"
    );
    // Longer than the transactions of the writers.
    try_within(world, "500ms", &sql).await;
}

/// Attaches every partition that is detached, if there are partitions.
pub fn attach() -> String {
    format!(
        "DO $$
         DECLARE
             part text;
             number int;
         BEGIN
             FOR part, number IN
                 SELECT t, n FROM unnest(ARRAY['agents', 'agent_configurations']) AS t,
                   generate_series(0, {PARTITIONS} - 1) AS n
                 WHERE to_regclass(format('%s_%s', t, n)) IS NOT NULL
                   AND NOT EXISTS (SELECT FROM pg_inherits i
                                   WHERE i.inhrelid = to_regclass(format('%s_%s', t, n)))
             LOOP
                 EXECUTE format('ALTER TABLE %1$s ATTACH PARTITION %1$s_%2$s
                     FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER %2$s)', part, number);
             END LOOP;
         END $$"
    )
}
