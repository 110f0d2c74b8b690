//! Migrations beside a running daemon: a lock on a table is no outage (G16), and a changed column
//! type is no problem of an agent (G14).

use std::time::Duration;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

async fn platform() -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, voice_settings) SELECT 'agent-' || i, 'n', '{}'
                  FROM generate_series(1, 20) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let mut command = platform.command(&["run"]);
    command
        .env("AGENT_SYNC__SYNC__LOCK_TIMEOUT", "20ms")
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;
    (platform, daemon)
}

#[tokio::test]
async fn g16_a_lock_on_a_table_is_waited_out_and_is_no_outage() {
    for table in [
        "agents",
        "agent_configurations",
        "agent_sync.outbox",
        "agent_sync.install",
        "agent_sync.problem",
    ] {
        let (platform, daemon) = platform().await;
        let holder = platform.connect().await;
        if table == "agents" {
            platform.run("UPDATE agents SET name = 'during'").await;
        }
        holder
            .batch_execute(&format!(
                "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
            ))
            .await
            .unwrap();
        // A save that meets the lock on the outbox is counted and repaired by a later full check.
        let saver = platform.connect().await;
        let save = async {
            if table != "agents" {
                saver
                    .batch_execute("UPDATE agents SET name = 'during'")
                    .await
                    .unwrap();
            }
            saver
                .batch_execute("NOTIFY agent_sync, 'agent-1'")
                .await
                .unwrap();
        };
        tokio::time::timeout(Duration::from_secs(60), save)
            .await
            .expect("no save waits");
        daemon
            .logged("another session holds a lock on a table")
            .await;
        assert_eq!(daemon.outages().len(), 0, "{table}");
        holder.batch_execute("COMMIT").await.unwrap();
        platform
            .holds("SELECT count(*) = 20 FROM agent_configurations WHERE agent_name = 'during'")
            .await;
        daemon.logged("the lock is gone").await;
        assert_eq!(daemon.outages().len(), 0, "{table}");
    }
}

/// GIVEN sessions that lock the configurations of an agent at nearly every moment, WHEN its agent
/// is saved, THEN the daemon gets its turn in the queue.
async fn is_written_beside(configurations: u32, work: &'static str) {
    let platform = Platform::installed().await;
    for _ in 0..configurations {
        platform.configure("busy").await;
    }
    platform.save("busy", EXAMPLE).await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let client = platform.connect().await;
        let transaction = format!("BEGIN; {work}; SELECT pg_sleep(0.05); COMMIT");
        writers.spawn(async move {
            loop {
                client.batch_execute(&transaction).await.unwrap();
            }
        });
    }
    let works = "SELECT count(*) >= 4 FROM pg_stat_activity WHERE query LIKE 'BEGIN; %pg_sleep%'";
    platform.holds(works).await;
    for name in ["first", "second"] {
        platform
            .run(&format!("UPDATE agents SET name = '{name}'"))
            .await;
        let is_written =
            format!("SELECT bool_and(agent_name = '{name}') IS TRUE FROM agent_configurations");
        // Without the queue, it takes as long as it takes to meet a moment without a lock.
        tokio::time::timeout(Duration::from_secs(30), platform.holds(&is_written))
            .await
            .expect("the daemon gets its turn");
    }
    platform.drained().await;
}

#[tokio::test]
async fn g16_a_row_that_others_update_all_the_time_is_written() {
    is_written_beside(1, "UPDATE agent_configurations SET voice_id = voice_id").await;
}

#[tokio::test]
async fn g16_a_row_that_others_lock_all_the_time_is_written() {
    is_written_beside(1, "SELECT FROM agent_configurations FOR UPDATE").await;
}

#[tokio::test]
async fn g16_one_of_many_rows_is_locked_at_every_moment_and_all_are_written() {
    let one = "UPDATE agent_configurations SET voice_id = voice_id
        WHERE ctid = (SELECT ctid FROM agent_configurations ORDER BY random() LIMIT 1)";
    is_written_beside(20, one).await;
}

