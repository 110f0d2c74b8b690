//! `completions SHELL`: what a shell needs to complete the command line.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::exit::Exit;

/// Prints the completions.
pub fn completions(args: &Completions) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "agent-sync", &mut text);
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if args.shell == clap_complete::Shell::Bash {
        // clap_complete reads the hyphen of the program's name as the border of a subcommand in the
        // labels of the verbs, and not where it sets the variable that is compared with them.
        text = text.replace("agent__subcmd__sync", "agent__sync");
    }
    super::output::say_verbatim(text.trim_end())?;
    Ok(Exit::Done)
}
