//! A connection of the storm's own that comes back after a fault.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

use crate::support::shadow;

/// How long to wait for a server that is being restarted.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, made when it is needed.
pub struct Link {
    url: String,
    client: Option<Client>,
}

impl Link {
    /// To this URL, by the name that the server shows of it.
    pub fn to(url: &str, name: &str) -> Self {
        Self {
            url: format!("{url}?application_name={}", name.replace(' ', "%20")),
            client: None,
        }
    }

    /// The connection, made anew if it is gone.
    pub async fn client(&mut self) -> &mut Client {
        let start = Instant::now();
        while self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = None;
            match tokio_postgres::connect(&self.url, NoTls).await {
                Ok((client, connection)) => {
                    tokio::spawn(connection);
                    if shadow::is_wanted() {
                        // An error ends the connection, and the next one is tried.
                        let _ = client.batch_execute(shadow::USUAL_PATH).await;
                    }
                    self.client = Some(client);
                }
                Err(error) => {
                    assert!(
                        start.elapsed() < PATIENCE,
                        "the server does not come back: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        self.client.as_mut().unwrap()
    }

    /// The connection as it is, gone or not: in the middle of a transaction another one is of no
    /// use.
    pub fn held(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Runs statements, as often as the connection is lost meanwhile; so they must be good to be
    /// run twice.
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

/// Whether the connection went, rather than the statement.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_none_or(|state| state.code().starts_with("57P0"))
}
