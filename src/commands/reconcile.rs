//! `reconcile`: brings configurations in sync through the outbox.
//!
//! The command checks every database like `check`, asks for confirmation if many configurations
//! would change, puts the slugs to process into the outbox, and prints the result of each agent
//! that is still out of sync.

use std::io::IsTerminal as _;
use std::ops::AddAssign;
use std::path::Path;
use std::sync::Arc;

use postgres_types::Type;
use serde_json::json;

use super::checker::{Checked, Checker};
use super::page::{Page, part};
use crate::cli::Reconcile;
use crate::exit::{Exit, Fault};
use crate::mapping::Rules;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::reconcile::{ReconcileError, Reconciler, SlugResult};
use crate::report::problem;
use crate::settings::{Database, Settings};
use crate::show::{BOLD, DIM, GREEN, RED, WIDTH, count, indented, plural, quoted};
use crate::store::{Layout, report};

/// Checks the databases, asks for confirmation, and reconciles.
pub fn reconcile(config: Option<&Path>, args: &Reconcile) -> anyhow::Result<Exit> {
    if args.slugs.is_empty() && !args.all {
        let fault =
            Fault::usage("reconcile: expected the slugs of agents, or --all, and found neither");
        return Err(fault
            .remedy("say which: `agent-sync reconcile SLUG…` or `agent-sync reconcile --all`")
            .into());
    }
    if args.dry_run {
        let check = crate::cli::Check {
            slugs: args.slugs.clone(),
            reporting: crate::cli::Reporting {
                databases: crate::cli::Databases {
                    names: args.reporting.databases.names.clone(),
                },
                json: args.reporting.json,
            },
        };
        return super::check::check(config, &check);
    }
    let settings = super::settings_to_write(config, "reconcile", &args.reporting.databases.names)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let (json, of) = (args.reporting.json, databases.len());
        let mut checker =
            Checker::new(&settings, &rules, &args.slugs, json, databases.len()).reconciling();
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
        exits.push(checker.unknown(todo.len(), of));
        let mut page = checker.page;
        if !args.yes && touched > i64::from(settings.reconcile.confirm_above) {
            page.flush();
            if !confirmed(&mut page, touched, &todo, args.all, &settings)? {
                page.note("nothing was changed");
                return Ok(Exit::Failed);
            }
        }
        for work in todo {
            let heading = (of > 1 && !json).then(|| work.database.name.clone());
            page.under(heading);
            exits.push(
                match Box::pin(bring_in_sync(&mut page, &work, &settings, &rules, json)).await {
                    Ok(exit) => exit,
                    Err(error) => report_error(&mut page, &error),
                },
            );
        }
        // 2 means that `check` found drift; `reconcile` has repaired it or failed.
        page.end(match super::worst(exits) {
            Exit::Drift => Exit::Failed,
            exit => exit,
        })
    })
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
    let checked = by.survey(database, db).await?;
    if !checked.noted {
        let what = format!(
            "database {}: nothing can be reconciled without a readable install of agent-sync",
            database.name
        );
        return Err(Fault::new(Exit::Failed, what).into());
    }
    let unanswered = |error| super::unanswered(database, error);
    let led: bool = db.value(report::LED, &[]).await.map_err(unanswered)?;
    let mut touches = checked.tally.differing;
    if !led && !checked.todo.is_empty() {
        let pending: i64 = db
            .value(report::OUTBOX, &[(&i64::MAX, Type::INT8)])
            .await
            .map_err(unanswered)?;
        touches = checked.tally.drifted + pending;
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
    all: bool,
    settings: &Settings,
) -> anyhow::Result<bool> {
    let above = settings.reconcile.confirm_above;
    let what = plural(touched, "configuration");
    if !std::io::stdin().is_terminal() {
        let what = format!(
            "this writes {what}, more than the {} of reconcile.confirm_above",
            count(above)
        );
        let dry = if all {
            "reconcile --all --dry-run"
        } else {
            "reconcile --dry-run SLUG…"
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
        let Work {
            database, touches, ..
        } = work;
        format!(
            "\n    {}: {} ({})",
            database.name,
            count(*touches),
            database.target()
        )
    });
    super::confirmed(&format!(
        "bring {what} in sync?{}\n",
        places.collect::<String>()
    ))
}

/// The number of slugs by result.
#[derive(Debug, Default, Clone, Copy)]
struct Outcome {
    synced: i64,
    missing: i64,
    rejected: i64,
    failed: i64,
}

impl AddAssign<&SlugResult> for Outcome {
    fn add_assign(&mut self, result: &SlugResult) {
        match result {
            SlugResult::InSync => self.synced += 1,
            SlugResult::Missing => self.missing += 1,
            SlugResult::Rejected(_) => self.rejected += 1,
            SlugResult::Failed { .. } | SlugResult::Differs => self.failed += 1,
            SlugResult::Gone => {}
        }
    }
}

