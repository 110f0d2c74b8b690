//! The audit: every agent is compared from time to time, whatever the triggers have noted.

use std::net::SocketAddr;
use std::ops::ControlFlow;

use agent_sync::mapping::Rules;
use agent_sync::survey::{Comparison, Scope, Step, Walk};
use serde_json::Value;

use crate::support::http::{address, command, metric, metric_becomes, status};
use crate::support::platform::{EXAMPLE, EXPECTED, wide, widen};
use crate::support::{Daemon, Platform, eventually};

const EDITED: &str = "configurations were edited and differ from their agents";
const UNNOTICED: &str = "changes of agents were never noticed";
const REVERTED: &str = "the configurations of these agents do not keep what the daemon writes";
const COMPARED: &str = "every agent has been compared";

/// An edit of a field that agent-sync owns.
const EDIT: &str = "UPDATE agent_configurations
    SET provider_config = jsonb_set(provider_config, '{llm,model}', '\"other\"')
    WHERE agent_slug = ";

/// A save that no row of the outbox is left of: a superuser has deleted it.
fn unnoticed(slug: &str) -> String {
    format!(
        "BEGIN;
         UPDATE agents SET voice_settings = jsonb_set(voice_settings, '{{llm_model}}', '\"new\"')
           WHERE slug = '{slug}';
         DELETE FROM agent_sync.outbox WHERE slug = '{slug}';
         COMMIT"
    )
}

/// A daemon that audits about once a second, and its address.
async fn auditing(platform: &Platform, variables: &[(&str, &str)]) -> (Daemon, SocketAddr) {
    let mut command = command(platform);
    command
        .env("AGENT_SYNC__AUDIT__INTERVAL", "1s")
        .envs(variables.iter().copied());
    let daemon = Daemon::start(command);
    daemon.logged("caught up").await;
    let address = address(&daemon).await;
    (daemon, address)
}

/// A daemon whose rules give each agent another value, and the folder of the rules.
fn with_other_rules(platform: &Platform) -> (tempfile::TempDir, Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let rules = include_str!("../../config/providers.toml").replace("nova-2", "nova-3");
    std::fs::write(&file, rules).unwrap();
    let mut command = command(platform);
    command.env("AGENT_SYNC__RULES__FILE", &file);
    (folder, Daemon::start(command))
}

/// Agents in sync.
async fn with_agents(slugs: &[&str]) -> Platform {
    let platform = Platform::installed().await;
    for slug in slugs {
        platform.configure(slug).await;
        platform.save(slug, EXAMPLE).await;
    }
    platform
}

/// Many agents with a configuration each, `a1` and so on, and these voice settings.
async fn with_many(agents: u32, settings: &str) -> Platform {
    let platform = Platform::installed().await;
    platform
        .run(&format!(
            "INSERT INTO agent_configurations (agent_slug, provider_config)
               SELECT 'a' || n, '{{}}' FROM generate_series(1, {agents}) AS n;
             INSERT INTO agents (slug, voice_settings)
               SELECT 'a' || n, '{settings}' FROM generate_series(1, {agents}) AS n"
        ))
        .await;
    platform
}

/// Waits for so many further audits, and returns the last.
async fn audits(daemon: &Daemon, further: usize) -> Value {
    let before = daemon.lines(COMPARED).len();
    let mut lines = daemon.logged_times(COMPARED, before + further).await;
    lines.pop().unwrap()
}

async fn model(platform: &Platform, slug: &str) -> Value {
    platform.provider_config(slug).await["llm"]["model"].clone()
}

