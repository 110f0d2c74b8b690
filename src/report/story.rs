//! The state of one agent in one database: agent, configurations, the result of the mapping, the
//! pending change, the problem and the latest writes.

use std::ops::ControlFlow;
use std::time::SystemTime;

use postgres_types::Type;
use serde::Serialize;
use tokio_postgres::Row;

use crate::columns::Column;
use crate::mapping::{Configuration, Difference, Rules, Value, diff, fields_of, fields_of_agent};
use crate::pg::{Db, List, Parameter, QueryError};
use crate::store::Layout;
use crate::store::report;
use crate::store::surveyed::{self, Extent, Named, Surveyed};
use crate::survey::{Comparison, Scope, survey};
use crate::time;

/// The number of writes to read from the history.
const LATEST: i64 = 5;

/// The most agents with one slug whose fields are read.
const SHOWN: usize = 20;

/// The state of one agent.
#[derive(Debug)]
pub struct Story {
    /// The agent's fields without secrets; of each agent, up to 20, if several have the slug.
    pub agents: Vec<Vec<(String, Value)>>,
    /// The fields of each configuration.
    pub configurations: Vec<Vec<(String, Value)>>,
    /// The comparison with the mapping.
    pub findings: Option<Comparison>,
    /// A sentence on each setting of the agent that no rule reads.
    pub unmapped: Vec<String>,
    /// The number of configurations with the slug.
    pub rows: i64,
    /// The time of the oldest pending change.
    pub pending: Option<Since>,
    /// The row of `agent_sync.problem`.
    pub problem: Option<Problem>,
    /// The latest writes, newest first.
    pub history: Vec<Write>,
}

impl Story {
    /// The reason of the noted problem; empty if there is none.
    pub(super) fn noted(&self) -> &str {
        self.problem
            .as_ref()
            .map_or("", |problem| problem.detail.as_str())
    }
}

/// A row of `agent_sync.history`.
#[derive(Debug, Clone, Serialize)]
pub struct Write {
    /// The time of the write.
    #[serde(flatten)]
    pub since: Since,
    /// The primary key of the configuration.
    pub configuration: Option<String>,
    /// The written columns without the timestamps.
    pub columns: Vec<String>,
    /// The differences in `provider_config` without secrets (G11).
    pub differences: Vec<Difference>,
    /// The application of the transaction that caused it.
    pub application_name: Option<String>,
    /// The role of that transaction.
    pub role: Option<String>,
}

impl Write {
    fn of(rules: &Rules, row: &Row) -> Result<Self, tokio_postgres::Error> {
        let state = |column| {
            let provider_config = row.try_get(column)?;
            let state = Configuration::default().with(Column::ProviderConfig, provider_config);
            Ok::<_, tokio_postgres::Error>(state)
        };
        Ok(Self {
            since: Since {
                since: time::rfc3339(row.try_get("at")?),
                seconds: row.try_get("seconds")?,
            },
            configuration: row.try_get("configuration")?,
            columns: row.try_get::<_, List<_>>("columns")?.0,
            differences: diff(rules, &state("before")?, &state("after")?).differences,
            application_name: row.try_get("application_name")?,
            role: row.try_get("role")?,
        })
    }
}

/// A time and its age.
#[derive(Debug, Clone, Serialize)]
pub struct Since {
    /// The time by the server's clock.
    pub since: String,
    /// The age in seconds.
    pub seconds: f64,
}

/// A row of `agent_sync.problem`.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// The kind of the problem.
    pub kind: String,
    /// The reason.
    pub detail: String,
    /// The SQLSTATE of a failed write.
    pub sqlstate: Option<String>,
    /// The time since which the problem has this kind.
    #[serde(flatten)]
    pub since: Since,
    /// The number of attempts.
    pub attempts: i32,
    /// The time until the next attempt, in seconds.
    pub next_attempt_seconds: Option<f64>,
}

