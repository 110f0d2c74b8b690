//! The server measures sizes before it sends rows (G12): memory is bounded in bytes for agents of
//! any content and any mixture.

use std::process::Command;

use tokio_postgres::Client;

use crate::support::{Daemon, Platform, Said};

/// The memory limit of a daemon in these tests, in KiB.
const MOST_KIB: u64 = 192 * 1024;

/// The same where large numbers are all that is heavy: a thousand of them have 131 MB of text.
const MOST_NUMBERS_KIB: u64 = 96 * 1024;

/// A poorly compressible text of this number of bytes, as SQL.
fn random(bytes: u32) -> String {
    format!(
        "(SELECT string_agg(md5(random()::text || j), '') FROM generate_series(1, {}) j)",
        bytes / 32
    )
}

/// A session that has the last configuration of a slug locked, in an open transaction.
async fn lock_last_configuration(platform: &Platform, slug: &str) -> Client {
    let holder = platform.connect().await;
    holder
        .batch_execute(&format!(
            "BEGIN; SELECT FROM agent_configurations c WHERE c.ctid =
               (SELECT max(ctid) FROM agent_configurations WHERE agent_slug = '{slug}') FOR UPDATE"
        ))
        .await
        .unwrap();
    holder
}

async fn fits(agents: &str) -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    platform.run(agents).await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let stale =
        "SELECT count(*) FROM agents a LEFT JOIN agent_configurations c ON c.agent_slug = a.slug
        WHERE c.agent_name IS DISTINCT FROM a.name OR c.agent_image IS DISTINCT FROM a.agent_image";
    assert_eq!(platform.value::<i64>(stale).await, 0, "{agents}");
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB: {agents}");
    (platform, daemon)
}

/// The first batch of a connection is bounded like any other.
#[tokio::test]
async fn g12_the_first_batch_of_a_connection_is_bounded_too() {
    let image = random(4 * 1024 * 1024);
    fits(&format!(
        "INSERT INTO agents (slug, name, agent_image) SELECT 'agent-' || i, 'n', {image}
              FROM generate_series(1, 16) i;
         INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"
    ))
    .await;
}

#[tokio::test]
async fn g12_heavy_agents_behind_light_ones_make_small_batches() {
    fits(
        "INSERT INTO agents (slug, name) SELECT 'light-' || i, 'n' FROM generate_series(1, 2000) i;
         INSERT INTO agents (slug, name, agent_image)
             SELECT 'heavy-' || i, 'n', repeat(md5(i::text), 40000) FROM generate_series(1, 200) i;
         INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
    )
    .await;
}

#[tokio::test]
async fn g12_a_slug_with_many_heavy_configurations_is_done_in_pages() {
    let settings = format!("jsonb_build_object('theirs', {})", random(20_000));
    let (platform, _daemon) = fits(&format!(
        "INSERT INTO agents (slug, name, voice_settings)
             VALUES ('one', 'n', jsonb_build_object('provider', 'openai', 'voice_id', 'v',
               'theirs', repeat('x', 20000)));
         INSERT INTO agents (slug, name) VALUES ('other', 'n');
         INSERT INTO agent_configurations (agent_slug, provider_config) SELECT 'one', {settings}
           FROM generate_series(1, 2500) i;
         INSERT INTO agent_configurations (agent_slug) VALUES ('other')"
    ))
    .await;
    let voices = "SELECT count(*) FROM agent_configurations
        WHERE provider_config #>> '{tts,voice}' = 'v'
          AND length(provider_config ->> 'theirs') = 20000";
    assert_eq!(
        platform.value::<i64>(voices).await,
        2500,
        "in sync, and nothing of anybody else's is lost"
    );
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT no_bad CHECK (agent_name <> 'bad')")
        .await;
    platform
        .run(
            "UPDATE agents SET name = 'bad' WHERE slug = 'one'; UPDATE agents SET name = \
            'good' WHERE slug = 'other'",
        )
        .await;
    platform
        .holds(
            "SELECT agent_name = 'good' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'other'",
        )
        .await;
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'one' AND kind = 'failed')",
        )
        .await;
}

#[tokio::test]
async fn g12_compressed_settings_weigh_what_they_are_as_text() {
    fits(
        "INSERT INTO agents (slug, name, voice_settings)
             SELECT 'agent-' || i, 'n', jsonb_build_object('provider', 'openai', 'theirs',
               repeat('x', 3000000))
             FROM generate_series(1, 60) i;
         INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
    )
    .await;
}

