//! A command of the real program, run to its end, and its output.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use agent_sync::show::columns;
use serde_json::Value;

/// The output of a command.
#[derive(Debug)]
pub struct Said {
    /// The exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs the command on a blocking thread.
    pub async fn of(mut command: Command) -> Self {
        let output =
            tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
        Self::from(output.await.unwrap())
    }

    /// Runs the command with this standard input.
    pub fn with_input(mut command: Command, input: &[u8]) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        Self::from(child.wait_with_output().unwrap())
    }

    /// The printed JSON objects, one for each line.
    pub fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// The only printed JSON object.
    pub fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{self:?}");
        objects.remove(0)
    }

    /// Asserts that the output fits 80 columns and has no colours.
    pub fn fits(self) -> Self {
        for line in self.out.lines() {
            assert!(columns(line) <= 80, "longer than 80 columns: {line}");
        }
        assert!(
            !self.out.contains('\u{1b}') && !self.err.contains('\u{1b}'),
            "{self:?}"
        );
        self
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}
