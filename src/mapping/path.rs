//! A place in JSON, as the rules name it: the keys that lead to a value, joined by dots.

use std::fmt;

use super::json::{self, Object};

/// The most keys of a place. It bounds the depth of every nested read and write.
pub(super) const MAX_KEYS: usize = 8;

/// A place in an object, with at least one key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    keys: Vec<String>,
}

impl Path {
    /// The place of a key of the object itself.
    pub(super) fn of(key: &str) -> Self {
        Self {
            keys: vec![key.to_owned()],
        }
    }

    /// Reads `a`, `a.b` or `a."b.c"`, where the quotes hold a key with a dot. An error says what
    /// was found instead.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.contains('.') {
            return Ok(Self::of(text));
        }
        let (mut keys, mut rest) = (Vec::new(), text);
        loop {
            let quoted = rest
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'))
                .filter(|(_, after)| after.is_empty() || after.starts_with('.'));
            let (key, after) = quoted.unwrap_or_else(|| {
                let end = rest.find('.').unwrap_or(rest.len());
                rest.split_at_checked(end).unwrap_or((rest, ""))
            });
            if key.trim().is_empty() {
                return Err("one with an empty part");
            }
            keys.push(key.to_owned());
            match after.strip_prefix('.') {
                Some(_) if keys.len() == MAX_KEYS => return Err("one of more than 8 parts"),
                Some(more) => rest = more,
                None => return Ok(Self { keys }),
            }
        }
    }

    /// The keys, from the outermost on.
    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// The outermost key.
    pub(super) fn first(&self) -> &str {
        self.keys.first().map_or("", String::as_str)
    }

    /// Whether the place is inside another object.
    pub(super) fn is_nested(&self) -> bool {
        self.keys.len() > 1
    }

    /// Whether this place is `other`, or inside it.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.keys.starts_with(&other.keys)
    }

    /// How these keys lie to the place.
    pub(super) fn relation(&self, keys: &[&str]) -> Place {
        if !self.keys.iter().zip(keys).all(|(own, key)| own == key) {
            return Place::Elsewhere;
        }
        match keys.len() {
            length if length < self.keys.len() => Place::Above,
            length if length == self.keys.len() => Place::At,
            _ => Place::Elsewhere,
        }
    }

    /// The value at the place in an object.
    pub(super) fn find<'a>(&self, object: &'a Object<'_>) -> Option<&'a str> {
        let (first, inner) = self.keys.split_first()?;
        let mut inner = inner.iter();
        inner.try_fold(object.get(first)?, |raw, key| json::member(raw, key))
    }
}

/// How the keys of a value lie to a place of the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// They do not lead to it.
    Elsewhere,
    /// They lead to an object around it.
    Above,
    /// They are the place.
    At,
}

impl fmt::Display for Path {
    /// In the notation of the rules.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, key) in self.keys.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            if key.contains('.') {
                write!(out, "{dot}\"{key}\"")?;
            } else {
                write!(out, "{dot}{key}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_in_the_same_notation() {
        for (text, keys) in [
            ("a", &["a"][..]),
            ("\"", &["\""]),
            ("a.b.c", &["a", "b", "c"]),
            ("a.\"b.c\".d", &["a", "b.c", "d"]),
            ("\"a.b\"", &["a.b"]),
        ] {
            let path = Path::parse(text).map_err(str::to_owned);
            assert_eq!(path.as_ref().map(Path::keys).unwrap_or_default(), keys);
            assert_eq!(path.map(|path| path.to_string()), Ok(text.to_owned()));
        }
        for text in [
            ".",
            "a.",
            ".a",
            "a..b",
            "a. .b",
            "a.\"\"",
            "a.b.c.d.e.f.g.h.i",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
        assert!(Path::parse("a.b.c.d.e.f.g.h").is_ok());
    }
}
