//! One database: its connection, and the check of settings that must agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{ChannelBinding, Host, SslMode};

use super::bounded;
use super::columns::ConfigurationsColumns;
use super::connection::Connection;
use super::dsn;
use super::identity::Identity;
use super::layers::{DEFAULT, Values};
use super::libpq::{LibpqSources, passfile};
use super::problem::{Problem, SettingsError};
use super::secrets::{SecretFiles, read_secret};
use super::sections::Database;
use super::words::Tls;

/// Everything about a connection that no setting holds by itself: addresses, user and password, and
/// the files with secrets. Neither field prints a secret.
#[derive(Debug, Clone, Default)]
pub(super) struct Access {
    pub(super) config: tokio_postgres::Config,
    pub(super) secrets: Option<SecretFiles>,
    /// The passwords of the servers, in their order, from the password file of libpq.
    passwords: Vec<Option<SecretString>>,
    /// Why the password file of libpq is not used.
    pub(super) unused_passfile: Option<String>,
}

impl PartialEq for Access {
    /// A password that comes from a file does not count.
    fn eq(&self, other: &Self) -> bool {
        let comparable = |access: &Self| {
            let mut config = access.config.clone();
            if access.secrets.is_some() {
                config.password("");
            }
            config
        };
        self.secrets == other.secrets && comparable(self) == comparable(other)
    }
}

impl Eq for Access {}

/// A database as its sources describe it.
pub(super) struct Described {
    pub(super) connection: Connection,
    /// The values in force.
    pub(super) values: Values,
    /// The database, if the values are free of mistakes.
    pub(super) database: Option<Database>,
}

impl Described {
    /// Reads the connection string of a database and builds the database, or reports every reason
    /// why that is not possible. `given` has the values of the sources for this database.
    pub(super) fn read(
        name: &str,
        origin: &str,
        given: &Values,
        libpq: &Arc<LibpqSources>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let connection = Connection::of(name, origin, given, libpq, problems)?;
        let mut implied = connection.implied(name, given);
        problems.append(&mut implied.problems);
        let defaults = Values::defaults(Some(name));
        let values = Values::merged([&defaults, &implied.values, given]);
        let secrets = SecretFiles::of(name, origin, given, libpq, &connection.dsn);
        let database = Database::build(name, &values, &connection, secrets, problems);
        Some(Self {
            connection,
            values,
            database,
        })
    }
}

impl Database {
    /// The configuration of a connection: TLS demanded or declined, time-outs, keepalives, and the
    /// password.
    pub fn connect_config(&self) -> tokio_postgres::Config {
        let mut config = self.access.config.clone();
        let mode = match self.tls {
            Tls::Disable => SslMode::Disable,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        };
        config
            .ssl_mode(mode)
            .connect_timeout(self.connect_timeout)
            .tcp_user_timeout(self.tcp_user_timeout)
            .keepalives_idle(self.keepalives_idle)
            .keepalives_interval(self.keepalives_interval)
            .keepalives_retries(self.keepalives_count);
        config
    }

    /// Whether TLS proves the identity of the server. Anyone can get a certificate of a public
    /// authority for some name, so `verify-ca` proves it only with authorities of one's own.
    pub fn is_server_verified(&self) -> bool {
        match self.tls {
            Tls::VerifyFull => true,
            Tls::VerifyCa => self.tls_root_cert.is_some(),
            Tls::Disable | Tls::Require => false,
        }
    }

    /// The address of the database, without secrets: "user app at db.example.com:5432, database
    /// platform".
    pub fn target(&self) -> String {
        dsn::describe(&self.access.config)
    }

    /// Whether secrets of this database come from files. They are read before each connection.
    pub fn has_secret_files(&self) -> bool {
        self.access.secrets.is_some()
    }

    /// Whether a connection of this database needs any file, or a command. A changed file may end
    /// an outage.
    pub fn has_files(&self) -> bool {
        self.has_secret_files()
            || self.password_command.is_some()
            || self.tls_root_cert.is_some()
            || self.tls_cert.is_some()
    }

    /// The database with the current content of its files of secrets (G15). Blocks on the files.
    pub fn with_secrets_read_again(&self) -> Result<Self, SettingsError> {
        match &self.access.secrets {
            Some(files) => files.read(self),
            None => Ok(self.clone()),
        }
    }

