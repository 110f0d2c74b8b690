//! The two forms of a connection string, a URL and `key=value` pairs.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::{ENCODE, FORM, PORT, check, mistake, not_a_dsn};
use crate::settings::mistake::Mistake;

pub(super) type Pairs = Vec<(String, String)>;

/// The parameters of a connection string.
#[derive(Default)]
pub(super) struct Given {
    pub(super) pairs: Pairs,
    /// The password of a URL, if it is not UTF-8.
    pub(super) password: Option<Vec<u8>>,
}

/// Reads a connection string in either form.
pub(super) fn read(text: &str) -> Result<Given, Mistake> {
    // Files, shells and copying put white space around it, which would become part of a name.
    let text = text.trim();
    if text.chars().any(char::is_control) {
        let what = format!("{FORM}, found control characters");
        return Err(mistake(what, "put it on one line"));
    }
    let scheme = ["postgres://", "postgresql://"]
        .into_iter()
        .find(|scheme| text.starts_with(scheme));
    match scheme {
        Some(scheme) => from_url(scheme, &text[scheme.len()..]),
        // The parameters of such a URL look like pairs.
        None if is_of_a_driver(text) || text.starts_with(QUOTES) => Err(neither(text)),
        None => Ok(Given {
            pairs: pairs(text).ok_or_else(|| neither(text))?,
            password: None,
        }),
    }
}

/// The parameters of a URL.
fn from_url(scheme: &str, rest: &str) -> Result<Given, Mistake> {
    // The first `@` ends the credentials. An `@` in the wrong place would put half a password into
    // the name of a host or a user, which messages print, so any doubt leads to a refusal.
    let (credentials, address) = rest.split_at(rest.find('@').map_or(0, |at| at + 1));
    let user = credentials.split(':').next().unwrap_or_default();
    if address.contains('@') || user.contains(['/', '?']) {
        let what = format!("{FORM}, found an `@` in the wrong place");
        return Err(mistake(what, ENCODE));
    }
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    // A connection string within another has its password in the place of a host or a database,
    // which messages print.
    if address.contains("://") {
        return Err(not_a_dsn());
    }
    let base = format!("{scheme}{credentials}{address}");
    let base = base.parse::<tokio_postgres::Config>().map_err(|_| {
        let is_plain = !credentials.contains(['/', '?', '#']);
        if is_plain && ports(address).any(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            mistake(format!("{FORM}, found a port that is none"), PORT)
        } else {
            not_a_dsn()
        }
    })?;
    let mut given = of_base(&base, ports(address).next().is_some())?;
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        });
    let pairs: Option<Pairs> = pairs.collect();
    let pairs = pairs.ok_or_else(not_a_dsn)?;
    if pairs.iter().any(|(name, _)| name == "password") {
        given.password = None;
    }
    given.pairs.extend(pairs);
    Ok(given)
}

/// The parameters of the part of a URL before the `?`. An empty part counts as not given.
fn of_base(base: &tokio_postgres::Config, has_ports: bool) -> Result<Given, Mistake> {
    let hosts = base.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => Cow::Borrowed(&**name),
        Host::Unix(path) => path.to_string_lossy(),
    });
    let hosts: Vec<_> = hosts.collect();
    // The parameter `host` separates hosts by commas.
    if hosts.iter().any(|host| host.contains(',')) {
        return Err(check::odd_host(","));
    }
    let ports = base.get_ports().iter().filter(|_| has_ports);
    let ports: Vec<_> = ports.map(ToString::to_string).collect();
    let password = base.get_password().unwrap_or_default();
    let text = String::from_utf8_lossy(password);
    let pairs = [
        ("user", base.get_user().unwrap_or_default()),
        ("password", &*text),
        ("host", &*hosts.join(",")),
        ("port", &*ports.join(",")),
        ("dbname", base.get_dbname().unwrap_or_default()),
    ];
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(Given {
        pairs: pairs.collect(),
        password: str::from_utf8(password)
            .is_err()
            .then(|| password.to_owned()),
    })
}

/// The ports in the address of a URL, as text.
fn ports(address: &str) -> impl Iterator<Item = &str> {
    let hosts = address.split('/').next().unwrap_or_default();
    hosts.split(',').filter_map(|host| {
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        behind.split_once(':').map(|(_, port)| port)
    })
}

/// Percent-decodes; `None` if the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

/// Parses `key=value` pairs with the quotes and backslashes of libpq; `None` if the text is no such
/// pairs.
fn pairs(text: &str) -> Option<Pairs> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, tail) = rest.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return None;
        }
        let tail = tail.trim_start();
        let (is_quoted, tail) = match tail.strip_prefix('\'') {
            Some(tail) => (true, tail),
            None => (false, tail),
        };
        let mut value = String::new();
        let mut chars = tail.chars();
        let mut is_closed = !is_quoted;
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.push(chars.next()?),
                '\'' if is_quoted => {
                    is_closed = true;
                    break;
                }
                c if !is_quoted && c.is_whitespace() => break,
                c => value.push(c),
            }
        }
        if !is_closed || (value.is_empty() && !is_quoted) {
            return None;
        }
        pairs.push((name.to_owned(), value));
        rest = chars.as_str().trim_start();
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// A parameter in the form `key='value' `.
pub(super) fn pair(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('\'', "\\'");
    format!("{name}='{value}' ")
}

const EXAMPLE: &str = "write it like `postgres://app:PASSWORD@db.example.com:5432/platform`";

/// The quotation marks of shells and `.env` files.
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Whether it is a URL of PostgreSQL in the form of JDBC or `SQLAlchemy`.
fn is_of_a_driver(text: &str) -> bool {
    ["jdbc:", "postgres+", "postgresql+"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Neither a URL of PostgreSQL's nor pairs.
fn neither(text: &str) -> Mistake {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let (found, remedy) = match scheme {
        _ if text.starts_with("jdbc:") => (
            "a URL of JDBC",
            "drop `jdbc:`, and write `user` and `password` as in \
            `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`, or as parameters behind `?`",
        ),
        _ if is_of_a_driver(text) => (
            "a URL with the name of a driver, as SQLAlchemy has it",
            "drop `+` and the name of the driver",
        ),
        _ if text.starts_with(QUOTES) => {
            ("quotation marks around it", "take the quotation marks away")
        }
        Some(_) => ("another scheme", EXAMPLE),
        None => ("something else", EXAMPLE),
    };
    mistake(format!("{FORM}, found {found}"), remedy)
}
