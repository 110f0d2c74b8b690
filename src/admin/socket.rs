//! The Unix socket of the daemon. Only the daemon can answer there (S20).
//!
//! The protection is the directory: only the daemon's user and root can create files in it. The
//! socket has mode 0600.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// The time that a possible other daemon has to accept a connection.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// A listening socket. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Creates the socket. Replaces a socket at which no process listens, as a killed daemon leaves
    /// it.
    pub(super) async fn make(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                check_unused(path).await?;
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let socket = Self {
            listener,
            path: path.to_owned(),
        };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let (own, folder) = (
            fs::metadata(path)?.uid(),
            fs::metadata(path.parent().unwrap_or(path))?.uid(),
        );
        if folder != 0 && folder != own {
            return Err(io::Error::other(format!(
                "its directory belongs to the user {folder}"
            )));
        }
        Ok(socket)
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A file that remains is replaced by the next daemon.
        let _ = fs::remove_file(&self.path);
    }
}

/// Fails with the reason why the path is in use, unless it is a socket without a listener.
async fn check_unused(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("something else is there, and no socket"));
    }
    match timeout(TIME_LIMIT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) => Err(error),
        // A hung process still owns the socket.
        Ok(Ok(_)) | Err(_) => Err(io::Error::other("another process listens there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s20_a_socket_is_the_owners_alone_and_takes_no_place_that_is_in_use() -> io::Result<()>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("admin.sock");
        let socket = Socket::make(&path).await?;
        assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        let refused = Socket::make(&path).await.map_err(|error| error.to_string());
        assert_eq!(
            refused.err().as_deref(),
            Some("another process listens there")
        );
        drop(socket);
        assert!(!path.exists());
        // A killed daemon leaves its socket.
        drop(std::os::unix::net::UnixListener::bind(&path)?);
        assert!(path.exists());
        drop(Socket::make(&path).await?);
        fs::write(&path, "a file of somebody")?;
        assert!(Socket::make(&path).await.is_err());
        assert_eq!(fs::read(&path)?, b"a file of somebody");
        Ok(())
    }
}
