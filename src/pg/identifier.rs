//! Identifiers in SQL: the one place where names become SQL text, always quoted.

use std::fmt::{self, Display};

use postgres_protocol::escape::{escape_identifier, escape_literal};

/// A name as SQL text, in double quotes.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&escape_identifier(self.0))
    }
}

/// A name as a person writes it: without quotes where PostgreSQL needs none. For text that a person
/// reads or pastes.
pub fn plain(name: &str) -> String {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let plain = name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if starts && plain {
        name.to_owned()
    } else {
        Quoted(name).to_string()
    }
}

/// A text constant as SQL text, in single quotes, and as an escape string where it has a backslash,
/// so that it does not depend on `standard_conforming_strings`. For printed SQL, which has no
/// parameters.
#[derive(Debug, Clone, Copy)]
pub struct Literal<'a>(pub &'a str);

impl Display for Literal<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&escape_literal(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_constants_are_quoted_whatever_they_hold() {
        assert_eq!(Quoted("plain").to_string(), r#""plain""#);
        assert_eq!(Quoted(r#"we"ird; drop"#).to_string(), r#""we""ird; drop""#);
        assert_eq!(
            [plain("plain_1"), plain("1"), plain("Üb\"er")],
            ["plain_1", "\"1\"", "\"Üb\"\"er\""]
        );
        assert_eq!(Literal("it's").to_string(), "'it''s'");
        assert_eq!(Literal(r"a\'b").to_string(), r" E'a\\''b'");
    }
}