/// A configuration that somebody edits is reported with its slug and the command, once, and stays
/// as it is.
#[tokio::test]
async fn g17_an_edited_configuration_is_reported_and_left() {
    let platform = with_agents(&["a", "b"]).await;
    let (daemon, address) = auditing(&platform, &[]).await;
    platform.drained().await;
    platform.run(&format!("{EDIT} 'a'")).await;
    let line = daemon.logged(EDITED).await;
    assert_eq!(
        (&line["level"], &line["agents"], &line["some"]),
        (&"WARN".into(), &1.into(), &"a".into()),
        "{line}"
    );
    assert!(
        line["remedy"].as_str().unwrap().contains("reconcile --all"),
        "{line}"
    );
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 1.0).await;
    let told = status(address).await;
    let audit = &told["audit"];
    assert_eq!(
        (
            &audit["agents"],
            &audit["in_sync"],
            &audit["drifted"],
            &audit["unnoticed"]
        ),
        (&2.into(), &1.into(), &1.into(), &0.into()),
        "{told}"
    );
    assert_eq!(told["ready"], true, "{told}");
    let said = platform.says(&["status", "--json"]).await.object();
    assert_eq!(said["audit"]["drifted"], 1, "{said}");
    let said = platform.says(&["status"]).await.fits();
    for words in ["Last audit: default", "1 drifted", "as of the audit"] {
        let words_in_a_row = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words_in_a_row.contains(words), "{words}: {said:?}");
    }

    // An irrelevant save gives the agent the younger version.
    platform
        .run("UPDATE agents SET description = 'other' WHERE slug = 'a'")
        .await;
    audits(&daemon, 3).await;
    assert_eq!(daemon.lines(EDITED).len(), 1, "told once");
    assert!(daemon.lines(UNNOTICED).is_empty());
    assert_eq!(model(&platform, "a").await, "other");

    platform.run("NOTIFY agent_sync, 'a'").await;
    platform.becomes("a", EXPECTED).await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 0.0).await;
}

/// With `audit.repair = "reconcile"`, an edited configuration is synced.
#[tokio::test]
async fn g17_an_edited_configuration_is_repaired_where_asked() {
    let platform = with_agents(&["a", "b"]).await;
    let (daemon, address) =
        auditing(&platform, &[("AGENT_SYNC__AUDIT__REPAIR", "reconcile")]).await;
    platform.drained().await;
    platform.run(&format!("{EDIT} 'a'")).await;
    let line = daemon.logged(EDITED).await;
    assert_eq!((&line["agents"], &line["some"]), (&1.into(), &"a".into()));
    platform.becomes("a", EXPECTED).await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 0.0).await;
    assert!(daemon.lines(UNNOTICED).is_empty());
}

/// A change that was never noticed is a fault of the capture: it is told as such, and repaired
/// whatever `audit.repair` says.
#[tokio::test]
async fn g17_a_change_that_was_never_noticed_is_told_and_repaired() {
    for repair in ["report", "reconcile"] {
        let platform = with_agents(&["a", "b"]).await;
        let (daemon, address) = auditing(&platform, &[("AGENT_SYNC__AUDIT__REPAIR", repair)]).await;
        platform.drained().await;
        platform.becomes("a", EXPECTED).await;
        platform.run(&unnoticed("a")).await;
        let line = daemon.logged(UNNOTICED).await;
        assert_eq!(
            (&line["level"], &line["agents"], &line["some"]),
            (&"WARN".into(), &1.into(), &"a".into()),
            "{line}"
        );
        assert!(
            line["remedy"].as_str().unwrap().contains("doctor"),
            "{line}"
        );
        eventually("the change is applied", async || {
            model(&platform, "a").await == "new"
        })
        .await;
        let series = "agent_sync_unnoticed_total{database=\"default\"}";
        assert_eq!(metric(address, series).await, Some(1.0));
        audits(&daemon, 2).await;
        assert_eq!(daemon.lines(UNNOTICED).len(), 1, "told once");
        assert!(daemon.lines(EDITED).is_empty());
        let told = status(address).await;
        let findings = told["findings"].to_string();
        assert!(
            findings.contains("1 change of an agent was never noticed"),
            "{told}"
        );
        let said = platform.says(&["status", "--json"]).await.object();
        assert!(
            said["trouble"].to_string().contains("never noticed"),
            "{said}"
        );
        assert_eq!(metric(address, series).await, Some(1.0));
    }
}

