//! Queries over one connection, with a limit for the time of every answer.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt as _;
use postgres_types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

use super::QueryError;
use crate::observe::pulse;
use crate::settings::InstallSchema;

/// The call of the function of the install that gives a text, or null if it is not the same after
/// the way to UTF-8 and back (G5). Statements are written with it, and only a database that is
/// neither UTF-8 nor `SQL_ASCII` has it.
pub const SENT: &str = "/* sent */ agent_sync.sent(";

/// A statement without calls of [`SENT`]: each argument stays, in parentheses.
pub fn without_sent(statement: &str) -> Cow<'_, str> {
    if statement.contains(SENT) {
        Cow::Owned(statement.replace(SENT, "("))
    } else {
        Cow::Borrowed(statement)
    }
}

/// A parameter of a query that is not prepared, with its type.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The most memory for one answer of a connection, in bytes. The session's guard ends a connection
/// with a larger one (G12).
#[derive(Debug, Clone)]
pub struct AnswerLimit {
    bytes: Arc<AtomicU64>,
}

impl AnswerLimit {
    /// A limit of this many bytes.
    pub fn new(bytes: u64) -> Self {
        Self {
            bytes: Arc::new(AtomicU64::new(bytes)),
        }
    }

    /// The present limit.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Raises the limit, unless it is higher.
    pub fn raise(&self, bytes: u64) {
        self.bytes.fetch_max(bytes, Ordering::Relaxed);
    }
}

impl Default for AnswerLimit {
    /// No limit.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

/// One connection, and the longest time for an answer.
///
/// The first poll sends the query. So `tokio::join!` with `biased` sends several queries in one
/// round trip, and the server executes them in that order.
#[derive(Debug, Clone)]
pub struct Db {
    client: Arc<Client>,
    time_limit: Duration,
    answer_limit: AnswerLimit,
    row_limit: usize,
    schema: InstallSchema,
    converts: bool,
}

impl Db {
    /// The most bytes of a row, where they are limited: the values are names and short texts.
    pub const ROW: usize = 1024 * 1024;

    /// A connection with these limits for every answer.
    pub fn new(client: Arc<Client>, time_limit: Duration, answer_limit: AnswerLimit) -> Self {
        Self {
            client,
            time_limit,
            answer_limit,
            row_limit: usize::MAX,
            schema: InstallSchema::default(),
            converts: false,
        }
    }

    /// The same connection, for the install in this schema: all that it sends is written for the
    /// usual schema, and changed to this one.
    #[must_use]
    pub fn for_schema(&self, schema: InstallSchema) -> Self {
        Self {
            schema,
            ..self.clone()
        }
    }

    /// The same connection, where the server converts text, and the install has [`SENT`].
    #[must_use]
    pub fn converting(&self) -> Self {
        Self {
            converts: true,
            ..self.clone()
        }
    }

    /// A statement as it is sent: for the schema of this install, and without [`SENT`] where the
    /// server converts nothing.
    fn own<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        if self.converts {
            return self.schema.localize(statement);
        }
        match without_sent(statement) {
            Cow::Borrowed(same) => self.schema.localize(same),
            Cow::Owned(plain) => Cow::Owned(self.schema.localize(&plain).into_owned()),
        }
    }

    /// The schema of the install.
    pub fn schema(&self) -> &InstallSchema {
        &self.schema
    }

    /// The same connection, where a row of a query that is not prepared has at most [`Self::ROW`].
    #[must_use]
    pub fn with_small_rows(&self) -> Self {
        Self {
            row_limit: Self::ROW,
            ..self.clone()
        }
    }

    fn fits(&self, row: &Row) -> Result<(), QueryError> {
        match row.raw_size_bytes() {
            bytes if bytes > self.row_limit => Err(QueryError::Large(bytes)),
            _ => Ok(()),
        }
    }

    /// The most memory for one answer.
    pub fn answer_limit(&self) -> &AnswerLimit {
        &self.answer_limit
    }

    /// The same connection with another limit.
    #[must_use]
    pub fn with_time_limit(&self, time_limit: Duration) -> Self {
        Self {
            time_limit,
            ..self.clone()
        }
    }

