//! The daemon of the demo: `agent-sync run`, the same program as a process of its own, with its log
//! read line by line.
//!
//! Authority: the guard, a small shell that starts the daemon and holds one end of a pipe. When
//! this process ends, however it ends, the other end closes and the guard kills the daemon; so none
//! is left behind, not even after SIGKILL. While this process lives, each line it writes into the
//! pipe is the name of a signal for the daemon.
//!
//! The guard has a process group of its own, so that a Ctrl-C at the terminal is the business of
//! the demo alone.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// Ends with the exit code of the daemon. The daemon stays unreaped until `wait`, so its number
/// stays its own.
const GUARD: &str = r#"
exec 3<&0
"$@" run </dev/null 3<&- & daemon=$!
{ while read -r signal; do kill -s "$signal" "$daemon"; done; kill -s KILL "$daemon"; } <&3 2>/dev/null & listener=$!
exec 3<&- </dev/null
wait "$daemon"; code=$?
kill "$listener"
exit "$code"
"#;

/// How often a condition is looked at that nothing announces.
const GLANCE: Duration = Duration::from_millis(1);

/// How to call this program with the settings of the demo.
#[derive(Debug, Clone)]
pub(super) struct Program {
    exe: PathBuf,
    settings: PathBuf,
}

impl Program {
    /// This very program, told of one database by a settings file in `folder`.
    pub(super) fn new(folder: &Path, url: &str) -> anyhow::Result<Self> {
        let exe = std::env::current_exe().context("could not find the program that is running")?;
        let settings = folder.join("agent-sync.toml");
        // Nobody asks it over HTTP, and the port may be that of a daemon which is not a demo.
        let text = format!(
            "[admin]\nlisten = \"off\"\n\n[databases.demo]\nurl = {}\n",
            Value::from(url)
        );
        std::fs::write(&settings, text).context("could not write the settings of the demo")?;
        Ok(Self { exe, settings })
    }

    /// Runs a verb to its end, and returns what it printed.
    pub(super) fn run(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = told(Command::new(&self.exe));
        let output = command
            .arg("--config")
            .arg(&self.settings)
            .arg(verb)
            .stdin(Stdio::null())
            .output();
        let output = output.with_context(|| format!("could not start `agent-sync {verb}`"))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        anyhow::ensure!(
            output.status.success(),
            "`agent-sync {verb}` failed: {}",
            said(&output.stderr)
        );
        Ok(said(&output.stdout))
    }
}

/// With nothing of the settings of whoever watches the demo: they are about other databases, and
/// not meant for it.
fn told(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name == "DATABASE_URL" || name.to_string_lossy().starts_with("AGENT_SYNC_") {
            command.env_remove(name);
        }
    }
    command
        .env("AGENT_SYNC__LOG__FORMAT", "json")
        .env("AGENT_SYNC__LOG__LEVEL", "info,agent_sync=debug");
    command.current_dir("/");
    command
}

/// One line of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Line(Map<String, Value>);

impl Line {
    /// A field as text; empty where there is none.
    pub(super) fn text(&self, field: &str) -> String {
        match self.0.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }

    /// The fields besides the time, the level, the message and the database, in alphabetical order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, String)> {
        let usual = ["timestamp", "level", "message", "database"];
        self.0
            .keys()
            .filter(move |key| !usual.contains(&key.as_str()))
            .map(|key| (key.as_str(), self.text(key)))
    }

    /// Whether it is this message, and about this slug where one is given.
    fn is(&self, message: &str, slug: Option<&str>) -> bool {
        self.text("message").contains(message) && slug.is_none_or(|slug| self.text("slug") == slug)
    }
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Daemon {
    guard: Child,
    lines: Receiver<Line>,
    log: Vec<Line>,
}

impl Daemon {
    /// Starts it.
    pub(super) fn start(program: &Program) -> anyhow::Result<Self> {
        let mut command = told(Command::new("/bin/sh"));
        command
            .args(["-c", GUARD, "guard"])
            .arg(&program.exe)
            .arg("--config")
            .arg(&program.settings);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut guard = command.spawn().context("could not start the daemon")?;
        let (sender, lines) = channel();
        if let Some(output) = guard.stderr.take() {
            // It ends with the daemon, whose end closes the pipe.
            std::thread::spawn(move || read(output, |line| sender.send(line).is_ok()));
        }
        Ok(Self {
            guard,
            lines,
            log: Vec::new(),
        })
    }

    /// What it has logged since this was last asked, or waited for.
    pub(super) fn news(&mut self) -> Vec<Line> {
        let seen = self.log.len();
        self.read_on();
        self.log.split_off(seen)
    }

    /// What it has logged since it was last told to forget.
    pub(super) fn everything(&self) -> &[Line] {
        &self.log
    }

    /// Forgets what it has logged so far, so that only later lines are found.
    pub(super) fn forget(&mut self) {
        self.read_on();
        self.log.clear();
    }

    /// Waits for a line with this message, about this slug where one is given.
    pub(super) async fn logged(
        &mut self,
        message: &str,
        slug: Option<&str>,
        patience: Duration,
    ) -> Option<Line> {
        let start = Instant::now();
        loop {
            let goes_on = self.read_on();
            let found = self.log.iter().find(|line| line.is(message, slug));
            if found.is_some() || !goes_on || start.elapsed() > patience {
                return found.cloned();
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Whether it has ended, though nobody told it to.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.guard.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for the end: how it ended, or nothing if it did not in time.
    pub(super) async fn terminate(&mut self, patience: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        // A guard that is gone already has an exit status for the loop to find.
        let _ = self
            .guard
            .stdin
            .as_mut()
            .map(|orders| orders.write_all(b"TERM\n"));
        while start.elapsed() < patience {
            if let Ok(Some(status)) = self.guard.try_wait() {
                return Some(status);
            }
            tokio::time::sleep(GLANCE).await;
        }
        None
    }

    /// Takes in what has been logged; false when there will be no more.
    fn read_on(&mut self) -> bool {
        loop {
            match self.lines.try_recv() {
                Ok(line) => self.log.push(line),
                Err(end) => return end == TryRecvError::Empty,
            }
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn read(output: impl Read, mut take: impl FnMut(Line) -> bool) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // Whatever is not JSON, such as an error at the start, is worth showing as well.
        let line =
            serde_json::from_str(&line).unwrap_or_else(|_| match json!({ "message": line }) {
                Value::Object(fields) => fields,
                _ => Map::new(),
            });
        if !take(Line(line)) {
            return;
        }
    }
}
