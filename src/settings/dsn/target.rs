//! The servers and the database that a connection string leads to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::settings::libpq::passfile::Login;

/// One server of a connection string.
struct Endpoint<'a> {
    host: Option<&'a Host>,
    address: Option<IpAddr>,
    port: u16,
}

fn endpoints(config: &Config) -> impl Iterator<Item = Endpoint<'_>> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    (0..hosts.len().max(addresses.len())).map(move |index| Endpoint {
        host: hosts.get(index),
        address: addresses.get(index).copied(),
        port: *ports.get(index).or(ports.first()).unwrap_or(&5432),
    })
}

impl Endpoint<'_> {
    /// The host or the directory of the socket, in one spelling.
    fn name(&self) -> Option<String> {
        Some(match self.host? {
            Host::Tcp(name) => name.trim_end_matches('.').to_ascii_lowercase(),
            Host::Unix(path) => path.components().as_path().display().to_string(),
        })
    }

    fn address(&self) -> Option<IpAddr> {
        let address = self.address.or_else(|| self.name()?.parse().ok());
        address.map(|address| address.to_canonical())
    }

    fn is_local(&self) -> bool {
        match (self.address, self.host) {
            (Some(address), _) => address.is_loopback(),
            (None, Some(Host::Tcp(name))) => {
                let address = name.parse::<IpAddr>();
                name.eq_ignore_ascii_case("localhost")
                    || address.is_ok_and(|address| address.is_loopback())
            }
            (None, _) => true,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let is_same = match (self.address(), other.address()) {
            // With an address, only the check of the certificate uses the name.
            (Some(own), Some(other)) => own == other,
            (Some(address), None) if is_that_of_localhost(address) && other.is_localhost() => true,
            (None, Some(address)) if is_that_of_localhost(address) && self.is_localhost() => true,
            _ => self.name().is_some() && self.name() == other.name(),
        };
        is_same && self.port == other.port
    }

    fn is_localhost(&self) -> bool {
        self.name().as_deref() == Some("localhost")
    }

    fn describe(&self) -> String {
        let place = match (self.host, self.address) {
            (Some(Host::Tcp(name)), _) if name.contains(':') => format!("[{name}]"),
            (Some(Host::Tcp(name)), _) => name.clone(),
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, address) => address
                .map(|address| address.to_string())
                .unwrap_or_default(),
        };
        format!("{place}:{}", self.port)
    }
}

/// Whether `localhost` usually leads to this address.
fn is_that_of_localhost(address: IpAddr) -> bool {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].contains(&address)
}

/// The logins of a connection as a password file names them, one for each server, in their order;
/// none if the user is unknown.
pub(crate) fn logins(config: &Config) -> Vec<Login> {
    // Without a user, the driver takes the user of the process.
    let of_process = || whoami::username().ok();
    let Some(user) = config.get_user().map(str::to_owned).or_else(of_process) else {
        return Vec::new();
    };
    let database = config.get_dbname().unwrap_or(&user);
    let login = |endpoint: Endpoint<'_>| Login {
        host: match (endpoint.host, endpoint.address) {
            (Some(Host::Tcp(name)), _) => name.clone(),
            (Some(Host::Unix(path)), _) => path.display().to_string(),
            (None, address) => address
                .map(|address| address.to_string())
                .unwrap_or_default(),
        },
        port: endpoint.port,
        database: database.to_owned(),
        user: user.clone(),
    };
    endpoints(config).map(login).collect()
}

/// Whether every connection stays on this machine.
pub(crate) fn is_local(config: &Config) -> bool {
    endpoints(config).all(|endpoint| endpoint.is_local())
}

/// The same by the hosts, without the addresses that a name service has given them.
pub(crate) fn is_local_by_name(config: &Config) -> bool {
    let named = |endpoint| Endpoint {
        address: None,
        ..endpoint
    };
    endpoints(config)
        .map(named)
        .all(|endpoint| endpoint.is_local())
}

/// The name of the database. Without one, PostgreSQL takes the name of the user.
pub(crate) fn database_name(config: &Config) -> Option<&str> {
    config.get_dbname().or(config.get_user())
}

/// Whether two connections can lead to one database, as far as their strings show: they share a
/// host or an address with its port, and the name of the database.
pub(crate) fn is_same_database(one: &Config, other: &Config) -> bool {
    database_name(one) == database_name(other)
        && endpoints(one).any(|own| endpoints(other).any(|other| own.is_same(&other)))
}

/// The target of a connection, without secrets: "user app at db.example.com:5432, database
/// platform".
pub(crate) fn describe(config: &Config) -> String {
    let servers = servers(config);
    let user = config.get_user().map(|user| format!("user {user} at "));
    let database = config.get_dbname().map(|name| format!(", database {name}"));
    let (user, database) = (user.unwrap_or_default(), database.unwrap_or_default());
    format!("{user}{servers}{database}")
}

