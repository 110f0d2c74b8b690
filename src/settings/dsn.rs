//! Connection strings: taken apart, checked, and put into `tokio_postgres`' hands without the parts
//! it does not know.
//!
//! `tokio_postgres` reads connection strings too, but it knows no `verify-full`, takes
//! `tcp_user_timeout` for seconds where libpq takes milliseconds, and names unknown parameters in
//! its errors, which leaks half a password when somebody forgets to percent-encode it. So it only
//! ever sees what has passed here.
//!
//! Invariant: no text of a connection string gets into an error, except names that are in the lists
//! below.

use std::net::{IpAddr, Ipv6Addr};

use tokio_postgres::config::Host;

use super::problem::Problem;

/// A connection string, taken apart.
pub(crate) struct Dsn {
    /// Everything that `tokio_postgres` is to know.
    pub(crate) config: tokio_postgres::Config,
    /// What settings of agent-sync decide unless they are set themselves: parameter, key of the
    /// database, value.
    pub(crate) params: Vec<(&'static str, &'static str, String)>,
}

/// Why a text is not a connection string that agent-sync can use; holds nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    what: String,
    remedy: &'static str,
}

impl Mistake {
    fn new(what: impl Into<String>, remedy: &'static str) -> Self {
        Self {
            what: what.into(),
            remedy,
        }
    }

    pub(crate) fn problem(self, key: String, source: &str) -> Problem {
        Problem::new(key, source, self.what).remedy(self.remedy)
    }
}

const FORM: &str = "expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `key=value` pairs";
const ENCODE: &str =
    "percent-encode special characters in user and password (`@` is %40, `/` is %2F, `?` is %3F)";
const EXAMPLE: &str = "write it like `postgres://app:PASSWORD@db.example.com:5432/platform`";
const UNKNOWN: &str = "take it out; where it is a part of the password, percent-encode that (`@` \
    is %40, `/` is %2F, `?` is %3F)";
const VALUES: &str = "PostgreSQL's manual lists its values under Parameter Key Words";
const PLAIN: &str = "write a password as in `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, \
    percent-encoded, or put it into password_file; a user or a database that has such a name takes \
    another one: ALTER ROLE … RENAME, ALTER DATABASE … RENAME";
const PORT: &str = "name a number from 1 to 65535";

/// Parameters that settings of agent-sync decide, with the key of a database and the unit that
/// makes it a setting.
const OWN: &[(&str, &str, &str)] = &[
    ("sslmode", "tls", ""),
    ("sslrootcert", "tls_root_cert", ""),
    ("connect_timeout", "connect_timeout", "s"),
    ("tcp_user_timeout", "tcp_user_timeout", "ms"),
    ("keepalives_idle", "keepalives_idle", "s"),
    ("keepalives_interval", "keepalives_interval", "s"),
    ("keepalives_count", "keepalives_count", ""),
    ("keepalives_retries", "keepalives_count", ""),
];

/// Parameters that `tokio_postgres` is left to read.
const PASSED: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "keepalives",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

/// Parameters that say how a connection is secured.
const ONCE: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "channel_binding",
    "sslnegotiation",
];

const UNUSED: &str = "take it out: agent-sync does not use it";
const SCHEMAS: &str =
    "take it out, and set agents.schema and configurations.schema of this database instead";
const ONE_CONNECTION: &str =
    "take it out: agent-sync has no pool, but one connection to each database";
const ENCRYPTION: &str = "take it out, and write sslmode=require (encrypted), sslmode=verify-full \
    (encrypted, with a verified certificate) or sslmode=disable instead";