/// GIVEN an agent that was saved while it shared its slug, WHEN the other one is deleted, which
/// nothing notes, THEN the audit puts it into the outbox, and calls it no fault of the capture.
#[tokio::test]
async fn g17_an_agent_that_shares_its_slug_no_more_is_synced() {
    let platform = Platform::new().await;
    platform
        .run("ALTER TABLE agents DROP CONSTRAINT agents_slug_key")
        .await;
    platform.install();
    platform.configure("a").await;
    platform.run("INSERT INTO agents (slug) VALUES ('a')").await;
    let (daemon, _) = auditing(&platform, &[("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")]).await;
    platform
        .run(
            "INSERT INTO agents (slug, name) VALUES ('a', 'another');
             UPDATE agents SET voice_settings = '{\"llm_provider\": \"openai\", \"llm_model\": \
               \"new\"}' WHERE name IS DISTINCT FROM 'another'",
        )
        .await;
    platform
        .holds("SELECT EXISTS (SELECT FROM agent_sync.problem WHERE kind = 'ambiguous')")
        .await;
    platform.drained().await;
    platform
        .run("DELETE FROM agents WHERE name = 'another'")
        .await;
    eventually("the agent is in sync", async || {
        model(&platform, "a").await == "new"
    })
    .await;
    audits(&daemon, 2).await;
    assert!(daemon.lines(UNNOTICED).is_empty());
}

/// A trigger of the platform that keeps the old voice of `a`.
async fn keep_the_voice(platform: &Platform) {
    platform
        .run(
            "CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN NEW.voice_id := OLD.voice_id; RETURN NEW; END $$;
             CREATE TRIGGER keep BEFORE UPDATE ON agent_configurations FOR EACH ROW
               WHEN (OLD.agent_slug = 'a') EXECUTE FUNCTION public.keep()",
        )
        .await;
}

/// GIVEN a configuration that does not keep what the daemon writes, WHEN audits repair, THEN it is
/// written once more, told, and counted as drifted, until other values are expected of it.
#[tokio::test]
async fn g14_g17_a_configuration_that_keeps_no_value_is_told_and_written_no_further() {
    let platform = with_agents(&["a", "b"]).await;
    keep_the_voice(&platform).await;
    let (daemon, address) =
        auditing(&platform, &[("AGENT_SYNC__AUDIT__REPAIR", "reconcile")]).await;
    let line = daemon.logged(REVERTED).await;
    assert_eq!(
        (&line["level"], &line["agents"], &line["some"]),
        (&"WARN".into(), &1.into(), &"a".into()),
        "{line}"
    );
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 1.0).await;
    let version = "SELECT xmin::text FROM agent_configurations WHERE agent_slug = 'a'";
    let before: String = platform.value(version).await;
    let last = audits(&daemon, 3).await;
    assert_eq!((&last["drifted"], &last["pending"]), (&1.into(), &0.into()));
    assert_eq!(platform.value::<String>(version).await, before);
    assert_eq!(daemon.lines(REVERTED).len(), 1, "told once");
    assert_eq!(daemon.lines(EDITED).len(), 1, "requested once");
    for arguments in [&["status"][..], &["doctor"]] {
        let said = platform.says(arguments).await;
        let words = said.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("the configurations of 1 agent do not keep what the daemon writes"),
            "{said:?}"
        );
    }
    let told = status(address).await;
    assert!(
        told["findings"]
            .to_string()
            .contains("BEFORE UPDATE trigger"),
        "{told}"
    );

    // Another value is expected, and the audit asks for it once.
    let other = EXAMPLE.replace("mixtral-8x7b-32768", "next");
    platform.save("a", &other).await;
    eventually("the change is applied", async || {
        model(&platform, "a").await == "next"
    })
    .await;
    platform
        .run("DROP TRIGGER keep ON agent_configurations")
        .await;
    platform.run("NOTIFY agent_sync, 'a'").await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 0.0).await;

    // What is edited now is repaired again.
    platform.run(&format!("{EDIT} 'a'")).await;
    eventually("the edit is repaired", async || {
        model(&platform, "a").await == "next"
    })
    .await;
    audits(&daemon, 2).await;
    assert_eq!(
        daemon.lines(REVERTED).len(),
        1,
        "{:?}",
        daemon.lines(REVERTED)
    );
}

