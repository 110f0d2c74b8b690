//! The layout of the two tables in this database (T3), read from the catalog.
//!
//! A column that does not exist is left out of every query and of the mapping. Types are
//! PostgreSQL's own names for them, so that text parameters can be cast to the type of the column
//! that they are for.

use postgres_types::Type;

use super::finding::Finding;
use super::queries;
use super::remedy::Remedies;
use crate::columns::{Column, MappedColumn, Per, PerAgentColumn, PerColumn};
use crate::mapping::{NumberColumn, Rules, Targets};
use crate::pg::identifier::{Quoted, plain};
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::{AgentsTable, ConfigurationsTable};

/// One column that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlColumn {
    /// The name, quoted.
    pub name: String,
    /// Its type for a reader.
    pub sql_type: String,
    /// Its type for a cast, quoted and with its schema: under a domain the type that it is stored
    /// as, and without length or scale. For a cast to `varchar(20)`, or to a domain over it, cuts
    /// off silently, and an assignment does not.
    pub cast: String,
}

impl SqlColumn {
    /// Whether it is `jsonb`, or a domain over it.
    pub fn is_jsonb(&self) -> bool {
        self.cast == "pg_catalog.jsonb"
    }
}

/// How rows are looked up by their slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lookup {
    /// By the column, so that an index of it serves.
    Column,
    /// By its text, since it is of another type.
    Text,
    /// By its value past every index: the order of the indexes is not the order of the collation
    /// any more.
    PastIndexes,
    /// Byte for byte, since its collation takes different texts for equal, and different texts are
    /// different agents (G13).
    Bytes,
}

impl Lookup {
    fn sql(self, alias: &str, column: &SqlColumn) -> String {
        let column = &column.name;
        match self {
            Self::Column => format!("{alias}.{column}"),
            Self::Text => format!("{alias}.{column}::text"),
            Self::PastIndexes => format!("(ARRAY[{alias}.{column}])[1]"),
            Self::Bytes => format!("({alias}.{column} COLLATE \"C\")"),
        }
    }
}

/// The table of the agents.
#[derive(Debug, Clone)]
pub struct Agents {
    /// Schema and name, quoted.
    pub table: String,
    /// The slug column.
    pub slug: SqlColumn,
    /// Whether an index finds it.
    pub slug_is_indexed: bool,
    /// Whether a unique index keeps it from being met twice (T5).
    pub slug_is_unique: bool,
    lookup: Lookup,
    /// The mapped columns that exist.
    pub columns: PerAgentColumn<Option<SqlColumn>>,
}

/// The table of the configurations.
#[derive(Debug, Clone)]
pub struct Configurations {
    /// Schema and name, quoted.
    pub table: String,
    /// The column with the slug of the agent.
    pub agent_slug: SqlColumn,
    /// Whether an index finds it. If not, a lookup of slugs scans the table (T2).
    pub agent_slug_is_indexed: bool,
    lookup: Lookup,
    /// Whether it has partitions or children, so that a row's place is only unique together with
    /// its relation.
    pub has_children: bool,
    /// Whether it is partitioned, so that an update may be a delete and an insert to its triggers.
    pub is_partitioned: bool,
    /// The primary key, as far as the role may read it; quoted.
    pub key: Vec<String>,
    /// The mapped columns that exist and can be written.
    pub columns: PerColumn<Option<SqlColumn>>,
    /// The columns that take the clock of the transaction.
    pub clocks: Vec<SqlColumn>,
}

impl Agents {
    /// The slug of the row called `alias` as it is compared with other text: an index serves where
    /// there is one that tells the truth, and none is asked where it may not.
    pub fn lookup(&self, alias: &str) -> String {
        self.lookup.sql(alias, &self.slug)
    }
}

impl Configurations {
    /// The same for the slug of the agent that a configuration is for.
    pub fn lookup(&self, alias: &str) -> String {
        self.lookup.sql(alias, &self.agent_slug)
    }

