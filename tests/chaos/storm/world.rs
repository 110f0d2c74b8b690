//! The environment of the storm: the servers, the platform with the storm's tables, and two daemons,
//! one of them behind a proxy.

use std::process::Command;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Kind;
use super::link::Link;
use super::nemesis::{self, DROP_CHILD, SET_DEFAULT, UNPUBLISH, show};
use super::partitions::{attach, divided};
use super::servers::Servers;
use super::words::{owned, quote, rest};
use super::writers::{AGENTS, CROWD, Counted};
use crate::support::platform::TABLES;
use crate::support::pooler::Pooler;
use crate::support::shadow::{self, Watch};
use crate::support::{Daemon, TIMEOUT};

/// The password of a daemon that comes over TCP.
const PASSWORD: &str = "at first";

/// The embedded rules; the variants differ in values that the oracle knows.
const RULES: &str = include_str!("../../../config/providers.toml");

/// Everything that the nemesis can affect.
#[allow(clippy::struct_excessive_bools)] // Independent facts.
pub struct World {
    /// The check for calls of shadowing names; it runs before the end of the cluster.
    _watch: Option<Watch>,
    pub servers: Servers,
    pub admin: Link,
    pub kind: Kind,
    pub daemons: [Option<Daemon>; 2],
    rules: tempfile::TempDir,
    /// The variant of the rules in the file, and whether the daemons may have another one.
    pub variant: bool,
    pub rules_changed: bool,
    /// Whether a fault happened that a daemon notices only in its next sweep (G1).
    pub needs_sweep: bool,
    /// The number of the last fault of the capture that each daemon's audit has reported.
    pub accusations: [usize; 2],
    pub two_phase: bool,
    pub counted: Counted,
    /// The type of the tenants, if there are tenants.
    tenants: Option<&'static str>,
    batch_size: u32,
    audits: bool,
    /// In front of the second daemon, in session mode.
    pooler: Option<Pooler>,
}

/// The types of tenants, each with the tenant of a name.
pub const TENANTS: [(&str, &str); 3] = [
    ("text", "right({name}, 1)"),
    ("integer", "ascii(right({name}, 1))"),
    (
        "uuid",
        "('00000000-0000-4000-8000-' || lpad(to_hex(ascii(right({name}, 1))), 12, '0'))::uuid",
    ),
];

/// The columns with tenant and slug, computed from the name of the agent. The writers know the name
/// alone, and the daemon knows the two columns alone. The index is not unique, because the writers
/// know the conflicts of names alone.
pub fn tenants((of_type, tenant): (&str, &str)) -> String {
    let tables = [("agents", "slug"), ("agent_configurations", "agent_slug")];
    let columns = tables.map(|(table, name)| {
        let tenant = tenant.replace("{name}", name);
        format!(
            "ALTER TABLE {table} ADD COLUMN client_id {of_type} GENERATED ALWAYS AS ({tenant}) STORED,
               ADD COLUMN short text GENERATED ALWAYS AS (left({name}, -1)) STORED;
             CREATE INDEX ON {table} (client_id, short)"
        )
    });
    columns.join("; ")
}

/// The settings of these columns: the name in an entry of the settings, and the column.
pub const COLUMNS: [(&str, &str); 4] = [
    ("AGENTS__COLUMNS__SLUG", "short"),
    ("AGENTS__COLUMNS__TENANT", "client_id"),
    ("CONFIGURATIONS__COLUMNS__AGENT_SLUG", "short"),
    ("CONFIGURATIONS__COLUMNS__TENANT", "client_id"),
];

/// The name of an agent in a request (I7), as an expression over its name `name`, with tenants of
/// this type.
pub fn request(of_type: Option<&str>) -> &'static str {
    match of_type {
        Some("text") => "right(name, 1) || '/' || left(name, -1)",
        Some("integer") => "ascii(right(name, 1)) || '/' || left(name, -1)",
        // Of every tenant.
        Some(_) => "left(name, -1)",
        None => "name",
    }
}

