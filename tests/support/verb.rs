//! A verb of the real binary, run to its end, and what it said.

use std::process::Command;

use serde_json::Value;

/// What a verb said.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Runs it, off the event loop of the test.
    pub async fn of(mut command: Command) -> Self {
        let output = tokio::task::spawn_blocking(move || {
            command.stdin(std::process::Stdio::null()).output().unwrap()
        });
        let output = output.await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// The objects of JSON that it printed, one a line.
    pub fn objects(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect()
    }

    /// The one object that it printed.
    pub fn object(&self) -> Value {
        let mut objects = self.objects();
        assert_eq!(objects.len(), 1, "{self:?}");
        objects.remove(0)
    }

    /// The same, if it fits a terminal of 80 columns and has no colours.
    pub fn fits(self) -> Self {
        for line in self.out.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
        assert!(
            !self.out.contains('\u{1b}') && !self.err.contains('\u{1b}'),
            "{self:?}"
        );
        self
    }
}