/// The command with a limit for its data, in KiB.
fn within(most_kib: u64, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -d {most_kib}; exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    limited
}

#[tokio::test]
async fn g12_an_agent_that_is_too_heavy_is_rejected_and_not_read() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, agent_image)
                  VALUES ('huge', 'n', repeat('0123456789', 30000000)), ('other', 'n', 'i');
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .holds(
            "SELECT agent_name = 'n' IS TRUE FROM agent_configurations WHERE agent_slug = 'other'",
        )
        .await;
    let (kind, detail) = platform.problem("huge").await.unwrap();
    assert_eq!(kind, "rejected");
    assert!(
        detail.contains("expected at most 16777216 bytes together"),
        "{detail}"
    );
    assert!(daemon.peak_memory_kib() < MOST_KIB);
    // A command has the same bound.
    for arguments in [&["check"][..], &["reconcile", "--all", "--dry-run"]] {
        let said = Said::of(within(MOST_KIB, &platform.command(arguments))).await;
        assert!(
            said.code == 2 && said.out.contains("expected at most 16777216 bytes"),
            "{arguments:?}: {said:?}"
        );
    }
    platform
        .run("UPDATE agents SET agent_image = 'small' WHERE slug = 'huge'")
        .await;
    platform
        .holds(
            "SELECT agent_image = 'small' IS TRUE FROM agent_configurations WHERE agent_slug = \
            'huge'",
        )
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
}

#[tokio::test]
async fn g12_slugs_of_any_length_are_set_aside_unread() {
    let platform = Platform::installed().await;
    // Without a unique index, which cannot contain such slugs unless they compress.
    platform
        .run(
            "ALTER TABLE agents DROP CONSTRAINT agents_slug_key;
             INSERT INTO agents (slug, name) SELECT repeat('x', 1000000) || i, 'n'
               FROM generate_series(1, 100) i;
             INSERT INTO agents (slug, name) VALUES (repeat('y', 8192), 'n'), ('short', 'n');
             INSERT INTO agent_configurations (agent_slug) VALUES (repeat('y', 8192)), ('short')",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    platform
        .holds("SELECT count(*) = 2 FROM agent_configurations WHERE agent_name = 'n'")
        .await;
    platform
        .holds(
            "SELECT count(*) = 100 FROM agent_sync.problem WHERE kind = 'rejected' AND detail \
            LIKE 'slug: expected at most 8192 bytes, found 10000%'",
        )
        .await;
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
    let said = platform.says(&["status"]).await;
    assert!(said.out.len() < 10_000, "{} bytes", said.out.len());
    // `check` agrees with the daemon, and shows the beginning of such a slug.
    let said = platform.says(&["check"]).await;
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.out
            .contains("slug: expected at most 8192 bytes, found 10000")
            && said.out.contains("100 rejected")
            && said.out.len() < 200_000,
        "{:.2000}",
        said.out
    );
}

/// `jsonb` stores a number with an exponent in a few bytes, and its text has all the digits.
#[tokio::test]
async fn s3_numbers_with_large_exponents_weigh_what_they_are_as_text() {
    let numbers = |count: u32| {
        format!(
            "('{{\"x\":[' || (SELECT string_agg('1e' || 131071 - j, ',') FROM generate_series(1, \
            {count}) j) || ']}}')::jsonb"
        )
    };
    // Each has 3.9 MB as text and 0.1 % of that in storage; and one that is too large.
    let (many, one) = (numbers(30), numbers(200));
    let (platform, daemon) = fits(&format!(
        "INSERT INTO agents (slug, name, voice_settings) SELECT 'many-' || i, 'n', {many}
              FROM generate_series(1, 60) i;
         INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents"
    ))
    .await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name, voice_settings) VALUES ('one', 'n', {one})"
        ))
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'one')")
        .await;
    // One agent, while the daemon sleeps.
    platform.drained().await;
    platform
        .run(&format!(
            "UPDATE agents SET voice_settings = {one} WHERE slug = 'many-1'"
        ))
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'many-1')")
        .await;
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