/// Parameters of other programs that are met in practice: refused, but by name, with what to do
/// instead.
const FOREIGN: &[(&str, &str)] = &[
    ("ApplicationName", "write application_name instead"),
    ("client_encoding", UNUSED),
    ("connection_limit", ONE_CONNECTION),
    ("currentSchema", SCHEMAS),
    ("fallback_application_name", UNUSED),
    ("gssencmode", UNUSED),
    ("krbsrvname", UNUSED),
    ("max_protocol_version", UNUSED),
    ("min_protocol_version", UNUSED),
    ("passfile", UNUSED),
    (
        "pgbouncer",
        "take it out, and give the address of the server or of a pooler in session mode: \
        agent-sync needs LISTEN and locks in a session of its own",
    ),
    ("pool_timeout", ONE_CONNECTION),
    ("prepareThreshold", UNUSED),
    ("replication", UNUSED),
    ("require_auth", UNUSED),
    ("requirepeer", UNUSED),
    ("schema", SCHEMAS),
    ("search_path", SCHEMAS),
    ("service", UNUSED),
    ("socket_timeout", UNUSED),
    ("ssl", ENCRYPTION),
    ("ssl_max_protocol_version", UNUSED),
    ("ssl_min_protocol_version", UNUSED),
    ("sslaccept", ENCRYPTION),
    ("sslcert", UNUSED),
    ("sslcrl", UNUSED),
    ("sslkey", UNUSED),
    ("sslpassword", UNUSED),
    ("sslsni", UNUSED),
    ("statement_cache_size", UNUSED),
    (
        "statement_timeout",
        "take it out, and set sync.statement_timeout instead",
    ),
    ("supa", UNUSED),
    (
        "uselibpqcompat",
        "take it out: agent-sync reads sslmode as libpq does",
    ),
];

impl Dsn {
    /// Takes a connection string apart, in either form.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        // Blanks and line feeds around it come from files, shells and copying, and would become
        // part of a name.
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err(Mistake::new(
                format!("{FORM}, found control characters"),
                "put it on one line",
            ));
        }
        let scheme = ["postgres://", "postgresql://"]
            .into_iter()
            .find(|scheme| text.starts_with(scheme));
        let (mut config, pairs) = match scheme {
            Some(scheme) => from_url(scheme, &text[scheme.len()..])?,
            // The parameters of such a URL look like pairs.
            None if is_of_a_driver(text) || text.starts_with(QUOTES) => return Err(neither(text)),
            None => (
                tokio_postgres::Config::new(),
                pairs(text).ok_or_else(|| neither(text))?,
            ),
        };
        for (index, (name, value)) in pairs.iter().enumerate() {
            let differs = |(other, earlier): &(String, String)| other == name && earlier != value;
            // libpq takes the last, which may be the weaker.
            if let Some(known) = ONCE.iter().find(|known| **known == name)
                && pairs.iter().take(index).any(differs)
            {
                let what = format!("expected `{known}` once, found it with two values");
                return Err(Mistake::new(what, "keep the one that is meant"));
            }
        }
        let mut params = Vec::new();
        let mut passed = String::new();
        for (name, value) in pairs {
            if let Some((own, key, unit)) = OWN.iter().find(|(own, ..)| *own == name) {
                // A zero means "no limit of our own" to libpq, that is: the parameter says nothing.
                if unit.is_empty() || value != "0" {
                    params.push((*own, *key, format!("{value}{unit}")));
                }
            } else if let Some(known) = PASSED.iter().find(|known| **known == name) {
                let pair = format!(
                    "{known}='{}' ",
                    value.replace('\\', "\\\\").replace('\'', "\\'")
                );
                if pair.parse::<tokio_postgres::Config>().is_err() {
                    let what = format!(
                        "expected a connection string, found a value that `{known}` cannot take"
                    );
                    let remedy = if *known == "port" { PORT } else { VALUES };
                    return Err(Mistake::new(what, remedy));
                }
                passed.push_str(&pair);
            } else {
                return Err(unknown(&name));
            }
        }
        overlay(&mut config, &passed.parse().map_err(|_| not_a_dsn())?);
        check(&config)?;
        Ok(Self { config, params })
    }

    /// Whether a connection goes over the network, be it to this machine.
    pub(crate) fn is_remote(&self) -> bool {
        let tcp = |host: &Host| matches!(host, Host::Tcp(_));
        !self.config.get_hostaddrs().is_empty() || self.config.get_hosts().iter().any(tcp)
    }
}

