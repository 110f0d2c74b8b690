//! PostgreSQL in general: identifiers in SQL, positions of rows, errors, and queries with a
//! limit for the time of every answer.
//!
//! This module knows no table. `store` has the queries of the daemon.

mod db;
mod error;
pub mod identifier;
pub mod password;
pub mod sqlstate;
mod tid;
mod told;
mod value;

pub use db::{AnswerLimit, Db, Parameter, SENT, without_sent};
pub use error::QueryError;
pub use tid::{RowRef, Tid, Version};
pub use told::{told, unmarked};
pub use value::{List, Seconds};
