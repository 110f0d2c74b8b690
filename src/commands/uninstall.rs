//! `uninstall`: removes everything that `install` created (I6).
//!
//! The command asks for confirmation and names the losses: changes that are not in sync yet, and
//! roles that an install created.

use std::path::Path;

use super::asking::is_meant;
use super::output::{say, say_verbatim};
use crate::cli::Uninstall;
use crate::exit::{Exit, Fault};
use crate::install::{self, Done, Plan, Roles};
use crate::pg::QueryError;
use crate::report::{Loss, loss, not_in_sync};
use crate::session::Session;
use crate::settings::{Database, Settings};

/// Uninstalls from the databases in turn. A failure in one database does not stop the others.
pub fn uninstall(config: Option<&Path>, args: &Uninstall) -> anyhow::Result<Exit> {
    let settings = super::settings_to_write(config, "uninstall", &args.names)?;
    let databases = super::select(&settings, &args.names)?;
    if let [first, _, ..] = databases[..]
        && args.names.is_empty()
        && !args.all
    {
        let names: Vec<_> = databases
            .iter()
            .map(|database| database.name.as_str())
            .collect();
        let what = format!(
            "uninstall: expected --database or --all, because the settings have {} databases ({})",
            names.len(),
            names.join(", ")
        );
        let remedy = format!(
            "name the database, such as `agent-sync uninstall --database {}`",
            first.name
        );
        return Err(Fault::usage(what).remedy(remedy).into());
    }
    if args.print {
        for database in databases {
            say(format_args!(
                "-- agent-sync {}: uninstall",
                env!("CARGO_PKG_VERSION")
            ))?;
            say_verbatim(&Plan::of(database, &settings, None).script_of_uninstall())?;
        }
        return Ok(Exit::Done);
    }
    super::block_on(async {
        let (mut exits, mut work) = (Vec::new(), Vec::new());
        for database in databases {
            match Work::plan(database, &settings, !args.yes).await {
                Ok(one) => work.push(one),
                Err(error) => exits.push(super::output::report(&error)),
            }
        }
        let losses: Vec<_> = work.iter().filter_map(Work::describe_loss).collect();
        if !losses.is_empty() && !is_meant("uninstall", "removes", &losses)? {
            say("nothing was changed")?;
            return Ok(Exit::Failed);
        }
        for one in work {
            exits.push(
                one.uninstall(&settings)
                    .await
                    .unwrap_or_else(|error| super::output::report(&error)),
            );
        }
        Ok(super::worst(exits))
    })
}

fn refused(database: &Database, error: QueryError) -> anyhow::Error {
    super::refused(database, "not uninstalled; nothing was changed", error)
}

/// A database with its open session and the losses to confirm; `None` with `--yes` or without an
/// install.
struct Work<'a> {
    database: &'a Database,
    session: Session,
    loss: Option<Loss>,
}

impl<'a> Work<'a> {
    async fn plan(database: &'a Database, settings: &Settings, asks: bool) -> anyhow::Result<Self> {
        let session = super::connect(database, settings).await?;
        let loss = if asks {
            let plan = Plan::of(database, settings, None);
            let loss = loss(session.db(), &plan).await;
            loss.map_err(|error| refused(database, error))?
        } else {
            None
        };
        Ok(Self {
            database,
            session,
            loss,
        })
    }

    /// The losses as text, one line each; `None` if nothing is installed.
    fn describe_loss(&self) -> Option<String> {
        let Loss { pending, roles } = self.loss.as_ref()?;
        let mut lines = vec![format!(
            "{} ({})",
            self.database.name,
            self.database.target()
        )];
        lines.extend(not_in_sync(*pending).map(|pending| format!("  {pending} dropped")));
        lines.extend(roles.iter().map(|role| {
            format!(
                "  the role {role}, which an install made, is dropped, and its password with it"
            )
        }));
        Some(lines.join("\n    "))
    }

    async fn uninstall(self, settings: &Settings) -> anyhow::Result<Exit> {
        let Self {
            database, session, ..
        } = self;
        let plan = Plan::of(database, settings, None);
        let (done, Roles { dropped, kept }) = install::uninstall(session.db(), &plan)
            .await
            .map_err(|error| refused(database, error))?;
        let outcome = match done {
            Done::Changed => "uninstalled",
            Done::Nothing => "nothing is installed",
        };
        let name = &database.name;
        say(format_args!("{name}: {outcome} ({})", database.target()))?;
        for role in dropped {
            say(format_args!(
                "{name}: the role {role}, which an install had made, is dropped, and its password \
                with it"
            ))?;
        }
        for role in kept {
            say(format_args!(
                "{name}: the role {role} stays, without what was granted to it"
            ))?;
        }
        Ok(Exit::Done)
    }
}
