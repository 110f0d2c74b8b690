//! The state of one agent in one database: agent, configurations, the result of the mapping, the
//! pending change, the problem and the latest writes, with a conclusion and a remedy.

use std::ops::ControlFlow;
use std::time::SystemTime;

use postgres_types::Type;
use serde::Serialize;
use tokio_postgres::Row;

use super::look::{Look, OVERDUE};
use super::note::Level;
use super::problem;
use crate::columns::Column;
use crate::key::Key;
use crate::mapping::{Configuration, Difference, Rules, Value, diff, fields_of, fields_of_agent};
use crate::pg::{Db, List, Parameter, QueryError};
use crate::settings::Database;
use crate::show::{age, plural};
use crate::store::Layout;
use crate::store::report;
use crate::store::surveyed::{self, Extent, Named, Surveyed};
use crate::survey::{Comparison, Scope, Verdict, survey};
use crate::time;

/// The number of writes to read from the history.
const LATEST: i64 = 5;

/// The state of one agent.
#[derive(Debug)]
pub struct Story {
    /// The agent's fields without secrets; `None` if no agent has the slug.
    pub agent: Option<Vec<(String, Value)>>,
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

/// The conclusion about one agent and its remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conclusion {
    /// The conclusion, in a sentence.
    pub conclusion: String,
    /// The remedy; `None` if no action is needed.
    pub remedy: Option<String>,
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
    let (agent, configurations) = saved(db, rules, layout, key).await?;
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
        agent,
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

/// The fields of the agent and of its configurations.
async fn saved(
    db: &Db,
    rules: &Rules,
    layout: &Layout,
    key: &str,
) -> Result<(Option<Fields>, Vec<Fields>), QueryError> {
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
        Err(error) if error.is_of_a_row() => return Ok((None, Vec::new())),
        Err(error) => return Err(error),
    };
    let (mut agent, mut configurations) = (None, Vec::new());
    for row in &rows {
        let row = Surveyed::of(row)?;
        // A value that is no text is left out.
        agent = Some(fields_of_agent(rules, &row.agent.unwrap_or_default()));
        let configuration = row.configuration.and_then(Result::ok);
        configurations.extend(configuration.map(|configuration| fields_of(rules, &configuration)));
    }
    Ok((agent, configurations))
}

fn since(since: Option<SystemTime>, seconds: Option<f64>) -> Option<Since> {
    Some(Since {
        since: time::rfc3339(since?),
        seconds: seconds?,
    })
}

/// The most important conclusion about the agent, with a remedy.
pub fn conclude(database: &Database, look: &Look, story: &Story, key: &Key<'_>) -> Conclusion {
    let mut conclusion = weigh(database, look, story, key);
    if let Some(remedy) = conclusion
        .remedy
        .as_mut()
        .filter(|_| look.installed && look.leader().is_none())
        && !remedy.contains("agent-sync r")
    {
        *remedy = format!(
            "{remedy} No daemon leads here, so this has no effect before one does: {}",
            look.remedy_without_leader()
        );
    }
    conclusion
}

fn weigh(database: &Database, look: &Look, story: &Story, key: &Key<'_>) -> Conclusion {
    let say = |conclusion: String, remedy: Option<String>| Conclusion { conclusion, remedy };
    let led = look.leader().is_some();
    let Some(findings) = &story.findings else {
        let text = if story.rows > 0 {
            format!(
                "No agent has this slug, so agent-sync does not keep its {} in sync",
                plural(story.rows, "configuration")
            )
        } else {
            "No agent has this slug".to_owned()
        };
        return say(format!("{text}."), None);
    };
    let verdict = findings.verdict();
    let remedy = |verdict| problem::remedy_of(database, verdict, led, key);
    // A fault of the database explains why its agents are out of sync, and is repaired first.
    let broken = look.notes.iter().find(|note| note.level == Level::Fail);
    match (verdict, broken) {
        (Verdict::Rejected, _) => say(
            format!(
                "The agent is saved, and nothing of its configuration is written, because its \
                settings cannot be mapped: {}.",
                findings.mistakes.join("; ")
            ),
            remedy(verdict),
        ),
        (Verdict::Ambiguous, _) => say(
            format!(
                "{} agents have this slug, so the agent of a configuration is unknown, and nothing \
                is written.",
                findings.agents
            ),
            remedy(verdict),
        ),
        (Verdict::Missing, _) => say(
            "The agent is saved, and no configuration has its slug, so there is nothing to keep in \
            sync.".to_owned(),
            remedy(verdict),
        ),
        (Verdict::InSync, _) => say(
            match &story.problem {
                Some(_) => "The agent and its configuration are in sync, and the problem that is \
                    noted is out of date.",
                None => "The agent and its configuration are in sync.",
            }
            .to_owned(),
            story.problem.as_ref().map(|_| format!("Run `agent-sync reconcile \
                {}`.", problem::arguments(key))),
        ),
        (_, Some(broken)) => say(
            format!("The configuration differs, and agent-sync is not able to work here: \
                {}.", broken.text),
            broken.remedy.clone(),
        ),
        (Verdict::Pending, None) if look.pause.is_some() => during_pause(look),
        (Verdict::Drifted | Verdict::Pending, None) => differing(database, look, story, key, verdict),
    }
}

fn during_pause(look: &Look) -> Conclusion {
    Conclusion {
        conclusion: "The change waits for the end of the pause of the database.".to_owned(),
        remedy: Some(look.remedy_without_leader()),
    }
}

/// The conclusion for a configuration that differs, in a database without faults.
fn differing(
    database: &Database,
    look: &Look,
    story: &Story,
    key: &Key<'_>,
    verdict: Verdict,
) -> Conclusion {
    let led = look.leader().is_some();
    let remedy = problem::remedy_of(database, verdict, led, key);
    if let Some(failed) = story
        .problem
        .as_ref()
        .filter(|problem| problem.kind == "failed")
    {
        let again = match failed.next_attempt_seconds {
            _ if !led => "; no daemon leads that would try again".to_owned(),
            Some(seconds) if seconds > 0.0 => format!("; it is tried again in {}", age(seconds)),
            _ => "; it is about to be tried again".to_owned(),
        };
        let remedy = problem::remedy(database, "failed", failed.sqlstate.as_deref(), key);
        return Conclusion {
            conclusion: format!(
                "The configuration differs, and {}{again}.",
                on_one_line(&failed.detail)
            ),
            remedy: Some(remedy),
        };
    }
    let conclusion = match (&story.pending, led) {
        (Some(pending), true) if pending.seconds > OVERDUE => {
            return Conclusion {
                conclusion: format!(
                    "The change has been waiting for {}, though a daemon leads: it is busy, it \
                    hangs, or another session has locked the configuration.",
                    age(pending.seconds)
                ),
                remedy: Some("Run `agent-sync doctor`, and see the log of the daemon.".to_owned()),
            };
        }
        (Some(pending), true) => format!(
            "The change was noted {} ago, and the daemon is about to bring it in sync: there is \
            nothing to do.",
            age(pending.seconds)
        ),
        (Some(pending), false) => format!(
            "The change was noted {} ago, and no daemon leads that would bring it in sync.",
            age(pending.seconds)
        ),
        (None, _) if look.unsure => {
            "The configuration differs, and the change may have been missed; every agent is still \
            to be checked."
                .to_owned()
        }
        (None, _) => "The configuration differs, and nothing is pending: it was changed after it \
            was brought in sync, or the rules were."
            .to_owned(),
    };
    Conclusion { conclusion, remedy }
}

/// The text on one line.
fn on_one_line(sentence: &str) -> String {
    sentence.replace('\n', "; ")
}
