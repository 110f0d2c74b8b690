//! Every agent with its configurations, and what is noted of it.

use tokio_postgres::{Error, Row};

use super::layout::Layout;
use super::{NotText, batch, queries};
use crate::mapping::{Agent, Configuration};

/// The last of the next `$2` slugs after `$1`, null where there are none; from the first on, if
/// `$1` is null.
pub fn next_slugs(layout: &Layout) -> String {
    let (table, slug) = (&layout.agents.table, layout.agents.lookup("a"));
    format!(
        "SELECT (array_agg(next.slug))[count(*)]
         FROM (SELECT {slug} AS slug FROM {table} a WHERE $1::text IS NULL OR {slug} > $1::text
           ORDER BY 1 LIMIT $2) next"
    )
}

/// Every agent with its configurations, those of an agent together, in the order of the slugs; of
/// the slugs `$1` alone, of those after `$2` and of those up to `$3`, unless these are null. With
/// `noted`, what the outbox and the problems say of it; without, as if they were empty.
///
/// The columns are those of [`Surveyed`].
pub fn survey(layout: &Layout, noted: bool) -> String {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let (slug, of, own) = (
        agents.lookup("a"),
        configurations.lookup("c"),
        &agents.slug.name,
    );
    let (said, from) = if noted {
        (
            "o.slug IS NOT NULL AS pending, p.kind, p.detail, p.sqlstate",
            format!(
                "LEFT JOIN (SELECT DISTINCT slug FROM agent_sync.outbox) o ON o.slug = {slug}
                 LEFT JOIN agent_sync.problem p ON p.slug = {slug}"
            ),
        )
    } else {
        (
            "false AS pending, NULL::text AS kind, NULL::text AS detail, NULL::text AS sqlstate",
            String::new(),
        )
    };
    let own_collation = if layout.collations_differ {
        " COLLATE \"C\""
    } else {
        ""
    };
    let asked = format!(
        "($1::text[] IS NULL OR {slug} = ANY ($1::text[])) AND ($2::text IS NULL
              OR {slug} > $2::text)
         AND ($3::text IS NULL OR {slug} <= $3::text)"
    );
    // Where an index keeps slugs apart, nobody has to count them.
    let (number, counting) = if agents.slug_is_unique {
        ("1::int8", String::new())
    } else {
        let counted = format!(
            "LEFT JOIN (SELECT {slug} AS slug, count(*) AS agents FROM {} a WHERE {asked}
                  GROUP BY 1) shared
                 ON shared.slug = {slug}",
            agents.table
        );
        ("shared.agents", counted)
    };
    format!(
        "SELECT a.{own}::text AS slug, {said}, {}, c.ctid IS NOT NULL AS is_configured, {},
                {number} AS agents, heavy.weight
         FROM {} a LEFT JOIN {} c ON {of} = {slug}{own_collation}
         {from} {counting} CROSS JOIN LATERAL {}
         WHERE a.{own} IS NOT NULL AND {asked}
         ORDER BY {slug}, c.tableoid, c.ctid",
        queries::agent_columns(agents, queries::As::BoundedText),
        queries::configuration_columns(configurations, queries::As::BoundedText),
        agents.table,
        configurations.table,
        queries::heavy(agents, configurations),
    )
}

/// One row of [`survey`]: an agent and at most one of its configurations.
#[derive(Debug)]
pub struct Surveyed<'a> {
    /// The slug, for a reader: what is no text in it is replaced.
    pub slug: String,
    /// Whether it is in the outbox.
    pub pending: bool,
    /// The problem that is noted for it.
    pub noted: Option<Noted>,
    /// The agent, if its columns are text.
    pub agent: Result<Agent<'a>, NotText>,
    /// The configuration, unless there is none, if its columns are text.
    pub configuration: Option<Result<Configuration<'a>, NotText>>,
    /// How many agents have the slug.
    pub agents: i64,
    /// What the settings weigh at least, where that is too much: then none of them came.
    pub weight: Option<f64>,
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
            Some(batch::columns(row)?)
        } else {
            None
        };
        let agent = batch::columns(row)?;
        let (slug, agents) = (batch::lossy(row, "slug")?, row.try_get("agents")?);
        let weight = row.try_get("weight")?;
        Ok(Self {
            slug,
            pending: row.try_get("pending")?,
            noted,
            agent,
            configuration,
            agents,
            weight,
        })
    }
}
