//! The socket of the supervisor: one datagram for each message, to a path or to an abstract name
//! (`@…`).
//!
//! Invariant: no call blocks the thread, and the wait for a full socket ends after [`TIME_LIMIT`].

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::warn;

/// The time limit for a full socket, and the pause between two attempts.
const TIME_LIMIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// The socket. Every message is sent to the address, because a restarted supervisor has a new
/// socket there.
#[derive(Debug)]
pub(super) struct Socket {
    own: UnixDatagram,
    to: SocketAddr,
    failed: AtomicBool,
}

impl Socket {
    /// Opens a socket for this name in the form of `NOTIFY_SOCKET`.
    pub(super) fn open(name: &OsStr) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "expected a name that begins with / or @",
                ));
            }
        };
        let own = UnixDatagram::unbound()?;
        own.set_nonblocking(true)?;
        Ok(Self {
            own,
            to,
            failed: AtomicBool::new(false),
        })
    }

    /// Sends a message. The first of consecutive failures is logged.
    pub(super) async fn send(&self, text: &str) {
        let sent = tokio::time::timeout(TIME_LIMIT, async {
            loop {
                match self.own.send_to_addr(text.as_bytes(), &self.to) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    sent => return sent,
                }
            }
        });
        let error = match sent.await {
            Ok(Ok(_)) => {
                self.failed.store(false, Ordering::Relaxed);
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it has not been read for {TIME_LIMIT:?}"),
        };
        if !self.failed.swap(true, Ordering::Relaxed) {
            warn!(error, "the state could not be sent to the supervisor");
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_or_abstract_and_nothing_else() {
        assert!(Socket::open(OsStr::new("/nowhere/notify")).is_ok());
        assert!(Socket::open(OsStr::new("@agent-sync")).is_ok());
        for name in ["notify", "vsock:2:1234", &format!("@{}", "x".repeat(200))] {
            assert!(Socket::open(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_supervisor_that_does_not_read_is_not_waited_for_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).expect("a socket");
        let socket = Socket::open(path.as_os_str()).expect("a socket");
        let all = async {
            while !socket.failed.load(Ordering::Relaxed) {
                socket.send("STATUS=x").await;
            }
        };
        assert!(
            tokio::time::timeout(TIME_LIMIT * 20, all).await.is_ok(),
            "it never gave up"
        );
    }
}
