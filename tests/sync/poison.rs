//! Rows that cannot be written, and rows that delay others (G5, G12): the other rows are written,
//! the log contains no values (G11), and every agent out of sync has a problem (G7).

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform};

/// A platform with this many agents `agent-1`, … named `n`, each with a configuration.
async fn platform(agents: u32) -> Platform {
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name, voice_settings) SELECT 'agent-' || i, 'n', '{{}}'
                  FROM generate_series(1, {agents}) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"
        ))
        .await;
    platform
}

/// Runs these statements in every write of the configuration of `agent-3`.
async fn poison(platform: &Platform, statements: &str) {
    platform
        .run(&format!(
            "CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF NEW.agent_slug = 'agent-3'
                   THEN {statements} END IF; RETURN NEW; END $$;
             CREATE TRIGGER poison BEFORE UPDATE ON agent_configurations
               FOR EACH ROW EXECUTE FUNCTION public.poison()"
        ))
        .await;
}

#[tokio::test]
async fn poison_row_does_not_block_its_neighbours() {
    for (statements, sqlstate) in [
        ("RAISE EXCEPTION 'key %', NEW.openai_api_key;", "P0001"),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '42501';",
            "42501",
        ),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '23514';",
            "23514",
        ),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '0A000';",
            "0A000",
        ),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '53100';",
            "53100",
        ),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '57014';",
            "57014",
        ),
        (
            "RAISE EXCEPTION 'key %', NEW.openai_api_key USING errcode = '40001';",
            "40001",
        ),
        ("PERFORM no_such_function();", "42883"),
        ("PERFORM 1 / 0;", "22012"),
        ("RETURN NULL;", "22012"),
    ] {
        let platform = platform(40).await;
        poison(&platform, statements).await;
        let daemon = platform.daemon();
        platform
            .holds("SELECT count(*) = 39 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        let line = daemon.logged("agent could not be brought in sync").await;
        assert_eq!(
            (line["slug"].as_str(), line["sqlstate"].as_str()),
            (Some("agent-3"), Some(sqlstate)),
            "{statements}"
        );
        let caught_up = daemon.logged("caught up").await;
        assert!(
            caught_up["failed"].as_u64() >= Some(1) && caught_up["written"] == 39,
            "{caught_up}"
        );
        // The privilege is missing in the trigger, so no row can be corrected.
        assert_eq!(
            sqlstate == "42501",
            line["remedy"]
                .as_str()
                .unwrap()
                .contains("SECURITY DEFINER"),
            "{line}"
        );
        let problem = "SELECT string_agg(slug || kind || sqlstate, ',') FROM agent_sync.problem";
        assert_eq!(
            platform.value::<String>(problem).await,
            format!("agent-3failed{sqlstate}"),
            "{statements}"
        );
        assert!(
            daemon
                .log()
                .iter()
                .all(|line| !line.to_string().contains("sk-test")),
            "{statements}"
        );
        assert!(
            !platform
                .problem("agent-3")
                .await
                .unwrap()
                .1
                .contains("sk-test"),
            "{statements}"
        );
        assert_eq!(daemon.outages().len(), 0, "{statements}");

        platform
            .run("DROP TRIGGER poison ON agent_configurations")
            .await;
        platform.save("agent-3", EXAMPLE).await;
        platform
            .holds("SELECT count(*) = 40 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
    }
}

/// A slow write does not delay others and is made later.
#[tokio::test]
async fn a_slow_write_keeps_no_other_waiting() {
    // Before the write and at the commit, for one of many rows and for a single one.
    for (timing, sleeps) in [
        ("BEFORE UPDATE", 3600),
        ("AFTER UPDATE", 3600),
        ("DEFERRED", 3600),
        ("BEFORE UPDATE", 1),
    ] {
        let platform = platform(300).await;
        let body = format!(
            "BEGIN IF NEW.agent_slug = 'agent-3' THEN PERFORM pg_sleep({sleeps}); END IF; RETURN \
            NEW; END"
        );
        let (kind, when, how) = match timing {
            "DEFERRED" => (
                "CONSTRAINT TRIGGER",
                "AFTER UPDATE",
                "DEFERRABLE INITIALLY DEFERRED",
            ),
            timing => ("TRIGGER", timing, ""),
        };
        platform
            .run(&format!(
                "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$;
                 CREATE {kind} slow {when} ON agent_configurations {how}
                   FOR EACH ROW EXECUTE FUNCTION public.slow()"
            ))
            .await;
        let daemon = platform.daemon();
        platform
            .holds("SELECT count(*) >= 299 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        if sleeps > 60 {
            platform
                .holds(
                    "SELECT coalesce(bool_and(slug = 'agent-3'), false) FROM agent_sync.state \
                    WHERE pending AND problem IS NULL",
                )
                .await;
            for round in 0..5 {
                platform
                    .run(&format!(
                        "UPDATE agents SET name = 'm{round}' WHERE slug IN ('agent-3', 'agent-4')"
                    ))
                    .await;
                platform
                    .holds(&format!(
                        "SELECT agent_name = 'm{round}' FROM agent_configurations \
                        WHERE agent_slug = 'agent-4'"
                    ))
                    .await;
            }
            assert!(
                platform.problem("agent-3").await.is_none(),
                "its time is not over"
            );
        } else {
            platform
                .holds("SELECT count(*) = 300 FROM agent_configurations WHERE agent_name = 'n'")
                .await;
            platform.save("agent-3", EXAMPLE).await;
            platform.drained().await;
        }
        assert_eq!(daemon.outages().len(), 0, "{timing}");
    }
}

#[tokio::test]
async fn a_write_that_takes_longer_than_is_set_stands_as_a_problem() {
    let platform = platform(30).await;
    poison(&platform, "PERFORM pg_sleep(3600);").await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "1s");
    let _daemon = Daemon::start(command);
    platform
        .holds("SELECT count(*) = 29 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'agent-3' AND sqlstate \
            = '57014')",
        )
        .await;
}

