//! Which changes a `wait` still waits for.

use postgres_types::Type;

use crate::pg::{Db, QueryError};
use crate::store::{Installed, report};

/// A moment on the server. A change that was committed before it has a transaction number below it.
#[derive(Debug, Clone, Copy)]
pub struct Moment(i64);

/// The changes that were committed before a moment and are not applied yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awaited {
    /// Their slugs, counted up to a limit.
    pub slugs: i64,
    /// Whether every agent is still to be checked, because changes may have been missed.
    pub unsure: bool,
}

impl Awaited {
    /// Whether there is none.
    pub fn is_over(self) -> bool {
        self.slugs == 0 && !self.unsure
    }
}

/// The present moment.
pub async fn moment(db: &Db) -> Result<Moment, QueryError> {
    db.value(report::MOMENT, &[]).await.map(Moment)
}

/// What is left of the changes before the moment, of these slugs or, if none is given, of all.
pub async fn awaited(db: &Db, moment: Moment, slugs: &[String]) -> Result<Awaited, QueryError> {
    let slugs = (!slugs.is_empty()).then_some(slugs);
    let given = [
        (&moment.0 as _, Type::INT8),
        (&slugs as _, Type::TEXT_ARRAY),
    ];
    let slugs = db.value(report::AWAITED, &given).await?;
    let installed = Installed::read(db).await?;
    Ok(Awaited {
        slugs,
        unsure: installed.is_none_or(|counts| counts.uncaptured_seen != counts.uncaptured),
    })
}
