//! One batch as it comes out of the outbox, and as it goes back: typed rows in, arrays of
//! parameters out.
//!
//! No choices are made here; those are made by `sync::batch_plan`, between the two.

use std::error::Error as StdError;
use std::fmt::Display;

use postgres_types::{FromSql, Type, accepts};
use tokio_postgres::row::RowIndex;
use tokio_postgres::{Error, Row};

use super::positions::Positions;
use super::problems::Problem;
use super::queries::MOST_CONFIGURATIONS;
use super::taken::Taken;
use crate::columns::{MappedColumn, Per};
use crate::mapping::{Agent, Changes, Configuration};
use crate::pg::sqlstate::{CONNECTION_ENDED, INDEX_DAMAGED};
use crate::pg::{List, RowRef, Seconds, Tid, Version};

/// The rows of [`super::queries::claim`].
#[derive(Debug)]
pub struct Claimed {
    rows: Vec<Row>,
    positions: Positions,
    /// The number of outbox rows looked at; fewer than asked for means that the end was reached.
    pub looked_at: usize,
    /// The place of the last of them.
    pub last: Tid,
}

/// Which versions a single change was computed from.
#[derive(Debug, Clone, Copy)]
pub struct Versions {
    /// Of the row of the outbox.
    pub change: Version,
    /// Of the configuration.
    pub configuration: Version,
}

/// One key of a batch: its rows of the outbox, its agent, and its configurations.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    rows: &'a [Row],
    first: &'a Row,
    at: &'a Positions,
}

/// An agent and one of its configurations, as one row has them.
#[derive(Debug)]
pub struct Pair<'a> {
    /// The agent, unless none was found.
    pub agent: Option<Agent<'a>>,
    /// The configuration and its place, unless none was found.
    pub configuration: Option<(RowRef, Configuration<'a>)>,
}

/// A column holds bytes that are no text: a database with the encoding `SQL_ASCII` takes any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{column}: expected text in UTF-8, found other bytes")]
pub struct NotText {
    /// The name of the column in T1 and T2.
    pub column: &'static str,
}

/// Bytes of a column of text, whatever they are.
struct Bytes<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(raw))
    }

    accepts!(TEXT, VARCHAR);
}

/// Any value that is not null.
struct Present;

impl FromSql<'_> for Present {
    fn from_sql(_: &Type, _: &[u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A text for a reader: with a replacement character for each byte that is no UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lossy(pub String);

impl<'a> FromSql<'a> for Lossy {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(String::from_utf8_lossy(raw).into_owned()))
    }

    accepts!(TEXT, VARCHAR);
}

/// A text of a row, with a replacement character for each byte that is no UTF-8.
pub(super) fn lossy(row: &Row, column: impl RowIndex + Display) -> Result<String, Error> {
    row.try_get::<_, Lossy>(column).map(|text| text.0)
}

impl Claimed {
    /// Of rows with the columns of [`super::queries::claim`], those of a key together.
    pub fn new(rows: Vec<Row>) -> Result<Self, Error> {
        let mut claimed = Self {
            positions: Positions::in_rows(&rows),
            rows,
            looked_at: 0,
            last: Tid::START,
        };
        let (mut looked_at, mut last) = (0, Tid::START);
        for group in claimed.groups() {
            let places = group.places()?;
            looked_at += places.len();
            last = places.into_iter().max().unwrap_or_default().max(last);
        }
        (claimed.looked_at, claimed.last) = (looked_at, last);
        Ok(claimed)
    }

    /// The oldest transaction that had not ended when the claim was read; None without rows.
    pub fn oldest_running(&self) -> Result<Option<Version>, Error> {
        self.rows
            .first()
            .map(|row| row.try_get("oldest_running"))
            .transpose()
    }

    /// Whether rows of the outbox that were looked at did not come, because the slugs are long:
    /// they are claimed again. The last row says so.
    pub fn is_incomplete(&self) -> Result<bool, Error> {
        let last = self.rows.last().map(|row| row.try_get("cut"));
        Ok(last.transpose()?.unwrap_or(false))
    }

