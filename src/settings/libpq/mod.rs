//! The sources of connections that PostgreSQL's own tools share: the `PG*` variables, the service
//! file and the password file.
//!
//! Their order is that of libpq: a parameter of the connection string, then one of the service,
//! then a variable, then the default; and the password file where none of them has a password. Our
//! settings come before all of them. `libpq.environment = false` leaves out the variables and the
//! default password file; a connection string can still name a service and a password file.
//!
//! Invariant: no value of such a source is part of an error.

pub(super) mod passfile;
pub(super) mod service;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::connection::UNNAMED;
use super::env::Environment;
use super::layers::{Layer, variable};
use super::mistake::Mistake;
use super::value_type::ValueType;

/// The variables, each with its parameter. Those that form an address come first: any of them
/// defines a database where no other is configured.
const VARIABLES: &[(&str, &str)] = &[
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGSERVICE", "service"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICEFILE", "servicefile"),
    ("PGSYSCONFDIR", ""),
    ("PGAPPNAME", "application_name"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCLIENTENCODING", "client_encoding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
    ("PGOPTIONS", "options"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];

/// Variables of libpq that may secure a connection, or change what a session sees, and are not
/// used.
const UNUSED: &[&str] = &[
    "PGDATESTYLE",
    "PGKRBSRVNAME",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGTZ",
];

/// The number of variables that form an address.
const ADDRESS: usize = 6;

/// The directory of the service file of all users, as Debian has it.
const SYSTEM: &str = "/etc/postgresql-common";

/// The directories of the sockets of a server of this machine, as Debian, Red Hat and PostgreSQL
/// itself have them.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A parameter that comes from a source of libpq.
#[derive(Debug)]
pub(crate) struct Filled {
    pub(crate) name: String,
    pub(crate) value: String,
    /// The variable, the line of the service file, or the default.
    pub(crate) origin: String,
    pub(crate) is_of_service: bool,
}

impl Filled {
    pub(crate) fn new(name: &str, value: &str, origin: &str) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
            is_of_service: false,
        }
    }
}

/// The environment of libpq.
#[derive(Clone, Default)]
pub(crate) struct LibpqSources {
    /// The variables by their names.
    variables: BTreeMap<&'static str, String>,
    /// The home directory.
    home: Option<PathBuf>,
    /// Whether the default password file is read.
    is_on: bool,
    /// The variable that defines the database `default`.
    first: Option<&'static str>,
    /// Variables that are set and not used.
    unused: Vec<&'static str>,
}

impl LibpqSources {
    /// Takes the variables from the environment; none of them if libpq's sources are switched off.
    pub(crate) fn of(env: &Environment, is_on: bool, mistakes: &mut Vec<Mistake>) -> Self {
        let mut libpq = Self {
            home: env.get("HOME").map(PathBuf::from),
            is_on,
            ..Self::default()
        };
        let is_set = |name: &&&str| is_on && env.get(name).is_some();
        libpq.unused.extend(UNUSED.iter().filter(is_set).copied());
        let names = VARIABLES.iter().filter(|_| is_on);
        for (name, value) in names.filter_map(|(name, _)| Some((*name, env.get(name)?))) {
            if let Some(text) = value.to_str() {
                libpq.variables.insert(name, text.to_owned());
            } else {
                let mistake = Mistake::mismatch("", variable(name), "UTF-8", "another encoding");
                mistakes.push(mistake);
            }
        }
        libpq
    }

    /// Defines the database `default` by the variables, if no other database is configured, and
    /// `default` has no connection string.
    pub(crate) fn define(&mut self, layer: &mut Layer) {
        let is_alone = layer.databases.keys().all(|name| name == UNNAMED);
        let keys = ["databases.default.url", "databases.default.url_file"];
        let is_written = keys.iter().any(|key| layer.values.get(key).is_some());
        let mut names = VARIABLES.iter().take(ADDRESS).map(|(name, _)| *name);
        let first = names.find(|name| self.variables.contains_key(name));
        if let Some(first) = first.filter(|_| is_alone && !is_written) {
            self.first = Some(first);
            let database = layer.databases.entry(UNNAMED.to_owned());
            database.or_insert_with(|| variable(first));
        }
    }

