//! The column with the tenant of an agent, which is a part of the key where it is set (T5).

use super::SqlColumn;
use super::column::Found;
use super::lookup::Lookup;
use crate::store::queries::key;

/// The column with the tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// The column.
    pub column: SqlColumn,
    /// Its name, not quoted.
    pub(super) name: String,
    /// Whether a row may have no tenant. Such a row has no key: NULL matches no tenant.
    pub is_nullable: bool,
    lookup: Lookup,
}

impl Tenant {
    /// Of this column, in which text is looked up like this.
    pub(super) fn of(found: &Found, lookup: Lookup) -> Self {
        Self {
            column: found.column(),
            name: found.name.clone(),
            is_nullable: found.nullable,
            lookup,
        }
    }

    /// Whether an index of the column serves the comparison.
    pub(super) fn can_be_indexed(&self) -> bool {
        self.lookup.can_be_indexed()
    }

    /// Whether the tenants of two columns can be compared as they are.
    pub fn is_like(&self, other: &Self) -> bool {
        self.lookup == other.lookup && self.lookup != Lookup::Text
    }

    /// The condition that the tenant of the row `alias` is the text `tenant`.
    pub fn is(&self, alias: &str, tenant: &str) -> String {
        self.lookup.is(alias, &self.column, tenant)
    }

    /// The tenant of the row `alias` as text. Every name is qualified.
    pub fn text(&self, alias: &str) -> String {
        // A collation may not be able to replace a part of a text.
        format!(
            "({alias}.{}::pg_catalog.text COLLATE pg_catalog.\"C\")",
            self.column.name
        )
    }

    /// The same, escaped as in a key; null where there is none.
    pub(super) fn escaped(&self, alias: &str) -> String {
        let text = self.text(alias);
        if self.is_text() {
            key::escaped(&text)
        } else {
            text
        }
    }

    /// The text of a tenant as the server writes it, if it is a value of the type.
    pub fn canonical(&self, tenant: &str) -> Option<String> {
        self.lookup.canonical(tenant)
    }

    /// Whether it is compared as text, so that a tenant may have a "/" in it.
    pub fn is_text(&self) -> bool {
        self.lookup.is_text()
    }
}
