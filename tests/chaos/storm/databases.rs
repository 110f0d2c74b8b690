//! Random databases with tenants (T5, G13): several at a time in one cluster, served by one daemon.
//!
//! In each, slugs are equal across ten tenants, and random writers save, rename, swap, delete and
//! move agents and configurations within a tenant and from one to another, while tables are
//! rewritten. Names and prompts bear the mark of their tenant. At the end of each, the oracle of
//! the storm compares every row, a witness has seen every write of the daemon, and no configuration
//! has the mark of another tenant.
//!
//! `make storm-tenants DATABASES=200 SEED=1` is the long version.

use std::process::Command;
use std::time::{Duration, Instant};

use agent_sync_testbed::{Cluster, Options};
use fastrand::Rng;
use tokio::task::JoinHandle;

use super::link::Link;
use super::tally::Tally;
use super::world::{COLUMNS, TENANTS, populate, request, tenants};
use super::writers::Writer;
use super::{nothing_found, told};
use crate::support::platform::TABLES;
use crate::support::{Daemon, Said};

/// The databases that one daemon serves at a time.
const TOGETHER: usize = 8;

/// The writers in each database.
const WRITERS: usize = 2;

/// One database.
struct Database {
    name: String,
    admin: Link,
    /// The number of its type of tenants in [`TENANTS`].
    kind: usize,
    rng: Rng,
}

/// GIVEN random databases with tenants of each type, whose slugs are equal, WHEN random writers
/// change them, THEN no value of one tenant is in the row of another.
#[tokio::test]
async fn g13_random_tenant_databases_keep_their_values_apart() {
    let (seed, databases) = (told("STORM_SEED", 1), told("STORM_DATABASES", 6));
    eprintln!("storm: seed {seed}, {databases} databases with tenants");
    let start = Instant::now();
    let settings = "synchronous_commit = off\ndeadlock_timeout = 200ms\nmax_connections = 100\n";
    let cluster = Cluster::start(Options {
        settings,
        ..Options::default()
    })
    .unwrap();
    let mut postgres = Link::to(&cluster.url("postgres"), "storm");
    postgres
        .run(
            "CREATE ROLE storm_owner LOGIN; CREATE ROLE storm_writer LOGIN; CREATE ROLE storm_daemon \
            LOGIN",
        )
        .await;
    for kind in 0..TENANTS.len() {
        make_template(&cluster, &mut postgres, kind).await;
    }
    let numbers: Vec<u64> = (0..databases).collect();
    let mut total = Tally::default();
    let mut written = 0;
    for part in numbers.chunks(TOGETHER) {
        written += together(&cluster, &mut postgres, seed, part, &mut total).await;
        let done = part.last().map_or(0, |last| last + 1);
        if done % 40 == 0 {
            let seconds = start.elapsed().as_secs_f64();
            eprintln!("storm: {done} of {databases} databases, {seconds:.0} s");
        }
    }
    total.print(seed, start.elapsed(), &written.to_string());
}

/// Creates a database with tenants of this type and an install, without agents, to be copied.
async fn make_template(cluster: &Cluster, postgres: &mut Link, kind: usize) {
    let name = template(kind);
    postgres
        .run(&format!("CREATE DATABASE {name} OWNER storm_owner"))
        .await;
    let mut admin = Link::to(&cluster.url(&name), "storm");
    admin.run("ALTER SCHEMA public OWNER TO storm_owner").await;
    let columns = tenants(TENANTS[kind]);
    admin
        .run(&format!(
            "SET ROLE storm_owner; {TABLES}; {columns}; RESET ROLE"
        ))
        .await;
    admin.run(include_str!("tables.sql")).await;
    admin.run(include_str!("databases.sql")).await;
    let mut install = command(cluster, &[&name], "storm_owner", 1);
    install.args(["install", "--role", "storm_daemon"]);
    let said = Said::of(install).await;
    assert_eq!(said.code, 0, "{said:?}");
    admin.run(include_str!("oracle.sql")).await;
    drop(admin);
    // A database that is in use cannot be copied.
    let used = format!("SELECT pid::text FROM pg_stat_activity WHERE datname = '{name}'");
    while !postgres.texts(&used).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn template(kind: usize) -> String {
    format!("template_{}", TENANTS[kind].0)
}

/// The program with an entry for each database.
fn command(cluster: &Cluster, databases: &[&str], role: &str, batch_size: u32) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        // A short sweep interval would hide a lost wake-up.
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")
        .env("AGENT_SYNC__SYNC__LOCK_TIMEOUT", "100ms")
        .env("AGENT_SYNC__SYNC__BATCH_SIZE", batch_size.to_string());
    for name in databases {
        let key = format!("AGENT_SYNC__DATABASES__{}__", name.to_uppercase());
        command.env(format!("{key}URL"), url(cluster, name, role));
        for (name, column) in COLUMNS {
            command.env(format!("{key}{name}"), column);
        }
    }
    command
}

fn url(cluster: &Cluster, database: &str, role: &str) -> String {
    let url = cluster.url(database);
    url.replacen("postgres@", &format!("{role}@"), 1)
}

