//! One connection to one database: TLS, session settings, notifications.
//!
//! One connection for each database runs the batches. So the leader lock, LISTEN and the running
//! batch end together: when the connection is lost, the server releases the locks and rolls the
//! batch back.
//!
//! The driver half of the connection runs as a task of its own; it hands notifications to the
//! [`Inbox`] and marks it closed when the connection ends. Dropping the session restores the
//! backend (`farewell`) and aborts the driver, which closes the socket.
//!
//! `credentials` reads passwords and certificates again for each connection. `dial` finds every
//! address of the server, and `open` opens a connection to one of them. `proof` checks that the
//! session has a backend of its own, so a pooler in transaction mode is refused. `guard` stands
//! between every stream and the driver: it sends no password to an unverified server, and bounds
//! what a server sends.

mod credentials;
mod dial;
mod error;
mod farewell;
mod guard;
mod inbox;
mod limits;
mod open;
mod password_command;
mod planner;
mod proof;
mod settings;
mod stream;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use postgres_types::Type;
use tokio::task::JoinHandle;
use tokio_postgres::Config;

pub use error::SessionError;
pub use farewell::all_ended;
pub use guard::{HeavyScram, PasswordRequest};
pub use inbox::{Inbox, News};
pub use limits::{BRIEF, LARGE, Limits, ORDINARY, PORTION};
pub use password_command::CommandError;
pub use proof::Backend;
pub use tls::{LongChain, TlsError};

use self::credentials::with_fresh_secrets;
use self::farewell::{AFRESH, BackendState, Open};
use self::settings::{DEADLOCK_TIMEOUT, SET_ONCE, usual_settings};
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::{Database, InstallSchema};
use crate::store;

/// The channel of wake-ups (empty payload) and of requests for a slug (I7).
const CHANNEL: &str = InstallSchema::USUAL;

/// The channel on which a transaction sends the ctid of the first row that it appends to the
/// outbox.
const CHANGES: &str = "agent_sync_change";

/// One open connection.
#[derive(Debug)]
pub struct Session {
    db: Db,
    inbox: Arc<Inbox>,
    driver: JoinHandle<()>,
    server_version: String,
    target: String,
    /// The process and the server.
    backend: Backend,
    usual_settings: String,
    /// Whether the server converts text between UTF-8 and the encoding of the database.
    converts: bool,
    backend_state: BackendState,
    /// There until the end.
    open: Option<Open>,
    /// Whether the backend had state of an earlier session of agent-sync.
    is_used: bool,
}

impl Session {
    /// Connects to the first server that accepts, checks that the session has a backend of its own,
    /// and sets it up.
    pub async fn connect(database: &Database, limits: Limits) -> Result<Self, SessionError> {
        let program = format!("agent-sync/{}", env!("CARGO_PKG_VERSION"));
        Self::connect_bounded(&program, database, limits, ORDINARY).await
    }

    /// A further connection of the daemon, under this name, for an audit.
    pub async fn connect_further(
        program: &str,
        database: &Database,
        limits: Limits,
    ) -> Result<Self, SessionError> {
        Self::connect_bounded(program, database, limits, LARGE).await
    }

    /// A connection with a name of its own, such as `agent-sync check`, and at most so much memory
    /// for an answer.
    pub async fn connect_bounded(
        program: &str,
        database: &Database,
        limits: Limits,
        most: u64,
    ) -> Result<Self, SessionError> {
        let database = &*with_fresh_secrets(database).await?;
        let mut config = database.connect_config();
        config.application_name(application_name(program, database));
        let found = Self::find(database, &config, most).await;
        let reason = database.unused_passfile();
        let (mut session, found) = found.map_err(|error| error.without_passfile(reason))?;
        let set_up = async {
            session.prove(database, &config, &found, most).await?;
            let name = application_name(program, database);
            session.set_up(&name, database, limits, most).await
        };
        match set_up.await {
            Ok(()) => Ok(session),
            // The guard knows more than a query, for which the connection is closed.
            Err(_) if session.inbox.is_refused() => {
                Err(SessionError::Closed(session.inbox.cause()))
            }
            Err(error) => Err(error),
        }
    }

    /// Checks that the session has a backend of its own.
    async fn prove(
        &mut self,
        database: &Database,
        config: &Config,
        found: &Config,
        most: u64,
    ) -> Result<(), SessionError> {
        self.target = database.target();
        self.backend_state = BackendState::Listens;
        self.backend = match proof::prove(self, database, found).await {
            // Any role can end a session that listens.
            Err(_) if self.inbox.is_unreadable() => {
                let found;
                (*self, found) = Self::find(database, config, most).await?;
                self.target = database.target();
                proof::prove_without_listening(self, database, &found).await?
            }
            proven => proven?,
        };
        Ok(())
    }

    /// Sets the session up under this name.
    async fn set_up(
        &mut self,
        name: &str,
        database: &Database,
        limits: Limits,
        most: u64,
    ) -> Result<(), SessionError> {
        self.begin_afresh(name).await?;
        self.usual_settings = usual_settings(database, limits);
        let settings = format!("{}; {}; {SET_ONCE}", self.usual_settings, planner::USUAL);
        self.db.batch(&settings).await?;
        if self.converts && self.db.value(store::queries::HAS_SENT, &[]).await? {
            self.db = self.db.converting();
        }
        let below = limits.below(self.db.value(DEADLOCK_TIMEOUT, &[]).await?);
        if below.lock_timeout < limits.lock_timeout {
            self.usual_settings = usual_settings(database, below);
            self.db.batch(&self.usual_settings).await?;
        }
        self.db = self.db.with_time_limit(limits.of_an_answer());
        if most <= ORDINARY {
            self.db = self.db.with_small_rows();
        }
        Ok(())
    }

