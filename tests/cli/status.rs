//! `status`: one line for each database, from SQL alone, with and without a daemon.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use agent_sync::key::Keys;
use agent_sync::pg::Parameter;
use agent_sync::store::report;
use postgres_types::Type;
use serde_json::Value;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform, Said, eventually, peak_memory_kib};

async fn status(platform: &Platform) -> Value {
    let said = platform.says(&["status", "--json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.object()
}

/// Status shows phase, leader and numbers with and without a daemon.
#[tokio::test]
async fn status_shows_phase_leader_and_numbers() {
    let platform = Platform::installed().await;
    platform.save("synced", EXAMPLE).await;
    platform.configure("synced").await;
    platform.save("missing", EXAMPLE).await;
    platform.save("rejected", r#"{"temperature":3}"#).await;
    platform.configure("rejected").await;
    let object = status(&platform).await;
    assert_eq!(
        (&object["state"], &object["leader"]),
        (&"no daemon".into(), &Value::Null)
    );
    assert_eq!(
        (&object["outbox"]["slugs"], &object["synced"]),
        (&3.into(), &Value::Null),
        "{object}"
    );

    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s");
    let leader = Daemon::start(command);
    leader.logged("caught up").await;
    // Transactions of other tests may delay the daemon's full check.
    platform
        .holds("SELECT uncaptured_seen >= 0 FROM agent_sync.install")
        .await;
    let second = platform.daemon();
    second.logged("another daemon leads").await;
    platform.drained().await;
    eventually("the daemon sleeps", async || {
        status(&platform).await["leader"]["sleeps"] == true
    })
    .await;
    let object = status(&platform).await;
    let pid: i32 = platform
        .value(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
             WHERE l.locktype = 'advisory' AND l.classid = 1634169721 AND l.objid = 1
               AND d.datname = current_database()",
        )
        .await;
    assert_eq!(object["leader"]["pid"], pid);
    assert_eq!(
        object["leader"]["program"],
        concat!("agent-sync/", env!("CARGO_PKG_VERSION"), " default")
    );
    assert!(
        object["leader"]["connected_since"]
            .as_str()
            .unwrap()
            .starts_with("20"),
        "{object}"
    );
    assert_eq!(
        object["standbys"].as_array().unwrap().len(),
        1,
        "the command itself is none: {object}"
    );
    assert_eq!(
        (&object["state"], &object["outbox"]["rows"]),
        (&"ok".into(), &0.into())
    );
    for (key, number) in [
        ("synced", 1),
        ("missing", 1),
        ("rejected", 1),
        ("failed", 0),
    ] {
        assert_eq!(object[key], number, "{key}: {object}");
    }
    assert_eq!(object["agents"]["number"], 3);

    // A pending change is shown with its age, and the daemon that stands by.
    // Not within a sweep: any statement of it may be the last.
    let is_quiet = format!(
        "SELECT state = 'idle' AND state_change < clock_timestamp() - interval '300 milliseconds'
         FROM pg_stat_activity WHERE pid = {pid}"
    );
    platform.holds(&is_quiet).await;
    leader.signal("STOP");
    let writer = platform.connect().await;
    writer
        .batch_execute("BEGIN; UPDATE agents SET name = 'x' WHERE slug = 'synced'")
        .await
        .unwrap();
    platform
        .run("UPDATE agents SET name = 'y' WHERE slug = 'missing'")
        .await;
    platform
        .run("UPDATE agent_sync.outbox SET at = now() - interval '3 hours'")
        .await;
    let said = platform.says(&["status"]).await.fits();
    let lines: Vec<_> = said.out.lines().collect();
    let words = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        words(0),
        [
            "DATABASE", "STATE", "LEADER", "SINCE", "OUTBOX", "OLDEST", "NO", "PROBLEM", "MISS",
            "REJ", "FAIL"
        ]
    );
    let place = format!("local/{pid}");
    let row = words(1);
    assert_eq!(
        (row[0], row[1], row[2], &row[4..]),
        (
            "default",
            "busy",
            place.as_str(),
            &["1", "3h", "0", "1", "1", "0"][..]
        ),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("1 change pending, the oldest for 3h, though a daemon leads"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("Standing by: default local/"),
        "{}",
        said.out
    );
    writer.batch_execute("COMMIT").await.unwrap();
    leader.signal("CONT");
    drop(second);
}

/// Status exits with 69 if a database is unreachable and shows the others.
#[tokio::test]
async fn i2_status_exits_with_69_and_shows_the_other_databases() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    let mut command = platform.command(&["status"]);
    command.env(
        "AGENT_SYNC__DATABASES__A_DATABASE_WITH_A_VERY_LONG_NAME_INDEED__URL",
        &platform.url,
    );
    command.env(
        "AGENT_SYNC__DATABASES__BAD__URL",
        "postgres://nobody:hunter2@127.0.0.1:1/none",
    );
    let said = Said::of(command).await.fits();
    assert_eq!(said.code, 69);
    let lines: Vec<_> = said.out.lines().collect();
    assert!(
        lines[1].starts_with("a_database_with_a_very_long_name_indeed") || lines[1].contains('…'),
        "{}",
        said.out
    );
    assert!(
        lines[2].starts_with("bad") && lines[2].contains(" unreachable "),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("Connection refused")
            && said.out.contains("try: See whether the server is up")
    );
    assert!(!said.out.contains("hunter2"), "{}", said.out);
}

/// Status exits with 2 where it shows a fault, and with `--exit-zero` with 0, whatever it shows.
#[tokio::test]
async fn i2_status_exits_with_2_on_a_fault() {
    let platform = Platform::installed().await;
    let _daemon = platform.caught_up_daemon().await;
    platform
        .run("ALTER TABLE agents DISABLE TRIGGER agent_sync_update")
        .await;
    for (arguments, code) in [(&["status"][..], 2), (&["status", "--exit-zero"], 0)] {
        let said = platform.says(arguments).await.fits();
        assert_eq!(said.code, code, "{said:?}");
        assert!(
            said.out.contains(" broken ") && said.out.contains("FAIL  capture broken"),
            "{said:?}"
        );
        // Beside a fault, what is not recorded is no news.
        assert!(!said.out.contains("Last "), "{said:?}");
    }
    let mut command = platform.command(&["status", "--exit-zero"]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let said = Said::of(command).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains(" unreachable "), "{said:?}");
}

#[tokio::test]
async fn status_watches_until_nobody_reads() {
    let platform = Platform::installed().await;
    let mut child = platform
        .command(&["status", "--watch", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let daemon = platform.caught_up_daemon().await;
    assert_eq!(first["state"], "no daemon");
    let led = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("\"leads\":true"));
    assert!(led);
    drop((lines, daemon));
    assert!(child.wait().unwrap().success());
}

/// GIVEN agents with wide slugs and with problems, THEN the output of every command fits 80
/// columns.
#[tokio::test]
async fn wide_slugs_fit_80_columns() {
    let platform = Platform::installed().await;
    let slugs = [
        "予約受付エージェント",
        "問い合わせ窓口",
        "☎️☎️☎️☎️☎️☎️",
        "👩‍💻🤖🍕",
        "ナポリのピザ屋さん",
    ];
    for slug in slugs {
        platform.save(slug, EXAMPLE).await;
    }
    for slug in ["電話番号案内窓口受付", "お店の予約とご案内"] {
        platform.save(slug, r#"{"temperature": 3}"#).await;
        platform.configure(slug).await;
    }
    let _daemon = platform.brisk_daemon();
    platform
        .holds("SELECT count(*) = 7 FROM agent_sync.problem")
        .await;
    for command in ["status", "doctor", "check"] {
        let said = platform.says(&[command]).await.fits();
        assert!(said.out.contains("予約"), "{said:?}");
    }
}

/// GIVEN a save that could not be noted, WHEN its transaction stays open, THEN `status` names the
/// transaction and the statement that ends it, and the statement works.
#[tokio::test]
async fn g7_a_blocking_transaction_is_named_with_a_remedy() {
    let platform = Platform::installed().await;
    platform.save("a", "{}").await;
    platform.configure("a").await;
    let daemon = platform.brisk_daemon();
    daemon.logged("caught up").await;
    let (locker, saver) = (platform.connect().await, platform.connect().await);
    locker
        .batch_execute("BEGIN; LOCK TABLE agent_sync.outbox IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    saver
        .batch_execute("BEGIN; UPDATE agents SET name = 'unnoted'")
        .await
        .unwrap();
    locker.batch_execute("ROLLBACK").await.unwrap();
    let pid: i32 = saver
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let remedy = format!("SELECT pg_terminate_backend({pid});");
    eventually("the transaction is named", async || {
        let said = platform.says(&["status", "--json"]).await;
        let trouble = &said.object()["trouble"];
        trouble.as_array().unwrap().iter().any(|note| {
            let (text, told) = (note["text"].as_str(), note["remedy"].as_str());
            text.unwrap()
                .contains(&format!("process {pid}, open since"))
                && told.unwrap().contains(&remedy)
        })
    })
    .await;
    platform.run(&remedy).await;
    eventually("nothing is missed any more", async || {
        let said = platform.says(&["status"]).await;
        !said.out.contains("still to be checked")
    })
    .await;
}

/// An overdue change names the transaction that has had configurations locked for longest, prepared
/// ones included.
#[tokio::test]
async fn g14_an_overdue_change_names_the_oldest_holder_of_locks() {
    let (_cluster, platform) = Platform::on_own_server("max_prepared_transactions = 2").await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let _daemon = platform.caught_up_daemon().await;
    platform.drained().await;
    let lock = "BEGIN; UPDATE agent_configurations SET voice_id = 'locked' WHERE agent_slug = 'a'";
    let holder = platform.connect().await;
    holder.batch_execute(lock).await.unwrap();
    platform.run("UPDATE agents SET name = 'new'").await;
    let age = "UPDATE agent_sync.outbox SET at = now() - interval '3 hours'";
    platform.run(age).await;
    let pid: i32 = holder
        .query_one("SELECT pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);
    let told = || async {
        let said = platform.says(&["status"]).await.fits();
        said.out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let text = told().await;
    let named = format!("process {pid} has rows of public.agent_configurations locked for");
    assert!(text.contains(&named), "{text}");
    assert!(
        text.contains(&format!("SELECT pg_terminate_backend({pid});")),
        "{text}"
    );

    holder
        .batch_execute("PREPARE TRANSACTION 'it''s left'")
        .await
        .unwrap();
    let text = told().await;
    assert!(
        text.contains("the prepared transaction it's left has rows of"),
        "{text}"
    );
    platform.run("ROLLBACK PREPARED 'it''s left'").await;
    assert!(text.contains("ROLLBACK PREPARED 'it''s left';"), "{text}");
    platform.drained().await;
}

/// GIVEN very many problems with long slugs, WHEN they are asked for, THEN a bounded number of them
/// is counted, and the server needs little memory for it.
#[tokio::test]
async fn g12_many_problems_need_little_memory_of_the_server() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agent_sync.problem (slug, kind, detail, since)
             SELECT repeat('x', 8000) || i, 'missing_configuration', 'none' || repeat('!', i % 5),
                    now() + i * interval '1 ms'
             FROM generate_series(1, 20000) i",
        )
        .await;
    for (most, agents) in [(100_000_i64, 20_000_i64), (5_000, 5_000)] {
        let db = platform.new_db().await;
        let pid: i32 = db.value("SELECT pg_backend_pid()", &[]).await.unwrap();
        let peak = || peak_memory_kib(pid.unsigned_abs()).unwrap();
        let before = peak();
        let limits: [Parameter<'_>; 2] = [(&most, Type::INT8), (&50_i64, Type::INT8)];
        let rows = db.all(&report::problems(Keys::Slugs), &limits).await;
        let (rows, needed) = (rows.unwrap(), peak() - before);
        eprintln!("memory for {most} of 20,000 problems: {needed} KiB");
        let row = &rows[0];
        let (counted, some): (i64, Vec<String>) = (row.get(2), row.get(3));
        let first = [1, 2, 3].map(|number| "x".repeat(8000) + &number.to_string());
        assert_eq!((rows.len(), counted), (1, agents));
        assert_eq!(some, first);
        let (detail, is_full, are_more): (&str, bool, bool) = (row.get(6), row.get(7), row.get(8));
        let expected = ("none!!!!", most == agents, false);
        assert_eq!((detail, is_full, are_more), expected);
        assert!(needed < 48 * 1024, "{needed} KiB");
    }
}

/// GIVEN failed writes with more SQLSTATEs than are listed, WHEN `status` tells of them, THEN it
/// lists the largest groups, and says that there are more.
#[tokio::test]
async fn g12_problems_of_very_many_kinds_are_listed_in_part() {
    let platform = Platform::installed().await;
    platform
        .run(
            "INSERT INTO agent_sync.problem (slug, kind, detail, sqlstate)
             SELECT 'a' || i || '-' || n, 'failed', 'refused', 'Q' || lpad(i::text, 4, '0')
             FROM generate_series(1, 60) i, generate_series(1, 1 + i / 60) n",
        )
        .await;
    let object = status(&platform).await;
    let groups = object["problems"].as_array().unwrap();
    assert_eq!(
        (groups.len(), &groups[0]["sqlstate"]),
        (50, &"Q0060".into())
    );
    assert_eq!(
        (&groups[0]["agents"], &groups[0]["more"]),
        (&2.into(), &false.into())
    );
    let said = platform.says(&["status"]).await;
    let words: Vec<_> = said.out.split_whitespace().collect();
    let text = words.join(" ");
    assert!(
        text.contains("with more SQLSTATEs than are listed"),
        "{text}"
    );
}
