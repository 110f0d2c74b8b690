//! The listener, and the bounds on what a client can take: how many connections there are, how large the head of a request
//! is, how long it takes to arrive, and how long a connection lives.
//!
//! One connection too many costs the oldest its place, and not the newest: answers take milliseconds, so whatever is old
//! has said nothing, or is being kept open. So a crowd of silent clients keeps nobody from being served.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info};

use super::answer::answer;
use crate::observe::Board;

/// How many connections there are at most.
const CONNECTIONS: usize = 64;

/// How long the head of a request may take to arrive, and a connection may be idle between two requests.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How large the head may be, and how many headers it may have.
const HEAD_SIZE: usize = 16 * 1024;
const HEADERS: usize = 64;

/// How long a connection lives; a client that wants more makes another one. An answer that is being sent then has a little
/// more time.
const LIFE: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);

/// The pause before a port that could not be had is tried again, and after a connection could not be accepted.
const BIND_PAUSE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until nobody can say any more where to.
pub(super) async fn serve(mut listen: watch::Receiver<Option<SocketAddr>>, board: Arc<Board>) {
    loop {
        let address = *listen.borrow_and_update();
        let at_address = async {
            match address {
                Some(address) => serve_at(address, &board).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = listen.changed() => if changed.is_err() { return },
            () = at_address => {}
        }
    }
}

/// Serves for good. When this is dropped, so are the listener and its connections.
async fn serve_at(address: SocketAddr, board: &Arc<Board>) {
    let listener = bind(address).await;
    let local = listener.local_addr().unwrap_or(address);
    info!(address = %local, "serving /livez, /readyz, /metrics, /status and the status page over HTTP");
    let mut connections = JoinSet::new();
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
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
        open.push_back(connections.spawn(connection(stream, local, Arc::clone(board))));
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
                remedy = "see what else listens there, or set admin.listen to another address, or to \"off\"",
                "cannot serve over HTTP: no probes and no metrics until this is mended; databases are synced all the same"
            ),
        }
        told = true;
        sleep(BIND_PAUSE).await;
    }
}

async fn connection(stream: TcpStream, local: SocketAddr, board: Arc<Board>) {
    let service =
        service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, local, &board))));
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
