//! One question to a running daemon over HTTP, and its answer: the client half, for
//! `agent-sync probe`. So small that it needs no crate, and a container needs no shell and no curl.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// How long the whole of it may take; a probe of a container has little time itself.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// How much of an answer is read: far more than there is.
const MOST: u64 = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or the connection broke.
    #[error("{0}")]
    Network(#[from] std::io::Error),
    /// It took too long.
    #[error("no answer within {TIME_LIMIT:?}")]
    Silent,
    /// A program of another user listens there.
    #[error(
        "a program of the user {0} listens there: expected root, this user, or the owner of the \
        directory"
    )]
    Stranger(u32),
    /// Something else listens there.
    #[error("what answers there does not speak HTTP")]
    NotHttp,
}

/// Asks for a path at this address; the status and the text of the answer.
pub async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String), AskError> {
    let address = reachable(address);
    let asking = async {
        exchange(
            TcpStream::connect(address).await?,
            &address.to_string(),
            path,
        )
        .await
    };
    tokio::time::timeout(TIME_LIMIT, asking)
        .await
        .map_err(|_| AskError::Silent)?
}

/// The same at the Unix socket, of a program of a user who may make files beside it.
pub async fn ask_socket(socket: &Path, path: &str) -> Result<(u16, String), AskError> {
    let asking = async {
        let stream = UnixStream::connect(socket).await?;
        let user = stream.peer_cred()?.uid();
        let beside = socket.parent().unwrap_or(Path::new("/"));
        // This process belongs to its user.
        let trusted = [Path::new("/proc/self"), beside].map(fs::metadata);
        if user != 0
            && !trusted
                .into_iter()
                .flatten()
                .any(|owner| owner.uid() == user)
        {
            return Err(AskError::Stranger(user));
        }
        exchange(stream, "localhost", path).await
    };
    tokio::time::timeout(TIME_LIMIT, asking)
        .await
        .map_err(|_| AskError::Silent)?
}

/// A daemon that listens on every address is asked by way of loopback.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> Result<(u16, String), AskError> {
    // With HTTP/1.0 the answer ends with the connection, and comes in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST).read_to_end(&mut answer).await?;
    parse(&String::from_utf8_lossy(&answer)).ok_or(AskError::NotHttp)
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    let status = words
        .next()
        .filter(|version| version.starts_with("HTTP/1."));
    status
        .and(words.next()?.parse().ok())
        .map(|status| (status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_body() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\ncontent-length: 3\r\n\r\nno\n";
        assert_eq!(parse(answer), Some((503, "no\n".to_owned())));
        for strange in [
            "",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "HTTP/1.0\r\n\r\n",
            "HTTP/1.0 ok ok\r\n\r\n",
            "X 200 OK\r\n\r\n",
        ] {
            assert_eq!(parse(strange), None, "{strange:?}");
        }
    }

    #[test]
    fn every_address_is_asked_by_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9878", "127.0.0.1:9878"),
            ("[::]:9878", "[::1]:9878"),
            ("10.0.0.1:9878", "10.0.0.1:9878"),
        ] {
            assert_eq!(listen.parse().map(reachable), asked.parse(), "{listen}");
        }
    }
}