/// GIVEN the same and an agent that is saved all the time, WHEN audits report, THEN the agent does
/// not count as one with a change that was never noticed again and again.
#[tokio::test]
async fn g17_a_value_that_is_not_kept_is_no_unnoticed_change() {
    let platform = with_agents(&["a", "b"]).await;
    keep_the_voice(&platform).await;
    let (heart, _) = crate::support::platform::connect(&platform.url).await;
    let beats = tokio::spawn(async move {
        for beat in 0.. {
            let save = format!("UPDATE agents SET description = '{beat}' WHERE slug = 'a'");
            if heart.batch_execute(&save).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    let (daemon, address) = auditing(&platform, &[]).await;
    daemon.logged(REVERTED).await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 1.0).await;
    let last = audits(&daemon, 3).await;
    assert_eq!(
        (&last["drifted"], &last["unnoticed"]),
        (&1.into(), &0.into()),
        "{last}"
    );
    assert_eq!(daemon.lines(UNNOTICED).len(), 1);
    beats.abort();
}

/// An agent whose change is pending is no drift, however long it waits.
#[tokio::test]
async fn g17_a_pending_change_is_no_drift() {
    let platform = with_agents(&["a", "b"]).await;
    let (daemon, address) = auditing(&platform, &[]).await;
    platform.drained().await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; SELECT FROM agent_configurations WHERE agent_slug = 'a' FOR UPDATE")
        .await
        .unwrap();
    let changed = EXAMPLE.replace("mixtral-8x7b-32768", "changed");
    platform.save("a", &changed).await;
    eventually("an audit counts it as pending", async || {
        status(address).await["audit"]["pending"] == 1
    })
    .await;
    let line = audits(&daemon, 2).await;
    assert_eq!((&line["pending"], &line["drifted"]), (&1.into(), &0.into()));
    holder.batch_execute("COMMIT").await.unwrap();
    eventually("the change is applied", async || {
        model(&platform, "a").await == "changed"
    })
    .await;
    audits(&daemon, 2).await;
    assert!(daemon.lines(EDITED).is_empty() && daemon.lines(UNNOTICED).is_empty());
}

/// While agents are saved all the time, no audit takes a change in flight for drift.
#[tokio::test]
async fn g17_no_audit_of_busy_tables_gives_a_false_alarm() {
    let platform = with_many(300, r#"{"llm_provider": "groq"}"#).await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    let writers = (0..3).map(|writer| {
        let url = platform.url.clone();
        tokio::spawn(async move {
            let (client, _) = crate::support::platform::connect(&url).await;
            for round in 0.. {
                let save = format!(
                    "UPDATE agents SET voice_settings = jsonb_set(voice_settings, '{{llm_model}}',
                       to_jsonb('m{writer}-{round}'::text))
                     WHERE slug IN ('a' || 1 + {round} % 300, 'a' || 1 + (7 * {round}) % 300);
                     UPDATE agents SET description = '{round}' WHERE slug = 'a' || 1 + {round} % 300"
                );
                // Two writers may meet in a deadlock, and the database is dropped at the end.
                let _ = client.batch_execute(&save).await;
                tokio::task::yield_now().await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let last = audits(&daemon, 6).await;
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(last["agents"], 300, "{last}");
    for line in daemon.lines(COMPARED) {
        assert_eq!(
            (&line["drifted"], &line["unnoticed"]),
            (&0.into(), &0.into()),
            "{line}"
        );
    }
    assert!(daemon.lines(EDITED).is_empty() && daemon.lines(UNNOTICED).is_empty());
}

/// A killed session of the audit, or of the daemon, interrupts the audit, and it goes on.
#[tokio::test]
async fn g17_an_audit_outlives_the_end_of_its_session() {
    let platform = with_many(9000, "{}").await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    for program in ["agent-sync audit%", "agent-sync/%"] {
        platform
            .holds(&format!(
                "SELECT count(pg_terminate_backend(a.pid)) > 0 FROM pg_stat_activity a
                 WHERE a.datname = current_database() AND a.application_name LIKE '{program}'
                   AND EXISTS (SELECT FROM pg_stat_activity b WHERE b.datname = a.datname
                     AND b.application_name LIKE 'agent-sync audit%')"
            ))
            .await;
        let line = audits(&daemon, 1).await;
        assert_eq!(
            (&line["agents"], &line["drifted"], &line["unnoticed"]),
            (&9000.into(), &0.into(), &0.into()),
            "{line}"
        );
    }
    assert!(daemon.lines("the audit is interrupted").is_empty());
}

/// The position of a walk is a key: it goes on over another connection, and meets each agent once.
#[tokio::test]
async fn g17_a_walk_goes_on_over_another_connection() {
    for tenants in [false, true] {
        let platform = if tenants {
            Platform::with_tenants("text").await
        } else {
            Platform::new().await
        };
        platform
            .run("INSERT INTO agents (slug) SELECT 'a' || n FROM generate_series(1, 25) AS n")
            .await;
        if tenants {
            platform
                .run("UPDATE agents SET client_id = 't' || length(slug)")
                .await;
        }
        let (layout, rules) = (platform.layout().await, Rules::embedded());
        let scope = Scope {
            versions: true,
            ..Scope::default()
        };
        let mut met = Vec::new();
        let mut walk = Walk::in_portions(4);
        let mut steps = 0;
        loop {
            let noted = serde_json::to_string(&walk).unwrap();
            walk = serde_json::from_str(&noted).unwrap();
            let db = platform.new_db().await;
            let mut visit = |comparison: &Comparison| {
                met.push(comparison.key.clone());
                ControlFlow::Continue(())
            };
            let step = walk.step(&db, &layout, rules, scope, &mut visit);
            if step.await.unwrap() == Step::Over {
                break;
            }
            steps += 1;
        }
        let mut unique = met.clone();
        unique.dedup();
        assert_eq!((met.len(), unique.len(), steps), (25, 25, 7), "{met:?}");
    }
}

/// The record of an audit outlives the daemon: the next one knows the result, and goes on with an
/// audit that was interrupted.
#[tokio::test]
async fn g17_the_next_daemon_knows_the_last_audit() {
    let platform = with_agents(&["a", "b", "c"]).await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    platform.run(&format!("{EDIT} 'a'")).await;
    daemon.logged(EDITED).await;
    assert!(daemon.terminate().await.success());
    let daemon = Daemon::start(command(&platform));
    let address = address(&daemon).await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 1.0).await;
    assert_eq!(status(address).await["audit"]["in_sync"], 2);
    assert!(daemon.lines(COMPARED).is_empty(), "its interval is an hour");
}

/// GIVEN the record of an audit without drift, WHEN a daemon starts with other rules, THEN the
/// drift that it finds stays in force, in place of the record.
#[tokio::test]
async fn g14_drift_under_the_rules_of_a_start_is_known() {
    let platform = with_agents(&["a", "b", "c"]).await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    audits(&daemon, 1).await;
    assert!(daemon.terminate().await.success());
    let (_folder, daemon) = with_other_rules(&platform);
    let address = address(&daemon).await;
    daemon.logged("caught up").await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 3.0).await;
    // The record of this daemon follows, once it leads.
    platform
        .holds("SELECT (audit -> 'last' ->> 'drifted')::int = 3 FROM agent_sync.install")
        .await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 3.0).await;
}

/// GIVEN the record of an audit with drift under other rules, WHEN a daemon starts with the former
/// rules, THEN its comparison takes the place of the record.
#[tokio::test]
async fn g14_drift_under_rules_that_were_taken_back_ends() {
    let platform = with_agents(&["a", "b", "c"]).await;
    drop(platform.caught_up_daemon().await);
    let (_folder, daemon) = with_other_rules(&platform);
    let drifted = |number| {
        format!(
            "SELECT audit #>> '{{last,drifted}}' IS NOT DISTINCT FROM '{number}' FROM agent_sync.install"
        )
    };
    platform.holds(&drifted(3)).await;
    let said = platform.says(&["status"]).await;
    assert!(said.out.contains("3 configurations differed"), "{said:?}");
    assert!(daemon.terminate().await.success());
    let daemon = platform.caught_up_daemon().await;
    platform.holds(&drifted(0)).await;
    let said = platform.says(&["status"]).await;
    assert!(said.code == 0 && !said.out.contains("differed"), "{said:?}");
    assert!(said.out.contains("3 in sync"), "{said:?}");
    assert!(daemon.terminate().await.success());
}

/// An audit under another mapping than the noted one tells of no drift in force: neither the
/// commands nor the next daemon.
#[tokio::test]
async fn g14_an_audit_under_another_mapping_is_no_drift() {
    let platform = with_agents(&["a"]).await;
    drop(platform.caught_up_daemon().await);
    for (mapping, is_told) in [("mapping", true), ("'other'", false)] {
        platform
            .run(&format!(
                "UPDATE agent_sync.install SET audit = jsonb_build_object('last', jsonb_build_object(
                   'agents', 1, 'in_sync', 0, 'drifted', 1, 'pending', 0, 'problems', 0,
                   'unmapped', 0, 'unnoticed', 0, 'requested', 0, 'differing', 1, 'equal', 0,
                   'at', now(), 'mapping', {mapping}))"
            ))
            .await;
        let said = platform.says(&["doctor"]).await;
        let told = ["1 configuration differed", "compared under other rules"];
        let told = told.map(|text| said.out.contains(text));
        assert_eq!(told, [is_told, !is_told], "{said:?}");
        let daemon = Daemon::start(command(&platform));
        let address = address(&daemon).await;
        daemon.logged("caught up").await;
        let told = status(address).await;
        let drifted = told["audit"]["drifted"].as_i64();
        assert_eq!(drifted, is_told.then_some(1), "{told}");
        assert!(daemon.terminate().await.success());
    }
}

