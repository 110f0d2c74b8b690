//! One database: its connection, and the check of settings that must agree.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};
use tokio_postgres::config::{Host, SslMode};

use super::bounded;
use super::columns::ConfigurationsColumns;
use super::connection::Connection;
use super::dsn;
use super::layers::{DEFAULT, Values};
use super::problem::{Problem, SettingsError};
use super::secrets::SecretFiles;
use super::sections::{Database, Tls};

/// Everything about a connection that no setting holds by itself: addresses, user and password, and
/// the files with secrets.
#[derive(Clone, Default)]
pub(super) struct Access {
    pub(super) config: tokio_postgres::Config,
    pub(super) secrets: Option<SecretFiles>,
}

impl Access {
    /// The configuration without a password that comes from a file.
    fn without_file_secrets(&self) -> tokio_postgres::Config {
        let mut config = self.config.clone();
        if self
            .secrets
            .as_ref()
            .is_some_and(SecretFiles::hold_the_password)
        {
            config.password("");
        }
        config
    }
}

impl PartialEq for Access {
    fn eq(&self, other: &Self) -> bool {
        self.secrets == other.secrets && self.without_file_secrets() == other.without_file_secrets()
    }
}

impl Eq for Access {}

// The configuration of the driver prints no password.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, secrets } = self;
        f.debug_tuple("Access")
            .field(config)
            .field(secrets)
            .finish()
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

    /// The database with the current content of its files of secrets (G15). Blocks on the files.
    pub fn with_secrets_read_again(&self) -> Result<Self, SettingsError> {
        match &self.access.secrets {
            Some(files) => files.read(self),
            None => Ok(self.clone()),
        }
    }

    pub(super) fn with_password(&self, password: &SecretString) -> Self {
        let mut database = self.clone();
        let config = &mut database.access.config;
        config.password(password.expose_secret());
        database
    }

    pub(super) fn has_password(&self) -> bool {
        self.access.config.get_password().is_some()
    }

    /// Makes a database of values that the schema has accepted, or reports what does not agree.
    pub(super) fn build(
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
        database.access.secrets = secrets;
        let mut check = Check {
            section,
            values,
            problems,
        };
        check.password_file(&mut database);
        check.tls(&database);
        check.tables(&database);
        check.columns();
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
        match read_secret(
            file,
            &self.key("password_file"),
            self.origin("password_file"),
        ) {
            Ok(password) => *database = database.with_password(&password),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn tls(&mut self, database: &Database) {
        let config = &database.access.config;
        let is_unix = |host: &Host| matches!(host, Host::Unix(_));
        let socket = config.get_hostaddrs().is_empty() && config.get_hosts().iter().any(is_unix);
        let mismatch = match (&database.tls_root_cert, database.tls) {
            (_, Tls::Require | Tls::VerifyCa | Tls::VerifyFull) if socket => {
                return self.mismatch(
                    "tls",
                    "\"disable\" for a Unix socket, on which PostgreSQL knows no TLS",
                    "another mode",
                    "leave out tls and tls_root_cert",
                );
            }
            (None, _) => return,
            (Some(_), Tls::Disable | Tls::Require) => Some((
                "has no effect, because tls does not ask for the certificate to be verified"
                    .to_owned(),
                "set tls to \"verify-full\" or \"verify-ca\", or leave out tls_root_cert",
            )),
            (Some(file), Tls::VerifyCa | Tls::VerifyFull) => certificates(file)
                .err()
                .map(|what| (what, "name a readable PEM file")),
        };
        if let Some((what, remedy)) = mismatch {
            let problem = Problem::new(
                self.key("tls_root_cert"),
                self.origin("tls_root_cert"),
                what,
            );
            self.problems.push(problem.remedy(remedy));
        }
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

    /// Reports two uses of one column of the configurations: no statement can write a column twice.
    /// (The columns of the agents are only read.)
    fn columns(&mut self) {
        let names: Vec<_> = ConfigurationsColumns::KEYS
            .iter()
            .filter_map(|key| key.path.strip_prefix("databases.*."))
            .collect();
        for (index, name) in names.iter().enumerate() {
            let column = |name: &str| self.values.text(&self.key(name));
            let Some(first) = names[..index]
                .iter()
                .find(|first| column(first) == column(name))
            else {
                continue;
            };
            // The message points at the one that a source sets.
            let (at, other) = match self.origin(name) {
                DEFAULT => (first, name),
                _ => (name, first),
            };
            let other = other.rsplit('.').next().unwrap_or(other);
            self.mismatch(
                at,
                "a column of its own",
                &format!("the one of {other}"),
                "name another column",
            );
        }
    }
}

/// Whether a file seems to hold certificates; otherwise the reason.
fn certificates(file: &Path) -> Result<(), String> {
    let place = file.display();
    let text = bounded::read(file, bounded::LONGEST);
    let text = text.map_err(|error| format!("cannot read {place}: {error}"))?;
    let mut windows = text.windows(CERTIFICATE.len());
    if windows.any(|window| window == CERTIFICATE) {
        Ok(())
    } else {
        Err(format!(
            "expected certificates in PEM form in {place}, found none"
        ))
    }
}

/// The start of a certificate in PEM.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The most bytes of a file with a secret.
const LONGEST_SECRET: u64 = 64 * 1024;

/// Reads a secret from its file, without the line feed that editors and shells put at its end.
pub(super) fn read_secret(file: &Path, key: &str, source: &str) -> Result<SecretString, Problem> {
    let named = file.display();
    let reason = match bounded::read(file, LONGEST_SECRET).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let trimmed = text
                .strip_suffix('\n')
                .map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
            if !trimmed.is_empty() {
                return Ok(trimmed.into());
            }
            format!("{named} is empty")
        }
        Ok(Err(_)) => format!("{named} is not UTF-8"),
        Err(error) => format!("cannot read {named}: {error}"),
    };
    Err(Problem::new(key, source, reason).remedy("name a file that holds nothing but the secret"))
}
