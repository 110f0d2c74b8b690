//! Connection strings: parsed, checked, and passed to `tokio_postgres` without the parts that it
//! does not know.
//!
//! `tokio_postgres` parses connection strings too, but it has no `verify-full`, reads
//! `tcp_user_timeout` in seconds where libpq reads milliseconds, and quotes unknown parameters in
//! its errors, which prints half a password that is not percent-encoded. So it gets only what has
//! passed here.
//!
//! Invariant: no text of a connection string is part of an error, except the names in
//! [`parameters`].

mod check;
mod forms;
mod harmless;
mod parameters;
mod target;

use tokio_postgres::config::Host;

use self::check::check;
use self::forms::{Pairs, from_url, pair, pairs, with_parameters};
use self::harmless::{is_harmless, of_options};
use self::parameters::{FOREIGN, ONCE, OWN, PASSED, PLACEHOLDERS, UNUSED};
use super::problem::Problem;

pub(crate) use self::target::{describe, is_local, is_same_database};

/// A parsed connection string.
pub(crate) struct Dsn {
    /// The part for `tokio_postgres`.
    pub(crate) config: tokio_postgres::Config,
    /// The parameters that are settings of agent-sync, unless a source sets these: parameter, key
    /// of the database, value.
    pub(crate) params: Vec<(&'static str, &'static str, String)>,
    /// Remarks on parameters without an effect. They quote no value.
    pub(crate) notes: Vec<String>,
}

/// The reason why agent-sync cannot use a connection string. It holds no text of the string. The
/// caller knows its key and its source.
fn mistake(what: impl Into<String>, remedy: &str) -> Problem {
    Problem::new("", "", what).remedy(remedy)
}

const FORM: &str = "expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `key=value` pairs";
const ENCODE: &str =
    "percent-encode special characters in user and password (`@` is %40, `/` is %2F, `?` is %3F)";
const EXAMPLE: &str = "write it like `postgres://app:PASSWORD@db.example.com:5432/platform`";
const UNKNOWN: &str = "take it out; where it is a part of the password, percent-encode that (`@` \
    is %40, `/` is %2F, `?` is %3F)";
const VALUES: &str = "PostgreSQL's manual lists its values under Parameter Key Words";
const PORT: &str = "name a number from 1 to 65535";

impl Dsn {
    /// Parses a connection string, in either form.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        // Files, shells and copying put white space around it, which would become part of a name.
        let text = text.trim();
        if text.chars().any(char::is_control) {
            let what = format!("{FORM}, found control characters");
            return Err(mistake(what, "put it on one line"));
        }
        let scheme = ["postgres://", "postgresql://"]
            .into_iter()
            .find(|scheme| text.starts_with(scheme));
        let (base, pairs) = match scheme {
            Some(scheme) => {
                let (base, pairs) = from_url(scheme, &text[scheme.len()..])?;
                (Some(base), pairs)
            }
            // The parameters of such a URL look like pairs.
            None if is_of_a_driver(text) || text.starts_with(QUOTES) => return Err(neither(text)),
            None => (None, pairs(text).ok_or_else(|| neither(text))?),
        };
        refuse_two_values(&pairs)?;
        let mut sorted = Sorted::default();
        for (name, value) in pairs {
            sorted.take(&name, value)?;
        }
        let Sorted {
            params,
            passed,
            notes,
        } = sorted;
        let pairs = || {
            passed
                .iter()
                .map(|(name, value)| pair(name, value))
                .collect()
        };
        let passed = base.map_or_else(pairs, |base| with_parameters(base, &passed));
        let config = passed.parse().map_err(|_| not_a_dsn())?;
        check(&config)?;
        refuse_placeholder(&config)?;
        Ok(Self {
            config,
            params,
            notes,
        })
    }

    /// Whether a connection uses TCP, possibly to this machine.
    pub(crate) fn is_remote(&self) -> bool {
        let tcp = |host: &Host| matches!(host, Host::Tcp(_));
        !self.config.get_hostaddrs().is_empty() || self.config.get_hosts().iter().any(tcp)
    }
}