/// The servers of a connection: "db.example.com:5432".
pub(crate) fn servers(config: &Config) -> String {
    let servers: Vec<_> = endpoints(config)
        .map(|endpoint| endpoint.describe())
        .collect();
    servers.join(", ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::dsn::Dsn;
    use crate::settings::libpq::LibpqSources;

    fn config(text: &str) -> tokio_postgres::Config {
        Dsn::parse(Some(text), &LibpqSources::default())
            .unwrap()
            .config
    }

    #[test]
    fn sockets_addresses_and_several_hosts_are_described() {
        for (text, target) in [
            (
                "host=/run/postgresql user=app",
                "user app at /run/postgresql:5432",
            ),
            (
                "postgres://app@%2Frun%2Fpostgresql/x",
                "user app at /run/postgresql:5432, database x",
            ),
            (
                "postgres:///x?host=/run/postgresql&user=app",
                "user app at /run/postgresql:5432, database x",
            ),
            (
                "postgres://app@[::1]:5433/x",
                "user app at [::1]:5433, database x",
            ),
            ("hostaddr=10.0.0.1 dbname=x", "10.0.0.1:5432, database x"),
            (
                "postgres://app@a:1,b:2/x",
                "user app at a:1, b:2, database x",
            ),
        ] {
            assert_eq!(describe(&config(text)), target, "{text}");
        }
    }

    #[test]
    fn one_database_is_known_by_its_servers_and_its_name_and_not_by_its_spelling() {
        let url = "postgres://app:pw@db.example.com/platform";
        for (one, other, same) in [
            (
                url,
                "host=DB.example.com. port=5432 dbname=platform user=other",
                true,
            ),
            (url, "postgres://app@db.example.com:5433/platform", false),
            (url, "postgres://app@db.example.com/other", false),
            (url, "postgres://app@db2.example.com/platform", false),
            (
                url,
                "postgres://app@db0.example.com,db.example.com/platform",
                true,
            ),
            (
                url,
                "postgres://app@db.example.com/platform?hostaddr=10.0.0.1",
                true,
            ),
            (
                "postgres://127.0.0.1/x",
                "hostaddr=127.0.0.1 dbname=x",
                true,
            ),
            ("postgres://[::1]/x", "host=0:0:0:0:0:0:0:1 dbname=x", true),
            (
                "host=a hostaddr=10.0.0.1 dbname=x",
                "host=a hostaddr=10.0.0.2 dbname=x",
                false,
            ),
            (
                "host=/run/postgresql user=x",
                "host=/run/postgresql/ dbname=x",
                true,
            ),
            (
                "host=/run/postgresql dbname=x",
                "host=/run/other dbname=x",
                false,
            ),
            ("host=/run/postgresql", "host=/run/postgresql", true),
        ] {
            assert_eq!(
                is_same_database(&config(one), &config(other)),
                same,
                "{one} {other}"
            );
            assert_eq!(
                is_same_database(&config(other), &config(one)),
                same,
                "{other} {one}"
            );
        }
    }

    #[test]
    fn localhost_is_its_two_addresses() {
        for (one, other, same) in [
            ("postgres://127.0.0.1/x", "postgres://localhost/x", true),
            ("postgres://[::1]/x", "postgres://LOCALHOST./x", true),
            ("postgres://127.0.0.1/x", "postgres://[::1]/x", false),
            ("postgres://127.0.0.2/x", "postgres://localhost/x", false),
            (
                "postgres://127.0.0.1:1/x",
                "postgres://localhost:2/x",
                false,
            ),
            (
                "postgres://127.0.0.1/x",
                "postgres://localhost.example.com/x",
                false,
            ),
            (
                "host=a hostaddr=127.0.0.1 dbname=x",
                "postgres://localhost/x",
                true,
            ),
        ] {
            let (own, others) = (config(one), config(other));
            assert_eq!(is_same_database(&own, &others), same, "{one} {other}");
            assert_eq!(is_same_database(&others, &own), same, "{other} {one}");
        }
    }

    #[test]
    fn local_is_what_never_leaves_the_machine() {
        for (text, local) in [
            ("host=/run/postgresql", true),
            ("host=localhost", true),
            ("host=127.0.0.1", true),
            ("host=::1", true),
            ("host=db.example.com", false),
            ("host=localhost,db.example.com", false),
            ("host=db.example.com hostaddr=127.0.0.1", true),
            ("host=localhost hostaddr=10.0.0.1", false),
            ("host=localhost.example.com", false),
        ] {
            assert_eq!(is_local(&config(text)), local, "{text}");
        }
    }
}
