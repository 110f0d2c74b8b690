//! The storm (G1 to G6): writers make random changes while a nemesis injects random faults, round
//! after round. After each round the writers pause, and an oracle that shares no code with the
//! program compares every row.
//!
//! | file | content |
//! |---|---|
//! | `writers.rs`, `words.rs` | the changes and their values |
//! | `plan.rs`, `nemesis.rs` | the faults and their choice; how each begins and ends |
//! | `world.rs`, `servers.rs` | the daemons and servers that the faults affect |
//! | `tables.sql`, `oracle.sql` | the ledger and the witness; an independent mapping in SQL |
//! | `watch.rs` | the check that no writer waits for agent-sync |
//! | `link.rs`, `tally.rs` | reconnecting connections; the figures |
//! | `partitions.rs` | tables with partitions that come and go |
//! | `databases.rs` | many databases with tenants, without faults |
//!
//! `make storm ROUNDS=500 SEED=7` is the long version; the suite has a short one. The seed and the
//! number of a round alone determine its events, so a failed seed repeats its schedule, apart from
//! the timing of the machine. The daemons sweep once an hour, so no sweep repairs a lost change.
//! With an odd seed they audit every second, and an audit that finds a lost change fails the storm.
//! With every third seed, the second daemon connects through a pooler in session mode.

mod databases;
mod link;
mod nemesis;
mod partitions;
mod plan;
mod servers;
mod tally;
mod watch;
mod words;
mod world;
mod writers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use link::Link;
use plan::{AGENTS_AWAY, CONFIGURATIONS_AWAY, Plan};
use tally::Tally;
use world::World;
use writers::Writer;

use crate::support::{can_have_standby, shadow};

/// The number of concurrent writers.
const WRITERS: usize = 4;

/// A statement that meets a row while another one moves it to another partition.
const MOVED: &str = "40001 tuple to be locked was already moved to another partition due to \
    concurrent update";

/// The time limit for the sync after the end of the faults; with these settings, a daemon that hung
/// in a batch is noticed after 7 s at most.
const HEALING: Duration = Duration::from_secs(30);

/// The number of pings after each round, and their time limit. A ping is a few saves with nothing
/// after them, so it reveals a lost wake-up.
const PINGS: u32 = 50;
/// See [`PINGS`].
const PING: Duration = Duration::from_secs(10);

/// The number of times that all configurations move while one agent is saved, in every fourth
/// round.
const MOVES: u32 = 8;

/// The kinds of storms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// With equal slugs of several tenants; the seed decides their type.
    Tenants,
    /// With tables that have partitions.
    Partitions,
    /// With a synchronous standby, to which each round fails over.
    Failover,
}

/// A parameter of `make storm`, or its default.
fn told(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| {
        value
            .parse()
            .unwrap_or_else(|_| panic!("expected a whole number in {name}, found {value:?}"))
    })
}

/// With one table of agents and one of configurations, on one server.
#[tokio::test]
async fn g1_to_g6_hold_in_a_storm() {
    storm(Kind::Plain, 12).await;
}

/// With equal slugs of several tenants.
#[tokio::test]
async fn g1_to_g6_hold_in_a_storm_with_tenants() {
    storm(Kind::Tenants, 6).await;
}

/// With tables whose partitions come and go.
#[tokio::test]
async fn g1_to_g6_hold_in_a_storm_of_partitions() {
    storm(Kind::Partitions, 5).await;
}

/// With a standby that takes the place of the primary, again and again.
#[tokio::test]
async fn g1_to_g6_hold_in_a_storm_with_failover() {
    if shadow::is_wanted() {
        eprintln!("skipped: the watch of the foreign names follows no server");
        return;
    }
    storm(Kind::Failover, 4).await;
}

/// A storm with this number of rounds, unless `make storm` says otherwise.
async fn storm(kind: Kind, rounds: u64) {
    let (seed, rounds) = (told("STORM_SEED", 1), told("STORM_ROUNDS", rounds));
    eprintln!("storm: {kind:?}, seed {seed}, {rounds} rounds");
    let start = Instant::now();
    let mut world = World::make(seed, kind).await;
    if kind == Kind::Failover && !can_have_standby(&world.servers.primary) {
        return;
    }
    let mut total = Tally::default();
    healed(&mut world, "at first").await;
    for number in 0..rounds {
        round(&mut world, &mut total, seed, number).await;
        if number % 10 == 9 {
            eprintln!(
                "storm: round {} of {rounds}, {:.0} s",
                number + 1,
                start.elapsed().as_secs_f64()
            );
        }
    }
    for number in 0..2 {
        world.end(number, "TERM").await;
    }
    let written = world
        .admin
        .texts("SELECT last_value::text FROM storm.written")
        .await
        .remove(0);
    total.print(seed, start.elapsed(), &written);
}

