//! The check of a parsed connection string.

use std::net::{IpAddr, Ipv6Addr};

use tokio_postgres::config::Host;

use super::{FORM, mistake};
use crate::settings::mistake::Mistake;

const PLAIN: &str = "write a password as in `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, \
    percent-encoded, or put it into password_file; a user or a database that has such a name takes \
    another one: ALTER ROLE … RENAME, ALTER DATABASE … RENAME";

const NO_HOST: &str = "name the host, or the directory of the Unix socket as \
    `host=/run/postgresql`";

/// Refuses what `tokio_postgres` would refuse at the connection, and names that may hold a part of
/// a secret. The mistake comes with the parameter that has it.
pub(super) fn check(config: &tokio_postgres::Config) -> Result<(), (&'static str, Mistake)> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs().len());
    let (number, ports) = (hosts.len().max(addresses), config.get_ports().len());
    if number == 0 || hosts.contains(&Host::Tcp(String::new())) {
        let what =
            format!("{FORM}, found none of a host, an address and the directory of a socket");
        return Err(("host", mistake(what, NO_HOST)));
    }
    if (!hosts.is_empty() && addresses > 0 && hosts.len() != addresses)
        || (ports > 1 && ports != number)
    {
        let what = "expected as many ports and addresses as hosts, found another number";
        let remedy = "name one port and one address for each host";
        return Err(("port", mistake(what, remedy)));
    }
    // Messages print names, and a name with another character is a mangled connection string.
    let user = config.get_user().and_then(|name| odd(name, "._-@+$"));
    let host = hosts.iter().find_map(|host| match host {
        Host::Tcp(name) if is_address(name) => None,
        Host::Tcp(name) => odd(name, "._-"),
        // The sockets of some proxies have colons in their names.
        Host::Unix(path) => odd(&path.to_string_lossy(), "._-/:@+~"),
    });
    let database = config.get_dbname().and_then(|name| odd(name, "._-+$"));
    for (name, which, found) in [
        ("user", "user", user),
        ("host", "host", host),
        ("dbname", "database", database),
    ] {
        if let Some(found) = found {
            return Err((name, odd_name(which, &found)));
        }
    }
    Ok(())
}

/// A host with this character.
pub(super) fn odd_host(character: &str) -> Mistake {
    odd_name("host", &format!("`{character}`"))
}

fn odd_name(which: &str, found: &str) -> Mistake {
    let what = format!(
        "expected a plain name as the {which}, found one with {found}, which may hold a password"
    );
    mistake(what, PLAIN)
}

/// Whether a host is an address, with or without the interface of a link-local one.
fn is_address(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match name.split_once('%') {
        Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && zone.chars().all(plain),
        None => name.parse::<IpAddr>().is_ok(),
    }
}

/// The first character of a name that is no letter, no digit and not `allowed`. In practice no name
/// of a host, a user or a database has such a character. A mistyped connection string leaves one in
/// a name: a separator, or a character that looks like one.
fn odd(name: &str, allowed: &str) -> Option<String> {
    if name.contains("://") {
        return Some("another connection string".to_owned());
    }
    let c = name
        .chars()
        .find(|c| !c.is_alphanumeric() && !allowed.contains(*c))?;
    let ascii = look_alike(c);
    Some(match ascii {
        _ if c.is_whitespace() => "white space".to_owned(),
        _ if !ascii.is_ascii_graphic() => "a character that no such name has".to_owned(),
        _ if c == ascii => format!("`{ascii}`"),
        _ => format!("what looks like `{ascii}`"),
    })
}

/// The ASCII character that a character looks like, as a full-width form or another colon does.
fn look_alike(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => u8::try_from(u32::from(c) - 0xFEE0).map_or(c, char::from),
        '\u{2236}' | '\u{A789}' | '\u{FE13}' | '\u{FE55}' => ':',
        '\u{FE54}' => ';',
        '\u{FE66}' => '=',
        _ => c,
    }
}
