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

/// The SHA-256 of a text in the encoding of the database, by which the problems are looked up: an
/// index of PostgreSQL holds it, however long the text is. A writer who chooses the texts makes no
/// two with the same one, as it could of a hash index (S34). Of any bytes, a doubled backslash is
/// one byte of the result, and every other byte stays.
fn digest(text: &str) -> String {
    format!(
        "pg_catalog.sha256(pg_catalog.decode(pg_catalog.replace({text} COLLATE pg_catalog.\"C\", \
        E'\\\\', E'\\\\\\\\'), 'escape'))"
    )
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
    /// The key of a row of a table of ours.
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

    /// The condition that the row `alias` of `agent_sync.problem` has the key `key`. The indexes of
    /// `sql/0001_schema.sql` have the first digest.
    pub(in crate::store) fn is(self, alias: &str, key: &str) -> String {
        let (of_row, of_key) = (digest(&self.of_row(alias)), digest(key));
        format!("{of_row} OPERATOR(pg_catalog.=) {of_key}")
    }

    /// The condition that the row `alias` of `agent_sync.problem` has one of the keys in the
    /// parameter.
    pub(super) fn is_one_of(self, alias: &str, parameter: &str) -> String {
        let (of_row, of_key) = (digest(&self.of_row(alias)), digest("u.key"));
        format!(
            "{of_row} OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT {of_key} FROM \
            pg_catalog.unnest({parameter}::pg_catalog.text[]) AS u (key)))"
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An index serves only the expression that it has.
    #[test]
    fn the_install_has_the_same_digest() {
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let digest = words(&digest("%s"));
        for sql in [
            include_str!("../../../sql/0001_schema.sql"),
            include_str!("../../../sql/attach.sql"),
        ] {
            assert!(words(sql).contains(&digest), "{digest}");
        }
    }
}
