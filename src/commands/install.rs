//! `install`: installs the capture into the databases, or prints the SQL (I6).

use std::path::Path;

use tokio_postgres::error::SqlState;

use super::asking::is_meant;
use super::output::{say, say_verbatim};
use crate::cli::Install;
use crate::exit::{Exit, Fault};
use crate::install::{self, Done, OnOtherTables, Plan};
use crate::pg::{Db, QueryError};
use crate::report::{Left, left, not_in_sync};
use crate::session::Session;
use crate::settings::{self, Database, ONE_INSTALL, Settings};
use crate::store::finding::role_argument;
use crate::store::{Finding, Layout, LayoutError, report};

/// Installs into the databases in turn. A failure in one database does not stop the others.
pub fn install(config: Option<&Path>, args: &Install) -> anyhow::Result<Exit> {
    let settings = super::settings_to_write(config, "install", &args.databases.names)?;
    let databases = super::select(&settings, &args.databases.names)?;
    check_roles(args)?;
    if args.print {
        for database in databases {
            say(format_args!(
                "-- agent-sync {}: install",
                env!("CARGO_PKG_VERSION")
            ))?;
            say_verbatim(&plan(database, &settings, args).script())?;
        }
        return Ok(Exit::Done);
    }
    super::block_on(async {
        let (mut exits, mut left, mut meant) = (Vec::new(), Vec::new(), Vec::<Meant<'_>>::new());
        for database in databases {
            let one = Meant::of(database, &settings, args).await;
            match one {
                Ok((one, leaves)) => {
                    if let Some(other) = meant.iter().find(|other| other.is_same(&one)) {
                        return Err(shared(database, other.database).into());
                    }
                    left.extend(leaves);
                    meant.push(one);
                }
                Err(error) => exits.push(super::output::report(&error)),
            }
        }
        if !left.is_empty() && !is_meant("install --move", "leaves tables", &left)? {
            say("nothing was changed")?;
            return Ok(Exit::Failed);
        }
        for one in meant {
            exits.push(
                one.install(&settings, args)
                    .await
                    .unwrap_or_else(|error| super::output::report(&error)),
            );
        }
        Ok(super::worst(exits))
    })
}

/// Checks the names of the roles.
fn check_roles(args: &Install) -> anyhow::Result<()> {
    for (option, role) in [("--role", &args.role), ("--monitor", &args.monitor)] {
        if role.as_deref().is_some_and(settings::is_withheld) {
            let what = format!(
                "{option}: expected the name of a role, found what looks like a connection string \
                (not shown)"
            );
            let remedy =
                "name the role alone; the connection string goes into DATABASE_URL or the settings";
            return Err(Fault::usage(what).remedy(remedy).into());
        }
    }
    if args.role.is_some() && args.role == args.monitor {
        let what = "expected two roles in --role and --monitor, and found the same one";
        let remedy = "name a role of its own for each: the role of the daemon can monitor as well";
        return Err(Fault::usage(what).remedy(remedy).into());
    }
    Ok(())
}

fn plan<'a>(database: &'a Database, settings: &Settings, args: &'a Install) -> Plan<'a> {
    let on_other_tables = if args.moves {
        OnOtherTables::Move
    } else {
        OnOtherTables::Refuse
    };
    Plan {
        monitor: args.monitor.as_deref(),
        on_other_tables,
        ..Plan::of(database, settings, args.role.as_deref())
    }
}

/// A database with its open session.
struct Meant<'a> {
    database: &'a Database,
    session: Session,
}

impl<'a> Meant<'a> {
    /// Connects, and reads the tables that the install leaves, with the changes that are pending
    /// there, if the command asks.
    async fn of(
        database: &'a Database,
        settings: &Settings,
        args: &Install,
    ) -> anyhow::Result<(Self, Option<String>)> {
        let refused = |error| super::refused(database, "not installed; nothing was changed", error);
        let session = super::connect(database, settings).await?;
        let leaves = if args.moves && !args.yes {
            let left = left(session.db(), &plan(database, settings, args)).await;
            left.map_err(refused)?
        } else {
            None
        };
        let leaves = leaves.map(|left| describe(database, left));
        Ok((Self { database, session }, leaves))
    }

    /// Whether both have one install (T6), whatever their connection strings are. The running
    /// server counts, because a physical copy of it has its identifier, and the same numbers of
    /// databases.
    fn is_same(&self, other: &Self) -> bool {
        self.session.backend().server == other.session.backend().server
            && self.database.install.schema == other.database.install.schema
    }

