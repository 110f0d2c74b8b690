//! Why a connection failed, with a remedy for each cause (G10).

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use super::guard::{HeavyScram, PasswordRequest};
use super::password_command::CommandError;
use super::tls::{self, LongChain, TlsError};
use crate::pg::{QueryError, sqlstate};
use crate::settings::SettingsError;
use crate::store::Finding;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The certificates of the settings could not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A file with a secret could not be read, or holds no secret of its kind (G15).
    #[error("{0}")]
    Secret(SettingsError),
    /// The command for the password failed (G15).
    #[error("password_command: {0}")]
    PasswordCommand(CommandError),
    /// A file with a secret was not read in time.
    #[error("the files with the secrets of this database were not read within {0:?}")]
    SlowSecret(Duration),
    /// The name of the server has no address.
    #[error("the host {name} is not found: {cause}")]
    Name {
        /// The name in the settings.
        name: String,
        /// The error of the resolver.
        cause: std::io::Error,
    },
    /// The server's certificate is not accepted, or no TLS can be agreed on.
    #[error("the server's certificate is not accepted: {}", tls::rejection(.0))]
    Certificate(rustls::Error),
    /// The server sends more certificates than agent-sync takes (S29).
    #[error("the server sends too many certificates: {0}")]
    LongChain(LongChain),
    /// The server does not accept the certificate of the client, or demands one.
    #[error(
        "the server does not accept the certificate of this client: expected one that an authority \
        of its ssl_ca_file has signed, and found one that it refuses ({0}), or none"
    )]
    ClientCertificate(rustls::Error),
    /// The server asks for a password that must not be sent to a server that is not verified (S12).
    #[error(
        "expected a server that is verified, or one that asks for SCRAM, and found one that is not \
        verified and asks for the password {0}; the password was not sent"
    )]
    Password(PasswordRequest),
    /// The server asks for a proof of the password that takes long (S32).
    #[error(transparent)]
    HeavyScram(HeavyScram),
    /// None of the named servers takes writes.
    #[error("the server takes no writes, and target_session_attrs asks for one that does")]
    ReadOnly,
    /// No stream to the server could be opened.
    #[error("error connecting to server: {0}")]
    Unreachable(io::Error),
    /// The connection failed, or the server refused.
    #[error("{}", sqlstate::describe(.0))]
    Postgres(tokio_postgres::Error),
    /// The attempt had no password, because the password file of libpq is not used.
    #[error(
        "{}; the password file is not used: {reason}",
        sqlstate::describe(error)
    )]
    Passfile {
        /// The error of the driver.
        error: tokio_postgres::Error,
        /// Why the file is not used.
        reason: String,
    },
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    Closed(String),
    /// Notifications do not arrive (G10).
    #[error(
        "notifications do not arrive: the connection goes through a pooler in transaction mode"
    )]
    Pooler,
    /// Another server answers the statements that only read (G10).
    #[error("{}", QueryError::Split)]
    Split,
    /// The session would use objects that others may have prepared (S5).
    #[error("{0}")]
    Untrusted(Box<Finding>),
    /// An open connection does not answer any more (G9).
    #[error("the connection is dead: a probe was not answered within {0:?}")]
    Dead(Duration),
}

impl SessionError {
    /// The remedy.
    pub fn remedy(&self) -> Cow<'static, str> {
        let remedy = match self {
            Self::Tls(error) => return error.remedy(),
            Self::ClientCertificate(_) => {
                "Set tls_cert and tls_key of this database to a certificate that an authority of \
                the server's ssl_ca_file has signed, that has not expired, and whose common name \
                is the user; or correct ssl_ca_file. Each attempt to connect reads both files \
                again."
            }
            Self::Passfile { .. } | Self::Secret(_) => {
                "Correct the file. Each attempt to connect reads it again, without a reload or a \
                restart."
            }
            Self::PasswordCommand(_) => {
                "Run the command as the user of the daemon, with its environment: agent-sync does \
                not read what it writes to standard error. Each attempt to connect runs it again."
            }
            Self::SlowSecret(_) => {
                "See whether the disk or mount that holds the files of this database answers: \
                url_file, password_file, the password file and the service file."
            }
            Self::Name { .. } => {
                "Check the host in the URL of this database, and the name service."
            }
            Self::Certificate(error) => of_certificate(error),
            Self::LongChain(_) => {
                "Let ssl_cert_file of the server have its certificate and those of the authorities \
                up to the one of tls_root_cert, each of them once; or the same in what stands in \
                front of the server. No tls of this database takes more."
            }
            Self::Password(_) => {
                "Set tls = \"verify-full\", and tls_root_cert where the authority is not a public \
                one; or have the server ask for SCRAM: password_encryption = 'scram-sha-256', the \
                password set again, and scram-sha-256 in pg_hba.conf."
            }
            Self::HeavyScram(_) => {
                "If this is the server of the settings: set its scram_iterations to the default, \
                4096, and the password of the role again, or a shorter one: with at most 64 bytes, \
                65536 iterations are permitted, with 3831 bytes 4096. Otherwise check the URL of \
                this database."
            }
            Self::Untrusted(finding) => return finding.remedy(),
            Self::ReadOnly => "Name the primary among the hosts of this database.",
            Self::Postgres(error) => of_postgres(error),
            Self::Silent(_) | Self::Closed(_) | Self::Dead(_) | Self::Unreachable(_) => {
                sqlstate::REACH
            }
            Self::Pooler => {
                "Give the direct address of the server, or that of a pooler in session mode: \
                LISTEN and locks need a session of their own."
            }
            Self::Split => QueryError::Split.remedy(),
        };
        remedy.into()
    }

    /// Whether the server, or the role, has no connection left.
    pub fn is_for_want_of_places(&self) -> bool {
        match self {
            Self::Postgres(error) => error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS),
            _ => false,
        }
    }

    /// Whether a server has answered. Such an error says more than that of the next address.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            Self::Postgres(error) => error.code().is_some(),
            Self::Certificate(_)
            | Self::LongChain(_)
            | Self::ClientCertificate(_)
            | Self::Passfile { .. }
            | Self::Password(_)
            | Self::HeavyScram(_)
            | Self::Pooler
            | Self::Split => true,
            _ => false,
        }
    }
}

