//! One database: how to reach it, and what its tables are called.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio_postgres::config::{Host, SslMode};

use super::bounded;
use super::dsn;
use super::duration;
use super::problem::{Problem, SettingsError};
use super::secrets::SecretFiles;

/// How a connection is encrypted. It is never negotiated down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// In the clear.
    Disable,
    /// Encrypted, whoever answers.
    Require,
    /// The certificate is signed by a known authority.
    VerifyCa,
    /// The certificate is signed by a known authority and made out to the host.
    VerifyFull,
}

/// A database under `[databases.NAME]`.
///
/// The password stays inside the driver's own configuration, which neither prints nor lends it; the
/// connection string is not kept. Two databases are equal when a connection to the one serves as a
/// connection to the other: a reload compares them. A password counts where it stands in the
/// settings. One that comes from a file does not: the next connection reads the file, and a session
/// that is open needs no password.
#[derive(Debug, Clone)]
pub struct Database {
    /// What the settings, logs and metrics call it.
    pub name: String,
    /// The authorities to trust instead of the operating system's.
    pub tls_root_cert: Option<PathBuf>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long sent data may stay unacknowledged.
    pub tcp_user_timeout: Duration,
    /// How long the connection may be silent before it is probed.
    pub keepalives_idle: Duration,
    /// The time between probes.
    pub keepalives_interval: Duration,
    /// How many probes may stay unanswered.
    pub keepalives_count: u32,
    /// The table that people edit.
    pub agents: AgentsTable,
    /// The table that the runtime reads.
    pub configurations: ConfigurationsTable,
    tls: Tls,
    connect: tokio_postgres::Config,
    secrets: Option<SecretFiles>,
}

/// The table that people edit.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the schema documents each name")]
pub struct AgentsTable {
    pub schema: String,
    pub table: String,
    pub columns: AgentsColumns,
}

/// What the columns of the agents are called here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the schema documents each name")]
pub struct AgentsColumns {
    pub slug: String,
    pub name: String,
    pub system_prompt: String,
    pub agent_image: String,
    pub voice_settings: String,
}

/// The table that the runtime reads.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the schema documents each name")]
pub struct ConfigurationsTable {
    pub schema: String,
    pub table: String,
    pub columns: ConfigurationsColumns,
}

/// What the columns of the configurations are called here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the schema documents each name")]
pub struct ConfigurationsColumns {
    pub agent_slug: String,
    pub agent_name: String,
    pub system_prompt: String,
    pub agent_image: String,
    pub voice_id: String,
    pub temperature: String,
    pub provider_config: String,
    pub voice_settings: String,
    pub updated_at: String,
    pub last_updated: String,
}

impl Database {
    /// What to connect with: TLS demanded or declined, time-outs and keepalives set, the password
    /// in place.
    pub fn connect_config(&self) -> tokio_postgres::Config {
        let mut config = self.connect.clone();
        config
            .ssl_mode(if self.tls == Tls::Disable {
                SslMode::Disable
            } else {
                SslMode::Require
            })
            .connect_timeout(self.connect_timeout)
            .tcp_user_timeout(self.tcp_user_timeout)
            .keepalives_idle(self.keepalives_idle)
            .keepalives_interval(self.keepalives_interval)
            .keepalives_retries(self.keepalives_count);
        config
    }

    /// How the connection is encrypted.
    pub fn tls(&self) -> Tls {
        self.tls
    }

    /// Whether TLS proves that the server is the one that is meant. Anybody can have a certificate
    /// of a public authority for some name, so `verify-ca` proves it with authorities of one's own
    /// alone.
    pub fn is_server_verified(&self) -> bool {
        match self.tls {
            Tls::VerifyFull => true,
            Tls::VerifyCa => self.tls_root_cert.is_some(),
            Tls::Disable | Tls::Require => false,
        }
    }

    /// Where the database is, without secrets: "user app at db.example.com:5432, database
    /// platform".
    pub fn target(&self) -> String {
        dsn::describe(&self.connect)
    }

