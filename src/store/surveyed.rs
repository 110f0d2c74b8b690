//! Every agent with its configurations, and what is noted of it.

use tokio_postgres::{Error, Row};

use super::layout::{Agents, Layout};
use super::positions::mapped;
use super::{HEAVIEST, NotText, batch, queries};
use crate::key::Keys;
use crate::mapping::{Agent, Configuration};

/// The order of the survey, as values of the agent `a`: its key, in parts. An agent without tenant
/// comes after that with the tenant "".
fn order(agents: &Agents) -> String {
    let slug = agents.lookup("a");
    match &agents.tenant {
        Some(tenant) => {
            let tenant = tenant.text("a");
            format!("{slug}, coalesce({tenant}, '') COLLATE \"C\", {tenant} IS NULL")
        }
        None => slug,
    }
}

/// The condition that the agent `a` is behind (`>`) the key in `parameter`, or not behind it
/// (`<=`).
fn bound(agents: &Agents, comparison: &str, parameter: &str) -> String {
    let keys = agents.keys();
    if !keys.have_tenants() {
        return format!("{} {comparison} {parameter}::text", agents.lookup("a"));
    }
    let (of_bound, given) = (keys.tenant("k.key"), keys.slug("k.key"));
    format!(
        "({}) {comparison} (SELECT {given}, coalesce({of_bound}, '') COLLATE \"C\", \
        {of_bound} IS NULL FROM (SELECT {parameter}::text AS key) AS k)",
        order(agents)
    )
}

/// The last of the next `$2` keys after `$1` that can be sent, and are no longer than a slug may be
/// (G12), or else the first one behind these, null where there are none; from the first on, if `$1`
/// is null. And whether there are agents behind `$1`.
pub fn next_keys(layout: &Layout) -> String {
    let agents = &layout.agents;
    let (table, slug, key) = (&agents.table, agents.lookup("a"), agents.key("a"));
    let (after, order) = (bound(agents, ">", "$1"), order(agents));
    // A null slug is no key.
    let key = if agents.tenant.is_some() { key } else { slug };
    let sent = format!(
        "CASE WHEN octet_length({key}) <= {} THEN {} END",
        queries::LONGEST_SLUG,
        queries::sent(&key)
    );
    let behind = format!("FROM {table} a WHERE ($1::text IS NULL OR {after})");
    format!(
        "SELECT coalesce((array_agg(next.slug) FILTER (WHERE next.slug IS NOT NULL))
                           [count(next.slug)],
                         CASE WHEN count(*) = $2 THEN
                           (SELECT {sent} {behind} AND {sent} IS NOT NULL ORDER BY {order} LIMIT 1)
                         END),
                count(*) > 0
         FROM (SELECT {sent} AS slug {behind} ORDER BY {order} LIMIT $2) next"
    )
}

/// Which agents a survey is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// Those with these slugs, whatever their tenant.
    Slugs,
    /// The same, or, where tenants are set, those with this `tenant/slug`.
    Names,
    /// Those with these keys.
    Keys,
    /// Those of this tenant.
    Tenant,
}

/// The noted problem of the agent `a`: the columns, and the joins. Each problem is found by its
/// digest and by its key: the first is for an index, the other for a join by order.
fn noted_of(agents: &Agents) -> (&'static str, String) {
    let (slug, keys) = (agents.lookup("a"), agents.keys());
    if !keys.have_tenants() {
        return (
            "o.slug IS NOT NULL AS pending, p.kind, p.detail, p.sqlstate",
            format!(
                "LEFT JOIN (SELECT DISTINCT slug FROM agent_sync.outbox) o ON o.slug = {slug}
                 LEFT JOIN agent_sync.problem p ON p.slug = {slug} AND {}",
                keys.is("p", &slug)
            ),
        );
    }
    // A row without tenant is about the agents of every tenant.
    let (key, of_row, of_problem) = (agents.key("a"), keys.of_row("r"), keys.of_row("p"));
    (
        "o.slug IS NOT NULL OR every.slug IS NOT NULL AS pending, p.kind, p.detail, p.sqlstate",
        format!(
            "LEFT JOIN (SELECT DISTINCT {of_row} AS slug FROM agent_sync.outbox r) o
               ON o.slug = {key}
             LEFT JOIN (SELECT DISTINCT r.slug FROM agent_sync.outbox r
                        WHERE r.tenant IS NULL) every
               ON every.slug = {slug}::text
             LEFT JOIN agent_sync.problem p ON {of_problem} = {key} AND {}",
            keys.is("p", &key)
        ),
    )
}

