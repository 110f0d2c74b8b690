//! Commands that remove objects or change many rows: they list the affected databases, ask for
//! confirmation, and change nothing if they cannot ask.

use std::fmt::Write as _;
use std::process::Command;

use tempfile::TempDir;

use crate::support::platform::EXAMPLE;
use crate::support::{Platform, Said};

/// A settings file with these databases.
fn settings(platforms: &[(&str, &Platform)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for (name, platform) in platforms {
        writeln!(text, "[databases.{name}]\nurl = '{}'", platform.url).unwrap();
    }
    std::fs::write(folder.path().join("agent-sync.toml"), text).unwrap();
    folder
}

fn command(folder: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .env("AGENT_SYNC_CONFIG", folder.path().join("agent-sync.toml"))
        .args(arguments);
    command
}

/// Runs a command on a terminal with this typed answer, and returns standard output and error
/// together; `None` without the program `script`, which provides the terminal.
async fn typed(command: &Command, answer: &str) -> Option<Said> {
    let quoted =
        |text: &std::ffi::OsStr| format!("'{}'", text.to_str().unwrap().replace('\'', r"'\''"));
    let words: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(quoted)
        .collect();
    let mut script = Command::new("/bin/sh");
    script
        .env_clear()
        .env("PATH", std::env::var_os("PATH")?)
        .env("NO_COLOR", "1");
    script.envs(
        command
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let line = format!("echo {answer} | script -qec \"$0\" /dev/null; exit $?");
    script.args([
        "-c",
        &format!("command -v script >/dev/null || exit 127; {line}"),
        &words.join(" "),
    ]);
    let said = Said::of(script).await;
    if said.code == 127 {
        eprintln!("skipped: there is no `script` to make a terminal with");
        return None;
    }
    Some(Said {
        out: said.out.replace('\r', ""),
        ..said
    })
}

async fn is_installed(platform: &Platform) -> bool {
    platform
        .value("SELECT to_regnamespace('agent_sync') IS NOT NULL")
        .await
}

/// Uninstall lists the losses and changes nothing without an answer.
#[tokio::test]
async fn uninstall_names_what_is_lost_and_waits_for_an_answer() {
    let platform = Platform::new().await;
    let role = format!("made_for_{}", platform.name());
    assert_eq!(platform.says(&["install", "--role", &role]).await.code, 0);
    for slug in ["a", "b", "c"] {
        platform.save(slug, EXAMPLE).await;
    }
    let said = platform.says(&["uninstall"]).await;
    assert_eq!(said.code, 64, "{said:?}");
    for text in [
        "expected --yes, because standard input is no terminal to ask on",
        &format!("database {})", platform.name()),
        "3 changes that are not yet in sync are dropped",
        &format!("the role {role}, which an install made, is dropped, and its password with it"),
        "try: add --yes to confirm",
    ] {
        assert!(said.err.contains(text), "{text} in {}", said.err);
    }
    assert!(is_installed(&platform).await);

    let folder = settings(&[("main", &platform)]);
    for (answer, code, stays) in [("n", 1, true), ("''", 1, true), ("y", 0, false)] {
        let Some(said) = typed(&command(&folder, &["uninstall"]), answer).await else {
            return;
        };
        assert_eq!(said.code, code, "{answer}: {said:?}");
        assert!(
            said.out
                .contains("3 changes that are not yet in sync are dropped"),
            "{}",
            said.out
        );
        assert!(
            said.out
                .contains(&format!("main (user postgres at {}", place(&platform))),
            "{}",
            said.out
        );
        assert_eq!(
            said.out.contains("nothing was changed"),
            stays,
            "{}",
            said.out
        );
        assert_eq!(is_installed(&platform).await, stays, "{answer}");
    }
    let again = platform.says(&["uninstall"]).await;
    assert_eq!(
        (again.code, again.out.contains("nothing is installed")),
        (0, true),
        "nothing to ask: {again:?}"
    );
}

/// The directory of the server's socket.
fn place(_: &Platform) -> String {
    crate::support::cluster().folder().display().to_string()
}

#[tokio::test]
async fn uninstall_takes_several_databases_only_if_all_are_asked_for() {
    let [one, two, three] = [
        Platform::installed().await,
        Platform::installed().await,
        Platform::installed().await,
    ];
    let folder = settings(&[("one", &one), ("two", &two), ("three", &three)]);
    let said = Said::of(command(&folder, &["uninstall", "--yes"])).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(
        said.err
            .contains("expected --database or --all, because the settings have 3 databases"),
        "{}",
        said.err
    );
    assert!(is_installed(&one).await && is_installed(&two).await && is_installed(&three).await);
    let said = Said::of(command(
        &folder,
        &["uninstall", "--yes", "--database", "two"],
    ))
    .await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(is_installed(&one).await && !is_installed(&two).await && is_installed(&three).await);
    let said = Said::of(command(&folder, &["uninstall", "--all", "--yes"])).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!is_installed(&one).await && !is_installed(&three).await);
    assert_eq!(
        Said::of(command(
            &folder,
            &["uninstall", "--all", "--database", "one"]
        ))
        .await
        .code,
        64
    );
}

/// An unused `DATABASE_URL` is reported, and commands that write require a name.
#[tokio::test]
async fn an_unused_database_url_is_told_and_writers_want_a_name() {
    let platform = Platform::installed().await;
    let folder = settings(&[("main", &platform)]);
    let with = |arguments: &[&str]| {
        let mut command = command(&folder, arguments);
        command.env(
            "DATABASE_URL",
            "postgres://app:hunter2@staging.example.com/other",
        );
        Said::of(command)
    };
    let note = "DATABASE_URL is set and not used, because the settings name databases: main (";
    for subcommand in [&["check"][..], &["status"], &["why", "a"], &["doctor"]] {
        let said = with(subcommand).await;
        assert!(
            said.err.contains(note) && said.err.contains("agent-sync.toml:1)"),
            "{subcommand:?}: {said:?}"
        );
        assert_ne!(said.code, 64, "{subcommand:?}: {said:?}");
        assert!(!said.err.contains("hunter2"), "{said:?}");
    }
    for subcommand in [
        &["install"][..],
        &["uninstall", "--yes"],
        &["reconcile", "--all", "--yes"],
    ] {
        let said = with(subcommand).await;
        assert_eq!(said.code, 64, "{subcommand:?}: {said:?}");
        assert!(
            said.err.contains(note) && said.err.contains("try: name the database"),
            "{subcommand:?}: {said:?}"
        );
        assert!(is_installed(&platform).await, "{subcommand:?}");
        let named: Vec<_> = subcommand
            .iter()
            .copied()
            .chain(["--database", "main"])
            .collect();
        let said = with(&named).await;
        assert_eq!(said.code, 0, "{named:?}: {said:?}");
        platform.install();
    }
}

/// Reconcile asks with the address of each database and reports each under its name.
#[tokio::test]
async fn reconcile_names_each_database_when_it_asks_and_reports() {
    let [one, two] = [Platform::installed().await, Platform::installed().await];
    for (platform, number) in [(&one, 3), (&two, 2)] {
        platform
            .run(&format!(
                "INSERT INTO agents (slug, name) SELECT 'agent-' || i, 'Agent ' || i
                      FROM generate_series(1, {number}) i;
                 INSERT INTO agents (slug, name) VALUES ('lonely-{number}', 'x');
                 INSERT INTO agent_configurations (agent_slug) SELECT slug FROM agents
                   WHERE slug LIKE 'agent-%';
                 TRUNCATE agent_sync.outbox"
            ))
            .await;
    }
    one.run(
        "ALTER TABLE agent_configurations ADD CONSTRAINT refused CHECK (agent_name <> 'Agent 1')",
    )
    .await;
    let folder = settings(&[("one", &one), ("two", &two)]);
    let asking = |arguments: &[&str]| {
        let mut command = command(&folder, arguments);
        command.env("AGENT_SYNC__RECONCILE__CONFIRM_ABOVE", "1");
        command
    };
    let said = Said::of(asking(&["reconcile", "--all"])).await;
    assert_eq!(said.code, 64, "{said:?}");
    assert!(
        said.err
            .contains("`agent-sync reconcile --all --dry-run` shows the differences"),
        "{}",
        said.err
    );
    let dry = Said::of(asking(&["reconcile", "--all", "--dry-run"])).await;
    assert_eq!(dry.code, 2, "the command that is suggested works: {dry:?}");
    if let Some(said) = typed(&asking(&["reconcile", "--all"]), "n").await {
        assert_eq!(said.code, 1, "{said:?}");
        for (name, platform, number) in [("one", &one, 3), ("two", &two, 2)] {
            let place = format!("{name}: {number} (user postgres at {}", place(platform));
            assert!(said.out.contains(&place), "{place} in {}", said.out);
        }
        assert!(
            said.out.contains("bring 5 configurations in sync?"),
            "{}",
            said.out
        );
    }
    let said = Said::of(asking(&["reconcile", "--all", "--yes"]))
        .await
        .fits();
    let lines: Vec<_> = said.out.lines().collect();
    let at = |text: &str| {
        let found = lines.iter().position(|line| line.starts_with(text));
        found.unwrap_or_else(|| panic!("{text} in {}", said.out))
    };
    // The last database name above a line.
    let above = |line: usize| {
        let heading = lines[..line]
            .iter()
            .rev()
            .find(|line| ["one", "two"].contains(*line));
        *heading.unwrap_or(&"none")
    };
    assert_eq!(above(at("missing   lonely-3")), "one", "{}", said.out);
    assert_eq!(above(at("missing   lonely-2")), "two", "{}", said.out);
    assert_eq!(above(at("failed    agent-1")), "one", "{}", said.out);
    assert!(
        at("failed    agent-1") < at("one: 2 synced") && at("one: 2 synced") < at("two: 2 synced"),
        "{}",
        said.out
    );

    // What the check and the write say of one database stands under one heading.
    two.run("DELETE FROM agents WHERE slug = 'lonely-2'").await;
    let said = Said::of(asking(&["reconcile", "--all", "--yes"])).await;
    let headings = said.out.lines().filter(|line| *line == "one").count();
    assert!(said.out.contains("missing   lonely-3"), "{}", said.out);
    assert!(said.out.contains("failed    agent-1"), "{}", said.out);
    assert_eq!(headings, 1, "{}", said.out);
}

/// GIVEN a terminal, WHEN a command fails or asks, THEN no line on standard error is wider than
/// those of reports, and the words and paths are whole.
#[tokio::test]
async fn an_error_on_a_terminal_has_lines_as_wide_as_those_of_reports() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent-sync.toml");
    std::fs::write(
        &file,
        "[log]\nformat = 'p'\nlevel = 'x='\n[databases.a]\nurl = 'nonsense of some length'\n",
    )
    .unwrap();
    let status = command(&folder, &["status"]);
    let piped = Said::of(command(&folder, &["status"])).await;
    assert_eq!(piped.code, 64, "{piped:?}");
    let Some(said) = typed(&status, "").await else {
        return;
    };
    let (shown, whole) = (said.out.trim(), piped.err.trim());
    let words = |text: &str| {
        text.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(words(shown), words(whole), "the same words");
    let wide = |line: &&str| line.chars().count() > 80 && line.trim().contains(' ');
    assert_eq!(shown.lines().find(wide), None, "{shown}");
    assert!(whole.lines().any(|line| wide(&line)), "{whole}");
    let (place, file) = (
        "agent-sync: the settings have 3 mistakes\n  in ",
        file.display(),
    );
    assert!(
        whole.starts_with(&format!("{place}{file}:\n  - line 2: log.format: ")),
        "{whole}"
    );
    assert_eq!(
        whole
            .lines()
            .filter(|line| line.starts_with("  - line "))
            .count(),
        3
    );
}