    /// Whether secrets of this database come from files that are read again before each connection.
    pub fn has_secret_files(&self) -> bool {
        self.secrets.is_some()
    }

    /// The database as its files of secrets say now (G15). Blocks on the files.
    pub fn with_secrets_read_again(&self) -> Result<Self, SettingsError> {
        self.secrets
            .as_ref()
            .map_or_else(|| Ok(self.clone()), |files| files.read(self))
    }

    pub(super) fn with_password(&self, password: &str) -> Self {
        let mut database = self.clone();
        database.connect.password(password);
        database
    }

    pub(super) fn has_password(&self) -> bool {
        self.connect.get_password().is_some()
    }

    /// Makes a database of what the schema has let through, or reports what does not go together.
    pub(super) fn build(
        name: &str,
        raw: RawDatabase,
        mut connect: tokio_postgres::Config,
        secrets: Option<SecretFiles>,
        origin: &dyn Fn(&str) -> String,
        problems: &mut Vec<Problem>,
    ) -> Option<Self> {
        let before = problems.len();
        let path = |key: &str| format!("databases.{name}.{key}");
        if let Some(file) = &raw.password_file {
            match read_secret(file, &path("password_file"), &origin("password_file")) {
                Ok(password) => drop(connect.password(password.expose_secret())),
                Err(problem) => problems.push(problem),
            }
        }
        let socket = connect
            .get_hosts()
            .iter()
            .any(|host| matches!(host, Host::Unix(_)));
        if socket && connect.get_hostaddrs().is_empty() && raw.tls != Tls::Disable {
            let expected = "\"disable\" for a Unix socket, on which PostgreSQL knows no TLS";
            let problem = Problem::mismatch(path("tls"), origin("tls"), expected, "another mode");
            problems.push(problem.remedy("leave out tls and tls_root_cert"));
        } else if let Some(file) = &raw.tls_root_cert {
            let source = origin("tls_root_cert");
            if matches!(raw.tls, Tls::Disable | Tls::Require) {
                let what =
                    "has no effect, because tls does not ask for the certificate to be verified";
                let problem = Problem::new(path("tls_root_cert"), source, what);
                problems.push(problem.remedy(
                    "set tls to \"verify-full\" or \"verify-ca\", or leave out tls_root_cert",
                ));
            } else if let Err(what) = certificates(file) {
                let problem = Problem::new(path("tls_root_cert"), source, what);
                problems.push(problem.remedy("name a readable PEM file"));
            }
        }
        let (agents, configurations) = (&raw.agents, &raw.configurations);
        if (&agents.schema, &agents.table) == (&configurations.schema, &configurations.table) {
            let at = match origin("configurations.table") {
                source if source == super::layer::DEFAULT => "agents.table",
                _ => "configurations.table",
            };
            let found = format!("{}.{} for both", agents.schema, agents.table);
            let expected = "one table of agents and another of configurations";
            let problem = Problem::mismatch(path(at), origin(at), expected, found);
            problems.push(problem.remedy(
                "name the table that the platform saves, and the one that its runtime reads",
            ));
        }
        twice(
            &path("configurations.columns"),
            &raw.configurations.columns.named(),
            origin,
            problems,
        );
        (problems.len() == before).then(|| Self {
            name: name.to_owned(),
            tls_root_cert: raw.tls_root_cert,
            connect_timeout: raw.connect_timeout,
            tcp_user_timeout: raw.tcp_user_timeout,
            keepalives_idle: raw.keepalives_idle,
            keepalives_interval: raw.keepalives_interval,
            keepalives_count: raw.keepalives_count,
            agents: raw.agents,
            configurations: raw.configurations,
            tls: raw.tls,
            connect,
            secrets,
        })
    }

