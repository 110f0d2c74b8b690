//! `completions SHELL`: prints the completion script of a shell.

use clap::CommandFactory as _;

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
    super::output::say_verbatim(text.trim_end())?;
    Ok(Exit::Done)
}
