//! `man`: the manual page, one for all verbs, made of the same words as the help.

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::Cli;
use crate::exit::Exit;

/// Prints the page: the program, then each verb with its options and examples.
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
    let mut verbs = Roff::new();
    verbs.control("SH", ["VERBS"]);
    verbs.to_writer(page)?;
    for verb in command
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help")
    {
        self::verb(verb).to_writer(page)?;
    }
    program.render_extra_section(page)?;
    program.render_version_section(page)
}

/// One verb: how it is called, what it does, its own options, and examples.
fn verb(verb: &Command) -> Roff {
    let mut text = Roff::new();
    let usage = verb.clone().render_usage().to_string();
    text.control("SS", [verb.get_name()]);
    text.text([bold(usage.trim_start_matches("Usage: "))]);
    text.control("PP", []);
    text.text([roman(format!("{}.", verb.get_about().unwrap_or_default()))]);
    for argument in verb
        .get_arguments()
        .filter(|argument| !argument.is_global_set() && argument.get_id() != "help")
    {
        text.control("TP", []);
        text.text([bold(argument.to_string())]);
        text.text([roman(argument.get_help().unwrap_or_default().to_string())]);
    }
    if let Some(more) = verb.get_after_help() {
        text.control("PP", []);
        text.control("nf", []);
        text.text([roman(more.to_string())]);
        text.control("fi", []);
    }
    text
}
