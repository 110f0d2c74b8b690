//! The listener, and the bounds on what a client can take: how many connections there are, how
//! large the head of a request is, how long it takes to arrive, and how long a connection lives.
//!
//! One connection too many costs the oldest its place, and not the newest: answers take
//! milliseconds, so whatever is old has said nothing, or is being kept open. So a crowd of silent
//! clients keeps nobody from being served.

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

/// How many connections there are at most.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take to arrive, and a connection may be idle between two
/// requests.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How large the head may be, and how many headers it may have.
const HEAD_SIZE: usize = 16 * 1024;
const HEADERS: usize = 64;

/// How long a connection lives; a client that wants more makes another one. An answer that is being
/// sent then has a little more time.
const LIFE: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);

/// The pause before a port that could not be had is tried again, and after a connection could not
/// be accepted.
const BIND_PAUSE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves at a port until nobody can say any more at which.
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

/// The same at a Unix socket.
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

/// Serves at one place after the other. When the place changes, the listener of the last one is
/// dropped, and its connections.
async fn follow<T: Clone>(mut places: watch::Receiver<T>, serve_at: impl AsyncFn(T)) {
    loop {
        let place = places.borrow_and_update().clone();
        tokio::select! {
            changed = places.changed() => if changed.is_err() { return },
            () = serve_at(place) => {}
        }
    }
}

/// Serves for good whoever connects.
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
            // No file descriptor is left, perhaps; it passes.
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
    }
}

/// Gets the port, sooner or later. It may be that of another daemon on this host.
async fn bind(address: SocketAddr) -> TcpListener {
    let mut told = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(cause) if told => debug!(%address, %cause, "still cannot serve over HTTP"),
            Err(cause) => error!(
                %address,
                %cause,
                remedy = "see what else listens there, or set admin.listen to another address, or \
                    to \"off\"",
                "cannot serve over HTTP: no probes and no metrics until this is repaired; the \
                databases are synced"
            ),
        }
        told = true;
        sleep(BIND_PAUSE).await;
    }
}

/// Makes the socket, sooner or later; never where its folder is not there.
async fn make(path: &Path) -> Option<Socket> {
    let mut told = false;
    loop {
        match Socket::make(path).await {
            Ok(socket) => return Some(socket),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                debug!(socket = %path.display(), "no Unix socket: its folder is not there");
                return None;
            }
            Err(cause) if told => debug!(socket = %path.display(), %cause, "still no Unix socket"),
            Err(cause) => warn!(
                socket = %path.display(),
                %cause,
                remedy = "Set admin.socket to a path in a folder that belongs to the user of the \
                    daemon.",
                "cannot serve at the Unix socket: a probe cannot tell this daemon from another \
                program"
            ),
        }
        told = true;
        sleep(BIND_PAUSE).await;
    }
}

async fn connection<S>(stream: S, local: Option<SocketAddr>, source: Arc<Source>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let source = source.as_ref();
    let service = service_fn(|request| async move {
        // A client that sends its requests without waiting gets one answer in its turn.
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
        // What a client does wrong is its own business.
        let _ = timeout(GRACE, served).await;
    }
}
