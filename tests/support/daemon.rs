//! The real daemon as a process, with its log read line by line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use super::{PATIENCE, eventually};

/// A running daemon. Dropping it kills it.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts it. Its log is JSON, because it does not go to a terminal.
    pub fn start(command: Command) -> Self {
        Self::start_at_level(command, Some("debug"))
    }

    /// Starts it with this level of the log, or with that of its settings.
    pub fn start_at_level(mut command: Command, level: Option<&str>) -> Self {
        // Daemons run side by side here, and most tests ask them nothing over HTTP.
        if command
            .get_envs()
            .all(|(name, _)| name != "AGENT_SYNC__ADMIN__LISTEN")
        {
            command.env("AGENT_SYNC__ADMIN__LISTEN", "off");
        }
        if command
            .get_envs()
            .all(|(name, _)| name != "AGENT_SYNC__ADMIN__SOCKET")
        {
            command.env("AGENT_SYNC__ADMIN__SOCKET", "/nonexistent/admin.sock");
        }
        if let Some(level) = level {
            command.env("AGENT_SYNC__LOG__LEVEL", level);
        }
        Self::spawn(command)
    }

    /// Starts it as it is.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, output) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || read(output, &kept));
        Self {
            child,
            log,
            reader: Some(reader),
        }
    }

    /// The most memory that it has had, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Every line of its log so far.
    pub fn log(&self) -> Vec<Value> {
        self.log.lock().unwrap().clone()
    }

    /// The lines so far whose message begins with this.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        self.log()
            .into_iter()
            .filter(|line| is_about(line, message))
            .collect()
    }

    /// Waits for a line whose message begins with this, and returns the first.
    pub async fn logged(&self, message: &str) -> Value {
        self.logged_times(message, 1).await.remove(0)
    }

    /// Waits for that many lines whose message begins with this.
    pub async fn logged_times(&self, message: &str, times: usize) -> Vec<Value> {
        let what = format!("the daemon logs {message:?} {times} times");
        eventually(&what, async || self.lines(message).len() >= times).await;
        self.lines(message)
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("/bin/sh")
            .args(["-c", &kill])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends SIGTERM, and waits for the end.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for the end.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not end");
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log() {
                eprintln!("daemon: {line}");
            }
        }
    }
}

fn is_about(line: &Value, message: &str) -> bool {
    line["message"]
        .as_str()
        .is_some_and(|text| text.starts_with(message))
}

fn read(output: impl Read, log: &Mutex<Vec<Value>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // What is not JSON is kept as well: a test of errors looks for it.
        let line =
            serde_json::from_str(&line).unwrap_or_else(|_| serde_json::json!({ "message": line }));
        log.lock().unwrap().push(line);
    }
}
