//! The time of the mapping for one agent, in process; beside parsing the same JSON texts with
//! `serde_json`.
//!
//! Fair: the texts come from the tables, as PostgreSQL prints them, and both sides read the same
//! ones: the `voice_settings` and `provider_config` of an agent and its configuration. A parse into
//! a tree is the first step of the simplest program; the mapping reads, validates, compares and
//! writes, and keeps every digit of a number.

use std::hint::black_box;
use std::time::{Duration, Instant};

use agent_sync::columns::{AgentColumn, Column, MappedColumn as _, PerAgentColumn, PerColumn};
use agent_sync::mapping::{self, Rules, Targets};
use anyhow::Context as _;

use crate::support::database::Flavour;
use crate::support::lab::Lab;
use crate::support::report::{Goal, Row, Unit};
use crate::support::stats::Pair;

/// The texts of an agent and of its configuration.
struct Texts {
    agent: PerAgentColumn<Option<String>>,
    configuration: PerColumn<Option<String>>,
}

impl Texts {
    fn json(&self) -> impl Iterator<Item = &str> {
        [
            &self.agent[AgentColumn::VoiceSettings],
            &self.configuration[Column::ProviderConfig],
            &self.configuration[Column::VoiceSettings],
        ]
        .into_iter()
        .filter_map(Option::as_deref)
    }
}

pub async fn measure(lab: &mut Lab) -> anyhow::Result<Vec<Row>> {
    let database = lab
        .database(lab.scaled(20_000, 500), Flavour::Plain)
        .await?;
    let in_sync = texts(&database.client).await?;
    database.change_all(1).await?;
    let changed = texts(&database.client).await?;
    for (texts, expected) in [(&in_sync, false), (&changed, true)] {
        for texts in texts {
            let plan = plan(texts).context("an agent of the platform cannot be mapped")?;
            anyhow::ensure!(
                plan.changes.is_empty() != expected,
                "the mapping does not see what was changed"
            );
        }
    }

    let span = Duration::from_millis(lab.scaled(50, 5));
    let mut pairs = [Vec::new(), Vec::new()];
    for round in 0..lab.rounds(21) {
        for (texts, pairs) in [&changed, &in_sync].into_iter().zip(&mut pairs) {
            let mut took = [0.0; 2];
            for side in super::in_turn(2, round) {
                took[side] = if side == 0 {
                    per_agent(texts, span, |texts| drop(black_box(plan(black_box(texts)))))
                } else {
                    per_agent(texts, span, parse)
                };
            }
            pairs.push(Pair {
                ours: took[0],
                beside: took[1],
            });
        }
    }
    let beside = "parsing the same JSON with serde_json";
    let [changed, in_sync] = pairs;
    Ok(vec![
        Row::new(
            "an agent that has changed",
            Unit::Nanoseconds,
            beside,
            &changed,
        )
        .goal(Goal::RatioAtMost(3.0)),
        Row::new(
            "an agent that is in sync",
            Unit::Nanoseconds,
            beside,
            &in_sync,
        )
        .goal_of_another(Goal::RatioAtMost(3.0)),
    ])
}

fn plan(texts: &Texts) -> Result<mapping::Plan<'_>, mapping::Rejection> {
    mapping::plan(
        Rules::embedded(),
        &Targets::all(),
        &texts.agent.as_deref(),
        &texts.configuration.as_deref(),
    )
}

fn parse(texts: &Texts) {
    for text in texts.json() {
        drop(black_box(serde_json::from_str::<serde_json::Value>(
            black_box(text),
        )));
    }
}

/// The nanoseconds of some work for one agent, averaged over a span.
fn per_agent(texts: &[Texts], span: Duration, work: impl Fn(&Texts)) -> f64 {
    let (begun, mut passes) = (Instant::now(), 0_u32);
    while begun.elapsed() < span {
        texts.iter().for_each(&work);
        passes += 1;
    }
    begun.elapsed().as_nanos() as f64 / f64::from(passes) / texts.len() as f64
}

/// A hundred agents with their configurations, as the texts that the daemon reads.
async fn texts(client: &tokio_postgres::Client) -> anyhow::Result<Vec<Texts>> {
    let columns: Vec<String> = AgentColumn::ALL
        .map(|column| format!("a.{}::text", column.name()))
        .into_iter()
        .chain(Column::ALL.map(|column| format!("c.{}::text", column.name())))
        .collect();
    let query = format!(
        "SELECT {} FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug
         ORDER BY length(a.slug), a.slug LIMIT 100",
        columns.join(", ")
    );
    let mut texts = Vec::new();
    for row in client.query(&query, &[]).await? {
        let mut of = Texts {
            agent: PerAgentColumn::default(),
            configuration: PerColumn::default(),
        };
        for column in AgentColumn::ALL {
            of.agent[column] = row.try_get(column.index())?;
        }
        for column in Column::ALL {
            of.configuration[column] = row.try_get(AgentColumn::ALL.len() + column.index())?;
        }
        texts.push(of);
    }
    anyhow::ensure!(!texts.is_empty(), "the platform has no agents");
    Ok(texts)
}