impl SessionError {
    /// The same error of a connection without a password, with the reason why the password file of
    /// libpq is not used. The driver says no more of it than that it has none.
    pub(super) fn without_passfile(self, reason: Option<&str>) -> Self {
        match (self, reason) {
            (Self::Postgres(error), Some(reason))
                if error.code().is_none()
                    && !error.is_closed()
                    && sources::<io::Error>(&error).is_none() =>
            {
                let reason = reason.to_owned();
                Self::Passfile { error, reason }
            }
            (error, _) => error,
        }
    }
}

/// The remedy for an error of the driver or of the server.
fn of_postgres(error: &tokio_postgres::Error) -> &'static str {
    if error.code() == Some(&SqlState::QUERY_CANCELED) {
        "The limits of its role or database apply to a session until agent-sync sets its own: \
        ALTER ROLE … RESET statement_timeout; the same with IN DATABASE, or ALTER DATABASE … RESET \
        statement_timeout. Or another session cancels it (pg_cancel_backend)."
    } else if error.code().is_some() || error.is_closed() || sources::<io::Error>(error).is_some() {
        sqlstate::policy(error).remedy
    } else {
        // The driver has no kinds of its own errors.
        let cause = error.source().map(ToString::to_string);
        match cause.as_deref() {
            Some("server does not support TLS") => NO_TLS,
            Some("password missing") => NO_PASSWORD,
            _ => "Check the URL, the password and tls of this database; the cause says which.",
        }
    }
}

/// The remedy for a server without TLS.
const NO_TLS: &str = "This server has no TLS. If the network up to it is trusted, set tls = \
    \"disable\" of this database, or sslmode=disable in its URL (?sslmode=disable); otherwise turn \
    TLS on in the server: ssl = on, with ssl_cert_file and ssl_key_file.";

/// The remedy for a server that asks for a password, where none is set.
const NO_PASSWORD: &str = "Put the password into password_file of this database, into its URL, \
    PGPASSWORD or ~/.pgpass; or set password_command to a command that prints it.";

/// The remedy for a certificate of a server that is not accepted: what proves the server comes
/// first.
fn of_certificate(error: &rustls::Error) -> &'static str {
    use rustls::{CertificateError as Wrong, Error};
    match error {
        Error::InvalidCertificate(
            Wrong::NotValidForName | Wrong::NotValidForNameContext { .. },
        ) => {
            "Connect by a name that the certificate is made out to; or set tls = \"verify-ca\" \
            with a tls_root_cert of an authority that signs for your servers only."
        }
        Error::InvalidCertificate(Wrong::UnknownIssuer) => {
            "Set tls_root_cert to the certificate of the authority that signed the server's: \
            providers have it for download. If it is self-signed, sign one with an authority of \
            your own; or set tls_root_cert to it, with tls = \"verify-ca\", which takes one \
            that was made with CA:FALSE alone. The last resort is tls = \"require\": then whoever \
            stands in between reads and changes the whole session."
        }
        _ => {
            "Correct the certificate of the server, and set tls_root_cert to that of the authority \
            that signed it. The last resort is tls = \"require\": then whoever stands in between \
            reads and changes the whole session."
        }
    }
}

impl From<tokio_postgres::Error> for SessionError {
    fn from(error: tokio_postgres::Error) -> Self {
        match sources::<io::Error>(&error) {
            Some(cause) => {
                let inner = cause.get_ref();
                if let Some(request) = inner.and_then(|inner| inner.downcast_ref()) {
                    return Self::Password(*request);
                }
                if let Some(heavy) = inner.and_then(|inner| inner.downcast_ref()) {
                    return Self::HeavyScram(*heavy);
                }
                match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
                    Some(alert) if tls::is_about_the_client(alert) => {
                        Self::ClientCertificate(alert.clone())
                    }
                    Some(certificate) => match LongChain::of(certificate) {
                        Some(chain) => Self::LongChain(*chain),
                        None => Self::Certificate(certificate.clone()),
                    },
                    None => Self::Postgres(error),
                }
            }
            None => Self::Postgres(error),
        }
    }
}

impl From<QueryError> for SessionError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Postgres(error) => error.into(),
            QueryError::Silent(time_limit) => Self::Silent(time_limit),
            QueryError::Split => Self::Split,
            error @ (QueryError::Large(_) | QueryError::Surplus(_)) => {
                Self::Closed(error.to_string())
            }
        }
    }
}

/// The first cause of this type.
fn sources<T: Error + 'static>(error: &tokio_postgres::Error) -> Option<&T> {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(found) = source.downcast_ref() {
            return Some(found);
        }
        cause = source.source();
    }
    None
}
