//! `doctor`: examines each database, from the connection to a round trip through the daemon.
//!
//! A failed check does not stop the later ones, unless the connection is lost. The exit code is 2
//! if a check fails, and 69 if a database cannot be reached.

use std::path::Path;

use serde::Serialize;

use super::page::Page;
use crate::cli::Reporting;
use crate::exit::Exit;
use crate::mapping::Rules;
use crate::pg::sqlstate;
use crate::report::{Level, Note, canary, look, unmatched, upkeep};
use crate::session::Session;
use crate::settings::{Database, Settings, Tls};
use crate::show::{BOLD, DIM, GREEN, RED, WIDTH, YELLOW, count, indented, plural};
use crate::store::{MayRead, finding, report};

/// Examines the databases in turn and prints the checks of each.
pub fn doctor(config: Option<&Path>, args: &Reporting) -> anyhow::Result<Exit> {
    let loaded = super::loaded(config)?;
    let settings = &loaded.settings;
    let databases = super::select(settings, &args.databases.names)?;
    // The daemon and the commands that need the rules report an unreadable rules file.
    let rules = super::rules(settings).ok();
    super::block_on(async {
        let mut page = Page::new();
        let mut exits = Vec::new();
        for database in databases {
            let mut notes = examine(database, settings, rules.as_ref()).await;
            let exposed = loaded
                .exposed
                .iter()
                .filter(|exposed| exposed.database == database.name);
            notes.extend(exposed.map(|exposed| {
                Note::warn(
                    if exposed.is_secret {
                        "secrets"
                    } else {
                        "settings"
                    },
                    exposed.text(),
                    exposed.remedy(),
                )
            }));
            let worst = notes
                .iter()
                .map(|note| note.level)
                .max()
                .unwrap_or(Level::Pass);
            let lost = notes
                .iter()
                .any(|note| note.topic == "connection" && note.level == Level::Fail);
            exits.push(match worst {
                _ if lost => Exit::Unavailable,
                Level::Fail => Exit::Found,
                Level::Skip | Level::Pass | Level::Warn => Exit::Done,
            });
            if args.json {
                page.json(&Object {
                    database: &database.name,
                    level: worst,
                    checks: notes.iter().map(Check::of).collect(),
                });
            } else {
                print(&mut page, database, &notes);
            }
            page.flush();
        }
        page.end(super::worst(exits))
    })
}

/// A check with its statements, for programs.
#[derive(Serialize)]
struct Check<'a> {
    #[serde(flatten)]
    note: &'a Note,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    statements: &'a [String],
}

impl<'a> Check<'a> {
    fn of(note: &'a Note) -> Self {
        let statements = &note.statements;
        Self { note, statements }
    }
}

/// The checks of one database, for programs.
#[derive(Serialize)]
struct Object<'a> {
    database: &'a str,
    level: Level,
    checks: Vec<Check<'a>>,
}

/// Runs all checks of one database, in the order of the output.
async fn examine(database: &Database, settings: &Settings, rules: Option<&Rules>) -> Vec<Note> {
    let session = match super::open("doctor", database, settings).await {
        Ok(session) => session,
        Err(error) => return vec![Note::unreachable(database, &error)],
    };
    let mut notes = vec![connection(&session, database).await];
    if session.was_used() {
        notes.push(Note::finding(&finding::Server::UsedBackend.into()));
    }
    let may_read = Some(MayRead::asked_for());
    let look = look(session.db(), database, settings, rules, may_read).await;
    let (fit, is_paused) = (look.installed, look.pause.is_some());
    let is_locked = look.is_locked();
    notes.extend(look.notes);
    if session.inbox().is_closed() {
        notes.push(Note::fail(
            "connection",
            format!("lost during the checks: {}", session.inbox().cause()),
            sqlstate::REACH,
        ));
        return notes;
    }
    let mut rest = upkeep(session.db(), look.layout.is_some()).await;
    if let Some(layout) = &look.layout {
        rest.push(unmatched::configurations(session.db(), layout).await);
    }
    rest.push(if look.reads_only {
        Note::skip(
            "round trip",
            "not tried: this is a monitoring role, which writes nothing",
        )
    } else if is_locked {
        Note::warn(
            "round trip",
            "not tried: the lock above keeps every write waiting",
            "End what holds the lock, and run this again.",
        )
    } else if fit {
        canary(session.db(), settings, is_paused).await
    } else {
        Note::warn(
            "round trip",
            "not tried, because of the faults above",
            "Repair that, and run this again.",
        )
    });
    let schema = &database.install.schema;
    notes.extend(rest.into_iter().map(|note| note.localized(schema)));
    notes
}

