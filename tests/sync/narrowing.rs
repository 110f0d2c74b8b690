//! One agent never stops the others (G5): a refused agent is tried and counted once, however often
//! it was saved; an agent that ends connections is found and set aside; and an unreadable row
//! affects no other row.

use agent_sync::pg::Version;
use tokio_postgres::types::{FromSql, Type};

use crate::support::{Daemon, Platform, eventually};

/// Agents `agent-1`, … named `n`, each with a configuration.
const AGENTS: &str = "
    INSERT INTO agents (slug, name, voice_settings) SELECT 'agent-' || i, 'n', '{}'
      FROM generate_series(1, 40) i;
    INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents";

/// The trigger that runs these statements in a write of the configuration of `agent-3`.
fn poison(statements: &str) -> String {
    format!(
        "CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN IF NEW.agent_slug = 'agent-3' THEN {statements} END IF; RETURN NEW; END $$;
         CREATE TRIGGER poison BEFORE UPDATE ON agent_configurations
           FOR EACH ROW EXECUTE FUNCTION public.poison()"
    )
}

/// A daemon that reconnects immediately.
fn eager(platform: &Platform) -> Daemon {
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__RECONNECT__INITIAL_DELAY", "20ms")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "100ms");
    Daemon::start(command)
}

/// An agent that is saved ten thousand times is tried once and counted once.
#[tokio::test]
async fn g5_ten_thousand_saves_of_one_agent_are_one_attempt() {
    let platform = Platform::installed().await;
    platform.run(AGENTS).await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD CONSTRAINT no_bad CHECK (agent_name NOT LIKE
                  'bad%');
             DO $$ BEGIN FOR i IN 1..10000 LOOP
                 UPDATE agents SET name = 'bad' || i WHERE slug = 'agent-3'; END LOOP; END $$;
             UPDATE agents SET name = 'neighbour' WHERE slug = 'agent-4'",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds(
            "SELECT agent_name = 'neighbour' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-4'",
        )
        .await;
    platform.drained().await;
    let attempts: i32 = platform
        .value("SELECT attempts FROM agent_sync.problem")
        .await;
    assert!(
        attempts <= 2,
        "10,000 saves are one try, and perhaps a retry: {attempts}"
    );
    let told = daemon.lines("agent could not be brought in sync").len();
    assert!(told <= 2, "{told} lines about one agent");
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT no_bad")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .holds(
            "SELECT agent_name = 'bad10000' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-3'",
        )
        .await;
}

/// A thousand refused agents are each tried once and their neighbours go on.
#[tokio::test]
async fn g5_a_thousand_refused_agents_are_each_tried_once() {
    let platform = Platform::installed().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD CONSTRAINT no_bad CHECK (agent_name NOT LIKE
                  'bad%');
             INSERT INTO agents (slug, name, voice_settings)
                 SELECT 'agent-' || i, CASE i % 5 WHEN 0 THEN 'n' ELSE 'bad' END, '{}'
                   FROM generate_series(1, 1250) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 250 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform
        .holds(
            "SELECT count(*) = 1000 FROM agent_sync.problem WHERE kind = 'failed' AND sqlstate \
            = '23514'",
        )
        .await;
    // Retries are enqueued in portions, and new changes are processed in between.
    platform
        .run("UPDATE agents SET name = 'new' WHERE slug = 'agent-5'")
        .await;
    platform
        .holds(
            "SELECT agent_name = 'new' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-5'",
        )
        .await;
    assert_eq!(daemon.outages().len(), 0);
    platform
        .run("ALTER TABLE agent_configurations DROP CONSTRAINT no_bad")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .holds("SELECT count(*) = 1000 FROM agent_configurations WHERE agent_name = 'bad'")
        .await;
}

#[tokio::test]
async fn g5_a_refused_configuration_keeps_none_of_its_siblings_stale() {
    let platform = Platform::installed().await;
    platform.run(AGENTS).await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug, notes) SELECT 'agent-3', 'refused'
                  FROM generate_series(1, 2);
             INSERT INTO agent_configurations (agent_slug) SELECT 'agent-3'
               FROM generate_series(1, 3);
             ALTER TABLE agent_configurations ADD CONSTRAINT no_name CHECK (notes <> 'refused'
               OR agent_name IS NULL)",
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 43 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    assert_eq!(platform.problem("agent-3").await.unwrap().0, "failed");
    platform
        .run("UPDATE agents SET name = 'again' WHERE slug = 'agent-3'")
        .await;
    platform
        .holds("SELECT count(*) = 4 FROM agent_configurations WHERE agent_name = 'again'")
        .await;
    assert_eq!(platform.problem("agent-3").await.unwrap().0, "failed");
}