impl Problem {
    fn of(row: &Row) -> Result<Option<Self>, tokio_postgres::Error> {
        let Some(since) = since(row.try_get("since")?, row.try_get("seconds")?) else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind: row.try_get("kind")?,
            detail: row.try_get("detail")?,
            sqlstate: row.try_get("sqlstate")?,
            since,
            attempts: row.try_get("attempts")?,
            next_attempt_seconds: row.try_get("next_attempt_seconds")?,
        }))
    }
}

/// Reads the state of one agent.
pub async fn story(
    db: &Db,
    rules: &Rules,
    layout: &Layout,
    installed: bool,
    key: &str,
) -> Result<Story, QueryError> {
    let (keys, own): (_, [Parameter<'_>; 1]) = (layout.keys(), [(&key, Type::TEXT)]);
    let rows = db
        .value(&report::count_configurations(layout), &own)
        .await?;
    let (mut pending, mut problem, mut history) = (None, None, Vec::new());
    if installed {
        let row = db.one(&report::pending_of(keys), &own).await?;
        pending = since(row.try_get("since")?, row.try_get("seconds")?);
        let row = db.opt(&report::problem_of(keys), &own).await?;
        problem = row.as_ref().map(Problem::of).transpose()?.flatten();
        let latest: [Parameter<'_>; 2] = [(&key, Type::TEXT), (&LATEST, Type::INT8)];
        let rows = db.all(&report::history_of(keys), &latest).await?;
        history = rows
            .iter()
            .map(|row| Write::of(rules, row))
            .collect::<Result<_, _>>()?;
    }
    let (agents, configurations) = saved(db, rules, layout, key).await?;
    let mut findings = None::<Comparison>;
    let scope = Scope {
        named: Some((Named::Keys, &[key])),
        noted: installed,
        ..Scope::default()
    };
    survey(db, layout, rules, scope, |found| {
        findings = Some(found.clone());
        ControlFlow::Break(())
    })
    .await?;
    let unmapped = findings.as_ref().map(|found| found.unmapped.remarks(rules));
    Ok(Story {
        agents,
        configurations,
        unmapped: unmapped.unwrap_or_default(),
        findings,
        rows,
        pending,
        problem,
        history,
    })
}

/// Fields with their paths.
type Fields = Vec<(String, Value)>;

/// The fields of the agents with the key and of their configurations.
async fn saved(
    db: &Db,
    rules: &Rules,
    layout: &Layout,
    key: &str,
) -> Result<(Vec<Fields>, Vec<Fields>), QueryError> {
    let keys = [key];
    let no_bound = None::<&str>;
    let scope: [Parameter<'_>; 3] = [
        (&&keys[..], Type::TEXT_ARRAY),
        (&no_bound, Type::TEXT),
        (&no_bound, Type::TEXT),
    ];
    let rows = match db
        .all(
            &surveyed::survey(layout, Extent::default(), Named::Keys),
            &scope,
        )
        .await
    {
        Ok(rows) => rows,
        // The survey reports such a row.
        Err(error) if error.is_of_a_row() => return Ok((Vec::new(), Vec::new())),
        Err(error) => return Err(error),
    };
    let (mut agents, mut configurations) = (Vec::new(), Vec::new());
    for (index, row) in rows.iter().enumerate() {
        let row = Surveyed::of(row)?;
        // The rows of a configuration follow each other, one for each agent.
        let number = usize::try_from(row.agents).unwrap_or(usize::MAX).max(1);
        if index < number.min(SHOWN) {
            // A value that is no text is left out.
            agents.push(fields_of_agent(rules, &row.agent.unwrap_or_default()));
        }
        if index % number == 0 {
            let configuration = row.configuration.and_then(Result::ok);
            configurations
                .extend(configuration.map(|configuration| fields_of(rules, &configuration)));
        }
    }
    Ok((agents, configurations))
}

fn since(since: Option<SystemTime>, seconds: Option<f64>) -> Option<Since> {
    Some(Since {
        since: time::rfc3339(since?),
        seconds: seconds?,
    })
}