    /// This slug byte by byte, whatever the column has become since its type and its collation were
    /// looked at. Every name is qualified.
    pub fn exact(&self, alias: &str) -> String {
        format!(
            "{alias}.{}::pg_catalog.text COLLATE pg_catalog.\"C\"",
            self.agent_slug.name
        )
    }
}

/// Both tables, and the columns that are missing.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The table of the agents.
    pub agents: Agents,
    /// The table of the configurations.
    pub configurations: Configurations,
    /// The existing target columns, for the mapping.
    pub targets: Targets,
    /// Whether the two slugs have different collations, so that a comparison needs a COLLATE
    /// clause.
    pub collations_differ: bool,
    /// The version of the catalog rows behind it: see [`queries::layout_version`].
    pub version: String,
    /// The optional columns that do not exist (T3), as `table.column`.
    pub missing: Vec<String>,
    /// In which tables no index finds a slug, or none keeps slugs apart; and what is left out for
    /// its type.
    pub scans: Vec<Finding>,
    /// The remedies for an agent that is not in sync.
    pub remedies: Remedies,
}

/// Why the tables cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The catalog could not be read.
    #[error("could not read the catalog: {0}")]
    Store(#[from] QueryError),
    /// A table is not there, or not visible to the role.
    #[error("expected the table {table}, and this database has none that this role can see")]
    NoTable {
        /// Schema and name.
        table: String,
    },
    /// The name is that of a view or of a foreign table, on which no trigger sees a change.
    #[error("expected a table {table}, and it is a {kind}")]
    NotATable {
        /// Schema and name.
        table: String,
        /// What it is.
        kind: String,
    },
    /// A required column is not there.
    #[error("expected a column {column} in the table {table}, and it has none")]
    NoColumn {
        /// Schema and name.
        table: String,
        /// The column's name.
        column: String,
    },
    /// PostgreSQL computes the required column, so nothing can be written to it.
    #[error("the column {column} is GENERATED, so PostgreSQL refuses every write of it")]
    Generated {
        /// Schema, table and column.
        column: String,
    },
    /// Slugs of this type cannot be compared as text (T7).
    #[error(
        "the slug column {column} has the type {of_type}; agent-sync needs text, varchar, char, \
        citext or a domain over one of them"
    )]
    SlugType {
        /// Schema, table and column.
        column: String,
        /// Its type.
        of_type: String,
    },
}

impl LayoutError {
    /// The remedy.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Store(error) => error.remedy(),
            Self::NoTable { .. } | Self::NoColumn { .. } => {
                "Check the names of tables and columns in the settings of this database."
            }
            Self::NotATable { .. } => {
                "Triggers see changes of tables only: name the table behind it in the settings of \
                this database (agents, configurations), or give the table its name back; then run \
                `agent-sync install`."
            }
            Self::Generated { .. } => {
                "Name another column in the settings of this database, or make it an ordinary one: \
                ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION."
            }
            Self::SlugType { .. } => {
                "Name a column of such a type in the settings of this database \
                (agents.columns.slug, configurations.columns.agent_slug), or change its type to \
                text."
            }
        }
    }
}

