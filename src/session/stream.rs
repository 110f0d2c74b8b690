//! The stream to a server: TCP with the options of the connection string, or a Unix socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, ToSocketAddrs, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// A stream without encryption.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Opens the stream to the one server of this configuration.
    pub(super) async fn open(config: &Config) -> io::Result<Self> {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match (config.get_hostaddrs().first(), config.get_hosts().first()) {
            (Some(address), _) => tcp((*address, port), config).await,
            (None, Some(Host::Tcp(name))) => tcp((name.as_str(), port), config).await,
            (None, Some(Host::Unix(folder))) => {
                let path = folder.join(format!(".s.PGSQL.{port}"));
                UnixStream::connect(path).await.map(Self::Unix)
            }
            (None, None) => Err(io::Error::other("no host and no address")),
        }
    }
}

async fn tcp(address: impl ToSocketAddrs, config: &Config) -> io::Result<Stream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    if let Some(timeout) = config.get_tcp_user_timeout() {
        let milliseconds = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
        sockopt::set_tcp_user_timeout(&stream, milliseconds)?;
    }
    if config.get_keepalives() {
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, config.get_keepalives_idle())?;
        if let Some(interval) = config.get_keepalives_interval() {
            sockopt::set_tcp_keepintvl(&stream, interval)?;
        }
        if let Some(retries) = config.get_keepalives_retries() {
            sockopt::set_tcp_keepcnt(&stream, retries)?;
        }
    }
    Ok(Stream::Tcp(stream))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The options of the connection string are those of the socket (G9).
    #[tokio::test]
    async fn g9_a_tcp_connection_has_the_options_of_its_string() -> io::Result<()> {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = server.local_addr()?.port();
        let options = "tcp_user_timeout=4 keepalives_idle=5 keepalives_interval=6 \
            keepalives_retries=7";
        let text = format!("host=localhost hostaddr=127.0.0.1 port={port} {options}");
        let config: Config = text.parse().map_err(io::Error::other)?;
        let Stream::Tcp(stream) = Stream::open(&config).await? else {
            return Err(io::Error::other("no TCP"));
        };
        assert!(stream.nodelay()?);
        assert!(sockopt::socket_keepalive(&stream)?);
        assert_eq!(sockopt::tcp_keepidle(&stream)?, Duration::from_secs(5));
        assert_eq!(sockopt::tcp_keepintvl(&stream)?, Duration::from_secs(6));
        assert_eq!(sockopt::tcp_keepcnt(&stream)?, 7);
        #[cfg(target_os = "linux")]
        assert_eq!(sockopt::tcp_user_timeout(&stream)?, 4000);
        Ok(())
    }
}
