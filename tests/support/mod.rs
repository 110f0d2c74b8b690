//! The common parts of the tests: the testbed (a real PostgreSQL, the real daemon as a process),
//! and databases with the platform's tables.
//!
//! One cluster serves a test process; every test has its own database in it. Tests that stop or
//! restart the server start their own cluster. No helper sleeps for a result: [`eventually`] waits
//! for a condition.

pub mod command;
pub mod false_server;
pub mod http;
pub mod platform;
pub mod pooler;
pub mod qualified;
pub mod shadow;
pub mod splitting;

use std::sync::OnceLock;

pub use agent_sync_testbed::{
    Cluster, Daemon, Options, TIMEOUT, eventually, peak_memory_kib, proxy,
};

pub use command::Said;
pub use platform::Platform;

/// The cluster of this test process. It is never dropped; its keeper removes it when the process
/// ends.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(Options::default()).expect("a throwaway PostgreSQL"))
}

/// A second cluster, which also listens on 127.0.0.1 and, if IPv6 is available, on `::1`.
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

/// An address of this machine other than loopback, which counts as another host. Without one, the
/// test prints that and is skipped.
pub fn own_address() -> Option<std::net::IpAddr> {
    // No packet is sent; the kernel chooses the local address.
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

/// A standby server of a primary; `None` without `pg_basebackup`, and the test is skipped.
pub fn standby(primary: &Cluster) -> Option<Cluster> {
    can_have_standby(primary).then(|| primary.standby(Options::default()).unwrap())
}

/// Whether there is `pg_basebackup`, which makes a standby; otherwise prints that the test is
/// skipped.
pub fn can_have_standby(primary: &Cluster) -> bool {
    let can = primary.has_program("pg_basebackup");
    if !can {
        eprintln!(
            "skipped: these server programs come without pg_basebackup, which makes a standby"
        );
    }
    can
}