/// A write whose retry is due when another one fails is tried immediately.
#[tokio::test]
async fn a_write_due_again_is_tried_at_once_when_another_fails() {
    let platform = platform(3).await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    // One is due already, and the other one in some minutes.
    poison(&platform, "RAISE EXCEPTION 'no';").await;
    platform
        .run(
            "UPDATE agent_configurations SET agent_name = NULL WHERE agent_slug = 'agent-1';
              INSERT INTO agent_sync.problem (slug, kind, detail, sqlstate, attempts,
                next_attempt) VALUES
                  ('agent-1', 'failed', 'no', 'P0001', 1, now()), ('agent-3', 'failed', 'no',
                    'P0001', 10, NULL)",
        )
        .await;
    platform.save("agent-3", EXAMPLE).await;
    platform
        .holds(
            "SELECT agent_name = 'n' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'agent-1'",
        )
        .await;
    platform.drained().await;
}

#[tokio::test]
async fn locked_row_costs_at_most_the_lock_timeout() {
    let platform = platform(40).await;
    platform
        .run(
            "CREATE UNIQUE INDEX ON agent_configurations (agent_name) WHERE agent_name LIKE \
            'taken%'",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    // A unique value of another open transaction: PostgreSQL makes the second writer wait for the
    // first.
    let holder = platform.connect().await;
    holder
        .batch_execute(
            "BEGIN; INSERT INTO agent_configurations (agent_slug, agent_name) VALUES ('other', \
            'taken')",
        )
        .await
        .unwrap();
    platform
        .run("UPDATE agents SET name = CASE slug WHEN 'agent-3' THEN 'taken' ELSE 'new' END")
        .await;
    platform
        .holds("SELECT count(*) = 39 FROM agent_configurations WHERE agent_name = 'new'")
        .await;
    assert_eq!(
        platform.outbox().await,
        ["agent-3"],
        "it is nobody's problem, and waits"
    );
    assert_eq!(platform.problems().await, 0);
    platform.save("agent-5", EXAMPLE).await;
    platform
        .holds(
            "SELECT voice_id = 'test-voice-123' IS TRUE FROM agent_configurations WHERE \
            agent_slug = 'agent-5'",
        )
        .await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    platform
        .holds("SELECT agent_name = 'taken' FROM agent_configurations WHERE agent_slug = 'agent-3'")
        .await;
    assert_eq!(daemon.outages().len(), 0);
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_made_smaller() {
    let platform = platform(200).await;
    platform
        .run(
            "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
              CREATE TRIGGER slow BEFORE UPDATE ON agent_configurations
                FOR EACH ROW EXECUTE FUNCTION public.slow()",
        )
        .await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", "1s");
    let daemon = Daemon::start(command);
    platform
        .holds("SELECT count(*) = 200 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    assert_eq!(platform.problems().await, 0);
    assert_eq!(daemon.outages().len(), 0);
}

#[tokio::test]
async fn g12_large_agents_make_small_batches() {
    let platform = platform(0).await;
    platform
        .run(
            "INSERT INTO agents (slug, agent_image)
              SELECT 'agent-' || i, repeat(md5(i::text), 65536) FROM generate_series(1, 150) i;
              INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    let written = "SELECT count(*) FROM agent_configurations c JOIN agents a ON a.slug = \
        c.agent_slug WHERE c.agent_image = a.agent_image";
    assert_eq!(platform.value::<i64>(written).await, 150);
    let peak = daemon.peak_memory_kib();
    assert!(
        peak < 256 * 1024,
        "300 MiB of images went through, and the daemon took {peak} KiB at most"
    );
}

#[tokio::test]
async fn a_column_of_fixed_length_gets_the_whole_text() {
    let platform = Platform::new().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ALTER agent_name TYPE char(20), ALTER voice_id TYPE \
            char(30)",
        )
        .await;
    platform.install();
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    let _daemon = platform.caught_up_daemon().await;
    let row = "SELECT agent_name::text || voice_id::text FROM agent_configurations";
    assert_eq!(platform.value::<String>(row).await, "Agent atest-voice-123");
}

#[tokio::test]
async fn a_publication_of_all_tables_does_not_stop_it() {
    let platform = platform(5).await;
    platform
        .run("CREATE PUBLICATION everything FOR ALL TABLES")
        .await;
    let daemon = platform.caught_up_daemon().await;
    assert_eq!(
        platform
            .value::<i64>("SELECT count(*) FROM agent_configurations WHERE agent_name = 'n'")
            .await,
        5
    );
    assert_eq!(daemon.outages().len(), 0);
}

#[tokio::test]
async fn a_fix_that_comes_while_the_failure_is_noted_is_not_lost() {
    let platform = platform(3).await;
    poison(
        &platform,
        "IF NEW.agent_name = 'bad' THEN RAISE EXCEPTION 'no'; END IF;",
    )
    .await;
    let _daemon = platform.caught_up_daemon().await;
    for round in 0..20 {
        platform
            .run("UPDATE agents SET name = 'bad' WHERE slug = 'agent-3'")
            .await;
        platform
            .run(&format!(
                "UPDATE agents SET name = 'good-{round}' WHERE slug = 'agent-3'"
            ))
            .await;
        platform
            .holds(&format!(
                "SELECT agent_name = 'good-{round}' FROM agent_configurations WHERE agent_slug = \
                'agent-3'"
            ))
            .await;
    }
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_does_not_end_the_work() {
    let platform = platform(1).await;
    let mut command = platform.command(&["run"]);
    command.stderr(
        std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    );
    let mut child = command.spawn().unwrap();
    platform
        .holds("SELECT agent_name = 'n' IS TRUE FROM agent_configurations")
        .await;
    platform.save("agent-1", EXAMPLE).await;
    platform
        .holds("SELECT voice_id = 'test-voice-123' IS TRUE FROM agent_configurations")
        .await;
    assert_eq!(child.try_wait().unwrap(), None, "it still runs");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// GIVEN agents that PostgreSQL refuses, with incompressible slugs longer than any btree entry,
/// WHEN they are saved with other agents, THEN each has its own problem with its own number of
/// attempts, and the other agents are in sync.
#[tokio::test]
async fn g5_an_agent_with_a_slug_of_any_length_is_set_aside() {
    let platform = platform(20).await;
    // Such slugs do not fit into a btree of the platform either.
    platform
        .run(
            "ALTER TABLE agents DROP CONSTRAINT agents_slug_key, ADD EXCLUDE USING hash (slug
                  WITH =);
             DROP INDEX agent_configurations_agent_slug_idx; CREATE INDEX
               ON agent_configurations USING hash (agent_slug);
             INSERT INTO agents (slug, name) SELECT string_agg(md5(n::text || length), ''), 'n'
                 FROM generate_series(1, 3200) n, unnest(ARRAY[100, 200, 3200]) AS length
                   WHERE n <= length GROUP BY length;
             CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF length(NEW.agent_slug) > 1000
                   THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
             CREATE TRIGGER poison BEFORE UPDATE ON agent_configurations
               FOR EACH ROW EXECUTE FUNCTION public.poison()",
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 20 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    // The longest one exceeds the limit of a slug.
    let longest = "SELECT count(*) = 1 FROM agent_sync.problem WHERE kind = 'rejected' AND \
        length(slug) > 100000";
    platform
        .holds("SELECT count(*) = 2 FROM agent_sync.problem WHERE kind = 'missing_configuration'")
        .await;
    platform.holds(longest).await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents WHERE \
            length(slug) > 1000",
        )
        .await;
    platform
        .holds("SELECT count(*) = 2 FROM agent_sync.problem WHERE kind = 'failed'")
        .await;
    platform.run("UPDATE agents SET name = 'again'").await;
    platform
        .holds("SELECT count(*) = 3 AND min(attempts) > 1 FROM agent_sync.problem")
        .await;
    platform
        .holds("SELECT count(*) = 20 FROM agent_configurations WHERE agent_name = 'again'")
        .await;
    platform.holds(longest).await;
}

/// GIVEN many agents whose write a trigger refuses with a code for "try again", WHEN they are in
/// one batch, THEN they are found together, as with any other code, and not one after the other
/// with a pause.
#[tokio::test]
async fn g5_many_writes_refused_with_40001_are_set_aside_together() {
    for code in ["40001", "40P01", "P0001"] {
        let platform = platform(40).await;
        platform
            .run(&format!(
                "CREATE FUNCTION public.poison() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN IF NEW.agent_slug <> 'agent-3'
                       THEN RAISE EXCEPTION 'no' USING errcode = '{code}'; END IF; RETURN NEW;
                       END $$;
                 CREATE TRIGGER poison BEFORE UPDATE ON agent_configurations
                   FOR EACH ROW EXECUTE FUNCTION public.poison()"
            ))
            .await;
        let _daemon = platform.daemon();
        platform
            .holds("SELECT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
        platform
            .holds("SELECT count(*) = 1 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        platform
            .holds("SELECT count(*) = 39 FROM agent_sync.problem")
            .await;
        // The first time of a problem is that of the transaction that has noted it.
        let transactions: i64 = platform
            .value("SELECT count(DISTINCT since) FROM agent_sync.problem")
            .await;
        assert!(
            transactions <= 8,
            "{code}: noted in {transactions} transactions"
        );
    }
}

#[tokio::test]
async fn g12_an_agent_of_very_many_values_is_rejected() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, voice_settings) VALUES
                 ('many', 'n',
                   ('{\"provider\":\"openai\",\"x\":[' || repeat('1,', 300000) || '1]}')::jsonb),
                 ('neighbour', 'n', '{}');
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let _daemon = platform.daemon();
    platform
        .holds(
            "SELECT agent_name = 'n' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'neighbour'",
        )
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'many')")
        .await;
    let (kind, detail) = platform.problem("many").await.unwrap();
    assert_eq!(
        (&*kind, &*detail),
        (
            "rejected",
            "voice_settings: expected at most 250000 values, found 300003"
        )
    );
}

/// GIVEN rows of the outbox with an infinite time, WHEN the outbox is read, THEN the time counts as
/// unknown, and the agents are synced.
#[tokio::test]
async fn g5_an_infinite_time_in_the_outbox_is_an_unknown_one() {
    const ROWS: &str = "INSERT INTO agent_sync.outbox (slug, at) SELECT slug, at FROM agents,
        unnest(ARRAY['-infinity', 'infinity', now()]::timestamptz[]) AS u (at)";
    let platform = platform(3).await;
    platform.run(ROWS).await;
    platform
        .run("DELETE FROM agent_sync.outbox WHERE slug = 'agent-1' AND isfinite(at)")
        .await;
    assert_eq!(platform.says(&["status"]).await.code, 0);
    let said = platform.says(&["why", "agent-1"]).await;
    assert!(said.out.contains("pending  since"), "{said:?}");
    platform
        .holds("SELECT count(*) = 3 FROM agent_sync.state WHERE pending")
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds("SELECT count(*) = 3 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform.drained().await;
    // While the daemon sleeps: one row, and several.
    for rows in [
        "WITH added AS (INSERT INTO agent_sync.outbox (slug, at) VALUES ('agent-2', '-infinity')
             RETURNING ctid)
         SELECT pg_notify('agent_sync_change', ctid::text) FROM added",
        &format!("{ROWS}; NOTIFY agent_sync, ''"),
    ] {
        platform
            .run(&format!(
                "BEGIN; UPDATE agent_configurations SET agent_name = 'edited'
                   WHERE agent_slug = 'agent-2'; {rows}; COMMIT"
            ))
            .await;
        platform
            .holds("SELECT count(*) = 3 FROM agent_configurations WHERE agent_name = 'n'")
            .await;
        platform.drained().await;
    }
    assert_eq!(platform.problems().await, 0);
    assert!(daemon.outages().is_empty());
}

/// The text before the SQLSTATE does not identify a problem: a refused write with the same SQLSTATE
/// and location is the same problem.
#[tokio::test]
async fn g5_a_refused_write_is_known_by_its_code_and_place() {
    let platform = Platform::installed().await;
    let note = async |detail: &str, sqlstate: Option<&str>| {
        let (slugs, kinds, details) = (["a"].as_slice(), ["failed"].as_slice(), [detail]);
        let (states, retries, asked) = ([sqlstate], [true].as_slice(), [false].as_slice());
        let note = agent_sync::store::queries::note_problems(agent_sync::key::Keys::Slugs);
        let note = agent_sync::pg::without_sent(&note);
        let unchanged = platform
            .client
            .query_opt(
                &*note,
                &[
                    &slugs,
                    &kinds,
                    &&details[..],
                    &&states[..],
                    &retries,
                    &asked,
                ],
            )
            .await
            .unwrap();
        // The second, fourth and eighth attempt are always logged.
        platform
            .run("UPDATE agent_sync.problem SET attempts = 2")
            .await;
        unchanged.is_none()
    };
    let constraint = "PostgreSQL refused the write: a check constraint forbids it (SQLSTATE 23514, \
        table t, constraint c)";
    assert!(note(constraint, Some("23514")).await, "it is new");
    assert!(!note(constraint, Some("23514")).await);
    assert!(!note(&constraint.replace("check", "other"), Some("23514")).await);
    assert!(
        note(
            &constraint.replace("constraint c", "constraint d"),
            Some("23514")
        )
        .await
    );
    assert!(note("it ended 3 times", Some("08006")).await);
    assert!(!note("it ended 4 times", Some("08006")).await);
    assert!(note("no agent is visible", None).await);
    assert!(note("no configuration is visible", None).await);
}

/// GIVEN a trigger that fails for one row with the error of a dropped column, WHEN that agent and
/// another are saved, THEN one is `failed`, the other is in sync, and the connection stays (G5).
#[tokio::test]
async fn g5_a_trigger_error_like_a_changed_table_is_of_its_row() {
    let platform = Platform::installed().await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ADD COLUMN words tsvector, ADD COLUMN gone text;
             CREATE TRIGGER words BEFORE UPDATE ON agent_configurations FOR EACH ROW
               WHEN (NEW.agent_slug = 'bad') EXECUTE FUNCTION
               tsvector_update_trigger(words, 'pg_catalog.english', agent_name, gone);
             ALTER TABLE agent_configurations DROP COLUMN gone",
        )
        .await;
    for slug in ["bad", "good"] {
        platform.configure(slug).await;
    }
    // The daemon reads the changed table before the save.
    platform.save("good", EXAMPLE).await;
    platform.becomes("good", EXPECTED).await;
    let before = daemon.outages().len();
    for slug in ["bad", "good"] {
        platform.save(slug, "{}").await;
    }
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM agent_sync.problem
                 WHERE slug = 'bad' AND sqlstate = '42703')",
        )
        .await;
    platform.save("good", EXAMPLE).await;
    platform.becomes("good", EXPECTED).await;
    assert_eq!(daemon.outages().len(), before);
}

