//! The arguments of `probe`.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

/// The arguments of `probe`.
#[derive(Debug, Args)]
pub struct Probe {
    /// live: the task of every database makes progress; ready: every database is served
    #[arg(value_enum, hide_possible_values = true)]
    pub question: Question,
    /// Ask at this address instead; an unspecified address means loopback
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// The question of `probe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Question {
    /// Whether the task of every database makes progress.
    Live,
    /// Whether every database is served.
    Ready,
}

impl Question {
    /// Its name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ready => "ready",
        }
    }

    /// The path of its answer (I8).
    pub fn path(self) -> &'static str {
        match self {
            Self::Live => "/livez",
            Self::Ready => "/readyz",
        }
    }
}
