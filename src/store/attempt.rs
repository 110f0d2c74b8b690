//! The first agent of a connection, and the state of its session.
//!
//! The first agent is noted before it is tried (G1, G5). Whatever ends a connection in the middle
//! of a batch (a time limit of the server or of a proxy, a crash of either side, too little memory)
//! ends the next one as well, if that begins with the same batch. So a connection begins with one
//! row of the outbox, and its slug is noted in `agent_sync.install` in a transaction of its own, so
//! that a crash of the daemon counts too. Batches grow from there. The row that two connections
//! have ended on is set aside by the third, as a problem that is tried again later: alone, and set
//! aside by the next connection if this one ends.

use postgres_types::Type;

use super::batch::Lossy;
use super::{Store, queries};
use crate::pg::sqlstate::CONNECTION_ENDED;
use crate::pg::{Parameter, QueryError, Tid};

/// The number of connections that may be lost in the batch of an agent before it is set aside.
const TRIES: i32 = 2;

/// The first row of the outbox for a new connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// Nothing is in the outbox.
    Nothing,
    /// A slug is noted: that on which the last connection ended, if it is in the outbox, or else
    /// that of the first row. Connections have not ended on it too often.
    First,
    /// Connections have ended on it; it is to be set aside, so that the others go on.
    TooOften {
        /// How many.
        times: i32,
    },
}

/// Code of others that runs in the session when a configuration is written: triggers besides those
/// of the install, and functions in constraints, domains, policies, indexes and generated columns
/// (`queries::RUNS_FOREIGN_CODE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignCode {
    /// None does.
    None,
    /// With the statement that writes.
    WithTheWrite,
    /// With the commit, to which no time limit of PostgreSQL applies; perhaps with the write as
    /// well.
    WithTheCommit,
}

/// The state of the session, as far as code of others that runs in it can change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionState {
    /// Whether it listens on both channels.
    pub listens: bool,
    /// Whether it holds the leader lock.
    pub leads: bool,
    /// Whether it holds the lock that tells writers that the daemon sleeps.
    pub holds_idle: bool,
    /// All that is set in it, in one text.
    pub settings: String,
}

impl Store {
    /// The state of the session.
    pub async fn session_state(&self) -> Result<SessionState, QueryError> {
        let row = self.db.one(queries::SESSION_STATE, &[]).await?;
        Ok(SessionState {
            listens: row.try_get(0)?,
            leads: row.try_get(1)?,
            holds_idle: row.try_get(2)?,
            settings: row.try_get(3)?,
        })
    }

    /// The code of others that runs with a write of a configuration.
    pub async fn foreign_code(&self) -> Result<ForeignCode, QueryError> {
        let table = &self.layout.configurations.table;
        let found = self
            .db
            .one(queries::RUNS_FOREIGN_CODE, &[(table, Type::TEXT)])
            .await?;
        Ok(match (found.try_get(0)?, found.try_get(1)?) {
            (_, true) => ForeignCode::WithTheCommit,
            (true, false) => ForeignCode::WithTheWrite,
            (false, false) => ForeignCode::None,
        })
    }

    /// Whether a save of an agent can wait for a batch, because a foreign key of the configurations
    /// cascades. If so, the session holds its locks for less time.
    pub async fn holds_up_cascades(&mut self) -> Result<bool, QueryError> {
        let tables = self.layout.tables();
        let cascades: bool = self.db.value(queries::CASCADES, &tables).await?;
        if cascades {
            self.db.batch(queries::SHORT_IDLE).await?;
            // It is set again with the others after code of others has run.
            self.usual_settings.push_str("; ");
            self.usual_settings.push_str(queries::SHORT_IDLE);
        }
        Ok(cascades)
    }

    /// Notes a slug that is known to end connections as the one that is tried next: if the
    /// connection ends, the next sets it aside.
    pub async fn note_dangerous(&self, slug: &str) -> Result<(), QueryError> {
        self.db
            .run(
                queries::NOTE_DANGEROUS,
                &[(&slug, Type::TEXT), (&TRIES, Type::INT4)],
            )
            .await
    }

    /// Notes the slug that the connection begins with, which is that of the first row of the outbox
    /// from a place on unless the last connection has ended on another.
    pub async fn note_first(&self, from: Tid) -> Result<Tried, QueryError> {
        let parameters: [Parameter<'_>; 3] = [
            (&from, Type::TID),
            (&CONNECTION_ENDED, Type::TEXT),
            (&TRIES, Type::INT4),
        ];
        let note_first = queries::note_first(self.layout.keys());
        let tries: Option<i32> = self.db.opt_value(&note_first, &parameters).await?;
        Ok(match tries {
            None => Tried::Nothing,
            Some(tries) if tries <= TRIES => Tried::First,
            Some(tries) => Tried::TooOften { times: tries - 1 },
        })
    }

    /// Forgets it: the batch is committed.
    pub async fn forget_first(&self) -> Result<(), QueryError> {
        self.db.run(queries::FORGET_FIRST, &[]).await
    }

    /// Takes every row of the slug that was noted out of the outbox, and notes why. Returns the
    /// slug, for a reader; none if none is noted.
    pub async fn set_aside_noted(
        &self,
        detail: &str,
        sqlstate: Option<&str>,
    ) -> Result<Option<String>, QueryError> {
        let parameters: [Parameter<'_>; 2] = [(&detail, Type::TEXT), (&sqlstate, Type::TEXT)];
        let set_aside = queries::set_aside_first(self.layout.keys());
        let slug: Option<Lossy> = self.db.opt_value(&set_aside, &parameters).await?;
        Ok(slug.map(|slug| slug.0))
    }

    /// Takes the first row of the outbox from a place on, which cannot even be read with what it is
    /// about, and notes why. Returns its slug, for a reader; none if there is no row.
    pub async fn set_aside_first(
        &self,
        from: Tid,
        detail: &str,
        sqlstate: &str,
    ) -> Result<Option<String>, QueryError> {
        let parameters: [Parameter<'_>; 3] = [
            (&from, Type::TID),
            (&detail, Type::TEXT),
            (&sqlstate, Type::TEXT),
        ];
        let set_aside = queries::set_aside_unreadable(self.layout.keys());
        let slug: Option<Lossy> = self.db.opt_value(&set_aside, &parameters).await?;
        Ok(slug.map(|slug| slug.0))
    }
}
