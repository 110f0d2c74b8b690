//! A minimal HTTP client for `agent-sync probe`, without a crate: one request to a running daemon.
//! So a container needs neither a shell nor curl.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The time limit of a request; a container probe has little time itself.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// The limit of an answer, in bytes; answers are far smaller.
const MOST: u64 = 1024 * 1024;

/// The reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens at the address, or the connection broke.
    #[error("{0}")]
    Network(#[from] std::io::Error),
    /// The time limit has passed.
    #[error("no answer within {TIME_LIMIT:?}")]
    Silent,
    /// The socket belongs to a program of another user.
    #[error(
        "a program of the user {0} listens there: expected root, this user, or the owner of the \
        directory"
    )]
    OtherUser(u32),
    /// The answer is not HTTP.
    #[error("the answer is not HTTP")]
    NotHttp,
}

/// Sends a request for a path to this address. Returns the status and the body of the answer.
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

/// Sends a request to the Unix socket. The server's user has to be root, this user or the owner of
/// the socket's directory.
pub async fn ask_socket(socket: &Path, path: &str) -> Result<(u16, String), AskError> {
    let asking = async {
        let stream = UnixStream::connect(socket).await?;
        let user = stream.peer_cred()?.uid();
        let beside = socket.parent().unwrap_or(Path::new("/"));
        // The owner of `/proc/self` is the user of this process.
        let trusted = [Path::new("/proc/self"), beside].map(fs::metadata);
        if user != 0
            && !trusted
                .into_iter()
                .flatten()
                .any(|owner| owner.uid() == user)
        {
            return Err(AskError::OtherUser(user));
        }
        exchange(stream, "localhost", path).await
    };
    tokio::time::timeout(TIME_LIMIT, asking)
        .await
        .map_err(|_| AskError::Silent)?
}

/// The address to connect to: loopback if the daemon listens on every address.
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
    // An HTTP/1.0 answer ends with the connection and is never chunked.
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
