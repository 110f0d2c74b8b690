//! The arguments of `reconcile`.

use std::path::PathBuf;

use clap::Args;

use super::{OfTenant, Reporting};

/// The arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct Reconcile {
    /// These agents
    #[arg(value_name = "SLUG", conflicts_with = "all")]
    pub slugs: Vec<String>,
    /// Every agent
    #[arg(long)]
    pub all: bool,
    /// Only the first N agents of each database that differ
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: Option<u64>,
    /// Also the agents with the slugs in FILE, one a line, or tenant/slug where
    /// agents.columns.tenant is set; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "all")]
    pub slugs_from: Option<PathBuf>,
    /// The tenant.
    #[command(flatten)]
    pub tenant: OfTenant,
    /// Only show the differences, like check
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation, whatever the number of configurations
    #[arg(long)]
    pub yes: bool,
    /// The databases, and the form of the output.
    #[command(flatten)]
    pub reporting: Reporting,
}