/// Tenants: the report names tenant and slug, and only that agent is synced.
#[tokio::test]
async fn g17_the_audit_knows_tenants_apart() {
    let platform = Platform::with_tenants("text").await;
    platform.install();
    platform
        .run(&format!(
            "INSERT INTO agent_configurations (client_id, agent_slug, provider_config)
               VALUES ('t', 'a', '{{}}'), ('u', 'a', '{{}}');
             INSERT INTO agents (client_id, slug, voice_settings)
               VALUES ('t', 'a', '{EXAMPLE}'), ('u', 'a', '{EXAMPLE}')"
        ))
        .await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    platform
        .run(&format!("{EDIT} 'a' AND client_id = 'u'"))
        .await;
    let line = daemon.logged(EDITED).await;
    assert_eq!((&line["agents"], &line["some"]), (&1.into(), &"u/a".into()));
    platform
        .run(
            "BEGIN;
             UPDATE agents SET voice_settings = jsonb_set(voice_settings, '{llm_model}', '\"new\"')
               WHERE client_id = 't';
             DELETE FROM agent_sync.outbox WHERE tenant = 't';
             COMMIT",
        )
        .await;
    let line = daemon.logged(UNNOTICED).await;
    assert_eq!((&line["agents"], &line["some"]), (&1.into(), &"t/a".into()));
    platform
        .holds(
            "SELECT bool_and(provider_config #>> '{llm,model}' = CASE client_id WHEN 't' THEN 'new'
               ELSE 'other' END) FROM agent_configurations",
        )
        .await;
}

