//! What was typed. What it means is decided by the verbs and by [`crate::settings`].

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Keep the databases in sync until told to stop (SIGTERM or SIGINT)
    Run(Databases),
    /// Put the capture into a database: schema agent_sync and its triggers
    Install(Install),
    /// Take everything that install made out of a database
    Uninstall(Databases),
    /// Run the mapping on one agent from standard input, without a database
    Render,
    /// Print the settings in force and where each comes from
    Config(Config),
    /// Ask the running daemon over HTTP whether it is live or ready: exits 0 for yes, 1 for no, 69 without an answer
    Probe(Probe),
    /// Watch agent-sync work on a throwaway PostgreSQL
    Demo,
}

/// Which databases a verb is about.
#[derive(Debug, Args)]
pub struct Databases {
    /// Only this database; may be repeated [default: every database of the settings]
    #[arg(long = "database", value_name = "NAME")]
    pub names: Vec<String>,
}

/// The arguments of `install`.
#[derive(Debug, Args)]
pub struct Install {
    /// Which databases to install into.
    #[command(flatten)]
    pub databases: Databases,
    /// Print the SQL for a migration tool or an SQL editor instead of running it
    #[arg(long)]
    pub print: bool,
    /// Give this role what the daemon needs and nothing more; if it does not exist, make it, without a password
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub role: Option<String>,
}

/// The arguments of `probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// live: every loop makes progress; ready: every database is served
    #[arg(value_enum)]
    pub question: Question,
    /// Where to ask [default: admin.listen of the settings; where that is every address, loopback]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// What `probe` asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Whether every loop makes progress.
    Live,
    /// Whether every database is served.
    Ready,
}

impl Question {
    /// The word that was typed.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
        }
    }

    /// Where it is answered (I8).
    pub fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
        }
    }
}

/// The arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