/// GIVEN a thousand configurations whose temperature is a `numeric` of 131,072 digits, WHEN their
/// agents are saved, THEN the batches are bounded by the text of these numbers, and every
/// configuration is in sync.
#[tokio::test]
async fn s3_large_numbers_of_configurations_are_weighed() {
    let platform = Platform::installed().await;
    platform
        .run(
            "ALTER TABLE agent_configurations ALTER COLUMN temperature TYPE numeric;
             INSERT INTO agents (slug, name, voice_settings) SELECT 'agent-' || i, 'n',
                 '{\"provider\": \"openai\", \"voice_id\": \"v\", \"temperature\": 0.5}'
             FROM generate_series(1, 1000) i;
             INSERT INTO agent_configurations (agent_slug, temperature)
             SELECT slug, 1e131071 FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    let in_sync = "SELECT count(*) = 1000 FROM agent_configurations WHERE temperature = 0.5";
    platform.holds(in_sync).await;
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_NUMBERS_KIB, "{peak} KiB");

    // One change of a sleeping daemon.
    platform.drained().await;
    platform
        .run(
            "UPDATE agent_configurations SET temperature = 1e131071 WHERE agent_slug = 'agent-7';
             UPDATE agents SET name = 'm' WHERE slug = 'agent-7'",
        )
        .await;
    platform.holds(in_sync).await;
}

/// Settings with this number of values that `jsonb` stores in a few bytes, as SQL.
fn settings_with(number: &str, count: u32) -> String {
    format!(
        "('{{\"provider\": \"openai\", \"theirs\": [' || repeat({number} || ',', {count}) || \
        '1]}}')::jsonb"
    )
}

/// A number of 131,072 digits before the point, and one of 16,383 digits after it, as SQL.
const LARGE: &str = "'1e131071'";
const SMALL: &str = "('0.' || repeat('0', 16383))";

/// A platform with the agents `neighbour`, in sync, and `heavy-1` to `heavy-6`, and a daemon with
/// this statement timeout.
async fn with_neighbour(statement_timeout: &str) -> (Platform, Daemon) {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'heavy-' || i, 'n' FROM generate_series(1, 6) i;
             INSERT INTO agents (slug, name) VALUES ('neighbour', 'n');
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__STATEMENT_TIMEOUT", statement_timeout);
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    platform.drained().await;
    (platform, daemon)
}

/// Saves the heavy agents with these settings, and then the neighbour; each heavy agent is
/// processed once and permanently rejected.
async fn rejected_once(settings: &str) {
    let (platform, daemon) = with_neighbour("1s").await;
    platform
        .run(&format!(
            "UPDATE agents SET voice_settings = {settings} WHERE slug LIKE 'heavy-%';
             UPDATE agents SET name = 'first' WHERE slug = 'neighbour'"
        ))
        .await;
    let rejected = "SELECT count(*) = 6 FROM agent_sync.problem
        WHERE kind = 'rejected' AND detail LIKE '%expected at most 16777216 bytes together%'
          AND attempts = 1
          AND next_attempt IS NULL";
    platform.holds(rejected).await;
    platform
        .holds(
            "SELECT agent_name = 'first' FROM agent_configurations WHERE agent_slug = 'neighbour'",
        )
        .await;
    platform.drained().await;
    // A single one, while the daemon sleeps.
    platform
        .run("DELETE FROM agent_sync.problem WHERE slug = 'heavy-1'")
        .await;
    platform
        .run(&format!(
            "UPDATE agents SET voice_settings = {settings} || '{{}}', name = 'm' WHERE slug = \
            'heavy-1'"
        ))
        .await;
    platform.holds(rejected).await;
    platform
        .run("UPDATE agents SET name = 'second' WHERE slug = 'neighbour'")
        .await;
    platform
        .holds(
            "SELECT agent_name = 'second' FROM agent_configurations WHERE agent_slug = 'neighbour'",
        )
        .await;
    platform.drained().await;
    assert!(platform.value::<bool>(rejected).await);
    assert!(daemon.outages().is_empty());
    // A save ends the rejection.
    platform
        .run("UPDATE agents SET voice_settings = '{}', name = 'third' WHERE slug LIKE 'heavy-%'")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .holds("SELECT count(*) = 6 FROM agent_configurations WHERE agent_name = 'third'")
        .await;
}

/// Agents with gigabytes of digits are rejected once and do not delay other agents.
#[tokio::test]
async fn s3_agents_with_gigabytes_of_digits_are_rejected_once() {
    rejected_once(&settings_with(LARGE, 7000)).await;
}

