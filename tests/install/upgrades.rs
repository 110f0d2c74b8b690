//! Programs and schemas of different versions (I6): each reports a remedy, no change is lost, and
//! the daemon recovers by itself where it can.
//!
//! There is one version of the schema. The tests derive an older one, version 0, from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_sync::install::VERSION;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// The schema of version 0: without some columns and constraints of the present schema.
const MADE_UP_OLDER: &str = "
    ALTER TABLE agent_sync.outbox DROP COLUMN application_name, DROP COLUMN role;
    ALTER TABLE agent_sync.install DROP COLUMN last_sync, DROP COLUMN last_tried,
        DROP COLUMN tries, DROP COLUMN mapping, DROP COLUMN audit, DROP COLUMN paused_since,
        DROP COLUMN paused_until, DROP COLUMN paused_by, DROP COLUMN pause_reason, DROP COLUMN pause_releases;
    ALTER TABLE agent_sync.outbox DROP COLUMN tenant;
    ALTER TABLE agent_sync.history DROP COLUMN tenant;
    DROP INDEX agent_sync.problem_key_is_unique, agent_sync.problem_slug_digest;
    ALTER TABLE agent_sync.problem DROP COLUMN tenant, DROP CONSTRAINT problem_kind_is_known,
        REPLICA IDENTITY DEFAULT;
    ALTER TABLE agent_sync.problem ADD CONSTRAINT problem_kind_is_known
        CHECK (kind IN ('missing_configuration', 'rejected', 'failed'));
    UPDATE agent_sync.install SET version = 0, uncaptured_seen = -1";

/// A platform with the schema of the version before this one.
pub async fn with_an_older_schema() -> Platform {
    let platform = Platform::installed().await;
    platform.run(MADE_UP_OLDER).await;
    platform
}

async fn set_version(platform: &Platform, version: i32) {
    platform
        .run(&format!(
            "UPDATE agent_sync.install SET version = {version}"
        ))
        .await;
}

/// A daemon with a short sweep interval.
fn watchful(platform: &Platform) -> Daemon {
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "1s");
    Daemon::start(command)
}

async fn synced(platform: &Platform, slug: &str) {
    platform
        .holds(&format!(
            "SELECT provider_config <> '{{}}' FROM agent_configurations WHERE agent_slug = '{slug}'"
        ))
        .await;
}

fn told(line: &serde_json::Value) -> [&str; 2] {
    ["cause", "remedy"].map(|field| line[field].as_str().unwrap())
}

/// A daemon with an older schema reports it and continues after the upgrade.
#[tokio::test]
async fn i6_a_daemon_waits_for_the_upgrade_of_an_older_schema() {
    let platform = with_an_older_schema().await;
    platform.configure("before").await;
    platform.save("before", EXAMPLE).await;
    let daemon = watchful(&platform);
    let lost = daemon
        .logged("the daemon cannot work in the database")
        .await;
    let found = VERSION - 1;
    assert_eq!(
        told(&lost),
        [
            &*format!(
                "the installed schema has version {found}, and this program works with version \
                {VERSION}"
            ),
            "Run `agent-sync install` of this program's version for this database."
        ]
    );
    platform.configure("meanwhile").await;
    platform.save("meanwhile", EXAMPLE).await;
    platform.install();
    synced(&platform, "before").await;
    synced(&platform, "meanwhile").await;
    assert_eq!(daemon.lines("agent-sync starts").len(), 1);
    assert_eq!(
        platform
            .value::<i32>("SELECT version FROM agent_sync.install")
            .await,
        VERSION
    );
}

/// A running daemon that finds a newer schema reports it, releases the leader lock, and continues
/// when the schema fits again.
#[tokio::test]
async fn i6_a_running_daemon_lets_go_of_a_newer_schema() {
    let platform = Platform::installed().await;
    let daemon = watchful(&platform);
    daemon.logged("caught up").await;
    set_version(&platform, VERSION + 1).await;
    let lost = daemon
        .logged("the daemon cannot work in the database")
        .await;
    let found = VERSION + 1;
    assert_eq!(
        told(&lost),
        [
            &*format!(
                "the installed schema has version {found}, and this program works with version \
                {VERSION}"
            ),
            "Run the version of agent-sync that installed it, or a later one."
        ]
    );
    // A daemon of the newer version can lead, because the lock is free.
    let free = "SELECT pg_try_advisory_xact_lock(1634169721, 1)";
    crate::support::eventually("it lets go", async || platform.value::<bool>(free).await).await;
    platform.configure("meanwhile").await;
    platform.save("meanwhile", EXAMPLE).await;
    set_version(&platform, VERSION).await;
    synced(&platform, "meanwhile").await;
    daemon.logged("database available again").await;
    assert_eq!(daemon.lines("agent-sync starts").len(), 1);
}