/// The columns of a table, their types by name and by length, whether one can be written, whether
/// it is indexed, and whether it is of a primary key that can be read; then its collation, if the
/// library orders text otherwise than when the collation was made: its name, none for that of the
/// database, and the two versions; whether it is unique by itself; and whether its type holds slugs
/// (T7; `sql/attach.sql` has the same types); whether its collation takes different texts for
/// equal, and which it is; and its type as [`SqlColumn::cast`] has it. Those of the primary key
/// come first, in its order. The table is looked up in the catalog, which needs no privilege: what
/// the role lacks is for `checks` to say.
pub(super) const COLUMNS: &str = "
    SELECT a.attname::text AS name,
           pg_catalog.format_type(a.atttypid, -1) AS sql_type,
           coalesce(base.modifier, a.atttypmod) AS modifier,
           a.attgenerated <> '' AS generated,
           EXISTS (SELECT FROM pg_catalog.pg_index i
                   JOIN pg_catalog.pg_class index ON index.oid = i.indexrelid
                   JOIN pg_catalog.pg_am method ON method.oid = index.relam
                     AND method.amname = 'btree'
                   WHERE i.indrelid = a.attrelid AND i.indisvalid AND i.indpred IS NULL
                     AND i.indkey[0] = a.attnum
                     -- In another collation it does not find what the column takes for equal.
                     AND i.indcollation[0] = a.attcollation) AS indexed,
           EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = a.attrelid)
             AS has_children,
           EXISTS (SELECT FROM pg_catalog.pg_index i
                   WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey))
               AND pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'SELECT') AS of_key,
           stale.name AS collation_name, stale.recorded, stale.actual,
           EXISTS (SELECT FROM pg_catalog.pg_index i
                   WHERE i.indrelid = a.attrelid AND i.indisunique AND i.indisvalid
                     AND i.indpred IS NULL
                     AND i.indexprs IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)
             AS is_unique,
           -- A unique index of a table says nothing of the rows of its children; one of a partitioned table does.
           EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = a.attrelid
             AND c.relkind <> 'p') AS has_others,
           pg_catalog.format_type(coalesce(base.type, a.atttypid), -1) AS base_type,
           c.relkind = 'p' AS partitioned,
           CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
             WHEN 'f' THEN 'foreign table' END AS kind,
           EXISTS (WITH RECURSIVE base (type) AS (
                       SELECT a.atttypid
                       UNION ALL
                       SELECT t.typbasetype FROM base b JOIN pg_catalog.pg_type t
                         ON t.oid = b.type WHERE t.typtype = 'd')
                   SELECT FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.type
                   WHERE t.oid IN ('pg_catalog.text'::regtype, 'pg_catalog.varchar'::regtype,
                     'pg_catalog.bpchar'::regtype)
                      OR t.typname = 'citext' AND t.typtype = 'b') AS holds_slugs,
           EXISTS (SELECT FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation
             AND NOT l.collisdeterministic) AS is_lenient,
           a.attcollation AS collation,
           pg_catalog.format('%I.%I', stored_schema.nspname, stored.typname) AS cast_type
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    -- The type under a domain, however many there are of them, one upon the other, and the length or scale that one of them gives it.
    LEFT JOIN LATERAL (
        WITH RECURSIVE under (type, modifier, depth) AS (
            SELECT t.typbasetype, t.typtypmod, 1 FROM pg_catalog.pg_type t
              WHERE t.oid = a.atttypid AND t.typtype = 'd'
            UNION ALL
            SELECT t.typbasetype, CASE WHEN u.modifier >= 0 THEN u.modifier
              ELSE t.typtypmod END, u.depth + 1
            FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.type AND t.typtype = 'd'
        )
        SELECT u.type, u.modifier FROM under u ORDER BY u.depth DESC LIMIT 1
    ) AS base ON true
    JOIN pg_catalog.pg_type stored ON stored.oid = coalesce(base.type, a.atttypid)
    JOIN pg_catalog.pg_namespace stored_schema ON stored_schema.oid = stored.typnamespace
    -- PostgreSQL 14 notes no version for the database.
    LEFT JOIN LATERAL (
        SELECT CASE WHEN l.oid <> 100 THEN pg_catalog.format('%I.%I', s.nspname, l.collname) END
          AS name,
               CASE WHEN l.oid = 100
                    THEN (SELECT pg_catalog.to_jsonb(d) ->> 'datcollversion'
                      FROM pg_catalog.pg_database d
                          WHERE d.datname = pg_catalog.current_database())
                    ELSE l.collversion END AS recorded,
               pg_catalog.pg_collation_actual_version(l.oid) AS actual
        FROM pg_catalog.pg_collation l JOIN pg_catalog.pg_namespace s ON s.oid = l.collnamespace
        WHERE l.oid = a.attcollation
    ) AS stale ON stale.recorded <> stale.actual
    WHERE n.nspname = $1::text AND c.relname = $2::text
      AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY (SELECT pg_catalog.array_position(i.indkey::int2[], a.attnum)
      FROM pg_catalog.pg_index i
              WHERE i.indrelid = a.attrelid AND i.indisprimary), a.attnum";

