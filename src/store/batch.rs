//! One batch as it comes out of the outbox, and as it goes back: typed rows in, arrays of parameters out.
//!
//! No choices are made here; those are made by `sync::decide`, between the two.

use tokio_postgres::{Error, Row};

use super::row_id::{Place, RowId};
use crate::mapping::{Agent, Changes, Configuration};

/// The rows of [`super::queries::claim`].
#[derive(Debug)]
pub struct Claimed {
    rows: Vec<Row>,
    /// For each row, whether its slug is busy.
    busy: Vec<bool>,
    /// Where the outbox rows of the slugs that are not busy stand: what the batch takes.
    pub taken: Vec<RowId>,
    /// What the rows weigh, as PostgreSQL sent them.
    pub bytes: usize,
    /// The number of outbox rows looked at; fewer than asked for means that the end was reached.
    pub looked_at: usize,
    /// The place of the last of them.
    pub last: RowId,
}

/// Which versions a lone change was computed from, as PostgreSQL prints their transactions.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// Of the row of the outbox.
    pub change: &'a str,
    /// Of the configuration, if there is one.
    pub configuration: Option<&'a str>,
}

/// One slug with at most one of its configurations.
#[derive(Debug)]
pub struct Claim<'a> {
    /// The slug.
    pub slug: &'a str,
    /// Whether a configuration is locked by somebody else, so that the slug stayed in the outbox.
    pub busy: bool,
    /// Whether a problem is noted for it.
    pub has_problem: bool,
    /// How long its oldest row had been in the outbox, in seconds, by the clock of the server.
    pub age: Option<f64>,
    /// The agent, unless it is gone.
    pub agent: Option<Agent<'a>>,
    /// The configuration and its place, unless there is none.
    pub configuration: Option<(Place, Configuration<'a>)>,
}

impl Claimed {
    /// Of rows with the columns of [`super::queries::claim`], those of a slug together.
    pub fn new(rows: Vec<Row>) -> Result<Self, Error> {
        let bytes = rows.iter().map(Row::raw_size_bytes).sum();
        let mut claimed = Self {
            busy: Vec::with_capacity(rows.len()),
            taken: Vec::new(),
            bytes,
            looked_at: 0,
            last: RowId::START,
            rows,
        };
        for rows in claimed.rows.chunk_by(|one, next| slug(one).is_some_and(|of| Some(of) == slug(next))) {
            let Some(first) = rows.first() else { continue };
            let places: Vec<RowId> = first.try_get(3)?;
            claimed.looked_at += places.len();
            claimed.last = places.iter().copied().max().unwrap_or_default().max(claimed.last);
            // Fewer than there are: the others are locked by somebody else.
            let found = rows.iter().filter(|row| is_there(row, 10)).count();
            let busy = first
                .try_get::<_, Option<i64>>(1)?
                .is_some_and(|targets| targets.unsigned_abs() > found as u64);
            claimed.busy.extend(rows.iter().map(|_| busy));
            if !busy {
                claimed.taken.extend(places);
            }
        }
        Ok(claimed)
    }

    /// The versions of the rows, if this is what [`super::queries::claim_lone`] has read and there is just one.
    pub fn only_version(&self) -> Option<Version<'_>> {
        let [row] = self.rows.as_slice() else { return None };
        Some(Version { change: row.try_get(19).ok()?, configuration: row.try_get(20).ok()? })
    }

    /// What was claimed, row by row.
    pub fn claims(&self) -> impl Iterator<Item = Result<Claim<'_>, Error>> {
        self.rows.iter().zip(&self.busy).map(|(row, &busy)| claim(row, busy))
    }
}

fn slug(row: &Row) -> Option<&str> {
    row.try_get(0).ok()
}

fn is_there(row: &Row, column: usize) -> bool {
    matches!(row.try_get::<_, Option<RowId>>(column), Ok(Some(_)))
}

/// Reads the columns of an agent, of which this is the first.
pub(super) fn agent(row: &Row, first: usize) -> Result<Agent<'_>, Error> {
    Ok(columns(row, first)?.into())
}

/// Reads the columns of a configuration, of which this is the first.
pub(super) fn configuration(row: &Row, first: usize) -> Result<Configuration<'_>, Error> {
    Ok(columns(row, first)?.into())
}

fn columns<const N: usize>(row: &Row, first: usize) -> Result<[Option<&str>; N], Error> {
    let mut columns = [None; N];
    for (index, column) in columns.iter_mut().enumerate() {
        *column = row.try_get(first + index)?;
    }
    Ok(columns)
}

fn claim(row: &Row, busy: bool) -> Result<Claim<'_>, Error> {
    let configuration = match row.try_get(10)? {
        Some(place) => Some((Place { relation: row.try_get(18)?, row: place }, configuration(row, 11)?)),
        None => None,
    };
    Ok(Claim {
        slug: row.try_get(0)?,
        busy,
        has_problem: row.try_get(2)?,
        age: row.try_get(4)?,
        agent: if row.try_get(5)? { Some(agent(row, 6)?) } else { None },
        configuration,
    })
}

/// Why a slug is not in sync, as `agent_sync.problem` keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// No configuration has the slug (G6).
    MissingConfiguration,
    /// The agent's settings cannot be mapped (M7).
    Rejected,
    /// PostgreSQL refused the write (G5).
    Failed,
}

impl ProblemKind {
    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingConfiguration => "missing_configuration",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// One row for `agent_sync.problem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The slug.
    pub slug: String,
    /// What kind.
    pub kind: ProblemKind,
    /// The reason in a sentence or more, without prompts and keys.
    pub detail: String,
    /// Of a failed write.
    pub sqlstate: Option<String>,
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    /// The rows to write, and what.
    pub writes: Vec<(Place, Changes<'a>)>,
    /// The problems to note.
    pub problems: Vec<Problem>,
    /// The slugs whose problem is over.
    pub cleared: Vec<String>,
    /// The slugs whose configurations are written; once for each of them.
    pub changed: Vec<&'a str>,
}
