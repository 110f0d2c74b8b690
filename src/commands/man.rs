//! `man`: prints one manual page for all commands, built from the texts of the help.

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::exit::Exit;

/// Prints the page: the program, then each command with its options and examples.
pub fn man() -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    command.build();
    let mut page = Vec::new();
    render(&command, &mut page).context("the manual page could not be made")?;
    super::output::say_verbatim(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Exit::Done)
}

fn render(command: &Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let program = Man::new(command.clone());
    program.render_title(page)?;
    program.render_name_section(page)?;
    program.render_synopsis_section(page)?;
    program.render_description_section(page)?;
    program.render_options_section(page)?;
    let mut heading = Roff::new();
    heading.control("SH", ["COMMANDS"]);
    heading.to_writer(page)?;
    for subcommand in command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help")
    {
        section(subcommand).to_writer(page)?;
    }
    program.render_extra_section(page)?;
    let mut files = Roff::new();
    files.control("SH", ["SEE ALSO"]);
    files.text([bold("agent-sync.toml"), roman("(5)")]);
    files.to_writer(page)?;
    program.render_version_section(page)
}

/// The section of one command: usage, purpose, options and examples.
fn section(subcommand: &Command) -> Roff {
    let mut text = Roff::new();
    let usage = subcommand.clone().render_usage().to_string();
    text.control("SS", [subcommand.get_name()]);
    text.text([bold(usage.trim_start_matches("Usage: "))]);
    text.control("PP", []);
    text.text([roman(format!(
        "{}.",
        subcommand.get_about().unwrap_or_default()
    ))]);
    for argument in subcommand
        .get_arguments()
        .filter(|argument| !argument.is_global_set() && argument.get_id() != "help")
    {
        text.control("TP", []);
        text.text([bold(argument.to_string())]);
        text.text([roman(argument.get_help().unwrap_or_default().to_string())]);
    }
    if let Some(more) = subcommand.get_after_help() {
        text.control("PP", []);
        text.control("nf", []);
        text.text([roman(more.to_string())]);
        text.control("fi", []);
    }
    text
}
