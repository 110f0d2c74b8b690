//! A database with the platform's tables, and helpers for the common steps of tests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_sync::pg::{AnswerLimit, Db};
use agent_sync::settings::{Database, Settings, Sources};
use agent_sync::store::{Layout, Parts, owners};
use agent_sync_testbed::{Cluster, Options};
use serde_json::Value;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, NoTls, Row};

use super::shadow::{self, Watch};
use super::{Daemon, eventually};

/// The tables of `platform.sql`.
pub const TABLES: &str = include_str!("platform.sql");

/// The worked example of M3: the voice settings. [`EXPECTED`] is their `provider_config`.
pub const EXAMPLE: &str = r#"{"provider":"cartesia","voice_id":"test-voice-123","temperature":0.9,
    "llm_provider":"groq","llm_model":"mixtral-8x7b-32768","stt_provider":"deepgram","model":"sonic-english",
    "output_format":"pcm_44100"}"#;
/// The `provider_config` of [`EXAMPLE`].
pub const EXPECTED: &str = r#"{"llm":{"provider":"groq","model":"mixtral-8x7b-32768","temperature":0.9},
    "tts":{"provider":"cartesia","voice_id":"test-voice-123","model":"sonic-english","output_format":"pcm_44100"},
    "stt":{"provider":"deepgram","model":"nova-2"}}"#;

/// A save while the triggers of `agents` are off: its change is missed.
pub const MISSED: &str = "BEGIN; ALTER TABLE agents DISABLE TRIGGER USER;
    UPDATE agents SET name = 'missed';
    ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert;
    ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update; COMMIT";

/// The longest time for an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// One database of one cluster.
pub struct Platform {
    /// A connection of the superuser.
    pub client: Arc<Client>,
    /// The URL of the daemon.
    pub url: String,
    /// Whether the settings name the column `client_id` of both tables as the tenant.
    pub tenants: bool,
    /// The notices of the server.
    notices: Arc<Mutex<Vec<String>>>,
    /// The check for calls of shadowing names, if the tests run with them.
    _watch: Option<Watch>,
}

impl Platform {
    /// A new database with the platform's tables, in the cluster of this process.
    pub async fn new() -> Self {
        Self::with_tables(super::cluster(), TABLES).await
    }

    /// A new database with these tables, in this cluster.
    pub async fn with_tables(cluster: &Cluster, tables: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "platform_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let (admin, _) = connect(&cluster.url("postgres")).await;
        let url = cluster.url(&name);
        let options = if shadow::is_wanted() {
            shadow::copy_of_template(cluster, &admin).await
        } else {
            String::new()
        };
        admin
            .batch_execute(&format!("CREATE DATABASE {name} {options}"))
            .await
            .unwrap();
        let watch = if shadow::is_wanted() {
            Some(Watch::begin(&admin, &name, url.clone()).await)
        } else {
            None
        };
        let (client, notices) = connect(&url).await;
        client.batch_execute(tables).await.unwrap();
        Self {
            client: Arc::new(client),
            url,
            tenants: false,
            notices,
            _watch: watch,
        }
    }

    /// A new database in which slugs are unique for each `client_id` of this type, which the
    /// settings name as the tenant. It has an enum `client`.
    pub async fn with_tenants(of_type: &str) -> Self {
        let mut platform = Self::new().await;
        platform
            .run(&format!(
                "CREATE TYPE client AS ENUM ('first', 'the/second', '%third');
                 ALTER TABLE agents DROP CONSTRAINT agents_slug_key, ADD COLUMN client_id {of_type};
                 ALTER TABLE agents ADD UNIQUE (client_id, slug);
                 ALTER TABLE agent_configurations ADD COLUMN client_id {of_type};
                 CREATE INDEX ON agent_configurations (client_id, agent_slug)"
            ))
            .await;
        platform.tenants = true;
        platform
    }

    /// The settings of the tenants.
    fn environment(&self) -> Vec<(String, String)> {
        let tables = if self.tenants {
            vec!["AGENTS", "CONFIGURATIONS"]
        } else {
            Vec::new()
        };
        let name = |table| format!("AGENT_SYNC__DATABASES__DEFAULT__{table}__COLUMNS__TENANT");
        let tables = tables.into_iter();
        tables
            .map(|table| (name(table), "client_id".into()))
            .collect()
    }

    /// The name of the database.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// The URL for a role.
    pub fn url_as(&self, role: &str) -> String {
        self.url.replacen("//postgres@", &format!("//{role}@"), 1)
    }

    /// A new database with agent-sync installed.
    pub async fn installed() -> Self {
        let platform = Self::new().await;
        platform.install();
        platform
    }

