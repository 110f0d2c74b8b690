//! `man`: prints the manual page of the program, or of one command; or writes all of them.

use std::path::Path;

use anyhow::Context as _;
use clap::{Arg, ArgAction, Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::cli::{Cli, Manual};
use crate::exit::{Exit, Fault};

/// The files of every page.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/agent-sync/agent-sync.toml",
        "The settings, unless --config or AGENT_SYNC_CONFIG names another file.",
    ),
    (
        "/etc/agent-sync/databases.d/*.toml",
        "Further settings beside that file, in the order of their names.",
    ),
    (
        "/run/agent-sync/admin.sock",
        "The socket at which agent-sync probe asks the daemon (admin.socket).",
    ),
    (
        "~/.pgpass, ~/.pg_service.conf",
        "Passwords and connections of PostgreSQL's own tools, where a setting lacks them.",
    ),
];

/// Where a fault of the program goes.
const BUGS: &str = "Report a fault of the program to those from whom you have it, with the output \
    of agent-sync --version, agent-sync doctor and, about one agent, agent-sync why. None of them \
    prints a secret, a prompt or a key. A vulnerability goes where docs/security.md says.";

/// The variables of every page.
const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "AGENT_SYNC__SECTION__KEY",
        "Sets section.key, over the files: AGENT_SYNC__SYNC__BATCH_SIZE=100.",
    ),
    ("AGENT_SYNC_CONFIG", "The settings file."),
    (
        "DATABASE_URL",
        "The database named default, where the settings have no database.",
    ),
    (
        "PGHOST, PGUSER, PGPASSFILE and others of libpq",
        "What a connection lacks, unless libpq.environment is false.",
    ),
    ("RUST_LOG", "The level of the log, over the files."),
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "Whether text has colours; --color goes before them.",
    ),
];

/// Prints a page, or writes all of them into a directory.
pub fn man(args: &Manual) -> anyhow::Result<Exit> {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    if let Some(folder) = &args.into {
        for command in std::iter::once(&program).chain(program.get_subcommands()) {
            write(folder, command, &program)?;
        }
        return Ok(Exit::Done);
    }
    let command = match args.command.as_deref() {
        None | Some("agent-sync") => &program,
        Some(name) => program
            .find_subcommand(name)
            .ok_or_else(|| unknown(&program))?,
    };
    super::output::say_verbatim(page(command, &program).trim_end())?;
    Ok(Exit::Done)
}

fn write(folder: &Path, command: &Command, program: &Command) -> anyhow::Result<()> {
    let file = folder.join(format!("{}.1", title(command)));
    std::fs::write(&file, page(command, program)).with_context(|| {
        let what = format!("the manual page {} cannot be written", file.display());
        Fault::new(Exit::Failed, what).remedy("see whether the directory exists and is writable")
    })
}

fn unknown(program: &Command) -> Fault {
    let names: Vec<_> = program.get_subcommands().map(Command::get_name).collect();
    Fault::usage("expected the name of a command").remedy(format!("one of {}", names.join(", ")))
}

/// The name of a page.
fn title(command: &Command) -> &str {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
}

