//! Bad inputs: wrong command lines, invalid files, unreachable servers and unusable databases, each
//! with the complete output of the program, as data in `tests/cases/bad_inputs/`.
//!
//! Other mistakes have their own tables: `cases/settings/mistakes.txt` (settings, environment,
//! connection strings), `cases/mapping/rules_files/refused.toml` (rules) and
//! `cases/mapping/rejected.toml` (the settings of an agent).

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use agent_sync_testbed::Cluster;
use serde::Deserialize;

use crate::support::{Platform, cluster};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    arguments: Vec<String>,
    #[serde(default)]
    stdin: String,
    /// The files of the case's own directory, `{folder}`.
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Statements on a new database with the platform's tables, whose URL is `{database}` in
    /// `DATABASE_URL`.
    database: Option<String>,
    /// Whether agent-sync is installed in it, and the statements after the install.
    #[serde(default)]
    installed: bool,
    then: Option<String>,
    exit: i32,
    /// The complete standard error.
    err: String,
}

#[derive(Debug, Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// Runs every case of a file and lists all with a different output.
async fn check(file: &str) {
    let cases: Cases = toml::from_str(file).unwrap();
    let mut wrong = Vec::new();
    for case in &cases.case {
        let (exit, err) = said(case).await;
        if (exit, err.as_str()) != (case.exit, case.err.as_str()) {
            wrong.push(format!(
                "{}: exit code {exit}, standard error:\n{err}",
                case.name
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} cases say something else:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The exit code and the output of a case, without the parts that differ between runs.
async fn said(case: &Case) -> (i32, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in &case.files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let platform = match &case.database {
        Some(sql) => Some(prepared(cluster(), case, sql).await),
        None => None,
    };
    let folder = folder.path().to_str().unwrap();
    let database = platform.as_ref().map_or("", Platform::name);
    let server = cluster().url("").trim_end_matches('/').to_owned();
    let stranger = server.replacen("postgres@", "stranger@", 1);
    let filled = |text: &str| {
        let text = text
            .replace("{folder}", folder)
            .replace("{database}", database);
        text.replace("{server}", &server)
            .replace("{server_as_stranger}", &stranger)
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command
        .env_clear()
        .env("COLUMNS", "80")
        .args(case.arguments.iter().map(|text| filled(text)));
    if let Some(platform) = &platform {
        command.env("DATABASE_URL", &platform.url);
    }
    command.envs(case.env.iter().map(|(name, value)| (name, filled(value))));
    if case
        .env
        .keys()
        .any(|name| name.starts_with("AGENT_SYNC__DATABASES__DEFAULT__URL"))
    {
        command.env_remove("DATABASE_URL");
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stdin = case.stdin.clone();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        // Most cases do not read it.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        !err.contains("hunter2"),
        "{}: a secret is told: {err}",
        case.name
    );
    let place = format!("{}:{}", cluster().folder().display(), cluster().port());
    let mut err = err.replace(folder, "{folder}").replace(&place, "{place}");
    if !database.is_empty() {
        err = err.replace(database, "{database}");
    }
    (output.status.code().unwrap(), err)
}

async fn prepared(cluster: &Cluster, case: &Case, sql: &str) -> Platform {
    let platform = Platform::with_tables(cluster, crate::support::platform::TABLES).await;
    platform.run(sql).await;
    if case.installed {
        platform.install();
    }
    if let Some(sql) = &case.then {
        platform.run(sql).await;
    }
    platform
}

/// An invalid command line is answered with a remedy.
#[tokio::test]
async fn i2_a_mistaken_command_line_is_answered_with_a_remedy() {
    check(include_str!("../cases/bad_inputs/command_line.toml")).await;
}

/// An invalid file is named with the expected content.
#[tokio::test]
async fn i3_a_bad_file_is_named_with_what_was_expected() {
    check(include_str!("../cases/bad_inputs/files.toml")).await;
}

/// A refused login is reported without a secret.
#[tokio::test]
async fn g11_a_refused_login_is_told_without_a_secret() {
    check(include_str!("../cases/bad_inputs/connections.toml")).await;
}

/// An unusable database is reported with the remedy.
#[tokio::test]
async fn g10_a_bad_database_is_told_with_the_remedy() {
    check(include_str!("../cases/bad_inputs/catalog.toml")).await;
}
