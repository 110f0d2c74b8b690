//! The key of an agent (T5): its slug, or, where tenants are set, its tenant and its slug.
//!
//! Inside the program, and in the parameters of its queries, a key is one text. Without tenants it
//! is the slug. With tenants it is the escaped tenant, a `/` and the slug; `%` alone in the place
//! of the tenant stands for an agent without one. An escaped tenant has `%25` for `%` and `%2F` for
//! `/`, so no two keys have the same text. `store::queries::key` has the same text in SQL.

use std::borrow::Cow;

/// The part of a key that stands for "no tenant".
const NONE: &str = "%";

/// Whether keys have a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// The slug identifies an agent.
    Slugs,
    /// Tenant and slug do.
    Tenants,
}

/// The parts of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key<'a> {
    /// The tenant; `None` where no tenants are set, and for an agent without one.
    pub tenant: Option<Cow<'a, str>>,
    /// The slug.
    pub slug: &'a str,
}

impl Keys {
    /// With tenants or without.
    pub fn with_tenants(has_tenants: bool) -> Self {
        if has_tenants {
            Self::Tenants
        } else {
            Self::Slugs
        }
    }

    /// Whether keys have a tenant.
    pub fn have_tenants(self) -> bool {
        self == Self::Tenants
    }

    /// The parts of the key with this text.
    pub fn parts(self, key: &str) -> Key<'_> {
        let (tenant, slug) = match (self, key.split_once('/')) {
            (Self::Tenants, Some((NONE, slug))) => (None, slug),
            (Self::Tenants, Some((tenant, slug))) => (Some(unescaped(tenant)), slug),
            (Self::Slugs, _) | (Self::Tenants, None) => (None, key),
        };
        Key { tenant, slug }
    }

    /// The text of a key.
    pub fn text(self, tenant: Option<&str>, slug: &str) -> String {
        match self {
            Self::Slugs => slug.to_owned(),
            Self::Tenants => {
                let tenant = tenant.map_or(Cow::Borrowed(NONE), escaped);
                format!("{tenant}/{slug}")
            }
        }
    }
}

impl Key<'_> {
    /// Whether it has an empty tenant and an empty slug. By such a row of the outbox,
    /// `sql/attach.sql` wakes the daemon.
    pub fn is_empty(&self) -> bool {
        self.slug.is_empty() && self.tenant.as_deref() == Some("")
    }

    /// The key as a notification names it: `tenant/slug`, or the slug.
    pub fn plain(&self) -> Cow<'_, str> {
        match &self.tenant {
            Some(tenant) => format!("{tenant}/{}", self.slug).into(),
            None => self.slug.into(),
        }
    }
}

fn escaped(tenant: &str) -> Cow<'_, str> {
    if tenant.contains(['%', '/']) {
        tenant.replace('%', "%25").replace('/', "%2F").into()
    } else {
        tenant.into()
    }
}

fn unescaped(tenant: &str) -> Cow<'_, str> {
    if tenant.contains('%') {
        tenant.replace("%2F", "/").replace("%25", "%").into()
    } else {
        tenant.into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn t5_no_two_keys_have_the_same_text() {
        let texts = [
            "", "/", "%", "%/", "/%", "a", "a/b", "%2F", "%25", "%252F", "a%b/c", "é/日",
        ];
        let tenants = texts.iter().map(|text| Some(*text)).chain([None]);
        let mut seen = BTreeSet::new();
        for tenant in tenants {
            for slug in texts {
                let text = Keys::Tenants.text(tenant, slug);
                assert!(seen.insert(text.clone()), "{text}");
                let parts = Keys::Tenants.parts(&text);
                assert_eq!((parts.tenant.as_deref(), parts.slug), (tenant, slug));
            }
        }
    }

    #[test]
    fn a_key_without_tenants_is_the_slug() {
        for slug in ["a", "a/b", "%/a"] {
            assert_eq!(Keys::Slugs.text(None, slug), slug);
            let parts = Keys::Slugs.parts(slug);
            assert_eq!((parts.tenant, parts.slug), (None, slug));
        }
    }

    #[test]
    fn a_notification_names_tenant_and_slug_as_they_are() {
        assert_eq!(Keys::Tenants.parts("a%2Fb/c").plain(), "a/b/c");
        assert_eq!(Keys::Tenants.parts("%/c").plain(), "c");
        assert_eq!(Keys::Slugs.parts("a/c").plain(), "a/c");
    }
}