impl World {
    /// Creates the environment: all agents in sync, and both daemons started.
    pub async fn make(seed: u64, kind: Kind) -> Self {
        let number = usize::try_from(seed).unwrap() % TENANTS.len();
        let of_tenants = (kind == Kind::Tenants).then_some(TENANTS[number]);
        let tables = match kind {
            Kind::Partitions => divided(TABLES),
            _ => TABLES.to_owned(),
        };
        let mut rng = Rng::with_seed(seed);
        let two_phase = seed.is_multiple_of(4);
        let servers = Servers::start(kind, two_phase).await;
        let cluster = &servers.primary;
        let mut postgres = Link::to(&cluster.url("postgres"), "storm nemesis");
        postgres
            .run(
                "CREATE ROLE storm_owner LOGIN; CREATE ROLE storm_writer LOGIN; CREATE ROLE \
                storm_daemon LOGIN",
            )
            .await;
        let shadow = if shadow::is_wanted() {
            shadow::copy_of_template(cluster, postgres.client().await).await
        } else {
            String::new()
        };
        postgres
            .run(&format!("CREATE DATABASE storm OWNER storm_owner {shadow}"))
            .await;
        let watch = if shadow::is_wanted() {
            let admin = postgres.client().await;
            Some(Watch::begin(admin, "storm", cluster.url("storm")).await)
        } else {
            None
        };
        let mut admin = Link::to(&cluster.url("storm"), "storm nemesis");
        admin.run("ALTER SCHEMA public OWNER TO storm_owner").await;
        admin
            .run(&format!(
                "SET ROLE storm_owner; {tables}; {}; RESET ROLE",
                of_tenants.map(tenants).unwrap_or_default()
            ))
            .await;
        admin.run(include_str!("tables.sql")).await;
        populate(&mut admin, &mut rng).await;
        let pooler = match seed % 3 {
            1 if kind != Kind::Failover => Pooler::start(cluster, "storm_daemon", POOLER).await,
            _ => None,
        };
        let mut world = Self {
            servers,
            pooler,
            admin,
            kind,
            daemons: [None, None],
            rules: tempfile::tempdir().unwrap(),
            variant: false,
            rules_changed: false,
            needs_sweep: false,
            accusations: [0, 0],
            two_phase,
            counted: Counted::default(),
            audits: !seed.is_multiple_of(2),
            tenants: of_tenants.map(|(of_type, _)| of_type),
            batch_size: [1, 7, 50, 500][rng.usize(..4)],
            _watch: watch,
        };
        world.write_rules(world.variant);
        world.set_password(PASSWORD).await;
        world.put("password", PASSWORD);
        let installed = world
            .run_command("storm_owner", &["install", "--role", "storm_daemon"])
            .await;
        assert!(
            installed.status.success(),
            "{}",
            String::from_utf8_lossy(&installed.stderr)
        );
        world.admin.run(include_str!("oracle.sql")).await;
        world.start(0).await;
        world.start(1).await;
        world
    }

    /// The URL of the database for a role, by the socket.
    pub fn url(&self, role: &str) -> String {
        self.servers.url(role)
    }

    /// Makes a standby in a storm with failover.
    pub async fn complete(&mut self) {
        if self.kind == Kind::Failover {
            self.servers.complete(&mut self.admin).await;
            self.admin = Link::to(&self.url("postgres"), "storm nemesis");
        }
    }

    fn command(&self, url: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command.env_clear().args(arguments).env("DATABASE_URL", url);
        for (name, value) in [
            (
                "RULES__FILE",
                self.rules.path().join("providers.toml").to_str().unwrap(),
            ),
            (
                "DATABASES__DEFAULT__PASSWORD_FILE",
                self.rules.path().join("password").to_str().unwrap(),
            ),
            // A short sweep interval would hide a lost wake-up. So would the audit, but it reports
            // what it finds (`unaccused`).
            ("SYNC__SWEEP_INTERVAL", "1h"),
            ("AUDIT__INTERVAL", if self.audits { "1s" } else { "off" }),
            ("SYNC__BATCH_SIZE", &self.batch_size.to_string()),
            ("SYNC__PROBE_INTERVAL", "1s"),
            ("SYNC__PROBE_TIMEOUT", "1s"),
            ("SYNC__POLL_INTERVAL", "20ms"),
            ("SYNC__LOCK_TIMEOUT", "100ms"),
            ("SYNC__STATEMENT_TIMEOUT", "2s"),
            ("RECONNECT__INITIAL_DELAY", "10ms"),
            ("RECONNECT__MAX_DELAY", "200ms"),
            (
                "CAPTURE__NOTIFY",
                if self.two_phase { "false" } else { "true" },
            ),
        ] {
            command.env(format!("AGENT_SYNC__{name}"), value);
        }
        for (name, column) in COLUMNS.iter().filter(|_| self.tenants.is_some()) {
            command.env(format!("AGENT_SYNC__DATABASES__DEFAULT__{name}"), column);
        }
        command
    }