/// An agent that ends every connection is set aside, and the others are synced.
#[tokio::test]
async fn g5_an_agent_that_ends_every_connection_is_set_aside() {
    for statements in [
        "PERFORM pg_terminate_backend(pg_backend_pid());",
        "PERFORM set_config('idle_in_transaction_session_timeout', '1ms', true); PERFORM \
        pg_sleep(0.01);",
        "RAISE EXCEPTION 'x' USING errcode = '57P01';",
    ] {
        let platform = Platform::installed().await;
        platform
            .run(&format!("{AGENTS}; {}", poison(statements)))
            .await;
        let daemon = eager(&platform);
        platform
            .holds("SELECT count(*) >= 39 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        eventually("it is set aside, or in sync", async || {
            let (problem, row) = (
                platform.problem("agent-3").await,
                platform.configuration("agent-3").await,
            );
            problem.is_some_and(|(kind, _)| kind == "failed")
                || row.unwrap().get::<_, Option<&str>>(0) == Some("n")
        })
        .await;
        platform
            .save("agent-4", r#"{"provider":"openai","voice_id":"late"}"#)
            .await;
        platform
            .holds(
                "SELECT voice_id = 'late' IS TRUE FROM agent_configurations WHERE agent_slug = \
                'agent-4'",
            )
            .await;
        // Once the agent is known, an attempt costs one connection, whatever the reason for the
        // attempt.
        if platform.problem("agent-3").await.is_some() {
            let attempts = "SELECT coalesce((SELECT attempts FROM agent_sync.problem WHERE slug = \
                'agent-3'), 0)";
            let (tried, lost) = (
                platform.value::<i32>(attempts).await,
                daemon.outages().len(),
            );
            platform
                .run("UPDATE agents SET name = 'again' WHERE slug IN ('agent-3', 'agent-5')")
                .await;
            platform
                .holds(&format!("SELECT ({attempts}) > {tried}"))
                .await;
            let tried = platform.value::<i32>(attempts).await - tried;
            let lost = daemon.outages().len() - lost;
            assert!(
                lost <= tried.unsigned_abs() as usize + 1,
                "{lost} connections for {tried} tries: {statements}"
            );
            platform
                .holds(
                    "SELECT agent_name = 'again' FROM agent_configurations WHERE agent_slug = \
                    'agent-5'",
                )
                .await;
        }
        platform
            .run("DROP TRIGGER poison ON agent_configurations; UPDATE agents SET name = 'healed'")
            .await;
        platform
            .holds("SELECT count(*) = 40 FROM agent_configurations WHERE agent_name = 'healed'")
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
        drop(daemon);
    }
}

/// An agent with which two crashed daemons had begun is not tried a third time.
#[tokio::test]
async fn g5_an_agent_that_crashed_twice_is_not_tried_again() {
    let platform = Platform::installed().await;
    platform.run(AGENTS).await;
    platform
        .run("TRUNCATE agent_sync.outbox; UPDATE agents SET name = 'new'")
        .await;
    // Two daemons have recorded the first agent and did not survive to clear the record.
    platform
        .run(
            "UPDATE agent_sync.install SET uncaptured_seen = 0, last_tried = (SELECT slug \
            FROM agent_sync.outbox LIMIT 1), tries = 2",
        )
        .await;
    let first: String = platform
        .value("SELECT last_tried FROM agent_sync.install")
        .await;
    let daemon = platform.daemon();
    let line = daemon.logged("agent could not be brought in sync").await;
    assert_eq!(line["slug"], first.as_str());
    platform
        .holds("SELECT count(*) >= 39 FROM agent_configurations WHERE agent_name = 'new'")
        .await;
    platform
        .holds("SELECT last_tried IS NULL AND tries = 0 FROM agent_sync.install")
        .await;
    // It is retried automatically.
    platform
        .holds("SELECT count(*) = 40 FROM agent_configurations WHERE agent_name = 'new'")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
}

