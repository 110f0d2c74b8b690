//! The arguments of `status`, `why` and `wait`: the commands about the state of the sync.

use std::time::Duration;

use clap::Args;

use super::{OfTenant, Reporting};
use crate::settings;

/// The arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Repeat every two seconds, until interrupted
    #[arg(long)]
    pub watch: bool,
    /// Exit with 0 whatever the state of the databases is
    #[arg(long)]
    pub exit_zero: bool,
    /// The databases, and the form of the output.
    #[command(flatten)]
    pub reporting: Reporting,
}

/// The arguments of `why`.
#[derive(Debug, Args)]
pub struct Why {
    /// The agent
    #[arg(value_name = "SLUG")]
    pub slug: String,
    /// The tenant.
    #[command(flatten)]
    pub tenant: OfTenant,
    /// The databases, and the form of the output.
    #[command(flatten)]
    pub reporting: Reporting,
}

/// The arguments of `wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// Only these agents [default: all]
    #[arg(value_name = "SLUG")]
    pub slugs: Vec<String>,
    /// The longest wait, such as 30s or 5m
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "5m",
        value_parser = settings::duration_argument
    )]
    pub timeout: Duration,
    /// The tenant.
    #[command(flatten)]
    pub tenant: OfTenant,
    /// The databases, and the form of the output.
    #[command(flatten)]
    pub reporting: Reporting,
}