async fn bring_in_sync(
    page: &mut Page,
    work: &Work<'_>,
    settings: &Settings,
    rules: &Rules,
    json: bool,
) -> anyhow::Result<Exit> {
    let Work {
        database, checked, ..
    } = work;
    let (todo, tally) = (&checked.todo, &checked.tally);
    // The check has printed the agents that cannot be written.
    let mut outcome = Outcome {
        missing: tally.missing,
        rejected: tally.rejected + tally.ambiguous,
        ..Outcome::default()
    };
    let mut used_oneshot_drain = false;
    if !todo.is_empty() {
        let session = super::open_or_fault("reconcile", database, settings).await?;
        let layout = Layout::read(session.db(), database).await;
        let layout = layout.map_err(|error| super::no_layout(database, error))?;
        let rules = Arc::new(rules.clone());
        let mut reconciler = Reconciler::new(database, settings, rules, layout, session);
        let total = i64::try_from(todo.differing.matches('\0').count()).unwrap_or(0);
        let (mut done, mut news) = (0, Outcome::default());
        let ran = reconciler
            .run(&todo.differing, |slug, result| {
                done += 1;
                news += &result;
                print_outcome(page, database, slug, &result, json);
                page.progress(&database.name, done, total);
            })
            .await;
        // A rejected agent with a second configuration that differs is already counted by the
        // check.
        outcome.synced = news.synced;
        outcome.failed = news.failed;
        outcome.missing += news.missing;
        outcome.rejected = outcome.rejected.max(news.rejected);
        let ran = match ran {
            Ok(()) => reconciler.run(&todo.misnoted, |_, _| {}).await,
            error => error,
        };
        used_oneshot_drain = reconciler.uses_oneshot_drain();
        let ended = Box::pin(reconciler.end()).await;
        page.clear();
        if let Err(error) = ran.and(ended) {
            let left = total - done;
            return Err(given_up(database, error, left));
        }
    }
    page.under(None);
    sum_up(
        page,
        database,
        tally.in_sync,
        outcome,
        used_oneshot_drain,
        json,
    );
    let Outcome {
        missing,
        rejected,
        failed,
        ..
    } = outcome;
    Ok(if missing + rejected + failed > 0 {
        Exit::Failed
    } else {
        Exit::Done
    })
}

/// Prints an agent that is still out of sync.
fn print_outcome(
    page: &mut Page,
    database: &Database,
    slug: &str,
    result: &SlugResult,
    json: bool,
) {
    let (word, reasons, remedy) = match result {
        // The check has printed the rejected agents.
        SlugResult::InSync | SlugResult::Gone | SlugResult::Rejected(_) => return,
        SlugResult::Missing => (
            "missing",
            vec!["its configuration has just gone".to_owned()],
            None,
        ),
        SlugResult::Failed { detail, sqlstate } => {
            let remedy = problem::remedy(database, "failed", sqlstate.as_deref(), slug);
            ("failed", vec![detail.clone()], Some(remedy))
        }
        SlugResult::Differs => {
            let reason = "it was written and differs again: somebody, or a trigger, changes it \
                back, or the daemon has other rules or columns than this command";
            let remedy = "If the settings or the rules were edited, have the daemon read them \
                (`systemctl reload agent-sync`, or SIGHUP), and run this again.";
            ("failed", vec![reason.to_owned()], Some(remedy.to_owned()))
        }
    };
    if json {
        page.json(&json!({
            "database": database.name, "slug": slug, "outcome": word, "reasons": reasons, "remedy": remedy,
        }));
        return;
    }
    page.line(format_args!(
        "{RED}{word:<8}{RED:#}  {BOLD}{}{BOLD:#}",
        quoted(slug)
    ));
    for reason in reasons {
        page.line(indented("          ", &reason, WIDTH));
    }
    if let Some(remedy) = remedy {
        page.line(indented("          try: ", &remedy, WIDTH));
    }
}

fn sum_up(
    page: &mut Page,
    database: &Database,
    unchanged: i64,
    outcome: Outcome,
    used_oneshot_drain: bool,
    json: bool,
) {
    let Outcome {
        synced,
        missing,
        rejected,
        failed,
    } = outcome;
    if json {
        page.json(&json!({
            "database": database.name,
            "summary": {
                "synced": synced, "unchanged": unchanged, "missing": missing, "rejected": rejected, "failed": failed,
            },
            "stood_in_for_the_daemon": used_oneshot_drain,
        }));
        return;
    }
    let parts = [
        (synced, "synced", GREEN),
        (unchanged, "unchanged", DIM),
        (missing, "missing", RED),
        (rejected, "rejected", RED),
        (failed, "failed", RED),
    ];
    let parts = parts.map(|(number, name, colour)| part(number, name, colour));
    page.line(format_args!(
        "{BOLD}{}{BOLD:#}: {}",
        database.name,
        parts.join(", ")
    ));
    if used_oneshot_drain {
        let text = format!(
            "No daemon leads, so this command did the work. {}.",
            problem::START
        );
        page.line(format_args!("{DIM}{}{DIM:#}", indented("  ", &text, WIDTH)));
    }
    if missing + rejected > 0 {
        let text = "`agent-sync why SLUG` explains one that is missing or rejected.";
        page.line(format_args!("{DIM}  {text}{DIM:#}"));
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
        ReconcileError::Store(QueryError::Silent(_)) => {
            Fault::unavailable(what).remedy("see `agent-sync doctor`")
        }
    };
    anyhow::Error::new(error).context(fault)
}