/// The check of an open connection: encryption and verification of the server.
async fn connection(session: &Session, database: &Database) -> Note {
    let target = database.target();
    let nearby: Result<bool, _> = session.db().value(report::NEARBY, &[]).await;
    let own = format!("a dedicated session (no transaction pooler), {target}");
    let unverified = |how: &str| Note::warn("connection", format!("{own}; {how}"), VERIFY);
    match (database.tls, nearby) {
        (_, Err(error)) => Note::unanswered("connection", &error),
        (Tls::VerifyFull, _) => Note::pass(
            "connection",
            format!("{own}; encrypted, the server's name verified"),
        ),
        (Tls::VerifyCa, Ok(false)) if !database.is_server_verified() => unverified(
            "encrypted, but the server is not verified: a certificate of any public authority is \
            accepted, for whatever name",
        ),
        (Tls::VerifyCa, _) => Note::pass(
            "connection",
            format!("{own}; encrypted, the certificate verified"),
        ),
        (Tls::Disable, Ok(true)) => Note::pass(
            "connection",
            format!("{own}; on this machine, not encrypted"),
        ),
        (Tls::Require, Ok(true)) => Note::pass("connection", format!("{own}; encrypted")),
        (Tls::Require, Ok(false)) => unverified(
            "encrypted, but the server is not verified: any server that answers is \
            trusted",
        ),
        (Tls::Disable, Ok(false)) => {
            unverified("not encrypted, the server not verified, and not on this machine")
        }
    }
}

/// The remedy for a server that is not verified.
const VERIFY: &str =
    "Set tls = \"verify-full\", and tls_root_cert where the authority is not a public one.";

fn print(page: &mut Page, database: &Database, notes: &[Note]) {
    page.line(format_args!("{BOLD}{}{BOLD:#}", database.name));
    for note in notes {
        page.line(line(note));
        if let Some(remedy) = &note.remedy {
            page.line(indented(&format!("{:22}try: ", ""), remedy, WIDTH));
        }
        for statement in &note.statements {
            page.line(indented(&" ".repeat(22), statement, WIDTH));
        }
    }
    let number =
        |level| i64::try_from(notes.iter().filter(|note| note.level == level).count()).unwrap_or(0);
    let levels = [Level::Skip, Level::Pass, Level::Warn, Level::Fail];
    let [skipped, passed, warned, failed] = levels.map(number);
    let skipped = match skipped {
        0 => String::new(),
        skipped => format!(", {DIM}{} skipped{DIM:#}", count(skipped)),
    };
    let (warn, fail) = (
        if warned > 0 { YELLOW } else { DIM },
        if failed > 0 { RED } else { DIM },
    );
    page.line(format_args!(
        "{BOLD}{}{BOLD:#}: {GREEN}{passed} passed{GREEN:#}, {warn}{}{warn:#}, \
        {fail}{}{fail:#}{skipped}",
        database.name,
        plural(warned, "warning"),
        plural(failed, "fault"),
    ));
}

fn line(note: &Note) -> String {
    let (word, colour) = match note.level {
        Level::Skip => ("skip", DIM),
        Level::Pass => ("pass", GREEN),
        Level::Warn => ("warn", YELLOW),
        Level::Fail => ("FAIL", RED),
    };
    let text = indented(&format!("  {word}  {:<13} ", note.topic), &note.text, WIDTH);
    text.replacen(word, &format!("{colour}{word}{colour:#}"), 1)
}
