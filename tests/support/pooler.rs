//! A real `PgBouncer` in front of a cluster.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use agent_sync_testbed::Cluster;

use super::eventually;

/// A running `PgBouncer`. Dropping it stops it.
pub struct Pooler {
    user: String,
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one for a cluster, with these settings, which connects as this user; `None` if it is
    /// not installed.
    pub async fn start(cluster: &Cluster, user: &str, settings: &str) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .chain([PathBuf::from("/usr/sbin")])
            .map(|folder| folder.join("pgbouncer"))
            .find(|program| program.is_file());
        let Some(program) = program else {
            eprintln!("skipped: there is no pgbouncer; as root, scripts/postgres.sh installs it");
            return None;
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
            listen_port = {port}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
            cluster.folder().display(),
            cluster.port(),
        );
        std::fs::write(&file, text).unwrap();
        // PgBouncer also refuses to run as root.
        let mut command = cluster.program(program.to_str().unwrap());
        command
            .arg("-q")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let pooler = Self {
            user: user.to_owned(),
            child,
            port,
            _folder: folder,
        };
        eventually("the pooler listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        })
        .await;
        Some(pooler)
    }

    /// The URL of a database through it.
    pub fn url(&self, database: &str) -> String {
        let Self { user, port, .. } = self;
        format!("postgres://{user}@127.0.0.1:{port}/{database}")
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