#[tokio::test]
async fn s3_a_thousand_large_numbers_are_rejected_once() {
    rejected_once(&settings_with(LARGE, 1000)).await;
}

#[tokio::test]
async fn s3_digits_after_the_point_count_as_those_before_it() {
    rejected_once(&settings_with(SMALL, 2000)).await;
}

/// An edit of a configuration may go unnoticed, so one that is too large is retried.
#[tokio::test]
async fn s3_a_configuration_with_gigabytes_of_digits_is_tried_again() {
    let (platform, _daemon) = with_neighbour("1s").await;
    let settings = settings_with(LARGE, 7000);
    platform
        .run(&format!(
            "UPDATE agent_configurations SET provider_config = {settings}
                  WHERE agent_slug = 'heavy-1';
             UPDATE agents SET name = 'next' WHERE slug = 'heavy-1'"
        ))
        .await;
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'rejected' AND \
            next_attempt IS NOT NULL)",
        )
        .await;
    platform
        .run("UPDATE agent_configurations SET provider_config = '{}' WHERE agent_slug = 'heavy-1'")
        .await;
    platform
        .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
        .await;
    platform
        .holds("SELECT agent_name = 'next' FROM agent_configurations WHERE agent_slug = 'heavy-1'")
        .await;
}

/// Agents below the limit are synced with any numbers, and foreign parts keep every digit.
#[tokio::test]
async fn s3_large_and_small_numbers_are_written_digit_for_digit() {
    let (platform, daemon) = with_neighbour("30s").await;
    let theirs = "jsonb_build_object('text', (SELECT string_agg(md5(j::text), '')
          FROM generate_series(1, 100) j),
        'large', 1e200::numeric, 'small', 1e-300::numeric, 'negative', -1e16383::numeric,
          'exact', 1.50000::numeric,
        'many', (SELECT jsonb_agg(j * 0.25) FROM generate_series(1, 200) j))";
    platform
        .run(&format!(
            "UPDATE agent_configurations SET provider_config = jsonb_build_object('theirs', \
            {theirs})"
        ))
        .await;
    let in_sync = |voice: &str| {
        format!(
            "SELECT count(*) = 7 FROM agent_configurations
             WHERE provider_config #>> '{{tts,voice}}' = '{voice}'
               AND (provider_config -> 'theirs')::text = ({theirs})::text"
        )
    };
    let save = |voice: &str| {
        format!(
            "UPDATE agents SET voice_settings = jsonb_build_object('provider', 'openai', \
            'voice_id', '{voice}', 'own', {theirs})"
        )
    };
    platform.run(&save("of-many")).await;
    platform.holds(&in_sync("of-many")).await;
    platform.drained().await;
    for number in 1..=6 {
        platform
            .run(&format!("{} WHERE slug = 'heavy-{number}'", save("of-one")))
            .await;
        platform.drained().await;
    }
    platform
        .run(&format!("{} WHERE slug = 'neighbour'", save("of-one")))
        .await;
    platform.holds(&in_sync("of-one")).await;
    assert_eq!(platform.problems().await, 0);
    assert!(daemon.peak_memory_kib() < MOST_KIB);
}

#[tokio::test]
async fn s3_large_numbers_under_the_limit_are_in_sync() {
    let (platform, daemon) = with_neighbour("30s").await;
    // 5, 40 and 100 numbers: small in storage, measured as text, and 13 MB of text.
    for (number, count) in [(1, 5), (2, 40), (3, 100)] {
        let settings = settings_with(LARGE, count);
        platform
            .run(&format!(
                "UPDATE agents SET name = 'in sync', voice_settings = {settings} ||
                      '{{\"voice_id\": \"v\"}}'
                 WHERE slug = 'heavy-{number}'"
            ))
            .await;
    }
    platform
        .holds(
            "SELECT count(*) = 3 FROM agent_configurations
             WHERE agent_name = 'in sync' AND provider_config #>> '{tts,voice}' = 'v'",
        )
        .await;
    platform.drained().await;
    assert_eq!(platform.problems().await, 0);
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

/// The commands read no value that the daemon does not read, and report the same.
#[tokio::test]
async fn s3_check_and_why_say_that_an_agent_is_too_heavy() {
    let (platform, _daemon) = with_neighbour("1s").await;
    let settings = settings_with(LARGE, 9000);
    platform
        .run(&format!(
            "UPDATE agents SET voice_settings = {settings} WHERE slug = 'heavy-1'"
        ))
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'rejected')")
        .await;
    for arguments in [&["check"][..], &["why", "heavy-1"][..]] {
        let said = platform.says(arguments).await;
        assert!(
            said.out.contains("expected at most 16777216 bytes"),
            "{arguments:?}: {}",
            said.out
        );
    }
}

