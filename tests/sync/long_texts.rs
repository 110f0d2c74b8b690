//! Errors and notices that quote a long value. PostgreSQL quotes the whole of it, so the length of
//! the text is that of a value which a writer chooses. It costs no connection (G5, G12).

use crate::support::Platform;

/// The bytes of a `voice_id`.
const LONG: usize = 300_000;

/// How many agents have one.
const AGENTS: usize = 30;

/// A platform with configurations of these agents, and of a neighbour.
async fn platform(constraint: &str) -> Platform {
    let platform = Platform::installed().await;
    platform.run(constraint).await;
    platform
        .run(&format!(
            "INSERT INTO agent_configurations (agent_slug) SELECT 'long-' || i \
            FROM generate_series(1, {AGENTS}) i; \
            INSERT INTO agent_configurations (agent_slug) VALUES ('neighbour')"
        ))
        .await;
    platform
}

/// Saves the agents with long values, and then their neighbour.
async fn save(platform: &Platform) {
    platform
        .run(&format!(
            "INSERT INTO agents (slug, name, voice_settings) SELECT 'long-' || i, 'n', \
            jsonb_build_object('provider', 'openai', 'voice_id', repeat('x', {LONG})) \
            FROM generate_series(1, {AGENTS}) i; \
            INSERT INTO agents (slug, name) VALUES ('neighbour', 'in sync')"
        ))
        .await;
    platform
        .holds(
            "SELECT agent_name IS NOT DISTINCT FROM 'in sync' FROM agent_configurations \
            WHERE agent_slug = 'neighbour'",
        )
        .await;
}

/// GIVEN a type, a foreign key or a trigger that refuses long values and quotes them, WHEN 30
/// agents have such a value, THEN each is a problem with its SQLSTATE, and the connection stays.
#[tokio::test]
async fn g5_a_refusal_that_quotes_a_long_value_is_a_problem() {
    for (constraint, code, says) in [
        (
            "ALTER TABLE agent_configurations ALTER voice_id TYPE uuid USING NULL",
            "22P02",
            "not a value of the column's type",
        ),
        (
            "CREATE TABLE voices (id text PRIMARY KEY); GRANT SELECT ON voices TO PUBLIC; \
            ALTER TABLE agent_configurations ADD CONSTRAINT of_voices FOREIGN KEY (voice_id) \
            REFERENCES voices (id)",
            "23503",
            "table agent_configurations, constraint of_voices",
        ),
        (
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
            IF length(new.voice_id) > 100 THEN RAISE 'no such voice: %', new.voice_id; END IF; \
            RETURN new; END $$; \
            CREATE TRIGGER refuse BEFORE UPDATE ON agent_configurations FOR EACH ROW \
            EXECUTE FUNCTION refuse()",
            "P0001",
            "raised by a trigger or function",
        ),
    ] {
        let platform = platform(constraint).await;
        let daemon = platform.caught_up_daemon().await;
        save(&platform).await;
        platform
            .holds(&format!(
                "SELECT count(*) = {AGENTS} FROM agent_sync.problem WHERE kind = 'failed' \
                AND detail LIKE '%SQLSTATE {code}%'"
            ))
            .await;
        let (_, detail) = platform.problem("long-7").await.unwrap();
        assert!(detail.contains(says), "{detail}");
        assert_eq!(daemon.lines("connection was lost"), [""; 0]);
    }
}

/// GIVEN a trigger that warns of long values and quotes them, WHEN 30 agents have such a value,
/// THEN the writes happen, and the connection stays.
#[tokio::test]
async fn g5_a_warning_that_quotes_a_long_value_stops_no_write() {
    let platform = platform(
        "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF length(new.voice_id) > 100 THEN RAISE WARNING 'unknown voice %', new.voice_id; END IF; \
        RETURN new; END $$; \
        CREATE TRIGGER warn BEFORE UPDATE ON agent_configurations FOR EACH ROW \
        EXECUTE FUNCTION warn()",
    )
    .await;
    let daemon = platform.caught_up_daemon().await;
    save(&platform).await;
    platform
        .holds(&format!(
            "SELECT count(*) = {AGENTS} FROM agent_configurations WHERE length(voice_id) = {LONG}"
        ))
        .await;
    assert_eq!(platform.problems().await, 0);
    assert_eq!(daemon.lines("connection was lost"), [""; 0]);
}