/// A lock that lets a claim pass and no write, such as that of CREATE INDEX, is reported like any
/// other.
#[tokio::test]
async fn g16_a_lock_that_stops_writes_alone_is_reported() {
    for (table, mode) in [
        ("agent_configurations", "SHARE"),
        ("agent_configurations", "SHARE ROW EXCLUSIVE"),
        ("agent_sync.problem", "SHARE"),
    ] {
        let (platform, daemon) = platform().await;
        let holder = platform.connect().await;
        let lock = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE");
        holder.batch_execute(&lock).await.unwrap();
        // Every third agent is rejected, so the batch writes a problem as well.
        platform
            .run(
                "UPDATE agents SET name = 'during', voice_settings = CASE WHEN slug LIKE '%3'
                   THEN '[]' ELSE voice_settings END",
            )
            .await;
        daemon
            .logged("another session holds a lock on a table")
            .await;
        let status = platform.says(&["status"]).await;
        assert_eq!(status.code, 0, "{status:?}");
        assert_eq!(daemon.lines("an agent is not in sync yet").len(), 0);
        holder.batch_execute("COMMIT").await.unwrap();
        platform
            .holds("SELECT count(*) = 18 FROM agent_configurations WHERE agent_name = 'during'")
            .await;
        daemon.logged("the lock is gone").await;
    }
}

/// A changed column is neither an outage nor a problem of an agent.
#[tokio::test]
async fn g14_a_column_change_is_neither_outage_nor_problem() {
    for (before, change) in [
        (
            "ALTER TABLE agent_configurations ALTER COLUMN provider_config TYPE text USING \
            provider_config::text",
            "ALTER TABLE agent_configurations ALTER COLUMN provider_config TYPE jsonb USING \
            provider_config::jsonb",
        ),
        (
            "",
            "ALTER TABLE agent_configurations ALTER COLUMN provider_config TYPE json",
        ),
        (
            "",
            "ALTER TABLE agent_configurations ALTER COLUMN temperature TYPE numeric(3, 2)",
        ),
        (
            "",
            "ALTER TABLE agent_configurations DROP COLUMN voice_settings",
        ),
        (
            "ALTER TABLE agent_configurations DROP COLUMN agent_image",
            "ALTER TABLE agent_configurations ADD COLUMN agent_image text",
        ),
        (
            "",
            "ALTER TABLE agent_configurations ALTER COLUMN system_prompt TYPE varchar(9000)",
        ),
    ] {
        let platform = Platform::new().await;
        platform.run(before).await;
        platform.install();
        platform.save("a", "{}").await;
        platform.configure("a").await;
        let daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        platform.run(change).await;
        platform.save("a", EXAMPLE).await;
        platform
            .holds("SELECT voice_id = 'test-voice-123' IS TRUE FROM agent_configurations")
            .await;
        platform.drained().await;
        assert_eq!(platform.problems().await, 0, "{change}");
        assert_eq!(daemon.outages().len(), 0, "{change}");
        assert_eq!(
            daemon.lines("agent could not be brought in sync").len(),
            0,
            "{change}"
        );
    }
}

/// GIVEN a migration that changes the collation of the slugs, WHEN the install runs, THEN it makes
/// the view `agent_sync.state` anew, with the privileges that others have been granted on it.
#[tokio::test]
async fn i6_a_changed_collation_of_the_slugs_needs_an_install_only() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    let reader = format!("reader_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {reader}; GRANT SELECT ON agent_sync.state TO {reader} WITH GRANT OPTION;
             GRANT SELECT ON agent_sync.state TO PUBLIC;
             CREATE VIEW public.dependent AS SELECT slug FROM agent_sync.state;
             DROP TRIGGER agent_sync_insert ON agents; DROP TRIGGER agent_sync_update ON agents;
             ALTER TABLE agents ALTER COLUMN slug TYPE text COLLATE \"C\""
        ))
        .await;
    let granted = "SELECT relacl::text FROM pg_class WHERE oid = 'agent_sync.state'::regclass";
    let before: String = platform.value(granted).await;
    let said = platform.says(&["install"]).await;
    assert!(
        said.code != 0
            && said
                .err
                .contains("other objects depend on it: view public.dependent")
            && said.err.contains("Drop these objects, run the install"),
        "{said:?}"
    );
    platform.run("DROP VIEW public.dependent").await;
    platform.install();
    assert_eq!(platform.value::<String>(granted).await, before);
    let collation = "SELECT attcollation = '\"C\"'::regcollation FROM pg_attribute
        WHERE attrelid = 'agent_sync.state'::regclass AND attname = 'slug'";
    assert!(platform.value::<bool>(collation).await);
    let said = platform.says(&["install"]).await;
    assert!(said.out.contains("nothing to change"), "{said:?}");
}

