//! `reconcile`: brings configurations in sync through the outbox.
//!
//! The command checks every database like `check`, asks for confirmation if many configurations
//! would change, puts the slugs to process into the outbox, and prints the result of each agent
//! that is still out of sync.

use std::io::IsTerminal as _;
use std::path::Path;
use std::sync::Arc;

use postgres_types::Type;

use super::checker::{Checked, Checker};
use super::groups::Groups;
use super::outcome::{Outcome, group, print};
use super::page::Page;
use crate::cli::{Check, Databases, Reconcile, Reporting, Verbosity};
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::reconcile::{ReconcileError, Reconciler};
use crate::settings::{Database, Settings};
use crate::show::{count, plural};
use crate::store::{Layout, pause, report};

/// Checks the databases, asks for confirmation, and reconciles.
pub fn reconcile(config: Option<&Path>, args: &Reconcile) -> anyhow::Result<Exit> {
    let slugs = scope(args)?;
    if args.dry_run {
        return super::check::check(config, &dry_run(args, slugs), Verbosity::default());
    }
    let settings = super::settings_to_write(config, "reconcile", &args.reporting.databases.names)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let (json, of) = (args.reporting.json, databases.len());
        let named = (&*slugs, args.tenant.tenant.as_deref());
        let mut checker =
            Checker::new(&settings, &rules, named, json, databases.len()).reconciling(args.sample);
        let (mut todo, mut exits, mut touched) = (Vec::new(), Vec::new(), 0);
        for database in databases {
            match plan(&mut checker, database, &settings).await {
                Ok(work) => {
                    touched += work.touches;
                    todo.push(work);
                }
                Err(error) => exits.push(report_error(&mut checker.page, &error)),
            }
        }
        checker.page.under(None);
        let reached = todo.len();
        if !args.yes && touched > i64::from(settings.reconcile.confirm_above) {
            checker.page.flush();
            if !confirmed(&mut checker.page, touched, &todo, args, &settings)? {
                checker.unknown(reached, of);
                checker.page.note("nothing was changed");
                return Ok(Exit::Failed);
            }
        }
        for work in todo {
            let heading = (of > 1 && !json).then(|| work.database.name.clone());
            let page = &mut checker.page;
            page.under(heading);
            exits.push(
                match Box::pin(bring_in_sync(page, &work, &settings, &rules, json)).await {
                    Ok(exit) => exit,
                    Err(error) => report_error(page, &error),
                },
            );
        }
        checker.page.under(None);
        exits.push(checker.unknown(reached, of));
        // 2 means that `check` found drift; `reconcile` has repaired it or failed.
        checker.page.end(match super::worst(exits) {
            Exit::Found => Exit::Failed,
            exit => exit,
        })
    })
}

/// The slugs to reconcile; none if the scope is every agent.
fn scope(args: &Reconcile) -> anyhow::Result<Vec<String>> {
    let has_scope = args.all
        || args.sample.is_some()
        || args.slugs_from.is_some()
        || args.tenant.tenant.is_some();
    if args.slugs.is_empty() && !has_scope {
        let fault = Fault::usage(
            "reconcile: expected the slugs of agents, --tenant or --all, and found none",
        );
        return Err(fault
            .remedy("say which: `agent-sync reconcile SLUG…` or `agent-sync reconcile --all`")
            .into());
    }
    let mut slugs = args.slugs.clone();
    if let Some(file) = &args.slugs_from {
        slugs.extend(super::slugs::read(file)?);
        if slugs.is_empty() {
            let what = format!("expected slugs in {}, and found none", file.display());
            return Err(Fault::usage(what).remedy("give one slug a line").into());
        }
    }
    Ok(slugs)
}

