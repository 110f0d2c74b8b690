//! Reports the state of the daemon over HTTP (I8): `/livez`, `/readyz`, `/metrics`, `/status`, and
//! the status page at `/`.
//!
//! Authority: none. All data is a snapshot of the [`Board`], but for the page of an agent, which an
//! [`Explain`] answers; this module neither accesses PostgreSQL itself nor waits for a database
//! task nor changes anything. It has its own thread with its own event loop, so requests do not
//! delay the databases, and a hung task is still reported.
//!
//! - `server` listens at the port and the Unix socket and limits clients; `socket` creates the
//!   socket.
//! - `answer` has the paths and the headers of every answer; `host` checks the header `Host`;
//!   `limits` limits large answers.
//! - `health`, `metrics` and `status` are the answers; `process` reads the process metrics; `page`
//!   is the status page and the document of `agent`, the page of one agent, which `making` makes on
//!   a thread of its own.
//! - `ask` is the client of `agent-sync probe`. Any program can listen at the port; only the daemon
//!   can create the socket (S20).
//!
//! Invariant: no secret is served (G11), and no value of a row but on the page of an agent, whose
//! fields are those of `why`, without prompts and keys. On
//! failure: a port that cannot be bound is logged as an error and tried again; the databases are
//! synced meanwhile.

mod agent;
mod answer;
pub mod ask;
mod health;
mod host;
mod limits;
mod making;
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

use self::agent::Agents;
pub use self::agent::{Explain, Explaining, LONGEST, Unexplained, Which};
use self::answer::Source;
use self::limits::Limits;
use crate::observe::Board;
use crate::settings;

/// The running server. Dropping it stops the server.
#[derive(Debug)]
pub struct Admin {
    listen: watch::Sender<Option<SocketAddr>>,
    socket: watch::Sender<PathBuf>,
}

impl Admin {
    /// Starts the server at the addresses of the settings.
    pub fn start(settings: &settings::Admin, board: Arc<Board>, explain: Arc<dyn Explain>) -> Self {
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
                agents: Agents::new(explain),
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

    /// Moves to the addresses of the new settings, if they differ.
    pub fn reload(&self, settings: &settings::Admin) {
        let settings::Admin { listen, socket } = settings;
        self.listen
            .send_if_modified(|now| std::mem::replace(now, *listen) != *listen);
        self.socket
            .send_if_modified(|now| std::mem::replace(now, socket.clone()) != *socket);
    }
}