    /// The passwords of the servers, in their order, if they come from the password file of libpq.
    pub(crate) fn passwords(&self) -> &[Option<SecretString>] {
        &self.access.passwords
    }

    /// Why the password file of libpq is not used, where a password could come from it.
    pub(crate) fn unused_passfile(&self) -> Option<&str> {
        self.access.unused_passfile.as_deref()
    }

    /// The password file of libpq, if a password comes from it.
    pub(super) fn passfile_in_use(&self) -> Option<&Path> {
        let file = self.access.secrets.as_ref()?.passfile.as_deref();
        file.filter(|_| self.access.passwords.iter().any(Option::is_some))
    }

    /// The database with the passwords of a password file of libpq. As in libpq, a file that cannot
    /// be used is passed over.
    pub(super) fn with_passfile(&self, file: &Path) -> Self {
        let mut database = self.clone();
        let found = passfile::passwords(file, &dsn::logins(&self.access.config));
        let access = &mut database.access;
        access.unused_passfile = found.as_ref().err().cloned();
        access.passwords = found.unwrap_or_default();
        database
    }

    /// The database with this password.
    pub(crate) fn with_password(&self, password: &SecretString) -> Self {
        let mut database = self.clone();
        let config = &mut database.access.config;
        config.password(password.expose_secret());
        database
    }

    /// Makes a database of values that the schema has accepted, or reports what does not agree.
    fn build(
        name: &str,
        values: &Values,
        connection: &Connection,
        secrets: Option<SecretFiles>,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let before = problems.len();
        let section = format!("databases.{name}.");
        // `connection` has read the connection string.
        let fields = values.select(|key| {
            let key = key.strip_prefix(&section)?;
            (!["url", "url_file"].contains(&key)).then_some(key)
        });
        let mut database: Self = fields.deserialize(problems)?;
        name.clone_into(&mut database.name);
        database.access.config = connection.dsn.config.clone();
        if let Some(file) = secrets.as_ref().and_then(|files| files.passfile.as_ref()) {
            database = database.with_passfile(file);
        }
        database.access.secrets = secrets;
        let mut check = Check {
            section,
            values,
            problems,
        };
        check.password_file(&mut database);
        check.tls(&database);
        check.identity(&database);
        check.tables(&database);
        check.columns();
        check.tenants(&database);
        (problems.len() == before).then_some(database)
    }
}

/// The check of one database.
struct Check<'a> {
    /// `databases.NAME.`
    section: String,
    values: &'a Values,
    problems: &'a mut Vec<Problem>,
}