    /// A database of this encoding with agent-sync installed.
    pub async fn encoded(name: &str, encoding: &str) -> Self {
        let cluster = super::cluster();
        let (admin, _) = connect(&cluster.url("postgres")).await;
        let name = format!("{name}_{}", std::process::id());
        admin
            .batch_execute(&format!(
                "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' \
                LC_CTYPE 'C'"
            ))
            .await
            .unwrap();
        let mut platform = Self::new().await;
        platform.url = cluster.url(&name);
        platform.client = platform.connect().await.into();
        platform.run(TABLES).await;
        platform.install();
        platform
    }

    /// A new database with agent-sync installed, on a cluster of its own with these lines in its
    /// `postgresql.conf`.
    pub async fn on_own_server(settings: &str) -> (Cluster, Self) {
        let options = Options {
            settings,
            ..Options::default()
        };
        let cluster = Cluster::start(options).expect("a throwaway PostgreSQL");
        let platform = Self::with_tables(&cluster, TABLES).await;
        platform.install();
        (cluster, platform)
    }

    /// Runs `agent-sync install`.
    pub fn install(&self) {
        let output = self.command(&["install"]).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The program with an environment that has only this database and a long sweep interval.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .env("DATABASE_URL", &self.url)
            .envs(self.environment())
            .args(arguments);
        // A short sweep interval would hide a lost wake-up.
        command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h");
        command
    }

    /// Runs a command on this database.
    pub async fn says(&self, arguments: &[&str]) -> super::Said {
        super::Said::of(self.command(arguments)).await
    }

    /// Runs a command on this database as this role.
    pub async fn says_as(&self, role: &str, arguments: &[&str]) -> super::Said {
        let mut command = self.command(arguments);
        command.env("DATABASE_URL", self.url_as(role));
        super::Said::of(command).await
    }

    /// Starts the daemon on this database.
    pub fn daemon(&self) -> Daemon {
        Daemon::start(self.command(&["run"]))
    }

    /// Starts the daemon on this database with short intervals.
    pub fn brisk_daemon(&self) -> Daemon {
        let mut command = self.command(&["run"]);
        command
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
        Daemon::start(command)
    }

    /// Starts the daemon on this database and waits until it has caught up.
    pub async fn caught_up_daemon(&self) -> Daemon {
        let daemon = self.daemon();
        daemon.logged("caught up").await;
        daemon
    }

    /// The settings of this database.
    pub fn settings(&self) -> Database {
        let url = ("DATABASE_URL".into(), self.url.clone().into());
        let tenants = self.environment().into_iter();
        let tenants = tenants.map(|(name, value)| (name.into(), value.into()));
        let sources = Sources::new(None, None, tenants.chain([url]).collect::<Vec<_>>());
        Settings::load_from(&sources).unwrap().settings.databases["default"].clone()
    }

    /// The connection of the superuser as the daemon's queries take it.
    pub fn db(&self) -> Db {
        Db::new(Arc::clone(&self.client), ANSWER, AnswerLimit::default())
    }

    /// The same with a further connection.
    pub async fn new_db(&self) -> Db {
        Db::new(
            Arc::new(self.connect().await),
            ANSWER,
            AnswerLimit::default(),
        )
    }

    /// The layout of its tables.
    pub async fn layout(&self) -> Layout {
        Layout::read(&self.db(), &self.settings()).await.unwrap()
    }

    /// The tables of its install.
    pub async fn parts(&self) -> Parts {
        owners(&self.db(), &self.settings()).await.unwrap().parts
    }

    /// Opens another connection.
    pub async fn connect(&self) -> Client {
        connect(&self.url).await.0
    }

