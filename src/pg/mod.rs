//! PostgreSQL in general: identifiers in SQL, positions of rows, errors, and the time limit of
//! every answer.
//!
//! This module knows no table. `store` has the queries of the daemon.

mod error;
pub mod identifier;
pub mod sqlstate;
mod tid;

use std::time::Duration;

pub use error::QueryError;
pub use tid::{RowRef, Tid, Version};

use crate::observe::pulse;

/// The answer, or an error when it takes too long.
pub async fn within<T>(
    time_limit: Duration,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, QueryError> {
    match pulse::timeout(time_limit, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(QueryError::Silent(time_limit)),
    }
}
