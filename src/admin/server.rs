//! The listeners and their limits: the number of connections, the size of a request head, the time
//! for its arrival, and the life of a connection.
//!
//! A connection beyond the limit closes the oldest one. Answers take milliseconds, so an old
//! connection is silent or kept open on purpose, and silent clients cannot block new ones.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use super::answer::{Source, answer};
use super::socket::Socket;

/// The largest number of connections.
const CONNECTIONS: usize = 64;

/// The time limit for a request head, and for an idle connection between two requests.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// The limits of a request head: its size in bytes, and its number of headers.
const HEAD_SIZE: usize = 16 * 1024;
const HEADERS: usize = 64;

/// The life of a connection, and the additional time for an answer in transit. A client can connect
/// again.
const LIFE: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);

/// The pause before another attempt to bind, and after a failed accept.
const BIND_PAUSE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves at the port of the settings until the sender of the settings is dropped.
pub(super) async fn serve(listen: watch::Receiver<Option<SocketAddr>>, source: &Arc<Source>) {
    follow(listen, async |address| {
        let Some(address) = address else {
            return std::future::pending().await;
        };
        let listener = bind(address).await;
        let local = listener.local_addr().unwrap_or(address);
        info!(address = %local, "serving /livez, /readyz, /metrics, /status and the status page \
            over HTTP");
        attend(async || Ok(listener.accept().await?.0), Some(local), source).await;
    })
    .await;
}

/// Serves at the Unix socket of the settings until the sender of the settings is dropped.
pub(super) async fn serve_socket(socket: watch::Receiver<PathBuf>, source: &Arc<Source>) {
    follow(socket, async |path| {
        let Some(socket) = make(&path).await else {
            return std::future::pending().await;
        };
        info!(socket = %path.display(), "serving the same at the Unix socket");
        attend(async || socket.accept().await, None, source).await;
    })
    .await;
}

/// Runs `serve_at` with the latest address. A new address drops the listener and the connections of
/// the old one.
async fn follow<T: Clone>(mut places: watch::Receiver<T>, serve_at: impl AsyncFn(T)) {
    loop {
        let place = places.borrow_and_update().clone();
        tokio::select! {
            changed = places.changed() => if changed.is_err() { return },
            () = serve_at(place) => {}
        }
    }
}

/// Accepts and serves connections forever.
async fn attend<S>(
    accept: impl AsyncFn() -> io::Result<S>,
    local: Option<SocketAddr>,
    source: &Arc<Source>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let Ok(stream) = accept().await else {
            // Usually no file descriptor is left; that passes.
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(connections.spawn(connection(stream, local, Arc::clone(source))));
        // Each connection gets a turn of the event loop before the next one is accepted. So one
        // that has sent its request is answered before others can close it.
        yield_now().await;
    }
}

/// Binds the port, with attempts until it succeeds. Another daemon of this host may hold it.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut reported = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(cause) if reported => debug!(%address, %cause, "still cannot serve over HTTP"),
            Err(cause) => error!(
                %address,
                %cause,
                remedy = "see what else listens there, or set admin.listen to another address, or \
                    to \"off\"",
                "cannot serve over HTTP: no probes and no metrics until this is repaired; the \
                databases are synced"
            ),
        }
        reported = true;
        sleep(BIND_PAUSE).await;
    }
}

/// Creates the socket, with attempts until it succeeds. Returns `None` if its directory does not
/// exist.
async fn make(path: &Path) -> Option<Socket> {
    let mut reported = false;
    loop {
        match Socket::make(path).await {
            Ok(socket) => return Some(socket),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                debug!(socket = %path.display(), "no Unix socket: its folder is not there");
                return None;
            }
            Err(cause) if reported => {
                debug!(socket = %path.display(), %cause, "still no Unix socket");
            }
            Err(cause) => warn!(
                socket = %path.display(),
                %cause,
                remedy = "Set admin.socket to a path in a folder that belongs to the user of the \
                    daemon.",
                "cannot serve at the Unix socket: a probe cannot tell this daemon from another \
                program"
            ),
        }
        reported = true;
        sleep(BIND_PAUSE).await;
    }
}

async fn connection<S>(stream: S, local: Option<SocketAddr>, source: Arc<Source>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let source = source.as_ref();
    let service = service_fn(|request| async move {
        // A client that pipelines requests gets one answer per turn of the event loop.
        yield_now().await;
        Ok::<_, Infallible>(answer(&request, local, source).await)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_SIZE)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    let mut served = pin!(served);
    if timeout(LIFE, served.as_mut()).await.is_err() {
        served.as_mut().graceful_shutdown();
        // Errors of a client are not reported.
        let _ = timeout(GRACE, served).await;
    }
}
