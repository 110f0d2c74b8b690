//! `status`: prints one line for each database, and below the lines the faults, warnings and
//! remedies.
//!
//! The databases are queried concurrently, so an unreachable one delays the output by at most its
//! `connect_timeout`, and one that answers slowly by a minute. The exit code is 69 if a database
//! cannot be reached, 2 if a fault is shown, and otherwise 0 (I2). With `--exit-zero` it is always
//! 0.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::page::Page;
use super::state::{Asker, State, Watched, ask};
use super::table::table;
use super::terminal;
use crate::cli::Status;
use crate::exit::Exit;
use crate::observe::{Condition, Pause};
use crate::report::{Audit, Counted, Daemon, Group, Level, Look, Note, Outbox};
use crate::show::{BOLD, DIM, GREEN, RED, WIDTH, YELLOW, age, compact, indented};

/// The interval of `--watch`.
const INTERVAL: Duration = Duration::from_secs(2);

/// Queries the databases once, or with `--watch` until interrupted.
pub fn status(config: Option<&Path>, args: &Status) -> anyhow::Result<Exit> {
    let settings = Arc::new(super::settings(config)?);
    // The daemon and the commands that need the rules report an unreadable rules file.
    let rules = Arc::new(super::rules(&settings).ok());
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut watched = Watched::all(databases);
        let mut page = Page::new();
        loop {
            let states = ask(&mut watched, Asker::Status, &settings, &rules).await;
            if args.reporting.json {
                for state in &states {
                    page.json(&object(state));
                }
            } else if args.watch && page.is_terminal() {
                let (columns, _) = terminal::size();
                let now = humantime::format_rfc3339_seconds(SystemTime::now());
                let title = format!("{DIM}agent-sync status, {now}{DIM:#}");
                let rest = lines(&states, columns.min(WIDTH));
                page.replace(&[vec![title, String::new()], rest].concat());
            } else {
                for line in lines(&states, WIDTH) {
                    page.line(line);
                }
            }
            page.flush();
            let exit = if args.exit_zero {
                Exit::Done
            } else if states.iter().any(|state| state.look.is_none()) {
                Exit::Unavailable
            } else if states.iter().any(has_fault) {
                Exit::Found
            } else {
                Exit::Done
            };
            if !args.watch || page.is_gone() {
                return page.end(exit);
            }
            tokio::time::sleep(INTERVAL).await;
        }
    })
}

/// Whether a fault of a database is shown.
fn has_fault(state: &State) -> bool {
    state.trouble.iter().any(|note| note.level == Level::Fail)
}

/// The number of agents without a pending change or a problem, or `None` if it is not known. Only a
/// comparison (`check`) shows whether their configurations are in sync.
fn synced(look: &Look) -> Option<i64> {
    if look.unsure {
        return None;
    }
    let problems: i64 = look
        .problems
        .as_ref()?
        .iter()
        .map(|group| group.agents)
        .sum();
    Some((look.agents?.number - problems - look.outbox.as_ref()?.slugs).max(0))
}

fn cells(state: &State) -> [String; 10] {
    let look = state.look.as_ref();
    let leader = look.and_then(Look::leader);
    let outbox = look.and_then(|look| look.outbox.as_ref());
    let nothing = || "–".to_owned();
    let number = |number: Option<i64>| number.map_or_else(nothing, compact);
    let with = |kind| number(look.and_then(|look| look.with_problem(kind)));
    let synced = look.and_then(synced);
    let about = if synced.is_some() && look.is_some_and(Look::is_estimate) {
        "~"
    } else {
        ""
    };
    [
        state.name.clone(),
        state.condition.name().to_owned(),
        leader.map_or_else(nothing, |leader| {
            format!("{}/{}", leader.place(), leader.pid)
        }),
        leader
            .and_then(|leader| leader.connected_seconds)
            .map_or_else(nothing, age),
        outbox.map_or_else(nothing, |outbox| {
            format!(
                "{}{}",
                compact(outbox.rows),
                if outbox.more { "+" } else { "" }
            )
        }),
        outbox
            .and_then(|outbox| outbox.oldest_seconds)
            .map_or_else(nothing, age),
        format!("{about}{}", number(synced)),
        with("missing_configuration"),
        number(look.and_then(|look| {
            let ambiguous = look.with_problem("ambiguous")?;
            Some(look.with_problem("rejected")? + ambiguous)
        })),
        with("failed"),
    ]
}

