//! Telling the supervisor how the daemon is (I4): systemd, or whoever speaks its notification
//! protocol.
//!
//! - `socket` sends what is to be said to `$NOTIFY_SOCKET`.
//! - `words` works out of the board what is to be said, and says nothing itself.
//! - [`Supervisor`] joins the two, in a task on the event loop of the databases. So the watchdog is
//!   fed only while that loop turns and no database's task hangs: a stopped process, a blocked loop
//!   and a task that waits for good are all noticed.
//!
//! Authority: none. Without a supervisor nothing is sent and nothing runs.
//! On failure: what cannot be sent is a WARN, once; the databases are synced all the same.

mod socket;
mod words;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::observe::Board;
use socket::Socket;
use words::Words;

/// How often the board is looked at until the daemon is ready, and afterwards; the watchdog may
/// want it more often.
const STARTING: Duration = Duration::from_millis(50);
const RUNNING: Duration = Duration::from_secs(1);

/// Whoever supervises the daemon, if anybody does.
#[derive(Debug, Default)]
pub struct Supervisor {
    line: Option<Line>,
}

/// The line to it, and the task that uses it.
#[derive(Debug)]
struct Line {
    socket: Arc<Socket>,
    ready: Arc<AtomicBool>,
    attending: AbortHandle,
}

impl Supervisor {
    /// Looks for a supervisor in the environment, and begins to tell it what the board says.
    pub fn attend(board: Arc<Board>) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let Some(name) = variable("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let socket = match Socket::open(&name) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                warn!(%error, "the socket of NOTIFY_SOCKET cannot be used; the supervisor gets no \
                    state");
                return Self::default();
            }
        };
        let time_limit = watchdog(
            variable("WATCHDOG_USEC"),
            variable("WATCHDOG_PID"),
            std::process::id(),
        );
        let ready = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(attend(
            Arc::clone(&socket),
            board,
            Arc::clone(&ready),
            time_limit,
        ));
        Self {
            line: Some(Line {
                socket,
                ready,
                attending: task.abort_handle(),
            }),
        }
    }

    /// Says that settings are being read again, unless the start is not over yet.
    pub async fn reloading(&self) {
        if let Some(line) = self.ready_line() {
            let now = clock_gettime(ClockId::Monotonic);
            let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
            line.socket
                .say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\n"))
                .await;
        }
    }

    /// Says that this is over, whatever came of it.
    pub async fn reloaded(&self) {
        if let Some(line) = self.ready_line() {
            line.socket.say("READY=1\n").await;
        }
    }

    /// Says that the daemon is about to end, and nothing after that.
    pub async fn stopping(&self) {
        if let Some(line) = &self.line {
            line.attending.abort();
            line.socket
                .say("STOPPING=1\nSTATUS=stopping after the running batch\n")
                .await;
        }
    }

    fn ready_line(&self) -> Option<&Line> {
        self.line
            .as_ref()
            .filter(|line| line.ready.load(Ordering::Relaxed))
    }
}

/// How long the watchdog waits, if there is one and it is meant for this process.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>, own: u32) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if pid.is_some_and(|pid| number(pid) != Some(own.into())) {
        return None;
    }
    number(micros?)
        .filter(|micros| *micros > 0)
        .map(Duration::from_micros)
}

/// How often the board is looked at, so that the watchdog is fed in time. The protocol asks for
/// half of its time; a machine may be busy.
fn pulse(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(RUNNING, |time_limit| RUNNING.min(time_limit / 4))
}

/// Tells what the board says, for as long as the daemon runs.
async fn attend(
    socket: Arc<Socket>,
    board: Arc<Board>,
    ready: Arc<AtomicBool>,
    watchdog: Option<Duration>,
) {
    let mut words = Words::new(watchdog.is_some());
    let mut told = Vec::new();
    let pulse = pulse(watchdog);
    loop {
        let said = words.say(&board.snapshot());
        for hang in &said.hanging {
            if !told.contains(&hang.database) {
                let (database, seconds, phase) =
                    (&*hang.database, hang.silence.as_secs(), hang.phase);
                error!(
                    database,
                    seconds,
                    phase,
                    "no progress of the task of this database; the watchdog gets no signal"
                );
            }
        }
        told = said.hanging.into_iter().map(|hang| hang.database).collect();
        if !said.text.is_empty() {
            socket.say(&said.text).await;
        }
        // Only now: a reload that says READY=1 must not overtake the first one.
        ready.store(words.is_ready(), Ordering::Relaxed);
        tokio::time::sleep(if words.is_ready() {
            pulse
        } else {
            pulse.min(STARTING)
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_four_times_in_its_time_and_the_state_is_told_every_second() {
        let seconds = Duration::from_secs;
        for (watchdog, expected) in [
            (None, seconds(1)),
            (Some(seconds(30)), seconds(1)),
            (Some(seconds(2)), seconds(2) / 4),
        ] {
            assert_eq!(pulse(watchdog), expected, "{watchdog:?}");
        }
    }

    #[test]
    fn the_watchdog_is_fed_where_it_is_set_and_meant_for_this_process() {
        let text = |text: &str| Some(OsString::from(text));
        let second = Some(Duration::from_secs(1));
        for (micros, pid, expected) in [
            (text("1000000"), None, second),
            (text("1000000"), text("7"), second),
            (text("1000000"), text("8"), None),
            (text("1000000"), text("x"), None),
            (text("0"), None, None),
            (text("soon"), None, None),
            (None, text("7"), None),
        ] {
            assert_eq!(
                watchdog(micros.clone(), pid.clone(), 7),
                expected,
                "{micros:?} {pid:?}"
            );
        }
    }
}
