//! A TCP proxy that injects faults: it stalls, cuts or delays connections, and cuts them or drops
//! the answers at given bytes of a client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The effect when a client sends the bytes of a trap. A trap works once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Snap {
    /// The connection is cut before the bytes reach the server.
    Before,
    /// The bytes reach the server, and its answers are dropped without an error.
    Deaf,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<String>,
    /// Whether bytes flow.
    flowing: watch::Sender<bool>,
    delay: Mutex<Duration>,
    trap: Mutex<Option<(Vec<u8>, Snap)>>,
    sprung: watch::Sender<bool>,
    connections: Mutex<HashMap<usize, AbortHandle>>,
}

/// A proxy between a client and a server. Dropping it cuts every connection.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
    accepting: AbortHandle,
}

impl Proxy {
    /// Starts a proxy for a port of this machine.
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            server: Mutex::new(format!("127.0.0.1:{server}")),
            flowing: watch::channel(true).0,
            delay: Mutex::default(),
            trap: Mutex::default(),
            sprung: watch::channel(false).0,
            connections: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Self {
            shared,
            port,
            accepting,
        }
    }

    /// The URL of a database through the proxy.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// Routes new connections to another port; existing ones stay.
    pub fn lead_to(&self, server: u16) {
        *self.shared.server.lock().unwrap() = format!("127.0.0.1:{server}");
    }

    /// Holds every byte in both directions until [`Proxy::flow`], without an error on either side.
    pub fn stall(&self) {
        self.shared.flowing.send_replace(false);
    }

    /// Releases the held bytes and everything after them.
    pub fn flow(&self) {
        self.shared.flowing.send_replace(true);
    }

    /// Cuts every connection; new ones are accepted.
    pub fn cut(&self) {
        for (_, connection) in self.shared.connections.lock().unwrap().drain() {
            connection.abort();
        }
    }

    /// Delays every chunk of data in each direction by this time.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// Sets a trap for the next connection that sends these bytes.
    pub fn trap(&self, bytes: &[u8], snap: Snap) {
        self.shared.sprung.send_replace(false);
        *self.shared.trap.lock().unwrap() = Some((bytes.to_owned(), snap));
    }

    /// Removes the trap.
    pub fn disarm(&self) {
        self.shared.trap.lock().unwrap().take();
    }

    /// Waits until the trap has sprung.
    pub async fn sprung(&self) {
        let mut sprung = self.shared.sprung.subscribe();
        tokio::time::timeout(super::TIMEOUT, sprung.wait_for(|sprung| *sprung))
            .await
            .expect("the trap springs")
            .unwrap();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    for number in 0.. {
        let (client, _) = listener.accept().await.unwrap();
        let task = tokio::spawn(Box::pin(connection(client, Arc::clone(&shared), number)));
        shared
            .connections
            .lock()
            .unwrap()
            .insert(number, task.abort_handle());
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>, number: usize) {
    let server = shared.server.lock().unwrap().clone();
    if let Ok(server) = TcpStream::connect(server).await {
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (deafen, deaf) = watch::channel(false);
        // When one side closes, the other is closed as well: both halves are dropped here.
        tokio::select! {
            () = upstream(from_client, to_server, &shared, &deafen) => {}
            () = downstream(from_server, to_client, &shared, &deaf) => {}
        }
    }
    shared.connections.lock().unwrap().remove(&number);
}

async fn upstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    deafen: &watch::Sender<bool>,
) {
    let mut seen = Vec::new();
    while let Some(bytes) = read(&mut from, shared).await {
        let snap = sprung(shared, &mut seen, &bytes);
        match snap {
            Some(Snap::Before) => {
                shared.sprung.send_replace(true);
                return;
            }
            Some(Snap::Deaf) => drop(deafen.send_replace(true)),
            None => {}
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
        if snap.is_some() {
            shared.sprung.send_replace(true);
        }
    }
}

/// Whether these bytes, together with the previous `seen` ones, contain the bytes of the trap. They
/// may arrive in several chunks.
fn sprung(shared: &Shared, seen: &mut Vec<u8>, bytes: &[u8]) -> Option<Snap> {
    let mut trap = shared.trap.lock().unwrap();
    let Some((wanted, _)) = trap.as_ref() else {
        seen.clear();
        return None;
    };
    seen.extend_from_slice(bytes);
    let found = seen.windows(wanted.len()).any(|window| window == wanted);
    let kept = seen.len().saturating_sub(wanted.len());
    seen.drain(..kept);
    if found {
        trap.take().map(|(_, snap)| snap)
    } else {
        None
    }
}

async fn downstream(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    deaf: &watch::Receiver<bool>,
) {
    while let Some(bytes) = read(&mut from, shared).await {
        if !*deaf.borrow() && to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The next chunk, once data may flow; `None` at the end.
async fn read(from: &mut OwnedReadHalf, shared: &Shared) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let count = from.read(&mut buffer).await.ok()?;
    shared
        .flowing
        .subscribe()
        .wait_for(|flowing| *flowing)
        .await
        .ok()?;
    let delay = *shared.delay.lock().unwrap();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    buffer.truncate(count);
    (count > 0).then_some(buffer)
}
