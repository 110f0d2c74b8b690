//! Saying over HTTP how the daemon is doing (I8): `/livez`, `/readyz`, `/metrics`, `/status`, and the status page at `/`.
//!
//! Authority: none. Everything is read from the [`Board`]; nothing here touches PostgreSQL, waits for a loop, or changes
//! anything. It runs in a thread of its own with an event loop of its own, so a request costs no database a moment, and a
//! loop that hangs does not keep anybody from being told so.
//!
//! - `server` listens, and bounds what a client can take.
//! - `answer` knows the paths, and what every answer says about itself; `host` whom it is for.
//! - `health`, `metrics` and `status` are the answers; `process` and `time` help them; `page` is the page.
//! - `ask` is the other side: one question to a running daemon, for `agent-sync probe`.
//!
//! Invariant: no secret and no value of a row is served, because the board has none (G11).
//! On failure: a port that cannot be had is an ERROR in the log, and is tried again; the databases are synced all the same.

mod answer;
pub mod ask;
mod health;
mod host;
pub mod metrics;
mod page;
mod process;
mod server;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::observe::Board;

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    listen: watch::Sender<Option<SocketAddr>>,
}

impl Admin {
    /// Serves the board at this address, or nowhere.
    pub fn start(listen: Option<SocketAddr>, board: Arc<Board>) -> Self {
        let (listen, address) = watch::channel(listen);
        let thread = std::thread::Builder::new().name("admin".to_owned());
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(server::serve(address, board));
            Ok::<_, std::io::Error>(())
        });
        if let Err(cause) = started {
            error!(%cause, "the operating system gives no thread for HTTP; nothing is served");
        }
        Self { listen }
    }

    /// Goes on at another address, if it is another one.
    pub fn reload(&self, listen: Option<SocketAddr>) {
        self.listen.send_if_modified(|now| std::mem::replace(now, listen) != listen);
    }
}