/// The arguments of the check that shows what would be done.
fn dry_run(args: &Reconcile, slugs: Vec<String>) -> Check {
    Check {
        slugs,
        tenant: args.tenant.clone(),
        unmapped: false,
        rules: None,
        reporting: Reporting {
            databases: Databases {
                names: args.reporting.databases.names.clone(),
            },
            json: args.reporting.json,
        },
    }
}

fn report_error(page: &mut Page, error: &anyhow::Error) -> Exit {
    page.clear();
    page.flush();
    super::output::report(error)
}

/// The work in one database.
struct Work<'a> {
    database: &'a Database,
    checked: Checked,
    /// The number of configurations that may change: those that differ, and while no daemon leads,
    /// also the pending ones.
    touches: i64,
}

async fn plan<'a>(
    by: &mut Checker<'_>,
    database: &'a Database,
    settings: &Settings,
) -> anyhow::Result<Work<'a>> {
    let session = super::open_or_fault("reconcile", database, settings).await?;
    let db = session.db();
    let unanswered = |error| super::unanswered(database, error);
    let checked = by.survey(database, db).await?;
    if !checked.can_read_notes {
        let what = format!(
            "database {}: nothing can be reconciled without a readable install of agent-sync",
            database.name
        );
        return Err(Fault::new(Exit::Failed, what).into());
    }
    if let Some(pause) = pause::in_force(db).await.map_err(unanswered)? {
        return Err(super::paused(database, &pause).into());
    }
    let led: bool = db.value(report::LED, &[]).await.map_err(unanswered)?;
    let mut touches = checked.todo.configurations;
    if !led && !checked.todo.is_empty() {
        let outbox = report::outbox(database.agents.columns.keys());
        let pending: i64 = db
            .value(&outbox, &[(&i64::MAX, Type::INT8)])
            .await
            .map_err(unanswered)?;
        touches = checked.todo.drifted + pending;
    }
    Ok(Work {
        database,
        checked,
        touches,
    })
}

