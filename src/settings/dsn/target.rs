//! The servers and the database that a connection string leads to.

use std::net::IpAddr;

use tokio_postgres::config::Host;

/// Whether every connection stays on this machine.
pub(crate) fn is_local(config: &tokio_postgres::Config) -> bool {
    let loopback = |name: &String| {
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    };
    if config.get_hostaddrs().is_empty() {
        config.get_hosts().iter().all(|host| match host {
            Host::Tcp(name) => loopback(name),
            Host::Unix(_) => true,
        })
    } else {
        config.get_hostaddrs().iter().all(IpAddr::is_loopback)
    }
}

/// Whether two connections can lead to one database, as far as their strings show: they share a
/// host or an address with its port, and the name of the database.
pub(crate) fn is_same_database(
    one: &tokio_postgres::Config,
    other: &tokio_postgres::Config,
) -> bool {
    // Without a name of the database, PostgreSQL takes the name of the user.
    let name = |config: &tokio_postgres::Config| {
        config.get_dbname().or(config.get_user()).map(str::to_owned)
    };
    let others = endpoints(other);
    name(one) == name(other)
        && endpoints(one)
            .iter()
            .any(|own| others.iter().any(|other| own.is_same(other)))
}

/// One server of a connection string.
struct Endpoint {
    /// The host or the directory of the socket, in one spelling.
    name: Option<String>,
    address: Option<IpAddr>,
    port: u16,
}

impl Endpoint {
    fn is_same(&self, other: &Self) -> bool {
        let same = match (self.address, other.address) {
            // With an address, only the check of the certificate uses the name.
            (Some(own), Some(other)) => own.to_canonical() == other.to_canonical(),
            _ => self.name.is_some() && self.name == other.name,
        };
        same && self.port == other.port
    }
}

fn endpoints(config: &tokio_postgres::Config) -> Vec<Endpoint> {
    let (hosts, addresses, ports) = (
        config.get_hosts(),
        config.get_hostaddrs(),
        config.get_ports(),
    );
    let endpoint = |index: usize| {
        let name = hosts.get(index).map(|host| match host {
            Host::Tcp(name) => name.trim_end_matches('.').to_ascii_lowercase(),
            Host::Unix(path) => path.components().as_path().display().to_string(),
        });
        let address = addresses.get(index).copied();
        Endpoint {
            address: address.or_else(|| name.as_ref()?.parse().ok()),
            name,
            port: ports.get(index).or(ports.first()).copied().unwrap_or(5432),
        }
    };
    (0..hosts.len().max(addresses.len()))
        .map(endpoint)
        .collect()
}

/// The target of a connection, without secrets: "user app at db.example.com:5432, database platform".
pub(crate) fn describe(config: &tokio_postgres::Config) -> String {
    let ports = config.get_ports();
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) if name.contains(':') => format!("[{name}]"),
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let hosts: Vec<_> = if config.get_hosts().is_empty() {
        config
            .get_hostaddrs()
            .iter()
            .map(ToString::to_string)
            .collect()
    } else {
        hosts.collect()
    };
    let places: Vec<_> = hosts
        .iter()
        .enumerate()
        .map(|(index, host)| format!("{host}:{}", port(index)))
        .collect();
    let user = config
        .get_user()
        .map(|user| format!("user {user} at "))
        .unwrap_or_default();
    let database = config
        .get_dbname()
        .map(|name| format!(", database {name}"))
        .unwrap_or_default();
    format!("{user}{}{database}", places.join(", "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::dsn::Dsn;

    fn config(text: &str) -> tokio_postgres::Config {
        Dsn::parse(text).unwrap().config
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
            ("postgres://127.0.0.1/x", "postgres://localhost/x", false),
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
