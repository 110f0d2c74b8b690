//! Keeps the password from a server that nothing verifies, and bounds what a server sends.
//!
//! `tokio_postgres` uses any authentication method that the server requests, and has no setting
//! that rules one out. For a cleartext request it sends the password; for an MD5 request it sends a
//! hash that a dictionary attack breaks. So a reader between the stream and the driver follows the
//! messages of the server up to `AuthenticationOk`, and fails at such a request. The driver answers
//! a message only when the message is complete, and the reader withholds this one, so nothing is
//! sent.
//!
//! SCRAM passes: it proves the password without sending it. A server that asks for few iterations
//! is refused, because it could run a dictionary attack on the proof. One that asks for many is
//! refused as well, and a proof that takes more than the usual work has a turn (`scram`).
//!
//! The same reader bounds the memory of the driver (G12), which collects a message and an answer
//! until they are complete. A server that sends without end, or announces a message of two
//! gigabytes, loses its connection; other connections are not affected.
//!
//! Invariant: for the life of a connection, the driver keeps a bounded sum of parameters
//! (`parameters`) and of descriptions of prepared statements, and no type of the server, because it
//! gets none that it would ask for (`descriptions`).
//!
//! Messages of no answer can arrive without end. So the stream ends its turn on the event loop now
//! and then, and a flood of them ends the connection (`flood`). This holds below TLS, too (`wire`).
//!
//! Code of others and the values of agents decide on the length of an error or a notice. Such a
//! message must not end the connection, so the driver gets an error with shorter fields, and no
//! notice (`error_text`). The passwords of the database are masked there (G11).
//!
//! Any role that may connect decides on the text of a notification. Where the server cannot send it
//! in UTF-8, it ends the session with an error. The driver would take it for the answer to a query,
//! so the reader ends the connection with that cause (`is_unreadable`).
//!
//! [`Driver`] is the only connection of a session, and `over_tls` and `in_the_clear` are the only
//! functions that make one. So there is none without a reader, and none without a [`Wire`] below
//! it, over TCP or a Unix socket.

mod descriptions;
mod error_text;
mod flood;
mod note;
mod parameters;
mod reader;
mod refusal;
mod scram;
mod wire;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::mem::{self, MaybeUninit};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready as done};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{Host, SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

pub(super) use reader::Reader;
pub use refusal::PasswordRequest;
pub use scram::HeavyScram;

use self::refusal::Refusal;
use self::scram::Turn;
use self::wire::{Surplus, Wire};
use super::stream::Stream;

/// The most bytes of one read.
const PIECE: usize = 16 * 1024;

/// A stream that fails where the server asks for a password that must not be sent, or sends too
/// much.
pub(super) struct Guarded<S> {
    inner: S,
    reader: Reader,
    /// The bytes that the reader has let through, and how many of them the driver has.
    passed: Vec<u8>,
    given: usize,
    turn: Turn,
    /// That of the [`Wire`] below.
    surplus: Arc<Surplus>,
}

impl<S> Guarded<S> {
    fn new(inner: S, reader: Reader, surplus: Arc<Surplus>) -> Self {
        Self {
            inner,
            reader,
            passed: Vec::new(),
            given: 0,
            turn: Turn::default(),
            surplus,
        }
    }

    /// Gives the driver what the reader has let through, if there is anything.
    fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let left = &self.passed[self.given..];
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        self.given += taken;
        if self.given == self.passed.len() {
            self.given = 0;
            self.passed.clear();
            self.passed.shrink_to(2 * PIECE);
        }
        taken > 0
    }
}

impl<S> TlsStream for Guarded<S>
where
    S: TlsStream + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