/// Asks for confirmation at the terminal. Without a terminal, fails with a usage fault.
fn confirmed(
    page: &mut Page,
    touched: i64,
    todo: &[Work<'_>],
    args: &Reconcile,
    settings: &Settings,
) -> anyhow::Result<bool> {
    let above = settings.reconcile.confirm_above;
    let what = plural(touched, "configuration");
    if !std::io::stdin().is_terminal() {
        let what = format!(
            "this writes {what}, more than the {} of reconcile.confirm_above",
            count(above)
        );
        let has_slugs = !args.slugs.is_empty() || args.slugs_from.is_some();
        let dry = match (has_slugs, &args.tenant.tenant) {
            (true, _) => "reconcile --dry-run SLUG…",
            (false, Some(_)) => "reconcile --dry-run --tenant TENANT",
            (false, None) => "reconcile --all --dry-run",
        };
        return Err(Fault::usage(what)
            .remedy(format!(
                "add --yes to confirm; `agent-sync {dry}` shows the differences"
            ))
            .into());
    }
    page.clear();
    page.flush();
    let places = todo.iter().filter(|work| work.touches > 0).map(|work| {
        let (database, number) = (work.database, count(work.touches));
        format!("\n    {}: {number} ({})", database.name, database.target())
    });
    super::confirmed(&format!(
        "bring {what} in sync?{}\n",
        places.collect::<String>()
    ))
}

async fn bring_in_sync(
    page: &mut Page,
    work: &Work<'_>,
    settings: &Settings,
    rules: &Rules,
    json: bool,
) -> anyhow::Result<Exit> {
    let (database, tally) = (work.database, &work.checked.tally);
    // The check has printed the agents that cannot be written.
    let mut outcome = Outcome {
        missing: tally.missing,
        rejected: tally.rejected + tally.ambiguous,
        ..Outcome::default()
    };
    let mut used_oneshot_drain = false;
    if !work.checked.todo.is_empty() {
        let (news, oneshot) = Box::pin(run(page, work, settings, rules, json)).await?;
        // A rejected agent with a second configuration that differs is already counted by the
        // check.
        outcome.synced = news.synced;
        outcome.failed = news.failed;
        outcome.missing += news.missing;
        outcome.rejected = outcome.rejected.max(news.rejected);
        used_oneshot_drain = oneshot;
    }
    page.under(None);
    let left_out = work.checked.todo.left_out;
    if left_out > 0 && !json {
        page.note(format_args!(
            "database {}: {} that differ are not in the sample",
            database.name,
            plural(left_out, "further agent")
        ));
    }
    outcome.sum_up(page, database, tally.in_sync, used_oneshot_drain, json);
    // Hidden agents are not reconciled.
    Ok(if work.checked.hidden {
        Exit::Failed
    } else {
        outcome.exit()
    })
}

/// Puts the slugs through the outbox. Returns the results, and whether this command did the work.
async fn run(
    page: &mut Page,
    work: &Work<'_>,
    settings: &Settings,
    rules: &Rules,
    json: bool,
) -> anyhow::Result<(Outcome, bool)> {
    let (database, todo) = (work.database, &work.checked.todo);
    let session = super::open_or_fault("reconcile", database, settings).await?;
    let layout = Layout::read(session.db(), database).await;
    let layout = layout.map_err(|error| super::no_layout(database, error))?;
    let (rules, keys) = (Arc::new(rules.clone()), layout.keys());
    let mut reconciler = Reconciler::new(database, settings, rules, layout, session);
    let total = i64::try_from(todo.differing.matches('\0').count()).unwrap_or(0);
    let (mut done, mut news) = (0, Outcome::default());
    let mut groups = Groups::new(page, json);
    let ran = reconciler
        .run(&todo.differing, |key, result| {
            done += 1;
            news += &result;
            if group(&result).is_none_or(|(word, why)| groups.count(word, &why)) {
                print(page, database, &keys.parts(key), &result, json);
            }
            page.progress(&database.name, done, total);
        })
        .await;
    let ran = match ran {
        Ok(()) => reconciler.run(&todo.misnoted, |_, _| {}).await,
        error => error,
    };
    let used_oneshot_drain = reconciler.uses_oneshot_drain();
    let ended = Box::pin(reconciler.end()).await;
    page.clear();
    groups.print(page);
    match ran.and(ended) {
        Ok(()) => Ok((news, used_oneshot_drain)),
        Err(error) => Err(given_up(database, error, total - done)),
    }
}

fn given_up(database: &Database, error: ReconcileError, left: i64) -> anyhow::Error {
    let what = format!(
        "database {}: given up with {} to do, which stay in the outbox",
        database.name,
        plural(left, "agent")
    );
    let fault = match &error {
        ReconcileError::Stalled(_) => Fault::new(Exit::Failed, what).remedy(
            "see `agent-sync doctor` and the log of the daemon, which hangs or has ended without a \
            log line",
        ),
        ReconcileError::Locked(_) => Fault::new(Exit::Failed, what).remedy(
            "see who holds the locks: SELECT * FROM pg_locks JOIN pg_stat_activity USING \
            (pid)",
        ),
        ReconcileError::Drain(cause) => Fault::unavailable(what).remedy(cause.remedy()),
        ReconcileError::Store(QueryError::Postgres(cause)) => {
            let policy = sqlstate::policy(cause);
            let exit = if policy.class == Class::Connection {
                Exit::Unavailable
            } else {
                Exit::Failed
            };
            Fault::new(exit, what).remedy(policy.remedy)
        }
        ReconcileError::Store(
            QueryError::Silent(_) | QueryError::Large(_) | QueryError::Surplus(_),
        ) => Fault::unavailable(what).remedy("see `agent-sync doctor`"),
        ReconcileError::Store(split @ QueryError::Split) => {
            Fault::new(Exit::Failed, what).remedy(split.remedy())
        }
    };
    anyhow::Error::new(error).context(fault)
}
