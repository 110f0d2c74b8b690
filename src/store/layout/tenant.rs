//! The column with the tenant of an agent, which is a part of the key where it is set (T5).

use super::column::Found;
use super::{Lookup, SqlColumn};
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
    kind: Kind,
}

/// How tenants are compared: in the type of the column, so that an index of it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uuid,
    Integer,
    /// As text. Of another type than text and varchar, no index of the column serves.
    Text(Lookup),
}

impl Tenant {
    /// Of this column, in which text is looked up like this.
    pub(super) fn of(found: &Found, lookup: Lookup) -> Self {
        let kind = match found.base_type.as_str() {
            "uuid" => Kind::Uuid,
            "smallint" | "integer" | "bigint" => Kind::Integer,
            _ => Kind::Text(lookup),
        };
        Self {
            column: found.column(),
            name: found.name.clone(),
            is_nullable: found.nullable,
            kind,
        }
    }

    /// Whether an index of the column serves the comparison.
    pub(super) fn can_be_indexed(&self) -> bool {
        !matches!(self.kind, Kind::Text(lookup) if lookup != Lookup::Column)
    }

    /// Whether the tenants of two columns can be compared as they are.
    pub fn is_like(&self, other: &Self) -> bool {
        self.kind == other.kind && self.kind != Kind::Text(Lookup::Text)
    }

    /// The condition that the tenant of the row `alias` is the text `tenant`. A text that is no
    /// value of the type is no tenant, and no error: it may come from anyone (I7), or from the time
    /// before the column had this type. The cast is of the text alone, so an index serves.
    pub fn is(&self, alias: &str, tenant: &str) -> String {
        let column = &self.column.name;
        match self.kind {
            Kind::Uuid => format!(
                "{alias}.{column} = CASE WHEN {tenant} ~ \
                '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN ({tenant})::uuid END"
            ),
            // A number of 19 digits may be too large for int8.
            Kind::Integer => format!(
                "{alias}.{column} = CASE WHEN {tenant} ~ '^-?[0-9]{{1,18}}$' THEN ({tenant})::int8 \
                WHEN {tenant} ~ '^-?[0-9]{{19}}$' THEN CASE WHEN ({tenant})::numeric BETWEEN \
                -9223372036854775808 AND 9223372036854775807 THEN ({tenant})::int8 END END"
            ),
            Kind::Text(lookup) => format!("{} = {tenant}", lookup.sql(alias, &self.column)),
        }
    }

    /// The tenant of the row `alias` as text. Every name is qualified.
    pub fn text(&self, alias: &str) -> String {
        format!("{alias}.{}::pg_catalog.text", self.column.name)
    }

    /// The same, escaped as in a key; null where there is none.
    pub(super) fn escaped(&self, alias: &str) -> String {
        match self.kind {
            Kind::Uuid | Kind::Integer => self.text(alias),
            Kind::Text(_) => key::escaped(&self.text(alias)),
        }
    }

    /// The text of a tenant as the server writes it, if it is a value of the type.
    pub fn canonical(&self, tenant: &str) -> Option<String> {
        match self.kind {
            Kind::Uuid => {
                let digits: String = tenant
                    .chars()
                    .filter(|c| !matches!(c, '-' | '{' | '}'))
                    .map(|c| c.to_ascii_lowercase())
                    .collect();
                let is_uuid =
                    digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let part = |from, to| digits.get(from..to).unwrap_or_default();
                is_uuid.then(|| {
                    let parts = [
                        part(0, 8),
                        part(8, 12),
                        part(12, 16),
                        part(16, 20),
                        part(20, 32),
                    ];
                    parts.join("-")
                })
            }
            Kind::Integer => tenant
                .trim()
                .parse::<i64>()
                .ok()
                .map(|number| number.to_string()),
            Kind::Text(_) => Some(tenant.to_owned()),
        }
    }

    /// Whether it is compared as text, so that a tenant may have a "/" in it.
    pub fn is_text(&self) -> bool {
        matches!(self.kind, Kind::Text(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(kind: Kind) -> Tenant {
        let column = SqlColumn {
            name: "\"t\"".to_owned(),
            sql_type: String::new(),
            cast: String::new(),
        };
        Tenant {
            column,
            name: "t".to_owned(),
            is_nullable: false,
            kind,
        }
    }

    #[test]
    fn a_tenant_is_written_as_the_server_writes_it() {
        let id = "0b1f2c3d-0000-4000-8000-00000000abcd";
        let uuid = tenant(Kind::Uuid);
        for written in [
            id,
            "0B1F2C3D-0000-4000-8000-00000000ABCD",
            "{0b1f2c3d0000400080000000 0000abcd}"
                .replace(' ', "")
                .as_str(),
        ] {
            assert_eq!(uuid.canonical(written).as_deref(), Some(id));
        }
        assert_eq!(uuid.canonical("acme"), None);
        let integer = tenant(Kind::Integer);
        assert_eq!(integer.canonical(" 007").as_deref(), Some("7"));
        assert_eq!(integer.canonical("1.0"), None);
        let text = tenant(Kind::Text(Lookup::Column));
        assert_eq!(text.canonical("A/b").as_deref(), Some("A/b"));
    }
}
