//! What was typed. What it means is decided by the verbs and by [`crate::settings`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Keeps `agent_configurations` in step with `agents`, in every PostgreSQL database it is told of.
#[derive(Debug, Parser)]
#[allow(clippy::doc_markdown, reason = "these comments are printed as help")]
#[command(name = "agent-sync", version, max_term_width = 100)]
pub struct Cli {
    /// The settings file [default: $AGENT_SYNC_CONFIG, else /etc/agent-sync/agent-sync.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs, one file each in `src/verbs/`.
#[derive(Debug, Subcommand)]
#[allow(clippy::doc_markdown, reason = "these comments are printed as help")]
pub enum Verb {
    /// Run the mapping on one agent from standard input, without a database
    Render,
    /// Print the settings in force and where each comes from
    Config(Config),
}

/// The arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