#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a column of the query"
)]
struct Found {
    name: String,
    sql_type: String,
    cast: String,
    modifier: i32,
    generated: bool,
    indexed: bool,
    of_key: bool,
    stale: Option<Stale>,
    unique: bool,
    /// Whether children of the table, which its index does not cover, have rows of their own.
    has_others: bool,
    /// What it is stored as: the type under a domain.
    base_type: String,
    /// Whether its type holds slugs (T7).
    holds_slugs: bool,
    /// Whether its collation takes different texts for equal.
    is_lenient: bool,
    /// Its collation.
    collation: u32,
}

/// A collation that is not what it was when the indexes were made.
struct Stale {
    /// Its name; none for that of the database.
    collation: Option<String>,
    recorded: String,
    actual: String,
}

/// Which version of the tables there is now.
pub(super) async fn version(
    db: &Db,
    agents: &str,
    configurations: &str,
) -> Result<String, QueryError> {
    let tables: [Parameter<'_>; 2] = [(&agents, Type::TEXT), (&configurations, Type::TEXT)];
    db.value(&queries::layout_version(), &tables).await
}

struct Table {
    quoted: String,
    /// As a person writes it.
    plain: String,
    shown: String,
    has_children: bool,
    partitioned: bool,
    found: Vec<Found>,
    missing: Vec<String>,
    left_out: Vec<Finding>,
}

impl Table {
    async fn read(db: &Db, schema: &str, table: &str) -> Result<Self, LayoutError> {
        let shown = format!("{schema}.{table}");
        let tables: [Parameter<'_>; 2] = [(&schema, Type::TEXT), (&table, Type::TEXT)];
        let rows = db.all(COLUMNS, &tables).await?;
        if rows.is_empty() {
            return Err(LayoutError::NoTable { table: shown });
        }
        let kind = rows.first().map(|row| row.try_get("kind")).transpose();
        if let Some(kind) = kind.map_err(QueryError::from)?.flatten() {
            return Err(LayoutError::NotATable { table: shown, kind });
        }
        let found = rows
            .iter()
            .map(|row| {
                Ok(Found {
                    name: row.try_get("name")?,
                    sql_type: row.try_get("sql_type")?,
                    cast: row.try_get("cast_type")?,
                    modifier: row.try_get("modifier")?,
                    generated: row.try_get("generated")?,
                    indexed: row.try_get("indexed")?,
                    of_key: row.try_get("of_key")?,
                    stale: match row.try_get("recorded")? {
                        Some(recorded) => Some(Stale {
                            collation: row.try_get("collation_name")?,
                            recorded,
                            actual: row.try_get("actual")?,
                        }),
                        None => None,
                    },
                    unique: row.try_get("is_unique")?,
                    has_others: row.try_get("has_others")?,
                    base_type: row.try_get("base_type")?,
                    holds_slugs: row.try_get("holds_slugs")?,
                    is_lenient: row.try_get("is_lenient")?,
                    collation: row.try_get("collation")?,
                })
            })
            .collect::<Result<_, QueryError>>()?;
        let quoted = format!("{}.{}", Quoted(schema), Quoted(table));
        let has_children = rows
            .first()
            .map_or(Ok(false), |row| row.try_get("has_children"))
            .map_err(QueryError::from)?;
        let partitioned = rows
            .first()
            .map_or(Ok(false), |row| row.try_get("partitioned"))
            .map_err(QueryError::from)?;
        let plain = format!("{}.{}", plain(schema), plain(table));
        Ok(Self {
            quoted,
            plain,
            shown,
            has_children,
            partitioned,
            found,
            missing: Vec::new(),
            left_out: Vec::new(),
        })
    }

    fn find(&self, name: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.name == name)
    }

    /// Whether an index finds rows by text in this column. What is not text is cast for the
    /// comparison, and no index of the column helps.
    fn finds(&self, name: &str) -> bool {
        self.find(name).is_some_and(|found| {
            found.indexed && found.is_text() && found.stale.is_none() && !found.is_lenient
        })
    }

    /// Whether a unique index, which has to tell the truth, keeps equal values out of this column.
    fn is_unique(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|found| found.unique && !found.has_others && found.stale.is_none())
    }

    /// That none does.
    fn repeats(&self, name: &str) -> Option<Finding> {
        let found = self.find(name).filter(|found| !found.unique)?;
        let (table, column) = (self.plain.clone(), plain(&found.name));
        Some(Finding::NotUnique {
            table,
            column,
            partitioned: self.partitioned,
        })
    }

    /// How rows are looked up by this column.
    fn lookup(&self, name: &str) -> Lookup {
        match self.find(name) {
            Some(found) if found.is_lenient => Lookup::Bytes,
            Some(found) if !found.is_text() => Lookup::Text,
            Some(Found { stale: Some(_), .. }) => Lookup::PastIndexes,
            _ => Lookup::Column,
        }
    }

    /// Why no index does, unless one does.
    fn scan(&self, name: &str) -> Option<Finding> {
        let found = self.find(name).filter(|_| !self.finds(name))?;
        if let Some(stale) = found.stale.as_ref().filter(|_| found.is_text()) {
            return Some(Finding::CollationChanged {
                table: self.plain.clone(),
                column: plain(name),
                collation: stale.collation.clone(),
                recorded: stale.recorded.clone(),
                actual: stale.actual.clone(),
            });
        }
        let of_type = (!found.is_text()).then(|| found.sql_type.clone());
        let (table, column, partitioned) = (self.plain.clone(), plain(name), self.partitioned);
        Some(Finding::Scans {
            table,
            column,
            of_type,
            partitioned,
        })
    }

    fn required(&self, name: &str) -> Result<SqlColumn, LayoutError> {
        let found = self.find(name).ok_or_else(|| LayoutError::NoColumn {
            table: self.shown.clone(),
            column: name.to_owned(),
        })?;
        Ok(found.column())
    }

    /// The required column that holds the slug.
    fn slug(&self, name: &str) -> Result<SqlColumn, LayoutError> {
        let column = self.required(name)?;
        if self.find(name).is_some_and(|found| found.holds_slugs) {
            return Ok(column);
        }
        let place = format!("{}.{}", self.plain, plain(name));
        Err(LayoutError::SlugType {
            column: place,
            of_type: column.sql_type,
        })
    }

    /// The mapped columns that exist. A required column that does not is an error; `optional` finds
    /// the others.
    fn mapped<C: MappedColumn, const N: usize>(
        &mut self,
        names: &Per<C, String, N>,
        mut optional: impl FnMut(&mut Self, C, &str) -> Option<SqlColumn>,
    ) -> Result<Per<C, Option<SqlColumn>, N>, LayoutError> {
        for (_, name) in names.iter().filter(|(column, _)| column.is_required()) {
            self.required(name)?;
        }
        Ok(Per::from_fn(|column: C| {
            let name = &names[column];
            if column.is_required() {
                self.find(name).map(Found::column)
            } else {
                optional(self, column, name)
            }
        }))
    }

    fn optional(&mut self, name: &str) -> Option<SqlColumn> {
        let column = self.find(name).map(Found::column);
        if column.is_none() {
            self.missing.push(format!("{}.{name}", self.shown));
        }
        column
    }

    /// An optional column that is written where its type fits; where it does not, what is found.
    fn fitting(
        &mut self,
        name: &str,
        fits: fn(&Found) -> bool,
        finding: fn(String, String, String) -> Finding,
    ) -> (Option<SqlColumn>, Option<Finding>) {
        let column = self.writable(name);
        match self
            .find(name)
            .filter(|found| column.is_some() && !fits(found))
        {
            Some(found) => (
                None,
                Some(finding(
                    self.plain.clone(),
                    plain(name),
                    found.sql_type.clone(),
                )),
            ),
            None => (column, None),
        }
    }

    /// One that holds a number, or text that may be one. In another type it would be written at
    /// every look, if it could be written at all.
    fn number(&mut self, name: &str) -> (Option<SqlColumn>, Option<Finding>) {
        self.fitting(name, Found::holds_numbers, |table, column, of_type| {
            Finding::NoNumber {
                table,
                column,
                of_type,
            }
        })
    }

    /// One that holds a time.
    fn time(&mut self, name: &str) -> (Option<SqlColumn>, Option<Finding>) {
        self.fitting(name, Found::holds_times, |table, column, of_type| {
            Finding::NoTime {
                table,
                column,
                of_type,
            }
        })
    }

    /// An optional column that is written. One that PostgreSQL computes is left out, and so is one
    /// of the type `name`, which cuts off text after 63 bytes.
    fn writable(&mut self, name: &str) -> Option<SqlColumn> {
        let found = self.find(name);
        let generated = found.is_some_and(|found| found.generated);
        let cuts_off = found.is_some_and(|found| found.base_type == "name");
        let (table, column) = (self.plain.clone(), plain(name));
        if generated {
            self.left_out.push(Finding::Generated { table, column });
        } else if cuts_off {
            self.left_out.push(Finding::CutsOff { table, column });
        }
        self.optional(name).filter(|_| !generated && !cuts_off)
    }
}