/// Of several daemons, the one that leads audits.
#[tokio::test]
async fn g17_only_the_leader_audits() {
    let platform = with_agents(&["a"]).await;
    let (leader, _) = auditing(&platform, &[]).await;
    let mut second = command(&platform);
    second.env("AGENT_SYNC__AUDIT__INTERVAL", "1s");
    let standby = Daemon::start(second);
    standby.logged("another daemon leads here").await;
    audits(&leader, 3).await;
    assert!(standby.lines(COMPARED).is_empty());
    assert!(leader.terminate().await.success());
    standby.logged(COMPARED).await;
}

/// A problem that is not noted as it is now, such as that of a deleted configuration, is noted.
#[tokio::test]
async fn g7_g17_the_audit_notes_a_configuration_that_was_deleted() {
    let platform = with_agents(&["a", "b"]).await;
    let (daemon, _) = auditing(&platform, &[]).await;
    platform.drained().await;
    platform.becomes("a", EXPECTED).await;
    platform
        .run("DELETE FROM agent_configurations WHERE agent_slug = 'a'")
        .await;
    eventually("the problem is noted", async || {
        platform
            .problem("a")
            .await
            .is_some_and(|(kind, _)| kind == "missing_configuration")
    })
    .await;
    assert!(daemon.lines(EDITED).is_empty() && daemon.lines(UNNOTICED).is_empty());
}

/// An audit needs no lock on the row of the install, which another session may hold for long.
#[tokio::test]
async fn g17_a_locked_row_of_the_install_stops_no_audit() {
    let platform = with_agents(&["a", "b"]).await;
    let (daemon, _) = auditing(&platform, &[]).await;
    daemon.logged(COMPARED).await;
    let holder = platform.connect().await;
    holder
        .batch_execute("BEGIN; SELECT FROM agent_sync.install FOR UPDATE")
        .await
        .unwrap();
    platform.run(&format!("{EDIT} 'a'")).await;
    daemon.logged(EDITED).await;
    platform.run(&unnoticed("b")).await;
    daemon.logged(UNNOTICED).await;
    holder.batch_execute("ROLLBACK").await.unwrap();
}

