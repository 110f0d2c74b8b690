//! A connection of the storm that is reopened after a fault.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::support::shadow;

/// The time limit for a restarting server.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A connection, opened on demand.
pub struct Link {
    url: String,
    client: Option<Client>,
}

impl Link {
    /// A connection to this URL with this application name.
    pub fn to(url: &str, name: &str) -> Self {
        let sign = if url.contains('?') { '&' } else { '?' };
        Self {
            url: format!("{url}{sign}application_name={}", name.replace(' ', "%20")),
            client: None,
        }
    }

    /// The connection, reopened if it is lost.
    pub async fn client(&mut self) -> &mut Client {
        let start = Instant::now();
        while self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = None;
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    if shadow::is_wanted() {
                        // After an error, the next attempt opens another connection.
                        let _ = client.batch_execute(shadow::USUAL_PATH).await;
                    }
                    self.client = Some(client);
                }
                Err(error) => {
                    assert!(
                        start.elapsed() < TIMEOUT,
                        "the server does not come back: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        self.client.as_mut().unwrap()
    }

    /// The present connection, lost or not: within a transaction, another one is useless.
    pub fn held(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Runs statements, again after a lost connection; they have to be repeatable.
    pub async fn run(&mut self, sql: &str) {
        loop {
            match self.client().await.batch_execute(sql).await {
                Ok(()) => return,
                Err(error) if is_lost(&error) => self.client = None,
                Err(error) => panic!("{}: {error:?}", &sql[..sql.len().min(300)]),
            }
        }
    }

    /// The texts of the first column.
    pub async fn texts(&mut self, sql: &str) -> Vec<String> {
        loop {
            match self.client().await.query(sql, &[]).await {
                Ok(rows) => return rows.iter().map(|row| row.get(0)).collect(),
                Err(error) if is_lost(&error) => self.client = None,
                Err(error) => panic!("{}: {error:?}", &sql[..sql.len().min(300)]),
            }
        }
    }
}

/// Whether the error is a lost connection and not a failed statement.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_none_or(|state| state.code().starts_with("57P0"))
}
