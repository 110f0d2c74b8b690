//! The permission to plan queries on the two tables (S27).
//!
//! PostgreSQL evaluates code of the owner of a table while it plans a query on it, such as the
//! predicate of an index, with the rights of the role of the session. Invariant: a command that
//! does not need the rows plans no query on the two tables in a session with more rights than their
//! owners. The statements that such commands share with others take a [`MayRead`], and the session
//! of such a command [gives one](MayRead::of) only where no owner gains rights by it.

use postgres_types::Type;

use super::queries::may_read;
use crate::pg::identifier::Quoted;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::Database;

/// The permission.
#[derive(Debug, Clone, Copy)]
pub struct MayRead(());

impl MayRead {
    /// For the daemon, and for a command whose answer is made of the rows: its role is a choice of
    /// the user.
    pub fn asked_for() -> Self {
        Self(())
    }

    /// For another command: none where this session can have rights that an owner of the two tables
    /// lacks, and has not logged in as that owner.
    pub async fn of(db: &Db, database: &Database) -> Result<Option<Self>, QueryError> {
        let (agents, configurations) = (&database.agents, &database.configurations);
        let agents = format!("{}.{}", Quoted(&agents.schema), Quoted(&agents.table));
        let configurations = format!(
            "{}.{}",
            Quoted(&configurations.schema),
            Quoted(&configurations.table)
        );
        let tables: [Parameter<'_>; 2] = [(&agents, Type::TEXT), (&configurations, Type::TEXT)];
        let may_read: bool = db.value(&may_read(), &tables).await?;
        Ok(may_read.then_some(Self(())))
    }
}
