//! Keeps the password from a server that nothing verifies.
//!
//! `tokio_postgres` answers whatever method of authentication the server asks for, and has no setting that rules one out. Asked for a
//! cleartext password it sends the password; asked for MD5 it sends a hash that a list of words breaks. So a reader stands between the
//! stream and the driver. It follows the messages of the server up to `AuthenticationOk`, and fails at the request for such a password.
//! The driver answers a message only when it has all of it, and of this one it never gets the end: nothing is sent.
//!
//! SCRAM passes: it proves the password without telling it.
//!
//! The same reader bounds what the driver holds in memory (G12): the driver collects a message, and an answer, until all of it is there.
//! A server that sends without end, or says that a message has two gigabytes, ends its own connection and nobody else's.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready as done};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};

/// How a server has asked for the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRequest {
    /// `AuthenticationCleartextPassword`
    #[error("in the clear")]
    Cleartext,
    /// `AuthenticationMD5Password`
    #[error("as an MD5 hash")]
    Md5,
}

/// The tag of every message of authentication.
const AUTHENTICATION: u8 = b'R';

/// The tag of `ReadyForQuery`.
const READY: u8 = b'Z';

/// How many bytes come before the body of a message: its tag and its length.
const HEAD: usize = 5;

/// How many bytes of a message of authentication tell what it is: the head, and a code.
const CODED: usize = HEAD + 4;

/// Follows the messages of the server, however they are cut into reads.
#[derive(Debug, Default)]
struct Scanner {
    /// The first bytes of the message that is being read.
    start: [u8; CODED],
    seen: usize,
    /// How many bytes of it are still to come, and of no account.
    rest: u32,
    /// The server has let the client in: it asks for no password any more.
    over: bool,
    refused: Option<PasswordRequest>,
}

impl Scanner {
    /// Takes in what the server has sent.
    fn read(&mut self, bytes: &[u8]) -> Result<(), PasswordRequest> {
        for byte in bytes {
            if self.over || self.refused.is_some() {
                break;
            }
            if self.rest > 0 {
                self.rest -= 1;
            } else {
                self.start[self.seen] = *byte;
                self.seen += 1;
                self.judge();
            }
        }
        self.refused.map_or(Ok(()), Err)
    }

    /// Looks at the start of a message, as far as it is there.
    fn judge(&mut self) {
        let [tag, length @ .., c0, c1, c2, c3] = self.start;
        if self.seen < HEAD {
            return;
        }
        // The length counts itself. One that is too short is refused by the driver, which then ends the connection.
        let Some(body) = u32::from_be_bytes(length).checked_sub(4) else {
            self.over = true;
            return;
        };
        if tag != AUTHENTICATION || body < 4 {
            return self.skip(body);
        }
        if self.seen < CODED {
            return;
        }
        match u32::from_be_bytes([c0, c1, c2, c3]) {
            0 => self.over = true,
            3 => self.refused = Some(PasswordRequest::Cleartext),
            5 => self.refused = Some(PasswordRequest::Md5),
            _ => self.skip(body - 4),
        }
    }

    fn skip(&mut self, rest: u32) {
        self.rest = rest;
        self.seen = 0;
    }
}

/// What a server may send before the session is ready, in bytes.
const GREETING: u64 = 1024 * 1024;

/// The server sends more than the driver is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the server sends more than {most} bytes in one answer, and nothing that agent-sync asks for is as large"
)]
pub(super) struct TooMuch {
    most: u64,
}

/// Counts what the server sends from one `ReadyForQuery` to the next, by the lengths that its messages announce.
#[derive(Debug)]
struct Meter {
    /// The head of the message that is being read.
    head: [u8; HEAD],
    seen: usize,
    /// How many bytes of its body are still to come.
    rest: u64,
    /// The bytes of this answer.
    sum: u64,
    /// The most bytes of this answer, and of those after it.
    most: u64,
    later: u64,
}

