//! The suspect of a connection: the one agent that it begins with, or, after a scan, one on which
//! connections have ended. It is to blame if the connection ends.
//!
//! The suspect is noted before it is tried (G1, G5). Whatever ends a connection in the middle of a
//! batch (a time limit of the server or of a proxy, a crash of either side, too little memory) ends
//! the next one as well, if that begins with the same batch. So a connection begins with one slug,
//! which is noted in `agent_sync.install` in a transaction of its own, so that a crash of the
//! daemon counts too. Batches grow from there. The slug that two connections have ended on is set
//! aside by the third, with all of its rows in the outbox, as a problem that is tried again later:
//! alone, and set aside by the next connection if this one ends.

use postgres_types::Type;

use super::batch::Lossy;
use super::{Store, queries};
use crate::pg::sqlstate::CONNECTION_ENDED;
use crate::pg::{Parameter, QueryError, Tid};

/// The number of connections that may be lost in the batch of an agent before it is set aside.
const TRIES: i32 = 2;

/// The agent that a new connection begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspect {
    /// Nothing is in the outbox.
    None,
    /// A slug is noted: that on which the last connection ended, if it is in the outbox, or else
    /// that of the first row. Connections have not ended on it too often.
    Noted,
    /// Connections have ended on it; it is to be set aside, so that the others go on.
    TooOften {
        /// How many.
        times: i32,
    },
}

impl Store {
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
    pub async fn note_suspect(&self, from: Tid) -> Result<Suspect, QueryError> {
        let parameters: [Parameter<'_>; 3] = [
            (&from, Type::TID),
            (&CONNECTION_ENDED, Type::TEXT),
            (&TRIES, Type::INT4),
        ];
        let note_suspect = queries::note_suspect(self.layout.keys());
        let tries: Option<i32> = self.db.opt_value(&note_suspect, &parameters).await?;
        Ok(match tries {
            None => Suspect::None,
            Some(tries) if tries <= TRIES => Suspect::Noted,
            Some(tries) => Suspect::TooOften { times: tries - 1 },
        })
    }

    /// Forgets it: its batch is over, and the connection is not.
    pub async fn forget_suspect(&self) -> Result<(), QueryError> {
        self.db.run(queries::FORGET_SUSPECT, &[]).await
    }

    /// Takes every row of the slug that was noted out of the outbox, and notes why. Returns the
    /// slug, for a reader; none if none is noted.
    pub async fn set_aside_suspect(
        &self,
        detail: &str,
        sqlstate: Option<&str>,
    ) -> Result<Option<String>, QueryError> {
        let parameters: [Parameter<'_>; 2] = [(&detail, Type::TEXT), (&sqlstate, Type::TEXT)];
        let set_aside = queries::set_aside_suspect(self.layout.keys());
        let slug: Option<Lossy> = self.db.opt_value(&set_aside, &parameters).await?;
        Ok(slug.map(|slug| slug.0))
    }

    /// Takes the first row of the outbox from a place on, without those of some keys, which cannot
    /// even be read with what it is about, and notes why. Returns its slug, for a reader; none if
    /// there is no row.
    pub async fn set_aside_row(
        &self,
        (from, without): (Tid, &[String]),
        detail: &str,
        sqlstate: &str,
    ) -> Result<Option<String>, QueryError> {
        let parameters: [Parameter<'_>; 4] = [
            (&from, Type::TID),
            (&detail, Type::TEXT),
            (&sqlstate, Type::TEXT),
            (&without, Type::TEXT_ARRAY),
        ];
        let set_aside = queries::set_aside_row(self.layout.keys());
        let slug: Option<Lossy> = self.db.opt_value(&set_aside, &parameters).await?;
        Ok(slug.map(|slug| slug.0))
    }
}
