//! What the tests stand on: the testbed (a real PostgreSQL, the real daemon as a process), and
//! databases with the platform's tables.
//!
//! One cluster serves a test process; every test has a database of its own in it. Tests that stop
//! or restart the server start a cluster of their own. Nothing here sleeps for a result:
//! [`eventually`] waits for a condition.

pub mod http;
pub mod platform;
pub mod shadow;
pub mod verb;

use std::sync::OnceLock;

pub use agent_sync_testbed::{Cluster, Daemon, Options, PATIENCE, eventually, proxy};

pub use platform::Platform;
pub use verb::Said;

/// The cluster of this test process. It is never dropped; its keeper removes it when the process
/// ends.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(Options::default()).expect("a throwaway PostgreSQL"))
}

/// Another one, which listens on 127.0.0.1 and, where there is IPv6, on `::1` as well.
pub fn tcp_cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let six = std::net::TcpListener::bind("[::1]:0").is_ok();
        let settings = if six {
            "listen_addresses = '127.0.0.1, ::1'"
        } else {
            ""
        };
        let options = Options {
            tcp: true,
            settings,
            ..Options::default()
        };
        Cluster::start(options).expect("a throwaway PostgreSQL")
    })
}

/// An address of this machine that is not loopback: what goes there counts as going to another
/// host. Where there is none, the test says so, and is skipped.
pub fn own_address() -> Option<std::net::IpAddr> {
    // Nothing is sent: the system says by which address it would go.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let address = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr())
        .map(|own| own.ip());
    let address = address
        .ok()
        .filter(|address| !address.is_loopback() && !address.is_unspecified());
    if address.is_none() {
        eprintln!("skipped: this machine has no address besides loopback");
    }
    address
}

/// A standby server of this one, unless its programs do not come with what makes one: then the test
/// says so, and is skipped.
pub fn standby(primary: &Cluster) -> Option<Cluster> {
    if primary.has_program("pg_basebackup") {
        return Some(primary.standby(Options::default()).unwrap());
    }
    eprintln!("skipped: these server programs come without pg_basebackup, which makes a standby");
    None
}