/// An agent that every index leaves out, and whose change was lost, is not passed over: the audit
/// tells of the index once, reads past it, and puts the agent into the outbox.
#[tokio::test]
async fn g17_an_agent_that_the_indexes_leave_out_is_audited() {
    for tenants in [false, true] {
        let platform = if tenants {
            Platform::with_tenants("text").await
        } else {
            Platform::new().await
        };
        platform.install();
        let (column, value, missed) = if tenants {
            ("client_id, ", "'t', ", "t/missed")
        } else {
            ("", "", "missed")
        };
        // As the planner does in a large table, the walk follows an index.
        let name = platform.name();
        let save = |slug| {
            format!(
                "INSERT INTO agents ({column}slug, voice_settings)
                   VALUES ({value}'{slug}', '{EXAMPLE}');"
            )
        };
        let configure = ["a", "missed", "z"].map(|slug| {
            format!(
                "INSERT INTO agent_configurations ({column}agent_slug, provider_config)
                   VALUES ({value}'{slug}', '{{}}');"
            )
        });
        platform
            .run(&format!(
                "ALTER DATABASE {name} SET enable_seqscan = off;
                 ALTER DATABASE {name} SET enable_sort = off;
                 {} {} {}",
                configure.concat(),
                save("a"),
                save("z")
            ))
            .await;
        // No sweep looks up a sample meanwhile.
        let (daemon, _) = auditing(&platform, &[("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")]).await;
        platform.drained().await;
        let lies = "an index on slug of public.agents does not find rows that are there";
        audits(&daemon, 1).await;
        assert!(daemon.lines(lies).is_empty());

        let ready = |ready| {
            format!("UPDATE pg_index SET indisready = {ready} WHERE indrelid = 'agents'::regclass;")
        };
        platform
            .run(&format!(
                "BEGIN; {} {} {}
                 DELETE FROM agent_sync.outbox WHERE slug = 'missed'; COMMIT",
                ready(false),
                save("missed"),
                ready(true)
            ))
            .await;
        let line = daemon.logged(UNNOTICED).await;
        assert_eq!(
            (&line["agents"], &line["some"]),
            (&1.into(), &missed.into())
        );
        // The daemon takes it out of the outbox, and tells an agent that is gone from this one.
        let is_a_problem = "SELECT count(*) = 1 FROM agent_sync.problem
            WHERE slug = 'missed' AND kind = 'failed' AND sqlstate = 'XX002'";
        platform.holds(is_a_problem).await;
        audits(&daemon, 2).await;
        let told = daemon.lines(lies);
        assert_eq!(told.len(), 1, "told once: {told:?}");
        let remedy = told[0]["remedy"].as_str().unwrap();
        assert!(remedy.contains("REINDEX TABLE public.agents"), "{remedy}");

        platform.run("REINDEX TABLE agents").await;
        platform
            .run("UPDATE agents SET name = 'found' WHERE slug = 'missed'")
            .await;
        platform
            .holds(
                "SELECT agent_name IS NOT DISTINCT FROM 'found' FROM agent_configurations
                 WHERE agent_slug = 'missed'",
            )
            .await;
        audits(&daemon, 2).await;
        assert_eq!(daemon.lines(lies).len(), 1);
    }
}

