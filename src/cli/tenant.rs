//! The tenant of a command.

use clap::Args;

/// The tenant of a command.
#[derive(Debug, Clone, Args)]
pub struct OfTenant {
    /// Only agents of this tenant, where agents.columns.tenant is set [default: every tenant]
    #[arg(long, value_name = "TENANT", allow_hyphen_values = true)]
    pub tenant: Option<String>,
}
