//! The real daemon as a separate process, with its log read line by line.
//!
//! Authority: the guard, a shell that starts a watcher and then becomes the daemon. The watcher
//! holds one end of a pipe of this process. When this process ends for any reason, the other end
//! closes and the watcher kills the daemon. [`Daemon`] releases the watcher when the daemon has
//! ended, so the watcher never kills another process with the same number.
//!
//! The daemon has its own process group, so Ctrl-C at the terminal does not reach it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{TIMEOUT, eventually};

/// The arguments are the environment of the daemon as `NAME=value`, the program and its arguments.
/// `env` sets the environment, because a shell drops names that are no valid variables.
const GUARD: &str = r#"
exec 3<&0
{ read -r released || kill -s KILL "$$"; } <&3 >/dev/null 2>&1 &
exec env -i "$@" </dev/null 3<&-
"#;

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    watcher: Option<ChildStdin>,
    log: Arc<Mutex<Vec<Value>>>,
    reader: Option<JoinHandle<()>>,
}

/// The peak of the resident memory of a process, in KiB; none if it has ended.
pub fn peak_memory_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// The messages that begin an outage.
const OUTAGES: [&str; 2] = [
    "database unavailable",
    "the daemon cannot work in the database",
];

impl Daemon {
    /// Starts the daemon with the log level `debug`. The log is JSON, because standard error is no
    /// terminal.
    pub fn start(command: Command) -> Self {
        Self::start_at_level(command, Some("debug"))
    }

    /// Starts the daemon with this log level, or with that of its settings.
    pub fn start_at_level(mut command: Command, level: Option<&str>) -> Self {
        // Many daemons run side by side, and most tests do not use HTTP.
        for (name, value) in [
            ("AGENT_SYNC__ADMIN__LISTEN", "off"),
            ("AGENT_SYNC__ADMIN__SOCKET", "/nonexistent/admin.sock"),
        ] {
            if command.get_envs().all(|(set, _)| set != name) {
                command.env(name, value);
            }
        }
        if let Some(level) = level {
            command.env("AGENT_SYNC__LOG__LEVEL", level);
        }
        Self::spawn(&command)
    }

    /// Starts the daemon with the environment of the command alone, without that of this process.
    pub fn spawn(command: &Command) -> Self {
        let mut child = guarded(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell for the daemon");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (kept, output) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || read(output, &kept));
        Self {
            watcher: child.stdin.take(),
            child,
            log,
            reader: Some(reader),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The peak of its resident memory, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        peak_memory_kib(self.pid()).unwrap()
    }

    /// The lines of its log so far. A line that is no JSON becomes the message of an object.
    pub fn log(&self) -> Vec<Value> {
        self.log_after(0)
    }

    /// The lines of its log after the first `seen` lines.
    pub fn log_after(&self, seen: usize) -> Vec<Value> {
        self.log.lock().unwrap()[seen..].to_vec()
    }

    /// The lines so far whose message starts with this text.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        self.log()
            .into_iter()
            .filter(|line| is_about(line, message))
            .collect()
    }

    /// Waits for a line whose message starts with this text, and returns the first.
    pub async fn logged(&self, message: &str) -> Value {
        self.logged_times(message, 1).await.remove(0)
    }

    /// Waits for this number of lines whose message starts with this text.
    pub async fn logged_times(&self, message: &str, times: usize) -> Vec<Value> {
        let what = format!("the daemon logs {message:?} {times} times");
        eventually(&what, async || self.lines(message).len() >= times).await;
        self.lines(message)
    }

    /// The lines so far that begin an outage: without an answer of the server, and with one.
    pub fn outages(&self) -> Vec<Value> {
        let begins = |line: &Value| OUTAGES.iter().any(|message| is_about(line, message));
        self.log().into_iter().filter(begins).collect()
    }

    /// Waits for the first line that begins an outage.
    pub async fn outage(&self) -> Value {
        self.outage_times(1).await.remove(0)
    }

    /// Waits for this number of lines that begin an outage.
    pub async fn outage_times(&self, times: usize) -> Vec<Value> {
        let what = format!("the daemon logs {times} outages");
        eventually(&what, async || self.outages().len() >= times).await;
        self.outages()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.pid());
        let status = Command::new("/bin/sh")
            .args(["-c", &kill])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Whether the process runs.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// The exit status, once the log is complete; `None` while the process runs.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().unwrap()?;
        self.release();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        Some(status)
    }

    /// Sends SIGTERM and waits for the exit.
    pub async fn terminate(mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// Waits for the exit.
    pub async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(start.elapsed() < TIMEOUT, "the daemon does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Ends the watcher without killing the daemon.
    fn release(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            let _ = watcher.write_all(b"released\n");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        self.release();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.log() {
                eprintln!("daemon: {line}");
            }
        }
    }
}

/// The command behind the guard.
fn guarded(command: &Command) -> Command {
    let mut guard = Command::new("/bin/sh");
    guard.args(["-c", GUARD, "guard"]);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            guard.arg(assignment);
        }
    }
    guard.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        guard.current_dir(folder);
    }
    guard
}

fn is_about(line: &Value, message: &str) -> bool {
    line["message"]
        .as_str()
        .is_some_and(|text| text.starts_with(message))
}

fn read(output: impl Read, log: &Mutex<Vec<Value>>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        // Tests of errors search for text that is no JSON.
        let line = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "message": line }));
        log.lock().unwrap().push(line);
    }
}