impl Found {
    /// Whether it holds a number, or text that may be one.
    fn holds_numbers(&self) -> bool {
        const NUMBERS: [&str; 6] = [
            "real",
            "double precision",
            "numeric",
            "smallint",
            "integer",
            "bigint",
        ];
        // The type of an extension has its schema before it.
        let is_citext = self.base_type.ends_with(".citext");
        self.is_text()
            || is_citext
            || self.base_type == "character"
            || NUMBERS.contains(&self.base_type.as_str())
    }

    /// Whether it holds a date with a time.
    fn holds_times(&self) -> bool {
        self.base_type.starts_with("timestamp")
    }

    fn is_text(&self) -> bool {
        matches!(self.base_type.as_str(), "text" | "character varying")
    }

    fn column(&self) -> SqlColumn {
        SqlColumn {
            name: Quoted(&self.name).to_string(),
            sql_type: self.sql_type.clone(),
            cast: self.cast.clone(),
        }
    }
}

impl Layout {
    /// Reads the catalog.
    pub async fn read(
        db: &Db,
        agents: &AgentsTable,
        configurations: &ConfigurationsTable,
    ) -> Result<Self, LayoutError> {
        // Before the rest: what changes while it is read makes it an old one.
        let quoted = |schema: &str, table: &str| format!("{}.{}", Quoted(schema), Quoted(table));
        let (agents_table, configurations_table) = (
            quoted(&agents.schema, &agents.table),
            quoted(&configurations.schema, &configurations.table),
        );
        let version = version(db, &agents_table, &configurations_table).await?;
        let mut from = Table::read(db, &agents.schema, &agents.table).await?;
        let mut to = Table::read(db, &configurations.schema, &configurations.table).await?;
        let source = Agents {
            table: from.quoted.clone(),
            slug: from.slug(&agents.columns.slug)?,
            slug_is_indexed: from.finds(&agents.columns.slug),
            slug_is_unique: from.is_unique(&agents.columns.slug),
            lookup: from.lookup(&agents.columns.slug),
            columns: from.mapped(&agents.columns.mapped, |table, _, name| {
                table.optional(name)
            })?,
        };
        let names = &configurations.columns;
        let times = [&names.updated_at, &names.last_updated].map(|name| to.time(name));
        let (clocks, no_times): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        let clocks = clocks.into_iter().flatten().collect();
        let provider_config = &names.mapped[Column::ProviderConfig];
        if to
            .find(provider_config)
            .is_some_and(|found| found.generated)
        {
            return Err(LayoutError::Generated {
                column: format!("{}.{}", to.plain, plain(provider_config)),
            });
        }
        let temperature = &names.mapped[Column::Temperature];
        let (mut number, no_number) = to.number(temperature);
        let target = Configurations {
            table: to.quoted.clone(),
            agent_slug: to.slug(&names.agent_slug)?,
            agent_slug_is_indexed: to.finds(&names.agent_slug),
            lookup: to.lookup(&names.agent_slug),
            has_children: to.has_children,
            is_partitioned: to.partitioned,
            key: to
                .found
                .iter()
                .filter(|found| found.of_key)
                .map(|found| found.column().name)
                .collect(),
            columns: to.mapped(&names.mapped, |table, column, name| match column {
                Column::Temperature => number.take(),
                _ => table.writable(name),
            })?,
            clocks,
        };
        let targets = Targets {
            exist: target.columns.as_ref().map(Option::is_some),
            temperature: to
                .find(temperature)
                .map_or(NumberColumn::Float8, comparison),
        };
        let slug = &agents.columns.slug;
        let scans = [
            from.scan(slug),
            to.scan(&names.agent_slug),
            from.repeats(slug),
            no_number,
        ];
        let scans = scans
            .into_iter()
            .chain(no_times)
            .flatten()
            .chain(std::mem::take(&mut to.left_out))
            .collect();
        let collation = |table: &Table, name: &str| table.find(name).map(|found| found.collation);
        let collations_differ = collation(&from, slug) != collation(&to, &names.agent_slug);
        let missing = from.missing.into_iter().chain(to.missing).collect();
        let remedies = Remedies::new(configurations);
        Ok(Self {
            agents: source,
            configurations: target,
            targets,
            collations_differ,
            version,
            missing,
            scans,
            remedies,
        })
    }
}

