//! Finding the server: every host of the connection string, every address of a host, in order, and
//! each of them with the whole of its time. A server that takes a connection and says nothing must
//! not keep the next one from being asked, and `tokio_postgres` bounds only the opening of the
//! socket.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

use super::SessionError;
use crate::observe::pulse;

/// One configuration a host, in the order in which they are to be tried. A host takes its own
/// password, if it has one.
pub(super) fn hosts(all: &Config, passwords: &[Option<SecretString>]) -> Vec<Config> {
    let (names, addresses, ports) = (all.get_hosts(), all.get_hostaddrs(), all.get_ports());
    let mut each: Vec<Config> = (0..names.len().max(addresses.len()))
        .map(|index| {
            let mut one = without_hosts(all);
            match names.get(index) {
                Some(Host::Tcp(name)) => drop(one.host(name)),
                Some(Host::Unix(path)) => drop(one.host_path(path)),
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                one.hostaddr(*address);
            }
            if let Some(Some(password)) = passwords.get(index) {
                one.password(password.expose_secret());
            }
            one.port(ports.get(index).or(ports.first()).copied().unwrap_or(5432));
            one
        })
        .collect();
    if all.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut each);
    }
    each
}

/// One configuration an address of the host; the name stays, for the certificate is made out to it.
pub(super) async fn addresses(
    host: Config,
    time_limit: Duration,
) -> Result<Vec<Config>, SessionError> {
    let [Host::Tcp(name)] = host.get_hosts() else {
        return Ok(vec![host]);
    };
    if !host.get_hostaddrs().is_empty() {
        return Ok(vec![host]);
    }
    let port = host.get_ports().first().copied().unwrap_or(5432);
    let found = pulse::timeout(time_limit, tokio::net::lookup_host((name.as_str(), port)))
        .await
        .map_err(|_| SessionError::Silent(time_limit))?
        .map_err(|cause| SessionError::Name {
            name: name.clone(),
            cause,
        })?;
    let mut each: Vec<Config> = found
        .map(|address| {
            let mut one = host.clone();
            one.hostaddr(address.ip());
            one
        })
        .collect();
    if host.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut each);
    }
    Ok(each)
}

fn without_hosts(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(name) = all.get_dbname() {
        one.dbname(name);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(timeout) = all.get_connect_timeout() {
        one.connect_timeout(*timeout);
    }
    if let Some(timeout) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .target_session_attrs(all.get_target_session_attrs())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Config {
        text.parse()
            .unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn hosts_are_tried_one_by_one_with_everything_else_the_same() {
        let rest = "user=u password=p dbname=d options='-c x=1' application_name=a sslmode=require \
            sslnegotiation=direct connect_timeout=3 tcp_user_timeout=4 keepalives=1 \
            keepalives_idle=5 keepalives_interval=6 keepalives_retries=7 \
            target_session_attrs=read-write channel_binding=require load_balance_hosts=disable";
        let all = parsed(&format!(
            "host=a,/run/b hostaddr=10.0.0.1,10.0.0.2 port=1,2 {rest}"
        ));
        let first = parsed(&format!("host=a hostaddr=10.0.0.1 port=1 {rest}"));
        let second = parsed(&format!("host=/run/b hostaddr=10.0.0.2 port=2 {rest}"));
        assert_eq!(hosts(&all, &[]), [first.clone(), second.clone()]);
        let mut other = second.clone();
        other.password("other");
        let passwords = [None, Some("other".into())];
        assert_eq!(hosts(&all, &passwords), [first, other]);
        let one_port = parsed("host=a,b port=7");
        assert_eq!(
            hosts(&one_port, &[]),
            [parsed("host=a port=7"), parsed("host=b port=7")]
        );
        assert_eq!(
            hosts(&parsed("hostaddr=::1"), &[]),
            [parsed("hostaddr=::1 port=5432")]
        );
    }

    #[tokio::test]
    async fn a_name_keeps_its_place_beside_each_of_its_addresses() {
        let found = addresses(parsed("host=127.0.0.1 port=7"), Duration::from_secs(9)).await;
        assert_eq!(
            found.ok(),
            Some(vec![parsed("host=127.0.0.1 hostaddr=127.0.0.1 port=7")])
        );
        let socket = parsed("host=/run/b port=7");
        assert_eq!(
            addresses(socket.clone(), Duration::from_secs(9)).await.ok(),
            Some(vec![socket])
        );
    }
}
