//! The program's help, completions and manual pages.

use std::process::Command;

use agent_sync::cli::Cli;
use agent_sync::show::columns;
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
fn bash_completes_commands_their_options_and_their_values() {
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

/// A command line up to the cursor, and what one TAB makes of its last word.
fn completed() -> Vec<(String, String)> {
    let mut command = Cli::command();
    command.build();
    let mut lines = vec![("agent-sync reconc".to_owned(), "reconcile".to_owned())];
    let subcommands = command.get_subcommands();
    for subcommand in subcommands.filter(|subcommand| subcommand.get_name() != "help") {
        let name = subcommand.get_name();
        for argument in subcommand.get_arguments().filter(|one| !one.is_hide_set()) {
            let option = argument.get_long().map(|long| format!("--{long}"));
            if let Some(option) = &option {
                let start = &option[..option.len() - 1];
                lines.push((format!("agent-sync {name} {start}"), option.clone()));
            }
            if argument.get_action().takes_values() {
                let option = option
                    .map(|option| format!("{option} "))
                    .unwrap_or_default();
                for value in argument.get_possible_values() {
                    let value = value.get_name();
                    let start = &value[..value.len() - 1];
                    lines.push((
                        format!("agent-sync {name} {option}{start}"),
                        value.to_owned(),
                    ));
                }
            }
        }
    }
    assert!(lines.len() > 80, "{lines:?}");
    lines
}

/// Types each line and a TAB in a zsh on a terminal, and prints what becomes of it.
const TYPE_IN_ZSH: &str = r#"
zmodload zsh/zpty
zpty -b z "TERM=dumb zsh -f -i"
zpty -w z 'unsetopt prompt_cr prompt_sp; PS1=; fpath=('$PWD' $fpath); autoload -U compinit; compinit -u -D
show() { print -r -- "<<$BUFFER>>"; BUFFER= }; zle -N show; bindkey "^T" show; bindkey "^I" complete-word
print rea\dy'
zpty -r -m z line '*ready*'
for text in "$@"; do
    zpty -w -n z "$text"$'\t\x14'
    zpty -r -m z line '*>>*'
    print -r -- "${${line##*<<}%%>>*}"
done
zpty -d z
"#;

/// zsh completes every long option of every command, and every value of a fixed set.
#[test]
fn zsh_completes_every_option_and_every_fixed_value() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("_agent-sync"),
        said(&["completions", "zsh"]),
    )
    .unwrap();
    let lines = completed();
    let output = Command::new("zsh")
        .args(["-f", "-c", TYPE_IN_ZSH, "zsh"])
        .args(lines.iter().map(|(typed, _)| typed))
        .current_dir(folder.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: zsh cannot be run ({error})"),
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(shown.lines().count(), lines.len(), "{output:?}");
    for ((typed, expected), shown) in lines.iter().zip(shown.lines()) {
        let last = shown.trim_end().rsplit(' ').next().unwrap();
        assert_eq!(last.trim_end_matches('='), expected, "{typed}: {shown}");
    }
}

/// fish completes every long option of every command, and every value of a fixed set.
#[test]
fn fish_completes_every_option_and_every_fixed_value() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("agent-sync.fish");
    std::fs::write(&script, said(&["completions", "fish"])).unwrap();
    let lines = completed();
    let output = Command::new("fish")
        .args(["--no-config", "-c"])
        .arg("source $argv[1]; for line in $argv[2..]; echo \"> $line\"; complete -C $line; end")
        .arg(&script)
        .args(lines.iter().map(|(typed, _)| typed))
        .current_dir(folder.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: fish cannot be run ({error})"),
    };
    let shown = String::from_utf8_lossy(&output.stdout);
    let offers: Vec<_> = shown.split("> agent-sync ").skip(1).collect();
    assert_eq!(offers.len(), lines.len(), "{output:?}");
    for ((typed, expected), offered) in lines.iter().zip(offers) {
        let mut offered = offered.lines().skip(1);
        assert!(
            offered.any(|line| line.split('\t').next() == Some(expected)),
            "{typed}: {output:?}"
        );
    }
}

/// The manual pages: for the program and for each command, by the names of their files.
fn pages() -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    said(&["man", "--into", folder.path().to_str().unwrap()]);
    let mut pages: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    pages.sort();
    pages
}