impl Meter {
    fn new(later: u64) -> Self {
        Self { head: [0; HEAD], seen: 0, rest: 0, sum: 0, most: GREETING.min(later), later }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Result<(), TooMuch> {
        while let Some(byte) = bytes.first() {
            if self.rest > 0 {
                let skipped = usize::try_from(self.rest).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[skipped..];
                self.rest -= skipped as u64;
                continue;
            }
            self.head[self.seen] = *byte;
            self.seen += 1;
            bytes = &bytes[1..];
            if self.seen == HEAD {
                self.seen = 0;
                let [tag, length @ ..] = self.head;
                if tag == READY {
                    (self.sum, self.most) = (0, self.later);
                }
                // The length counts itself; the driver refuses one that is shorter.
                self.rest = u64::from(u32::from_be_bytes(length).saturating_sub(4));
                self.sum += HEAD as u64 + self.rest;
                if self.sum > self.most {
                    return Err(TooMuch { most: self.most });
                }
            }
        }
        Ok(())
    }
}

/// A stream that fails where the server asks for a password that must not be sent, or sends too much.
pub(super) struct Guarded<S> {
    inner: S,
    /// Nothing where the password may be sent.
    scanner: Option<Scanner>,
    meter: Meter,
    binding: fn(&S) -> ChannelBinding,
}

impl<S> TlsStream for Guarded<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        (self.binding)(&self.inner)
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
        let before = buffer.filled().len();
        done!(Pin::new(&mut this.inner).poll_read(context, buffer))?;
        if let Some(scanner) = &mut this.scanner {
            if let Err(request) = scanner.read(&buffer.filled()[before..]) {
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::other(request)));
            }
            if scanner.over {
                this.scanner = None;
            }
        }
        if let Err(too_much) = this.meter.read(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            return Poll::Ready(Err(io::Error::other(too_much)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S> AsyncWrite for Guarded<S>
where
    S: AsyncWrite + Unpin,
{
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }
}

/// TLS, with the password kept from a server that it does not verify.
pub(super) struct Guard<T> {
    tls: T,
    withholds: bool,
    most: u64,
}

impl<T> Guard<T> {
    /// Around what connects.
    pub(super) fn new(tls: T, withholds: bool, most: u64) -> Self {
        Self { tls, withholds, most }
    }
}

impl<T> MakeTlsConnect<Socket> for Guard<T>
where
    T: MakeTlsConnect<Socket>,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send + 'static,
{
    type Stream = Guarded<T::Stream>;
    type TlsConnect = Guard<T::TlsConnect>;
    type Error = T::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        Ok(Guard { tls: self.tls.make_tls_connect(domain)?, withholds: self.withholds, most: self.most })
    }
}

impl<T> TlsConnect<Socket> for Guard<T>
where
    T: TlsConnect<Socket>,
    T::Future: Send + 'static,
{
    type Stream = Guarded<T::Stream>;
    type Error = T::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let (connecting, withholds, most) = (self.tls.connect(stream), self.withholds, self.most);
        Box::pin(async move {
            let scanner = withholds.then(Scanner::default);
            let (meter, binding) = (Meter::new(most), T::Stream::channel_binding);
            Ok(Guarded { inner: connecting.await?, scanner, meter, binding })
        })
    }
}

/// No TLS, with the password kept. The driver lets nobody between itself and a plain socket, so this is TLS to it, without a request for
/// it and with nothing done: see [`in_the_clear`].
pub(super) struct InTheClear {
    /// The most bytes of one answer.
    pub(super) most: u64,
}

impl MakeTlsConnect<Socket> for InTheClear {
    type Stream = Guarded<Socket>;
    type TlsConnect = Self;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _: &str) -> Result<Self, Infallible> {
        Ok(Self { most: self.most })
    }
}

impl TlsConnect<Socket> for InTheClear {
    type Stream = Guarded<Socket>;
    type Error = Infallible;
    type Future = Ready<Result<Guarded<Socket>, Infallible>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let scanner = Some(Scanner::default());
        let meter = Meter::new(self.most);
        ready(Ok(Guarded { inner: stream, scanner, meter, binding: |_| ChannelBinding::none() }))
    }
}

