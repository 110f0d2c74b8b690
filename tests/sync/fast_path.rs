//! The fast path for a single change: its two statements, and the daemon that uses them.

use agent_sync::mapping::{Changes, Rules, Targets, plan};
use agent_sync::pg::Tid;
use agent_sync::store::{Store, path};

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Platform, eventually};

/// A platform with one agent out of sync, its row in the outbox, and the statements.
async fn changed() -> (Platform, Store, Tid) {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run("TRUNCATE agent_sync.outbox; INSERT INTO agent_sync.outbox (slug) VALUES ('a')")
        .await;
    let layout = platform.layout().await;
    let (parts, usual) = (platform.parts().await, path::OURS.to_owned());
    let store = Store::prepare(platform.db(), layout, true, true, usual, &parts)
        .await
        .unwrap();
    let place: String = platform
        .value("SELECT ctid::text FROM agent_sync.outbox")
        .await;
    (platform, store, place.parse().unwrap())
}

/// Reads the change, runs `meanwhile`, and writes the change. Returns whether it was written.
async fn written_after(platform: &Platform, store: &Store, place: Tid, meanwhile: &str) -> bool {
    let claimed = store.read_change(place).await.unwrap().unwrap();
    let version = claimed.only_versions().unwrap();
    let pair = claimed
        .groups()
        .next()
        .unwrap()
        .pairs()
        .next()
        .unwrap()
        .unwrap()
        .unwrap();
    let (target, configuration) = pair.configuration.unwrap();
    let changes = plan(
        Rules::embedded(),
        &Targets::all(),
        &pair.agent.unwrap(),
        &configuration,
    )
    .unwrap()
    .changes;
    assert_ne!(changes, Changes::default());
    let other = platform.connect().await;
    for statement in meanwhile.split("; ") {
        other.batch_execute(statement).await.unwrap();
    }
    let write = (target, changes);
    let done = store
        .finish_change("a", place, version, Some(&write), None)
        .await
        .unwrap();
    assert_eq!(
        platform.outbox().await.is_empty(),
        done,
        "the row leaves the outbox with the write: {meanwhile}"
    );
    done
}

/// A single change is written only over what it was computed from.
#[tokio::test]
async fn g4_a_single_change_overwrites_only_what_it_has_read() {
    for meanwhile in [
        "UPDATE agent_configurations SET provider_config = '{\"mine\": 1}'",
        "UPDATE agent_configurations SET notes = 'mine'",
        // The new version has the ctid of the old one.
        "UPDATE agent_configurations SET notes = 'mine'; VACUUM FULL agent_configurations",
        "DELETE FROM agent_configurations",
        "BEGIN; SELECT FROM agent_configurations FOR UPDATE",
        "BEGIN; UPDATE agent_configurations SET notes = 'mine'",
    ] {
        let (platform, store, place) = changed().await;
        let row = "SELECT string_agg(c::text, ' ') FROM agent_configurations c";
        assert!(
            !written_after(&platform, &store, place, meanwhile).await,
            "{meanwhile}"
        );
        let now: Option<String> = platform.value(row).await;
        assert!(
            !now.unwrap_or_default().contains("cartesia"),
            "nothing was written: {meanwhile}"
        );
    }
    for meanwhile in [
        "",
        "SELECT FROM agent_configurations",
        "INSERT INTO agents (slug) VALUES ('b'); DELETE FROM agent_sync.outbox WHERE slug = 'b'",
    ] {
        let (platform, store, place) = changed().await;
        assert!(
            written_after(&platform, &store, place, meanwhile).await,
            "{meanwhile}"
        );
        platform.becomes("a", EXPECTED).await;
    }
}

