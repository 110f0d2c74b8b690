//! The problems of agents, as `agent_sync.problem` keeps them.

use std::time::Instant;

use postgres_types::Type;

use super::Store;
use super::batch::Outcome;
use super::near::{self, NearLookups, named};
use super::queries::{self, HEAVIEST, MOST_CONFIGURATIONS};
use crate::mapping::quoted;
use crate::pg::{Db, Parameter, QueryError, Tid, Version};

/// The reason of a missing configuration, before the slug of one that is almost the same.
pub const NO_CONFIGURATION: &str = "no configuration has this slug";

/// Whether the reason of a missing configuration names one whose slug is almost the same.
pub(super) fn names_near(detail: &str) -> bool {
    let near = detail.strip_prefix(NO_CONFIGURATION);
    near.is_some_and(|near| !near.is_empty())
}

/// Why a slug is not in sync, as `agent_sync.problem` keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// No configuration has the slug (G6).
    MissingConfiguration,
    /// The agent cannot be mapped to its configurations (M7): for its settings, its key, its weight
    /// or the number of its configurations.
    Rejected,
    /// The agent could not be brought in sync (G5): a refused write, a row that cannot be read,
    /// seen or deleted, a damaged index, or ended connections.
    Failed,
    /// More than one agent has the slug (T5).
    Ambiguous,
}