    /// The keys with what belongs to each. The first row of each has its places in the outbox.
    pub fn groups(&self) -> impl Iterator<Item = Group<'_>> {
        let at = &self.positions;
        let rows = self.rows.chunk_by(|_, next| !begins_group(next, at));
        rows.filter_map(move |rows| {
            let first = rows.first()?;
            Some(Group { rows, first, at })
        })
    }

    /// The versions of the rows, if this is what [`super::queries::claim_change`] has read, there
    /// is just one, and it came whole.
    pub fn only_versions(&self) -> Option<Versions> {
        let [row] = self.rows.as_slice() else {
            return None;
        };
        if !row.try_get::<_, bool>(self.positions.fits).ok()? {
            return None;
        }
        let List(changes): List<Version> = row.try_get(self.positions.versions).ok()?;
        let [change] = changes.as_slice() else {
            return None;
        };
        Some(Versions {
            change: *change,
            configuration: row.try_get("version").ok()?,
        })
    }
}

impl<'a> Group<'a> {
    /// The key, unless it is longer than [`super::LONGEST_SLUG`] bytes, not UTF-8, or another text
    /// after the way to UTF-8 and back.
    pub fn key(&self) -> Result<&'a str, NotText> {
        slug_bytes(self.first, self.at)
            .and_then(|bytes| str::from_utf8(bytes).ok())
            .ok_or(NotText { column: "slug" })
    }

    /// Where its rows of the outbox stand.
    pub fn places(&self) -> Result<Vec<Tid>, Error> {
        let places: Option<List<_>> = self.first.try_get(self.at.places)?;
        Ok(places.unwrap_or_default().0)
    }

    /// Their versions, in the same order.
    pub fn versions(&self) -> Result<Vec<Version>, Error> {
        let versions: Option<List<_>> = self.first.try_get(self.at.versions)?;
        Ok(versions.unwrap_or_default().0)
    }

    /// Whether a problem is noted for it.
    pub fn has_problem(&self) -> Result<bool, Error> {
        Ok(self.problem()?.is_some())
    }

    /// Whether the connection ended when its configuration was last claimed or written.
    pub fn ends_connections(&self) -> Result<bool, Error> {
        Ok(self.problem()? == Some(CONNECTION_ENDED))
    }

    /// Whether an index was damaged when it was last tried.
    pub fn has_damaged_index(&self) -> Result<bool, Error> {
        Ok(self.problem()? == Some(INDEX_DAMAGED))
    }

    /// The SQLSTATE of the problem that is noted for it, empty if that has none.
    fn problem(&self) -> Result<Option<&'a str>, Error> {
        self.first.try_get(self.at.problem)
    }

    /// How long its oldest row had been in the outbox, in seconds, by the clock of the server.
    pub fn age(&self) -> Result<Option<f64>, Error> {
        let age: Option<Seconds> = self.first.try_get(self.at.age)?;
        Ok(age.map(|Seconds(time)| time.as_secs_f64()))
    }

    /// Whether all of it came: the server sends no more than the batch may weigh.
    pub fn fits(&self) -> Result<bool, Error> {
        self.rows
            .iter()
            .try_fold(true, |all, row| Ok(all && row.try_get(self.at.fits)?))
    }

    /// Whether there is anything to map: an agent and a configuration of it.
    pub fn has_contents(&self) -> Result<bool, Error> {
        Ok(self.is_found()? && place(self.first, self.at)?.is_some())
    }

    /// Whether more than one agent has the slug: then each configuration comes once for each of
    /// two.
    pub fn is_ambiguous(&self) -> Result<bool, Error> {
        let first = place(self.first, self.at)?;
        let same = self.rows.iter().try_fold(0, |same, row| {
            Ok(same + u32::from(place(row, self.at)? == first))
        })?;
        Ok(same > 1)
    }

    /// Whether the agent has more configurations than one may have: then none of them came.
    pub fn has_too_many(&self) -> Result<bool, Error> {
        Ok(self.is_found()? && self.targets()? > u64::from(MOST_CONFIGURATIONS))
    }

    /// Whether a configuration of the agent is locked by another session: then there are more than
    /// came. Of a slug that fits.
    pub fn is_busy(&self) -> Result<bool, Error> {
        let found = self.places_of_configurations()?.len();
        Ok(self.is_found()? && self.targets()? > found as u64)
    }

    /// How many configurations the slug has, where they were counted.
    fn targets(&self) -> Result<u64, Error> {
        let targets: Option<i64> = self.first.try_get(self.at.targets)?;
        Ok(targets.unwrap_or_default().unsigned_abs())
    }

    /// Where its configurations stand, with what each weighs together with the agent, in bytes.
    pub fn places_of_configurations(&self) -> Result<Vec<(RowRef, f64)>, Error> {
        let mut places = Vec::with_capacity(self.rows.len());
        for row in self.rows {
            if let Some(place) = place(row, self.at)? {
                places.push((place, row.try_get(self.at.weight)?));
            }
        }
        Ok(places)
    }

    /// The weight of the agent by itself, without its configurations, in bytes. Of a claim that
    /// weighs exactly.
    pub fn weight_of_agent(&self) -> Result<f64, Error> {
        self.first.try_get("own")
    }

    /// Whether a row that was not found may be there all the same, hidden by a policy; None where
    /// all was found.
    pub fn may_be_hidden(&self) -> Result<Option<bool>, Error> {
        self.first.try_get(self.at.hidden)
    }

    /// Whether an agent was found.
    pub fn is_found(&self) -> Result<bool, Error> {
        Ok(is_own(self.first, self.at)?.is_some())
    }

    /// Whether the index has led to an agent with another key.
    pub fn is_of_another(&self) -> Result<bool, Error> {
        self.rows.iter().try_fold(false, |other, row| {
            Ok(other || is_own(row, self.at)? == Some(false))
        })
    }

    /// The agent with each of its configurations, or once alone.
    pub fn pairs(
        &self,
    ) -> impl Iterator<Item = Result<Result<Pair<'a>, NotText>, Error>> + use<'a> {
        let at = self.at;
        self.rows.iter().map(move |row| pair(row, at))
    }
}

