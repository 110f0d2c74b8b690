//! One column as the catalog describes it.

use tokio_postgres::{Error, Row};

use super::SqlColumn;
use crate::mapping::NumberColumn;
use crate::pg::identifier::Quoted;
use crate::pg::told;

/// The columns of a table, their types by name and by length, whether one can be written, whether
/// it is indexed, and whether it is of a primary key that can be read; then its collation, if the
/// library orders text otherwise than when the collation was made: its name, none for that of the
/// database, and the two versions; whether it is unique by itself; and whether its type holds slugs
/// and tenants (T7; `sql/tables.sql` has the same types); whether its collation takes different
/// texts for equal, and which it is; and its type as [`SqlColumn::cast`] has it. Those of the
/// primary key come first, in its order. The table is looked up in the catalog, which needs no
/// privilege: what the role lacks is for `checks` to say.
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
           -- A unique index of a table says nothing of the rows of its children; one of a
           -- partitioned table does.
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
                     'pg_catalog.bpchar'::regtype, 'pg_catalog.uuid'::regtype,
                     'pg_catalog.int2'::regtype, 'pg_catalog.int4'::regtype,
                     'pg_catalog.int8'::regtype)
                      OR t.typname = 'citext' AND t.typtype = 'b'
                      OR t.typtype = 'e') AS holds_keys,
           EXISTS (SELECT FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation
             AND NOT l.collisdeterministic) AS is_lenient,
           a.attcollation AS collation, NOT a.attnotnull AS nullable,
           pg_catalog.format('%I.%I', stored_schema.nspname, stored.typname) AS cast_type
    FROM pg_catalog.pg_attribute a
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    -- The type under a domain, however many there are of them, one upon the other, and the length
    -- or scale that one of them gives it.
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
pub(super) struct Found {
    pub(super) name: String,
    pub(super) sql_type: String,
    pub(super) cast: String,
    pub(super) modifier: i32,
    pub(super) generated: bool,
    pub(super) indexed: bool,
    pub(super) of_key: bool,
    pub(super) stale: Option<Stale>,
    pub(super) unique: bool,
    /// Whether children of the table, which its index does not cover, have rows of their own.
    pub(super) has_others: bool,
    /// The stored type: the type under a domain.
    pub(super) base_type: String,
    /// Whether its type holds slugs and tenants (T7).
    pub(super) holds_keys: bool,
    /// Whether its collation takes different texts for equal.
    pub(super) is_lenient: bool,
    /// Its collation.
    pub(super) collation: u32,
    /// Whether it may be null.
    pub(super) nullable: bool,
}

/// A collation that is not what it was when the indexes were made.
pub(super) struct Stale {
    /// Its name; none for that of the database.
    pub(super) collation: Option<String>,
    pub(super) recorded: String,
    pub(super) actual: String,
}

impl Found {
    /// Of a row of [`COLUMNS`].
    pub(super) fn of(row: &Row) -> Result<Self, Error> {
        Ok(Found {
            name: row.try_get("name")?,
            sql_type: told(row, "sql_type")?,
            cast: row.try_get("cast_type")?,
            modifier: row.try_get("modifier")?,
            generated: row.try_get("generated")?,
            indexed: row.try_get("indexed")?,
            of_key: row.try_get("of_key")?,
            stale: match row.try_get("recorded")? {
                Some(recorded) => Some(Stale {
                    collation: told(row, "collation_name")?,
                    recorded,
                    actual: told(row, "actual")?,
                }),
                None => None,
            },
            unique: row.try_get("is_unique")?,
            has_others: row.try_get("has_others")?,
            base_type: row.try_get("base_type")?,
            holds_keys: row.try_get("holds_keys")?,
            is_lenient: row.try_get("is_lenient")?,
            collation: row.try_get("collation")?,
            nullable: row.try_get("nullable")?,
        })
    }

    /// Whether it holds a number, or text that may be one.
    pub(super) fn holds_numbers(&self) -> bool {
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
    pub(super) fn holds_times(&self) -> bool {
        self.base_type.starts_with("timestamp")
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.base_type.as_str(), "smallint" | "integer" | "bigint")
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.base_type.as_str(), "text" | "character varying")
    }

    pub(super) fn column(&self) -> SqlColumn {
        SqlColumn {
            name: Quoted(&self.name).to_string(),
            sql_type: self.sql_type.clone(),
            cast: self.cast.clone(),
        }
    }
}

/// How the column of the temperature compares numbers.
pub(super) fn comparison(found: &Found) -> NumberColumn {
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
