//! `completions SHELL`: what a shell needs to complete the command line.

use clap::CommandFactory as _;

use crate::cli::{Cli, Completions};
use crate::exit::Exit;

/// Prints the completions.
pub fn completions(args: &Completions) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "agent-sync", &mut text);
    super::output::say(String::from_utf8_lossy(&text).trim_end())?;
    Ok(Exit::Done)
}
