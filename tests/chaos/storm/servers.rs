//! The servers of a storm, and the addresses at which the daemons find them.
//!
//! A storm with failover has two servers: the primary, and a synchronous standby that takes its
//! place. Each round begins with both. The daemons name two hosts, both addresses are those of
//! proxies, and a new standby gets the address of the primary that has ended.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agent_sync_testbed::{Cluster, Options};
use fastrand::Rng;

use super::Kind;
use super::link::Link;
use crate::support::eventually;
use crate::support::proxy::{Proxy, Snap};

/// Commits are flushed, so an immediate restart loses no acknowledged one.
const SETTINGS: &str =
    "synchronous_commit = on\ndeadlock_timeout = 200ms\nhba_file = 'pg_hba.conf'\n";

/// A standby that lost its primary for a moment is back at once.
const OF_TWO: &str = "wal_keep_size = 512MB\nwal_retrieve_retry_interval = 50ms\n";

/// A daemon that comes over TCP has a password.
const ACCESS: &str = "local all,replication all trust\n\
    host all storm_daemon samehost scram-sha-256\nhost all all samehost trust\n";

/// The way of one daemon to the servers.
pub struct Network {
    /// One for each server.
    proxies: Vec<Proxy>,
}

impl Network {
    async fn start(ports: &[u16]) -> Self {
        let mut proxies = Vec::new();
        for port in ports {
            proxies.push(Proxy::start(*port).await);
        }
        Self { proxies }
    }

    /// The address of the proxies, in this order.
    fn url<'a>(role: &str, proxies: impl Iterator<Item = &'a Proxy>) -> String {
        let hosts: Vec<String> = proxies.map(|proxy| host(&proxy.url(""))).collect();
        url(role, &hosts)
    }

    pub fn cut(&self) {
        self.proxies.iter().for_each(Proxy::cut);
    }

    pub fn stall(&self) {
        self.proxies.iter().for_each(Proxy::stall);
    }

    pub fn flow(&self) {
        self.proxies.iter().for_each(Proxy::flow);
    }

    pub fn delay(&self, delay: Duration) {
        self.proxies.iter().for_each(|proxy| proxy.delay(delay));
    }

    pub fn trap(&self, bytes: &[u8], snap: Snap) {
        self.proxies
            .iter()
            .for_each(|proxy| proxy.trap(bytes, snap));
    }

    pub fn disarm(&self) {
        self.proxies.iter().for_each(Proxy::disarm);
    }
}

/// Host and port in the URL of a superuser.
fn host(url: &str) -> String {
    let host = url.trim_start_matches("postgres://postgres@");
    host.trim_end_matches('/').to_owned()
}

/// The URL of the database for a role, at the one of these hosts that takes writes.
fn url(role: &str, hosts: &[String]) -> String {
    let url = format!("postgres://{role}@{}/storm", hosts.join(","));
    if hosts.len() > 1 {
        url + "?target_session_attrs=read-write&connect_timeout=2"
    } else {
        url
    }
}

/// The servers.
pub struct Servers {
    pub primary: Arc<Cluster>,
    standby: Option<Arc<Cluster>>,
    /// The former primary, which has ended.
    former: Option<Arc<Cluster>>,
    settings: String,
    /// The way of the first daemon, which the nemesis disturbs.
    pub network: Network,
    /// The way of the second one to two servers; that to one is its socket.
    second: Option<Network>,
    /// The place of the primary in each way.
    place: usize,
}

impl Servers {
    /// Starts the primary. With prepared transactions if `two_phase`.
    pub async fn start(kind: Kind, two_phase: bool) -> Self {
        let mut settings = SETTINGS.to_owned();
        if two_phase {
            settings += "max_prepared_transactions = 20\n";
        }
        if kind == Kind::Failover {
            settings += OF_TWO;
        }
        let primary = Cluster::start(options(&settings)).unwrap();
        let port = primary.port();
        let (network, second) = if kind == Kind::Failover {
            // Nothing listens at the port 1, until there is a standby.
            let ports = [port, 1];
            (
                Network::start(&ports).await,
                Some(Network::start(&ports).await),
            )
        } else {
            (Network::start(&[port]).await, None)
        };
        Self {
            primary: Arc::new(primary),
            standby: None,
            former: None,
            settings,
            network,
            second,
            place: 0,
        }
    }