    /// Runs statements.
    pub async fn run(&self, sql: &str) {
        self.client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// Runs statements in a session of this role.
    pub async fn run_as(&self, role: &str, sql: &str) {
        let (client, _) = connect(&self.url_as(role)).await;
        client
            .batch_execute(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// The value of a query with one row and one column.
    pub async fn value<T: tokio_postgres::types::FromSqlOwned>(&self, sql: &str) -> T {
        self.client
            .query_one(sql, &[])
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
            .get(0)
    }

    /// Inserts or updates an agent, like the UI.
    pub async fn save(&self, slug: &str, voice_settings: &str) {
        let sql = "INSERT INTO agents (slug, name, system_prompt, voice_settings)
            VALUES ($1, 'Agent ' || $1, 'You are ' || $1, $2::text::jsonb)
            ON CONFLICT (slug) DO UPDATE SET voice_settings = excluded.voice_settings";
        let parameters: [&(dyn ToSql + Sync); 2] = [&slug, &voice_settings];
        self.client.execute(sql, &parameters).await.unwrap();
    }

    /// Gives an agent an empty configuration.
    pub async fn configure(&self, slug: &str) {
        let sql =
            "INSERT INTO agent_configurations (agent_slug, provider_config) VALUES ($1, '{}')";
        self.client.execute(sql, &[&slug]).await.unwrap();
    }

    /// The row of a configuration, if there is exactly one.
    pub async fn configuration(&self, slug: &str) -> Option<Row> {
        let sql = "SELECT agent_name, system_prompt, voice_id, temperature::float8 AS temperature,
            provider_config::text AS provider_config, voice_settings::text AS voice_settings,
            updated_at > '2021-01-01' AS touched
            FROM agent_configurations WHERE agent_slug = $1";
        self.client.query_opt(sql, &[&slug]).await.unwrap()
    }

    /// The `provider_config` of an agent's configuration.
    pub async fn provider_config(&self, slug: &str) -> Value {
        let row = self.configuration(slug).await.expect("a configuration");
        row.get::<_, Option<&str>>("provider_config")
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
    }

    /// Waits until a configuration's `provider_config` is this.
    pub async fn becomes(&self, slug: &str, expected: &str) {
        let expected: Value = serde_json::from_str(expected).unwrap();
        let what = format!("the provider_config of {slug} becomes {expected}");
        eventually(&what, async || self.provider_config(slug).await == expected).await;
    }

    /// Waits until the query returns true.
    pub async fn holds(&self, sql: &str) {
        eventually(sql, async || self.value::<bool>(sql).await).await;
    }

    /// Waits until the outbox is empty and the last batch is committed.
    pub async fn drained(&self) {
        self.holds("SELECT NOT EXISTS (SELECT FROM agent_sync.outbox)")
            .await;
    }

    /// The problem noted for a slug: its kind and detail.
    pub async fn problem(&self, slug: &str) -> Option<(String, String)> {
        let sql = "SELECT kind, detail FROM agent_sync.problem WHERE slug = $1";
        self.client
            .query_opt(sql, &[&slug])
            .await
            .unwrap()
            .map(|row| (row.get(0), row.get(1)))
    }

    /// How many problems are noted.
    pub async fn problems(&self) -> i64 {
        self.value("SELECT count(*) FROM agent_sync.problem").await
    }

    /// The slugs in the outbox, the oldest change first; for tests without a daemon.
    pub async fn outbox(&self) -> Vec<String> {
        let rows = self
            .client
            .query("SELECT slug FROM agent_sync.outbox ORDER BY at, slug", &[])
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The notices of the server on [`Platform::client`].
    pub fn notices(&self) -> Vec<String> {
        self.notices.lock().unwrap().clone()
    }

    /// Takes the notices of the server on [`Platform::client`].
    pub fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }
}

/// Connects and collects the notices of the server.
pub async fn connect(url: &str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&notices);
    tokio::spawn(async move {
        while let Some(Ok(message)) =
            std::future::poll_fn(|context| connection.poll_message(context)).await
        {
            match message {
                AsyncMessage::Notice(notice) => {
                    kept.lock().unwrap().push(format!(
                        "{}: {}",
                        notice.severity(),
                        notice.message()
                    ));
                }
                AsyncMessage::Notification(note) => {
                    kept.lock().unwrap().push(format!(
                        "NOTIFY {} {:?}",
                        note.channel(),
                        note.payload()
                    ));
                }
                _ => {}
            }
        }
    });
    if shadow::is_wanted() {
        client.batch_execute(shadow::USUAL_PATH).await.unwrap();
    }
    (client, notices)
}

/// The SQL that makes the agent `wide` with so many configurations.
pub fn wide(configurations: u32) -> String {
    format!(
        "INSERT INTO agents (slug, name, voice_settings)
           VALUES ('wide', 'n', '{{\"provider\": \"openai\", \"voice_id\": \"v\"}}');
         INSERT INTO agent_configurations (agent_slug)
           SELECT 'wide' FROM generate_series(1, {configurations})"
    )
}

/// The SQL that puts so many keys into the settings of each of these configurations.
pub fn widen(keys: u32) -> String {
    format!(
        "WITH wide AS MATERIALIZED (
             SELECT jsonb_object_agg('key-' || i, true) AS settings
             FROM generate_series(1, {keys}) i)
         UPDATE agent_configurations SET voice_settings = wide.settings
         FROM wide WHERE agent_slug = 'wide'"
    )
}
