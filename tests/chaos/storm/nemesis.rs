//! The nemesis: injects the planned faults of a round, and ends the lasting ones.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::Kind;
use super::partitions::{self, AGENTS, CONFIGURATIONS, attach};
use super::plan::{Fault, Plan};
use super::world::{DISCONNECT, World};
use crate::support::proxy::Snap;

/// Hides the rows of a table from the daemon.
fn hide(table: &str) -> String {
    format!("ALTER ROLE storm_daemon NOBYPASSRLS; ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
}

/// Shows them again.
pub fn show(table: &str) -> String {
    format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
}

/// Begins [`Fault::AddChild`], and ends it.
const ADD_CHILD: &str = "
    CREATE TABLE IF NOT EXISTS agents_child () INHERITS (agents);
    INSERT INTO agents_child (slug, name)
      SELECT slug, 'name of another' FROM ONLY agents ORDER BY random() LIMIT 5";
pub const DROP_CHILD: &str = "DROP TABLE IF EXISTS agents_child";

/// The statements that end [`Fault::DropDefault`] and [`Fault::Publish`].
pub const SET_DEFAULT: &str =
    "ALTER TABLE agent_sync.outbox ALTER COLUMN at SET DEFAULT clock_timestamp()";
pub const UNPUBLISH: &str =
    "DROP PUBLICATION IF EXISTS storm; ALTER TABLE agent_sync.outbox REPLICA IDENTITY FULL";

/// Injects the planned faults at their times and ends the lasting ones.
pub async fn rage(world: &mut World, plan: &Plan, rng: &mut Rng) {
    let start = Instant::now();
    let mut todo: Vec<(Duration, Fault, bool)> = Vec::new();
    for &(fault, begin, hold) in &plan.faults {
        todo.extend([(begin, fault, true), (begin + hold, fault, false)]);
    }
    todo.sort_by_key(|(at, ..)| *at);
    for (at, fault, begins) in todo {
        tokio::time::sleep(at.saturating_sub(start.elapsed())).await;
        if begins {
            begin(world, fault, rng).await;
        } else {
            end(world, fault).await;
        }
    }
}

async fn begin(world: &mut World, fault: Fault, rng: &mut Rng) {
    match fault {
        Fault::Kill(number) => world.end(number, "KILL").await,
        Fault::KillBoth => {
            world.end(0, "KILL").await;
            world.end(1, "KILL").await;
        }
        Fault::Stop(number) => world.end(number, "TERM").await,
        Fault::Freeze(number) => world.signal(number, "STOP"),
        Fault::EndDaemons => world.admin.run(DISCONNECT).await,
        Fault::EndWriters => {
            let sql = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = \
                '{}' AND pid % 2 = {}",
                super::writers::NAME,
                rng.u32(..2)
            );
            world.admin.run(&sql).await;
        }
        Fault::Restart => world.servers.restart("fast").await,
        Fault::RestartAtOnce => world.servers.restart("immediate").await,
        Fault::Cut => world.servers.network.cut(),
        Fault::Stall => world.servers.network.stall(),
        Fault::Delay => world
            .servers
            .network
            .delay(Duration::from_millis(rng.u64(1..40))),
        Fault::CutCommit => world.servers.network.trap(b"COMMIT", Snap::Before),
        Fault::LoseAnswer => world.servers.network.trap(b"COMMIT", Snap::Deaf),
        Fault::DepriveCapture => {
            world.needs_sweep = true;
            world
                .admin
                .run("REVOKE INSERT ON agent_sync.outbox FROM storm_owner")
                .await;
        }
        Fault::DepriveDaemon => {
            world
                .admin
                .run("REVOKE DELETE ON agent_sync.outbox FROM storm_daemon")
                .await;
        }
        Fault::Disable => {
            world.needs_sweep = true;
            world
                .admin
                .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
                .await;
        }
        Fault::LockOutbox => {
            world.needs_sweep = true;
            hold(
                world,
                rng,
                "LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE",
            );
        }
        Fault::Vacuum => world.admin.run("VACUUM agent_sync.outbox").await,
        Fault::Rewrite => {
            world.needs_sweep = true;
            world.admin.run("VACUUM FULL agent_sync.outbox").await;
        }
        Fault::RewriteAgents => nudge(world, "VACUUM FULL agents").await,
        Fault::RewriteConfigurations => nudge(world, "VACUUM FULL agent_configurations").await,
        Fault::ClusterConfigurations => {
            let table = match world.kind {
                Kind::Partitions => "agent_configurations_0",
                _ => "agent_configurations",
            };
            nudge(
                world,
                &format!("CLUSTER {table} USING {table}_agent_slug_idx"),
            )
            .await;
        }
        Fault::LockTable => {
            let table = ["agents", "agent_configurations"][rng.usize(..2)];
            hold(
                world,
                rng,
                &format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"),
            );
        }
        Fault::DisableAll => {
            world.needs_sweep = true;
            world
                .admin
                .run("ALTER TABLE agents DISABLE TRIGGER ALL")
                .await;
        }
        Fault::HideAgents | Fault::SeeMore => {
            world.needs_sweep = true;
            world.admin.run(&hide("agents")).await;
        }
        Fault::DropDefault => {
            world.needs_sweep = true;
            nudge(
                world,
                "ALTER TABLE agent_sync.outbox ALTER COLUMN at DROP DEFAULT",
            )
            .await;
        }
        Fault::Publish => {
            world.needs_sweep = true;
            nudge(
                world,
                "ALTER TABLE agent_sync.outbox REPLICA IDENTITY NOTHING; CREATE PUBLICATION storm \
                FOR TABLE agent_sync.outbox",
            )
            .await;
        }
        Fault::AskForMany => {
            world
                .admin
                .run(
                    "SELECT pg_notify('agent_sync', 'nobody ' || n) FROM generate_series(1, 2000) \
                    AS n",
                )
                .await;
        }
        Fault::HideOutbox => {
            world.needs_sweep = true;
            world.admin.run(&hide("agent_sync.outbox")).await;
        }
        Fault::EmptyOutbox => {
            world.needs_sweep = true;
            nudge(world, "TRUNCATE agent_sync.outbox").await;
        }
        Fault::SchemaAway => {
            world.needs_sweep = true;
            world
                .admin
                .run("ALTER SCHEMA agent_sync RENAME TO away")
                .await;
            tokio::time::sleep(Duration::from_millis(rng.u64(1..60))).await;
            world
                .admin
                .run("ALTER SCHEMA away RENAME TO agent_sync")
                .await;
        }
        Fault::LoseRecord => {
            world.needs_sweep = true;
            world.admin.run("DELETE FROM agent_sync.install").await;
        }
        Fault::LockRows => {
            let part = rng.u32(..8);
            hold(
                world,
                rng,
                &format!(
                    "SELECT FROM agent_configurations WHERE hashtext(agent_slug) % 8 = {part} FOR \
                    UPDATE"
                ),
            );
        }
        Fault::SlowWrites => {
            let part = rng.u32(..8);
            world
                .admin
                .run(&format!("INSERT INTO storm.slow VALUES ({part})"))
                .await;
        }
        Fault::DropIndex => nudge(world, "DROP INDEX agent_configurations_agent_slug_idx").await,
        Fault::ReplaceCapture => {
            world.needs_sweep = true;
            world
                .admin
                .run(
                    "CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger
                          LANGUAGE plpgsql SECURITY DEFINER
                         SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NULL; END $$",
                )
                .await;
        }
        Fault::Reload => {
            world.variant = !world.variant;
            world.rules_changed = true;
            world.write_rules(world.variant);
            reload(world);
        }
        Fault::ReloadWrong => {
            if world.daemons.iter().all(Option::is_some) {
                world.put_rules("[tts]\nprovider_from = 7\n");
                reload(world);
            }
        }
        Fault::Install => install(world).await,
        Fault::Pause => pause(world, &[]).await,
        Fault::PauseAndRelease => pause(world, &["--release"]).await,
        Fault::Reindex => {
            let table = ["agents", "agent_configurations", "agent_sync.problem"][rng.usize(..3)];
            nudge(world, &format!("REINDEX TABLE {table}")).await;
        }
        Fault::RewriteProblems => nudge(world, "VACUUM FULL agent_sync.problem").await,
        Fault::EmptyProblems => {
            world.needs_sweep = true;
            nudge(world, "TRUNCATE agent_sync.problem").await;
        }
        Fault::HideProblems => {
            world.needs_sweep = true;
            world.admin.run(&hide("agent_sync.problem")).await;
        }
        Fault::HideConfigurations => {
            world.needs_sweep = true;
            world.admin.run(&hide("agent_configurations")).await;
        }
        Fault::AddChild => {
            world.needs_sweep = true;
            nudge(world, ADD_CHILD).await;
        }
        Fault::RotatePassword => {
            let pause = Duration::from_millis(rng.u64(..30));
            world.rotate_password(rng.u64(..), pause).await;
        }
        Fault::FailOver => world.servers.fail_over(rng).await,
        Fault::DetachAgents => {
            world.needs_sweep = true;
            partitions::detach(world, rng, AGENTS).await;
        }
        Fault::DetachConfigurations => {
            world.needs_sweep = true;
            partitions::detach(world, rng, CONFIGURATIONS).await;
        }
    }
}