    /// The longest time for an answer.
    pub fn time_limit(&self) -> Duration {
        self.time_limit
    }

    /// Runs statements without parameters and without rows.
    pub async fn batch(&self, statements: &str) -> Result<(), QueryError> {
        let statements = self.own(statements);
        self.within(self.client.batch_execute(&statements)).await
    }

    /// Runs statements in the simple protocol and returns the rows as text.
    pub async fn simple(&self, statements: &str) -> Result<Vec<SimpleQueryMessage>, QueryError> {
        let statements = self.own(statements);
        self.within(self.client.simple_query(&statements)).await
    }

    /// All rows.
    pub async fn all(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, QueryError> {
        let query = self.own(query);
        let rows = self
            .within(self.client.query_typed(&query, parameters))
            .await?;
        rows.iter().try_for_each(|row| self.fits(row))?;
        Ok(rows)
    }

    /// The rows of a query without parameters, which returns at most `most`. More of them are an
    /// error, and none of these are kept.
    pub async fn at_most(&self, most: usize, query: &str) -> Result<Vec<Row>, QueryError> {
        let query = self.own(query);
        let answer = async {
            let none = std::iter::empty::<(i32, Type)>();
            let mut answer = pin!(self.client.query_typed_raw(&query, none).await?);
            let mut rows = Vec::new();
            while let Some(row) = answer.try_next().await? {
                if rows.len() == most {
                    return Ok(None);
                }
                rows.push(row);
            }
            Ok(Some(rows))
        };
        let rows = self
            .within(answer)
            .await?
            .ok_or(QueryError::Surplus(most))?;
        rows.iter().try_for_each(|row| self.fits(row))?;
        Ok(rows)
    }

    /// The row, if there is one.
    pub async fn opt(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, QueryError> {
        let query = self.own(query);
        let row = self
            .within(self.client.query_typed_opt(&query, parameters))
            .await?;
        row.iter().try_for_each(|row| self.fits(row))?;
        Ok(row)
    }

    /// The one row.
    pub async fn one(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<Row, QueryError> {
        let query = self.own(query);
        let row = self
            .within(self.client.query_typed_one(&query, parameters))
            .await?;
        self.fits(&row)?;
        Ok(row)
    }

    /// The first column of the one row.
    pub async fn value<T: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<T, QueryError> {
        Ok(self.one(query, parameters).await?.try_get(0)?)
    }

    /// The first column of the row, if there is one.
    pub async fn opt_value<T: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<T>, QueryError> {
        let row = self.opt(query, parameters).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// The first column of all rows.
    pub async fn column<T: FromSqlOwned>(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<T>, QueryError> {
        let rows = self.all(query, parameters).await?;
        Ok(rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?)
    }

    /// Runs a statement.
    pub async fn run(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<(), QueryError> {
        self.run_counted(query, parameters).await.map(drop)
    }

    /// Runs a statement and returns the number of its rows.
    pub async fn run_counted(
        &self,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64, QueryError> {
        let query = self.own(query);
        self.within(self.client.execute_typed(&query, parameters))
            .await
    }

    /// Prepares a statement. PostgreSQL infers the types of the parameters that `types` leaves out.
    pub async fn prepare(&self, query: &str, types: &[Type]) -> Result<Statement, QueryError> {
        let query = self.own(query);
        self.within(self.client.prepare_typed(&query, types)).await
    }

    /// All rows of a prepared statement.
    pub async fn all_prepared(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, QueryError> {
        self.within(self.client.query(statement, parameters)).await
    }

    /// The first column of the one row of a prepared statement without parameters.
    pub async fn value_prepared<T: FromSqlOwned>(
        &self,
        statement: &Statement,
    ) -> Result<T, QueryError> {
        let row = self.within(self.client.query_one(statement, &[])).await?;
        Ok(row.try_get(0)?)
    }

    /// Runs a prepared statement and returns the number of its rows.
    pub async fn run_prepared(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, QueryError> {
        self.within(self.client.execute(statement, parameters))
            .await
    }

    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, QueryError> {
        match pulse::timeout(self.time_limit, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(QueryError::Silent(self.time_limit)),
        }
    }
}
