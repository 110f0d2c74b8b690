//! `databases`: lists the databases of the settings, and which daemon serves each.
//!
//! The exit code is 69 if a database cannot be reached, and otherwise 0.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::page::Page;
use super::state::{Asker, State, Watched, ask};
use crate::cli::Reporting;
use crate::exit::Exit;
use crate::report::{Daemon, Look};
use crate::settings::Database;
use crate::show::{BOLD, WIDTH, age, indented};

/// Lists the databases.
pub fn databases(config: Option<&Path>, args: &Reporting) -> anyhow::Result<Exit> {
    let settings = Arc::new(super::settings(config)?);
    let rules = Arc::new(super::rules(&settings).ok());
    let databases = super::select(&settings, &args.databases.names)?;
    super::block_on(async {
        let mut watched = Watched::all(databases.clone());
        let mut page = Page::new();
        let states = ask(&mut watched, Asker::Databases, &settings, &rules).await;
        for (database, state) in databases.into_iter().zip(&states) {
            if args.json {
                page.json(&object(database, state));
            } else {
                for line in lines(database, state) {
                    page.line(line);
                }
            }
        }
        let reached = states.iter().all(|state| state.look.is_some());
        page.end(if reached {
            Exit::Done
        } else {
            Exit::Unavailable
        })
    })
}

fn lines(database: &Database, state: &State) -> Vec<String> {
    let mut lines = vec![format!(
        "{BOLD}{}{BOLD:#}: {}",
        database.name,
        state.condition.name()
    )];
    let mut fact = |name: &str, text: &str| {
        lines.push(indented(&format!("  {name:<10}  "), text, WIDTH));
    };
    fact("where", &database.target());
    let [agents, configurations] = tables(database);
    fact("tables", &format!("{agents} to {configurations}"));
    fact(
        "install",
        &format!("schema {}", database.install.schema.name()),
    );
    match &state.look {
        None => {
            fact("served by", "not known: the database cannot be asked");
            for note in &state.trouble {
                fact("because", &note.text);
                if let Some(remedy) = &note.remedy {
                    fact("try", remedy);
                }
            }
        }
        Some(look) => {
            let leader = look.leader().map(described);
            fact("served by", leader.as_deref().unwrap_or("no daemon"));
            for standby in look.standbys() {
                fact("stands by", &described(standby));
            }
        }
    }
    lines
}

/// The table of the agents, and that of the configurations.
fn tables(database: &Database) -> [String; 2] {
    let (agents, configurations) = (&database.agents, &database.configurations);
    [
        format!("{}.{}", agents.schema, agents.table),
        format!("{}.{}", configurations.schema, configurations.table),
    ]
}

/// The session of a daemon: its host and process, its program, and since when it is connected.
fn described(daemon: &Daemon) -> String {
    let since = daemon
        .connected_seconds
        .map(|seconds| format!(", connected for {}", age(seconds)));
    format!(
        "{}/{} ({}){}",
        daemon.place(),
        daemon.pid,
        daemon.program,
        since.unwrap_or_default()
    )
}

#[derive(Serialize)]
struct Object<'a> {
    database: &'a str,
    state: &'static str,
    target: String,
    agents: String,
    configurations: String,
    install_schema: &'a str,
    leader: Option<&'a Daemon>,
    standbys: Option<Vec<&'a Daemon>>,
}

fn object<'a>(database: &'a Database, state: &'a State) -> Object<'a> {
    let (look, [agents, configurations]) = (state.look.as_ref(), tables(database));
    Object {
        database: &database.name,
        state: state.condition.name(),
        target: database.target(),
        agents,
        configurations,
        install_schema: database.install.schema.name(),
        leader: look.and_then(Look::leader),
        standbys: look.map(|look| look.standbys().collect()),
    }
}
