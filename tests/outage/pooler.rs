//! A real PgBouncer between the daemon and the server (G10): refused in transaction mode, accepted
//! in session mode, where nothing of agent-sync remains in a backend for the next client.

use crate::support::platform::{EXAMPLE, EXPECTED, connect};
use crate::support::pooler::Pooler;
use crate::support::{Daemon, Platform, Said, cluster, eventually, http};

impl Pooler {
    fn daemon(&self, platform: &Platform) -> Daemon {
        let mut command = platform.command(&["run"]);
        command.env("DATABASE_URL", self.url(platform.name()));
        Daemon::start(command)
    }

    /// A daemon that looks often where a new connection leads. The server does not end its session
    /// within a test, though nothing is heard from it.
    fn looking_daemon(&self, platform: &Platform) -> Daemon {
        let mut command = platform.command(&["run"]);
        command
            .env("DATABASE_URL", self.url(platform.name()))
            .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
            .env("AGENT_SYNC__SYNC__PROBE_INTERVAL", "10m");
        Daemon::start(command)
    }

    /// What a command says that connects through the pooler.
    async fn says(&self, platform: &Platform, arguments: &[&str]) -> Said {
        let mut command = platform.command(arguments);
        command.env("DATABASE_URL", self.url(platform.name()));
        Said::of(command).await
    }

    /// Asserts that the backends of the pool are as new ones.
    async fn is_clean(&self, platform: &Platform, after: &str) {
        let mut clients = Vec::new();
        // More than agent-sync has used, and all at once, so every backend is among them.
        for _ in 0..8 {
            let (client, _) = connect(&self.url(platform.name())).await;
            let left = client.simple_query(LEFT).await.unwrap();
            let left = left.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            assert_eq!(left.as_deref(), Some(FRESH), "{after}");
            clients.push(client);
        }
    }
}

/// What an earlier client can have left in a backend, and what a new one has.
const LEFT: &str = "SELECT concat_ws(', ', current_setting('search_path'),
    (SELECT reset_val = setting FROM pg_settings WHERE name = 'synchronous_commit'),
    current_setting('lock_timeout'), current_setting('idle_session_timeout'),
    coalesce(current_setting('agent_sync.daemon', true), ''),
    (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_prepared_statements),
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))";
const FRESH: &str = "\"$user\", public, t, 0, 0, , 0, 0, 0";

/// A pool in session mode that passes a backend on as its last client has left it.
const NO_RESET: &str = "pool_mode = session\nserver_reset_query =";

/// The sessions that hold advisory locks of agent-sync, of this database.
const HOLDERS: &str = "(SELECT DISTINCT l.pid FROM pg_locks l JOIN pg_database d
    ON d.oid = l.database WHERE l.locktype = 'advisory' AND l.classid = 1634169721
    AND d.datname = current_database()) AS holder";

/// Whether none does.
async fn is_released(platform: &Platform) -> bool {
    let none = format!("SELECT count(*) = 0 FROM {HOLDERS}");
    platform.value(&none).await
}

async fn is_refused(platform: &Platform, pooler: &Pooler) {
    let daemon = pooler.daemon(platform);
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    assert_eq!(
        line["cause"],
        "notifications do not arrive: the connection goes through a pooler in transaction mode"
    );
    let remedy = line["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("direct address") && remedy.contains("session mode"),
        "{remedy}"
    );
    assert_eq!(daemon.lines("connected and leading").len(), 0);
}

#[tokio::test]
async fn transaction_pooler_is_refused_with_a_remedy() {
    for mode in ["transaction", "statement"] {
        let platform = Platform::installed().await;
        let settings = format!("pool_mode = {mode}");
        let Some(pooler) = Pooler::start(cluster(), "postgres", &settings).await else {
            return;
        };
        is_refused(&platform, &pooler).await;
        let mut install = platform.command(&["install"]);
        let output = install
            .env("DATABASE_URL", pooler.url(platform.name()))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(69), "{mode}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains("pooler in transaction mode") && text.contains("direct address"),
            "{text}"
        );
        // Other clients use the same backends, so no state of agent-sync may remain in them.
        let (other, _) = connect(&pooler.url(platform.name())).await;
        let left = "SELECT current_setting('search_path') || ', ' || count(*) FROM \
            pg_listening_channels()";
        let messages = other.simple_query(left).await.unwrap();
        let row = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        assert_eq!(row, Some("\"$user\", public, 0"), "{mode}");
    }
}

/// A transaction pooler with changing backends is refused.
#[tokio::test]
async fn a_transaction_pooler_with_changing_backends_is_refused() {
    let platform = Platform::installed().await;
    let settings = "pool_mode = transaction\nserver_round_robin = 1";
    let Some(pooler) = Pooler::start(cluster(), "postgres", settings).await else {
        return;
    };
    // Three clients at once make the pooler open three backends.
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, _) = connect(&pooler.url(platform.name())).await;
        client.simple_query("BEGIN").await.unwrap();
        clients.push(client);
    }
    for client in &clients {
        client.simple_query("COMMIT").await.unwrap();
    }
    is_refused(&platform, &pooler).await;
}