/// A configuration that the index of the configurations leaves out is compared by the audit, and by
/// `check`.
#[tokio::test]
async fn g17_a_configuration_that_the_index_leaves_out_is_audited() {
    let platform = with_agents(&["a", "missed", "z"]).await;
    // As the planner does in a large table, a survey follows an index.
    let name = platform.name();
    platform
        .run(&format!(
            "ALTER DATABASE {name} SET seq_page_cost = 1000; ANALYZE agents;
             ANALYZE agent_configurations"
        ))
        .await;
    // No sweep looks up a sample meanwhile.
    let (daemon, _) = auditing(&platform, &[("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1h")]).await;
    platform.drained().await;
    let lies = "an index on agent_slug of public.agent_configurations does not find rows that are";
    audits(&daemon, 1).await;
    assert!(daemon.lines(lies).is_empty());
    assert_eq!(platform.says(&["check"]).await.code, 0);

    let ready = |ready| {
        format!(
            "UPDATE pg_index SET indisready = {ready}
             WHERE indrelid = 'agent_configurations'::regclass;"
        )
    };
    platform
        .run(&format!(
            "BEGIN; {}
             INSERT INTO agent_configurations (agent_slug, agent_name) VALUES ('missed', 'stale');
             {} COMMIT",
            ready(false),
            ready(true)
        ))
        .await;
    let line = daemon.logged(EDITED).await;
    assert_eq!(
        (&line["agents"], &line["some"]),
        (&1.into(), &"missed".into())
    );
    audits(&daemon, 2).await;
    let told = daemon.lines(lies);
    assert_eq!(told.len(), 1, "told once: {told:?}");
    let check = platform.says(&["check"]).await;
    assert_eq!(check.code, 2, "{} {}", check.out, check.err);
    assert!(
        check.err.contains(lies) && check.out.contains("1 drifted"),
        "{} {}",
        check.out,
        check.err
    );

    platform
        .run(
            "REINDEX TABLE agent_configurations;
             UPDATE agents SET name = 'found' WHERE slug = 'missed'",
        )
        .await;
    platform
        .holds(
            "SELECT count(*) = 2 FROM agent_configurations
             WHERE agent_slug = 'missed' AND agent_name = 'found'",
        )
        .await;
    let check = platform.says(&["check"]).await;
    assert_eq!(check.code, 0, "{} {}", check.out, check.err);
}

/// GIVEN an agent with configurations that differ in very many fields each, WHEN the audit compares
/// it, THEN it counts them, and needs the memory of one of them.
#[tokio::test]
async fn g12_the_memory_of_an_audit_does_not_grow_with_what_differs() {
    let platform = Platform::installed().await;
    platform.run(&wide(20)).await;
    let (daemon, address) = auditing(&platform, &[]).await;
    platform.drained().await;
    platform.run(&widen(60_000)).await;
    let counted = "agent_sync_drifted{database=\"default\"}";
    metric_becomes(address, counted, 20.0).await;
    let peak = daemon.peak_memory_kib();
    eprintln!("peak memory of a daemon that audits wide settings: {peak} KiB");
    assert!(peak < 96 * 1024, "{peak} KiB");
}

/// GIVEN an agent that has failed three times by time in a portion of its own, WHEN the walk goes
/// on, THEN it passes the agent over as unreadable, and meets all others; rows that were too large
/// together are fetched one at a time.
#[tokio::test]
async fn g17_an_agent_that_takes_too_long_stops_no_audit() {
    let platform = Platform::new().await;
    platform
        .run("INSERT INTO agents (slug) SELECT 'a' || n FROM generate_series(1, 6) AS n")
        .await;
    let (layout, rules) = (platform.layout().await, Rules::embedded());
    let db = platform.new_db().await;
    let mut walk = Walk::in_portions(64);
    // From 64 to 8 and to 1, and then three failures.
    (0..5).for_each(|_| walk.shorten(true));
    let mut met = Vec::new();
    loop {
        let mut visit = |comparison: &Comparison| {
            met.push((comparison.key.clone(), comparison.mistakes.join("; ")));
            ControlFlow::Continue(())
        };
        let step = walk.step(&db, &layout, rules, Scope::default(), &mut visit);
        if step.await.unwrap() == Step::Over {
            break;
        }
        let noted = serde_json::to_string(&walk).unwrap();
        walk = serde_json::from_str(&noted).unwrap();
    }
    let keys: Vec<_> = met.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["a1", "a2", "a3", "a4", "a5", "a6"]);
    let said: Vec<_> = met.iter().filter(|(_, said)| !said.is_empty()).collect();
    assert!(
        said.len() == 1
            && said[0].0 == "a1"
            && said[0]
                .1
                .contains("cannot be read: the server did not answer within"),
        "{said:?}"
    );
}

/// More rows than were asked for are an error, and none is kept: the connection goes on.
#[tokio::test]
async fn g12_more_rows_than_were_asked_for_are_an_error() {
    let db = Platform::new().await.new_db().await;
    for (rows, is_read) in [(2, true), (3, false), (100_000, false)] {
        let query = format!("SELECT n FROM generate_series(1, {rows}) AS n");
        let answer = db.at_most(2, &query).await;
        match answer {
            Ok(answer) => assert!(is_read && answer.len() == 2),
            Err(error) => {
                let said = error.to_string();
                assert!(!is_read && said.contains("at most 2 rows"), "{said}");
            }
        }
    }
}
