//! The measured daemon: the real binary in the release profile, as a separate process.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use agent_sync_testbed::{Daemon as Process, http};
use anyhow::Context as _;
use serde_json::Value;

use super::database::{Database, Flavour};
use super::lab::Lab;
use super::{TIMEOUT, procfs, until};

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    process: Process,
    agents: u32,
    databases: u32,
}

/// A database in the settings.
#[derive(Debug, Clone)]
pub struct Entry {
    name: String,
    pub url: String,
    agents: u32,
    has_history: bool,
}

impl Entry {
    pub fn of(database: &Database) -> Self {
        Self {
            name: database.name.clone(),
            url: database.url.clone(),
            agents: database.agents,
            has_history: database.flavour == Flavour::Keeping,
        }
    }
}

/// Writes the settings: the defaults with these databases, and the history if a database has one.
fn write_settings(lab: &Lab, entries: &[Entry], further: &str) -> anyhow::Result<PathBuf> {
    let keeps = entries.iter().any(|entry| entry.has_history);
    let mut text = format!(
        "{further}[admin]\nlisten = \"127.0.0.1:0\"\n[history]\nenabled = {keeps}\nmax_rows = 100000000\n"
    );
    for Entry { name, url, .. } in entries {
        let url = Value::from(url.as_str());
        text.push_str(&format!("[databases.{name}]\nurl = {url}\n"));
    }
    let name = entries.first().map_or("none", |entry| entry.name.as_str());
    lab.file(&format!("{name}.toml"), &text)
}

/// The program with these arguments and an empty environment.
fn program(arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command.env_clear().current_dir("/").args(arguments);
    command
}

/// An error if the command of the program, which has ended, was no success.
fn ended_well(name: &str, output: std::io::Result<Output>) -> anyhow::Result<()> {
    let output = output.with_context(|| format!("could not start `agent-sync {name}`"))?;
    let said = [output.stdout, output.stderr].concat();
    anyhow::ensure!(
        output.status.success(),
        "`agent-sync {name}` failed: {}",
        String::from_utf8_lossy(&said).trim()
    );
    Ok(())
}

/// Runs `agent-sync install`.
pub fn install(url: &str, flavour: Flavour) -> anyhow::Result<()> {
    let keeps = (flavour == Flavour::Keeping).to_string();
    let output = program(&["install".as_ref()])
        .env("AGENT_SYNC__HISTORY__ENABLED", keeps)
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .output();
    ended_well("install", output)
}

/// What `agent-sync check` took.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    /// From its start to its end.
    pub seconds: f64,
    /// The processor time of its process.
    pub cpu_seconds: f64,
}

/// Runs `agent-sync check` over a database that is in sync.
pub async fn check(url: &str) -> anyhow::Result<Checked> {
    let mut command = program(&["check".as_ref()]);
    command.env("DATABASE_URL", url).stdin(Stdio::null());
    let own = procfs::cpu_of_children()?;
    let begun = Instant::now();
    let output = tokio::task::spawn_blocking(move || command.output());
    ended_well("check", output.await?)?;
    Ok(Checked {
        seconds: begun.elapsed().as_secs_f64(),
        cpu_seconds: procfs::cpu_of_children()? - own,
    })
}

impl Daemon {
    /// Starts a daemon for these databases.
    pub fn start(lab: &Lab, databases: &[&Database]) -> anyhow::Result<Self> {
        Self::start_with(lab, databases, "")
    }

    /// The same with further sections of the settings.
    pub fn start_with(lab: &Lab, databases: &[&Database], further: &str) -> anyhow::Result<Self> {
        let entries: Vec<_> = databases.iter().copied().map(Entry::of).collect();
        Self::start_for(lab, &entries, further)
    }

    /// The same for entries.
    pub fn start_for(lab: &Lab, entries: &[Entry], further: &str) -> anyhow::Result<Self> {
        let file = write_settings(lab, entries, further)?;
        let command = program(&["--config".as_ref(), file.as_ref(), "run".as_ref()]);
        Ok(Self {
            process: Process::spawn(&command),
            agents: entries.iter().map(|entry| entry.agents).sum(),
            databases: u32::try_from(entries.len())?,
        })
    }

    /// Reloads it with these entries.
    pub fn reload(&self, lab: &Lab, entries: &[Entry]) -> anyhow::Result<()> {
        write_settings(lab, entries, "")?;
        self.process.signal("HUP");
        Ok(())
    }

    /// Runs `agent-sync install` for all entries.
    pub async fn install_all(lab: &Lab, entries: &[Entry]) -> anyhow::Result<()> {
        let file = write_settings(lab, entries, "")?;
        let mut command = program(&["--config".as_ref(), file.as_ref(), "install".as_ref()]);
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        ended_well("install", output.await?)
    }

    /// Starts a daemon and waits until it has checked every agent and has nothing left to do.
    ///
    /// Fails if the daemon writes anything then: the databases start in sync, and a write would
    /// make the two sides unequal.
    pub async fn caught_up(lab: &Lab, databases: &[&Database]) -> anyhow::Result<Self> {
        let daemon = Self::start(lab, databases)?;
        daemon.catch_up().await?;
        Ok(daemon)
    }

    /// Waits until the daemon has caught up, as [`Daemon::caught_up`] does.
    pub async fn catch_up(&self) -> anyhow::Result<()> {
        let (agent, database) = (Duration::from_micros(500), Duration::from_millis(200));
        let time_limit = TIMEOUT + agent * self.agents + database * self.databases;
        let address = self.address().await?;
        // The log has no line for each of many databases.
        let waiting = until(
            "the daemon has caught up",
            time_limit,
            Duration::from_millis(50),
            async || {
                self.must_run()?;
                let (code, _) = http::get(address, "/readyz").await;
                Ok((code == 200).then_some(()))
            },
        );
        waiting.await.with_context(|| self.end_of_log())?;
        let (_, metrics) = http::get(address, "/metrics").await;
        let written = metrics
            .lines()
            .filter(|line| line.contains("result=\"synced\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>();
        anyhow::ensure!(
            written == 0.0,
            "{written} configurations were not in sync when the daemon started"
        );
        Ok(())
    }

    /// The address that it serves over HTTP.
    async fn address(&self) -> anyhow::Result<SocketAddr> {
        let line = self.logged("serving /livez").await?;
        let address = line["address"]
            .as_str()
            .context("the line has no address")?;
        Ok(address.parse()?)
    }

    /// Waits until the daemon logs this message, and gives the first such line.
    pub async fn logged(&self, message: &str) -> anyhow::Result<Value> {
        let what = format!("the daemon logs {message:?}");
        let waiting = until(&what, TIMEOUT, Duration::from_millis(5), async || {
            self.must_run()?;
            Ok(self.process.lines(message).into_iter().next())
        });
        waiting.await.with_context(|| self.end_of_log())
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Fails if the daemon has ended.
    pub fn must_run(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            procfs::is_alive(self.pid()),
            "the daemon has ended; {}",
            self.end_of_log()
        );
        Ok(())
    }

    fn end_of_log(&self) -> String {
        let log = self.process.log();
        let last: Vec<String> = log[log.len().saturating_sub(3)..]
            .iter()
            .map(Value::to_string)
            .collect();
        if last.is_empty() {
            "it has logged nothing".to_owned()
        } else {
            format!("the end of its log: {}", last.join("; "))
        }
    }
}
