//! The daemon that is measured: the real binary, built like a release, as a process of its own.
//!
//! Authority: the guard, a small shell that starts it and holds one end of a pipe. When the bench
//! ends, however it ends, the other end closes and the guard kills the daemon. It has a process
//! group of its own, so Ctrl-C is the bench's business.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::database::{Database, Flavour};
use super::lab::Lab;
use super::{PATIENCE, procfs, until};

const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null >/dev/null 3<&- & echo $!
read -r end <&3
kill -s KILL $! 2>/dev/null
wait
"#;

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    guard: Child,
    pid: u32,
    log: Arc<Mutex<Vec<Value>>>,
    databases: usize,
    agents: u32,
}

/// The settings of the daemon: the defaults, but for its databases, and the history where one is
/// kept.
fn settings(databases: &[&Database]) -> String {
    let keeps = databases
        .iter()
        .any(|database| database.flavour == Flavour::Keeping);
    let mut text =
        format!("[admin]\nlisten = \"off\"\n[history]\nenabled = {keeps}\nmax_rows = 100000000\n");
    for database in databases {
        text.push_str(&format!(
            "[databases.{}]\nurl = {}\n",
            database.name,
            Value::from(database.url.as_str())
        ));
    }
    text
}

/// The program, with nothing of the settings of whoever runs the bench.
fn told(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name == "DATABASE_URL" || name.to_string_lossy().starts_with("AGENT_SYNC_") {
            command.env_remove(name);
        }
    }
    command.current_dir("/");
    command
}

/// `agent-sync install`.
pub fn install(url: &str, flavour: Flavour) -> anyhow::Result<()> {
    let mut command = told(Command::new(env!("CARGO_BIN_EXE_agent-sync")));
    let keeps = (flavour == Flavour::Keeping).to_string();
    command.env("AGENT_SYNC__HISTORY__ENABLED", keeps);
    let output = command
        .arg("install")
        .env("DATABASE_URL", url)
        .stdin(Stdio::null())
        .output();
    let output = output.context("could not start `agent-sync install`")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        output.status.success(),
        "`agent-sync install` failed: {}",
        said.trim()
    );
    Ok(())
}

impl Daemon {
    /// Starts it for these databases.
    pub fn start(lab: &Lab, databases: &[&Database]) -> anyhow::Result<Self> {
        let name = databases
            .first()
            .map_or("none", |database| database.name.as_str());
        let file = lab.file(&format!("{name}.toml"), &settings(databases))?;
        let mut command = told(Command::new("/bin/sh"));
        command
            .args([
                "-c",
                GUARD,
                "guard",
                env!("CARGO_BIN_EXE_agent-sync"),
                "--config",
            ])
            .arg(file)
            .arg("run");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut guard = command
            .spawn()
            .context("could not start a shell for the daemon")?;
        let mut pid = String::new();
        if let Some(output) = guard.stdout.take() {
            BufReader::new(output)
                .read_line(&mut pid)
                .context("could not hear from the guard of the daemon")?;
        }
        let log = Arc::new(Mutex::new(Vec::new()));
        if let Some(output) = guard.stderr.take() {
            let kept = Arc::clone(&log);
            // It ends with the daemon, whose end closes the pipe.
            std::thread::spawn(move || read(output, &kept));
        }
        let pid = pid
            .trim()
            .parse()
            .context("the guard did not say which process the daemon is")?;
        let agents = databases.iter().map(|database| database.agents).sum();
        Ok(Self {
            guard,
            pid,
            log,
            databases: databases.len(),
            agents,
        })
    }

    /// Starts it, and waits until it has looked at every agent and has nothing left to do.
    ///
    /// The platform is in sync at the start, so a daemon that writes anything then is not measured:
    /// the sides would differ.
    pub async fn caught_up(lab: &Lab, databases: &[&Database]) -> anyhow::Result<Self> {
        let daemon = Self::start(lab, databases)?;
        daemon.catch_up().await?;
        Ok(daemon)
    }

    async fn catch_up(&self) -> anyhow::Result<()> {
        let patience = PATIENCE + Duration::from_micros(500) * self.agents;
        let lines = until(
            "the daemon has caught up",
            patience,
            Duration::from_millis(5),
            async || {
                self.must_run()?;
                let lines = self.lines("caught up");
                Ok((lines.len() >= self.databases).then_some(lines))
            },
        );
        let lines = lines.await.with_context(|| self.last_words())?;
        let written: u64 = lines
            .iter()
            .filter_map(|line| line["written"].as_u64())
            .sum();
        anyhow::ensure!(
            written == 0,
            "{written} configurations were not in sync when the daemon started"
        );
        Ok(())
    }

    /// Waits until it says this.
    pub async fn logged(&self, message: &str) -> anyhow::Result<()> {
        let what = format!("the daemon logs {message:?}");
        let waiting = until(&what, PATIENCE, Duration::from_millis(5), async || {
            self.must_run()?;
            Ok((!self.lines(message).is_empty()).then_some(()))
        });
        waiting.await.with_context(|| self.last_words())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Fails if it has ended, though nobody told it to.
    pub fn must_run(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            procfs::is_alive(self.pid),
            "the daemon has ended; {}",
            self.last_words()
        );
        Ok(())
    }

    fn lines(&self, message: &str) -> Vec<Value> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |line: &&Value| {
            line["message"]
                .as_str()
                .is_some_and(|text| text.contains(message))
        };
        log.iter().filter(is_it).cloned().collect()
    }

    fn last_words(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let last: Vec<String> = log
            .iter()
            .rev()
            .take(3)
            .rev()
            .map(Value::to_string)
            .collect();
        if last.is_empty() {
            "it has logged nothing".to_owned()
        } else {
            format!("the end of its log: {}", last.join("; "))
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

fn read(output: impl Read, log: &Mutex<Vec<Value>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // What is not JSON, such as an error at the start, is worth showing as well.
        let line =
            serde_json::from_str(&line).unwrap_or_else(|_| serde_json::json!({ "message": line }));
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}
