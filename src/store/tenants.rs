//! The tenants of the two tables, for a command that names one. Read-only.

use super::MayRead;
use super::layout::Layout;
use super::queries::shown;

/// Whether an agent or a configuration has the tenant `$1`; nothing where no tenants are set.
pub fn exists(layout: &Layout, _: MayRead) -> Option<String> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let (of_agent, of_configuration) = (agents.tenant.as_ref()?, configurations.tenant.as_ref()?);
    Some(format!(
        "SELECT EXISTS (SELECT FROM {} a WHERE {})
             OR EXISTS (SELECT FROM {} c WHERE {})",
        agents.table,
        of_agent.is("a", "$1::text"),
        configurations.table,
        of_configuration.is("c", "$1::text"),
    ))
}

/// The first `$1` tenants of agents, of those with at most `$2` characters; nothing where no
/// tenants are set.
pub fn some(layout: &Layout, _: MayRead) -> Option<String> {
    let tenant = layout.agents.tenant.as_ref()?.text("a");
    Some(format!(
        "SELECT {} FROM (
             SELECT DISTINCT {tenant} AS tenant FROM {} a WHERE length({tenant}) <= $2::int4
             LIMIT $1::int8) AS t",
        shown("t.tenant"),
        layout.agents.table,
    ))
}