/// Configurations with and without an index on the slug.
const INDEXES: [&str; 2] = ["", "DROP INDEX agent_configurations_agent_slug_idx;"];

/// An agent with more configurations than allowed delays no other agent.
#[tokio::test]
async fn g12_an_agent_with_too_many_configurations_delays_none() {
    for index in INDEXES {
        let platform = Platform::installed().await;
        let daemon = platform.caught_up_daemon().await;
        platform
            .run(&format!(
                "{index} INSERT INTO agents (slug, name) VALUES ('many', 'n'), ('other', 'n');
                 INSERT INTO agent_configurations (agent_slug) VALUES ('other');
                 INSERT INTO agent_configurations (agent_slug) SELECT 'many'
                   FROM generate_series(1, 100000)"
            ))
            .await;
        platform
            .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE slug = 'many')")
            .await;
        let (kind, detail) = platform.problem("many").await.unwrap();
        assert_eq!(kind, "rejected");
        assert!(
            detail.contains("expected at most 10000 for one agent")
                && detail.contains("delete those that are not in use"),
            "{detail}"
        );
        let said = platform.says(&["why", "many"]).await;
        assert!(said.out.contains("at most 10000"), "{said:?}");
        platform.drained().await;
        // A save of that agent costs the others nothing.
        let began = std::time::Instant::now();
        for round in 0..3 {
            platform
                .run(&format!("UPDATE agents SET name = 'n{round}'"))
                .await;
            platform
                .holds(&format!(
                    "SELECT agent_name = 'n{round}' IS TRUE FROM agent_configurations WHERE \
                    agent_slug = 'other'"
                ))
                .await;
        }
        let took = began.elapsed();
        assert!(took < std::time::Duration::from_secs(5), "{took:?}");
        let peak = daemon.peak_memory_kib();
        assert!(peak < MOST_KIB, "{peak} KiB");
        assert!(daemon.outages().is_empty());
        let written = "SELECT count(*) FROM agent_configurations WHERE agent_slug = 'many' AND \
            agent_name IS NOT NULL";
        assert_eq!(platform.value::<i64>(written).await, 0);
        // It is retried automatically, and immediately after a request.
        platform
            .run(
                "DELETE FROM agent_configurations WHERE agent_slug = 'many' AND id NOT IN (SELECT \
                id FROM agent_configurations WHERE agent_slug = 'many' LIMIT 3)",
            )
            .await;
        let retried = "SELECT next_attempt IS NOT NULL FROM agent_sync.problem";
        assert!(platform.value::<bool>(retried).await);
        platform.run("NOTIFY agent_sync, 'many'").await;
        platform
            .holds(
                "SELECT count(*) = 3 AND bool_and(agent_name = 'n2' IS TRUE) FROM \
                agent_configurations WHERE agent_slug = 'many'",
            )
            .await;
        platform
            .holds("SELECT NOT EXISTS (SELECT FROM agent_sync.problem)")
            .await;
    }
}

/// Agents with the largest allowed number of configurations are in sync.
#[tokio::test]
async fn g12_agents_with_the_most_configurations_are_in_sync() {
    for index in INDEXES {
        let (_platform, _daemon) = fits(&format!(
            "{index} INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n'
               FROM generate_series(1, 5) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug
               FROM agents, generate_series(1, 10000);
             INSERT INTO agents (slug, name) SELECT 'light-' || i, 'n'
               FROM generate_series(1, 1000) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents
               WHERE slug LIKE 'light-%';
             INSERT INTO agent_configurations (agent_slug) SELECT 'nobody'
               FROM generate_series(1, 20000)"
        ))
        .await;
    }
}