async fn end(world: &mut World, fault: Fault) {
    match fault {
        Fault::Kill(number) | Fault::Stop(number) => world.start(number).await,
        Fault::KillBoth => {
            world.start(1).await;
            world.start(0).await;
        }
        Fault::Freeze(number) => world.signal(number, "CONT"),
        Fault::Stall => world.servers.network.flow(),
        Fault::Delay => world.servers.network.delay(Duration::ZERO),
        Fault::DepriveCapture => {
            world
                .admin
                .run("GRANT INSERT ON agent_sync.outbox TO storm_owner")
                .await;
        }
        Fault::DepriveDaemon => {
            world
                .admin
                .run("GRANT DELETE ON agent_sync.outbox TO storm_daemon")
                .await;
        }
        Fault::Disable => {
            world
                .admin
                .run("ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update")
                .await;
        }
        Fault::ReloadWrong => {
            world.write_rules(world.variant);
            reload(world);
        }
        Fault::DisableAll => {
            world
                .admin
                .run("ALTER TABLE agents ENABLE TRIGGER ALL")
                .await;
            install(world).await;
        }
        Fault::HideAgents => world.admin.run(&show("agents")).await,
        Fault::HideOutbox => world.admin.run(&show("agent_sync.outbox")).await,
        Fault::HideProblems => world.admin.run(&show("agent_sync.problem")).await,
        Fault::HideConfigurations => world.admin.run(&show("agent_configurations")).await,
        Fault::Pause | Fault::PauseAndRelease => resume(world).await,
        Fault::AddChild => nudge(world, DROP_CHILD).await,
        Fault::DetachAgents | Fault::DetachConfigurations => nudge(world, &attach()).await,
        Fault::SeeMore => world.admin.run("ALTER ROLE storm_daemon BYPASSRLS").await,
        Fault::DropDefault => {
            world.admin.run(SET_DEFAULT).await;
        }
        Fault::Publish => {
            world.admin.run(UNPUBLISH).await;
        }
        Fault::LoseRecord | Fault::ReplaceCapture => install(world).await,
        Fault::SlowWrites => world.admin.run("DELETE FROM storm.slow").await,
        Fault::DropIndex => {
            let make = "CREATE INDEX IF NOT EXISTS agent_configurations_agent_slug_idx ON \
                agent_configurations (agent_slug)";
            world.admin.run(make).await;
        }
        _ => {}
    }
}