impl Check<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.section)
    }

    fn origin(&self, name: &str) -> &str {
        self.values.origin(&self.key(name))
    }

    fn mismatch(&mut self, name: &str, expected: &str, found: &str, remedy: &str) {
        let problem = Problem::mismatch(self.key(name), self.origin(name), expected, found);
        self.problems.push(problem.remedy(remedy));
    }

    fn password_file(&mut self, database: &mut Database) {
        let Some(file) = &database.password_file else {
            return;
        };
        if database.password_command.is_some() {
            return self.mismatch(
                "password_command",
                "one of password_file and password_command",
                "both",
                "leave one of them out",
            );
        }
        let key = self.key("password_file");
        match read_secret(file, &key, self.values.origin(&key)) {
            Ok(password) => *database = database.with_password(&password),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn tls(&mut self, database: &Database) {
        let config = &database.access.config;
        let is_unix = |host: &Host| matches!(host, Host::Unix(_));
        let is_socket = config.get_hostaddrs().is_empty() && config.get_hosts().iter().any(is_unix);
        if is_socket && database.tls != Tls::Disable {
            return self.mismatch(
                "tls",
                "\"disable\" for a Unix socket, on which PostgreSQL knows no TLS",
                "another mode",
                "leave out tls, tls_root_cert, tls_cert and tls_key",
            );
        }
        if database.tls == Tls::Disable && config.get_channel_binding() == ChannelBinding::Require {
            return self.mismatch(
                "tls",
                "a connection with TLS for channel_binding=require",
                "\"disable\"",
                "set tls to \"verify-full\", or take channel_binding out",
            );
        }
        let Some(file) = &database.tls_root_cert else {
            return;
        };
        let (what, remedy) = match (database.tls, certificates(file)) {
            (Tls::Disable | Tls::Require, _) => (
                "has no effect, because tls does not ask for the certificate to be verified".into(),
                "set tls to \"verify-full\" or \"verify-ca\", or leave out tls_root_cert",
            ),
            (_, Err(what)) => (what, "name a readable PEM file"),
            (_, Ok(())) => return,
        };
        let key = self.key("tls_root_cert");
        let problem = Problem::new(&key, self.values.origin(&key), what);
        self.problems.push(problem.remedy(remedy));
    }

    /// Reports a certificate of the client that cannot be used.
    fn identity(&mut self, database: &Database) {
        let (cert, key) = match (&database.tls_cert, &database.tls_key) {
            (None, None) => return,
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => {
                return self.mismatch(
                    "tls_cert",
                    "a tls_key beside the certificate",
                    "none",
                    "set tls_key, or leave out tls_cert",
                );
            }
            (None, Some(_)) => {
                return self.mismatch(
                    "tls_key",
                    "a tls_cert beside the key",
                    "none",
                    "set tls_cert, or leave out tls_key",
                );
            }
        };
        let (setting, what, remedy) = if database.tls == Tls::Disable {
            let what = "has no effect, because tls is \"disable\"".to_owned();
            let remedy = "set tls to \"verify-full\", \"verify-ca\" or \"require\", or leave out \
                tls_cert and tls_key";
            ("tls_cert", what, remedy.to_owned())
        } else {
            match Identity::read(cert, key) {
                Ok(_) => return,
                Err(error) => (error.setting, error.what, error.remedy),
            }
        };
        let key = self.key(setting);
        let problem = Problem::new(&key, self.values.origin(&key), what);
        self.problems.push(problem.remedy(remedy));
    }

    fn tables(&mut self, database: &Database) {
        let (agents, configurations) = (&database.agents, &database.configurations);
        if (&agents.schema, &agents.table) != (&configurations.schema, &configurations.table) {
            return;
        }
        let name = match self.origin("configurations.table") {
            DEFAULT => "agents.table",
            _ => "configurations.table",
        };
        self.mismatch(
            name,
            "one table of agents and another of configurations",
            &format!("{}.{} for both", agents.schema, agents.table),
            "name the table that the platform saves, and the one that its runtime reads",
        );
    }

    /// Reports a tenant in one of the two tables alone.
    fn tenants(&mut self, database: &Database) {
        let names = ["agents.columns.tenant", "configurations.columns.tenant"];
        let (agents, configurations) = (&database.agents, &database.configurations);
        let tenants = (&agents.columns.tenant, &configurations.columns.tenant);
        let (set, missing) = match tenants {
            (Some(_), None) => (names[0], names[1]),
            (None, Some(_)) => (names[1], names[0]),
            _ => return,
        };
        let remedy = format!("set {missing} as well, or leave out {set}");
        self.mismatch(set, &format!("{missing} beside it"), "none", &remedy);
    }

    /// Reports two uses of one column of the configurations: no statement can write a column twice.
    /// (The columns of the agents are only read.)
    fn columns(&mut self) {
        let values = self.values;
        let mut uses = BTreeMap::new();
        for key in ConfigurationsColumns::KEYS {
            let name = key.path.trim_start_matches("databases.*.");
            let Some(column) = values.text(&self.key(name)) else {
                continue;
            };
            let first = *uses.entry(column).or_insert(name);
            if first != name {
                // The message points at the one that a source sets.
                let is_default = self.origin(name) == DEFAULT;
                let (at, other) = if is_default {
                    (first, name)
                } else {
                    (name, first)
                };
                let found = format!(
                    "the one of {}",
                    other.trim_start_matches("configurations.columns.")
                );
                self.mismatch(at, "a column of its own", &found, "name another column");
            }
        }
    }
}

/// Whether a file seems to hold certificates; otherwise the reason.
fn certificates(file: &Path) -> Result<(), String> {
    let place = file.display();
    let bytes = bounded::read(file, bounded::LONGEST)
        .map_err(|error| format!("cannot read {place}: {error}"))?;
    if String::from_utf8_lossy(&bytes).contains("-----BEGIN CERTIFICATE-----") {
        Ok(())
    } else {
        Err(format!(
            "expected certificates in PEM form in {place}, found none"
        ))
    }
}