fn slug_bytes<'a>(row: &'a Row, at: &Positions) -> Option<&'a [u8]> {
    row.try_get::<_, Bytes<'_>>(at.slug)
        .ok()
        .map(|bytes| bytes.0)
}

fn begins_group(row: &Row, at: &Positions) -> bool {
    let places: Result<Option<Present>, Error> = row.try_get(at.places);
    places.is_ok_and(|places| places.is_some())
}

/// Whether the agent that was found has the key; None if none was found.
fn is_own(row: &Row, at: &Positions) -> Result<Option<bool>, Error> {
    row.try_get(at.found)
}

fn place(row: &Row, at: &Positions) -> Result<Option<RowRef>, Error> {
    Ok(match row.try_get(at.place)? {
        Some(place) => Some(RowRef {
            relation: row.try_get(at.relation)?,
            row: place,
        }),
        None => None,
    })
}

fn pair<'a>(row: &'a Row, at: &Positions) -> Result<Result<Pair<'a>, NotText>, Error> {
    let mut pair = Pair {
        agent: None,
        configuration: None,
    };
    if is_own(row, at)?.is_some() {
        match columns(row, &at.agent)? {
            Ok(agent) => pair.agent = Some(agent),
            Err(mistake) => return Ok(Err(mistake)),
        }
    }
    if let Some(place) = place(row, at)? {
        match columns(row, &at.configuration)? {
            Ok(configuration) => pair.configuration = Some((place, configuration)),
            Err(mistake) => return Ok(Err(mistake)),
        }
    }
    Ok(Ok(pair))
}

/// The mapped columns of one table in a row, by their [positions](super::positions::mapped). A
/// column that the query leaves out is `None`.
pub(super) fn columns<'a, C: MappedColumn, const N: usize>(
    row: &'a Row,
    positions: &Per<C, Option<usize>, N>,
) -> Result<Result<Per<C, Option<&'a str>, N>, NotText>, Error> {
    let mut columns = Per::default();
    for (column, position) in positions.present() {
        let Some(bytes) = row.try_get::<_, Option<Bytes<'_>>>(*position)? else {
            continue;
        };
        let Ok(text) = str::from_utf8(bytes.0) else {
            let column = column.name();
            return Ok(Err(NotText { column }));
        };
        columns[column] = Some(text);
    }
    Ok(Ok(columns))
}

/// The result of a batch.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    /// The rows of the outbox that it takes.
    pub taken: Taken<'a>,
    /// The rows to write, and what.
    pub writes: Vec<(RowRef, Changes<'a>)>,
    /// The key of each of them.
    pub changed: Vec<&'a str>,
    /// The problems to note.
    pub problems: Vec<Problem>,
    /// The keys whose problem is over.
    pub cleared: Vec<String>,
    /// The rows of the outbox whose slug is no text.
    pub not_text: (Vec<Tid>, Vec<Version>),
    /// Those of them that no agent has any more, and that have a problem.
    pub gone_not_text: (Vec<Tid>, Vec<Version>),
    /// The slugs of which every tenant's agent has to be looked at.
    pub every_tenant: Vec<&'a str>,
}

impl Outcome<'_> {
    /// How many bytes of values it writes.
    pub fn bytes(&self) -> usize {
        let values = self
            .writes
            .iter()
            .flat_map(|(_, changes)| changes.present());
        values.map(|(_, text)| text.len()).sum()
    }
}
