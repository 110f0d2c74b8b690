//! The indexes of a table, as far as they concern the key of an agent.

use tokio_postgres::Error;

use crate::pg::{Db, List, Parameter, QueryError};

/// The indexes of the table `$1.$2` that cover every row: the columns, with "" for an expression;
/// whether the index is unique; and whether the first two columns have the order in which the table
/// compares them.
const INDEXES: &str = "
    SELECT ARRAY(SELECT coalesce(a.attname::text, '')
                 FROM pg_catalog.generate_series(1, i.indnkeyatts) AS k (place)
                 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
                   AND a.attnum = i.indkey[k.place - 1]
                 ORDER BY k.place) AS columns,
           i.indisunique AS is_unique,
           NOT EXISTS (SELECT FROM pg_catalog.generate_series(1, least(i.indnkeyatts, 2))
                         AS k (place)
                       JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
                         AND a.attnum = i.indkey[k.place - 1]
                       WHERE a.attcollation <> i.indcollation[k.place - 1]) AS in_order
    FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_class index ON index.oid = i.indexrelid
    JOIN pg_catalog.pg_am method ON method.oid = index.relam AND method.amname = 'btree'
    WHERE n.nspname = $1::text AND c.relname = $2::text AND i.indisvalid AND i.indpred IS NULL
    ORDER BY index.relname";

/// One index.
pub(super) struct Index {
    columns: Vec<String>,
    is_unique: bool,
    in_order: bool,
}

impl Index {
    /// Those of a table, given as schema and name.
    pub(super) async fn all(db: &Db, table: &[Parameter<'_>]) -> Result<Vec<Self>, QueryError> {
        let rows = db.all(INDEXES, table).await?;
        let indexes = rows.iter().map(|row| {
            Ok::<_, Error>(Self {
                columns: row.try_get::<_, List<_>>("columns")?.0,
                is_unique: row.try_get("is_unique")?,
                in_order: row.try_get("in_order")?,
            })
        });
        Ok(indexes.collect::<Result<_, _>>()?)
    }

    /// Whether its first columns are these, in any order.
    pub(super) fn begins_with(&self, columns: &[&str]) -> bool {
        let first = self.columns.get(..columns.len());
        self.in_order && first.is_some_and(|first| is_set(first, columns))
    }

    /// Whether it is unique on exactly these columns.
    pub(super) fn is_unique_on(&self, columns: &[&str]) -> bool {
        self.is_unique && is_set(&self.columns, columns)
    }

    /// The other column, if it is unique on this one and another.
    pub(super) fn unique_with(&self, column: &str) -> Option<&str> {
        match self.columns.as_slice() {
            [one, other] | [other, one] if self.is_unique && one == column && !other.is_empty() => {
                Some(other)
            }
            _ => None,
        }
    }
}

fn is_set(columns: &[String], of: &[&str]) -> bool {
    columns.len() == of.len() && columns.iter().all(|column| of.contains(&column.as_str()))
}