impl Layout {
    /// Both tables as parameters of a query, the agents first.
    pub fn tables(&self) -> [Parameter<'_>; 2] {
        [
            (&self.agents.table, Type::TEXT),
            (&self.configurations.table, Type::TEXT),
        ]
    }

    /// What the mapping is made of: the rules, and the columns that it reads and writes. It means
    /// nothing but that it is the same or another one.
    pub fn mapping_key(&self, rules: &Rules) -> String {
        let (from, to) = (&self.agents, &self.configurations);
        let read = std::iter::once(Some(&from.slug))
            .chain(from.columns.values().iter().map(Option::as_ref));
        let written = std::iter::once(Some(&to.agent_slug))
            .chain(to.columns.values().iter().map(Option::as_ref));
        let names: Vec<_> = read
            .chain(written)
            .map(|column| column.map(|column| &column.name))
            .collect();
        format!("{rules:?} {names:?}")
    }
}

/// How the column of the temperature compares numbers.
fn comparison(found: &Found) -> NumberColumn {
    match found.base_type.as_str() {
        "real" => NumberColumn::Float4,
        "double precision" => NumberColumn::Float8,
        // `numeric(p, s)` keeps p and s in its modifier, after a header of 4; s has 11 bits and a
        // sign.
        "numeric" if found.modifier >= 4 => {
            let scale = (((found.modifier - 4) & 0x7ff) ^ 0x400) - 0x400;
            NumberColumn::Numeric { scale: Some(scale) }
        }
        "smallint" | "integer" | "bigint" => NumberColumn::Numeric { scale: Some(0) },
        _ => NumberColumn::Numeric { scale: None },
    }
}