/// A cascading rename waits at most a second for a hung daemon.
#[tokio::test]
async fn g3_a_cascading_rename_waits_a_second_for_a_hung_daemon() {
    use crate::support::proxy::{Proxy, Snap};

    let cluster = crate::support::tcp_cluster();
    let platform = Platform::with_tables(cluster, crate::support::platform::TABLES).await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD FOREIGN KEY (agent_slug) REFERENCES agents \
            (slug) ON UPDATE CASCADE ON DELETE CASCADE",
        )
        .await;
    platform.install();
    for slug in ["a", "b", "c"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    let proxy = Proxy::start(cluster.port()).await;
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", proxy.url(platform.name()));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;
    // The daemon claims and locks the configurations, and receives no answer.
    proxy.trap(b"BEGIN", Snap::Deaf);
    platform.run("UPDATE agents SET name = 'new'").await;
    proxy.sprung().await;
    platform
        .run("SET lock_timeout = '4s'; UPDATE agents SET slug = 'd' WHERE slug = 'a'")
        .await;
    platform
        .holds("SELECT agent_name = 'new' IS TRUE FROM agent_configurations WHERE agent_slug = 'd'")
        .await;
}

/// GIVEN a cascading foreign key and a foreign trigger on the configurations, WHEN the daemon has
/// written and then hangs in a batch, THEN a rename waits no longer than without the trigger.
#[tokio::test]
async fn g3_a_foreign_trigger_does_not_delay_a_cascading_rename() {
    use crate::support::proxy::{Proxy, Snap};

    let cluster = crate::support::tcp_cluster();
    let platform = Platform::with_tables(cluster, crate::support::platform::TABLES).await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD FOREIGN KEY (agent_slug) REFERENCES agents \
            (slug) ON UPDATE CASCADE ON DELETE CASCADE;
             CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER theirs AFTER UPDATE ON agent_configurations
               FOR EACH ROW EXECUTE FUNCTION public.theirs()",
        )
        .await;
    platform.install();
    for slug in ["a", "b", "c"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    let proxy = Proxy::start(cluster.port()).await;
    let mut command = platform.command(&["run"]);
    command.env("DATABASE_URL", proxy.url(platform.name()));
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    for name in ["once", "again"] {
        platform
            .run(&format!("UPDATE agents SET name = '{name}'"))
            .await;
        platform
            .holds(&format!(
                "SELECT bool_and(agent_name = '{name}') FROM agent_configurations"
            ))
            .await;
        platform.drained().await;
    }
    assert_eq!(daemon.outages().len(), 0);
    proxy.trap(b"BEGIN", Snap::Deaf);
    platform.run("UPDATE agents SET name = 'new'").await;
    proxy.sprung().await;
    platform
        .run("SET lock_timeout = '4s'; UPDATE agents SET slug = 'd' WHERE slug = 'a'")
        .await;
}

/// Changed tables are read again within one sweep.
#[tokio::test]
async fn g14_changed_tables_are_read_again_within_one_sweep() {
    let synced =
        "SELECT bool_and(c.agent_name = a.name AND c.voice_id = a.voice_settings ->> 'voice_id'
            AND c.provider_config #>> '{tts,voice}' = a.voice_settings ->> 'voice_id') IS TRUE
        FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug";
    for (before, change) in [
        (
            "ALTER TABLE agent_configurations DROP COLUMN voice_id",
            "ALTER TABLE agent_configurations ADD COLUMN voice_id text",
        ),
        (
            "ALTER TABLE agent_configurations ADD COLUMN newer jsonb",
            "BEGIN; ALTER TABLE agent_configurations RENAME provider_config TO older;
             ALTER TABLE agent_configurations RENAME newer TO provider_config; COMMIT",
        ),
        (
            "",
            "BEGIN; ALTER TABLE agents RENAME name TO third; ALTER TABLE agents RENAME
                  description TO name;
             ALTER TABLE agents RENAME third TO description; COMMIT",
        ),
        (
            "ALTER TABLE agent_configurations ALTER COLUMN voice_id TYPE varchar(90)",
            "ALTER TABLE agent_configurations ALTER COLUMN voice_id TYPE text",
        ),
    ] {
        let platform = Platform::new().await;
        platform.run(before).await;
        platform.install();
        platform
            .run(
                "INSERT INTO agents (slug, name, description, voice_settings)
                     SELECT 'agent-' || i, 'n', 'd',
                       '{\"provider\":\"openai\",\"voice_id\":\"v\"}' FROM generate_series(1, 5) i;
                 INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
            )
            .await;
        let mut command = platform.command(&["run"]);
        command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        platform.drained().await;
        platform.run(change).await;
        platform.holds(synced).await;
        assert_eq!(daemon.outages().len(), 0, "{change}");
    }
}