#[tokio::test]
async fn session_pooler_works() {
    // With a pool of one, the second connection of the session check gets no backend.
    for settings in [
        "pool_mode = session",
        "pool_mode = session\ndefault_pool_size = 1",
    ] {
        let platform = Platform::installed().await;
        platform.configure("a").await;
        let Some(pooler) = Pooler::start(cluster(), "postgres", settings).await else {
            return;
        };
        let daemon = pooler.daemon(&platform);
        daemon.logged("caught up").await;
        for round in 1..=3 {
            // The sweep interval is long, so only a notification can cause the sync.
            platform
                .save("a", &format!(r#"{{"voice_id":"v{round}"}}"#))
                .await;
            platform
                .holds(&format!(
                    "SELECT voice_id = 'v{round}' IS TRUE FROM agent_configurations"
                ))
                .await;
        }
        platform.save("a", EXAMPLE).await;
        platform.becomes("a", EXPECTED).await;
        assert!(daemon.terminate().await.success());
    }
}

/// GIVEN a session pool without a reset query, WHEN a command has ended, THEN the next client of
/// the pool has a session like a new one.
#[tokio::test]
async fn g10_a_command_leaves_nothing_in_a_pool() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", NO_RESET).await else {
        return;
    };
    for arguments in [
        &["status"][..],
        &["doctor"],
        &["check"],
        &["databases"],
        &["why", "a"],
        &["reconcile", "a"],
        &["install"],
    ] {
        let said = pooler.says(&platform, arguments).await;
        pooler
            .is_clean(&platform, &format!("{arguments:?}: {said:?}"))
            .await;
    }
    platform.becomes("a", EXPECTED).await;
    // It fails within a transaction.
    let holder = platform.connect().await;
    let lock = "BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE";
    holder.batch_execute(lock).await.unwrap();
    let said = pooler.says(&platform, &["check"]).await;
    assert_ne!(said.code, 0, "{said:?}");
    pooler.is_clean(&platform, &format!("{said:?}")).await;
}

/// GIVEN a daemon in a session pool without a reset query, WHEN it is stopped in the middle of a
/// batch that outlasts the grace period, THEN the next client of the pool has a session like a new
/// one, whether the batch commits meanwhile or not.
#[tokio::test]
async fn g10_a_daemon_cut_short_leaves_nothing_in_a_pool() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    platform
        .run(
            "CREATE TABLE pause (seconds float8);
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_sleep((SELECT seconds FROM public.pause)); RETURN new; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON agent_configurations FOR EACH ROW
                 EXECUTE FUNCTION slow()",
        )
        .await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", NO_RESET).await else {
        return;
    };
    for seconds in [0.7, 20.0] {
        platform
            .run(&format!(
                "DELETE FROM pause; INSERT INTO pause VALUES ({seconds})"
            ))
            .await;
        let mut command = platform.command(&["run"]);
        command
            .env("DATABASE_URL", pooler.url(platform.name()))
            .env("AGENT_SYNC__SHUTDOWN__GRACE_PERIOD", "100ms");
        let daemon = Daemon::start(command);
        daemon.logged("caught up").await;
        platform
            .save("a", &format!(r#"{{"voice_id":"v{seconds}"}}"#))
            .await;
        platform
            .holds(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND \
                wait_event = 'PgSleep'",
            )
            .await;
        assert!(daemon.terminate().await.success());
        pooler.is_clean(&platform, &format!("{seconds} s")).await;
    }
}

/// GIVEN a database in another encoding than UTF-8 behind a session pool, WHEN an agent has a
/// character beyond ASCII, THEN it arrives: the session keeps the encoding that the pooler has set.
#[tokio::test]
async fn g5_a_session_pool_keeps_the_encoding() {
    let platform = Platform::encoded("pooled", "LATIN1").await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", "pool_mode = session").await else {
        return;
    };
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.run("UPDATE agents SET name = 'caf\u{e9}'").await;
    let daemon = pooler.daemon(&platform);
    daemon.logged("caught up").await;
    platform
        .holds("SELECT agent_name = 'caf\u{e9}' FROM agent_configurations")
        .await;
    let said = pooler.says(&platform, &["check"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(daemon.terminate().await.success());
}

/// GIVEN a leader and a standby in a session pool without a reset query, WHEN they stop, THEN the
/// next client of the pool has a session like a new one.
#[tokio::test]
async fn g10_a_daemon_leaves_nothing_in_a_pool() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", NO_RESET).await else {
        return;
    };
    let leader = pooler.looking_daemon(&platform);
    leader.logged("caught up").await;
    let standby = pooler.looking_daemon(&platform);
    standby.logged("another daemon leads here").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    assert!(leader.terminate().await.success());
    standby.logged("connected and leading").await;
    standby.logged("caught up").await;
    assert!(standby.terminate().await.success());
    assert!(is_released(&platform).await);
    pooler.is_clean(&platform, "run").await;
}