/// The marks that shells and `.env` files have around a value.
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
            "drop `jdbc:`, and give user and password in the URL",
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
    Mistake::new(format!("{FORM}, found {found}"), remedy)
}

fn not_a_dsn() -> Mistake {
    Mistake::new(format!("{FORM}, found something else"), ENCODE)
}

fn unknown(name: &str) -> Mistake {
    let (found, remedy) = match FOREIGN.iter().find(|(known, _)| *known == name) {
        Some((name, remedy)) => (format!("the parameter `{name}`"), *remedy),
        None => ("an unknown parameter".to_owned(), UNKNOWN),
    };
    Mistake::new(
        format!("expected parameters that agent-sync knows, found {found}"),
        remedy,
    )
}

type Pairs = Vec<(String, String)>;

/// Reads what stands before the `?` of a URL, and takes the parameters behind it apart.
fn from_url(scheme: &str, rest: &str) -> Result<(tokio_postgres::Config, Pairs), Mistake> {
    // The first `@` ends the credentials. Where it does so in the wrong place, half a password
    // would end up as the name of a host or of a user, which are printed; so anything doubtful is
    // refused.
    let (credentials, address) = rest
        .split_once('@')
        .map_or((None, rest), |(credentials, address)| {
            (Some(credentials), address)
        });
    let user = credentials.map_or("", |text| text.split(':').next().unwrap_or_default());
    if address.contains('@') || user.contains(['/', '?']) {
        return Err(Mistake::new(
            format!("{FORM}, found an `@` in the wrong place"),
            ENCODE,
        ));
    }
    let (address, query) = address.split_once('?').unwrap_or((address, ""));
    // A connection string within another has its password where a host or a database is, which are
    // printed.
    if address.contains("://") {
        return Err(not_a_dsn());
    }
    let base = format!(
        "{scheme}{}{address}",
        credentials
            .map(|text| format!("{text}@"))
            .unwrap_or_default()
    );
    let config = base.parse().map_err(|_| {
        let is_plain = credentials.is_none_or(|text| !text.contains(['/', '?', '#']));
        if is_plain && ports(address).any(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
            Mistake::new(format!("{FORM}, found a port that is none"), PORT)
        } else {
            not_a_dsn()
        }
    })?;
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let decoded = pair
            .split_once('=')
            .and_then(|(name, value)| Some((decode(name)?, decode(value)?)));
        pairs.push(decoded.ok_or_else(not_a_dsn)?);
    }
    Ok((config, pairs))
}

/// The ports of the hosts of a URL, as they are written.
fn ports(address: &str) -> impl Iterator<Item = &str> {
    let hosts = address.split('/').next().unwrap_or_default();
    hosts.split(',').filter_map(|host| {
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        behind.split_once(':').map(|(_, port)| port)
    })
}

/// Percent-decodes; nothing when the result is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Takes `key=value` pairs apart, with libpq's quotes and backslashes; nothing when the text is not
/// such pairs.
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
        let (quoted, tail) = tail
            .strip_prefix('\'')
            .map_or((false, tail), |tail| (true, tail));
        let mut value = String::new();
        let mut chars = tail.chars();
        let mut closed = !quoted;
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.push(chars.next()?),
                '\'' if quoted => {
                    closed = true;
                    break;
                }
                c if !quoted && c.is_whitespace() => break,
                c => value.push(c),
            }
        }
        if !closed || (value.is_empty() && !quoted) {
            return None;
        }
        pairs.push((name.to_owned(), value));
        rest = chars.as_str().trim_start();
    }
    (!pairs.is_empty()).then_some(pairs)
}

/// Puts the parameters of a URL over what stands before its `?`.
fn overlay(config: &mut tokio_postgres::Config, params: &tokio_postgres::Config) {
    if let Some(user) = params.get_user() {
        config.user(user);
    }
    if let Some(password) = params.get_password() {
        config.password(password);
    }
    if let Some(dbname) = params.get_dbname() {
        config.dbname(dbname);
    }
    if let Some(options) = params.get_options() {
        config.options(options);
    }
    if let Some(name) = params.get_application_name() {
        config.application_name(name);
    }
    for host in params.get_hosts() {
        match host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path(path),
        };
    }
    for address in params.get_hostaddrs() {
        config.hostaddr(*address);
    }
    for port in params.get_ports() {
        config.port(*port);
    }
    config
        .ssl_negotiation(params.get_ssl_negotiation())
        .keepalives(params.get_keepalives())
        .target_session_attrs(params.get_target_session_attrs())
        .channel_binding(params.get_channel_binding())
        .load_balance_hosts(params.get_load_balance_hosts());
}

