//! A false PostgreSQL server in front of a true one: it passes on what the true one sends, changed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::AbortHandle;

/// The way to the false server.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    Tcp,
    Socket,
}

impl Way {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Socket];
}

/// A connection of a client.
trait Client: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Client for S {}

/// Where clients connect.
enum Door {
    Port(TcpListener),
    /// In a directory of its own.
    Socket(UnixListener, TempDir),
}

impl Door {
    async fn of(way: Way) -> Self {
        match way {
            Way::Tcp => Self::Port(TcpListener::bind("127.0.0.1:0").await.unwrap()),
            Way::Socket => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join(format!(".s.PGSQL.{SOCKET}"));
                Self::Socket(UnixListener::bind(path).unwrap(), folder)
            }
        }
    }

    /// The host and the port in a URL.
    fn address(&self) -> String {
        match self {
            Self::Port(listener) => listener.local_addr().unwrap().to_string(),
            Self::Socket(_, folder) => {
                let folder = folder.path().to_str().unwrap().replace('/', "%2F");
                format!("{folder}:{SOCKET}")
            }
        }
    }

    async fn accept(&self) -> Box<dyn Client> {
        match self {
            Self::Port(listener) => {
                let (client, _) = listener.accept().await.unwrap();
                client.set_nodelay(true).unwrap();
                Box::new(client)
            }
            Self::Socket(listener, _) => Box::new(listener.accept().await.unwrap().0),
        }
    }
}

/// The port in the name of a socket.
const SOCKET: u16 = 5432;

/// A message of the true server.
pub struct Message<'a> {
    pub tag: u8,
    pub body: &'a [u8],
    /// The types of the columns of a row.
    pub types: &'a [u32],
}

/// The bytes that a client gets in place of a message; `None` for the message itself.
pub type Change = dyn Fn(&Message<'_>) -> Option<Vec<u8>> + Send + Sync;

/// The false server. Dropping it ends its connections.
pub struct FalseServer {
    address: String,
    accepting: AbortHandle,
}

/// An answer that is expected: the description of a statement, the start of its rows, or the end
/// of a query or of several.
enum Expected {
    Description(Vec<u8>),
    Rows(Vec<u8>),
    Query,
    End,
}

/// A connection as far as rows need it: the columns of each statement, and the answers to come.
#[derive(Default)]
struct State {
    types: HashMap<Vec<u8>, Vec<u32>>,
    present: Vec<u32>,
    expected: VecDeque<Expected>,
}

impl FalseServer {
    /// Starts one in front of a port of this machine.
    pub async fn start(
        way: Way,
        server: u16,
        change: impl Fn(&Message<'_>) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let door = Door::of(way).await;
        let address = door.address();
        let change: Arc<Change> = Arc::new(change);
        let accepting = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let client = door.accept().await;
                connections.spawn(connection(client, server, Arc::clone(&change)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            accepting: accepting.abort_handle(),
        }
    }

    /// The URL of a database through it.
    pub fn url(&self, database: &str) -> String {
        let address = &self.address;
        format!("postgres://postgres:s3cret-word@{address}/{database}")
    }
}

impl Drop for FalseServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A message with this tag and body.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// The values of a row, each null or with its bytes.
pub fn values(row: &[u8]) -> Vec<Option<&[u8]>> {
    let mut values = Vec::new();
    let mut rest = &row[2..];
    while let Some((length, bytes)) = rest.split_first_chunk() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        values.push(length.map(|length| &bytes[..length]));
        rest = &bytes[length.unwrap_or(0)..];
    }
    values
}

/// The row with each value that `change` gives another one for, by its type.
pub fn changed_row(
    row: &Message<'_>,
    change: impl Fn(u32, Option<&[u8]>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    if row.tag != b'D' {
        return None;
    }
    let mut body = row.body[..2].to_vec();
    for (value, of) in values(row.body).into_iter().zip(row.types) {
        let value = change(*of, value).or(value.map(<[u8]>::to_vec));
        let length = value
            .as_ref()
            .map_or(Ok(-1), |value| i32::try_from(value.len()));
        body.extend(length.unwrap().to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    Some(message(b'D', &body))
}

async fn connection(client: Box<dyn Client>, server: u16, change: Arc<Change>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    server.set_nodelay(true).unwrap();
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (from_server, mut to_server) = server.into_split();
    if greet(&mut from_client, &mut to_client, &mut to_server)
        .await
        .is_err()
    {
        return;
    }
    let state = Mutex::default();
    tokio::select! {
        _ = upstream(from_client, to_server, &state) => {}
        _ = downstream(from_server, to_client, &state, &*change) => {}
    }
}

/// The first message of a client, which has no tag. A request for TLS is refused.
async fn greet(
    from: &mut (impl AsyncRead + Unpin),
    back: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        if body == [4, 210, 22, 47] {
            back.write_all(b"N").await?;
            continue;
        }
        to.write_all(&[&length.to_be_bytes(), &body[..]].concat())
            .await?;
        return Ok(());
    }
}

async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let tag = from.read_u8().await?;
    let mut body = vec![0; from.read_u32().await? as usize - 4];
    from.read_exact(&mut body).await?;
    Ok((tag, body))
}

/// The text up to the next zero byte.
fn text(bytes: &[u8]) -> Vec<u8> {
    bytes.split(|byte| *byte == 0).next().unwrap().to_vec()
}

async fn upstream(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &Mutex<State>,
) -> io::Result<()> {
    loop {
        let (tag, body) = read(&mut from).await?;
        let expected = match tag {
            b'D' => Some(Expected::Description(text(&body[1..]))),
            b'B' => Some(Expected::Rows(text(&body[text(&body).len() + 1..]))),
            b'Q' => Some(Expected::Query),
            b'S' => Some(Expected::End),
            _ => None,
        };
        state.lock().unwrap().expected.extend(expected);
        to.write_all(&message(tag, &body)).await?;
    }
}

async fn downstream(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    state: &Mutex<State>,
    change: &Change,
) -> io::Result<()> {
    loop {
        let (tag, body) = read(&mut from).await?;
        let changed = {
            let mut state = state.lock().unwrap();
            state.follow(tag, &body);
            let types = &state.present;
            change(&Message {
                tag,
                body: &body,
                types,
            })
        };
        to.write_all(&changed.unwrap_or_else(|| message(tag, &body)))
            .await?;
    }
}

impl State {
    fn follow(&mut self, tag: u8, body: &[u8]) {
        match (tag, self.expected.front()) {
            (b'T', Some(Expected::Description(name))) => {
                self.present = types(body);
                self.types.insert(name.clone(), self.present.clone());
                self.expected.pop_front();
            }
            (b'T', _) => self.present = types(body),
            (b'n', Some(Expected::Description(_))) => drop(self.expected.pop_front()),
            (b'2', Some(Expected::Rows(name))) => {
                self.present = self.types.get(name).cloned().unwrap_or_default();
                self.expected.pop_front();
            }
            (b'Z', _) => {
                while !matches!(
                    self.expected.pop_front(),
                    None | Some(Expected::Query | Expected::End)
                ) {}
            }
            _ => {}
        }
    }
}

/// The types of a description of rows.
fn types(body: &[u8]) -> Vec<u32> {
    let mut types = Vec::new();
    let mut rest = &body[2..];
    while !rest.is_empty() {
        let name = text(rest).len() + 1;
        let of = &rest[name + 6..name + 10];
        types.push(u32::from_be_bytes(of.try_into().unwrap()));
        rest = &rest[name + 18..];
    }
    types
}
