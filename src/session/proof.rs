//! The session check: the proof, before anything else, that the connection keeps one backend (G10).
//!
//! A pooler in transaction mode gives its clients a backend for the length of a transaction. It
//! accepts LISTEN without an error, and notifications never arrive. Locks of the session belong to
//! the next client, and a SET remains in backends of other clients. So this check comes before the
//! first SET, and leaves nothing behind.
//!
//! A pooler in session mode may give the session a backend with the state of an earlier client. The
//! check does not depend on it; after the check, the session begins afresh (`Session`).
//!
//! A notification that the session sends to itself proves little: without other clients, the pooler
//! gives the same backend twice, and the backend answers its own notification at once. So a second
//! connection to the same address sends it while the first one only waits. If the second connection
//! is in the backend of the first one, that is proof too.
//!
//! A full queue of notifications takes no more. PostgreSQL cleans it up when a session sends a
//! notification, which then fails, or asks for the usage of the queue. So the session asks for the
//! usage, and sends the notification again. Where a session still holds the queue up, the proof
//! does without it: the second connection stays in a transaction, and so in a backend of its own,
//! while the first one shows that it still has its backend. The sweep names the session that holds
//! the queue up.
//!
//! At last, a statement that only reads shows that no proxy sends such statements to a standby.

use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, SimpleQueryMessage};

use super::{Inbox, Session, SessionError};
use crate::observe::pulse;
use crate::pg::Db;
use crate::settings::Database;

/// The channel of the session check. It is not the channel of wake-ups, so the session check of one
/// daemon never wakes another.
pub(super) const CHANNEL: &str = "agent_sync_probe";

/// Whether the backend has state of an earlier session of agent-sync: its settings, its locks, or
/// LISTEN. It runs before the path is set.
const IS_USED: &str = "
    SELECT pg_catalog.current_setting('agent_sync.daemon', true) OPERATOR(pg_catalog.=) 'on'
      OR EXISTS (SELECT FROM pg_catalog.pg_locks l
        WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
          AND l.locktype OPERATOR(pg_catalog.=) 'advisory'
          AND l.classid OPERATOR(pg_catalog.=) 1634169721::pg_catalog.oid)
      OR EXISTS (SELECT FROM pg_catalog.pg_listening_channels() AS c (name)
        WHERE c.name OPERATOR(pg_catalog.=) ANY (ARRAY['agent_sync', 'agent_sync_change',
          'agent_sync_probe']))";

/// Whether the backend has such state, as far as the server answers.
pub(super) async fn is_used(db: &Db) -> bool {
    let says_so = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten() == Some("t"),
        _ => false,
    };
    let answer = db.simple(IS_USED).await;
    answer.is_ok_and(|answer| answer.iter().any(says_so))
}

/// A notification is committed, and waits for no standby.
const WAITS_FOR_NO_STANDBY: &str = "SET LOCAL synchronous_commit = local";

/// How long one answer, and the notification, may take.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The time limit of LISTEN. A session that begins to listen reads the queue from the position of
/// the slowest one of its database, which takes long where a session holds the queue up.
const LISTENING: Duration = Duration::from_secs(30);

/// The identity of one server process among all servers.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Backend {
    /// When the server was started, in seconds, as a time would be told in the time zone of the
    /// session; and the OID of the database.
    pub server: String,
    /// The number of the process.
    pub pid: String,
}

/// Where a session leads.
pub(super) async fn backend(session: &Session) -> Result<Backend, SessionError> {
    ask(session.db(), "", "").await
}

/// Proves it, or says what is in the way. Gives where it leads.
pub(super) async fn prove(
    session: &Session,
    database: &Database,
    config: &Config,
) -> Result<Backend, SessionError> {
    let (db, inbox) = (session.db(), session.inbox());
    let token = format!("{:016x}", fastrand::u64(..));
    inbox.expect_session_check(&token);
    let own = match ask_within(LISTENING, db, &format!("LISTEN {CHANNEL}"), "").await {
        // A standby takes no LISTEN; the checks of the server say so in their own words.
        Err(SessionError::Postgres(error))
            if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) =>
        {
            return backend(session).await;
        }
        own => own?,
    };
    let verdict = arrives(db, inbox, &own, &token, database, config).await;
    // In any case, this backend is not to listen any more; and it must still be the same.
    let still = ask(db, &format!("UNLISTEN {CHANNEL}"), "").await;
    verdict?;
    if still? != own {
        return Err(SessionError::Pooler);
    }
    answers_reads(db, &own).await?;
    Ok(own)
}

/// Proves it where a session that listens is ended by a notification of others.
pub(super) async fn prove_without_listening(
    session: &Session,
    database: &Database,
    config: &Config,
) -> Result<Backend, SessionError> {
    let own = backend(session).await?;
    stays(session.db(), &own, database, config).await?;
    answers_reads(session.db(), &own).await?;
    Ok(own)
}

