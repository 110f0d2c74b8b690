//! One table as the catalog describes it: its columns, and what fits where.

use postgres_types::Type;
use tokio_postgres::Error;

use super::column::{COLUMNS, Found};
use super::error::{KeyPart, Lacking};
use super::index::Index;
use super::lookup::Lookup;
use super::tenant::Tenant;
use super::{LayoutError, SqlColumn};
use crate::columns::{MappedColumn, Per};
use crate::pg::identifier::{Quoted, plain};
use crate::pg::{Db, Parameter, QueryError, unmarked};
use crate::store::finding::{self, Finding};

pub(super) struct Table {
    pub(super) quoted: String,
    /// As a person writes it.
    pub(super) plain: String,
    pub(super) shown: String,
    pub(super) has_children: bool,
    pub(super) partitioned: bool,
    pub(super) found: Vec<Found>,
    indexes: Vec<Index>,
    pub(super) missing: Vec<String>,
    pub(super) left_out: Vec<Finding>,
}

impl Table {
    pub(super) async fn read(db: &Db, schema: &str, table: &str) -> Result<Self, LayoutError> {
        let shown = format!("{schema}.{table}");
        let tables: [Parameter<'_>; 2] = [(&schema, Type::TEXT), (&table, Type::TEXT)];
        let rows = db.all(COLUMNS, &tables).await?;
        let Some(first) = rows.first() else {
            return Err(LayoutError::NoTable { table: shown });
        };
        let kind: Option<String> = first.try_get("kind").map_err(QueryError::Postgres)?;
        if let Some(kind) = kind {
            return Err(LayoutError::NotATable { table: shown, kind });
        }
        let read = || {
            let found = rows.iter().map(Found::of).collect::<Result<_, Error>>()?;
            Ok((
                found,
                first.try_get("has_children")?,
                first.try_get("partitioned")?,
            ))
        };
        let (found, has_children, partitioned) = read().map_err(QueryError::Postgres)?;
        let indexes = Index::all(db, &tables).await?;
        let quoted = format!("{}.{}", Quoted(schema), Quoted(table));
        let plain = format!("{}.{}", plain(schema), plain(table));
        Ok(Self {
            quoted,
            plain,
            shown,
            has_children,
            partitioned,
            found,
            indexes,
            missing: Vec::new(),
            left_out: Vec::new(),
        })
    }

    pub(super) fn find(&self, name: &str) -> Option<&Found> {
        self.found.iter().find(|found| found.name == name)
    }

    /// Whether an index finds rows by this column. A type that is compared as text is cast, and no
    /// index of the column helps.
    pub(super) fn finds(&self, name: &str) -> bool {
        self.is_in_order(name) && self.find(name).is_some_and(|found| found.indexed)
    }

    fn is_in_order(&self, name: &str) -> bool {
        let found = self.find(name);
        found.is_some_and(|found| found.stale.is_none()) && self.lookup(name).can_be_indexed()
    }

    /// Whether an index finds rows by their key: by the slug, or by tenant and slug together.
    pub(super) fn finds_key(&self, slug: &str, tenant: Option<&Tenant>) -> bool {
        self.finds(slug) || tenant.is_some_and(|tenant| self.finds_both(slug, tenant))
    }

    /// Whether an index finds rows by tenant and slug together.
    pub(super) fn finds_both(&self, slug: &str, tenant: &Tenant) -> bool {
        let begins = |index: &Index| index.begins_with(&[slug, &tenant.name]);
        tenant.can_be_indexed()
            && self.is_in_order(slug)
            && self
                .find(&tenant.name)
                .is_some_and(|found| found.stale.is_none())
            && self.indexes.iter().any(begins)
    }

    /// Whether a unique index, which has to tell the truth, keeps equal keys out.
    pub(super) fn key_is_unique(&self, slug: &str, tenant: Option<&Tenant>) -> bool {
        let tells_truth = |name: &str| self.find(name).is_some_and(|found| found.stale.is_none());
        let has_others = self.find(slug).is_some_and(|found| found.has_others);
        !has_others
            && tells_truth(slug)
            && tenant.is_none_or(|tenant| tells_truth(&tenant.name))
            && self.has_unique_index(slug, tenant)
    }

    fn has_unique_index(&self, slug: &str, tenant: Option<&Tenant>) -> bool {
        let by_both = |tenant: &Tenant| {
            let mut indexes = self.indexes.iter();
            indexes.any(|index| index.is_unique_on(&[slug, &tenant.name]))
        };
        self.find(slug).is_some_and(|found| found.unique) || tenant.is_some_and(by_both)
    }

    /// That none does.
    pub(super) fn repeats(&self, slug: &str, tenant: Option<&Tenant>) -> Option<Finding> {
        if self.has_unique_index(slug, tenant) {
            return None;
        }
        // Slugs may be unique for each value of another column.
        let perhaps = self
            .indexes
            .iter()
            .find_map(|index| index.unique_with(slug));
        Some(
            finding::Column::NotUnique {
                table: self.plain.clone(),
                column: key_columns(slug, tenant),
                partitioned: self.partitioned,
                perhaps_tenant: perhaps.filter(|_| tenant.is_none()).map(str::to_owned),
            }
            .into(),
        )
    }

    /// How rows are looked up by this column.
    pub(super) fn lookup(&self, name: &str) -> Lookup {
        match self.find(name) {
            Some(found) if found.is_lenient => Lookup::Bytes,
            Some(found) if found.base_type == "uuid" => Lookup::Uuid,
            Some(found) if found.is_integer() => Lookup::Integer,
            Some(found) if !found.is_text() => Lookup::Text,
            Some(Found { stale: Some(_), .. }) => Lookup::PastIndexes,
            _ => Lookup::Column,
        }
    }

    /// Why no index finds rows by their key, unless one does.
    pub(super) fn scan(&self, name: &str, tenant: Option<&Tenant>) -> Option<Finding> {
        if self.finds_key(name, tenant) {
            return None;
        }
        let found = self.find(name)?;
        if let Some(stale) = found.stale.as_ref().filter(|_| found.is_text()) {
            return Some(
                finding::Column::CollationChanged {
                    table: self.plain.clone(),
                    column: plain(name),
                    collation: stale.collation.clone(),
                    recorded: stale.recorded.clone(),
                    actual: stale.actual.clone(),
                }
                .into(),
            );
        }
        let (table, column) = (self.plain.clone(), plain(name));
        if !self.lookup(name).can_be_indexed() {
            let of_type = found.sql_type.clone();
            let finding = if found.is_text() {
                finding::Column::Lenient {
                    table,
                    column,
                    of_type,
                }
            } else {
                finding::Column::NoText {
                    table,
                    column,
                    of_type,
                }
            };
            return Some(finding.into());
        }
        Some(
            finding::Column::NoIndex {
                table,
                column: key_columns(name, tenant.filter(|tenant| tenant.can_be_indexed())),
                partitioned: self.partitioned,
            }
            .into(),
        )
    }

    /// The required column that holds the tenant, if one is set.
    pub(super) fn tenant(&self, name: Option<&str>) -> Result<Option<Tenant>, LayoutError> {
        let Some(name) = name else {
            return Ok(None);
        };
        self.key_part(KeyPart::Tenant, name)?;
        let found = self.find(name);
        Ok(found.map(|found| Tenant::of(found, self.lookup(name))))
    }

    fn required(&self, name: &str) -> Result<SqlColumn, LayoutError> {
        let found = self.find(name).map(Found::column);
        found.ok_or_else(|| LayoutError::NoColumns(self.lacking([name]).into_iter().collect()))
    }

    /// Those of the required columns that the table lacks, if it lacks any.
    pub(super) fn lacking<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Option<Lacking> {
        let names = names.into_iter().filter(|name| self.find(name).is_none());
        let columns: Vec<_> = names.map(str::to_owned).collect();
        (!columns.is_empty()).then(|| Lacking {
            table: self.shown.clone(),
            columns,
            found: self
                .found
                .iter()
                .map(|found| unmarked(plain(&found.name)))
                .collect(),
        })
    }

    /// The required column that holds a part of the key (T7).
    pub(super) fn key_part(&self, part: KeyPart, name: &str) -> Result<SqlColumn, LayoutError> {
        let column = self.required(name)?;
        if self.find(name).is_some_and(|found| found.holds_keys) {
            return Ok(column);
        }
        let place = format!("{}.{}", self.plain, plain(name));
        Err(LayoutError::KeyType {
            part,
            column: place,
            of_type: column.sql_type,
        })
    }

    /// The mapped columns that exist. A required column that does not is an error; `optional` finds
    /// the others.
    pub(super) fn mapped<C: MappedColumn, const N: usize>(
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

    pub(super) fn optional(&mut self, name: &str) -> Option<SqlColumn> {
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
    pub(super) fn number(&mut self, name: &str) -> (Option<SqlColumn>, Option<Finding>) {
        self.fitting(name, Found::holds_numbers, |table, column, of_type| {
            finding::Column::NoNumber {
                table,
                column,
                of_type,
            }
            .into()
        })
    }

    /// One that holds a time.
    pub(super) fn time(&mut self, name: &str) -> (Option<SqlColumn>, Option<Finding>) {
        self.fitting(name, Found::holds_times, |table, column, of_type| {
            finding::Column::NoTime {
                table,
                column,
                of_type,
            }
            .into()
        })
    }

    /// An optional column that is written. One that PostgreSQL computes is left out, and so is one
    /// of the type `name`, which cuts off text after 63 bytes.
    pub(super) fn writable(&mut self, name: &str) -> Option<SqlColumn> {
        let found = self.find(name);
        let generated = found.is_some_and(|found| found.generated);
        let cuts_off = found.is_some_and(|found| found.base_type == "name");
        let (table, column) = (self.plain.clone(), plain(name));
        if generated {
            self.left_out
                .push(finding::Column::Generated { table, column }.into());
        } else if cuts_off {
            self.left_out
                .push(finding::Column::CutsOff { table, column }.into());
        }
        self.optional(name).filter(|_| !generated && !cuts_off)
    }
}

/// The columns of the key, as a person writes them in an index.
fn key_columns(slug: &str, tenant: Option<&Tenant>) -> String {
    let tenant = tenant.map(|tenant| format!("{}, ", plain(&tenant.name)));
    format!("{}{}", tenant.unwrap_or_default(), plain(slug))
}