    /// What to connect with; a password that comes from a file is left out.
    fn connect_without_files(&self) -> tokio_postgres::Config {
        let mut connect = self.connect.clone();
        if self
            .secrets
            .as_ref()
            .is_some_and(SecretFiles::hold_the_password)
        {
            connect.password("");
        }
        connect
    }
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            tls_root_cert,
            connect_timeout,
            tcp_user_timeout,
            keepalives_idle,
            keepalives_interval,
            keepalives_count,
            agents,
            configurations,
            tls,
            connect: _,
            secrets,
        } = self;
        *name == other.name
            && *tls_root_cert == other.tls_root_cert
            && *connect_timeout == other.connect_timeout
            && *tcp_user_timeout == other.tcp_user_timeout
            && *keepalives_idle == other.keepalives_idle
            && *keepalives_interval == other.keepalives_interval
            && *keepalives_count == other.keepalives_count
            && *agents == other.agents
            && *configurations == other.configurations
            && *tls == other.tls
            && *secrets == other.secrets
            && self.connect_without_files() == other.connect_without_files()
    }
}

impl Eq for Database {}

impl ConfigurationsColumns {
    fn named(&self) -> [(&'static str, &str); 10] {
        [
            ("agent_slug", &self.agent_slug),
            ("agent_name", &self.agent_name),
            ("system_prompt", &self.system_prompt),
            ("agent_image", &self.agent_image),
            ("voice_id", &self.voice_id),
            ("temperature", &self.temperature),
            ("provider_config", &self.provider_config),
            ("voice_settings", &self.voice_settings),
            ("updated_at", &self.updated_at),
            ("last_updated", &self.last_updated),
        ]
    }
}

/// Reports two uses of one column: no statement can write a column twice. (Those of the agents are
/// only read.)
fn twice(
    path: &str,
    columns: &[(&'static str, &str)],
    origin: &dyn Fn(&str) -> String,
    problems: &mut Vec<Problem>,
) {
    let below = path.splitn(3, '.').nth(2).unwrap_or_default();
    for (index, (key, column)) in columns.iter().enumerate() {
        if let Some((first, _)) = columns[..index].iter().find(|(_, other)| other == column) {
            // Of the two, the one that was set by hand is the one to point at.
            let (key, other) = match origin(&format!("{below}.{key}")) {
                source if source == super::layer::DEFAULT => (first, key),
                _ => (key, first),
            };
            let found = format!("the one of {other}");
            let source = origin(&format!("{below}.{key}"));
            let problem = Problem::mismatch(
                format!("{path}.{key}"),
                source,
                "a column of its own",
                found,
            );
            problems.push(problem.remedy("name another column"));
        }
    }
}

/// A database as the schema lets it through. It holds the secrets in the clear for as long as
/// settings are loaded, and cannot be printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    #[serde(rename = "url")]
    _url: Option<IgnoredAny>,
    #[serde(rename = "url_file")]
    _url_file: Option<IgnoredAny>,
    password_file: Option<PathBuf>,
    tls: Tls,
    tls_root_cert: Option<PathBuf>,
    #[serde(deserialize_with = "duration::deserialize")]
    connect_timeout: Duration,
    #[serde(deserialize_with = "duration::deserialize")]
    tcp_user_timeout: Duration,
    #[serde(deserialize_with = "duration::deserialize")]
    keepalives_idle: Duration,
    #[serde(deserialize_with = "duration::deserialize")]
    keepalives_interval: Duration,
    keepalives_count: u32,
    agents: AgentsTable,
    configurations: ConfigurationsTable,
}

/// Whether a file holds certificates, as far as can be seen without reading them; if not, what is
/// wrong.
fn certificates(file: &Path) -> Result<(), String> {
    let place = file.display();
    let text = bounded::read(file, bounded::LONGEST);
    let text = text.map_err(|error| format!("cannot read {place}: {error}"))?;
    let marked = text
        .windows(CERTIFICATE.len())
        .any(|window| window == CERTIFICATE);
    if marked {
        Ok(())
    } else {
        Err(format!(
            "expected certificates in PEM form in {place}, found none"
        ))
    }
}

/// How a certificate begins in PEM.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// The most bytes that a file with a secret may have.
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
