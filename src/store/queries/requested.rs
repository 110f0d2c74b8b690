//! The agents that others name: by a request, which any role may send (I7, S8), and by a row of the
//! outbox without tenant.
//!
//! The cost is that of the names where indexes serve, and else that of one read of the table, in
//! which each row is looked up among the names by hash. No row is compared with every name.

use crate::key::Keys;
use crate::store::layout::{Agents, Layout};

/// The most agents and problems that a request enters into the outbox.
pub const MOST_REQUESTED: i64 = 2000;

/// Puts those of the requested keys `$1` into the outbox that have an agent or a problem, and,
/// where tenants are set, those of every tenant with one of the slugs `$2`, which include each
/// `tenant/slug` as it was requested. Gives the number that it has found: more than
/// [`MOST_REQUESTED`] if it has left out some.
pub fn enqueue_known(layout: &Layout) -> String {
    let (agents, keys) = (&layout.agents, layout.keys());
    let (names, own) = (keys.names(), keys.is_one_of("p", "$1"));
    let found = if agents.names_are_indexed() {
        by_index(agents)
    } else {
        by_reading(agents)
    };
    let problem = format!(
        "SELECT {} FROM agent_sync.problem p WHERE",
        keys.exact_columns("p")
    );
    let of_every_tenant = match keys {
        Keys::Slugs => String::new(),
        Keys::Tenants => format!("UNION ALL {problem} {}", Keys::Slugs.is_one_of("p", "$2")),
    };
    format!(
        "WITH found AS MATERIALIZED (
             {found}
             UNION ALL {problem} {own}
             {of_every_tenant}
             LIMIT {MOST_REQUESTED} + 1
         ), entered AS (
             INSERT INTO agent_sync.outbox ({names}) SELECT DISTINCT {names} FROM found)
         SELECT count(*) FROM found"
    )
}

/// Finds each key, and each slug, by an index.
fn by_index(agents: &Agents) -> String {
    let (table, columns, keys) = (&agents.table, exact_columns(agents), agents.keys());
    let (tenant, slug) = keys.parts_of("given");
    let by_key = format!(
        "SELECT one.* FROM {} CROSS JOIN LATERAL (
             SELECT {columns} FROM {table} a WHERE {} LIMIT 1) AS one",
        keys.given(),
        agents.is("a", &tenant, &slug)
    );
    match keys {
        Keys::Slugs => by_key,
        Keys::Tenants => format!(
            "{by_key} UNION ALL {}",
            by_slug(agents, "$2", &format!("LIMIT {MOST_REQUESTED} + 1"))
        ),
    }
}

/// Reads the table once.
fn by_reading(agents: &Agents) -> String {
    let (table, columns) = (&agents.table, exact_columns(agents));
    let is_one = match agents.keys() {
        Keys::Slugs => format!("{} IN ({})", agents.lookup("a"), texts("$1")),
        Keys::Tenants => format!(
            "({0} IN ({2}) OR {1} IN ({2}))",
            agents.lookup("a"),
            agents.plain_key("a"),
            texts("$2")
        ),
    };
    format!("SELECT {columns} FROM {table} a WHERE {is_one}")
}

/// The agents with one of the slugs in `parameter`, each slug with this ending of its look-up: by
/// an index on the slug, or else by one read of the table.
fn by_slug(agents: &Agents, parameter: &str, ending: &str) -> String {
    let (table, columns, slugs) = (&agents.table, exact_columns(agents), texts(parameter));
    if agents.slug_is_indexed {
        let is = agents.has_slug("a", "u.slug");
        // The ending keeps the planner from a join that reads the table.
        return format!(
            "SELECT one.* FROM ({slugs}) AS u (slug) CROSS JOIN LATERAL (
                 SELECT {columns} FROM {table} a WHERE {is} {ending}) AS one"
        );
    }
    let slug = agents.lookup("a");
    format!("SELECT {columns} FROM {table} a WHERE {slug} IN ({slugs})")
}

/// Puts every tenant's agent with one of the slugs `$1` into the outbox, and every such problem:
/// what a key without tenant is about.
pub fn enqueue_tenants(layout: &Layout) -> Option<String> {
    layout.agents.tenant.as_ref()?;
    let columns = Keys::Tenants.exact_columns("p");
    Some(format!(
        "INSERT INTO agent_sync.outbox (tenant, slug)
         SELECT DISTINCT f.tenant, f.slug
         FROM ({} UNION ALL SELECT {columns} FROM agent_sync.problem p
               WHERE {}) AS f
         WHERE f.tenant IS NOT NULL",
        by_slug(&layout.agents, "$1", "OFFSET 0"),
        Keys::Slugs.is_one_of("p", "$1")
    ))
}

/// The texts in a parameter.
fn texts(parameter: &str) -> String {
    format!("SELECT u.text FROM unnest({parameter}::text[]) AS u (text)")
}

/// The key of the agent `a` in the columns of the outbox, byte by byte.
pub(super) fn exact_columns(agents: &Agents) -> String {
    let slug = format!("a.{}::text COLLATE \"C\" AS slug", agents.slug.name);
    match &agents.tenant {
        Some(tenant) => format!("{} AS tenant, {slug}", tenant.text("a")),
        None => slug,
    }
}