async fn round(world: &mut World, total: &mut Tally, seed: u64, number: u64) {
    world.complete().await;
    let mut rng = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number);
    let plan = Plan::of(&mut rng, world.kind);
    let again = number + 1;
    let what = format!(
        "round {number} (again: make storm SEED={seed} ROUNDS={again}), {:?}",
        plan.faults
    );
    for name in plan.names() {
        *total.faults.entry(name).or_default() += 1;
    }
    // The retry of a refused write would wake a daemon that sleeps too deeply.
    let refused = number % 4 == 3;
    let until = Instant::now() + plan.lasts;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let name = format!("s{seed}r{number}w{writer}");
            let writer = Writer::new(world, name, rng.fork(), refused);
            tokio::spawn(writer.write(until))
        })
        .collect();
    let counter = writers::count(world.url("storm_writer"), world.counted, until);
    let counter = tokio::spawn(counter);
    let stop = Arc::new(AtomicBool::new(false));
    let watch = tokio::spawn(watch::watch(world.url("postgres"), Arc::clone(&stop)));
    let ending = tokio::spawn(writers::end_prepared(
        world.url("postgres"),
        Arc::clone(&stop),
    ));
    nemesis::rage(world, &plan, &mut rng).await;
    let mut tally = Tally::default();
    for writer in writers {
        tally.add(writer.await.unwrap());
    }
    world.counted = counter.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    ending.await.unwrap();
    let (looks, waited) = watch.await.unwrap();
    assert!(
        waited.is_empty(),
        "{what}: writers waited for agent-sync: {waited:#?}"
    );
    tally.looks = looks;
    for state in tally.failures.keys() {
        let explained = match state.as_str() {
            "40P01" | "23505 agents_slug_key" => true,
            "gone" | "57P01" | "57P02" | "57P03" => plan.hits_writers(),
            // Rare and documented in docs/reliability.md: after its first 50 appends a transaction
            // only checks the privilege.
            "42501 permission denied for table outbox" => {
                plan.names().contains(&"capture without privilege")
            }
            "23514 no partition of relation \"agents\" found for row" => {
                plan.names().contains(&AGENTS_AWAY)
            }
            "23514 no partition of relation \"agent_configurations\" found for row" => {
                plan.names().contains(&CONFIGURATIONS_AWAY)
            }
            // Another writer has renamed the agent, or moved the configuration.
            MOVED => world.kind == Kind::Partitions,
            _ => false,
        };
        assert!(
            explained,
            "{what}: a statement failed for no reason of its own: {state}"
        );
    }
    total.add(tally);

    let over = Instant::now();
    let is_missed = world.needs_sweep;
    world.settle(&mut rng).await;
    healed(world, &what).await;
    total.heal(over.elapsed(), &what);
    if refused {
        world
            .admin
            .run("UPDATE agents SET name = 'cured' WHERE name LIKE 'refused%'")
            .await;
        healed(world, &what).await;
    }
    survived(world, &what).await;
    ping(world, total, &mut rng, &what).await;
    healed(world, &what).await;
    if number % 4 == 1 && !world.two_phase {
        move_rows(world, &mut rng, &what).await;
        healed(world, &what).await;
    }
    world.unaccused(&what, is_missed);
    total.rounds += 1;
}

/// What may keep a change from being applied: rows of the outbox, problems, prepared transactions,
/// and the sessions of the daemons.
const STATE: &str = "
    SELECT 'outbox ' || o::text FROM agent_sync.outbox o
    UNION ALL SELECT 'problem ' || left(p::text, 300) FROM agent_sync.problem p
      WHERE p.kind = 'failed'
    UNION ALL SELECT 'prepared ' || x.gid FROM pg_prepared_xacts x
    UNION ALL SELECT 'install ' || left(i::text, 300) FROM agent_sync.install i
    UNION ALL SELECT format('session %s %s %s %s %s %s', s.pid, s.application_name, s.state,
        s.wait_event, now() - s.state_change, left(s.query, 200))
      FROM pg_stat_activity s WHERE s.application_name LIKE 'agent-sync%'
    UNION ALL SELECT format('lock %s %s %s %s', l.pid, l.objid, l.mode, l.granted)
      FROM pg_locks l WHERE l.locktype = 'advisory'";

