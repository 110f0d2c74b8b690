//! The program's help, completions and manual page.

use std::process::Command;

use agent_sync::cli::Cli;
use clap::CommandFactory;

fn said(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    let output = command
        .env_clear()
        .env("COLUMNS", "80")
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands() -> Vec<String> {
    let command = Cli::command();
    command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().to_owned())
        .collect()
}

#[test]
fn every_command_explains_itself_with_examples_on_80_columns() {
    for subcommand in subcommands() {
        let help = said(&[&subcommand, "--help"]);
        assert!(help.contains("Example"), "{help}");
        assert!(
            help.contains(&format!("\n  agent-sync {subcommand}")) || subcommand == "render",
            "{help}"
        );
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
    }
    let command = Cli::command();
    for subcommand in command.get_subcommands().chain([&command]) {
        // A wrapped example cannot be pasted.
        let examples = subcommand
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        for line in examples.lines() {
            assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
        }
    }
}

#[test]
fn completions_are_made_for_every_shell_and_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = said(&["completions", shell]);
        for subcommand in subcommands() {
            assert!(
                text.contains(&subcommand),
                "{subcommand} in the completions of {shell}"
            );
        }
    }
}

/// The candidates of bash for this line, by the program's completions.
fn offered(words: &[&str]) -> Option<Vec<String>> {
    let script = said(&["completions", "bash"]);
    let line = words.join(" ");
    let function = script
        .split("complete -F ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let call = format!(
        "{script}\nCOMP_WORDS=({}); COMP_CWORD={}; COMP_LINE='{line}'; COMP_POINT={}\n\
        {function} agent-sync '{}' '{}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words
            .iter()
            .map(|word| format!("'{word}'"))
            .collect::<Vec<_>>()
            .join(" "),
        words.len() - 1,
        line.len(),
        words[words.len() - 1],
        words[words.len() - 2],
    );
    let output = Command::new("bash")
        .args(["--norc", "-c", &call])
        .output()
        .ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect(),
    )
}

#[test]
fn bash_completes_verbs_their_options_and_their_values() {
    for (words, some) in [
        (
            &["agent-sync", ""][..],
            &["run", "reconcile", "uninstall", "--help"][..],
        ),
        (&["agent-sync", "rec"], &["reconcile"]),
        (
            &["agent-sync", "reconcile", "--"],
            &[
                "--all",
                "--dry-run",
                "--yes",
                "--json",
                "--database",
                "--config",
            ],
        ),
        (
            &["agent-sync", "reconcile", "--d"],
            &["--dry-run", "--database"],
        ),
        (
            &["agent-sync", "status", "--"],
            &["--watch", "--json", "--database"],
        ),
        (
            &["agent-sync", "uninstall", "--"],
            &["--all", "--yes", "--database"],
        ),
        (&["agent-sync", "install", "--"], &["--print", "--role"]),
        (&["agent-sync", "probe", ""], &["live", "ready", "--listen"]),
        (&["agent-sync", "completions", ""], &["bash", "zsh", "fish"]),
    ] {
        let Some(offered) = offered(words) else {
            return eprintln!("skipped: there is no bash to complete in");
        };
        for expected in some {
            assert!(
                offered.iter().any(|one| one == expected),
                "{words:?} offers {offered:?}, not {expected}"
            );
        }
    }
}

/// Bash completes every visible long option of every command, and every value of a fixed set.
#[test]
fn bash_completes_every_option_and_every_fixed_value() {
    let mut command = Cli::command();
    command.build();
    let subcommands = command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help");
    let mut values_seen = 0;
    for subcommand in subcommands {
        let name = subcommand.get_name();
        let Some(options) = offered(&["agent-sync", name, "--"]) else {
            return eprintln!("skipped: there is no bash to complete in");
        };
        for argument in subcommand.get_arguments().filter(|one| !one.is_hide_set()) {
            let option = argument.get_long().map(|long| format!("--{long}"));
            if let Some(option) = &option {
                assert!(options.contains(option), "{name} {option}: {options:?}");
            }
            let possible = argument.get_possible_values();
            if possible.is_empty() || !argument.get_action().takes_values() {
                continue;
            }
            let words: Vec<_> = ["agent-sync", name]
                .into_iter()
                .chain(option.as_deref())
                .chain([""])
                .collect();
            let values = offered(&words).unwrap();
            for value in possible.iter().filter(|one| !one.is_hide_set()) {
                values_seen += 1;
                let value = value.get_name().to_owned();
                assert!(values.contains(&value), "{words:?} {value}: {values:?}");
            }
        }
    }
    assert!(values_seen > 5, "{values_seen}");
}

#[test]
fn the_manual_page_tells_of_every_command_and_its_options() {
    let page = said(&["man"]);
    assert!(page.contains(".TH agent-sync 1"), "{page}");
    for text in [
        "\\-\\-print",
        "\\-\\-role",
        "\\-\\-json",
        "\\-\\-database",
        "Exit codes",
        "check found drift",
        "\\fBagent\\-sync.toml\\fR(5)",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
    for subcommand in subcommands() {
        assert!(
            page.contains(&format!(".SS {subcommand}\n"))
                || page.contains(&format!(".SS \"{subcommand}\"")),
            "{subcommand} in {page}"
        );
    }
}

/// Unwritable results are a failure, and a closed pipe is none.
#[test]
fn unwritable_results_fail_and_a_closed_pipe_does_not() {
    let command_lines: [&[&str]; 5] = [
        &["man"],
        &["completions", "bash"],
        &["config"],
        &["install", "--print"],
        &["status", "--json"],
    ];
    for arguments in command_lines {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
        command
            .env_clear()
            .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
            .args(arguments);
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let output = command.stdout(full).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {err}");
        assert!(
            err.contains("the results cannot be written to standard output"),
            "{arguments:?}: {err}"
        );
        assert!(
            err.contains("No space left on device"),
            "{arguments:?}: {err}"
        );

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).output().unwrap();
        let expected = if arguments[0] == "status" { 69 } else { 0 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {output:?}"
        );
    }
}