    /// Remarks on variables that are set and not used.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let note = |name: &&str| format!("{name} is set and not used: agent-sync does not read it");
        self.unused.iter().map(note)
    }

    /// The first variable of those that define this database.
    pub(crate) fn defines(&self, database: &str) -> Option<&'static str> {
        self.first.filter(|_| database == UNNAMED)
    }

    /// The parameters that a connection string lacks, from the service and the variables. `given`
    /// has the parameters of the string.
    pub(crate) fn fill(&self, given: &[(String, String)]) -> Result<Vec<Filled>, Mistake> {
        let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
        let mut filled = self.service(given)?;
        filled.retain(|line| !is_given(&line.name));
        for (name, parameter) in VARIABLES {
            let is_filled = filled.iter().any(|filled| filled.name == *parameter);
            let Some(value) = self.variables.get(name) else {
                continue;
            };
            if parameter.is_empty() || is_given(parameter) || is_filled {
                continue;
            }
            filled.push(Filled::new(parameter, value, &variable(name)));
        }
        Ok(filled)
    }

    /// The directory of the sockets of this machine, for a connection without a host.
    pub(crate) fn sockets() -> &'static str {
        let exists = |path: &&str| Path::new(path).is_dir();
        SOCKETS.into_iter().find(exists).unwrap_or(SOCKETS[0])
    }

    /// The password file: the one that is named, else the one of the home directory.
    pub(crate) fn passfile(&self, named: Option<&str>) -> Option<PathBuf> {
        let of_home = || Some(self.home.as_ref().filter(|_| self.is_on)?.join(".pgpass"));
        named.map(PathBuf::from).or_else(of_home)
    }

    /// The parameters of the service that the string or `PGSERVICE` names; none without a name.
    fn service(&self, given: &[(String, String)]) -> Result<Vec<Filled>, Mistake> {
        let of_string = |name: &str| {
            let found = given.iter().rfind(|(given, _)| given == name);
            found.map(|(_, value)| value)
        };
        let Some(service) = of_string("service").or_else(|| self.variables.get("PGSERVICE")) else {
            return Ok(Vec::new());
        };
        let named = of_string("servicefile").or_else(|| self.variables.get("PGSERVICEFILE"));
        let of_variable = || {
            of_string("servicefile")
                .is_none()
                .then_some("PGSERVICEFILE")
        };
        refuse_no_path(named, of_variable())?;
        let system = self.variables.get("PGSYSCONFDIR");
        refuse_no_path(system, Some("PGSYSCONFDIR"))?;
        let own = match (named, &self.home) {
            (Some(file), _) => Some((PathBuf::from(file), true)),
            (None, Some(home)) => Some((home.join(".pg_service.conf"), false)),
            (None, None) => None,
        };
        let directory = system.map_or(SYSTEM, String::as_str);
        let shared = (Path::new(directory).join("pg_service.conf"), false);
        let files: Vec<_> = own.into_iter().chain([shared]).collect();
        service::find(service, &files).map_err(|mistake| match of_string("service") {
            Some(_) => mistake,
            None => mistake.or_from(&variable("PGSERVICE")),
        })
    }
}

/// Refuses a text that is no path, because messages print paths. `name` is its variable; the caller
/// knows the source of a connection string.
fn refuse_no_path(path: Option<&String>, name: Option<&str>) -> Result<(), Mistake> {
    if path.is_none_or(|path| ValueType::SecretFile.fits(path)) {
        return Ok(());
    }
    let mistake = Mistake::mismatch("", "", ValueType::SecretFile.expected(), "another value");
    let mistake = mistake.remedy("write the path in full");
    Err(match name {
        Some(name) => mistake.or_from(&variable(name)),
        None => mistake,
    })
}

// A variable may hold a secret, so only the names are printed.
impl std::fmt::Debug for LibpqSources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.variables.keys()).finish()
    }
}
