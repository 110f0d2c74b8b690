//! `wait`: returns when every change that was committed before is applied, or stands as a problem.
//!
//! The command reads the outbox, so it works wherever the daemon runs. It changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;

use super::named;
use super::page::Page;
use super::tenant::Search;
use crate::cli::Wait;
use crate::exit::{Exit, Fault};
use crate::observe::pulse;
use crate::pg::sqlstate;
use crate::report::{Awaited, Level, Look, NamedAgents, Note, Waiting, look, problems_of};
use crate::settings::{Database, Settings};
use crate::show::{WIDTH, count, indented};

/// The pauses between two looks at the outbox: the first one, doubled up to the last one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How much longer than `--timeout` the command may take to connect and to look: with a short one,
/// it tells whether the changes are applied.
const GRACE: Duration = Duration::from_secs(3);

/// The note where missed changes cannot be ruled out, and its remedy.
const UNKNOWN: &str = "whether changes were missed before is not known: row-level security is in \
    use, and only the role of the daemon that leads can tell";
const UNKNOWN_REMEDY: &str = "Run this as the role of the daemon, while it leads; or `agent-sync \
    check`.";

/// The note where the role has more rights than an owner of the two tables (S27).
const NOT_LOOKED_UP: &str = "whether the named agents exist was not looked up, because the owner \
    of a table that is read can run code with the rights of this role; run this as the \
    role of the daemon";

/// The state of one database after the wait.
struct Waited {
    database: Database,
    left: Awaited,
    look: Look,
    /// The problems of the named agents; `None` if no agent was named.
    problems: Option<Vec<Note>>,
    sought: Search,
    seconds: f64,
}

/// Waits in all databases at once.
pub fn wait(config: Option<&Path>, args: &Wait) -> anyhow::Result<Exit> {
    let settings = Arc::new(super::settings(config)?);
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    let databases: Vec<Database> = databases.into_iter().cloned().collect();
    let agents = NamedAgents {
        slugs: args.slugs.clone(),
        tenant: args.tenant.tenant.clone(),
    };
    let (timeout, as_json) = (args.timeout, args.reporting.json);
    super::block_on(async {
        let mut waits = JoinSet::new();
        for database in databases {
            let (settings, agents) = (Arc::clone(&settings), agents.clone());
            waits.spawn(async move {
                let name = database.name.clone();
                let waiting = Box::pin(in_one(database, &settings, agents, timeout));
                match pulse::timeout(timeout.saturating_add(GRACE), waiting).await {
                    Ok(waited) => waited,
                    Err(_) => Err(silent(&name, timeout).into()),
                }
            });
        }
        let mut page = Page::new();
        let (mut exits, mut sought) = (Vec::new(), Search::default());
        while let Some(waited) = waits.join_next().await {
            exits.push(match waited? {
                Ok(mut waited) => {
                    sought.add(std::mem::take(&mut waited.sought));
                    if as_json {
                        page.json(&waited.object());
                    } else {
                        waited.print(&mut page);
                    }
                    page.flush();
                    waited.exit(timeout)
                }
                Err(error) => super::output::report(&error),
            });
        }
        exits.push(sought.print(&mut page, "", as_json));
        page.end(super::worst(exits))
    })
}

async fn in_one(
    database: Database,
    settings: &Settings,
    mut agents: NamedAgents,
    timeout: Duration,
) -> anyhow::Result<Waited> {
    let begun = Instant::now();
    let opened = super::open_with_care("wait", &database, settings).await;
    let (session, may_read) = opened.map_err(|error| super::unreachable(&database, error))?;
    let db = session.db();
    if may_read.is_none() && !agents.are_all() {
        super::output::note(format!("database {}: {NOT_LOOKED_UP}", database.name));
    }
    let unanswered = |error| super::unanswered(&database, error);
    let first = look(db, &database, settings, None, may_read).await;
    if !first.installed {
        return Err(not_installed(&database, &first));
    }
    if let Some(pause) = &first.pause {
        return Err(super::paused(&database, pause).into());
    }
    let layout = first.layout.as_ref();
    let layout = layout.ok_or_else(|| Fault::new(Exit::Failed, "the tables cannot be read"))?;
    let mut sought = Search::of(agents.tenant.as_deref());
    if let Some(tenant) = agents.tenant.take() {
        let written = named::tenant(&database, layout, &tenant)?;
        agents.tenant = Some(written.unwrap_or(tenant));
    }
    sought
        .look(db, layout, may_read)
        .await
        .map_err(unanswered)?;
    let (mut pause, mut waiting) = (PAUSES.0, Waiting::new(agents.clone()));
    let left = loop {
        let left = waiting.look(db, layout).await.map_err(unanswered)?;
        let remaining = timeout.saturating_sub(begun.elapsed());
        if left.is_over() || remaining.is_zero() {
            break left;
        }
        tokio::time::sleep(pause.min(remaining)).await;
        pause = (2 * pause).min(PAUSES.1);
    };
    let problems = if agents.are_all() {
        None
    } else {
        let problems = problems_of(db, &database, layout, &agents, may_read).await;
        Some(problems.map_err(unanswered)?)
    };
    Ok(Waited {
        left,
        look: look(db, &database, settings, None, may_read).await,
        problems,
        sought,
        seconds: begun.elapsed().as_secs_f64(),
        database,
    })
}

