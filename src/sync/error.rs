//! The reasons for the end of a connection, and their remedies.

use std::borrow::Cow;

use crate::observe::Pause;
use crate::pg::QueryError;
use crate::pg::sqlstate::{self, Class};
use crate::session::SessionError;
use crate::store::{Finding, LayoutError, Store};

/// The remedy for code of others that runs in the session of the daemon.
const FOREIGN_CODE: &str = "Look for UNLISTEN, pg_advisory_unlock_all() or SET in the triggers of \
    the configurations, and in what they call: they run in the daemon's session. The daemon \
    connects again.";

/// The remedy for a notification that the server cannot send.
const UNREADABLE: &str = "Find the session that sends NOTIFY on the channel agent_sync with a text \
    that is no UTF-8, and stop it (log_statement = 'all', pg_stat_activity); or revoke CONNECT on \
    the database from its role. For ten minutes, the daemon listens to no notification, and looks \
    for changes every sync.poll_interval.";

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There is no connection.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The tables are not as the settings say.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The server said no, or nothing.
    #[error(transparent)]
    Store(#[from] QueryError),
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    Closed(String),
    /// The server has ended the session, because it cannot send a notification.
    #[error("the connection was lost: {0}")]
    Unreadable(String),
    /// Another session has the leader lock, which this session has held.
    #[error("this session has lost the leader lock, and another session has taken it")]
    LostLead,
    /// The database is paused.
    #[error("{0}")]
    Paused(Box<Pause>),
    /// The tables are not what they were when the connection began.
    #[error("the tables have changed")]
    TablesChanged,
    /// The name of the server leads to another one.
    #[error(
        "the address of this database leads to another server or database now, and this connection \
        leads to the one before"
    )]
    Moved,
    /// The connection has done heavy work, whose memory is released with it, or is to listen again.
    #[error("the connection ends, and the next one begins at once")]
    ReconnectNow,
    /// The session is not as the daemon has set it up.
    #[error("something in this session has changed {0}")]
    SessionChanged(&'static str),
    /// The database is not fit to be worked in (G10).
    #[error("{}", joined(.0, "; ", Finding::to_string))]
    Unfit(Vec<Finding>),
}

impl AttemptError {
    /// The remedy.
    pub fn remedy(&self) -> Cow<'static, str> {
        let remedy = match self {
            Self::Unfit(findings) => {
                return joined(findings, " ", |finding| finding.remedy().into_owned()).into();
            }
            Self::Session(error) => return error.remedy(),
            Self::Layout(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::Closed(_) => sqlstate::REACH,
            Self::Unreadable(_) => UNREADABLE,
            Self::Paused(_) => Pause::REMEDY,
            Self::TablesChanged => "None: the daemon reads the tables again.",
            Self::ReconnectNow => "None: the daemon connects again at once.",
            Self::Moved => {
                "None: the daemon connects to the other one. If the former one still accepts \
                saves, stop it: agents that are saved there are not synced."
            }
            Self::LostLead | Self::SessionChanged(_) => FOREIGN_CODE,
        };
        remedy.into()
    }

    /// Whether another session holds a lock on what it is about: no fault of the connection (G16).
    pub(super) fn is_locked(&self) -> bool {
        self.class() == Some(Class::Locked)
    }

    /// Whether the tables have changed under the statements of the connection.
    pub(super) fn is_layout_change(&self) -> bool {
        matches!(self, Self::TablesChanged) || self.class() == Some(Class::Layout)
    }

    /// Whether the daemon itself has seen that the tables have changed, before a statement failed
    /// on it.
    pub(super) fn has_seen_a_change(&self) -> bool {
        matches!(self, Self::TablesChanged)
    }

    fn class(&self) -> Option<Class> {
        match self {
            Self::Store(error) | Self::Layout(LayoutError::Store(error)) => error.class(),
            Self::Session(SessionError::Postgres(error)) if error.as_db_error().is_some() => {
                Some(sqlstate::policy(error).class)
            }
            _ => None,
        }
    }

    /// Whether the server has answered in a session: the cause is in the database, and not on the
    /// way to it.
    pub(super) fn is_answer(&self) -> bool {
        match self {
            // The connection was open, and the next one will find the same.
            Self::Session(
                SessionError::Pooler | SessionError::Split | SessionError::Untrusted(_),
            )
            | Self::Store(QueryError::Split) => true,
            Self::Session(_) | Self::Closed(_) | Self::Unreadable(_) => false,
            Self::Store(error) | Self::Layout(LayoutError::Store(error)) => {
                !matches!(error.class(), None | Some(Class::Connection))
            }
            _ => true,
        }
    }

    /// Whether changes may have been missed on account of it, so that every agent has to be looked
    /// at afterwards.
    pub(crate) fn misses_changes(&self) -> bool {
        match self {
            Self::Unfit(findings) => findings.iter().any(Finding::misses_changes),
            // What the daemon needs is gone, or closed to it; it is likely to be so for the
            // capture.
            Self::Store(QueryError::Postgres(error)) => error
                .code()
                .is_some_and(|code| code.code().starts_with("42") || code.code() == "3F000"),
            _ => false,
        }
    }

    /// Whether it is reported during an outage that began for another reason.
    pub(crate) fn is_finding(&self) -> bool {
        match self {
            Self::Unfit(_)
            | Self::Session(
                SessionError::Pooler
                | SessionError::Secret(_)
                | SessionError::PasswordCommand(_)
                | SessionError::Passfile { .. }
                | SessionError::Password(_)
                | SessionError::ClientCertificate(_)
                | SessionError::Tls(_),
            ) => true,
            Self::Layout(error) => !matches!(error, LayoutError::Store(_)),
            // A server that answers, and will go on to say no: to the user, the password or the
            // database.
            Self::Session(SessionError::Postgres(error)) => {
                error.code().is_some() && sqlstate::policy(error).class == Class::Fault
            }
            _ => false,
        }
    }
}

fn joined(findings: &[Finding], separator: &str, part: impl Fn(&Finding) -> String) -> String {
    findings
        .iter()
        .map(part)
        .collect::<Vec<_>>()
        .join(separator)
}

/// Ends the attempt if the database is paused.
pub(super) async fn refuse_pause(store: &Store) -> Result<(), AttemptError> {
    match store.pause().await? {
        Some(pause) => Err(AttemptError::Paused(Box::new(pause))),
        None => Ok(()),
    }
}

/// Ends the attempt if there is a finding. The caller passes fatal findings only.
pub(super) fn refuse(findings: Vec<Finding>) -> Result<(), AttemptError> {
    if findings.is_empty() {
        Ok(())
    } else {
        Err(AttemptError::Unfit(findings))
    }
}