    async fn install(self, settings: &Settings, args: &Install) -> anyhow::Result<Exit> {
        let Self {
            database, session, ..
        } = self;
        let plan = &plan(database, settings, args);
        let (done, reported) = match install::install(session.db(), plan).await {
            Ok(done) => done,
            Err(error) => return Err(not_installed(session.db(), database, error).await),
        };
        let is_new = done == Done::Changed;
        let outcome = match done {
            Done::Changed => "installed",
            Done::Nothing => "already installed, nothing to change",
        };
        let name = &database.name;
        say(format_args!("{name}: {outcome} ({})", database.target()))?;
        for finding in about_the_key(session.db(), database).await {
            let text = format!("{name}: {finding}; try: {}", finding.remedy());
            super::output::note(database.install.schema.localize_message(&text));
        }
        for role in reported.strangers {
            say(format_args!(
                "{name}: the role {role} was granted nothing: it is not the role of that name that \
            an earlier install has noted. If it is for the daemon, run `agent-sync install --role \
            {}`.",
                role_argument(&role)
            ))?;
        }
        for role in reported.closed {
            say(format_args!(
                "{name}: {role}, which is no role of a daemon, has lost privileges in the schema \
            {}; USAGE, and SELECT on state and problem, stay. If a daemon connects so, run \
            `agent-sync install --role NAME`.",
                database.install.schema.name()
            ))?;
        }
        if let Some(role) = plan.monitor {
            say(format_args!(
                "{name}: the role {role} may read what `agent-sync status` and `agent-sync doctor` \
            ask for, and write nothing; a role that install makes has no password: set one with \
            \\password {role} in psql"
            ))?;
        }
        if let Some(role) = plan.role {
            say(format_args!(
                "{name}: the role {role} has the privileges of the daemon, and no others were \
            granted; a role that install makes has no password: set one with \\password {role} in \
            psql"
            ))?;
        }
        // Not where a daemon leads, nor where that is unknown.
        if is_new && matches!(session.db().value(report::LED, &[]).await, Ok(false)) {
            super::output::note(next_step(name, plan.role));
        }
        Ok(Exit::Done)
    }
}

/// The next step after the install of a database that no daemon serves yet.
fn next_step(name: &str, role: Option<&str>) -> String {
    match role {
        Some(role) => format!(
            "{name}: next, set the user of the connection to {role}, and start the daemon with \
            `agent-sync run`"
        ),
        None => format!(
            "{name}: next, start the daemon with `agent-sync run`; `agent-sync install --role \
            NAME` makes a role of its own for it"
        ),
    }
}

/// The fault of a refused install. Of missing columns it names those that there are as well.
async fn not_installed(db: &Db, database: &Database, error: QueryError) -> anyhow::Error {
    let what = "not installed; nothing was changed";
    let is_about_columns = matches!(&error, QueryError::Postgres(cause)
        if cause.code() == Some(&SqlState::UNDEFINED_COLUMN));
    if is_about_columns
        && let Err(error @ LayoutError::NoColumns(_)) = Layout::read(db, database).await
    {
        let fault = Fault::new(Exit::Failed, format!("database {}: {what}", database.name));
        let remedy = error.remedy();
        return anyhow::Error::new(error).context(fault.remedy(remedy));
    }
    super::refused(database, what, error)
}

/// The lines about the tables that an install leaves.
fn describe(database: &Database, Left { served, pending }: Left) -> String {
    let (name, target) = (&database.name, database.target());
    let pending = not_in_sync(pending)
        .map(|pending| format!("\n      {pending} not applied any more"))
        .unwrap_or_default();
    format!(
        "{name} ({target})\n      {} and {} are no longer served{pending}",
        served.0, served.1
    )
}

/// The fault of two entries with one install, found before anything is changed.
fn shared(database: &Database, other: &Database) -> Fault {
    let what = format!(
        "database {}: expected {}, found {} of {}; nothing was changed",
        database.name, ONE_INSTALL.expected, ONE_INSTALL.found, other.name
    );
    Fault::usage(what).remedy(ONE_INSTALL.remedy)
}

/// The findings about the key of the agents (T5), of the catalog alone: the role of an install may
/// have more rights than the owners of the tables (S27). An install does not fail on them, nor
/// where they cannot be read: `doctor` reports that.
async fn about_the_key(db: &Db, database: &Database) -> Vec<Finding> {
    let Ok(layout) = Layout::read(db, database).await else {
        return Vec::new();
    };
    let mut findings = layout.column_findings;
    findings.retain(Finding::is_about_the_key);
    findings
}
