//! The password of a database from a program: `password_command`.
//!
//! The program runs without a shell, in a process group of its own, with the environment of
//! agent-sync and without standard input. It has a time limit, and its output a bound. At either,
//! and where the connection is given up, the whole group is killed, so that no helper of a script
//! lives on.
//!
//! Invariant: neither its output nor its arguments are part of an error. What it writes to standard
//! error is not read, because it may hold a secret as well.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::SecretString;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::observe::pulse;
use crate::settings::shown;

/// The time that a command has.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// The most bytes of its output.
const LONGEST: u64 = 64 * 1024;

/// Why a command gives no password. The text has its program, and none of its arguments.
#[derive(Debug, thiserror::Error)]
#[error("expected {} to print a password, and {found}", shown(program))]
pub struct CommandError {
    program: String,
    found: String,
}

/// Runs a command and returns its output, without a line feed at the end.
pub(super) async fn run(
    command: &[String],
    time_limit: Duration,
) -> Result<SecretString, CommandError> {
    let (program, arguments) = command
        .split_first()
        .map_or(("", command), |(first, rest)| (first, rest));
    let failed = |found: String| CommandError {
        program: program.to_owned(),
        found,
    };
    let printed = pulse::timeout(time_limit, output(program, arguments)).await;
    let printed = printed.map_err(|_| failed(format!("it did not end within {time_limit:?}")))?;
    password(printed.map_err(failed)?).map_err(failed)
}

/// The output of a program that succeeds.
async fn output(program: &str, arguments: &[String]) -> Result<Vec<u8>, String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("it cannot be started: {error}"))?;
    let mut group = Group::of(child.id());
    let broken = |error: io::Error| format!("its output cannot be read: {error}");
    let mut bytes = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout.take(LONGEST + 1);
        stdout.read_to_end(&mut bytes).await.map_err(broken)?;
    }
    if bytes.len() as u64 > LONGEST {
        return Err(format!("it printed more than {LONGEST} bytes"));
    }
    let status = child.wait().await.map_err(broken)?;
    // Its number may belong to another process now.
    group.0 = None;
    if status.success() {
        Ok(bytes)
    } else {
        Err(ended(status))
    }
}

/// How a program ended that did not succeed.
fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("signal {signal} ended it"),
        (None, None) => format!("it ended with {status}"),
    }
}

/// The password in the output of a program.
fn password(printed: Vec<u8>) -> Result<SecretString, String> {
    let text = String::from_utf8(printed).map_err(|_| "its output is not UTF-8".to_owned())?;
    let line = text.strip_suffix('\n');
    let text = line.map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return Err("it printed nothing".to_owned());
    }
    Ok(text.into())
}

/// The processes of a command; dropping it kills them.
struct Group(Option<Pid>);

impl Group {
    fn of(leader: Option<u32>) -> Self {
        Self(leader.and_then(|number| Pid::from_raw(i32::try_from(number).ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Instant;

    use secrecy::ExposeSecret as _;

    use super::*;

    async fn of_shell(script: &str, time_limit: Duration) -> Result<String, String> {
        let command = ["/bin/sh", "-c", script, "hunter2"].map(str::to_owned);
        let password = run(&command, time_limit).await;
        let password = password.map(|password| password.expose_secret().to_owned());
        password.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_command_prints_the_password_with_one_line_feed_at_the_end() {
        for (script, expected) in [
            ("echo pw", "pw"),
            ("printf pw", "pw"),
            ("printf 'pw\\r\\n'", "pw"),
            ("printf ' p w \\n\\n'", " p w \n"),
            ("echo pw; echo hunter2 >&2", "pw"),
            ("cat; echo $0", "hunter2"),
        ] {
            let found = of_shell(script, TIME_LIMIT).await;
            assert_eq!(found.as_deref(), Ok(expected), "{script}");
        }
        let most = format!("head -c {LONGEST} /dev/zero | tr '\\0' x");
        let longest = of_shell(&most, TIME_LIMIT).await;
        assert_eq!(longest.map(|text| text.len() as u64), Ok(LONGEST));
    }

    #[tokio::test]
    async fn g11_a_failed_command_is_told_without_its_output() {
        for (script, found) in [
            ("echo hunter2; exit 3", "it ended with exit code 3"),
            ("echo hunter2; kill -TERM $$", "signal 15 ended it"),
            ("echo hunter2 >&2", "it printed nothing"),
            ("echo", "it printed nothing"),
            ("printf '\\377hunter2'", "its output is not UTF-8"),
            ("yes hunter2", "it printed more than 65536 bytes"),
        ] {
            let error = of_shell(script, TIME_LIMIT).await.unwrap_err();
            let expected = format!("expected \"/bin/sh\" to print a password, and {found}");
            assert_eq!(error, expected, "{script}");
        }
        let command = ["/nonexistent/program".to_owned(), "hunter2".to_owned()];
        let error = run(&command, TIME_LIMIT).await.unwrap_err().to_string();
        let expected = "expected \"/nonexistent/program\" to print a password, and it cannot be \
            started: No such file or directory (os error 2)";
        assert_eq!(error, expected);
    }

    /// The helpers of a script end with it.
    #[tokio::test]
    async fn a_command_that_does_not_end_is_killed_with_its_helpers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 600 & echo $! >{}; wait", file.display());
        let start = Instant::now();
        let error = of_shell(&script, Duration::from_millis(500))
            .await
            .unwrap_err();
        assert!(
            error.ends_with("and it did not end within 500ms"),
            "{error}"
        );
        assert!(start.elapsed() < Duration::from_secs(60));
        let helper = std::fs::read_to_string(file).unwrap();
        let process = format!("/proc/{}/stat", helper.trim());
        let is_gone = || match std::fs::read_to_string(&process) {
            // A zombie waits for its parent alone.
            Ok(text) => text.contains(") Z "),
            Err(_) => true,
        };
        while !is_gone() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "the helper lives on"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
