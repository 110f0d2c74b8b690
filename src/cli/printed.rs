//! The arguments of the commands that print a text without a database: `rules`, `config`,
//! `completions` and `man`.

use std::path::PathBuf;

use clap::Args;

/// The arguments of `rules`.
#[derive(Debug, Args)]
pub struct Rules {
    /// Print the rules that agent-sync uses without rules.file
    #[arg(long)]
    pub builtin: bool,
    /// Print the second rules file of agent-sync, with the settings that providers have today
    #[arg(long, conflicts_with = "builtin")]
    pub extended: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Print nothing, and exit with 0 if the daemon can start with these settings and rules
    #[arg(long, conflicts_with = "json")]
    pub check: bool,
}

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
    /// The settings file, which the command does not read.
    #[arg(long, value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
}

/// The arguments of `man`.
#[derive(Debug, Args)]
pub struct Manual {
    /// The command [default: the program]
    #[arg(value_name = "COMMAND")]
    pub command: Option<String>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
    pub into: Option<PathBuf>,
    /// The settings file, which the command does not read.
    #[arg(long, value_name = "FILE", hide = true)]
    pub config: Option<PathBuf>,
}