/// What to connect with through [`InTheClear`]. The driver wants a name for what it takes for TLS.
pub(super) fn in_the_clear(config: &Config) -> Config {
    let mut config = config.clone();
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(address.to_string());
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: &[u8] = b"N\0\0\0\x0bSNOTICE";
    const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
    const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";

    /// What comes of these messages when they arrive in pieces of this size.
    fn read(messages: &[&[u8]], size: usize) -> Result<bool, PasswordRequest> {
        let mut scanner = Scanner::default();
        messages.concat().chunks(size).try_for_each(|piece| scanner.read(piece))?;
        Ok(scanner.over)
    }

    #[test]
    fn s12_a_request_for_a_password_is_found_however_it_arrives() {
        use PasswordRequest::{Cleartext, Md5};
        for size in [1, 2, 3, 5, 7, 9, 1000] {
            for (messages, expected) in [
                (&[CLEARTEXT][..], Err(Cleartext)),
                (&[MD5], Err(Md5)),
                (&[NOTICE, NOTICE, MD5], Err(Md5)),
                (&[SASL, CLEARTEXT], Err(Cleartext)),
                (&[SASL, NOTICE], Ok(false)),
                (&[SASL, OK], Ok(true)),
                // What comes after is a matter of the session: here the text of a row.
                (&[OK, CLEARTEXT], Ok(true)),
                // The driver gets no further than such a length.
                (&[b"R\0\0\0\x03", CLEARTEXT], Ok(true)),
                (&[b"R\0\0\0\x06\0\0", CLEARTEXT], Err(Cleartext)),
            ] {
                assert_eq!(read(messages, size), expected, "{messages:?} by {size}");
            }
        }
    }

    #[test]
    fn s12_a_server_that_sends_without_end_is_refused() {
        const READY_FOR_QUERY: &[u8] = b"Z\0\0\0\x05I";
        let row = [b"D\0\x01\0\x04".to_vec(), vec![0; 65_536]].concat();
        let small = |number: usize| NOTICE.repeat(number);
        for size in [1, 7, 4096, 1 << 24] {
            for (messages, fits) in [
                // A length of two gigabytes is refused with the head of the message.
                (b"N\x7f\xff\xff\xf0".to_vec(), false),
                (b"R\x7f\xff\xff\xf0".to_vec(), false),
                // Before the session is ready, a megabyte in all.
                (small(1024 * 1024 / NOTICE.len()), true),
                (small(1024 * 1024 / NOTICE.len() + 1), false),
                // Then each answer has room of its own.
                ([READY_FOR_QUERY, &row.repeat(31), READY_FOR_QUERY, &row.repeat(31)].concat(), true),
                ([READY_FOR_QUERY, &row.repeat(32)].concat(), false),
                ([READY_FOR_QUERY, b"D\x7f\xff\xff\xf0"].concat(), false),
            ] {
                let mut meter = Meter::new(2 * 1024 * 1024);
                let read = messages.chunks(size).try_for_each(|piece| meter.read(piece));
                assert_eq!(read.is_ok(), fits, "{} bytes by {size}", messages.len());
            }
        }
    }

    #[test]
    fn s12_a_server_that_was_refused_stays_refused() {
        let mut scanner = Scanner::default();
        assert!(scanner.read(CLEARTEXT).is_err());
        assert!(scanner.read(OK).is_err());
    }

    #[tokio::test]
    async fn s12_the_driver_never_gets_the_end_of_such_a_request() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut server, client) = tokio::io::duplex(64);
        let binding = |_: &tokio::io::DuplexStream| ChannelBinding::none();
        let mut stream =
            Guarded { inner: client, scanner: Some(Scanner::default()), meter: Meter::new(99), binding };
        server.write_all(CLEARTEXT).await.ok();
        let mut got = Vec::new();
        let error = stream.read_buf(&mut got).await.err();
        let request = error.as_ref().and_then(|error| error.get_ref()?.downcast_ref::<PasswordRequest>());
        assert_eq!((request, got.len()), (Some(&PasswordRequest::Cleartext), 0));
    }
}
