//! The positions of the columns in the rows of a query, looked up by name once for all rows: a
//! look-up for each value of each row costs more than the value.

use tokio_postgres::{Column as Result, Row};

use super::queries::is_result_name;
use crate::columns::{MappedColumn, Per, PerAgentColumn, PerColumn};

/// The positions of the columns of a claim.
#[derive(Debug, Clone, Copy)]
pub(super) struct Positions {
    pub(super) slug: usize,
    pub(super) targets: usize,
    pub(super) problem: usize,
    pub(super) places: usize,
    pub(super) versions: usize,
    pub(super) age: usize,
    pub(super) fits: usize,
    pub(super) weight: usize,
    pub(super) found: usize,
    pub(super) hidden: usize,
    pub(super) place: usize,
    pub(super) relation: usize,
    pub(super) agent: PerAgentColumn<Option<usize>>,
    pub(super) configuration: PerColumn<Option<usize>>,
}

impl Positions {
    /// The positions in these rows. That of a column which they lack is behind the last one, where
    /// a read fails.
    pub(super) fn in_rows(rows: &[Row]) -> Self {
        let columns = rows.first().map_or(&[][..], Row::columns);
        let of = |name| position(columns, |column| column == name).unwrap_or(columns.len());
        Self {
            slug: of("slug"),
            targets: of("targets"),
            problem: of("problem"),
            places: of("places"),
            versions: of("versions"),
            age: of("age"),
            fits: of("fits"),
            weight: of("weight"),
            found: of("found"),
            hidden: of("hidden"),
            place: of("place"),
            relation: of("relation"),
            agent: mapped(columns),
            configuration: mapped(columns),
        }
    }
}

/// The positions of the mapped columns of one table, `None` for a column that the query leaves out.
pub(super) fn mapped<C: MappedColumn, const N: usize>(
    columns: &[Result],
) -> Per<C, Option<usize>, N> {
    Per::from_fn(|mapped| position(columns, |name| is_result_name(name, mapped)))
}

fn position(columns: &[Result], is_it: impl Fn(&str) -> bool) -> Option<usize> {
    columns.iter().position(|column| is_it(column.name()))
}
