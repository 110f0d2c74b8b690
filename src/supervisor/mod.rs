//! Reports the state of the daemon to its supervisor (I4): systemd, or another program with its
//! notification protocol.
//!
//! - `socket` sends messages to `$NOTIFY_SOCKET`. `sd_notify` has the words of the protocol; its
//!   own function to send waits for a full socket without a limit, and knows no abstract names.
//! - `messages` computes the messages from the status registry and sends nothing itself.
//! - [`Supervisor`] connects the two, in a task on the event loop of the databases. So the watchdog
//!   gets signals only while that loop turns and no database task hangs: a stopped process, a
//!   blocked loop and a task that waits forever are all noticed.
//!
//! Authority: none. Without a supervisor nothing is sent and no task runs. On failure: a failed
//! send is logged once as a warning; the databases are synced meanwhile.

mod messages;
mod socket;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::AbortHandle;
use tracing::{error, warn};

use crate::observe::Board;
use messages::{Messages, lines};
use socket::Socket;

/// The interval of the snapshots until the daemon is ready, and afterwards; the watchdog may need a
/// shorter one.
const STARTING: Duration = Duration::from_millis(50);
const RUNNING: Duration = Duration::from_secs(1);

/// The supervisor of the daemon; without one, every method does nothing.
#[derive(Debug, Default)]
pub struct Supervisor {
    line: Option<Line>,
}

/// The connection to the supervisor, and the task that uses it.
#[derive(Debug)]
struct Line {
    socket: Arc<Socket>,
    ready: Arc<AtomicBool>,
    attending: AbortHandle,
}

impl Supervisor {
    /// Finds the supervisor in the environment and starts the task that reports the states.
    pub fn attend(board: Arc<Board>) -> Self {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let Some(name) = name else {
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
        // In the protocol, a time of zero means no watchdog.
        let time_limit = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero());
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

    /// Reports the start of a reload, unless the daemon is not ready yet.
    pub async fn reloading(&self) {
        if let Some(line) = self.ready_line() {
            let mut states = vec![NotifyState::Reloading];
            states.extend(NotifyState::monotonic_usec_now());
            line.socket.send(&lines(&states)).await;
        }
    }

    /// Reports the end of a reload, with or without success.
    pub async fn reloaded(&self) {
        if let Some(line) = self.ready_line() {
            line.socket.send(&lines(&[NotifyState::Ready])).await;
        }
    }

    /// Reports that the daemon stops, and ends the task.
    pub async fn stopping(&self) {
        if let Some(line) = &self.line {
            line.attending.abort();
            let status = NotifyState::Status("stopping after the running batch");
            line.socket
                .send(&lines(&[NotifyState::Stopping, status]))
                .await;
        }
    }

    fn ready_line(&self) -> Option<&Line> {
        self.line
            .as_ref()
            .filter(|line| line.ready.load(Ordering::Relaxed))
    }
}

/// The interval of the snapshots. The protocol asks for half of the watchdog's time; a quarter
/// leaves a margin for a busy machine.
fn pulse(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(RUNNING, |time_limit| RUNNING.min(time_limit / 4))
}

/// Reports the states for as long as the daemon runs.
async fn attend(
    socket: Arc<Socket>,
    board: Arc<Board>,
    ready: Arc<AtomicBool>,
    watchdog: Option<Duration>,
) {
    let mut messages = Messages::new(watchdog.is_some());
    let mut reported = Vec::new();
    let pulse = pulse(watchdog);
    loop {
        let message = messages.next_message(&board.snapshot());
        for hang in &message.hanging {
            if !reported.contains(&hang.database) {
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
        reported = message
            .hanging
            .into_iter()
            .map(|hang| hang.database)
            .collect();
        if !message.text.is_empty() {
            socket.send(&message.text).await;
        }
        // Set after the send: the READY=1 of a reload must not overtake the first one.
        ready.store(messages.is_ready(), Ordering::Relaxed);
        tokio::time::sleep(if messages.is_ready() {
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
}
