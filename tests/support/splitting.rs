//! A proxy that splits reads and writes between a primary and a standby, as pgpool-II and `PgCat`
//! do.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_sync_testbed::Cluster;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::AbortHandle;

/// A running proxy. Dropping it ends it.
pub struct SplittingProxy {
    port: u16,
    splits: Arc<AtomicBool>,
    accepting: AbortHandle,
}

impl SplittingProxy {
    /// Starts one that sends everything to the primary until [`SplittingProxy::split`].
    pub async fn start(primary: &Cluster, standby: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sockets = [primary, standby].map(|server| {
            let name = format!(".s.PGSQL.{}", server.port());
            server.folder().join(name)
        });
        let splits = Arc::new(AtomicBool::new(false));
        let may_split = Arc::clone(&splits);
        let accepting = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let [primary, standby] = &sockets;
                let primary = UnixStream::connect(primary).await.unwrap();
                let standby = UnixStream::connect(standby).await.unwrap();
                let connection = Connection {
                    client,
                    servers: [primary, standby],
                    statements: HashMap::new(),
                    in_transaction: false,
                    splits: Arc::clone(&may_split),
                };
                // An end of the client or of a server ends the connection.
                tokio::spawn(async move { drop(connection.serve().await) });
            }
        });
        Self {
            port,
            splits,
            accepting: accepting.abort_handle(),
        }
    }

    /// From now on, a statement that only reads goes to the standby.
    pub fn split(&self) {
        self.splits.store(true, Ordering::Relaxed);
    }

    /// The URL of a database through the proxy.
    pub fn url(&self, database: &str) -> String {
        let port = self.port;
        format!("postgres://postgres@127.0.0.1:{port}/{database}?sslmode=disable")
    }
}

impl Drop for SplittingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The index of the primary among the servers of a connection.
const PRIMARY: usize = 0;

/// The index of the standby.
const STANDBY: usize = 1;

struct Connection {
    client: TcpStream,
    servers: [UnixStream; 2],
    /// The server of each prepared statement.
    statements: HashMap<Vec<u8>, usize>,
    in_transaction: bool,
    splits: Arc<AtomicBool>,
}

impl Connection {
    async fn serve(mut self) -> io::Result<()> {
        let startup = read_body(&mut self.client).await?;
        for server in [STANDBY, PRIMARY] {
            let length = u32::try_from(startup.len() + 4).unwrap().to_be_bytes();
            self.servers[server].write_all(&length).await?;
            self.servers[server].write_all(&startup).await?;
            self.answer(server, server == PRIMARY).await?;
        }
        loop {
            tokio::select! {
                first = self.client.read_u8() => self.forward(first?).await?,
                // A notification comes without a question.
                tag = self.servers[PRIMARY].read_u8() => {
                    let message = rest(tag?, &mut self.servers[PRIMARY]).await?;
                    self.client.write_all(&message).await?;
                }
            }
        }
    }

    /// Forwards the messages up to the next Sync or simple query, and the answers.
    async fn forward(&mut self, first: u8) -> io::Result<()> {
        let mut messages = rest(first, &mut self.client).await?;
        let server = self.server_of(&messages);
        let mut tag = first;
        while !matches!(tag, b'Q' | b'S' | b'X') {
            tag = self.client.read_u8().await?;
            messages.extend(rest(tag, &mut self.client).await?);
        }
        self.servers[server].write_all(&messages).await?;
        self.answer(server, true).await
    }

    /// The server for a message: the text of a statement decides, also when it is used later.
    fn server_of(&mut self, message: &[u8]) -> usize {
        let (tag, body) = (message[0], &message[5..]);
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match tag {
            b'Q' => self.server_for(text()),
            b'P' => {
                let (name, query) = (text(), text());
                let server = self.server_for(query);
                self.statements.insert(name.to_vec(), server);
                server
            }
            b'B' => {
                let (_portal, name) = (text(), text());
                self.statements.get(name).copied().unwrap_or(PRIMARY)
            }
            b'C' | b'D' => {
                let name = body[1..].strip_suffix(&[0]).unwrap_or_default();
                self.statements.get(name).copied().unwrap_or(PRIMARY)
            }
            _ => PRIMARY,
        }
    }

    /// The standby gets what only reads, outside of a transaction, and neither names the catalog
    /// nor calls a volatile function.
    fn server_for(&self, query: &[u8]) -> usize {
        /// What appears in queries of agent-sync that a proxy sends to the primary.
        const OF_THE_PRIMARY: [&str; 7] = [
            ";",
            "from pg_",
            "join pg_",
            "pg_catalog.pg_database",
            "pg_is_in_recovery",
            "pg_notify",
            "advisory",
        ];
        let query = String::from_utf8_lossy(query).to_lowercase();
        let only_reads = query.trim_start().starts_with("select")
            && !OF_THE_PRIMARY.iter().any(|word| query.contains(word));
        if only_reads && !self.in_transaction && self.splits.load(Ordering::Relaxed) {
            STANDBY
        } else {
            PRIMARY
        }
    }

    /// Passes the answer of a server on, up to the point where it is ready for the next statement.
    async fn answer(&mut self, server: usize, to_client: bool) -> io::Result<()> {
        loop {
            let tag = self.servers[server].read_u8().await?;
            let message = rest(tag, &mut self.servers[server]).await?;
            if to_client {
                self.client.write_all(&message).await?;
            }
            if tag == b'Z' {
                self.in_transaction = message[5] != b'I';
                return Ok(());
            }
        }
    }
}

/// A message after its tag, with the tag.
async fn rest(tag: u8, from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let body = read_body(from).await?;
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    Ok([&[tag], &length[..], &body].concat())
}

/// The part of a message behind its length.
async fn read_body(from: &mut (impl tokio::io::AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut body = vec![0; usize::try_from(length).unwrap() - 4];
    from.read_exact(&mut body).await?;
    Ok(body)
}