/// The fault of a wait that ended before the database has told what is pending.
fn silent(name: &str, timeout: Duration) -> Fault {
    let timeout = humantime::format_duration(timeout);
    Fault::unavailable(format!(
        "database {name}: after {timeout}, it has not told what is pending"
    ))
    .remedy(sqlstate::SILENT)
}

/// The error where agent-sync cannot work.
fn not_installed(database: &Database, look: &Look) -> anyhow::Error {
    let what = format!("database {}: agent-sync cannot work here", database.name);
    let fault = Fault::new(Exit::Failed, what);
    let trouble = look.trouble();
    let cause = trouble.first().map_or("unknown", |note| note.text.as_str());
    let remedy = trouble.first().and_then(|note| note.remedy.clone());
    let remedy = remedy.unwrap_or_else(|| "Run `agent-sync doctor`.".to_owned());
    anyhow::Error::msg(cause.to_owned()).context(fault.remedy(remedy))
}

impl Waited {
    /// The problems to print: those of the named agents, or else of all; and the faults by which
    /// changes may have been missed.
    fn trouble(&self) -> impl Iterator<Item = &Note> {
        let of_all = self.look.notes.iter().filter(|note| {
            let is_problem = note.topic == "agents" && note.level > Level::Pass;
            note.level == Level::Fail || is_problem && self.problems.is_none()
        });
        self.problems.iter().flatten().chain(of_all)
    }

    /// Whether no change is pending, and none may be missed by a fault that stands.
    fn is_applied(&self) -> bool {
        let is_fault = |note: &Note| note.level == Level::Fail;
        self.left.is_over() && !self.look.notes.iter().any(is_fault)
    }

    fn exit(&self, timeout: Duration) -> Exit {
        if !self.left.is_over() {
            return super::output::report(&self.overdue(timeout).into());
        }
        if self.trouble().next().is_some() {
            Exit::Found
        } else {
            Exit::Done
        }
    }

    /// The fault of a wait that ended before the changes were applied.
    fn overdue(&self, timeout: Duration) -> Fault {
        let pending = match self.left {
            Awaited { unsure: true, .. } => "every agent is still to be checked".to_owned(),
            Awaited { slugs: 1, .. } => "1 agent is still pending".to_owned(),
            Awaited { slugs, .. } => format!("{} agents are still pending", count(slugs)),
        };
        let name = &self.database.name;
        let what = format!(
            "database {name}: after {}, {pending}",
            humantime::format_duration(timeout)
        );
        Fault::unavailable(what).remedy(if self.look.leader().is_none() {
            self.look.remedy_without_leader()
        } else {
            "`agent-sync doctor` names the cause.".to_owned()
        })
    }

    fn print(&self, page: &mut Page) {
        let name = &self.database.name;
        if self.is_applied() {
            page.line(format_args!(
                "{name}: every change {} before is applied",
                if self.left.unknown { "noted" } else { "saved" }
            ));
        } else if self.left.is_over() {
            page.line(format_args!(
                "{name}: changes saved before may not be applied"
            ));
        }
        if self.left.unknown {
            page.line(indented("  ", UNKNOWN, WIDTH));
            page.line(indented("  try: ", UNKNOWN_REMEDY, WIDTH));
        }
        for note in self.trouble() {
            page.line(indented("  ", &note.text, WIDTH));
            if let Some(remedy) = &note.remedy {
                page.line(indented("  try: ", remedy, WIDTH));
            }
        }
    }

    fn object(&self) -> Object<'_> {
        Object {
            database: &self.database.name,
            applied: self.is_applied(),
            missed_changes_ruled_out: self.is_applied() && !self.left.unknown,
            pending: self.left.slugs,
            every_agent_is_to_be_checked: self.left.unsure,
            seconds: self.seconds,
            problems: self.trouble().collect(),
        }
    }
}

/// The JSON object for one database.
#[derive(Serialize)]
struct Object<'a> {
    database: &'a str,
    applied: bool,
    missed_changes_ruled_out: bool,
    /// The number of agents.
    pending: i64,
    every_agent_is_to_be_checked: bool,
    seconds: f64,
    problems: Vec<&'a Note>,
}
