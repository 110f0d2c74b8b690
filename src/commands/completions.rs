//! `completions SHELL`: prints the completion script of a shell.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use clap::builder::PossibleValue;

use crate::cli::{Cli, Completions};
use crate::exit::Exit;

/// Prints the completion script to standard output.
pub fn completions(args: &Completions) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "agent-sync", &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if args.shell == clap_complete::Shell::Bash {
        // In the labels of the subcommands clap_complete reads the hyphen of the program's name as
        // a separator; in the variable that is compared with the labels it does not.
        text = text.replace("agent__subcmd__sync", "agent__sync");
    }
    if args.shell == clap_complete::Shell::Fish {
        text.push_str(&values_in_fish());
    }
    super::output::say_verbatim(text.trim_end())?;
    Ok(Exit::Done)
}

/// The values of arguments without a name, which `clap_complete` leaves out for fish.
fn values_in_fish() -> String {
    let mut lines = String::new();
    for command in Cli::command().get_subcommands() {
        for argument in command.get_positionals() {
            let values = argument.get_possible_values();
            let values: Vec<_> = values.iter().map(PossibleValue::get_name).collect();
            if !values.is_empty() {
                let (name, values) = (command.get_name(), values.join(" "));
                // Writing to a string cannot fail.
                let _ = writeln!(
                    lines,
                    "complete -c agent-sync -n \"__fish_agent_sync_using_subcommand {name}\" -f \
                    -a \"{values}\""
                );
            }
        }
    }
    lines
}