fn page(command: &Command, program: &Command) -> String {
    let is_program = title(command) == title(program);
    let mut text = Vec::new();
    let man = Man::new(command.clone())
        .title(title(command))
        .source(format!("agent-sync {}", env!("CARGO_PKG_VERSION")))
        .manual("agent-sync");
    // Writing to a vector cannot fail.
    let _ = man.render_title(&mut text);
    let _ = man.render_name_section(&mut text);
    let mut usage = Roff::new();
    synopsis(&mut usage, command, is_program);
    let _ = usage.to_writer(&mut text);
    let _ = man.render_description_section(&mut text);
    let after = command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    let (prose, examples) = split(&after);
    let mut more = Roff::new();
    if is_program {
        commands(&mut more, program);
    } else {
        paragraphs(&mut more, prose);
    }
    let _ = more.to_writer(&mut text);
    let _ = man.render_options_section(&mut text);
    let mut last = Roff::new();
    if is_program {
        last.control("SH", ["EXIT STATUS"]);
        let rest = prose.strip_prefix("Exit codes:\n").unwrap_or(prose);
        paragraphs(&mut last, rest);
    }
    if !examples.is_empty() {
        last.control("SH", ["EXAMPLES"]);
        for line in examples.lines() {
            example(&mut last, line.trim());
        }
    }
    for (heading, items) in [("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)] {
        last.control("SH", [heading]);
        for (name, meaning) in items {
            item(&mut last, name, meaning);
        }
    }
    last.control("SH", ["BUGS"]);
    last.text([roman(BUGS)]);
    last.control("SH", ["SEE ALSO"]);
    let mut also = vec![bold("agent-sync.toml"), roman("(5)")];
    if !is_program {
        also.splice(0..0, [bold("agent-sync"), roman("(1), ")]);
    }
    last.text(also);
    let _ = last.to_writer(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn commands(page: &mut Roff, program: &Command) {
    page.control("PP", []);
    page.text([roman("The commands:")]);
    for command in program.get_subcommands() {
        item(page, &format!("{}(1)", title(command)), &about(command));
    }
}

/// The usage, with the name of each value.
fn synopsis(page: &mut Roff, command: &Command, is_program: bool) {
    page.control("SH", ["SYNOPSIS"]);
    let name = command.get_bin_name().unwrap_or_else(|| title(command));
    let mut words = vec![bold(name)];
    let value = |argument: &Arg| {
        let names = argument.get_value_names().unwrap_or_default();
        names
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let shown = |argument: &&Arg| !argument.is_hide_set();
    let options = command.get_arguments().filter(|one| !one.is_positional());
    for option in options.filter(shown) {
        let Some(long) = option.get_long() else {
            continue;
        };
        words.extend([roman(" ["), bold(format!("--{long}"))]);
        if option.get_action().takes_values() {
            words.extend([roman(" "), italic(value(option))]);
        }
        let more = if matches!(option.get_action(), ArgAction::Append) {
            "]..."
        } else {
            "]"
        };
        words.push(roman(more));
    }
    for argument in command.get_positionals().filter(shown) {
        let (begin, end) = if argument.is_required_set() {
            (" ", "")
        } else {
            (" [", "]")
        };
        words.extend([roman(begin), italic(value(argument)), roman(end)]);
        if matches!(argument.get_action(), ArgAction::Append) {
            words.push(roman("..."));
        }
    }
    if is_program {
        words.extend([roman(" "), italic("COMMAND")]);
    }
    page.text(words);
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// The text behind the options of the help, and its examples.
fn split(text: &str) -> (&str, &str) {
    for heading in ["Examples:\n", "Example:\n"] {
        if let Some((prose, examples)) = text.split_once(heading) {
            return (prose.trim(), examples);
        }
    }
    (text.trim(), "")
}

fn item(page: &mut Roff, name: &str, meaning: &str) {
    page.control("TP", []);
    page.text([bold(name)]);
    page.text([roman(meaning)]);
}

/// A command line, and below it the explanation that the help has beside it.
fn example(page: &mut Roff, line: &str) {
    let (command, explanation) = line.split_once("  ").unwrap_or((line, ""));
    page.control("PP", []);
    page.control("nf", []);
    page.text([bold(command)]);
    page.control("fi", []);
    if !explanation.is_empty() {
        page.control("RS", []);
        page.text([roman(explanation.trim_start())]);
        page.control("RE", []);
    }
}

/// Paragraphs as such, and indented lines as they are.
fn paragraphs(page: &mut Roff, text: &str) {
    let mut is_indented = false;
    page.control("PP", []);
    for line in text.lines() {
        let verbatim = line.strip_prefix("  ");
        if verbatim.is_some() != is_indented {
            is_indented = !is_indented;
            page.control(if is_indented { "nf" } else { "fi" }, []);
        }
        if line.is_empty() {
            page.control("PP", []);
        } else {
            page.text([roman(verbatim.unwrap_or(line))]);
        }
    }
    if is_indented {
        page.control("fi", []);
    }
}
