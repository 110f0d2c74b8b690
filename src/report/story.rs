//! The state of one agent in one database: agent, configurations, the result of the mapping, the
//! pending change, the problem and the latest writes.

use std::time::SystemTime;

use postgres_types::Type;
use serde::Serialize;
use tokio_postgres::Row;

use super::reach::Reach;
use crate::columns::Column;
use crate::key::Keys;
use crate::mapping::{Configuration, Difference, Rules, Value, diff, fields_of, fields_of_agent};
use crate::pg::{Db, List, Parameter, QueryError, told};
use crate::show::{bounded, plural};
use crate::store::Layout;
use crate::store::report;
use crate::store::surveyed::Surveyed;
use crate::survey::{Comparison, Verdict, compare};
use crate::time;

/// The number of writes to read from the history.
const LATEST: i64 = 5;

/// The most agents with one slug whose fields are read.
const SHOWN: usize = 20;

/// Fields with their paths.
type Fields = Vec<(String, Value)>;

/// The state of one agent.
#[derive(Debug, Default)]
pub struct Story {
    /// The agent's fields without secrets; of each agent, up to 20, if several have the slug.
    pub agents: Vec<Vec<(String, Value)>>,
    /// The fields of each configuration.
    pub configurations: Vec<Vec<(String, Value)>>,
    /// The comparison with the mapping, as far as it was read.
    pub findings: Option<Comparison>,
    /// The least weight of the agent and a configuration, in bytes, where that is too much to read
    /// them.
    pub unread: Option<f64>,
    /// A sentence on each part that is left out because of its size.
    pub left_out: Vec<String>,
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
    /// The verdict of the comparison; `None` without an agent, and where it was not compared as a
    /// whole.
    pub fn verdict(&self) -> Option<Verdict> {
        let verdict = self.findings.as_ref()?.verdict();
        let is_known = match verdict {
            Verdict::Rejected | Verdict::Ambiguous | Verdict::Missing => true,
            Verdict::InSync | Verdict::Pending | Verdict::Drifted => self.unread.is_none(),
        };
        is_known.then_some(verdict)
    }

    /// Notes that so many parts are left out, unless there are none.
    fn leave_out(&mut self, number: usize, one: &str, place: &str) {
        if number > 0 {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            let number = plural(number, &format!("more {one}"));
            self.left_out.push(format!("Not shown: {number} {place}."));
        }
    }

    /// Reads the latest writes.
    async fn read_history(
        &mut self,
        db: &Db,
        keys: Keys,
        key: &str,
        rules: &Rules,
        reach: &Reach,
    ) -> Result<(), QueryError> {
        let most = i64::from(reach.weight);
        let latest: [Parameter<'_>; 3] = [
            (&key, Type::TEXT),
            (&LATEST, Type::INT8),
            (&most, Type::INT8),
        ];
        for row in db.all(&report::history_of(keys), &latest).await? {
            let (write, left) = Write::of(rules, &row, reach)?;
            let place = format!("of the write at {}", write.since.since);
            if row.try_get("is_heavy")? {
                let sentence = format!("Not shown: the values {place}, which are too large.");
                self.left_out.push(sentence);
            }
            self.leave_out(left, "difference", &place);
            self.history.push(write);
        }
        Ok(())
    }