    /// The name of an agent in a request, as an expression over its name `name`.
    pub fn request(&self) -> &'static str {
        request(self.tenants)
    }

    /// Runs a command of agent-sync.
    pub async fn run_command(&self, role: &str, arguments: &[&str]) -> std::process::Output {
        let mut command = self.command(&self.url(role), arguments);
        tokio::task::spawn_blocking(move || {
            command.stdin(std::process::Stdio::null()).output().unwrap()
        })
        .await
        .unwrap()
    }

    /// Starts a daemon if it is not running, and waits until it has read its rules.
    pub async fn start(&mut self, number: usize) {
        if self.daemons[number].is_some() {
            return;
        }
        let url = match &self.pooler {
            Some(pooler) if number == 1 => pooler.url("storm"),
            _ => self.servers.url_of_daemon(number),
        };
        self.accusations[number] = 0;
        self.write_rules(self.variant);
        let daemon = Daemon::start_at_level(self.command(&url, &["run"]), Some("info"));
        let start = Instant::now();
        while daemon.log().is_empty() {
            assert!(start.elapsed() < TIMEOUT, "the daemon says nothing");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.daemons[number] = Some(daemon);
    }

    /// Ends a daemon with a signal; SIGTERM has to end it in time with exit code 0 (I4).
    pub async fn end(&mut self, number: usize, signal: &str) {
        let Some(mut daemon) = self.daemons[number].take() else {
            return;
        };
        if signal == "TERM" {
            // A frozen daemon receives the signal after SIGCONT.
            daemon.signal("CONT");
        }
        let start = Instant::now();
        daemon.signal(signal);
        let status = daemon.ended().await;
        if signal == "TERM" {
            assert!(
                status.success(),
                "after SIGTERM the daemon ended with {status}"
            );
            assert!(
                start.elapsed() < Duration::from_secs(6),
                "the daemon took {:?} to end",
                start.elapsed()
            );
        }
    }

    pub fn signal(&self, number: usize, name: &str) {
        if let Some(daemon) = &self.daemons[number] {
            daemon.signal(name);
        }
    }

    /// Writes a variant of the rules into the file, atomically.
    pub fn write_rules(&self, variant: bool) {
        let rules = if variant {
            RULES
                .replace("\"nova-2\"", "\"nova-3\"")
                .replace("\"whisper-large-v3\"", "\"whisper-large-v4\"")
                .replace(
                    "stability              = { type = \"number\", min = 0, max = 1 }",
                    "stability              = { type = \"number\", min = 0, max = 0.5 }",
                )
        } else {
            RULES.to_owned()
        };
        self.put_rules(&rules);
    }

    /// Replaces the content of the rules file.
    pub fn put_rules(&self, text: &str) {
        self.put("providers.toml", text);
    }

    /// Replaces the content of a file that the daemons read.
    fn put(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let (new, file) = (self.rules.path().join("new"), self.rules.path().join(name));
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    async fn set_password(&mut self, password: &str) {
        let sql = format!("ALTER ROLE storm_daemon PASSWORD {}", quote(password));
        self.admin.run(&sql).await;
    }

    /// Sets another password, ends the sessions of the old one, and writes the file after a pause.
    pub async fn rotate_password(&mut self, number: u64, pause: Duration) {
        let password = format!("password {number}");
        self.set_password(&password).await;
        self.admin.run(DISCONNECT).await;
        tokio::time::sleep(pause).await;
        self.put("password", &password);
    }

    /// Asserts that no audit has reported a fault of the capture since the last call, unless there
    /// was one.
    pub fn unaccused(&mut self, what: &str, unless: bool) {
        for (daemon, before) in self.daemons.iter().zip(&mut self.accusations) {
            let Some(daemon) = daemon else { continue };
            let lines = daemon.lines("never noticed");
            let new = &lines[*before..];
            assert!(
                unless || new.is_empty(),
                "{what}: an audit reports a fault of the capture: {new:#?}"
            );
            *before = lines.len();
        }
    }

    /// Ends the faults and does the operator's part of the contract: ends prepared transactions,
    /// requests every agent after a change of the rules, and causes a sweep where one is needed.
    pub async fn settle(&mut self, rng: &mut Rng) {
        let network = &self.servers.network;
        network.flow();
        network.delay(Duration::ZERO);
        network.disarm();
        for number in 0..2 {
            self.signal(number, "CONT");
            if let Some(daemon) = &mut self.daemons[number] {
                assert!(daemon.is_running(), "a daemon ended by itself");
            }
            self.start(number).await;
        }
        for gid in self.admin.texts("SELECT gid FROM pg_prepared_xacts").await {
            let ending = if rng.bool() { "COMMIT" } else { "ROLLBACK" };
            self.admin
                .run(&format!("{ending} PREPARED {}", quote(&gid)))
                .await;
        }
        // Ends every fault again, because the server may have been down at its end.
        nemesis::resume(self).await;
        if std::mem::take(&mut self.rules_changed) {
            self.adopt_rules(rng).await;
        }
        if std::mem::take(&mut self.needs_sweep) {
            for statement in [UNPUBLISH, SET_DEFAULT, DROP_CHILD, &attach()] {
                self.admin.run(statement).await;
            }
            for table in HIDDEN {
                self.admin.run(&show(table)).await;
            }
            // A new connection sweeps first.
            let installed = self.run_command("storm_owner", &["install"]).await;
            assert!(
                installed.status.success(),
                "{}",
                String::from_utf8_lossy(&installed.stderr)
            );
            self.admin.run(DISCONNECT).await;
        }
    }

    /// Waits until both daemons have the rules of the file and then requests every agent, because
    /// changed rules write nothing by themselves.
    async fn adopt_rules(&mut self, rng: &mut Rng) {
        self.write_rules(self.variant);
        for daemon in self.daemons.iter().flatten() {
            let before = daemon.lines("settings reloaded").len();
            daemon.signal("HUP");
            daemon.logged_times("settings reloaded", before + 1).await;
        }
        let values = if self.variant {
            "('nova-3', 'whisper-large-v4', 0.5)"
        } else {
            "('nova-2', 'whisper-large-v3', 1)"
        };
        self.admin
            .run(&format!(
                "BEGIN; DELETE FROM storm.rules; INSERT INTO storm.rules VALUES {values}; COMMIT"
            ))
            .await;
        if rng.bool() {
            let output = self
                .run_command("storm_daemon", &["reconcile", "--all", "--yes"])
                .await;
            // Exit code 1: some agents are rejected or have no configuration.
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        } else {
            // With tenants, a row without tenant is about every tenant's agent with its slug.
            let slug = self.tenants.map_or("slug", |_| "short");
            self.admin
                .run(&format!(
                    "INSERT INTO agent_sync.outbox (slug) SELECT DISTINCT {slug} FROM agents; NOTIFY \
                    agent_sync"
                ))
                .await;
        }
    }
}

/// The tables whose rows the nemesis hides.
const HIDDEN: [&str; 4] = [
    "agents",
    "agent_configurations",
    "agent_sync.outbox",
    "agent_sync.problem",
];

/// The settings of the pooler. A server that restarts is tried again soon.
const POOLER: &str = "pool_mode = session\nserver_login_retry = 1";

/// Ends the sessions of daemons.
pub const DISCONNECT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \
    application_name LIKE 'agent-sync/%'";

/// Inserts the agents, most of them with configurations.
pub async fn populate(admin: &mut Link, rng: &mut Rng) {
    for number in 0..AGENTS {
        let slug = format!("agent-{number}");
        admin
            .run(&format!(
                "INSERT INTO agents (slug, name) VALUES ('{slug}', 'name at first')"
            ))
            .await;
        for _ in 0..[0, 1, 1, 1, 2][rng.usize(..5)] {
            let (rest, owned) = (rest(rng, "first"), owned(rng, "first"));
            admin
                .run(&format!(
                    "SELECT storm.configure('{slug}', {}, {}, 'first')",
                    quote(&rest),
                    quote(&owned)
                ))
                .await;
        }
    }
    admin
        .run(&format!(
            "INSERT INTO agents (slug, name) SELECT 'crowd-' || i, 'name at first'
                  FROM generate_series(0, {}) i;
             SELECT storm.configure('crowd-' || i, '{{\"custom\": 1.50}}', '{{}}', 'first')
               FROM generate_series(0, {}) i;
             INSERT INTO agents (slug) VALUES ('ping'), ('counted');
             SELECT storm.configure(slug, '{{}}', '{{}}', 'first')
               FROM (VALUES ('ping'), ('counted')) AS one (slug);
             ANALYZE",
            CROWD - 1,
            CROWD - 1
        ))
        .await;
}
