//! The names of agents in a request (I7) and on a command line: a slug, or, where tenants are set,
//! `tenant/slug`. A value may be written in any way that its type takes.

use super::{Agents, Configurations, SqlColumn, Tenant, exact_slug};

impl Agents {
    /// The key of the row `alias` as a request names it: `tenant/slug`, null for an agent without
    /// tenant.
    pub fn plain_key(&self, alias: &str) -> String {
        plain_key(alias, self.tenant.as_ref(), &self.slug)
    }

    /// The texts by which a name of agents finds them, of a request or on a command line: a slug,
    /// or, where tenants are set, also `tenant/slug`; as it is, and as the server writes these
    /// values.
    pub fn names(&self, name: &str) -> Vec<String> {
        let mut names = self.slugs(name);
        if let Some(tenant) = &self.tenant {
            // A tenant or a slug of another type than text has no "/". Between two texts, any "/"
            // may be the end of the tenant, and neither is written otherwise.
            let parts = if tenant.is_text() {
                name.rsplit_once('/')
            } else {
                name.split_once('/')
            };
            names.extend(parts.and_then(|(of, slug)| {
                let (of, slug) = (tenant.canonical(of)?, self.lookup.canonical(slug)?);
                Some(format!("{of}/{slug}"))
            }));
        }
        names.dedup();
        names
    }

    /// The keys that these names stand for: with tenants, any "/" may be the end of the tenant.
    pub fn keys_of(&self, names: &[String]) -> Vec<String> {
        let keys = self.keys();
        if !keys.have_tenants() {
            return names.to_vec();
        }
        let divided = names.iter().flat_map(|name| {
            name.match_indices('/')
                .map(move |(at, _)| keys.text(Some(&name[..at]), &name[at + 1..]))
        });
        divided.collect()
    }

    /// A slug as it is given, and as the server writes it.
    pub fn slugs(&self, slug: &str) -> Vec<String> {
        let mut slugs = vec![slug.to_owned()];
        slugs.extend(self.lookup.canonical(slug));
        slugs.dedup();
        slugs
    }
}

impl Configurations {
    /// The key of the agent that the row `alias` is for, as a request names it: `tenant/slug`, null
    /// for a row without tenant.
    pub fn plain_key(&self, alias: &str) -> String {
        plain_key(alias, self.tenant.as_ref(), &self.agent_slug)
    }
}

/// A key as a request names it.
fn plain_key(alias: &str, tenant: Option<&Tenant>, slug: &SqlColumn) -> String {
    let slug = exact_slug(alias, slug);
    match tenant {
        Some(tenant) => format!("(({} || '/' || {slug}) COLLATE \"C\")", tenant.text(alias)),
        None => slug,
    }
}