/// An outbox that may lose changes is a fault of the capture.
#[tokio::test]
async fn g14_an_outbox_that_may_lose_changes_is_a_fault() {
    for (harm, cure) in [
        (
            "CREATE FUNCTION public.eat() RETURNS trigger LANGUAGE plpgsql AS
                  'BEGIN RETURN NULL; END';
             CREATE TRIGGER eat BEFORE INSERT ON agent_sync.outbox
               FOR EACH ROW EXECUTE FUNCTION public.eat()",
            "DROP TRIGGER eat ON agent_sync.outbox",
        ),
        (
            "CREATE RULE eat AS ON INSERT TO agent_sync.outbox DO INSTEAD NOTHING",
            "DROP RULE eat ON agent_sync.outbox",
        ),
        ("ALTER TABLE agent_sync.outbox SET UNLOGGED", ""),
        // PostgreSQL 14 has no UNLOGGED sequence.
        (
            "DO $$ BEGIN
                 IF current_setting('server_version_num')::integer >= 150000 THEN
                     ALTER SEQUENCE agent_sync.uncaptured SET UNLOGGED;
                 ELSE
                     ALTER TABLE agent_sync.outbox SET UNLOGGED;
                 END IF;
             END $$",
            "",
        ),
        (
            "ALTER TABLE agent_sync.problem DROP CONSTRAINT problem_kind_is_known;
             ALTER TABLE agent_sync.problem ADD CONSTRAINT problem_kind_is_known CHECK (kind <>
               'rejected')",
            "ALTER TABLE agent_sync.problem DROP CONSTRAINT problem_kind_is_known",
        ),
        (
            "CREATE OR REPLACE TRIGGER agent_sync_insert AFTER DELETE ON agents
                  FOR EACH ROW EXECUTE FUNCTION agent_sync.capture_agent();
             ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_insert",
            "",
        ),
    ] {
        let (platform, daemon) = platform().await;
        platform.run(harm).await;
        daemon.logged("capture broken").await;
        assert_eq!(platform.says(&["doctor"]).await.code, 2, "{harm}");
        platform
            .run(
                "UPDATE agents SET name = 'meanwhile'; INSERT INTO agents (slug, name) VALUES \
                ('late', 'meanwhile')",
            )
            .await;
        platform.configure("late").await;
        platform.run(cure).await;
        platform.install();
        platform
            .holds(
                "SELECT count(*) = 21 FROM agent_configurations WHERE agent_name = \
                'meanwhile'",
            )
            .await;
    }
}

#[tokio::test]
async fn a_domain_that_takes_no_null_is_written_like_any_other_type() {
    let platform = Platform::new().await;
    platform
        .run(
            "CREATE DOMAIN label AS text NOT NULL; ALTER TABLE agent_configurations ALTER COLUMN \
            agent_name TYPE label USING 'x'",
        )
        .await;
    platform.install();
    platform.save("a", "{}").await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug, agent_name, provider_config) \
            VALUES ('a', 'x', '{}')",
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.save("a", EXAMPLE).await;
    platform
        .holds("SELECT voice_id = 'test-voice-123' IS TRUE FROM agent_configurations")
        .await;
}

/// A temporary child and another owner are no faults of the capture.
#[tokio::test]
async fn g14_a_temporary_child_or_another_owner_is_no_fault() {
    let (platform, daemon) = platform().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("CREATE TEMPORARY TABLE mine () INHERITS (public.agents)")
        .await
        .unwrap();
    let other = format!("other_{}", platform.name());
    platform
        .run(&format!(
            "CREATE ROLE {other}; ALTER TABLE agents OWNER TO {other}"
        ))
        .await;
    daemon.logged("agent_sync.capture_agent() belongs to").await;
    platform.run("UPDATE agents SET name = 'meanwhile'").await;
    platform
        .holds("SELECT count(*) = 20 FROM agent_configurations WHERE agent_name = 'meanwhile'")
        .await;
    assert!(
        daemon.lines("capture broken").is_empty(),
        "{:?}",
        daemon.lines("capture broken")
    );
    assert!(daemon.lines("saves in a partition or child").is_empty());
    let doctor = platform.says(&["doctor"]).await;
    assert_eq!(doctor.code, 0, "{doctor:?}");
}
