//! A fault or a warning about a database, with its text, its consequence and its remedy (G10).
//!
//! Each subject has a file. A finding that [is fatal](Finding::is_fatal) ends the connection; the
//! next one checks again, so a repaired database is served without a restart. The others are
//! reported once, and the daemon goes on.

mod column;
mod install;
mod rights;
mod server;
mod table;

use std::borrow::Cow;

pub use column::Column;
pub use install::Install;
pub use rights::{Rights, role_argument};
pub use server::Server;
pub use table::Table;

/// A fault or a warning about a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// About the server.
    #[error(transparent)]
    Server(#[from] Server),
    /// About the schema `agent_sync`.
    #[error(transparent)]
    Install(#[from] Install),
    /// About privileges, row-level security and owners.
    #[error(transparent)]
    Rights(#[from] Rights),
    /// About a table.
    #[error(transparent)]
    Table(#[from] Table),
    /// About a column and its indexes.
    #[error(transparent)]
    Column(#[from] Column),
}

/// The consequence of a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Consequence {
    /// The daemon goes on.
    Caution,
    /// The daemon goes on, and changes may be missed or cannot be applied.
    Misses,
    /// Nothing can be done in this database.
    Stops,
    /// Nothing can be done, and changes may be missed.
    StopsAndMisses,
}

impl Finding {
    /// Whether nothing can be done in this database while it is so.
    pub fn is_fatal(&self) -> bool {
        matches!(
            self.consequence(),
            Consequence::Stops | Consequence::StopsAndMisses
        )
    }

    /// Whether changes may be missed or cannot be applied while it is so, so that every agent has
    /// to be checked afterwards (G1).
    pub fn misses_changes(&self) -> bool {
        matches!(
            self.consequence(),
            Consequence::Misses | Consequence::StopsAndMisses
        )
    }

    /// Whether two agents may have one key.
    pub fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Column(Column::NotUnique { .. }))
    }

    /// Whether an index does not find all rows.
    pub fn is_bad_index(&self) -> bool {
        matches!(self, Self::Column(Column::IndexMisses { .. }))
    }

    fn consequence(&self) -> Consequence {
        match self {
            Self::Server(finding) => finding.consequence(),
            Self::Install(finding) => finding.consequence(),
            Self::Rights(finding) => finding.consequence(),
            Self::Table(finding) => finding.consequence(),
            Self::Column(Column::IndexMisses { .. }) => Consequence::Misses,
            // The others are synced all the same.
            Self::Column(_) => Consequence::Caution,
        }
    }

    /// The remedy.
    pub fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Server(finding) => finding.remedy().into(),
            Self::Install(finding) => finding.remedy().into(),
            Self::Rights(finding) => finding.remedy(),
            Self::Table(finding) => finding.remedy().into(),
            Self::Column(finding) => finding.remedy(),
        }
    }

    /// The statements that would repair it, one by one, where they are too many for the remedy.
    pub fn statements(&self) -> &[String] {
        match self {
            Self::Rights(finding) => finding.statements(),
            _ => &[],
        }
    }
}
