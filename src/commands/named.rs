//! The agents that the command line names: by slugs, where tenants are set also as `tenant/slug`,
//! and by a tenant. A value may be written in any way that its type takes.

use crate::exit::Fault;
use crate::settings::Database;
use crate::store::Layout;
use crate::store::surveyed::Named;

/// The named agents of one database: in which way they are named, and the names; None for every
/// agent.
pub(super) fn named(
    database: &Database,
    layout: &Layout,
    slugs: &[&str],
    tenant: Option<&str>,
) -> anyhow::Result<(Option<Named>, Vec<String>)> {
    let Some(given) = tenant else {
        let names: Vec<_> = slugs
            .iter()
            .flat_map(|name| layout.agents.names(name))
            .collect();
        let way = if names.iter().any(|name| name.contains('/')) {
            Named::Names
        } else {
            Named::Slugs
        };
        return Ok(((!slugs.is_empty()).then_some(way), names));
    };
    // A text that is no value of the type is the tenant of no agent.
    let tenant = self::tenant(database, layout, given)?;
    if slugs.is_empty() {
        return Ok((Some(Named::Tenant), tenant.into_iter().collect()));
    }
    let keys = tenant.iter().flat_map(|tenant| {
        let written = slugs.iter().flat_map(|slug| layout.agents.slugs(slug));
        written.map(|slug| layout.keys().text(Some(tenant), &slug))
    });
    Ok((Some(Named::Keys), keys.collect()))
}

/// A tenant from the command line as the server writes it; None if no agent can have it. An error
/// where no tenants are set.
pub(super) fn tenant(
    database: &Database,
    layout: &Layout,
    tenant: &str,
) -> anyhow::Result<Option<String>> {
    if let Some(column) = &layout.agents.tenant {
        return Ok(column.canonical(tenant));
    }
    let what = format!(
        "database {}: --tenant names a tenant, and none are set there",
        database.name
    );
    let remedy = "leave out --tenant, or set agents.columns.tenant and \
        configurations.columns.tenant for this database";
    Err(Fault::usage(what).remedy(remedy).into())
}
