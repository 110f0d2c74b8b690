//! Saying over HTTP how the daemon is doing (I8): `/livez`, `/readyz`, `/metrics`, `/status`, and
//! the status page at `/`.
//!
//! Authority: none. Everything is read from the [`Board`]; nothing here touches PostgreSQL, waits
//! for a loop, or changes anything. It runs in a thread of its own with an event loop of its own,
//! so a request costs no database a moment, and a loop that hangs does not keep anybody from being
//! told so.
//!
//! - `server` listens at the port and at the Unix socket, and bounds what a client can take;
//!   `socket` makes the socket.
//! - `answer` has the paths and the headers of every answer; `host` checks the header Host;
//!   `limits` bounds answers that can be large.
//! - `health`, `metrics` and `status` are the answers; `process` and `time` help them; `page` is
//!   the page.
//! - `ask` is the other side: one question to a running daemon, for `agent-sync probe`. At the port
//!   anybody can answer; at the socket only the daemon can (S20).
//!
//! Invariant: no secret and no value of a row is served, because the board has none (G11). On
//! failure: a port that cannot be had is an ERROR in the log, and is tried again; the databases are
//! synced all the same.

mod answer;
pub mod ask;
mod health;
mod host;
mod limits;
pub mod metrics;
mod page;
mod process;
mod server;
mod socket;
mod status;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use self::answer::Source;
use self::limits::Limits;
use crate::observe::Board;
use crate::settings;

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    listen: watch::Sender<Option<SocketAddr>>,
    socket: watch::Sender<PathBuf>,
}

impl Admin {
    /// Serves the board where the settings say.
    pub fn start(settings: &settings::Admin, board: Arc<Board>) -> Self {
        let (listen, address) = watch::channel(settings.listen);
        let (socket, path) = watch::channel(settings.socket.clone());
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let source = Arc::new(Source {
                board,
                limits: Limits::default(),
            });
            runtime.block_on(async {
                tokio::join!(
                    server::serve(address, &source),
                    server::serve_socket(path, &source)
                )
            });
            Ok::<_, std::io::Error>(())
        });
        if let Err(cause) = started {
            error!(%cause, "the operating system gives no thread for HTTP; nothing is served");
        }
        Self { listen, socket }
    }

    /// Goes on elsewhere, if it is elsewhere.
    pub fn reload(&self, settings: &settings::Admin) {
        let settings::Admin { listen, socket } = settings;
        self.listen
            .send_if_modified(|now| std::mem::replace(now, *listen) != *listen);
        self.socket
            .send_if_modified(|now| std::mem::replace(now, socket.clone()) != *socket);
    }
}