/// The condition that the configuration `c` is for the agent `a`.
fn is_for(layout: &Layout) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let own_collation = if layout.collations_differ {
        " COLLATE \"C\""
    } else {
        ""
    };
    let same_slug = format!(
        "{} = {}{own_collation}",
        configurations.lookup("c"),
        agents.lookup("a")
    );
    let (Some(of), Some(to)) = (&agents.tenant, &configurations.tenant) else {
        return same_slug;
    };
    let same_tenant = if of.is_like(to) && !to.is_text() {
        format!("c.{} = a.{}", to.column.name, of.column.name)
    } else {
        format!("{} = {} COLLATE \"C\"", to.text("c"), of.text("a"))
    };
    format!("{same_slug} AND {same_tenant}")
}

/// The condition that the slug of the configuration `c` is between those of the keys `$2` and `$3`,
/// so that a join by order reads no other part of an index. None where the two tables have another
/// order.
fn within_bounds(layout: &Layout) -> String {
    if !layout.have_one_order() {
        return String::new();
    }
    let (slug, keys) = (layout.configurations.lookup("c"), layout.keys());
    format!(
        " AND ($2::text IS NULL OR {slug} >= {}) AND ($3::text IS NULL OR {slug} <= {})",
        keys.slug("$2::text"),
        keys.slug("$3::text"),
    )
}

/// The condition that the agent `a` is one of those that `$1` names.
fn is_named(agents: &Agents, named: Named) -> String {
    let (slug, key) = (agents.lookup("a"), agents.key("a"));
    match named {
        Named::Slugs => format!("{slug} = ANY ($1::text[])"),
        Named::Names => match &agents.tenant {
            None => format!("{slug} = ANY ($1::text[])"),
            Some(_) => format!(
                "({slug} = ANY ($1::text[]) OR {} = ANY ($1::text[]))",
                agents.plain_key("a")
            ),
        },
        Named::Keys if agents.tenant.is_none() => format!("{slug} = ANY ($1::text[])"),
        Named::Tenant => agents.tenant.as_ref().map_or_else(
            || "false".to_owned(),
            |tenant| tenant.is("a", "($1::text[])[1]"),
        ),
        // The second condition is for an index on the slug.
        Named::Keys => format!(
            "{key} = ANY ($1::text[]) AND {slug} = ANY (ARRAY(SELECT {} FROM unnest($1::text[]) AS \
            k (key)))",
            agents.keys().slug("k.key")
        ),
    }
}

/// The sources that a survey reads beside the two tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// The outbox and the problems; without, as if they were empty.
    pub can_read_notes: bool,
    /// The versions of the rows.
    pub versions: bool,
    /// The most that an agent and its configuration weigh together to be read, in bytes; without,
    /// each of their columns is weighed by itself.
    pub most: Option<u32>,
}

/// Whether the version of the agent `a` is younger than that of its configuration `c`, null where
/// that is not asked; and the version of the configuration.
///
/// The time of the commits decides where the server keeps it. Otherwise the order of the
/// transaction numbers does. They are given at the first write of a transaction, so an edit within
/// a longer transaction of another may count as later than that.
fn versions(read: Extent) -> &'static str {
    if !read.versions {
        return "NULL::boolean AS is_younger, NULL::text AS version";
    }
    "coalesce(CASE WHEN current_setting('track_commit_timestamp') = 'on'
        THEN pg_xact_commit_timestamp(a.xmin) >= pg_xact_commit_timestamp(c.xmin) END,
        age(a.xmin) <= age(c.xmin)) AS is_younger, c.xmin::text AS version"
}

/// The key of the agent `a` for a reader, and as it can be sent.
fn result_key(agents: &Agents) -> (String, String) {
    let key = match agents.keys() {
        Keys::Slugs => format!("a.{}::text", agents.slug.name),
        Keys::Tenants => agents.key("a"),
    };
    (queries::shown(&key), queries::sent(&key))
}

