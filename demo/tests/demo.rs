//! The demo without a terminal: it ends by itself, every claim is true, and nothing is left behind.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The demo with its own directory for temporary files.
fn demo(folder: &std::path::Path) -> Command {
    // The server may run as another user than the tests.
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder, everybody).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync-demo"));
    command
        .env("TMPDIR", folder)
        .env("DATABASE_URL", "postgres://nobody@nowhere.invalid/none");
    command.stdin(Stdio::null());
    command
}

fn left_in(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn the_story_comes_true_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert_eq!(err, "");
    assert!(!out.contains('✗') && !out.contains('\u{1b}'), "{out}");
    for text in [
        "People edit voice agents in a web UI",
        "voice agent ◄──reads── agent_configurations",
        "+ tts.output_format  \"pcm_44100\"",
        "✓ provider_config equals the worked example",
        "✓ the parts that agent-sync does not own are unchanged",
        "✓ north: Nils, voice alloy; south: Sami, voice coral",
        "✓ nothing is pending",
        "Every claim is true.",
        "✓ the server is stopped, and its folder is gone",
    ] {
        assert!(out.contains(text), "expected {text:?} in:\n{out}");
    }
    for line in out.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
    }
    assert_eq!(left_in(folder.path()), 0);
}

/// GIVEN a demo with a running server and daemon, WHEN it is killed, THEN both end, and the
/// directory is removed.
#[test]
fn a_killed_demo_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};

    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let started = lines
        .map_while(Result::ok)
        .any(|line| line.contains("the daemon has caught up"));
    assert!(started);
    let path = folder.path().display().to_string();
    assert!(daemons_of(&path) > 0, "the daemon runs");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(folder.path());
}

/// GIVEN a demo whose server is about to start, WHEN it is killed, THEN the server ends as well.
#[test]
fn a_demo_killed_while_its_server_starts_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = demo(folder.path()).stdout(Stdio::null()).spawn().unwrap();
    let path = folder.path().display().to_string();
    // The arguments of the keeper contain the directory; those of the demo do not.
    wait_until("the server is being started", || daemons_of(&path) > 0);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_gone(folder.path());
}

fn wait_until_gone(folder: &std::path::Path) {
    let path = folder.display().to_string();
    wait_until("nothing is left behind", || {
        left_in(folder) + daemons_of(&path) == 0
    });
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The number of processes with a path below this directory in their arguments.
fn daemons_of(folder: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments =
        processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    arguments
        .filter(|arguments| String::from_utf8_lossy(arguments).contains(folder))
        .count()
}
