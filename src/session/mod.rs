//! One connection to one database: TLS, session settings, notifications.
//!
//! Authority: everything that the daemon does in a database goes through one session, so leadership, LISTEN and the
//! running batch live and die together: when the connection is lost, the server has released the locks and undone
//! the batch in that instant (design: one connection per database does everything).
//!
//! The driver half of the connection runs as a task of its own; it hands notifications to the [`Inbox`] and marks it
//! closed when the connection ends. Dropping the session aborts the driver, which closes the socket.

mod inbox;
mod tls;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, Socket};

pub use inbox::{Asked, Inbox};
pub use tls::TlsError;

use crate::settings::{Database, Tls};
use crate::store::{StoreError, failure, within};

/// The channel of wake-ups (empty payload) and of requests for a slug (I7).
pub const CHANNEL: &str = "agent_sync";

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The certificates of the settings could not be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server could not be reached, or said no.
    #[error("{}", failure::describe(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// It did not answer in time.
    #[error("no answer within {0:?}")]
    Silent(Duration),
}

/// What is set for every session.
///
/// The plans: statements are planned once, for any number of rows (see `store::queries`), so the planner is told not
/// to guess from the number. The time-outs: nothing in a session of ours waits for long, a session that waits for
/// notifications must not be ended for it, and the server notices a vanished daemon and frees its locks (G9).
fn session_settings(database: &Database, limits: Limits) -> String {
    format!(
        "SET search_path = pg_catalog, pg_temp;
         SET statement_timeout = {};
         SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET idle_session_timeout = 0;
         SET tcp_user_timeout = {};
         SET tcp_keepalives_idle = {};
         SET tcp_keepalives_interval = {};
         SET tcp_keepalives_count = {};
         SET client_min_messages = warning;
         SET default_transaction_isolation = 'read committed';
         SET extra_float_digits = 1;
         SET bytea_output = hex;
         SET plan_cache_mode = force_generic_plan;
         SET enable_seqscan = off;
         SET enable_nestloop = off;
         SET enable_mergejoin = off;
         SET jit = off",
        limits.statement_timeout.as_millis(),
        limits.lock_timeout.as_millis(),
        limits.statement_timeout.as_millis(),
        database.tcp_user_timeout.as_millis(),
        database.keepalives_idle.as_secs(),
        database.keepalives_interval.as_secs(),
        database.keepalives_count,
    )
}

/// How long statements and locks are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The server's `statement_timeout`.
    pub statement_timeout: Duration,
    /// The server's `lock_timeout`.
    pub lock_timeout: Duration,
}

/// One open connection.
#[derive(Debug)]
pub struct Session {
    client: Client,
    inbox: Arc<Inbox>,
    driver: JoinHandle<()>,
}

impl Session {
    /// Connects and sets the session up.
    pub async fn connect(database: &Database, limits: Limits) -> Result<Self, SessionError> {
        let mut config = database.connect_config();
        config.application_name(application_name(&database.name));
        let patience = database.connect_timeout;
        let opening = async {
            match database.tls() {
                Tls::Disable => open(&config, NoTls).await,
                mode => open(&config, tls::connector(mode, database.tls_root_cert.as_deref())?).await,
            }
        };
        let session =
            tokio::time::timeout(patience, opening).await.map_err(|_| SessionError::Silent(patience))??;
        session.set_up(&session_settings(database, limits), patience).await?;
        Ok(session)
    }

    /// The client half.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where notifications arrive.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Listens on the channel. What was sent before is not heard: catch up afterwards.
    pub async fn listen(&self, patience: Duration) -> Result<(), StoreError> {
        within(patience, self.client.batch_execute(&format!("LISTEN {CHANNEL}"))).await
    }

    async fn set_up(&self, settings: &str, patience: Duration) -> Result<(), SessionError> {
        match within(patience, self.client.batch_execute(settings)).await {
            Ok(()) => Ok(()),
            Err(StoreError::Postgres(error)) => Err(error.into()),
            Err(StoreError::Silent(patience)) => Err(SessionError::Silent(patience)),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn open<T>(config: &Config, tls: T) -> Result<Session, SessionError>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let (client, mut connection) = config.connect(tls).await?;
    let inbox = Arc::new(Inbox::default());
    let arrived = Arc::clone(&inbox);
    let driver = tokio::spawn(async move {
        let cause = loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(note))) if note.channel() == CHANNEL => {
                    arrived.deliver(note.payload());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break failure::describe(&error),
                None => break "the server closed it".to_owned(),
            }
        };
        arrived.close(cause);
    });
    Ok(Session { client, inbox, driver })
}

/// What `pg_stat_activity` shows: the program, its version, and what the settings call the database.
fn application_name(database: &str) -> String {
    // PostgreSQL keeps 63 bytes.
    let mut name = format!("agent-sync/{} {database}", env!("CARGO_PKG_VERSION"));
    name.truncate(63);
    name
}
