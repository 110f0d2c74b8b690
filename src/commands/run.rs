//! `run`: keeps the databases in sync until a signal ends it (I4).
//!
//! SIGTERM and SIGINT end the daemon after the running batches. SIGHUP reloads settings and rules:
//! valid ones are applied without disturbing unchanged databases, invalid ones change nothing and
//! are logged. The supervisor, such as systemd, is notified of start, reload and stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::agent_pages::{AgentPages, InForce};
use super::watch::{Files, Watch};
use crate::admin::Admin;
use crate::cli::{Databases, Verbosity};
use crate::exit::Exit;
use crate::mapping::Rules;
use crate::observe::{Board, Logging};
use crate::settings::{self, Database, Exposed, Settings};
use crate::supervisor::Supervisor;
use crate::sync::{Fleet, Options, Reloaded};

/// The time limit for reading the settings files on a reload.
const READING: Duration = Duration::from_secs(10);

/// The longest time from the signal to the end of the process (I4): whatever is not done by then,
/// such as the end of a session whose server does not answer, is abandoned.
const END: Duration = Duration::from_millis(4_750);

/// The part of [`END`] that the running batches may take; the rest is for the ends of the sessions.
const BATCHES: Duration = Duration::from_millis(4_250);

/// The interval between two checks for log lines that were left out or dropped.
const LEFT_OUT: Duration = Duration::from_secs(5);

/// The settings that a reload reads again.
struct Loaded {
    settings: Settings,
    databases: Vec<Database>,
    rules: Arc<Rules>,
    notes: Vec<String>,
    exposed: Vec<Exposed>,
    files: Files,
}

/// The choices of the command line.
#[derive(Debug, Clone)]
struct Invocation {
    config: Option<PathBuf>,
    names: Vec<String>,
    verbosity: Verbosity,
}

impl Loaded {
    fn load(invocation: &Invocation) -> anyhow::Result<Self> {
        let loaded = super::load(invocation.config.as_deref())?;
        let exposed = loaded.exposed_files().into_iter().cloned().collect();
        let settings::Loaded {
            mut settings,
            unused_url,
            mut notes,
            file,
            named_files,
            ..
        } = loaded;
        notes.extend(unused_url);
        if let Some(level) = invocation.verbosity.level() {
            level.clone_into(&mut settings.log.level);
        }
        let databases = super::select(&settings, &invocation.names)?
            .into_iter()
            .cloned()
            .collect();
        let rules = Arc::new(super::rules(&settings)?);
        Ok(Self {
            settings,
            databases,
            rules,
            notes,
            exposed,
            files: Files {
                main: file,
                named: named_files,
            },
        })
    }

    /// The settings and rules that the pages of agents need.
    fn in_force(&self) -> Arc<InForce> {
        Arc::new(InForce {
            settings: self.settings.clone(),
            databases: self.databases.clone(),
            rules: Arc::clone(&self.rules),
        })
    }
}

/// Runs the daemon until SIGTERM or SIGINT.
pub fn run(config: Option<&Path>, args: &Databases, verbosity: Verbosity) -> anyhow::Result<Exit> {
    let invocation = Invocation {
        config: config.map(Path::to_owned),
        names: args.names.clone(),
        verbosity,
    };
    let loaded = Loaded::load(&invocation)?;
    let mut logging = Logging::start(&loaded.settings.log);
    super::block_on(serve(loaded, &mut logging, invocation))
}

async fn serve(
    loaded: Loaded,
    logging: &mut Logging,
    invocation: Invocation,
) -> anyhow::Result<Exit> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    report_start(&loaded);
    let mut grace = loaded.settings.shutdown.grace_period;
    let board = Arc::new(Board::default());
    let (in_force, known) = watch::channel(loaded.in_force());
    let pages = Arc::new(AgentPages(known));
    let admin = Admin::start(&loaded.settings.admin, Arc::clone(&board), pages);
    let (options, rules) = (Options::of(&loaded.settings), loaded.rules);
    let mut fleet = Fleet::start(&loaded.databases, options, rules, Arc::clone(&board));
    let mut watch = Watch::start(loaded.files, loaded.settings.reload.watch);
    let supervisor = Supervisor::attend(board);
    let mut dropped = logging.dropped();
    let signal = loop {
        tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            () = tokio::time::sleep(LEFT_OUT) => {
                logging.count_further();
                report_dropped(logging, &mut dropped);
            }
            () = asked_to_reload(&mut hang_up, &mut watch) => {
                supervisor.reloading().await;
                let loaded = tokio::select! {
                    loaded = read_again(invocation.clone()) => loaded,
                    _ = terminate.recv() => break "SIGTERM",
                    _ = interrupt.recv() => break "SIGINT",
                };
                match loaded {
                    Ok(loaded) => {
                        let before = in_force.send_replace(loaded.in_force());
                        watch.follow(loaded.files.clone(), loaded.settings.reload.watch);
                        let is_other = before.settings != loaded.settings;
                        grace = apply(loaded, is_other, logging, (&admin, &mut fleet));
                    }
                    Err(reason) => error!(reason = format!("{reason:#}"), "reload refused; nothing \
                        has changed"),
                }
                supervisor.reloaded().await;
            }
            () = fleet.failure() => {
                error!("the task of a database ended unexpectedly; the process ends and has to be \
                    started again");
                return Ok(Exit::Failed);
            }
        }
    };
    info!(signal, "stopping after the running batch");
    stop(fleet, &supervisor, grace).await;
    Ok(Exit::Done)
}

