//! The arguments of `check`.

use std::path::PathBuf;

use clap::Args;

use super::{OfTenant, Reporting};

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Only these agents [default: all]
    #[arg(value_name = "SLUG")]
    pub slugs: Vec<String>,
    /// Also list the voice settings that no rule reads, with the number of their agents
    #[arg(long)]
    pub unmapped: bool,
    /// Show instead, in groups, which fields the rules in FILE would change, compared with the
    /// rules in force; exits with 0 whatever they change
    #[arg(long, value_name = "FILE", conflicts_with = "unmapped")]
    pub rules: Option<PathBuf>,
    /// The tenant.
    #[command(flatten)]
    pub tenant: OfTenant,
    /// The databases, and the form of the output.
    #[command(flatten)]
    pub reporting: Reporting,
}