/// The parameters of a connection string by their use.
#[derive(Default)]
struct Sorted {
    params: Vec<(&'static str, &'static str, String)>,
    /// For the driver.
    passed: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

impl Sorted {
    /// Takes a parameter, or reports why it cannot be used.
    fn take(&mut self, name: &str, value: String) -> Result<(), Problem> {
        if let Some(note) = is_harmless(name, &value)? {
            self.notes.push(note);
        } else if let Some((own, key, unit)) = OWN.iter().find(|(own, ..)| *own == name) {
            // To libpq, a zero means "no limit": the parameter has no effect.
            if unit.is_empty() || value != "0" {
                self.params.push((*own, *key, format!("{value}{unit}")));
            }
        } else if let Some(known) = PASSED.split(' ').find(|known| *known == name) {
            let driver = pair(known, &value).parse::<tokio_postgres::Config>();
            if driver.is_err() {
                let remedy = if known == "port" { PORT } else { VALUES };
                let what = format!(
                    "expected a connection string, found a value that `{known}` cannot take"
                );
                return Err(mistake(what, remedy));
            }
            if known == "options" {
                self.notes.extend(of_options(&value));
            }
            self.passed.push((known, value));
        } else {
            return Err(unknown(name));
        }
        Ok(())
    }
}

fn refuse_two_values(pairs: &Pairs) -> Result<(), Problem> {
    for (index, (name, value)) in pairs.iter().enumerate() {
        let differs = |(other, earlier): &(String, String)| other == name && earlier != value;
        if let Some(known) = ONCE.iter().find(|known| **known == name)
            && pairs.iter().take(index).any(differs)
        {
            let what = format!("expected `{known}` once, found it with two values");
            return Err(mistake(what, "keep the one that is meant"));
        }
    }
    Ok(())
}

/// Reports a string that was copied from a dashboard, without the password put in.
fn refuse_placeholder(config: &tokio_postgres::Config) -> Result<(), Problem> {
    let password = config
        .get_password()
        .and_then(|bytes| str::from_utf8(bytes).ok());
    let is_found = |known: &&&str| password.is_some_and(|text| text.eq_ignore_ascii_case(known));
    match PLACEHOLDERS.iter().find(is_found) {
        Some(known) => {
            let what = format!("expected a password, found the placeholder `{known}` in its place");
            let remedy = "write the password in its place, percent-encoded, or leave out the \
                placeholder and set password_file";
            Err(mistake(what, remedy))
        }
        None => Ok(()),
    }
}

/// The quotation marks of shells and `.env` files.
const QUOTES: [char; 3] = ['"', '\'', '`'];

/// Whether it is a URL of PostgreSQL in the form of JDBC or `SQLAlchemy`.
fn is_of_a_driver(text: &str) -> bool {
    ["jdbc:", "postgres+", "postgresql+"]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Neither a URL of PostgreSQL's nor pairs.
fn neither(text: &str) -> Problem {
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

fn not_a_dsn() -> Problem {
    mistake(format!("{FORM}, found something else"), ENCODE)
}

fn unknown(name: &str) -> Problem {
    let foreign = FOREIGN.iter().find(|(known, _)| *known == name);
    let remedy = match foreign {
        Some((_, remedy)) => remedy,
        None if UNUSED.split(' ').any(|known| known == name) => {
            "take it out: agent-sync does not use it"
        }
        None => {
            let what = "expected parameters that agent-sync knows, found an unknown parameter";
            return mistake(what, UNKNOWN);
        }
    };
    let what = format!("expected parameters that agent-sync knows, found the parameter `{name}`");
    mistake(what, remedy)
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
        let text = "postgres://a@h/d?target_session_attrs=read-write&options=-c%20x%3D%27%5C%5C";
        let config = parsed(text).config;
        assert_eq!(config.get_options(), Some("-c x='\\\\"));
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
}
