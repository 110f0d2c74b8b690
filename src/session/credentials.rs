//! The credentials of a connection, read again for each one (G15): the secrets in files, the
//! password of a command, and the certificates.

use std::borrow::Cow;

use tokio_postgres_rustls::MakeRustlsConnect;

use super::{SessionError, TlsError, password_command, tls};
use crate::observe::pulse;
use crate::settings::Database;

/// The database with its present secrets (G15).
pub(super) async fn with_fresh_secrets(
    database: &Database,
) -> Result<Cow<'_, Database>, SessionError> {
    let read = with_files_read(database).await?;
    let Some(command) = &database.password_command else {
        return Ok(read);
    };
    let password = password_command::run(command, password_command::TIME_LIMIT).await;
    let password = password.map_err(SessionError::PasswordCommand)?;
    Ok(Cow::Owned(read.with_password(&password)))
}

/// The database with the present secrets of its files. They are read off the event loop,
/// because a slow disk must not delay the other databases.
async fn with_files_read(database: &Database) -> Result<Cow<'_, Database>, SessionError> {
    if !database.has_secret_files() {
        return Ok(Cow::Borrowed(database));
    }
    let (stale, time_limit) = (database.clone(), database.connect_timeout);
    let reading = tokio::task::spawn_blocking(move || stale.with_secrets_read_again());
    match pulse::timeout(time_limit, reading).await {
        Ok(Ok(read)) => read.map(Cow::Owned).map_err(SessionError::Secret),
        // Not read in time, or the process ends.
        Ok(Err(_)) | Err(_) => Err(SessionError::SlowSecret(time_limit)),
    }
}

/// The TLS connector. The certificates are read off the event loop as well.
pub(super) async fn connector(database: &Database) -> Result<MakeRustlsConnect, SessionError> {
    let files = tls::Files {
        roots: database.tls_root_cert.clone(),
        identity: database.tls_cert.clone().zip(database.tls_key.clone()),
    };
    let mode = database.tls;
    let making = tokio::task::spawn_blocking(move || tls::connector(mode, &files));
    Ok(making
        .await
        .map_err(|ended| TlsError::Unusable(ended.to_string()))??)
}