/// Runs an install.
async fn install(world: &mut World) {
    let output = world.run_command("storm_owner", &["install"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // Exit code 69 is right while the server is down. A busy machine may exceed the statement
    // timeout; after the faults, an install is repeated if it matters.
    let is_slow = said.contains("57014") && said.contains("nothing was changed");
    assert!(
        is_slow || matches!(output.status.code(), Some(0 | 69)),
        "{:?}: {said}",
        output.status
    );
}

/// Begins a pause. Exit code 1 is right where a daemon still writes after a short time, or the
/// record of the install is lost.
async fn pause(world: &mut World, how: &[&str]) {
    let arguments = [&["pause", "--reason", "storm", "--timeout", "200ms"], how].concat();
    command(world, &arguments, &[0, 1, 69]).await;
}

/// Ends it.
pub async fn resume(world: &mut World) {
    command(world, &["resume"], &[0, 1, 69]).await;
}

/// Runs a command of the owner. Exit code 69 is right while the server is down.
async fn command(world: &World, arguments: &[&str], right: &[i32]) {
    let output = world.run_command("storm_owner", arguments).await;
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| right.contains(&code)),
        "{arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs a statement with an exclusive lock, if the lock is free.
async fn nudge(world: &mut World, sql: &str) {
    try_within(world, "50ms", sql).await;
}

/// Runs statements with an exclusive lock, if the lock comes free within this time.
pub async fn try_within(world: &mut World, time: &str, sql: &str) {
    world
        .admin
        .run(&format!("SET lock_timeout = '{time}'"))
        .await;
    let done = world.admin.client().await.batch_execute(sql).await;
    if let Err(error) = done {
        let state = error.code().map_or("08006", |state| state.code());
        assert!(
            ["55P03", "40P01", "08006", "42704", "42710"].contains(&state)
                || state.starts_with("57P"),
            "{sql}: {error:?}"
        );
    }
    world.admin.run("SET lock_timeout = 0").await;
}

fn reload(world: &World) {
    for number in 0..2 {
        world.signal(number, "HUP");
    }
}

/// Holds locks for a while in a separate session.
fn hold(world: &World, rng: &mut Rng, sql: &str) {
    let mut holder = super::link::Link::to(&world.url("postgres"), "storm nemesis");
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = '50ms'; {sql}; SELECT pg_sleep({}); COMMIT",
        rng.f64() * 0.3
    );
    // It may fail, because the server restarts or the rows are locked.
    tokio::spawn(async move { holder.client().await.batch_execute(&sql).await });
}
