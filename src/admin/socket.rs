//! The Unix socket: where the daemon can be asked, and nobody else can answer (S20).
//!
//! That holds by its place: a folder in which only the daemon's user and root can make files. The
//! socket itself has mode 0600.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

/// How long a daemon that may be there is given to take a connection.
const TIME_LIMIT: Duration = Duration::from_secs(1);

/// A socket that is listened at. Dropping it takes the file away.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Makes it. One that is there and that nobody listens at was left behind by a daemon, and
    /// makes way.
    pub(super) async fn make(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                is_left_behind(path).await?;
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
        // What cannot be taken away makes way for the next.
        let _ = fs::remove_file(&self.path);
    }
}

/// Says why the path is not to be had, unless nobody listens at it any more.
async fn is_left_behind(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(io::Error::other("something else is there, and no socket"));
    }
    match timeout(TIME_LIMIT, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(error)) => Err(error),
        // One that hangs is there as well.
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
        // Left behind by a daemon that was killed.
        drop(std::os::unix::net::UnixListener::bind(&path)?);
        assert!(path.exists());
        drop(Socket::make(&path).await?);
        fs::write(&path, "a file of somebody")?;
        assert!(Socket::make(&path).await.is_err());
        assert_eq!(fs::read(&path)?, b"a file of somebody");
        Ok(())
    }
}