/// Creates the databases with these numbers, changes them while one daemon serves all, and compares
/// every row. Returns how many configurations the daemon has written.
async fn together(
    cluster: &Cluster,
    postgres: &mut Link,
    seed: u64,
    numbers: &[u64],
    total: &mut Tally,
) -> u64 {
    let mut databases = Vec::new();
    for number in numbers {
        databases.push(create(cluster, postgres, seed, *number).await);
    }
    let batch_size = [1, 7, 50, 500][databases[0].rng.usize(..4)];
    let names: Vec<&str> = databases.iter().map(|one| &*one.name).collect();
    let mut run = command(cluster, &names, "storm_daemon", batch_size);
    run.arg("run");
    let daemon = Daemon::start_at_level(run, Some("info"));
    daemon.logged_times("caught up", names.len()).await;
    let mut changes = Vec::new();
    for database in &mut databases {
        let what = database.what(seed, "at first");
        nothing_found(&mut database.admin, &what).await;
        changes.extend(database.changes(cluster));
    }
    for change in changes {
        total.add(change.await.unwrap());
    }
    let mut written = 0;
    for database in &mut databases {
        let (over, what) = (Instant::now(), database.what(seed, "at the end"));
        nothing_found(&mut database.admin, &what).await;
        let mixed = database.admin.texts("SELECT * FROM storm.mixed()").await;
        assert!(mixed.is_empty(), "{what}: {mixed:#?}");
        let last = "SELECT last_value::text FROM storm.written";
        written += database.admin.texts(last).await[0].parse::<u64>().unwrap();
        total.heal(over.elapsed(), &what);
        total.rounds += 1;
    }
    for state in total.failures.keys() {
        let is_explained = ["40P01", "23505 agents_slug_key"].contains(&&**state);
        assert!(is_explained, "a statement failed: {state}");
    }
    assert!(daemon.terminate().await.success());
    for database in databases {
        drop(database.admin);
        let drop = format!("DROP DATABASE {} WITH (FORCE)", database.name);
        postgres.run(&drop).await;
    }
    written
}

/// Creates a database with random agents and configurations; the seed and its number decide all of
/// it.
async fn create(cluster: &Cluster, postgres: &mut Link, seed: u64, number: u64) -> Database {
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
    let (kind, name) = (rng.usize(..TENANTS.len()), format!("tenants_{number}"));
    postgres
        .run(&format!(
            "CREATE DATABASE {name} OWNER storm_owner TEMPLATE {}",
            template(kind)
        ))
        .await;
    let mut admin = Link::to(&cluster.url(&name), "storm");
    populate(&mut admin, &mut rng).await;
    Database {
        name,
        admin,
        kind,
        rng,
    }
}

impl Database {
    fn what(&self, seed: u64, when: &str) -> String {
        let (name, of_type) = (&self.name, TENANTS[self.kind].0);
        format!("{name} of seed {seed} with tenants of the type {of_type}, {when}")
    }

    /// Starts the writers and the changes that concern whole tables.
    fn changes(&mut self, cluster: &Cluster) -> Vec<JoinHandle<Tally>> {
        let until = Instant::now() + Duration::from_millis(self.rng.u64(150..600));
        let request = request(Some(TENANTS[self.kind].0));
        let mut changes = Vec::new();
        for writer in 0..WRITERS {
            let name = format!("{}w{writer}", self.name.replace('_', ""));
            let url = url(cluster, &self.name, "storm_writer");
            let writer = Writer::at(&url, request, name, self.rng.fork());
            changes.push(tokio::spawn(writer.write(until)));
        }
        let mut statements = Vec::new();
        if self.rng.bool() {
            statements.push("VACUUM FULL agent_configurations");
        }
        if self.rng.bool() {
            statements.extend(OTHER_TENANTS);
        }
        let admin = Link::to(&cluster.url(&self.name), "storm");
        changes.push(tokio::spawn(on_tables(admin, statements, self.rng.fork())));
        changes
    }
}

/// Gives every agent of the crowd another tenant, and later its configurations the same.
const OTHER_TENANTS: [&str; 2] = [
    "UPDATE agents SET slug = left(slug, -1) || chr(ascii(right(slug, 1)) + 20)
       WHERE slug LIKE 'crowd-%'",
    "UPDATE agent_configurations SET agent_slug = left(agent_slug, -1) || chr(ascii(right(agent_slug,
       1)) + 20) WHERE agent_slug LIKE 'crowd-%'",
];

/// Runs each statement after a random pause, and again after a deadlock.
async fn on_tables(mut admin: Link, statements: Vec<&str>, mut rng: Rng) -> Tally {
    for statement in statements {
        tokio::time::sleep(Duration::from_millis(rng.u64(..150))).await;
        while let Err(error) = admin.client().await.batch_execute(statement).await {
            let state = error.code().map(tokio_postgres::error::SqlState::code);
            assert_eq!(state, Some("40P01"), "{statement}: {error:?}");
        }
    }
    Tally::default()
}
