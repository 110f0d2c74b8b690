//! `status`, and that `why` and `doctor` tell the same story, whatever is broken; and that the remedy that they give works.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, Said, eventually};

async fn status(platform: &Platform) -> Value {
    let said = platform.says(&["status", "--json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.object()
}

#[tokio::test]
async fn status_tells_phase_leader_and_numbers_with_and_without_a_daemon() {
    let platform = Platform::installed().await;
    platform.save("synced", EXAMPLE).await;
    platform.configure("synced").await;
    platform.save("missing", EXAMPLE).await;
    platform.save("rejected", r#"{"temperature":3}"#).await;
    platform.configure("rejected").await;
    let object = status(&platform).await;
    assert_eq!((&object["phase"], &object["leader"]), (&"unled".into(), &Value::Null));
    assert_eq!((&object["outbox"]["slugs"], &object["synced"]), (&3.into(), &Value::Null), "{object}");

    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let leader = Daemon::start(command);
    leader.logged("caught up").await;
    // Transactions of other tests keep the daemon from being sure at once that it has seen everything.
    platform.holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install").await;
    let second = platform.daemon();
    second.logged("another daemon leads").await;
    platform.drained().await;
    eventually("the daemon sleeps", async || status(&platform).await["phase"] == "asleep").await;
    let object = status(&platform).await;
    let pid: i32 = platform
        .value(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1 AND d.datname = current_database()",
        )
        .await;
    assert_eq!(object["leader"]["pid"], pid);
    assert_eq!(object["leader"]["program"], concat!("agent-sync/", env!("CARGO_PKG_VERSION"), " default"));
    assert!(object["leader"]["connected_since"].as_str().unwrap().starts_with("20"), "{object}");
    assert_eq!(object["standbys"].as_array().unwrap().len(), 1, "the verb itself is none: {object}");
    assert_eq!(object["outbox"]["rows"], 0);
    for (key, number) in [("synced", 1), ("missing", 1), ("rejected", 1), ("failed", 0)] {
        assert_eq!(object[key], number, "{key}: {object}");
    }
    assert_eq!(object["agents"]["number"], 3);

    // What is pending is told with its age, and a daemon that is kept awake by a writer is not called asleep.
    leader.signal("STOP");
    let writer = platform.connect().await;
    writer.batch_execute("BEGIN; UPDATE agents SET name = 'x' WHERE slug = 'synced'").await.unwrap();
    platform.run("UPDATE agents SET name = 'y' WHERE slug = 'missing'").await;
    platform.run("UPDATE agent_sync.outbox SET at = now() - interval '3 hours'").await;
    let said = platform.says(&["status"]).await.fits();
    let lines: Vec<_> = said.out.lines().collect();
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(0),
        ["DATABASE", "PHASE", "LEADER", "SINCE", "OUTBOX", "OLDEST", "SYNCED", "MISS", "REJ", "FAIL"]
    );
    let place = format!("local/{pid}");
    let row = words(1);
    assert_eq!(
        (row[0], row[2], &row[4..]),
        ("default", place.as_str(), &["1", "3h", "0", "1", "1", "0"][..])
    );
    assert!(said.out.contains("1 change pending, the oldest for 3h, though a daemon leads"), "{}", said.out);
    writer.batch_execute("COMMIT").await.unwrap();
    leader.signal("CONT");
    drop(second);
}

#[tokio::test]
async fn i2_status_shows_the_others_and_exits_with_69_where_a_database_is_down() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    let mut command = platform.command(&["status"]);
    command.env("AGENT_SYNC__DATABASES__A_DATABASE_WITH_A_VERY_LONG_NAME_INDEED__URL", &platform.url);
    command.env("AGENT_SYNC__DATABASES__BAD__URL", "postgres://nobody:hunter2@127.0.0.1:1/none");
    let said = Said::of(command).await.fits();
    assert_eq!(said.code, 69);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(
        lines[1].starts_with("a_database_with_a_very_long_name_indeed") || lines[1].contains('…'),
        "{}",
        said.out
    );
    assert!(lines[2].starts_with("bad") && lines[2].contains(" down "), "{}", said.out);
    assert!(
        said.out.contains("Connection refused") && said.out.contains("try: See whether the server is up")
    );
    assert!(!said.out.contains("hunter2"), "{}", said.out);
}

#[tokio::test]
async fn status_watches_until_nobody_reads() {
    let platform = Platform::installed().await;
    let mut child =
        platform.command(&["status", "--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let daemon = platform.caught_up_daemon().await;
    assert_eq!(first["phase"], "unled");
    let led = lines.by_ref().map_while(Result::ok).any(|line| line.contains("\"leads\":true"));
    assert!(led);
    drop((lines, daemon));
    assert!(child.wait().unwrap().success());
}

/// Something that is broken on purpose: how, what is said of it, and whether a remedy that is a statement or a command mends it.
struct Damage {
    sql: &'static str,
    text: &'static str,
    mending: Mending,
}

enum Mending {
    /// The remedy says to run `agent-sync install`.
    Install,
    /// The remedy holds statements, between these two texts.
    Statements(&'static str, &'static str),
    /// The remedy says it in words; this is what it says.
    Words(&'static str, &'static str),
}

const DAMAGES: &[Damage] = &[
    Damage {
        sql: "DROP TRIGGER agent_sync_update ON agents",
        text: "the trigger \"public\".\"agents\".agent_sync_update is missing",
        mending: Mending::Install,
    },
    Damage {
        sql: "ALTER TABLE agents DISABLE TRIGGER agent_sync_update",
        text: "agent_sync_update is disabled",
        mending: Mending::Words(
            "Run `agent-sync install`",
            "ALTER TABLE agents ENABLE ALWAYS TRIGGER agent_sync_update",
        ),
    },
    Damage {
        sql: "DROP SCHEMA agent_sync CASCADE",
        text: "agent-sync is not installed",
        mending: Mending::Install,
    },
    Damage {
        sql: "DROP TABLE agent_sync.problem CASCADE",
        text: "parts of the install are gone: agent_sync.problem",
        mending: Mending::Install,
    },
    Damage {
        sql: "UPDATE agent_sync.install SET version = 99",
        text: "the installed schema has version 99",
        mending: Mending::Words(
            "Run the version of agent-sync that installed it",
            "UPDATE agent_sync.install SET version = 1",
        ),
    },
    Damage {
        sql: "REVOKE DELETE ON agent_sync.outbox FROM {role}; REVOKE SELECT (name) ON agents FROM {role}",
        text: "lacks DELETE ON agent_sync.outbox, SELECT (name) ON public.agents",
        mending: Mending::Statements("or: ", ""),
    },
    Damage {
        sql: "ALTER TABLE agents ENABLE ROW LEVEL SECURITY",
        text: "row-level security of public.agents may hide rows",
        mending: Mending::Statements("", "; or ALTER ROLE"),
    },
    Damage {
        sql: "DROP INDEX agent_configurations_agent_slug_idx",
        text: "no index begins with agent_slug",
        mending: Mending::Statements("", ""),
    },
    Damage {
        sql: "ALTER DATABASE {database} SET default_transaction_read_only = on",
        text: "this server is read-only",
        mending: Mending::Words(
            "default_transaction_read_only",
            "ALTER DATABASE {database} RESET default_transaction_read_only",
        ),
    },
];

/// GIVEN a database with a daemon in a role of its own, WHEN something is broken on purpose, THEN status, why and doctor say the same
/// of it with the same remedy, and once the remedy is done none of them does.
#[tokio::test]
async fn g7_status_why_and_doctor_tell_the_same_story_and_its_remedy_works() {
    for damage in DAMAGES {
        let platform = Platform::new().await;
        let (role, database) = (format!("story_{}", platform.name()), platform.name().to_owned());
        assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        let as_role = |arguments: &[&str]| {
            let mut command = platform.command(arguments);
            command.env("DATABASE_URL", platform.url.replacen("//postgres@", &format!("//{role}@"), 1));
            command
                .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
                .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
            command
        };
        let daemon = Daemon::start(as_role(&["run"]));
        daemon.logged("caught up").await;
        platform.becomes("a", EXPECTED).await;
        let trouble = troubles(&as_role, damage.text).await;
        assert_eq!(trouble, [None, None, None], "{}", damage.sql);

        let fill = |sql: &str| sql.replace("{role}", &role).replace("{database}", &database);
        for sql in fill(damage.sql).split(';') {
            platform.run(sql).await;
        }
        let [status, why, doctor] = troubles(&as_role, damage.text).await;
        let remedy = status.unwrap_or_else(|| panic!("status says so: {}", damage.sql));
        assert_eq!((why.as_deref(), doctor.as_deref()), (Some(&*remedy), Some(&*remedy)), "{}", damage.sql);

        match damage.mending {
            Mending::Install => {
                assert!(remedy.contains("Run `agent-sync install`"), "{remedy}");
                assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
            }
            Mending::Statements(from, to) => {
                let (_, rest) =
                    if from.is_empty() { ("", &*remedy) } else { remedy.split_once(from).unwrap() };
                let sql = if to.is_empty() { rest } else { rest.split_once(to).unwrap().0 };
                platform.run(sql).await;
            }
            Mending::Words(words, sql) => {
                assert!(remedy.contains(words), "{remedy}");
                platform.run(&fill(sql)).await;
            }
        }
        assert_eq!(troubles(&as_role, damage.text).await, [None, None, None], "{}", damage.sql);
        platform.save("a", r#"{"voice_id":"after it was mended"}"#).await;
        platform.holds("SELECT voice_id = 'after it was mended' FROM agent_configurations").await;
    }
}

/// The remedy that each of the verbs gives for what is said so; none where it is not said.
async fn troubles(command: &impl Fn(&[&str]) -> Command, text: &str) -> [Option<String>; 3] {
    let remedy = |object: &Value, key: &str| {
        let notes = object[key].as_array().unwrap().iter();
        let note = notes.filter(|note| note["level"] != "pass");
        let mut note = note.filter(|note| note["text"].as_str().unwrap().contains(text));
        note.next().map(|note| note["remedy"].as_str().unwrap().to_owned())
    };
    let status = Said::of(command(&["status", "--json"])).await.object();
    let why = Said::of(command(&["why", "a", "--json"])).await;
    let doctor = Said::of(command(&["doctor", "--json"])).await.object();
    // A role that cannot read the agents gets no story, but it is told why.
    let why = if why.out.is_empty() {
        why_without_a_story(&why, &status, text)
    } else {
        remedy(&why.object(), "trouble")
    };
    [remedy(&status, "trouble"), why, remedy(&doctor, "checks")]
}

/// What `why` says where it has no access: the cause on standard error, and the remedy of the others holds.
fn why_without_a_story(why: &Said, status: &Value, text: &str) -> Option<String> {
    assert!(why.err.contains("permission denied") && why.err.contains("try: "), "{}", why.err);
    let notes = status["trouble"].as_array().unwrap().iter();
    let mut note = notes.filter(|note| note["text"].as_str().unwrap().contains(text));
    note.next().map(|note| note["remedy"].as_str().unwrap().to_owned())
}
