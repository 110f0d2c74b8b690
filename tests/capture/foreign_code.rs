//! Foreign triggers run in the daemon's session when it writes a configuration. The daemon notices
//! their changes of the session before it relies on them (G2, G14). The sweep interval is an hour
//! here, so no sweep repairs anything.

use crate::support::Platform;

async fn platform(statements: &str) -> Platform {
    let platform = Platform::installed().await;
    for slug in ["a", "b"] {
        platform.save(slug, "{}").await;
        platform.configure(slug).await;
    }
    make_trigger(&platform, statements).await;
    platform
}

/// A foreign trigger that runs these statements with each write for the agent `a`.
async fn make_trigger(platform: &Platform, statements: &str) {
    platform
        .run(&format!(
            "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN IF NEW.agent_slug = 'a' THEN {statements} END IF; RETURN NULL; END $$;
             CREATE TRIGGER theirs AFTER UPDATE ON agent_configurations
               FOR EACH ROW EXECUTE FUNCTION public.theirs()"
        ))
        .await;
}

/// A trigger that changes the session does not disable the wake-up.
#[tokio::test]
async fn g14_a_trigger_cannot_keep_the_daemon_from_listening() {
    for statements in [
        "UNLISTEN *;",
        "PERFORM pg_advisory_unlock_all();",
        "PERFORM pg_advisory_unlock(1634169721, 2);",
        "PERFORM pg_advisory_unlock(1634169721, 1);",
        "PERFORM set_config('session_replication_role', 'replica', false);",
        "PERFORM set_config('enable_seqscan', 'on', false); UNLISTEN *;",
        "PERFORM set_config('search_path', 'nowhere', false);",
    ] {
        let platform = platform(statements).await;
        let _daemon = platform.caught_up_daemon().await;
        for round in 0..4 {
            for slug in ["a", "b", "b"] {
                let voice = format!(r#"{{"provider":"openai","voice_id":"{slug}{round}"}}"#);
                platform.save(slug, &voice).await;
                platform
                    .holds(&format!(
                        "SELECT voice_id = '{slug}{round}' IS TRUE FROM agent_configurations WHERE \
                        agent_slug = '{slug}'"
                    ))
                    .await;
            }
        }
    }
}

/// A trigger that takes the prepared statements of the session is named as the cause, and the
/// others are synced.
#[tokio::test]
async fn g14_a_trigger_that_deallocates_is_told() {
    let platform = platform("DEALLOCATE ALL;").await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .save("a", r#"{"provider":"openai","voice_id":"1"}"#)
        .await;
    let line = daemon.outage().await;
    let remedy = line["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("DEALLOCATE or DISCARD in the triggers of the configurations"),
        "{line}"
    );
    platform
        .save("b", r#"{"provider":"openai","voice_id":"2"}"#)
        .await;
    platform
        .holds("SELECT voice_id = '2' IS TRUE FROM agent_configurations WHERE agent_slug = 'b'")
        .await;
}

#[tokio::test]
async fn g2_a_daemon_that_has_lost_the_lead_writes_nothing() {
    let platform = platform("PERFORM pg_advisory_unlock_all();").await;
    let daemon = platform.caught_up_daemon().await;
    platform
        .save("a", r#"{"provider":"openai","voice_id":"1"}"#)
        .await;
    platform
        .holds("SELECT voice_id = '1' IS TRUE FROM agent_configurations WHERE agent_slug = 'a'")
        .await;
    daemon.outage().await;
    let line = &daemon.outages()[0];
    assert!(
        line["remedy"]
            .as_str()
            .unwrap()
            .contains("pg_advisory_unlock_all()"),
        "{line}"
    );
    platform.drained().await;
}

/// A trigger that saves another agent within the daemon's own write wakes the daemon.
#[tokio::test]
async fn g14_a_save_within_the_daemons_own_write_wakes_it() {
    for timing in ["AFTER", "BEFORE"] {
        let platform = Platform::installed().await;
        for slug in ["a", "b"] {
            platform.save(slug, "{}").await;
            platform.configure(slug).await;
        }
        platform
            .run(&format!(
                "CREATE FUNCTION public.theirs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF NEW.agent_slug = 'a' THEN
                         UPDATE agents SET name = 'child of ' || NEW.agent_name
                           WHERE slug = 'b'; END IF;
                     RETURN NEW; END $$;
                 CREATE TRIGGER theirs {timing} UPDATE ON agent_configurations
                   FOR EACH ROW EXECUTE FUNCTION public.theirs()"
            ))
            .await;
        let _daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        for round in 0..3 {
            platform
                .run(&format!(
                    "UPDATE agents SET name = 'p{round}' WHERE slug = 'a'"
                ))
                .await;
            platform
                .holds(&format!(
                    "SELECT agent_name = 'child of p{round}' IS TRUE FROM \
                    agent_configurations WHERE agent_slug = 'b'"
                ))
                .await;
        }
    }
}

/// GIVEN a foreign trigger that changes how the session prints values or plans statements, WHEN
/// more agents are written in the same session, THEN they are written as before.
#[tokio::test]
async fn g14_a_trigger_does_not_change_the_next_statement() {
    for (set, lone) in [
        (
            "PERFORM set_config('bytea_output', 'escape', false);",
            false,
        ),
        ("PERFORM set_config('bytea_output', 'escape', false);", true),
        ("SET bytea_output = escape; SET array_nulls = off;", true),
        (
            "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET bytea_output = escape;",
            true,
        ),
        (
            "PERFORM set_config('jit', 'on', false); PERFORM set_config('jit_above_cost', '0', \
            false);",
            true,
        ),
    ] {
        let platform = Platform::new().await;
        platform
            .run("ALTER TABLE agents ALTER agent_image TYPE bytea USING NULL")
            .await;
        platform.install();
        for slug in ["a", "b", "c"] {
            platform.save(slug, "{}").await;
            platform.configure(slug).await;
        }
        make_trigger(&platform, set).await;
        let _daemon = platform.caught_up_daemon().await;
        platform.drained().await;
        if lone {
            for slug in ["a", "b", "c"] {
                platform
                    .run(&format!(
                        "UPDATE agents SET agent_image = '\\x0102ff' WHERE slug = '{slug}'"
                    ))
                    .await;
            }
        } else {
            platform
                .run("UPDATE agents SET agent_image = '\\x0102ff'")
                .await;
        }
        platform
            .holds("SELECT count(agent_image) = 3 FROM agent_configurations")
            .await;
        let wrong: Option<String> = platform
            .value(
                "SELECT string_agg(agent_slug || ' ' || agent_image, ', ') FROM \
                agent_configurations WHERE agent_image <> '\\x0102ff'",
            )
            .await;
        assert_eq!(wrong, None, "{set}");
    }
}
