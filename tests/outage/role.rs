//! A platform on a server that asks every role but the superuser for a password, and the role of
//! its daemon.

use std::sync::OnceLock;

use agent_sync_testbed::{Cluster, Options};

use crate::support::platform::{EXAMPLE, EXPECTED, TABLES};
use crate::support::{Platform, eventually};

/// The server. It listens on its socket and on 127.0.0.1.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        Cluster::start(Options {
            tcp: true,
            settings: "hba_file = 'pg_hba.conf'\nlog_connections = on",
            files: &[(
                "pg_hba.conf",
                "local all postgres trust\nlocal all all scram-sha-256\n\
                 host all all samehost scram-sha-256\n",
            )],
        })
        .unwrap()
    })
}

/// A platform with a configuration of the agent `a`, and the role of its daemon.
pub struct DaemonRole {
    pub platform: Platform,
    pub name: String,
}

impl DaemonRole {
    pub async fn new(password: &str) -> Self {
        let platform = Platform::with_tables(cluster(), TABLES).await;
        let name = format!("daemon_of_{}", platform.name());
        let installed = platform.says(&["install", "--role", &name]).await;
        assert_eq!(installed.code, 0, "{installed:?}");
        platform.configure("a").await;
        let role = Self { platform, name };
        role.change_password(password).await;
        role
    }

    pub async fn change_password(&self, password: &str) {
        let sql = format!("ALTER ROLE {} PASSWORD '{password}'", self.name);
        self.platform.run(&sql).await;
    }

    /// Ends its sessions, like a failover.
    pub async fn end_sessions(&self) {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{}'",
            self.name
        );
        self.platform.value::<i64>(&sql).await;
    }

    /// Waits until the check of the server beside the first sweep has its connection. The daemon
    /// begins no other one by itself before the next sweep.
    pub async fn server_is_rechecked(&self) {
        let authorized = format!("connection authorized: user={} ", self.name);
        eventually("the check of the server has a connection", async || {
            cluster()
                .log()
                .lines()
                .any(|line| line.contains(&authorized) && line.contains("=agent-sync probe"))
        })
        .await;
    }

    /// Saves the agent and waits for its configuration.
    pub async fn is_served(&self) {
        self.platform
            .run("UPDATE agent_configurations SET provider_config = '{}'")
            .await;
        self.platform.run("DELETE FROM agents").await;
        self.platform.save("a", EXAMPLE).await;
        self.platform.becomes("a", EXPECTED).await;
    }
}