/// What `tokio_postgres` would only find when it connects.
fn check(config: &tokio_postgres::Config) -> Result<(), Mistake> {
    let (hosts, addresses, ports) = (
        config.get_hosts().len(),
        config.get_hostaddrs().len(),
        config.get_ports().len(),
    );
    if hosts.max(addresses) == 0 || config.get_hosts().contains(&Host::Tcp(String::new())) {
        let what =
            format!("{FORM}, found none of a host, an address and the directory of a socket");
        return Err(Mistake::new(
            what,
            "name the host, or the directory of the Unix socket as `host=/run/postgresql`",
        ));
    }
    if (hosts > 0 && addresses > 0 && hosts != addresses)
        || (ports > 1 && ports != hosts.max(addresses))
    {
        return Err(Mistake::new(
            "expected as many ports and addresses as hosts, found another number",
            "name one port and one address for each host",
        ));
    }
    // A name with another character is a mangled connection string, and names are printed.
    let hosts = config.get_hosts().iter().filter_map(|host| match host {
        Host::Tcp(name) if is_address(name) => None,
        Host::Tcp(name) => odd(name, "._-").map(|found| ("host", found)),
        // The sockets of some proxies have colons in their names.
        Host::Unix(path) => odd(&path.to_string_lossy(), "._-/:@+~,").map(|found| ("host", found)),
    });
    let user = config
        .get_user()
        .and_then(|name| odd(name, "._-@+$"))
        .map(|found| ("user", found));
    let database = config
        .get_dbname()
        .and_then(|name| odd(name, "._-+$"))
        .map(|found| ("database", found));
    let found = user.into_iter().chain(hosts).chain(database).next();
    found.map_or(Ok(()), |(which, found)| {
        let what = format!(
            "expected a plain name as the {which}, found one with {found}, which may hold a \
            password"
        );
        Err(Mistake::new(what, PLAIN))
    })
}

/// Whether a host is an address, with the interface that a link-local one needs.
fn is_address(name: &str) -> bool {
    let plain = |zone: &str| {
        zone.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    match name.split_once('%') {
        Some((address, zone)) => address.parse::<Ipv6Addr>().is_ok() && plain(zone),
        None => name.parse::<IpAddr>().is_ok(),
    }
}

/// The first character of a name that is no letter or digit and not allowed besides. No name of a
/// host, a user or a database has such a character in practice, and a mistyped connection string
/// leaves one in it: a character that sets its parts apart, or one that looks like it.
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

/// The ASCII character that a character is easily taken for: its full-width form, or another colon.
fn look_alike(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => u8::try_from(u32::from(c) - 0xFEE0).map_or(c, char::from),
        '\u{2236}' | '\u{A789}' | '\u{FE13}' | '\u{FE55}' => ':',
        '\u{FE54}' => ';',
        '\u{FE66}' => '=',
        _ => c,
    }
}

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

