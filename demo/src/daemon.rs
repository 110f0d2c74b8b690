//! agent-sync as the demo uses it: commands, and the daemon as a separate process with its log.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use agent_sync_testbed::Daemon as Process;
use anyhow::Context as _;
use serde_json::Value;

/// The interval of polling a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The program agent-sync with the settings of the demo.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    exe: PathBuf,
    settings: PathBuf,
    url: String,
}

impl Program {
    /// The path of the program: in the directory of the demo, where cargo builds both.
    pub(crate) fn find() -> anyhow::Result<PathBuf> {
        let demo = std::env::current_exe().context("could not find the program that is running")?;
        let exe = demo.with_file_name("agent-sync");
        anyhow::ensure!(
            exe.is_file(),
            "expected the program {}, and found none: build it with `cargo build --bin agent-sync`",
            exe.display()
        );
        Ok(exe)
    }

    /// The program with one database, named in a settings file in `folder`.
    pub(crate) fn new(exe: PathBuf, folder: &Path, url: &str) -> anyhow::Result<Self> {
        let program = Self {
            exe,
            settings: folder.join("agent-sync.toml"),
            url: url.to_owned(),
        };
        program.with_settings("demo", "", "127.0.0.1:0")
    }

    /// The program with one entry for the same database, in a settings file of its own, and without
    /// a status page.
    pub(crate) fn with_entry(&self, name: &str, settings: &str) -> anyhow::Result<Self> {
        self.with_settings(name, settings, "off")
    }

    fn with_settings(&self, name: &str, settings: &str, listen: &str) -> anyhow::Result<Self> {
        let file = self.settings.with_file_name(format!("{name}.toml"));
        let text = format!(
            "[admin]\nlisten = \"{listen}\"\n\n[databases.{name}]\nurl = {}\n{settings}\n",
            Value::from(&*self.url)
        );
        std::fs::write(&file, text).context("could not write the settings of the demo")?;
        Ok(Self {
            settings: file,
            ..self.clone()
        })
    }

    /// Runs a command of agent-sync and returns its output.
    pub(crate) fn run(&self, name: &str) -> anyhow::Result<String> {
        let output = self.command(name).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("could not start `agent-sync {name}`"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        anyhow::ensure!(
            output.status.success(),
            "`agent-sync {name}` failed: {}",
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// A command of agent-sync without the environment of the demo, which may name other databases.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.exe);
        command
            .env_clear()
            .env("AGENT_SYNC__LOG__FORMAT", "json")
            .env("AGENT_SYNC__LOG__LEVEL", "info,agent_sync=debug")
            .current_dir("/")
            .arg("--config")
            .arg(&self.settings)
            .arg(name);
        command
    }
}

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Line(Value);

impl Line {
    /// A field as text; empty if it is missing.
    pub(crate) fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The fields besides the time, the level, the message and those of the spans, in alphabetical
    /// order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let usual = ["timestamp", "level", "message", "database", "batch"];
        let fields = self.0.as_object().into_iter().flatten();
        fields
            .filter(move |(name, _)| !usual.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Whether the line has this message, and this slug if one is given.
    fn is(&self, message: &str, slug: Option<&str>) -> bool {
        self.text("message").contains(message) && slug.is_none_or(|slug| self.text("slug") == slug)
    }
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    /// The number of log lines that [`Daemon::forget`] has skipped.
    forgotten: usize,
}

impl Daemon {
    /// Starts the daemon.
    pub(crate) fn start(program: &Program) -> Self {
        Self {
            process: Process::spawn(&program.command("run")),
            forgotten: 0,
        }
    }

    /// The lines of its log since the last [`Daemon::forget`].
    pub(crate) fn log(&self) -> Vec<Line> {
        let lines = self.process.log_after(self.forgotten);
        lines.into_iter().map(Line).collect()
    }

    /// Returns the lines since the last call and skips them from now on.
    pub(crate) fn forget(&mut self) -> Vec<Line> {
        let lines = self.log();
        self.forgotten += lines.len();
        lines
    }

    /// Waits for a line with this message, and this slug if one is given.
    pub(crate) async fn logged(
        &mut self,
        message: &str,
        slug: Option<&str>,
        time_limit: Duration,
    ) -> Option<Line> {
        let start = Instant::now();
        loop {
            let gives_up = self.has_ended() || start.elapsed() > time_limit;
            let found = self.log().into_iter().find(|line| line.is(message, slug));
            if found.is_some() || gives_up {
                return found;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// The address of the status page, as the log tells it.
    pub(crate) async fn page(&mut self, time_limit: Duration) -> Option<String> {
        let line = self.logged("the status page over HTTP", None, time_limit);
        Some(format!("http://{}/", line.await?.text("address")))
    }

    /// Whether the process has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !self.process.is_running()
    }

    /// Sends SIGTERM and waits for the exit. Returns `None` after the time limit.
    pub(crate) async fn terminate(&mut self, time_limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        if self.process.is_running() {
            self.process.signal("TERM");
        }
        while start.elapsed() < time_limit {
            if let Some(status) = self.process.exit_status() {
                return Some(status);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        None
    }
}