    /// Takes over the contents of the rows.
    fn keep(&mut self, saved: Saved, rules: &Rules) {
        let found = self.findings.as_ref();
        let unmapped = found.map(|found| found.unmapped.remarks(rules));
        self.unmapped = unmapped.unwrap_or_default();
        self.unread = saved.unread;
        if let Some(weight) = saved.unread {
            self.left_out.push(format!(
                "Not shown: the values of the agent and its configuration, which weigh about \
                {weight} bytes together."
            ));
        }
        for (number, one, place) in saved.left {
            self.leave_out(number, one, &place);
        }
        let more = saved.read.saturating_sub(saved.configurations.len());
        self.leave_out(more, "configuration", "of the agent");
        (self.agents, self.configurations) = (saved.agents, saved.configurations);
    }

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
    /// The write, and the number of its differences that are left out.
    fn of(rules: &Rules, row: &Row, reach: &Reach) -> Result<(Self, usize), tokio_postgres::Error> {
        let state = |column| {
            let provider_config = row.try_get(column)?;
            let state = Configuration::default().with(Column::ProviderConfig, provider_config);
            Ok::<_, tokio_postgres::Error>(state)
        };
        let all = diff(rules, &state("before")?, &state("after")?).differences;
        let (differences, left) = reach.differences(all);
        let write = Self {
            since: Since {
                since: time::rfc3339(row.try_get("at")?),
                seconds: row.try_get("seconds")?,
            },
            configuration: row.try_get("configuration")?,
            columns: row.try_get::<_, List<_>>("columns")?.0,
            differences,
            application_name: told(row, "application_name")?,
            role: told(row, "role")?,
        };
        Ok((write, left))
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

    fn bounded(self, most: usize) -> Self {
        Self {
            detail: bounded(&self.detail, most).into_owned(),
            ..self
        }
    }
}

/// Reads the state of one agent, as far as `reach` says.
pub async fn story(
    db: &Db,
    rules: &Rules,
    layout: &Layout,
    (installed, reach): (bool, &Reach),
    key: &str,
) -> Result<Story, QueryError> {
    let (keys, own): (_, [Parameter<'_>; 1]) = (layout.keys(), [(&key, Type::TEXT)]);
    let mut story = Story {
        rows: db
            .value(&report::count_configurations(layout), &own)
            .await?,
        ..Story::default()
    };
    if installed {
        let row = db.one(&report::pending_of(keys), &own).await?;
        story.pending = since(row.try_get("since")?, row.try_get("seconds")?);
        let row = db.opt(&report::problem_of(keys), &own).await?;
        let problem = row.as_ref().map(Problem::of).transpose()?.flatten();
        story.problem = problem.map(|problem| problem.bounded(reach.list));
        story.read_history(db, keys, key, rules, reach).await?;
    }
    let mut saved = Saved::default();
    let reading = reach.reading(installed);
    story.findings = compare(
        db,
        layout,
        rules,
        key,
        reading,
        |number, row, comparison| {
            if number == 0 {
                saved = Saved::default();
            }
            saved.take(number, row, comparison, rules, reach);
        },
    )
    .await?;
    story.keep(saved, rules);
    Ok(story)
}

/// The contents of the rows of an agent.
#[derive(Debug, Default)]
struct Saved {
    agents: Vec<Fields>,
    configurations: Vec<Fields>,
    /// The number of configurations that were read.
    read: usize,
    /// The number of differing configurations whose differences were bounded.
    differing: usize,
    /// The parts that were left out: the number, the name of one, and the place.
    left: Vec<(usize, &'static str, String)>,
    unread: Option<f64>,
}

impl Saved {
    fn take(
        &mut self,
        number: usize,
        row: &Surveyed<'_>,
        comparison: &mut Comparison,
        rules: &Rules,
        reach: &Reach,
    ) {
        comparison.mistakes.truncate(reach.reasons);
        if row.weight.is_some() {
            self.unread = row.weight;
            return;
        }
        // The rows of a configuration follow each other, one for each agent.
        let agents = usize::try_from(row.agents).unwrap_or(usize::MAX).max(1);
        // A value that is no text is left out.
        if number < agents.min(SHOWN).min(reach.kept) {
            let agent = row.agent.as_ref().copied().unwrap_or_default();
            let (fields, left) = reach.fields(fields_of_agent(rules, &agent));
            self.agents.push(fields);
            self.left.push((left, "field", "of the agent".to_owned()));
        }
        if number.is_multiple_of(agents)
            && let Some(Ok(configuration)) = &row.configuration
        {
            self.read += 1;
            let place = || format!("of configuration {}", number / agents + 1);
            if self.configurations.len() < reach.kept {
                let (fields, left) = reach.fields(fields_of(rules, configuration));
                self.configurations.push(fields);
                self.left.push((left, "field", place()));
            }
            if let Some(listed) = comparison.differing.listed.get_mut(self.differing) {
                self.differing += 1;
                let mut all = std::mem::take(&mut listed.differences);
                if self.differing > reach.kept {
                    all.clear();
                }
                let (differences, left) = reach.differences(all);
                listed.differences = differences;
                self.left.push((left + listed.left, "difference", place()));
            }
            self.left.retain(|(left, ..)| *left > 0);
        }
    }
}

fn since(since: Option<SystemTime>, seconds: Option<f64>) -> Option<Since> {
    Some(Since {
        since: time::rfc3339(since?),
        seconds: seconds?,
    })
}
