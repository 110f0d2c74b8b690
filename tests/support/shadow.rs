//! Foreign names in the search path (S1): a schema with operators and functions that match the
//! arguments of statements more closely than those of PostgreSQL, and that count their calls.
//!
//! With `AGENT_SYNC_TEST_SHADOW` set, as by `make test-shadow`, every database of the tests has the
//! schema, and every session but those of the tests has it first in its path. No call may have been
//! counted at the end of a test.

use std::collections::BTreeSet;
use std::path::Path;

use tokio_postgres::{Client, NoTls};

use super::{Cluster, eventually};

/// The SQL of the schema; `shadow.names` has the names of the functions.
const SHADOW: &str = include_str!("shadow.sql");

/// The search path with the foreign names first.
pub const PATH: &str = "shadow, public";

/// The search path of the sessions of the tests.
pub const USUAL_PATH: &str = "SET search_path = \"$user\", public";

/// The template database with the schema.
const TEMPLATE: &str = "shadowed";

/// Whether the databases of the tests have the schema.
pub fn is_wanted() -> bool {
    std::env::var_os("AGENT_SYNC_TEST_SHADOW").is_some_and(|value| !value.is_empty())
}

/// Every word before a parenthesis in the sources; this includes all functions that the statements
/// call.
fn called() -> String {
    let mut sources = Vec::new();
    crate::docs::sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut sources,
    );
    let words = sources
        .iter()
        .flat_map(|text| text.split('(').filter_map(last_word));
    let names: BTreeSet<&str> = words.collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
}

/// The word that ends this text.
pub fn last_word(text: &str) -> Option<&str> {
    text.rsplit(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .next()
        .filter(|word| !word.is_empty())
}

/// The statements that create the schema.
pub fn statements() -> String {
    format!("SET shadow.names = '{}'; {SHADOW}", called())
}

/// The options of CREATE DATABASE for a copy of the template. Creates the template first if needed.
pub async fn copy_of_template(cluster: &Cluster, admin: &Client) -> String {
    // Tests of one process share a cluster.
    static MAKING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _one = MAKING.lock().await;
    let there = format!("SELECT FROM pg_database WHERE datname = '{TEMPLATE}'");
    if admin.query_opt(&there, &[]).await.unwrap().is_none() {
        admin
            .batch_execute(&format!("CREATE DATABASE {TEMPLATE}"))
            .await
            .unwrap();
        let (client, connection) = tokio_postgres::connect(&cluster.url(TEMPLATE), NoTls)
            .await
            .unwrap();
        let ended = tokio::spawn(connection);
        // If PUBLIC may create objects in `public`, as before PostgreSQL 15, a role creates its
        // own.
        client
            .batch_execute(&format!(
                "{}; GRANT CREATE ON SCHEMA public TO PUBLIC",
                statements()
            ))
            .await
            .unwrap();
        drop(client);
        ended.await.unwrap().unwrap();
        // A database that is in use cannot be copied.
        let used = format!("SELECT FROM pg_stat_activity WHERE datname = '{TEMPLATE}'");
        eventually("nobody uses the template", async || {
            admin.query_opt(&used, &[]).await.unwrap().is_none()
        })
        .await;
    }
    format!("TEMPLATE {TEMPLATE}")
}

/// Whether a foreign name has been called in the database.
pub async fn is_called(client: &Client) -> bool {
    client
        .query_one("SELECT is_called FROM shadow.calls", &[])
        .await
        .unwrap()
        .get(0)
}

/// Fails the test at its end if a foreign name was called in a database.
pub struct Watch {
    url: String,
}

impl Watch {
    /// Puts the foreign names first in the search path of this database.
    pub async fn begin(admin: &Client, name: &str, url: String) -> Self {
        admin
            .batch_execute(&format!("ALTER DATABASE {name} SET search_path = {PATH}"))
            .await
            .unwrap();
        Self { url }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let url = self.url.clone();
        let looked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await.ok()?;
                tokio::spawn(connection);
                Some(is_called(&client).await)
            })
        });
        // A test may have stopped its server.
        let called = looked.join().ok().flatten();
        assert!(
            called != Some(true) || std::thread::panicking(),
            "a name of somebody else was called: see the log of the daemon, or the output above"
        );
    }
}