fn lines(states: &[State], width: usize) -> Vec<String> {
    let table = table(states.iter().map(cells), width);
    let mut rows = table.lines();
    let header = rows.next().unwrap_or_default();
    let mut lines = vec![format!("{DIM}{header}{DIM:#}")];
    for (row, state) in rows.zip(states) {
        let colour = match state.condition {
            Condition::Ok | Condition::Busy | Condition::Standby => GREEN,
            Condition::Paused | Condition::NoDaemon => YELLOW,
            Condition::Broken | Condition::Unreachable => RED,
        };
        let word = format!(" {} ", state.condition.name());
        lines.push(row.replacen(&word, &format!("{colour}{word}{colour:#}"), 1));
    }
    let troubled = states.iter().filter(|state| !state.trouble.is_empty());
    lines.extend(troubled.flat_map(|state| trouble(state, width)));
    let written = of_each(states, "Last written", |look| match &look.last_sync {
        Some((_, seconds)) => format!(" {} ago", age(*seconds)),
        None => ": not recorded".to_owned(),
    });
    let audited = of_each(states, "Last audit", |look| match &look.audit {
        Some(audit) => format!(" {}", audit.sentence()),
        None => ": none yet".to_owned(),
    });
    let facts: Vec<_> = [standing_by(states), written, audited]
        .into_iter()
        .flatten()
        .collect();
    if !facts.is_empty() {
        lines.push(String::new());
    }
    for text in facts {
        lines.push(format!("{DIM}{}{DIM:#}", indented("", &text, width)));
    }
    lines
}

/// The faults and warnings of a database.
fn trouble(state: &State, width: usize) -> Vec<String> {
    let mut lines = vec![String::new(), format!("{BOLD}{}{BOLD:#}", state.name)];
    for note in &state.trouble {
        let (mark, colour) = if note.level == Level::Fail {
            ("FAIL", RED)
        } else {
            ("warn", YELLOW)
        };
        let text = indented(&format!("  {mark}  "), &note.text, width);
        lines.push(text.replacen(mark, &format!("{colour}{mark}{colour:#}"), 1));
        if let Some(remedy) = &note.remedy {
            lines.push(indented("        try: ", remedy, width));
        }
    }
    lines
}

/// The daemons that stand by, where there are some.
fn standing_by(states: &[State]) -> Option<String> {
    let of_each: Vec<_> = states
        .iter()
        .flat_map(|state| {
            let standbys = state.look.iter().flat_map(Look::standbys);
            standbys.map(|daemon| format!("{} {}/{}", state.name, daemon.place(), daemon.pid))
        })
        .collect();
    (!of_each.is_empty()).then(|| format!("Standing by: {}.", of_each.join(", ")))
}

/// One sentence with a text for each database that has no fault, if there is one: of the others it
/// is not known, and the fault is above.
fn of_each(states: &[State], what: &str, text: impl Fn(&Look) -> String) -> Option<String> {
    let asked = states
        .iter()
        .filter(|state| state.condition != Condition::Broken)
        .filter_map(|state| Some((&state.name, state.look.as_ref()?)));
    let texts: Vec<_> = asked
        .map(|(name, look)| format!("{name}{}", text(look)))
        .collect();
    (!texts.is_empty()).then(|| format!("{what}: {}.", texts.join(", ")))
}

#[derive(Serialize)]
struct Object<'a> {
    database: &'a str,
    state: &'static str,
    pause: Option<&'a Pause>,
    leader: Option<&'a Daemon>,
    standbys: Vec<&'a Daemon>,
    outbox: Option<&'a Outbox>,
    agents: Option<Counted>,
    synced: Option<i64>,
    missing: Option<i64>,
    rejected: Option<i64>,
    ambiguous: Option<i64>,
    failed: Option<i64>,
    problems: Option<&'a Vec<Group>>,
    audit: Option<&'a Audit>,
    /// The time of the last write.
    last_sync: Option<&'a str>,
    trouble: &'a [Note],
}

fn object(state: &State) -> Object<'_> {
    let look = state.look.as_ref();
    let with = |kind| look.and_then(|look| look.with_problem(kind));
    let (standbys, leader): (Vec<_>, _) = match look {
        Some(look) => (look.standbys().collect(), look.leader()),
        None => (Vec::new(), None),
    };
    Object {
        database: &state.name,
        state: state.condition.name(),
        pause: look.and_then(|look| look.pause.as_ref()),
        leader,
        standbys,
        outbox: look.and_then(|look| look.outbox.as_ref()),
        agents: look.and_then(|look| look.agents),
        synced: look.and_then(synced),
        missing: with("missing_configuration"),
        rejected: with("rejected"),
        ambiguous: with("ambiguous"),
        failed: with("failed"),
        problems: look.and_then(|look| look.problems.as_ref()),
        audit: look.and_then(|look| look.audit.as_ref()),
        last_sync: look
            .and_then(|look| look.last_sync.as_ref())
            .map(|(at, _)| at.as_str()),
        trouble: &state.trouble,
    }
}
