//! Keeps the password from a server that nothing verifies.
//!
//! `tokio_postgres` uses any authentication method that the server requests, and has no setting
//! that rules one out. For a cleartext request it sends the password; for an MD5 request it sends a
//! hash that a dictionary attack breaks. So a reader between the stream and the driver follows the
//! messages of the server up to `AuthenticationOk`, and fails at such a request. The driver answers
//! a message only when the message is complete, and the reader withholds the end of this one, so
//! nothing is sent.
//!
//! SCRAM passes: it proves the password without sending it. A server that asks for few iterations
//! is refused, because it could run a dictionary attack on the proof.
//!
//! The same reader bounds the memory of the driver (G12), which collects a message and an answer
//! until they are complete, and keeps the parameters of the session. A server that sends without
//! end, or announces a message of two gigabytes, loses its connection; other connections are not
//! affected.

mod parameters;
mod reader;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready as done};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};

pub use reader::PasswordRequest;

use self::reader::{Reader, Refusal};
use crate::pg::AnswerLimit;

/// A stream that fails where the server asks for a password that must not be sent, or sends too
/// much.
pub(super) struct Guarded<S> {
    inner: S,
    reader: Reader,
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
        if let Err(refusal) = this.reader.read(&buffer.filled()[before..]) {
            buffer.set_filled(before);
            return Poll::Ready(Err(match refusal {
                Refusal::Password(request) => io::Error::other(request),
                Refusal::Parameters | Refusal::TooMany | Refusal::TooMuch { .. } => {
                    io::Error::other(refusal)
                }
            }));
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
    pub(super) tls: T,
    /// Whether the password is kept from the server.
    pub(super) withholds: bool,
    /// The most memory for one answer.
    pub(super) most: AnswerLimit,
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
        Ok(Guard {
            tls: self.tls.make_tls_connect(domain)?,
            withholds: self.withholds,
            most: self.most.clone(),
        })
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
            let binding = T::Stream::channel_binding;
            Ok(Guarded {
                inner: connecting.await?,
                reader: Reader::new(withholds, most),
                binding,
            })
        })
    }
}

/// No TLS. The driver permits no reader between itself and a plain socket. So for the driver this
/// is TLS, without a request for it and without encryption: see [`in_the_clear`].
#[derive(Clone)]
pub(super) struct InTheClear {
    /// Whether the password is kept from the server.
    pub(super) withholds: bool,
    /// The most memory for one answer.
    pub(super) most: AnswerLimit,
}

impl MakeTlsConnect<Socket> for InTheClear {
    type Stream = Guarded<Socket>;
    type TlsConnect = Self;
    type Error = Infallible;

    fn make_tls_connect(&mut self, _: &str) -> Result<Self, Infallible> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for InTheClear {
    type Stream = Guarded<Socket>;
    type Error = Infallible;
    type Future = Ready<Result<Guarded<Socket>, Infallible>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let reader = Reader::new(self.withholds, self.most);
        ready(Ok(Guarded {
            inner: stream,
            reader,
            binding: |_| ChannelBinding::none(),
        }))
    }
}

/// What to connect with through [`InTheClear`]. The driver wants a name for what it takes for TLS.
pub(super) fn in_the_clear(config: &Config) -> Config {
    let mut config = config.clone();
    config
        .ssl_mode(SslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
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

    const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";

    #[tokio::test]
    async fn s12_the_driver_never_gets_the_end_of_such_a_request() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut server, client) = tokio::io::duplex(64);
        let binding = |_: &tokio::io::DuplexStream| ChannelBinding::none();
        let mut stream = Guarded {
            inner: client,
            reader: Reader::new(true, AnswerLimit::new(999)),
            binding,
        };
        server.write_all(CLEARTEXT).await.ok();
        let mut got = Vec::new();
        let error = stream.read_buf(&mut got).await.err();
        let request = error
            .as_ref()
            .and_then(|error| error.get_ref()?.downcast_ref::<PasswordRequest>());
        assert_eq!((request, got.len()), (Some(&PasswordRequest::Cleartext), 0));
    }
}
