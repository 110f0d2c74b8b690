//! One database: its connection and its secrets, from the values of its settings. `check` reports
//! the settings that do not agree.

mod check;

use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::SslMode;

use check::Check;

use super::connection::Connection;
use super::dsn;
use super::layers::Values;
use super::libpq::{LibpqSources, passfile};
use super::mistake::{Mistake, SettingsError};
use super::secrets::SecretFiles;
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
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let connection = Connection::of(name, origin, given, libpq, mistakes)?;
        let mut implied = connection.implied(name, given);
        mistakes.append(&mut implied.mistakes);
        let defaults = Values::defaults(Some(name));
        let values = Values::merged([&defaults, &implied.values, given]);
        let secrets = SecretFiles::of(name, origin, given, libpq, &connection.dsn);
        let database = Database::build(name, &values, &connection, secrets, mistakes);
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

    /// Its servers, in the order of the connection string: "db.example.com:5432".
    pub fn servers(&self) -> String {
        dsn::servers(&self.access.config)
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
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let before = mistakes.len();
        let section = format!("databases.{name}.");
        // `connection` has read the connection string.
        let fields = values.select(|key| {
            let key = key.strip_prefix(&section)?;
            (!["url", "url_file"].contains(&key)).then_some(key)
        });
        let mut database: Self = fields.deserialize(mistakes)?;
        name.clone_into(&mut database.name);
        database.access.config = connection.dsn.config.clone();
        if let Some(file) = secrets.as_ref().and_then(|files| files.passfile.as_ref()) {
            database = database.with_passfile(file);
        }
        database.access.secrets = secrets;
        let mut check = Check {
            section,
            values,
            mistakes,
        };
        check.password_file(&mut database);
        check.tls(&database);
        check.identity(&database);
        check.tables(&database);
        check.columns();
        check.tenants(&database);
        (mistakes.len() == before).then_some(database)
    }
}