#[tokio::test]
async fn g1_a_single_change_takes_no_row_of_the_outbox_but_its_own() {
    let (platform, store, place) = changed().await;
    // A rewrite of the outbox moves rows: another row has the ctid now.
    let rewritten = "DELETE FROM agent_sync.outbox; INSERT INTO agent_sync.outbox (slug) VALUES \
        ('b'); VACUUM FULL agent_sync.outbox";
    let claimed = store.read_change(place).await.unwrap().unwrap();
    let version = claimed.only_versions().unwrap();
    for statement in rewritten.split("; ") {
        platform.run(statement).await;
    }
    // An older snapshot of another session would keep the former row.
    crate::support::eventually(
        "the row has that place, or else this proves nothing",
        async || {
            platform.run("VACUUM FULL agent_sync.outbox").await;
            let now: String = platform
                .value("SELECT ctid::text FROM agent_sync.outbox")
                .await;
            now.parse::<Tid>().unwrap() == place
        },
    )
    .await;
    assert!(
        !store
            .finish_change("a", place, version, None, None)
            .await
            .unwrap()
    );
    assert_eq!(platform.outbox().await, ["b"]);
}

/// A single change is not written without its row of the outbox.
#[tokio::test]
async fn g1_a_single_change_needs_its_row_of_the_outbox() {
    for slug in ["a", "b"] {
        let (platform, store, place) = changed().await;
        // Another row has its ctid now, even one of the same agent.
        let meanwhile = format!(
            "DELETE FROM agent_sync.outbox; INSERT INTO agent_sync.outbox (slug) VALUES \
            ('{slug}'); VACUUM FULL agent_sync.outbox"
        );
        assert!(
            !written_after(&platform, &store, place, &meanwhile).await,
            "{meanwhile}"
        );
        let now: String = platform
            .value("SELECT c::text FROM agent_configurations c")
            .await;
        assert!(
            !now.contains("cartesia"),
            "it would be missing in the history: {meanwhile}"
        );
        assert_eq!(platform.outbox().await, [slug]);
    }
}

/// A single change takes the fast path, and several changes take a batch.
#[tokio::test]
async fn one_change_takes_the_fast_path_and_several_do_not() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    // A batch starts with BEGIN; the fast path has two statements in their own transactions.
    let last = "SELECT query FROM pg_stat_activity WHERE application_name LIKE 'agent-sync/%' AND \
        datname = current_database()";
    // The daemon counts its backlog a second after a change, which is its last statement then.
    let round = std::cell::Cell::new(0);
    eventually(
        "the write of a single change was the last statement",
        async || {
            round.set(round.get() + 1);
            let voice = round.get();
            platform
                .save(
                    "a",
                    &format!(r#"{{"provider":"openai","voice_id":"{voice}"}}"#),
                )
                .await;
            platform
                .becomes(
                    "a",
                    &format!(r#"{{"tts":{{"provider":"openai","voice":"{voice}"}}}}"#),
                )
                .await;
            platform.drained().await;
            platform
                .value::<String>(last)
                .await
                .starts_with("WITH locked AS")
        },
    )
    .await;
    platform
        .run("INSERT INTO agents (slug) SELECT 'b' || n FROM generate_series(1, 2) n")
        .await;
    platform.drained().await;
    assert!(
        !platform
            .value::<String>(last)
            .await
            .starts_with("WITH locked AS")
    );
    drop(daemon);
}

#[tokio::test]
async fn g1_a_wrong_place_hides_no_change() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    for (round, place) in ["(0,1)", "(77,1)", "(4294967295,65535)", "nonsense", ""]
        .into_iter()
        .enumerate()
    {
        // A change without a notification, and a notification with another ctid.
        platform
            .run(&format!(
                "BEGIN; SET LOCAL session_replication_role = replica;
                 ALTER TABLE agents DISABLE TRIGGER agent_sync_update;
                 UPDATE agents SET voice_settings =
                   '{{\"provider\":\"openai\",\"voice_id\":\"{round}\"}}';
                 ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update;
                 INSERT INTO agent_sync.outbox (slug) SELECT 'nobody' FROM generate_series(1, 3);
                 INSERT INTO agent_sync.outbox (slug) VALUES ('a');
                 NOTIFY agent_sync_change, '{place}'; COMMIT"
            ))
            .await;
        platform
            .becomes(
                "a",
                &format!(r#"{{"tts":{{"provider":"openai","voice":"{round}"}}}}"#),
            )
            .await;
        platform.drained().await;
    }
}