#[tokio::test]
async fn i6_an_older_program_does_not_install_over_a_newer_schema() {
    let platform = Platform::installed().await;
    set_version(&platform, VERSION + 1).await;
    // A change that a later attach.sql makes and this version would undo.
    platform
        .run("DROP TRIGGER agent_sync_update ON agents")
        .await;
    let said = platform.says(&["install"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let found = VERSION + 1;
    let reason = format!(
        "the installed schema has version {found}, and this program works with version {VERSION}"
    );
    assert!(
        said.err.contains(&reason) && said.err.contains("nothing was changed"),
        "{said:?}"
    );
    assert!(
        said.err
            .contains("try: Run the install of the version of agent-sync that installed it"),
        "{said:?}"
    );
    let made = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'agents'::regclass AND \
        tgname = 'agent_sync_update')";
    assert!(!platform.value::<bool>(made).await, "nothing was changed");
    let printed = platform.says(&["install", "--print"]).await.out;
    let error = platform.client.batch_execute(&printed).await.unwrap_err();
    assert!(
        error.as_db_error().unwrap().message().contains(&reason),
        "{error:?}"
    );
}

/// GIVEN an older schema with problems and concurrent saves, WHEN it is upgraded, THEN no save
/// fails, the problems are kept, and every change is in sync.
#[tokio::test]
async fn i6_g1_an_older_schema_is_upgraded_under_saves() {
    let platform = with_an_older_schema().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, system_prompt) SELECT 'a' || n, 'n', 'p'
                  FROM generate_series(1, 20) n;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
             INSERT INTO agent_sync.problem (slug, kind, detail, since, attempts)
                 VALUES ('lonely', 'missing_configuration', 'since long ago', '2021-01-01', 7);
             INSERT INTO agents (slug, name) VALUES ('lonely', 'n')",
        )
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..2 {
        let (client, stop) = (platform.connect().await, Arc::clone(&stop));
        writers.push(tokio::spawn(async move {
            let mut saves = 0;
            while !stop.load(Ordering::Relaxed) {
                saves += 1;
                let slug = format!("a{}", 1 + 2 * (saves % 10) + writer);
                let save = format!("UPDATE agents SET name = 'save {saves}' WHERE slug = '{slug}'");
                assert_eq!(client.execute(&save, &[]).await.unwrap(), 1);
            }
            saves
        }));
    }
    platform
        .holds("SELECT count(*) > 50 FROM agent_sync.outbox")
        .await;
    let said = platform.says(&["install"]).await;
    assert!(
        said.code == 0 && said.out.contains("default: installed"),
        "{said:?}"
    );
    platform
        .holds("SELECT count(*) > 200 FROM agent_sync.outbox")
        .await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.unwrap() > 0);
    }
    let kept = "SELECT since = '2021-01-01' AND attempts = 7 FROM agent_sync.problem WHERE \
        slug = 'lonely'";
    assert!(platform.value::<bool>(kept).await);
    assert!(
        platform
            .says(&["install"])
            .await
            .out
            .contains("nothing to change")
    );
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let stale = "SELECT count(*) FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug
                 WHERE c.agent_name IS DISTINCT FROM a.name";
    assert_eq!(platform.value::<i64>(stale).await, 0);
    assert_eq!(
        platform
            .value::<i32>("SELECT version FROM agent_sync.install")
            .await,
        VERSION
    );
}

#[tokio::test]
async fn i6_the_upgraded_schema_is_the_same_as_a_new_one() {
    const SHAPE: &str = "
        SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
            SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
              || ' ' || a.attnotnull
                   || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '') || coalesce(' ' ||
                     col_description(c.oid, a.attnum), '')
                FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid LEFT JOIN pg_attrdef d
                  ON d.adrelid = c.oid AND d.adnum = a.attnum
                WHERE c.relnamespace = 'agent_sync'::regnamespace
                  AND c.relkind IN ('r', 'v', 'S') AND a.attnum > 0 AND NOT a.attisdropped
            UNION ALL SELECT c.relname || ' ' || c.relkind::text || c.relreplident::text
              FROM pg_class c
                WHERE c.relnamespace = 'agent_sync'::regnamespace
            UNION ALL SELECT o.conname || ' ' || pg_get_constraintdef(o.oid) FROM pg_constraint o
                WHERE o.connamespace = 'agent_sync'::regnamespace) AS shape (line)";
    let expected: String = Platform::installed().await.value(SHAPE).await;
    let platform = with_an_older_schema().await;
    assert_ne!(platform.value::<String>(SHAPE).await, expected);
    platform.install();
    assert_eq!(platform.value::<String>(SHAPE).await, expected);
}