    /// Makes the session as if it had just begun: a pooler may give it the backend of an earlier
    /// client with all that this one has left there, such as the leader lock of a daemon that was
    /// killed. Its name and its encoding, which a pooler has set in its place, are set again.
    async fn begin_afresh(&mut self, name: &str) -> Result<(), SessionError> {
        // Also if this is not done: the answer may be lost.
        self.backend_state = BackendState::SetUp;
        let name: [Parameter<'_>; 1] = [(&name, Type::TEXT)];
        // In one round trip.
        let (is_used, begun, named) = tokio::join!(
            biased;
            proof::is_used(&self.db),
            self.db.batch(AFRESH),
            self.db.run(settings::OF_THE_CONNECTION, &name),
        );
        self.is_used = is_used;
        begun?;
        Ok(named?)
    }

    /// Whether the backend had state of an earlier session of agent-sync: the pooler in between
    /// does not reset the backends that it gives to another client.
    pub fn was_used(&self) -> bool {
        self.is_used
    }

    /// The server of a new connection, beside one in the backend `own`. The name of the server may
    /// lead to another one by now, which an open connection does not notice.
    ///
    /// Behind a pooler that resets nothing, the new connection may get the backend of a leader that
    /// was killed, which then releases its lock.
    pub async fn backend_of_a_new_one(
        database: &Database,
        own: &Backend,
    ) -> Result<Backend, SessionError> {
        let database = &*with_fresh_secrets(database).await?;
        let mut config = database.connect_config();
        config.application_name("agent-sync probe");
        let (session, _) = Self::find(database, &config, ORDINARY).await?;
        let found = proof::backend(&session).await?;
        if found != *own && proof::is_used(&session.db).await {
            session.db.batch(AFRESH).await?;
        }
        Ok(found)
    }

    /// Tries every address of every host, and returns the one that answered.
    async fn find(
        database: &Database,
        config: &Config,
        most: u64,
    ) -> Result<(Self, Config), SessionError> {
        let time_limit = database.connect_timeout;
        let mut refused = SessionError::Silent(time_limit);
        for host in dial::hosts(config, database.passwords()) {
            let addresses = match dial::addresses(host, time_limit).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    refused = if refused.is_answer() { refused } else { error };
                    continue;
                }
            };
            for address in addresses {
                match Self::open_one(database, &address, time_limit, most).await {
                    Ok(session) => return Ok((session, address)),
                    Err(error) => refused = if refused.is_answer() { refused } else { error },
                }
            }
        }
        Err(refused)
    }

    /// The session, unless it would use objects of the schema `agent_sync` that others may have
    /// prepared.
    pub async fn trusted(self, database: &Database) -> Result<Self, SessionError> {
        let db = self.db.with_time_limit(database.connect_timeout);
        match store::owners(&db, database).await?.untrusted {
            Some(untrusted) => Err(SessionError::Untrusted(Box::new(untrusted))),
            None => Ok(self),
        }
    }

    /// The connection for queries. An answer may take 5 s longer than `sync.statement_timeout`.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The inbox of the notifications.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// The version of the server.
    pub fn server_version(&self) -> &str {
        &self.server_version
    }

    /// The address of the database, without secrets.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Lets the server end the session and free its locks after so long without a message.
    pub async fn end_after(&self, silence: Duration) -> Result<(), QueryError> {
        let set = format!("SET idle_session_timeout = {}", silence.as_millis());
        self.db.batch(&set).await
    }

    /// The process and the server of this session.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The statements that restore the settings of a session with batches after code of others has
    /// run in it.
    pub fn settings_for_batches(&self) -> String {
        format!("{}; {}", self.usual_settings, planner::FOR_BATCHES)
    }

    /// Sets the planner for the statements of batches: see `planner`.
    pub async fn plan_for_batches(&self) -> Result<(), QueryError> {
        self.db.batch(planner::FOR_BATCHES).await
    }

    /// Sets the planner for the queries of a sweep, which read the catalog.
    pub async fn plan_as_usual(&self) -> Result<(), QueryError> {
        self.db.batch(planner::USUAL).await
    }

    /// Listens on the channels. Earlier notifications are lost: catch up afterwards.
    pub async fn listen(&self) -> Result<(), QueryError> {
        self.db
            .batch(&format!("LISTEN {CHANNEL}; LISTEN {CHANGES}"))
            .await
    }

    /// Probes the connection with an empty query, which begins no transaction.
    pub async fn probe(&self, time_limit: Duration) -> Result<(), SessionError> {
        match self.db.with_time_limit(time_limit).batch("").await {
            Err(QueryError::Silent(time_limit)) => Err(SessionError::Dead(time_limit)),
            answer => Ok(answer?),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            farewell::end(
                self.db.clone(),
                self.driver.abort_handle(),
                self.backend_state,
                open,
            );
        }
    }
}

/// The application name in `pg_stat_activity`: the program, its version, and the name of the
/// database in the settings; and the schema of the install, unless it is the usual one.
fn application_name(program: &str, database: &Database) -> String {
    let schema = database.install.schema.name();
    let schema = if schema == InstallSchema::USUAL {
        String::new()
    } else {
        format!(" [{schema}]")
    };
    // PostgreSQL keeps 63 bytes.
    let mut name = format!("{program} {}", database.name);
    name.truncate(63 - schema.len());
    name + &schema
}