impl ProblemKind {
    /// Every kind.
    pub(super) const ALL: [Self; 4] = [
        Self::MissingConfiguration,
        Self::Rejected,
        Self::Failed,
        Self::Ambiguous,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::MissingConfiguration => "missing_configuration",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// One row for `agent_sync.problem`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key of the agent.
    pub key: String,
    /// The kind.
    pub kind: ProblemKind,
    /// The reason in a sentence or more, without prompts and keys.
    pub detail: String,
    /// Of a failure that has one.
    pub sqlstate: Option<String>,
    /// Of a missing configuration: the slug of one that is almost the same, or its beginning.
    pub near: Option<String>,
    /// Whether it is tried again after a while, because its end is captured by no trigger: a
    /// failure, and what is wrong with a configuration.
    pub retries: bool,
    /// Whether the slug was processed because of a request (I7): then a problem that is noted
    /// already, and was not due for a retry, is neither noted again nor logged.
    pub asked: bool,
}

impl Problem {
    /// A failure, which is retried.
    pub fn failed(key: &str, detail: &str, sqlstate: &str) -> Self {
        Self {
            key: key.to_owned(),
            kind: ProblemKind::Failed,
            detail: detail.to_owned(),
            sqlstate: Some(sqlstate.to_owned()),
            near: None,
            retries: true,
            asked: false,
        }
    }
}

/// Why an agent without tenant is rejected, where tenants are set: NULL is no tenant.
pub const NO_TENANT: &str =
    "tenant: expected a value, found null, so no configuration can be that of the agent";

/// Why an agent is rejected that weighs this together with a configuration.
pub fn too_heavy(weight: f64) -> String {
    format!(
        "the agent and its configuration: expected at most {HEAVIEST} bytes together, found about \
        {weight}"
    )
}

/// Why an agent is rejected that has more than [`MOST_CONFIGURATIONS`].
pub fn too_many() -> String {
    format!(
        "the configurations: expected at most {MOST_CONFIGURATIONS} for one agent, found more, and \
        none is written; delete those that are not in use, or give them the slugs of other agents"
    )
}

impl Store {
    /// Adds to those of the problems that are about these keys without a configuration the slug of
    /// one that is almost equal (T7): of the first of the keys, and not during a pause between two
    /// lookups. The transaction of the batch goes on as if there had been no lookup, also where it
    /// fails.
    ///
    /// Returns how many of the keys were looked up, and those of them that a configuration has: an
    /// index has missed it.
    pub async fn name_near(
        &self,
        lookups: &NearLookups,
        keys: &[&str],
        problems: &mut [Problem],
    ) -> Result<(usize, Vec<String>), QueryError> {
        let begun = Instant::now();
        let keys = lookups.of(keys, begun);
        let none = (0, Vec::new());
        if keys.is_empty() {
            return Ok(none);
        }
        let query = queries::near_misses(&self.layout);
        let how = if self.layout.has_integer_slugs() || self.layout.has_uuid_slugs() {
            "the way it is written"
        } else {
            "case, blanks or Unicode form"
        };
        let table = &self.layout.configurations.table;
        let given: [Parameter<'_>; 2] = [(&keys, Type::TEXT_ARRAY), (table, Type::TEXT)];
        let limited = format!(
            "SAVEPOINT near; SET LOCAL statement_timeout = {}",
            near::LONGEST.as_millis()
        );
        // The time limit of before comes back with the savepoint.
        let (set, found, undone) = tokio::join!(
            biased;
            self.db.batch(&limited),
            self.db.all(&query, &given),
            self.db.batch("ROLLBACK TO near; RELEASE near"),
        );
        match &found {
            Ok(_) => lookups.took(begun.elapsed(), Instant::now()),
            Err(_) => lookups.failed(Instant::now()),
        }
        set?;
        undone?;
        let found = match found {
            Err(QueryError::Postgres(error)) if error.as_db_error().is_some() => return Ok(none),
            found => found?,
        };
        let mut missed = Vec::new();
        for row in &found {
            let (key, slug): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if row.try_get(2)? {
                missed.push(key);
                continue;
            }
            let slug = named(&slug);
            if let Some(problem) = problems.iter_mut().find(|problem| problem.key == key) {
                problem.detail = format!(
                    "{}, and one has {}, which differs in {how} alone",
                    problem.detail,
                    quoted(&slug)
                );
                problem.near = Some(slug);
            }
        }
        Ok((keys.len(), missed))
    }

    /// Notes problems, and returns the keys whose problem is not to be logged (G5, S8).
    pub(super) async fn note_problems(
        &self,
        db: &Db,
        problems: &[Problem],
    ) -> Result<Vec<String>, QueryError> {
        if problems.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = problems
            .iter()
            .map(|problem| problem.key.as_str())
            .collect();
        let kinds: Vec<&str> = problems.iter().map(|problem| problem.kind.name()).collect();
        let details: Vec<&str> = problems
            .iter()
            .map(|problem| problem.detail.as_str())
            .collect();
        let states: Vec<Option<&str>> = problems
            .iter()
            .map(|problem| problem.sqlstate.as_deref())
            .collect();
        let retries: Vec<bool> = problems.iter().map(|problem| problem.retries).collect();
        let asked: Vec<bool> = problems.iter().map(|problem| problem.asked).collect();
        let rows = db
            .all_prepared(
                &self.writes.note_problems,
                &[&keys, &kinds, &details, &states, &retries, &asked],
            )
            .await?;
        let not_logged: Result<_, _> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(not_logged?)
    }

    /// Sets the rows of the outbox aside whose slug is no text for this program, and ends the
    /// problems of those that no agent has any more.
    pub(super) async fn set_aside_not_text(
        &self,
        db: &Db,
        outcome: &Outcome<'_>,
    ) -> Result<(), QueryError> {
        let keys = self.layout.keys();
        let run = async |query: String, (places, versions): &(Vec<Tid>, Vec<Version>)| {
            if places.is_empty() {
                return Ok(());
            }
            let rows: [Parameter<'_>; 2] = [(places, Type::TID_ARRAY), (versions, Type::XID_ARRAY)];
            db.run(&query, &rows).await
        };
        // Both are sent at the first poll, before the commit.
        let (set_aside, forgotten) = tokio::join!(
            biased;
            run(queries::set_aside_not_text(keys), &outcome.not_text),
            run(queries::forget_not_text(keys), &outcome.gone_not_text),
        );
        set_aside?;
        forgotten
    }
}