impl<S> AsyncRead for Guarded<S>
where
    S: AsyncRead + Unpin,
{
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            done!(this.turn.poll_taken(context));
            if this.give(buffer) || buffer.remaining() == 0 {
                break;
            }
            let mut piece = [MaybeUninit::uninit(); PIECE];
            let mut piece = ReadBuf::uninit(&mut piece);
            done!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            this.surplus.take_content(piece.filled().len());
            if piece.filled().is_empty() {
                break;
            }
            if let Err(refusal) = this.reader.read(piece.filled(), &mut this.passed) {
                drop(mem::take(&mut this.passed));
                return Poll::Ready(Err(match refusal {
                    Refusal::Password(request) => io::Error::other(request),
                    Refusal::HeavyScram(heavy) => io::Error::other(heavy),
                    refusal => io::Error::other(refusal),
                }));
            }
            if this.reader.begins_a_long_proof() {
                this.turn.ask();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncWrite for Guarded<S>
where
    S: AsyncWrite + Unpin,
{
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.turn.end();
        Pin::new(&mut this.inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

/// Whether a connection has ended because the server cannot send a notification.
pub(super) fn is_unreadable(error: &Error) -> bool {
    refusal(error) == Some(&Refusal::Unreadable)
}

/// Whether the guard has ended a connection.
pub(super) fn is_refused(error: &Error) -> bool {
    refusal(error).is_some()
}

fn refusal(error: &Error) -> Option<&Refusal> {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.and_then(io::Error::get_ref)?.downcast_ref()
}

/// The connection of a session. What the driver reads comes through a [`Reader`].
pub(super) type Driver<S> = Connection<Stream, Guarded<S>>;

/// Connects with TLS.
pub(super) async fn over_tls(
    config: &Config,
    stream: Stream,
    mut tls: MakeRustlsConnect,
    reader: Reader,
) -> Result<
    (
        Client,
        Driver<impl AsyncRead + AsyncWrite + Unpin + Send + use<>>,
    ),
    Error,
> {
    let name = match (config.get_hosts().first(), config.get_hostaddrs().first()) {
        (Some(Host::Tcp(name)), _) => name.clone(),
        (_, Some(address)) => address.to_string(),
        // No certificate is made out to it.
        (_, None) => String::new(),
    };
    let Ok(tls) = MakeTlsConnect::<Wire<Stream>>::make_tls_connect(&mut tls, &name);
    connect(config, stream, Guard { tls, reader }).await
}

/// Connects without TLS. The driver permits no reader between itself and a plain stream. So for the
/// driver this is TLS, without a request for it and without encryption.
pub(super) async fn in_the_clear(
    config: &Config,
    stream: Stream,
    reader: Reader,
) -> Result<
    (
        Client,
        Driver<impl AsyncRead + AsyncWrite + Unpin + Send + use<>>,
    ),
    Error,
> {
    let mut config = config.clone();
    config.ssl_negotiation(SslNegotiation::Direct);
    let guard = Guard { tls: Plain, reader };
    connect(&config, stream, guard).await
}

async fn connect<T>(
    config: &Config,
    stream: Stream,
    guard: Guard<T>,
) -> Result<(Client, Driver<T::Stream>), Error>
where
    T: TlsConnect<Wire<Stream>>,
    T::Future: Send + 'static,
{
    let mut config = config.clone();
    // In any other mode, the driver can take the stream as it is.
    config.ssl_mode(SslMode::Require);
    config.connect_raw(stream, guard).await
}

/// TLS, with the reader around it.
struct Guard<T> {
    tls: T,
    reader: Reader,
}

impl<T> TlsConnect<Stream> for Guard<T>
where
    T: TlsConnect<Wire<Stream>>,
    T::Future: Send + 'static,
{
    type Stream = Guarded<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: Stream) -> Self::Future {
        let surplus = Arc::new(Surplus::default());
        let wire = Wire::new(stream, Arc::clone(&surplus));
        let (connecting, reader) = (self.tls.connect(wire), self.reader);
        Box::pin(async move { Ok(Guarded::new(connecting.await?, reader, surplus)) })
    }
}

/// No TLS.
struct Plain;

impl TlsConnect<Wire<Stream>> for Plain {
    type Stream = Wire<Stream>;
    type Error = Infallible;
    type Future = Ready<Result<Wire<Stream>, Infallible>>;

    fn connect(self, wire: Wire<Stream>) -> Self::Future {
        ready(Ok(wire))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::pg::AnswerLimit;
    use crate::pg::password::Secrets;

    /// A stream as of a session without TLS.
    fn guarded<S>(stream: S, reader: Reader) -> Guarded<Wire<S>> {
        let surplus = Arc::new(Surplus::default());
        Guarded::new(Wire::new(stream, Arc::clone(&surplus)), reader, surplus)
    }

    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

    #[tokio::test]
    async fn s12_the_driver_never_gets_such_a_request() {
        let (mut server, client) = tokio::io::duplex(64);
        let reader = Reader::new(true, AnswerLimit::new(999), Secrets::default());
        let mut stream = guarded(client, reader);
        server.write_all(CLEARTEXT).await.ok();
        let mut got = Vec::new();
        let error = stream.read_buf(&mut got).await.err();
        let request = error
            .as_ref()
            .and_then(|error| error.get_ref()?.downcast_ref::<PasswordRequest>());
        assert_eq!((request, got.len()), (Some(&PasswordRequest::Cleartext), 0));
    }

    /// Input without end is read in turns.
    #[tokio::test]
    async fn g12_a_flood_leaves_other_tasks_their_turns() -> io::Result<()> {
        const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let reader = Reader::new(false, AnswerLimit::default(), Secrets::default());
        let mut stream = guarded(client, reader);
        let notices = b"N\0\0\0\x04".repeat(200_000);
        server
            .write_all(&[READY_FOR_QUERY, &notices, READY_FOR_QUERY].concat())
            .await?;
        let (mut turns, mut got) = (0, [0; 2 * READY_FOR_QUERY.len()]);
        let mut got = ReadBuf::new(&mut got);
        while got.remaining() > 0 {
            std::future::poll_fn(|context| {
                turns += 1;
                Pin::new(&mut stream).poll_read(context, &mut got)
            })
            .await?;
        }
        // One for each 16 KiB, and one for the first answer.
        assert_eq!(turns, 63);
        Ok(())
    }

    /// A notice is no end of the stream, and no read returns more than its buffer holds.
    #[tokio::test]
    async fn g5_what_is_left_out_does_not_end_the_stream() -> io::Result<()> {
        let (mut server, client) = tokio::io::duplex(1 << 20);
        let reader = Reader::new(false, AnswerLimit::default(), Secrets::default());
        let mut stream = guarded(client, reader);
        let notice = [&b"N\0\x01\0\x04"[..], &vec![b'x'; 65_536]].concat();
        let (ready, text) = (b"Z\0\0\0\x05I", b"C\0\0\0\x09text\0");
        let all = [&ready[..], &notice, &notice, text].concat();
        server.write_all(&all).await?;
        drop(server);
        let mut got: Vec<u8> = Vec::new();
        let mut piece = [0; 4];
        while let length @ 1.. = stream.read(&mut piece).await? {
            got.extend(&piece[..length]);
        }
        assert_eq!(got, [&ready[..], text].concat());
        Ok(())
    }
}