async fn arrives(
    db: &Db,
    inbox: &Inbox,
    own: &Backend,
    token: &str,
    database: &Database,
    config: &Config,
) -> Result<(), SessionError> {
    let notify = format!(", pg_catalog.pg_notify('{CHANNEL}', '{token}')");
    match notified(db, own, &notify, database, config).await {
        Err(error) if is_full(&error) => {
            ask(db, "", ", pg_catalog.pg_notification_queue_usage()").await?;
            match notified(db, own, &notify, database, config).await {
                Err(error) if is_full(&error) => return stays(db, own, database, config).await,
                sent => sent?,
            }
        }
        sent => sent?,
    }
    match pulse::timeout(TIME_LIMIT, inbox.session_check_arrived()).await {
        Ok(()) if !inbox.is_closed() => Ok(()),
        Ok(()) => Err(SessionError::Closed(inbox.cause())),
        Err(_) => Err(SessionError::Pooler),
    }
}

/// Sends the notification from another connection, or else from this one.
async fn notified(
    db: &Db,
    own: &Backend,
    notify: &str,
    database: &Database,
    config: &Config,
) -> Result<(), SessionError> {
    match from_second_connection(notify, database, config).await {
        Ok(other) if other == *own => Err(SessionError::Pooler),
        Ok(other) if other.server == own.server => Ok(()),
        Err(error) if is_full(&error) => Err(error),
        // A second connection is not possible, or it leads to another server: the weaker proof has
        // to do.
        Ok(_) | Err(_) => ask(db, WAITS_FOR_NO_STANDBY, notify).await.map(drop),
    }
}

/// Whether the queue of notifications takes no more.
fn is_full(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Postgres(error) if error.code() == Some(&SqlState::PROGRAM_LIMIT_EXCEEDED)
    )
}

/// The proof without a notification.
async fn stays(
    db: &Db,
    own: &Backend,
    database: &Database,
    config: &Config,
) -> Result<(), SessionError> {
    let second = second(database, config).await?;
    let other = ask(second.db(), "BEGIN", "").await?;
    let still = ask(db, "", "").await?;
    if other != *own && still == *own {
        Ok(())
    } else {
        Err(SessionError::Pooler)
    }
}

async fn from_second_connection(
    notify: &str,
    database: &Database,
    config: &Config,
) -> Result<Backend, SessionError> {
    let second = second(database, config).await?;
    ask(second.db(), WAITS_FOR_NO_STANDBY, notify).await
}

/// A second connection to the same address.
async fn second(database: &Database, config: &Config) -> Result<Session, SessionError> {
    let mut config = config.clone();
    config.application_name("agent-sync probe");
    let time_limit = TIME_LIMIT.min(database.connect_timeout);
    Session::open_one(database, &config, time_limit, super::ORDINARY).await
}

/// Runs a statement, and says in which backend that was. In the simple protocol, because poolers
/// are at odds with prepared statements.
async fn ask(db: &Db, statement: &str, column: &str) -> Result<Backend, SessionError> {
    ask_within(TIME_LIMIT, db, statement, column).await
}

/// The same with another limit.
async fn ask_within(
    time_limit: Duration,
    db: &Db,
    statement: &str,
    column: &str,
) -> Result<Backend, SessionError> {
    let statement = if statement.is_empty() {
        String::new()
    } else {
        format!("{statement}; ")
    };
    let query = format!(
        "{statement}{WHERE}, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname \
        OPERATOR(pg_catalog.=) pg_catalog.current_database()){column}"
    );
    let [started, pid, database] = texts(&db.with_time_limit(time_limit), &query).await?;
    Ok(Backend {
        server: format!("{started} {database}"),
        pid,
    })
}

/// In which process of which server a statement runs. It names no table of the catalog and calls no
/// volatile function: a proxy that balances reads would send such a statement to the primary.
const WHERE: &str = "SELECT pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()), \
    pg_catalog.pg_backend_pid()";

/// Proves that the backend also answers what only reads. A proxy that splits reads and writes has a
/// standby answer it, which is behind, and shows nothing of what was missed on the primary.
async fn answers_reads(db: &Db, own: &Backend) -> Result<(), SessionError> {
    let [started, pid] = texts(&db.with_time_limit(TIME_LIMIT), WHERE).await?;
    let is_own_server = own.server.split(' ').next() == Some(&*started);
    match (is_own_server, pid == own.pid) {
        (true, true) => Ok(()),
        (true, false) => Err(SessionError::Pooler),
        (false, _) => Err(SessionError::Split),
    }
}

/// The first columns of the first row of an answer.
async fn texts<const N: usize>(db: &Db, query: &str) -> Result<[String; N], SessionError> {
    let answer = db.simple(query).await?;
    let row = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(std::array::from_fn(|index| {
        row.and_then(|row| row.try_get(index).ok().flatten())
            .unwrap_or_default()
            .to_owned()
    }))
}
