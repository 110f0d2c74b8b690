//! The two forms of a connection string, a URL and `key=value` pairs: reading and writing.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{ENCODE, FORM, PORT, mistake, not_a_dsn};
use crate::settings::problem::Problem;

pub(super) type Pairs = Vec<(String, String)>;

/// Splits a URL into the part before the `?`, which is checked, and the parameters behind it.
pub(super) fn from_url(scheme: &str, rest: &str) -> Result<(String, Pairs), Problem> {
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
    base.parse::<tokio_postgres::Config>().map_err(|_| {
        let is_plain = !credentials.contains(['/', '?', '#']);
        if is_plain && ports(address).any(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            mistake(format!("{FORM}, found a port that is none"), PORT)
        } else {
            not_a_dsn()
        }
    })?;
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((decode(name)?, decode(value)?))
        });
    let pairs: Option<Pairs> = pairs.collect();
    Ok((base, pairs.ok_or_else(not_a_dsn)?))
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
pub(super) fn pairs(text: &str) -> Option<Pairs> {
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

/// A URL with parameters.
pub(super) fn with_parameters(mut url: String, parameters: &[(&str, String)]) -> String {
    let mut separator = '?';
    for (name, value) in parameters {
        // In a URL, the driver takes the value of `host` for a single host.
        let values: Vec<_> = match *name {
            "host" => value.split(',').collect(),
            _ => vec![value.as_str()],
        };
        for value in values {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            url = format!("{url}{separator}{name}={value}");
            separator = '&';
        }
    }
    url
}