/// GIVEN a `sync.lock_timeout` above the `deadlock_timeout` of the server, WHEN a transaction that
/// saves waits for a batch that waits for it, THEN the daemon gives way, and the save succeeds.
#[tokio::test]
async fn g3_in_a_deadlock_the_daemon_gives_way() {
    let (_cluster, platform) = Platform::on_own_server("deadlock_timeout = '400ms'\n").await;
    platform
        .run("ALTER TABLE agent_configurations ADD UNIQUE (agent_name)")
        .await;
    for slug in ["a1", "a2", "a3"] {
        platform.save(slug, EXAMPLE).await;
        platform.configure(slug).await;
        platform
            .run(&format!(
                "UPDATE agents SET name = slug WHERE slug = '{slug}'"
            ))
            .await;
    }
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__LOCK_TIMEOUT", "10s");
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;

    let writer = platform.connect().await;
    writer
        .batch_execute(
            "BEGIN; UPDATE agents SET description = 'saved' WHERE slug = 'a3';
             UPDATE agent_configurations SET agent_name = 'U' WHERE agent_slug = 'a3'",
        )
        .await
        .unwrap();
    platform
        .run(
            "UPDATE agents SET name = CASE slug WHEN 'a1' THEN 'U' ELSE name || '1' END WHERE slug \
            IN ('a1', 'a2')",
        )
        .await;
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE \
            'agent-sync/%' AND wait_event_type = 'Lock')",
        )
        .await;
    writer
        .batch_execute(
            "UPDATE agent_configurations SET notes = 'saved' WHERE agent_slug IN ('a1', 'a2');
             COMMIT",
        )
        .await
        .expect("the save is no victim");
    let saved = "SELECT description = 'saved' FROM agents WHERE slug = 'a3'";
    assert!(platform.value::<bool>(saved).await);
    platform
        .holds("SELECT agent_name = 'a21' FROM agent_configurations WHERE agent_slug = 'a2'")
        .await;
}
