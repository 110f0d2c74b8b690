//! agent-sync as the demo uses it: commands that run to their end, and the daemon as a process of
//! its own with its log.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use agent_sync_testbed::Daemon as Process;
use anyhow::Context as _;
use serde_json::Value;

/// How often a condition is looked at that nothing announces.
const GLANCE: Duration = Duration::from_millis(1);

/// The program agent-sync with the settings of the demo.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    exe: PathBuf,
    settings: PathBuf,
}

impl Program {
    /// Where the program is: in the folder of the demo, into which cargo builds both.
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

    /// The program with one database, which a settings file in `folder` names.
    pub(crate) fn new(exe: PathBuf, folder: &Path, url: &str) -> anyhow::Result<Self> {
        let settings = folder.join("agent-sync.toml");
        // The demo asks nothing over HTTP, and the port may be that of another daemon.
        let text = format!(
            "[admin]\nlisten = \"off\"\n\n[databases.demo]\nurl = {}\n",
            Value::from(url)
        );
        std::fs::write(&settings, text).context("could not write the settings of the demo")?;
        Ok(Self { exe, settings })
    }

    /// Runs a command of agent-sync to its end, and returns its output.
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

    /// A command of agent-sync without the environment of the demo, whose settings are about other
    /// databases.
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
    /// A field as text; empty where there is none.
    pub(crate) fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The fields besides the time, the level, the message and the database, in alphabetical order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        let usual = ["timestamp", "level", "message", "database"];
        let keys = self.0.as_object().into_iter().flat_map(|line| line.keys());
        keys.filter(move |key| !usual.contains(&key.as_str()))
            .map(|key| (key.as_str(), self.text(key)))
    }

    /// Whether it is this message, and about this slug where one is given.
    fn is(&self, message: &str, slug: Option<&str>) -> bool {
        self.text("message").contains(message) && slug.is_none_or(|slug| self.text("slug") == slug)
    }
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    process: Process,
    /// How many lines of its log [`Daemon::forget`] has put aside.
    forgotten: usize,
}

impl Daemon {
    /// Starts it.
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

    /// Forgets its log so far, and returns the lines.
    pub(crate) fn forget(&mut self) -> Vec<Line> {
        let lines = self.log();
        self.forgotten += lines.len();
        lines
    }

    /// Waits for a line with this message, about this slug where one is given.
    pub(crate) async fn logged(
        &mut self,
        message: &str,
        slug: Option<&str>,
        patience: Duration,
    ) -> Option<Line> {
        let start = Instant::now();
        loop {
            let gives_up = self.has_ended() || start.elapsed() > patience;
            let found = self.log().into_iter().find(|line| line.is(message, slug));
            if found.is_some() || gives_up {
                return found;
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !self.process.is_running()
    }

    /// Sends SIGTERM and waits for the end: how it ended, or nothing if it did not in time.
    pub(crate) async fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        if self.process.is_running() {
            self.process.signal("TERM");
        }
        while start.elapsed() < patience {
            if let Some(status) = self.process.exit_status() {
                return Some(status);
            }
            tokio::time::sleep(GLANCE).await;
        }
        None
    }
}