/// GIVEN a session pool without a reset query, WHEN the leader is killed, THEN the backend that it
/// leaves with both locks is cleaned by the next program of agent-sync that gets it: a look of the
/// standby, a command, or another daemon, which reports the pooler.
#[tokio::test]
async fn g10_the_locks_of_a_killed_leader_end_with_the_next_client() {
    let platform = Platform::installed().await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", NO_RESET).await else {
        return;
    };
    let leader = pooler.looking_daemon(&platform);
    leader.logged("caught up").await;
    let standby = pooler.looking_daemon(&platform);
    standby.logged("another daemon leads here").await;
    leader.signal("KILL");
    // The pooler gives the backend that it has got back last, which may be that of a look of the
    // standby each time. Two clients at once change the order.
    eventually("the standby leads", async || {
        let (first, _) = connect(&pooler.url(platform.name())).await;
        let (second, _) = connect(&pooler.url(platform.name())).await;
        for client in [&first, &second] {
            client.simple_query("SELECT 1").await.unwrap();
        }
        !standby.lines("connected and leading").is_empty()
    })
    .await;
    standby.logged("caught up").await;
    drop(leader);

    standby.signal("KILL");
    drop(standby);
    eventually("a command has cleaned the backend", async || {
        let said = pooler.says(&platform, &["doctor"]).await;
        let words: Vec<_> = said.out.split_whitespace().collect();
        let is_told = words
            .join(" ")
            .contains("Set server_reset_query = DISCARD ALL");
        assert_eq!(is_told, said.out.contains("an earlier one"), "{said:?}");
        is_told && is_released(&platform).await
    })
    .await;

    let killed = pooler.looking_daemon(&platform);
    killed.logged("caught up").await;
    killed.signal("KILL");
    drop(killed);
    let next = pooler.looking_daemon(&platform);
    let line = next.logged("the connection began with settings").await;
    assert!(line.to_string().contains("server_reset_query"), "{line}");
    next.logged("connected and leading").await;
    assert!(next.terminate().await.success());
    pooler.is_clean(&platform, "run").await;
}

/// GIVEN an application that has the backend of a killed leader from a session pool without a reset
/// query, and so its name and its locks, WHEN it goes on with queries of its own, THEN the standby
/// is not ready and names it, and so do the commands.
#[tokio::test]
async fn s7_an_application_that_inherits_the_lock_is_named() {
    let platform = Platform::installed().await;
    platform.configure("a").await;
    let Some(pooler) = Pooler::start(cluster(), "postgres", NO_RESET).await else {
        return;
    };
    let leader = pooler.looking_daemon(&platform);
    leader.logged("caught up").await;
    // Its connection is direct, so no look of it gets the backend.
    let standby = Daemon::start(http::command(&platform));
    let address = http::address(&standby).await;
    standby.logged("another daemon leads here").await;
    // The pooler closes a backend whose client ends within a query.
    let all_idle = "SELECT bool_and(state = 'idle') FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'agent-sync%'";
    eventually("the leader is stopped between two queries", async || {
        leader.signal("STOP");
        let are_idle = platform.value::<bool>(all_idle).await;
        if !are_idle {
            leader.signal("CONT");
        }
        are_idle
    })
    .await;
    leader.signal("KILL");
    drop(leader);
    // The pooler may still have to notice; then it gives the backend that it has got back last.
    let mut others = Vec::new();
    let application = loop {
        let (client, _) = connect(&pooler.url(platform.name())).await;
        let own = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = \
            pg_backend_pid()";
        let answer = client.simple_query(own).await.unwrap();
        let holds = answer.iter().any(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0) != Some("0"),
            _ => false,
        });
        if holds {
            break client;
        }
        others.push(client);
        assert!(others.len() < 20, "the backend went to nobody");
    };
    let busy = tokio::spawn(async move {
        let pause = std::time::Duration::from_millis(20);
        while application.simple_query("SELECT 1").await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    platform.save("a", EXAMPLE).await;
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '2 minutes'")
        .await;
    for subcommand in ["status", "doctor"] {
        let said = platform.says(&[subcommand]).await;
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.out.contains("none of a") && said.out.contains("pg_terminate_backend"),
            "{said:?}"
        );
    }
    let line = standby
        .logged("another session leads here, and changes are not applied")
        .await;
    let told = line["leader"].as_str().unwrap();
    assert!(
        told.contains("statements that are none of a daemon's"),
        "{line}"
    );
    let (code, body) = http::get(address, "/readyz").await;
    assert!(
        code == 503 && body.contains("pg_terminate_backend"),
        "{code} {body}"
    );
    busy.abort();
    platform
        .run(&format!("SELECT pg_terminate_backend(pid) FROM {HOLDERS}"))
        .await;
    standby.logged("connected and leading").await;
    platform.becomes("a", EXPECTED).await;
}
