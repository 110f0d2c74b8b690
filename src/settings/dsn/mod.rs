//! Connection strings: parsed, checked, and passed to `tokio_postgres` without the parts that it
//! does not know. Parameters that a string lacks come from the sources of libpq.
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
mod sorted;
mod target;

use std::path::PathBuf;

use tokio_postgres::config::Host;

use self::check::check;
use self::forms::{Pairs, pair, read};
use self::parameters::{ONCE, PLACEHOLDERS};
use self::sorted::Sorted;
use super::layers::DEFAULT;
use super::libpq::{Filled, LibpqSources};
use super::mistake::Mistake;

pub(crate) use self::sorted::{Origin, Parameter};
pub(crate) use self::target::{
    database_name, describe, is_local, is_local_by_name, is_same_database, logins, servers,
};

/// A parsed connection string, with the parameters that it lacks from the sources of libpq.
pub(crate) struct Dsn {
    /// The part for `tokio_postgres`.
    pub(crate) config: tokio_postgres::Config,
    /// The parameters that are settings of agent-sync, unless a source sets these.
    pub(crate) params: Vec<Parameter>,
    /// The parameters of the driver that come from the sources of libpq.
    pub(crate) filled: Vec<Filled>,
    /// The password file for a connection without a password.
    pub(crate) passfile: Option<PathBuf>,
    /// Whether parameters come from a service file.
    pub(crate) has_service: bool,
    /// Remarks on parameters without an effect. They quote no value.
    pub(crate) notes: Vec<(Origin, String)>,
}

/// The reason why agent-sync cannot use a connection string. It holds no text of the string. The
/// caller knows its key and its source.
fn mistake(what: impl Into<String>, remedy: &str) -> Mistake {
    Mistake::new("", "", what).remedy(remedy)
}

const FORM: &str = "expected `postgres://USER:PASSWORD@HOST:PORT/DATABASE` or `key=value` pairs";
const ENCODE: &str =
    "percent-encode special characters in user and password (`@` is %40, `/` is %2F, `?` is %3F)";
const PORT: &str = "name a number from 1 to 65535";

impl Dsn {
    /// Parses a connection string, in either form, and adds the parameters that it lacks. Without a
    /// string, all of them come from the sources of libpq.
    pub(crate) fn parse(text: Option<&str>, libpq: &LibpqSources) -> Result<Self, Mistake> {
        let given = text.map(read).transpose()?.unwrap_or_default();
        refuse_two_values(&given.pairs)?;
        let mut filled = libpq.fill(&given.pairs)?;
        let has_service = filled.iter().any(|one| one.is_of_service);
        let mut names = given.pairs.iter().map(|(name, _)| &**name);
        let is_host = |name: &str| ["host", "hostaddr"].contains(&name);
        if text.is_none() && !names.any(is_host) && !filled.iter().any(|one| is_host(&one.name)) {
            filled.push(Filled::new("host", LibpqSources::sockets(), DEFAULT));
        }
        let mut sorted = Sorted::default();
        for (name, value) in &given.pairs {
            sorted.take(name, value, None)?;
        }
        for Filled {
            name,
            value,
            origin,
            ..
        } in &filled
        {
            let taken = sorted.take(name, value, Some(origin));
            taken.map_err(|mistake| mistake.or_from(origin))?;
        }
        let passed: String = sorted
            .passed
            .iter()
            .map(|(name, value)| pair(name, value))
            .collect();
        let mut config: tokio_postgres::Config = passed.parse().map_err(|_| not_a_dsn())?;
        if let Some(bytes) = given.password {
            config.password(bytes);
        }
        let origin = |name: &str| {
            let found = filled.iter().find(|one| one.name == name);
            found.map_or("", |one| &*one.origin)
        };
        check(&config).map_err(|(name, mistake)| mistake.or_from(origin(name)))?;
        refuse_placeholder(&config).map_err(|mistake| mistake.or_from(origin("password")))?;
        let has_password = config.get_password().is_some_and(|text| !text.is_empty());
        let passfile = libpq.passfile(sorted.passfile.as_deref());
        filled.retain(|one| sorted.passed.iter().any(|(name, _)| *name == one.name));
        Ok(Self {
            config,
            params: sorted.params,
            filled,
            passfile: passfile.filter(|_| !has_password),
            has_service,
            notes: sorted.notes,
        })
    }

    /// Whether a connection uses TCP, possibly to this machine.
    pub(crate) fn is_remote(&self) -> bool {
        let tcp = |host: &Host| matches!(host, Host::Tcp(_));
        !self.config.get_hostaddrs().is_empty() || self.config.get_hosts().iter().any(tcp)
    }

    /// The origin of the password, if it comes from a source of libpq.
    pub(crate) fn password_origin(&self) -> Option<&str> {
        let found = self.filled.iter().find(|one| one.name == "password");
        found.map(|one| &*one.origin)
    }
}

fn refuse_two_values(pairs: &Pairs) -> Result<(), Mistake> {
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
fn refuse_placeholder(config: &tokio_postgres::Config) -> Result<(), Mistake> {
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

fn not_a_dsn() -> Mistake {
    mistake(format!("{FORM}, found something else"), ENCODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Dsn {
        Dsn::parse(Some(text), &LibpqSources::default())
            .unwrap_or_else(|mistake| panic!("{text}: {mistake:?}"))
    }

    fn described(text: &str) -> String {
        Dsn::parse(Some(text), &LibpqSources::default())
            .map_or_else(|mistake| mistake.what, |dsn| describe(&dsn.config))
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
        let params: Vec<_> = dsn
            .params
            .iter()
            .map(|param| (param.param, param.key, &*param.value))
            .collect();
        assert_eq!(
            params,
            [
                ("sslmode", "tls", "verify-full"),
                ("tcp_user_timeout", "tcp_user_timeout", "9000ms")
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
            let mistake = Dsn::parse(Some(text), &LibpqSources::default())
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