/// GIVEN an agent with more configurations than fit into a page, one of them locked by another
/// session, WHEN it is saved with other agents, THEN the others are in sync, and it is in sync
/// after the lock.
#[tokio::test]
async fn g5_many_configurations_wait_for_a_lock_beside_the_others() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n' FROM generate_series(1, 30) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
             INSERT INTO agent_configurations (agent_slug) SELECT 'agent-7'
               FROM generate_series(1, 9000)",
        )
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let holder = lock_last_configuration(&platform, "agent-7").await;
    platform.run("UPDATE agents SET name = 'm'").await;
    platform
        .holds("SELECT count(*) = 29 FROM agent_configurations WHERE agent_name = 'm'")
        .await;
    holder.batch_execute("COMMIT").await.unwrap();
    platform
        .holds("SELECT count(*) = 9030 FROM agent_configurations WHERE agent_name = 'm'")
        .await;
}

/// GIVEN an agent that is too heavy for a batch, with a configuration that another session has
/// locked, WHEN it is saved, THEN the daemon keeps its connection until it has waited in the queue
/// of the server, and the agent is in sync after the lock.
#[tokio::test]
async fn g5_a_heavy_agent_with_a_lock_ends_no_connections() {
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n' FROM generate_series(1, 9) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents;
             INSERT INTO agent_configurations (agent_slug) SELECT 'agent-7'
               FROM generate_series(1, 9);
             UPDATE agents SET system_prompt = {} WHERE slug = 'agent-7'",
            random(300_000)
        ))
        .await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let holder = lock_last_configuration(&platform, "agent-7").await;
    let prompt = format!(
        "UPDATE agents SET system_prompt = {} WHERE slug = 'agent-7'",
        random(300_000)
    );
    platform.run(&prompt).await;
    // A new connection waits in the queue after 2 s at the earliest (`sync::busy`).
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
             WHERE NOT l.granted AND a.datname = current_database()
               AND a.application_name LIKE 'agent-sync%')",
        )
        .await;
    holder.batch_execute("COMMIT").await.unwrap();
    platform
        .holds(
            "SELECT count(*) = 10 FROM agent_configurations c JOIN agents a
             ON a.slug = c.agent_slug AND a.system_prompt = c.system_prompt
             WHERE a.slug = 'agent-7'",
        )
        .await;
}

/// GIVEN a lock on the configurations that stops writes alone, WHEN heavy agents are saved, so that
/// the connection ends with its turn, THEN the lock is told, and the agents are in sync after it.
#[tokio::test]
async fn g16_a_lock_that_stops_heavy_writes_is_told() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'n' FROM generate_series(1, 3) i;
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE agent_configurations IN SHARE MODE")
        .await
        .unwrap();
    platform
        .run(&format!(
            "UPDATE agents SET system_prompt = {}",
            random(3_000_000)
        ))
        .await;
    daemon
        .logged("another session holds a lock on a table; changes wait for its end")
        .await;
    holder.batch_execute("COMMIT").await.unwrap();
    daemon.logged("the lock is gone; changes are applied").await;
    platform
        .holds(
            "SELECT count(*) = 3 FROM agent_configurations c JOIN agents a
             ON a.slug = c.agent_slug AND a.system_prompt = c.system_prompt",
        )
        .await;
}

/// GIVEN a slug with very many rows of the outbox and as many configurations, one of them locked,
/// WHEN another agent is saved, THEN it is in sync after few batches: the scan looks at the slug
/// once.
#[tokio::test]
async fn g5_a_locked_slug_with_many_rows_is_looked_at_once_in_a_scan() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agents (slug, name) VALUES ('many', 'n'), ('other', 'n');
             INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents",
        )
        .await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let holder = lock_last_configuration(&platform, "many").await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug)
               SELECT 'many' FROM generate_series(1, 3000);
             UPDATE agents SET name = 'm' WHERE slug = 'other'",
        )
        .await;
    platform
        .holds("SELECT agent_name = 'm' FROM agent_configurations WHERE agent_slug = 'other'")
        .await;
    let batches = daemon
        .lines("batch committed")
        .iter()
        .filter_map(|line| line["batch"].as_u64())
        .max();
    assert!(batches.is_some_and(|number| number < 300), "{batches:?}");
    holder.batch_execute("COMMIT").await.unwrap();
    platform
        .holds(
            "SELECT count(*) = 3001 FROM agent_configurations
             WHERE agent_slug = 'many' AND agent_name = 'n'",
        )
        .await;
}