/// Stops the tasks of the databases, and tells the supervisor before.
async fn stop(fleet: Fleet, supervisor: &Supervisor, grace: Duration) {
    end_in_time();
    let by = Instant::now() + grace.min(BATCHES);
    supervisor.stopping().await;
    let left = by.saturating_duration_since(Instant::now());
    report_stopped(fleet.stop(left).await);
}

/// Ends the process after [`END`] in any case. The bounds of the single steps would add up: the
/// ends of the sessions, and a log that nobody reads.
fn end_in_time() {
    let thread = std::thread::Builder::new().name("end".to_owned());
    // Without a thread, the bounds of the steps remain.
    let _ = thread.spawn(|| {
        std::thread::sleep(END);
        std::process::exit(0)
    });
}

fn report_stopped(in_time: bool) {
    if !in_time {
        warn!(
            "a batch did not end in time; the server rolls it back, and the next start repeats it"
        );
    }
}

fn report_start(loaded: &Loaded) {
    info!(
        version = crate::VERSION,
        databases = loaded.databases.len(),
        "agent-sync starts"
    );
    remark(&loaded.notes, &loaded.exposed);
}

/// Waits for SIGHUP, or for a change of a file of the settings.
async fn asked_to_reload(hang_up: &mut Signal, watch: &mut Watch) {
    tokio::select! {
        _ = hang_up.recv() => {}
        () = watch.changed() => info!("a file of the settings has changed"),
    }
}

/// Applies settings that were read again; `is_other` if any has changed. Returns the grace period.
fn apply(
    loaded: Loaded,
    is_other: bool,
    logging: &Logging,
    (admin, fleet): (&Admin, &mut Fleet),
) -> Duration {
    logging.reload(&loaded.settings.log);
    admin.reload(&loaded.settings.admin);
    let options = Options::of(&loaded.settings);
    log_reload(
        &fleet.reload(&loaded.databases, options, loaded.rules),
        is_other,
    );
    remark(&loaded.notes, &loaded.exposed);
    loaded.settings.shutdown.grace_period
}

/// Loads the settings on a blocking thread, because a slow disk must not hold up the databases.
async fn read_again(invocation: Invocation) -> anyhow::Result<Loaded> {
    let reading = tokio::task::spawn_blocking(move || Loaded::load(&invocation));
    tokio::time::timeout(READING, reading)
        .await
        .with_context(|| {
            format!(
                "a file of the settings was not read within {READING:?}; see whether its disk \
                or mount answers, or whether it is a pipe"
            )
        })?
        .context("reading the settings was interrupted")?
}

/// Logs the number of log lines dropped since the last report.
fn report_dropped(logging: &Logging, reported: &mut usize) {
    let dropped = logging.dropped();
    let lines = dropped.saturating_sub(*reported);
    if lines > 0 {
        *reported = dropped;
        warn!(
            lines,
            remedy = "The databases were not the cause. See whether what reads the daemon's \
                standard error keeps up.",
            "lines of the log were dropped, because no program read them"
        );
    }
}

/// Logs a reload, with a field for each kind of change; `is_other` if any setting has changed.
fn log_reload(reloaded: &Reloaded, is_other: bool) {
    let names = [&reloaded.added, &reloaded.removed, &reloaded.changed];
    let [added, removed, changed] = names.map(|names| match &names[..] {
        [] => None,
        names => Some(names.join(", ")),
    });
    if !is_other && *reloaded == Reloaded::default() {
        return info!("settings reloaded; nothing has changed");
    }
    info!(
        added,
        removed,
        changed,
        rules_changed = reloaded.rules.then_some(true),
        "settings reloaded"
    );
}

/// Logs the notes of the settings and the files with exposed secrets.
fn remark(notes: &[String], exposed: &[Exposed]) {
    for note in notes {
        info!("{note}");
    }
    for exposed in exposed {
        let (file, remedy) = (exposed.file.display(), exposed.remedy());
        if exposed.is_secret {
            warn!(%file, access = exposed.access, remedy, "others can read or change a file that \
                holds a secret");
        } else {
            warn!(%file, access = exposed.access, remedy, "others can change the settings");
        }
    }
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("the operating system refused to deliver signals")
}