#[tokio::test]
async fn g5_a_damaged_row_is_set_aside_and_its_neighbours_go_on() {
    let (own, mut platform) = Platform::on_own_server("").await;
    platform.run(AGENTS).await;
    platform
        .run(
            "ALTER TABLE agents ALTER system_prompt SET STORAGE EXTERNAL;
             UPDATE agents SET system_prompt = repeat('x', 20000)
               WHERE slug = 'agent-3'; CHECKPOINT",
        )
        .await;
    let toast: String = platform
        .value(
            "SELECT pg_relation_filepath(reltoastrelid) FROM pg_class WHERE oid = \
            'agents'::regclass",
        )
        .await;
    own.control(&["-m", "fast", "stop"]).unwrap();
    let file = own.folder().join("data").join(toast);
    let length = std::fs::metadata(&file).unwrap().len();
    let damaged = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&file)
        .unwrap();
    damaged.set_len(length).unwrap();
    own.control(&["start"]).unwrap();
    platform.client = platform.connect().await.into();
    let daemon = eager(&platform);
    platform
        .holds("SELECT count(*) = 39 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    let (kind, detail) = platform.problem("agent-3").await.unwrap();
    assert!(
        kind == "failed" && detail.contains("XX001"),
        "{kind}: {detail}"
    );
    platform
        .save("agent-4", r#"{"provider":"openai","voice_id":"late"}"#)
        .await;
    platform
        .holds(
            "SELECT voice_id = 'late' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-4'",
        )
        .await;
    // The commands skip it and process the others, too.
    daemon.logged("caught up").await;
    platform.drained().await;
    platform
        .run("UPDATE agent_configurations SET agent_name = 'edited' WHERE agent_slug = 'agent-5'")
        .await;
    let check = platform.says(&["check"]).await;
    assert_eq!(check.code, 2, "{check:?}");
    for said in [
        "cannot be read: PostgreSQL refused the",
        "XX001",
        "40 agents",
        "38 in sync",
        "1 drifted",
        "1 rejected",
    ] {
        assert!(check.out.contains(said), "{said}: {}", check.out);
    }
    let why = platform.says(&["why", "agent-3"]).await;
    assert!(why.out.contains("cannot be read: PostgreSQL"), "{why:?}");
    let reconcile = platform.says(&["reconcile", "--all", "--yes"]).await;
    assert!(
        reconcile.code == 1 && reconcile.out.contains("agent-3"),
        "{reconcile:?}"
    );
    platform
        .holds("SELECT agent_name = 'n' FROM agent_configurations WHERE agent_slug = 'agent-5'")
        .await;
    platform
        .run("UPDATE agents SET system_prompt = 'new' WHERE slug = 'agent-3'")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    assert_eq!(daemon.outages().len(), 0);
}

/// A change that was noted before a try of its agent was read, and is committed after that, is
/// processed by itself, whatever the try has found.
#[tokio::test]
async fn g1_a_change_committed_during_a_failed_try_is_processed() {
    let bad_settings = "UPDATE agents SET voice_settings = '[]' WHERE slug = 'agent-3'";
    let bad_name = "UPDATE agents SET name = 'bad' WHERE slug = 'agent-3'";
    let no_configuration = "DELETE FROM agent_configurations WHERE agent_slug = 'agent-3';
        UPDATE agents SET name = 'm' WHERE slug = 'agent-3'";
    for (kind, before, after) in [
        (
            "rejected",
            bad_settings,
            "UPDATE agents SET voice_settings = '{}', name = 'good'",
        ),
        ("failed", bad_name, "UPDATE agents SET name = 'good'"),
        (
            "missing_configuration",
            no_configuration,
            "INSERT INTO agent_configurations (agent_slug) VALUES ('agent-3');
             UPDATE agents SET name = 'good'",
        ),
    ] {
        let platform = Platform::installed().await;
        platform.run(AGENTS).await;
        let constraint = "ALTER TABLE agent_configurations ADD CONSTRAINT no_bad CHECK \
            (agent_name <> 'bad'); TRUNCATE agent_sync.outbox";
        platform.run(constraint).await;
        platform.run(before).await;
        let writer = platform.connect().await;
        let change = format!("BEGIN; {after} WHERE slug = 'agent-3'");
        writer.batch_execute(&change).await.unwrap();
        // The batch waits for this row before it notes its problem, after it has read the agent.
        let gate = platform.connect().await;
        let close = "BEGIN; INSERT INTO agent_sync.problem (slug, kind, detail) VALUES ('agent-3', \
            'rejected', '')";
        gate.batch_execute(close).await.unwrap();
        let _daemon = platform.daemon();
        platform
            .holds(
                "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype =
                  'transactionid')",
            )
            .await;
        writer.batch_execute("COMMIT").await.unwrap();
        gate.batch_execute("ROLLBACK").await.unwrap();
        platform.drained().await;
        let left = "SELECT coalesce(string_agg(kind || ': ' || detail, ', '), 'no problem') FROM \
            agent_sync.problem";
        assert_eq!(platform.value::<String>(left).await, "no problem", "{kind}");
        let name = "SELECT agent_name FROM agent_configurations WHERE agent_slug = 'agent-3'";
        assert_eq!(platform.value::<String>(name).await, "good", "{kind}");
    }
}

/// The order of transaction numbers wraps around, and the number of frozen rows is in none.
#[test]
fn g1_a_version_is_before_another_across_the_wraparound() {
    let version = |number: u32| Version::from_sql(&Type::XID, &number.to_be_bytes()).unwrap();
    let is_before = |one, other| version(one).is_before(version(other));
    assert!(is_before(3, 4) && is_before(u32::MAX, 3) && is_before(1000, 1000 + (1 << 31) - 1));
    assert!(!is_before(4, 3) && !is_before(3, u32::MAX) && !is_before(7, 7));
    assert!(
        !is_before(2, 1000) && !is_before(1000, 2),
        "of a frozen row"
    );
}
