//! Opens one connection to one address, over TCP or a Unix socket, with TLS or without. The driver
//! gets no stream but a guarded one (`guard::Driver`), so every limit holds for every connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{AsyncMessage, Client, Config, SimpleQueryMessage};

use super::credentials::connector;
use super::farewell::{BackendState, Open};
use super::guard::{self, Driver, Reader};
use super::stream::Stream;
use super::{CHANGES, CHANNEL, Inbox, Session, SessionError, proof};
use crate::observe::pulse;
use crate::pg::password::{self, Secrets};
use crate::pg::{AnswerLimit, Db, sqlstate};
use crate::settings::{Database, InstallSchema, Tls, is_local, is_local_by_name};

impl Session {
    /// Opens one connection to one address.
    pub(super) async fn open_one(
        database: &Database,
        config: &Config,
        time_limit: Duration,
        most: u64,
    ) -> Result<Self, SessionError> {
        // One address: a connection to this machine crosses no network. A name service that leads
        // another name here proves nothing.
        let is_named = database.connect_config().get_hostaddrs().is_empty();
        let is_local = is_local(config) && (!is_named || is_local_by_name(config));
        let withholds = !database.is_server_verified() && !is_local;
        let most = AnswerLimit::new(most);
        let length = config.get_password().map_or(0, <[u8]>::len);
        let reader = Reader::new(withholds, most.clone(), secrets(database)).for_password(length);
        let schema = &database.install.schema;
        let opening = async {
            let stream = Stream::open(config);
            let session = if database.tls == Tls::Disable {
                let stream = stream.await.map_err(SessionError::Unreachable)?;
                let (client, driver) = guard::in_the_clear(config, stream, reader).await?;
                start(client, driver, time_limit, most, schema)
            } else {
                let tls = connector(database).await?;
                let stream = stream.await.map_err(SessionError::Unreachable)?;
                let (client, driver) = guard::over_tls(config, stream, tls, reader).await?;
                start(client, driver, time_limit, most, schema)
            };
            session.check_target_session_attrs(config).await?;
            Ok(session)
        };
        pulse::timeout(time_limit, opening)
            .await
            .map_err(|_| SessionError::Silent(time_limit))?
    }

    /// Refuses a server that `target_session_attrs` excludes.
    async fn check_target_session_attrs(&self, config: &Config) -> Result<(), SessionError> {
        let excluded = match config.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => "on",
            TargetSessionAttrs::ReadOnly => "off",
            _ => return Ok(()),
        };
        let answer = self.db.simple("SHOW transaction_read_only").await?;
        let is_excluded = answer.iter().any(|message| match message {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten() == Some(excluded),
            _ => false,
        });
        if is_excluded {
            Err(SessionError::ReadOnly)
        } else {
            Ok(())
        }
    }
}

/// The passwords of this database, to mask them in the texts of its server, and of no other (G11).
fn secrets(database: &Database) -> Secrets {
    let config = database.connect_config();
    let of_hosts = database.passwords().iter().flatten();
    let of_hosts = of_hosts.map(|password| password.expose_secret().as_bytes());
    password::know(
        &database.name,
        config.get_password().into_iter().chain(of_hosts),
    )
}

/// Starts the driver of a connection.
fn start<T>(
    client: Client,
    mut driver: Driver<T>,
    time_limit: Duration,
    most: AnswerLimit,
    schema: &InstallSchema,
) -> Session
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let server_version = driver
        .parameter("server_version")
        .unwrap_or("unknown")
        .to_owned();
    let converts = !matches!(
        driver.parameter("server_encoding"),
        None | Some("UTF8" | "SQL_ASCII")
    );
    let inbox = Arc::new(Inbox::default());
    let channels = [CHANNEL, CHANGES, proof::CHANNEL];
    let [requests, changes, proof] = channels.map(|channel| schema.localize(channel).into_owned());
    let arrived = Arc::clone(&inbox);
    let driver = tokio::spawn(async move {
        let cause = loop {
            match poll_fn(|context| driver.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(note))) if note.channel() == requests => {
                    arrived.deliver(note.payload());
                }
                Some(Ok(AsyncMessage::Notification(note))) if note.channel() == changes => {
                    arrived.deliver_change(note.payload());
                }
                Some(Ok(AsyncMessage::Notification(note))) if note.channel() == proof => {
                    arrived.deliver_session_check(note.payload());
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    arrived.note_unreadable(guard::is_unreadable(&error));
                    arrived.note_refused(guard::is_refused(&error));
                    break sqlstate::describe(&error);
                }
                None => break "the server closed it".to_owned(),
            }
        };
        arrived.close(cause);
    });
    let (target, backend, usual_settings) = Default::default();
    Session {
        backend_state: BackendState::Untouched,
        open: Some(Open::new()),
        is_used: false,
        db: Db::new(Arc::new(client), time_limit, most).for_schema(schema.clone()),
        inbox,
        driver,
        server_version,
        target,
        backend,
        usual_settings,
        converts,
    }
}