/// Whether two connections can lead to one database, as far as that is known without a network: one
/// host or address with its port in common, and the same name of the database.
pub(crate) fn is_same_database(
    one: &tokio_postgres::Config,
    other: &tokio_postgres::Config,
) -> bool {
    // PostgreSQL takes the name of the user where none is given for the database.
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
            // With an address, the name serves the certificate alone.
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

/// Where a connection leads, without secrets: "user app at db.example.com:5432, database platform".
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
mod tests {
    use super::*;

    fn parsed(text: &str) -> Dsn {
        Dsn::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"))
    }

    fn described(text: &str) -> String {
        Dsn::parse(text).map_or_else(|mistake| mistake.what, |dsn| describe(&dsn.config))
    }

    #[test]
    fn both_forms_lead_to_the_same_place() {
        for text in [
            "postgres://app:pw@db.example.com:5433/platform",
            "postgresql://db.example.com:5433/platform?user=app&password=pw",
            "host=db.example.com port=5433 user=app password=pw dbname=platform",
            "host = db.example.com port=5433 user='app' password='p\\w' dbname=plat\\form",
        ] {
            assert_eq!(
                described(text),
                "user app at db.example.com:5433, database platform",
                "{text}"
            );
            let dsn = parsed(text);
            assert_eq!(dsn.config.get_password(), Some(&b"pw"[..]), "{text}");
        }
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
            assert_eq!(described(text), target, "{text}");
        }
    }

    #[test]
    fn parameters_that_settings_decide_are_taken_out() {
        let dsn =
            parsed("postgres://a@h/d?sslmode=verify-full&tcp_user_timeout=9000&connect_timeout=0");
        assert_eq!(
            dsn.params,
            [
                ("sslmode", "tls", "verify-full".to_owned()),
                ("tcp_user_timeout", "tcp_user_timeout", "9000ms".to_owned())
            ]
        );
        assert_eq!(dsn.config.get_tcp_user_timeout(), None);
    }

    #[test]
    fn parameters_that_the_driver_reads_are_passed_on() {
        let text = "postgres://a@h/d?application_name=it%27s%20%5Cme&target_session_attrs=read-write&options=-c%20x%3D1";
        let config = parsed(text).config;
        assert_eq!(config.get_application_name(), Some("it's \\me"));
        assert_eq!(config.get_options(), Some("-c x=1"));
        assert_eq!(
            config.get_target_session_attrs(),
            tokio_postgres::config::TargetSessionAttrs::ReadWrite
        );
    }

    #[test]
    fn a_mistake_never_tells_any_of_the_string() {
        for text in [
            "hunter2",
            "host=db hunter2",
            "host=db password='hunter2",
            "host=db hunter2=x",
            "host=db port=hunter2",
            "mysql://app:hunter2@db/x",
            "postgres:/app:hunter2@db/x?a=b",
            "postgres://app:p@hunter2@db/x",
            "postgres://app:p@ss?hunter2=y@db/x",
            "postgres://app:p@db/hunter2@db/x",
            "postgres://app:hunter2:db/x",
            "postgres://app:p@db:hunter2/x",
            "postgres://app@db/x?hunter2",
            "postgres://app@db/x?hunter2=y",
            "postgres:///x?password=hunter2@y",
            "postgres://app:p@db/x?sslnegotiation=hunter2",
            "dbname=postgres://app:hunter2@db/x host=db",
            "postgres://app:hunter2@db/x\nmore",
            "postgres://type ='postgres://app:hunter2st=/run/postgres",
            "postgres://db/postgres://app:hunter2",
            "host=postgres://app:hunter2 dbname=x",
            "host=/run/postgres://app:hunter2 dbname=x",
            "host=db user=postgres://app:hunter2",
            "user=app password=hunter2",
            "postgres://app:hunter2@/x",
        ] {
            let mistake = Dsn::parse(text)
                .err()
                .unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(
                !format!("{mistake:?}").contains("hunter2"),
                "{text}: {mistake:?}"
            );
        }
    }

    #[test]
    fn blanks_and_line_feeds_around_a_connection_string_are_no_part_of_it() {
        for around in ["\n", "\r\n", " ", "\t", " \n\n"] {
            for text in [
                "postgres://app:pw@db.example.com/platform",
                "host=db.example.com user=app dbname=platform",
            ] {
                let text = format!("{around}{text}{around}");
                assert_eq!(
                    described(&text),
                    "user app at db.example.com:5432, database platform",
                    "{text:?}"
                );
            }
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
                is_same_database(&parsed(one).config, &parsed(other).config),
                same,
                "{one} {other}"
            );
            assert_eq!(
                is_same_database(&parsed(other).config, &parsed(one).config),
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
            assert_eq!(is_local(&parsed(text).config), local, "{text}");
        }
    }
}