#[test]
fn each_command_has_a_manual_page_with_its_options() {
    let pages = pages();
    let names: Vec<_> = pages.iter().map(|(name, _)| name.as_str()).collect();
    let mut expected = vec!["agent-sync.1".to_owned()];
    expected.extend(
        subcommands()
            .iter()
            .map(|name| format!("agent-sync-{name}.1")),
    );
    expected.sort();
    assert_eq!(names, expected);
    let page = |name: &str| &pages.iter().find(|(own, _)| own == name).unwrap().1;
    let mut command = Cli::command();
    command.build();
    for subcommand in command
        .get_subcommands()
        .filter(|one| one.get_name() != "help")
    {
        let name = subcommand.get_name();
        let text = page(&format!("agent-sync-{name}.1"));
        assert_eq!(said(&["man", name]).trim_end(), text.trim_end());
        for argument in subcommand.get_arguments().filter(|one| !one.is_hide_set()) {
            let Some(long) = argument.get_long() else {
                continue;
            };
            let option = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(text.contains(&option), "{option} in {text}");
        }
        let listed = format!("agent\\-sync\\-{name}(1)");
        assert!(page("agent-sync.1").contains(&listed), "{listed}");
        assert!(text.contains("\n.SH EXAMPLES\n"), "{text}");
    }
    for (name, text) in &pages {
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "ENVIRONMENT", "FILES"] {
            let heading = format!("\n.SH {section}\n");
            assert!(text.contains(&heading), "{section} in {name}");
        }
        let also = text.split("\n.SH \"SEE ALSO\"\n").nth(1).unwrap();
        assert!(
            also.contains("\\fBagent\\-sync.toml\\fR(5)"),
            "{name}: {also}"
        );
    }
    assert_eq!(said(&["man"]).trim_end(), page("agent-sync.1").trim_end());
    assert!(page("agent-sync.1").contains("\n.SH \"EXIT STATUS\"\n"));
    let output = Command::new(env!("CARGO_BIN_EXE_agent-sync"))
        .args(["man", "unknown"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
}

/// The usage of each page names the values, and each page says where a fault of the program goes.
#[test]
fn a_manual_page_names_the_values_of_options_and_where_faults_go() {
    let pages = pages();
    for (name, text) in &pages {
        let synopsis = text.split("\n.SH SYNOPSIS\n").nth(1).unwrap();
        let synopsis = synopsis.lines().next().unwrap();
        let reads_settings = !["agent-sync-man.1", "agent-sync-completions.1"].contains(&&**name);
        assert_eq!(
            synopsis.contains(r"[\fB\-\-config\fR \fIFILE\fR]"),
            reads_settings,
            "{name}: {synopsis}"
        );
        assert!(text.contains("\n.SH BUGS\n"), "{name}");
    }
    let page = said(&["man", "reconcile"]);
    for word in [r" [\fB\-\-all\fR]", r" [\fISLUG\fR]..."] {
        assert!(page.contains(word), "{word} in {page}");
    }
}

/// Every help has one layout, short and long, and leaves out the settings file where none is read.
#[test]
fn every_help_has_one_layout() {
    for subcommand in subcommands() {
        let [short, long] = ["-h", "--help"].map(|option| said(&[&subcommand, option]));
        assert_eq!(short, long, "{subcommand}");
        let reads_settings = !["man", "completions"].contains(&&*subcommand);
        assert_eq!(long.contains("--config"), reads_settings, "{long}");
    }
    assert!(said(&["--config", "nothing.toml", "man"]).contains(".SH NAME"));
    assert!(said(&["man", "--config", "nothing.toml"]).contains(".SH NAME"));
}

/// A command line that is not understood is told like every other error.
#[test]
fn a_wrong_command_line_is_told_by_the_name_of_the_program() {
    for arguments in [&["check", "--nothing"][..], &["nothing"], &["probe", "x"]] {
        for colour in ["never", "always"] {
            let output = Command::new(env!("CARGO_BIN_EXE_agent-sync"))
                .args(["--color", colour])
                .args(arguments)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(64));
            let err = String::from_utf8(output.stderr).unwrap();
            let plain = anstream::adapter::strip_str(&err).to_string();
            assert!(plain.starts_with("agent-sync: "), "{err}");
            assert!(!plain.contains("error:"), "{err}");
        }
    }
}

/// At 80 columns, `man` shows every page without a wider line and without a warning.
#[test]
fn every_manual_page_fits_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let file = "packaging/man/agent-sync.toml.5";
    let settings = std::fs::read_to_string(file).unwrap();
    for section in ["ENVIRONMENT", "FILES", "SEE ALSO"] {
        let heading = settings.lines().any(|line| {
            line.strip_prefix(".SH ")
                .map(|title| title.trim_matches('"'))
                == Some(section)
        });
        assert!(heading, "{section} in {file}");
    }
    let pages = pages()
        .into_iter()
        .chain([("agent-sync.toml.5".to_owned(), settings)]);
    for (name, text) in pages {
        let path = folder.path().join(&name);
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("man");
        command.args(["--warnings=w", "-P", "cat", "-l"]).arg(&path);
        let output = command
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("MAN_KEEP_FORMATTING")
            .output();
        let output = match output {
            Ok(output) if output.status.success() => output,
            other => return eprintln!("skipped: man cannot be run ({other:?})"),
        };
        let shown = String::from_utf8(output.stdout).unwrap();
        assert!(shown.contains("SEE ALSO"), "{name}: {shown}");
        for line in shown.lines() {
            assert!(
                columns(line) <= 80,
                "{name}: longer than 80 columns: {line}"
            );
        }
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(warnings.is_empty(), "{name}: {warnings}");
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