    /// The URL of the database for a role, by the socket.
    pub fn url(&self, role: &str) -> String {
        let servers = std::iter::once(&self.primary).chain(&self.standby);
        let hosts: Vec<String> = servers.map(|server| host(&server.url(""))).collect();
        url(role, &hosts)
    }

    /// The URL for a daemon, which may come over TCP. The second one tries the servers in the other
    /// order.
    pub fn url_of_daemon(&self, number: usize) -> String {
        let role = "storm_daemon";
        match (number, &self.second) {
            (0, _) => Network::url(role, self.network.proxies.iter()),
            (_, Some(second)) => Network::url(role, second.proxies.iter().rev()),
            (_, None) => self.url(role),
        }
    }

    /// Makes the standby of a storm with failover if there is none, and waits until the primary
    /// waits for it.
    pub async fn complete(&mut self, admin: &mut Link) {
        let Some(second) = self.second.as_ref().filter(|_| self.standby.is_none()) else {
            return;
        };
        let (primary, former) = (Arc::clone(&self.primary), self.former.take());
        let settings = self.settings.clone();
        let making = tokio::task::spawn_blocking(move || {
            drop(former);
            primary.standby(options(&settings))
        });
        let standby = making.await.unwrap().unwrap();
        for network in [&self.network, second] {
            network.proxies[1 - self.place].lead_to(standby.port());
        }
        self.standby = Some(Arc::new(standby));
        // After the copy: a promoted standby must not wait for another one.
        admin
            .run("ALTER SYSTEM SET synchronous_standby_names = '*'")
            .await;
        admin.run("SELECT pg_reload_conf()").await;
        let client = &*admin.client().await;
        eventually("the standby is synchronous", async || {
            let sql = "SELECT FROM pg_stat_replication WHERE sync_state = 'sync'";
            !client.query(sql, &[]).await.unwrap().is_empty()
        })
        .await;
        // The checkpointer tells the sessions to wait, and reads the settings before it begins.
        admin.run("CHECKPOINT").await;
    }

    /// Restarts the primary.
    pub async fn restart(&self, mode: &str) {
        let steps = vec![
            self.primary.controlling(&["-m", mode, "stop"]),
            self.primary.controlling(&["-t", "60", "start"]),
        ];
        let done = all(steps).await;
        assert!(
            done,
            "the server does not restart ({mode}): {}",
            self.primary.log()
        );
    }

    /// Promotes the standby, and ends the primary: before it, at once or in order, or after it, so
    /// that both take writes for a moment. In that moment the former primary acknowledges none,
    /// except to a session that does not wait for the standby, such as that of a daemon.
    pub async fn fail_over(&mut self, rng: &mut Rng) {
        let Some(standby) = self.standby.take() else {
            return;
        };
        let former = std::mem::replace(&mut self.primary, standby);
        let promote = self.primary.controlling(&["-t", "60", "promote"]);
        let end = |mode| former.controlling(&["-m", mode, "stop"]);
        let steps = match rng.u32(..3) {
            0 => vec![end("immediate"), promote],
            1 => vec![end("fast"), promote],
            _ => vec![promote, end("immediate")],
        };
        let done = all(steps).await;
        assert!(
            done,
            "the standby is not promoted: {}; the former primary: {}",
            self.primary.log(),
            former.log()
        );
        self.former = Some(former);
        self.place = 1 - self.place;
    }
}

fn options(settings: &str) -> Options<'_> {
    Options {
        tcp: true,
        settings,
        files: &[("pg_hba.conf", ACCESS)],
    }
}

/// Runs commands in turn, on a blocking thread, because the writers share the event loop. Returns
/// whether all succeed.
async fn all(mut commands: Vec<Command>) -> bool {
    let done = tokio::task::spawn_blocking(move || {
        commands
            .iter_mut()
            .all(|command| command.status().is_ok_and(|status| status.success()))
    });
    done.await.unwrap()
}
