//! `pause` and `resume`: nothing is applied during a pause, and nothing is lost.

use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::{Daemon, Platform, http};

const UNLED: &str = "SELECT NOT EXISTS (SELECT FROM pg_locks l JOIN pg_database d \
    ON d.oid = l.database WHERE l.locktype = 'advisory' AND l.objid = 1 \
    AND d.datname = current_database())";

const UNCONNECTED: &str = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity \
    WHERE datname = current_database() AND application_name LIKE 'agent-sync/%')";

/// A platform with an agent in sync, and its daemon.
async fn led() -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    (platform, daemon)
}

async fn pauses(platform: &Platform, arguments: &[&str]) {
    let said = platform.says(&[&["pause"], arguments].concat()).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.out.starts_with("default: paused; no daemon "),
        "{said:?}"
    );
}

async fn resumes(platform: &Platform) {
    let said = platform.says(&["resume"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.starts_with("default: resumed; "), "{said:?}");
}

/// GIVEN a sleeping daemon, WHEN the database is paused, THEN no session leads, and saves stay in
/// the outbox; every view shows the pause; WHEN it is resumed, THEN they are applied.
#[tokio::test]
async fn g1_a_pause_applies_nothing_and_loses_nothing() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let (daemon, address) = http::serving(&platform).await;
    daemon.logged("caught up").await;
    pauses(&platform, &["--reason", "bulk import"]).await;
    assert!(platform.value::<bool>(UNLED).await);
    platform.save("a", EXAMPLE).await;

    let line = daemon.logged("the database is paused").await;
    let pause = line["pause"].as_str().unwrap();
    assert!(pause.contains("because: bulk import"), "{pause}");
    http::metric_becomes(address, "agent_sync_paused{database=\"default\"}", 1.0).await;
    let (code, text) = http::get(address, "/readyz").await;
    assert_eq!((code, &*text), (200, "default: ready (paused)\n"));
    let status = http::status(address).await;
    let pause = &status["pause"];
    assert_eq!(pause["reason"], "bulk import", "{status}");
    assert!(pause["by"].as_str().unwrap().contains("role "), "{status}");

    let said = platform.says(&["status", "--json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let object = said.object();
    assert_eq!(object["state"], "paused");
    assert_eq!(object["pause"]["reason"], "bulk import");
    assert_eq!(object["outbox"]["slugs"], 1);
    let said = platform.says(&["doctor"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("agent-sync resume"), "{said:?}");
    let said = platform.says(&["why", "a"]).await;
    assert!(said.out.contains("the end of the pause"), "{said:?}");
    for refused in [&["wait"][..], &["reconcile", "a"], &["reconcile", "--all"]] {
        let said = platform.says(refused).await;
        assert_eq!(said.code, 69, "{said:?}");
        let (err, known) = (&said.err, ["paused since", "agent-sync resume"]);
        assert!(known.iter().all(|part| err.contains(part)), "{said:?}");
    }
    assert_eq!(platform.outbox().await, ["a"]);

    resumes(&platform).await;
    platform.becomes("a", EXPECTED).await;
    daemon.logged("the pause is over").await;
    http::metric_becomes(address, "agent_sync_paused{database=\"default\"}", 0.0).await;
    let said = platform.says(&["resume"]).await;
    assert_eq!(said.out, "default: is not paused\n", "{said:?}");
}

/// GIVEN a pause, WHEN the capture breaks, THEN it is told as at any other time, and after the
/// pause every agent is checked.
#[tokio::test]
async fn g14_a_capture_that_breaks_during_a_pause_is_told() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let mut command = http::command(&platform);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let address = http::address(&daemon).await;
    pauses(&platform, &[]).await;
    daemon.logged("the database is paused").await;
    platform
        .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
        .await;
    platform.save("a", EXAMPLE).await;
    daemon.logged("capture broken: changes are missed").await;
    let findings = "agent_sync_findings{database=\"default\",misses_changes=\"true\"}";
    http::metric_becomes(address, findings, 1.0).await;
    assert_eq!(http::get(address, "/readyz").await.0, 503);
    platform.holds("SELECT NOT agent_sync.in_sync('a')").await;
    assert!(platform.outbox().await.is_empty());
    platform
        .run("ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update")
        .await;
    http::metric_becomes(address, findings, 0.0).await;
    resumes(&platform).await;
    platform.becomes("a", EXPECTED).await;
}

/// GIVEN a pause that no notification tells of, THEN the daemon finds it in its next batch, also
/// where that is a single change of a sleeping daemon.
#[tokio::test]
async fn g2_the_next_batch_finds_a_pause() {
    let (platform, daemon) = led().await;
    platform
        .run("UPDATE agent_sync.install SET paused_since = now()")
        .await;
    platform.save("a", EXAMPLE).await;
    daemon.logged("the database is paused").await;
    platform.holds(UNLED).await;
    assert_eq!(platform.outbox().await, ["a"]);
    resumes(&platform).await;
    platform.becomes("a", EXPECTED).await;
}

/// GIVEN a long drain, WHEN `pause` has returned, THEN no further agent is written.
#[tokio::test]
async fn g2_a_pause_ends_a_long_drain() {
    let (platform, _daemon) = led().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'x' FROM generate_series(1, 20000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents WHERE slug <> 'a'",
        )
        .await;
    pauses(&platform, &[]).await;
    let written = "SELECT count(*) FROM agent_configurations WHERE agent_name = 'x'";
    let before: i64 = platform.value(written).await;
    // A second daemon finds the pause, and the first one has then tried for the lead again.
    let other = platform.daemon();
    other.logged("the database is paused").await;
    assert_eq!(platform.value::<i64>(written).await, before);
    resumes(&platform).await;
    platform.drained().await;
    assert_eq!(platform.value::<i64>(written).await, 20_000);
}

/// WHEN a database is paused with `--release`, THEN no daemon is connected, and changes are applied
/// after the end of the pause; a daemon that starts meanwhile stays away as well.
#[tokio::test]
async fn i1_a_released_database_has_no_daemon() {
    let (platform, daemon) = led().await;
    // Anybody can give a session the name of a daemon.
    let stranger = format!("stranger_{}", platform.name());
    platform.run(&format!("CREATE ROLE {stranger} LOGIN")).await;
    let (named, _) = connect(&platform.url_as(&stranger)).await;
    let name = "SET application_name = 'agent-sync/0.1.0 [agent_sync]'";
    named.batch_execute(name).await.unwrap();
    pauses(&platform, &["--release"]).await;
    drop(named);
    let other = platform.daemon();
    other.logged("the database is paused").await;
    platform.holds(UNCONNECTED).await;
    platform.save("a", EXAMPLE).await;
    drop(daemon);
    resumes(&platform).await;
    platform.becomes("a", EXPECTED).await;
}

/// WHEN a pause has an end, THEN it ends by itself; a further `pause` replaces it.
#[tokio::test]
async fn i1_a_pause_ends_by_itself() {
    let (platform, daemon) = led().await;
    pauses(&platform, &["--until", "2999-03-21T04:00:00Z"]).await;
    let until = "SELECT paused_until = '2999-03-21T04:00:00Z' FROM agent_sync.install";
    assert!(platform.value::<bool>(until).await);
    platform.save("a", EXAMPLE).await;
    pauses(&platform, &["--until", "1s"]).await;
    platform.becomes("a", EXPECTED).await;
    daemon.logged("the pause is over").await;
}

/// A session that has locked the row of the install keeps `pause` and `resume` from it. Both say so
/// and end, and no daemon tries again for them.
#[tokio::test]
async fn a_pause_that_meets_a_lock_says_what_to_do() {
    let platform = Platform::installed().await;
    pauses(&platform, &[]).await;
    let holder = platform.connect().await;
    let lock = "BEGIN; SELECT FROM agent_sync.install FOR UPDATE";
    holder.batch_execute(lock).await.unwrap();
    for command in ["pause", "resume"] {
        let said = platform.says(&[command]).await;
        assert_eq!(said.code, 1, "{said:?}");
        assert!(
            said.err.contains("run this again after its end") && !said.err.contains("retries"),
            "{said:?}"
        );
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    resumes(&platform).await;
}
