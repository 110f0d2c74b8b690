//! A real PgBouncer between the daemon and the server (G10): refused in transaction mode, accepted
//! in session mode.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use agent_sync_testbed::Cluster;

use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::{Daemon, Platform, cluster, eventually};

/// A running `PgBouncer`. Dropping it stops it.
struct Pooler {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Pooler {
    /// Starts one for a cluster with these settings; `None` if it is not installed.
    async fn start(cluster: &Cluster, settings: &str) -> Option<Self> {
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
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
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

    fn url(&self, platform: &Platform) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{}",
            self.port,
            platform.name()
        )
    }

    fn daemon(&self, platform: &Platform) -> Daemon {
        let mut command = platform.command(&["run"]);
        command.env("DATABASE_URL", self.url(platform));
        Daemon::start(command)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn is_refused(platform: &Platform, pooler: &Pooler) {
    let daemon = pooler.daemon(platform);
    let line = daemon.logged("database unavailable").await;
    assert_eq!(
        line["cause"],
        "notifications do not arrive: the connection goes through a pooler in transaction mode"
    );
    let remedy = line["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("direct address") && remedy.contains("session mode"),
        "{remedy}"
    );
    assert_eq!(daemon.lines("connected and leading").len(), 0);
}

#[tokio::test]
async fn transaction_pooler_is_refused_with_a_remedy() {
    for mode in ["transaction", "statement"] {
        let platform = Platform::installed().await;
        let settings = format!("pool_mode = {mode}");
        let Some(pooler) = Pooler::start(cluster(), &settings).await else {
            return;
        };
        is_refused(&platform, &pooler).await;
        let mut install = platform.command(&["install"]);
        let output = install
            .env("DATABASE_URL", pooler.url(&platform))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(69), "{mode}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("pooler in transaction mode") && text.contains("direct address"),
            "{text}"
        );
        // Other clients use the same backends, so no state of agent-sync may remain in them.
        let (other, _) = connect(&pooler.url(&platform)).await;
        let left = "SELECT current_setting('search_path') || ', ' || count(*) FROM \
            pg_listening_channels()";
        let messages = other.simple_query(left).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(row, Some("\"$user\", public, 0"), "{mode}");
    }
}

/// A transaction pooler with changing backends is refused.
#[tokio::test]
async fn a_transaction_pooler_with_changing_backends_is_refused() {
    let platform = Platform::installed().await;
    let settings = "pool_mode = transaction\nserver_round_robin = 1";
    let Some(pooler) = Pooler::start(cluster(), settings).await else {
        return;
    };
    // Three clients at once make the pooler open three backends.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, _) = connect(&pooler.url(&platform)).await;
        client.simple_query("BEGIN").await.unwrap();
        clients.push(client);
    }
    for client in &clients {
        client.simple_query("COMMIT").await.unwrap();
    }
    is_refused(&platform, &pooler).await;
}

#[tokio::test]
async fn session_pooler_works() {
    // With a pool of one, the second connection of the session check gets no backend.
    for settings in [
        "pool_mode = session",
        "pool_mode = session\ndefault_pool_size = 1",
    ] {
        let platform = Platform::installed().await;
        platform.configure("a").await;
        let Some(pooler) = Pooler::start(cluster(), settings).await else {
            return;
        };
        let daemon = pooler.daemon(&platform);
        daemon.logged("caught up").await;
        for round in 1..=3 {
            // The sweep interval is long, so only a notification can cause the sync.
            platform
                .save("a", &format!(r#"{{"voice_id":"v{round}"}}"#))
                .await;
            platform
                .holds(&format!(
                    "SELECT voice_id = 'v{round}' IS TRUE FROM agent_configurations"
                ))
                .await;
        }
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
        assert!(daemon.terminate().await.success());
    }
}