/// Waits until the oracle finds nothing.
async fn healed(world: &mut World, what: &str) {
    nothing_found(&mut world.admin, what).await;
}

/// Waits until the oracle of a database finds nothing.
async fn nothing_found(admin: &mut Link, what: &str) {
    let start = Instant::now();
    loop {
        let busy = admin
            .texts("SELECT slug FROM agent_sync.outbox LIMIT 1")
            .await;
        if busy.is_empty() || start.elapsed() > HEALING {
            let took = start.elapsed();
            let found = admin
                .texts("SELECT * FROM storm.discrepancies() LIMIT 10")
                .await;
            if found.is_empty() {
                return;
            }
            let damage = found.iter().any(|line| line.starts_with("damage"));
            if damage || start.elapsed() >= HEALING {
                eprintln!("{what}: {:#?}", admin.texts(STATE).await);
            }
            assert!(
                !damage && start.elapsed() < HEALING,
                "{what}: after {took:?} the oracle finds {found:#?}"
            );
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Asserts that the last acknowledged save of the agent `counted` is not lost.
async fn survived(world: &mut World, what: &str) {
    let now = "SELECT coalesce(storm.count(name), 0)::text FROM agents WHERE slug = 'counted'";
    let now: u64 = world.admin.texts(now).await.remove(0).parse().unwrap();
    let acknowledged = world.counted.acknowledged;
    assert!(
        now >= acknowledged,
        "{what}: the save {acknowledged} was acknowledged, and {now} is there"
    );
}

/// Saves one agent a few times at moments in which the daemon is about to sleep or to wake up, and
/// waits until its configuration is synced; repeatedly. A single save finds the daemon asleep; only
/// a save right after another can meet it half asleep.
async fn ping(world: &mut World, total: &mut Tally, rng: &mut Rng, what: &str) {
    let pings = if world.two_phase { 3 } else { PINGS };
    let client = world.admin.client().await;
    let save = client
        .prepare("UPDATE agents SET name = $1 WHERE slug = 'ping'")
        .await
        .unwrap();
    let followed = "SELECT FROM agent_configurations WHERE agent_slug = 'ping' AND agent_name = $1";
    let followed = client.prepare(followed).await.unwrap();
    for number in 0..pings {
        let mut name = String::new();
        for _ in 0..rng.u32(1..5) {
            rest(Duration::from_micros(rng.u64(..1500))).await;
            name = format!("ping {number} {}", rng.u64(..));
            client.execute(&save, &[&name]).await.unwrap();
        }
        let start = Instant::now();
        while client
            .query_opt(&followed, &[&name])
            .await
            .unwrap()
            .is_none()
        {
            assert!(
                start.elapsed() < PING,
                "{what}: nothing came of a save after the storm, ping {number}, for {PING:?}"
            );
        }
        total.pings.push(start.elapsed());
    }
}

/// Saves one agent repeatedly while all configurations move to other ctids and share one version
/// (G13): the daemon's ctid refers to another row by the time of its write. The witness detects a
/// write to the wrong row.
async fn move_rows(world: &mut World, rng: &mut Rng, what: &str) {
    let url = world.url("postgres");
    for number in 0..MOVES {
        // One transaction writes all rows and packs them; then gaps at the front make all rows move
        // forward.
        for statement in [
            "UPDATE agent_configurations SET notes = notes",
            "VACUUM FULL agent_configurations",
            "UPDATE agent_configurations SET notes = notes
                 WHERE ctid = ANY (ARRAY(SELECT ctid FROM agent_configurations
                   WHERE agent_slug <> 'ping' ORDER BY ctid LIMIT 3))",
        ] {
            world.admin.run(statement).await;
        }
        healed(world, what).await;
        let mut mover = Link::to(&url, "storm mover");
        let pause = Duration::from_micros(rng.u64(..2500));
        let moving = tokio::spawn(async move {
            let client = mover.client().await;
            rest(pause).await;
            client
                .batch_execute("VACUUM FULL agent_configurations")
                .await
                .unwrap();
        });
        world
            .admin
            .run(&format!(
                "UPDATE agents SET name = 'ping moved {number} {}' WHERE slug = 'ping'",
                rng.u64(..)
            ))
            .await;
        moving.await.unwrap();
    }
}

/// A pause below the resolution of the runtime's timer.
async fn rest(pause: Duration) {
    let start = Instant::now();
    while start.elapsed() < pause {
        tokio::task::yield_now().await;
    }
}
