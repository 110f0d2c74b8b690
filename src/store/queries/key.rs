//! The key of an agent in SQL (T5): see [`crate::key`].
//!
//! A key is one text in the parameters and in the results. The tables of agent-sync have its parts
//! in the columns `tenant` and `slug`. Without tenants the key is the slug, and every statement is
//! as if there were no tenants. Every name is qualified (`store::path`).

use crate::key::Keys;

/// A tenant as it is in a key, without a "/".
pub(in crate::store) fn escaped(tenant: &str) -> String {
    format!("pg_catalog.replace(pg_catalog.replace({tenant}, '%', '%25'), '/', '%2F')")
}

/// The key of these parts.
pub(in crate::store) fn of_parts(escaped_tenant: &str, slug: &str) -> String {
    format!("{escaped_tenant} OPERATOR(pg_catalog.||) '/' OPERATOR(pg_catalog.||) {slug}")
}

/// The tenant of a key, where keys have tenants; null for an agent without one.
fn tenant_of(key: &str) -> String {
    format!(
        "CASE WHEN NOT pg_catalog.starts_with({key}, '%/') THEN \
        pg_catalog.replace(pg_catalog.replace(pg_catalog.split_part({key}, '/', 1), '%2F', '/'), \
        '%25', '%') END"
    )
}

impl Keys {
    /// The key of a row of a table of ours. `sql/0001_schema.sql` has an index on this expression.
    pub(in crate::store) fn of_row(self, alias: &str) -> String {
        match self {
            Self::Slugs => format!("{alias}.slug"),
            Self::Tenants => {
                let tenant = format!("COALESCE({}, '%')", escaped(&format!("{alias}.tenant")));
                let key = of_parts(&tenant, &format!("{alias}.slug"));
                format!("({key})")
            }
        }
    }

    /// The columns of the key in a table of ours: their names.
    pub(in crate::store) fn names(self) -> &'static str {
        match self {
            Self::Slugs => "slug",
            Self::Tenants => "tenant, slug",
        }
    }

    /// The values of these columns of the row `alias` of such a table.
    pub(in crate::store) fn columns(self, alias: &str) -> String {
        match self {
            Self::Slugs => format!("{alias}.slug"),
            Self::Tenants => format!("{alias}.tenant, {alias}.slug"),
        }
    }

    /// The same, compared byte by byte.
    pub(super) fn exact_columns(self, alias: &str) -> String {
        let slug = format!("{alias}.slug COLLATE \"C\" AS slug");
        match self {
            Self::Slugs => slug,
            Self::Tenants => format!("{alias}.tenant COLLATE \"C\" AS tenant, {slug}"),
        }
    }

    /// The values of these columns for the key `key`.
    pub(in crate::store) fn values(self, key: &str) -> String {
        match self {
            Self::Slugs => key.to_owned(),
            Self::Tenants => format!("{}, {}", tenant_of(key), self.slug(key)),
        }
    }

    /// The slug of the key `key`.
    pub(in crate::store) fn slug(self, key: &str) -> String {
        match self {
            Self::Slugs => key.to_owned(),
            Self::Tenants => format!(
                "pg_catalog.substr({key}, pg_catalog.strpos({key}, '/') OPERATOR(pg_catalog.+) 1)"
            ),
        }
    }

    /// The tenant of the key `key`; null without tenants.
    pub(in crate::store) fn tenant(self, key: &str) -> String {
        match self {
            Self::Slugs => "NULL::pg_catalog.text".to_owned(),
            Self::Tenants => tenant_of(key),
        }
    }

    /// The columns with the key `key` for a look-up: `slug` is the key. With tenants, its parts
    /// follow, `tenant` and `bare`.
    pub(super) fn looked_up(self, key: &str) -> String {
        match self {
            Self::Slugs => format!("{key} AS slug"),
            Self::Tenants => format!(
                "{key} AS slug, {} AS tenant, {} AS bare",
                tenant_of(key),
                self.slug(key)
            ),
        }
    }

    /// The keys in the parameter `$1`, with these columns: the rows `given`.
    pub(super) fn given(self) -> String {
        let columns = self.looked_up("u.key");
        format!("(SELECT {columns} FROM unnest($1::text[]) AS u (key)) AS given")
    }

    /// The same columns of a row of a table of ours.
    pub(super) fn looked_up_of_row(self, alias: &str) -> String {
        match self {
            Self::Slugs => format!("{alias}.slug"),
            Self::Tenants => format!(
                "{} AS slug, {alias}.tenant, {alias}.slug AS bare",
                self.of_row(alias)
            ),
        }
    }

    /// The parts of the key in the columns of [`Self::looked_up`]: tenant and slug.
    pub(super) fn parts_of(self, alias: &str) -> (String, String) {
        let slug = match self {
            Self::Slugs => "slug",
            Self::Tenants => "bare",
        };
        (format!("{alias}.tenant"), format!("{alias}.{slug}"))
    }
}