/// Every agent with its configurations, those of an agent together, in the order of the keys; of
/// those `named` by `$1` alone, of those after the key `$2` and of those up to `$3`, unless these
/// are null.
///
/// The columns are those of [`Surveyed`].
pub fn survey(layout: &Layout, read: Extent, named: Named) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let (own, key) = (&agents.slug.name, agents.key("a"));
    let versions = versions(read);
    let (said, from) = if read.can_read_notes {
        noted_of(agents)
    } else {
        (
            "false AS pending, NULL::text AS kind, NULL::text AS detail, NULL::text AS sqlstate",
            String::new(),
        )
    };
    let given = is_named(agents, named);
    let (after, upto) = (bound(agents, ">", "$2"), bound(agents, "<=", "$3"));
    let asked = format!(
        "($1::text[] IS NULL OR {given}) AND ($2::text IS NULL
              OR {after})
         AND ($3::text IS NULL OR {upto})"
    );
    // Where an index keeps keys apart, nobody has to count them.
    let (number, counting) = if agents.key_is_unique {
        ("1::int8", String::new())
    } else {
        let counted = format!(
            "LEFT JOIN (SELECT {key} AS slug, count(*) AS agents FROM {} a WHERE {asked}
                  GROUP BY 1) shared
                 ON shared.slug = {key}",
            agents.table
        );
        ("shared.agents", counted)
    };
    let (form, heavy) = match read.most {
        None => (
            queries::As::WeighedText,
            queries::heavy(agents, configurations),
        ),
        Some(most) => (
            queries::As::WeighedText,
            queries::heavier(agents, configurations, most),
        ),
    };
    let (result, is_sent) = result_key(agents);
    format!(
        "SELECT {result} AS slug, {is_sent} IS NOT NULL AS is_sent, {said}, {},
                c.ctid IS NOT NULL AS is_configured, {},
                {number} AS agents, heavy.weight, {versions}
         FROM {} a LEFT JOIN {} c ON {}{}
         {from} {counting} CROSS JOIN LATERAL {heavy}
         WHERE a.{own} IS NOT NULL AND {asked}
         ORDER BY {}, c.tableoid, c.ctid",
        queries::agent_columns(agents, form),
        queries::configuration_columns(configurations, form),
        agents.table,
        configurations.table,
        is_for(layout),
        within_bounds(layout),
        order(agents),
    )
}

/// How many configurations with a slug match no agent, and the first `$1` of their keys; of a
/// longer one than any may be, the beginning. Both tables are read once, and joined by order.
pub fn unmatched(layout: &Layout) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let begun = queries::beginning("u.key");
    format!(
        "WITH unmatched (key) AS MATERIALIZED (
             SELECT {} FROM {} c
             WHERE c.{} IS NOT NULL AND NOT EXISTS (SELECT FROM {} a WHERE {})
         )
         SELECT count(*), ARRAY(
             SELECT {} FROM unmatched u ORDER BY u.key LIMIT $1::int8)
         FROM unmatched",
        configurations.any_key("c"),
        configurations.table,
        configurations.agent_slug.name,
        agents.table,
        is_for(layout),
        queries::shown(&begun),
    )
}

/// One row of [`survey`]: an agent and at most one of its configurations.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// The key, for a reader: what is no text in it is replaced.
    pub key: String,
    /// Whether the key is the same after the way to UTF-8 and back.
    pub is_sent: bool,
    /// Whether it is in the outbox.
    pub pending: bool,
    /// The problem that is noted for it.
    pub noted: Option<Noted>,
    /// The agent, if its columns are text.
    pub agent: Result<Agent<'a>, NotText>,
    /// The configuration, unless there is none, if its columns are text.
    pub configuration: Option<Result<Configuration<'a>, NotText>>,
    /// How many agents have the key.
    pub agents: i64,
    /// The weight, at least, where that is too much: then none of the settings came, or nothing at
    /// all where [`Extent::most`] is set.
    pub weight: Option<f64>,
    /// Whether the version of the agent is younger than that of the configuration; `None` if that
    /// was not read, or there is no configuration.
    pub is_younger: Option<bool>,
    /// The version of the configuration, under the same conditions.
    pub version: Option<String>,
}

/// A problem as it is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Its kind, by its name in the table.
    pub kind: String,
    /// The reason.
    pub detail: String,
    /// Of a failed write.
    pub sqlstate: Option<String>,
}

impl<'a> Surveyed<'a> {
    /// Whether its contents did not come, and an agent is not rejected for that weight.
    pub fn is_unread(&self) -> bool {
        let weight = self.weight.unwrap_or_default();
        weight > 0.0 && weight <= f64::from(HEAVIEST)
    }

    /// Reads a row.
    pub fn of(row: &'a Row) -> Result<Self, Error> {
        let kind: Option<String> = row.try_get("kind")?;
        let noted = match kind {
            Some(kind) => Some(Noted {
                kind,
                detail: row.try_get("detail")?,
                sqlstate: row.try_get("sqlstate")?,
            }),
            None => None,
        };
        let configuration = if row.try_get("is_configured")? {
            Some(batch::columns(row, &mapped(row.columns()))?)
        } else {
            None
        };
        let agent = batch::columns(row, &mapped(row.columns()))?;
        let (key, agents) = (batch::lossy(row, "slug")?, row.try_get("agents")?);
        let weight = row.try_get("weight")?;
        Ok(Self {
            key,
            is_sent: row.try_get("is_sent")?,
            pending: row.try_get("pending")?,
            noted,
            agent,
            configuration,
            agents,
            weight,
            is_younger: row.try_get("is_younger")?,
            version: row.try_get("version")?,
        })
    }
}
