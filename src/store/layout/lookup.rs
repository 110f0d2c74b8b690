//! How rows are looked up by one column of the key.

use super::SqlColumn;

/// How a value of the key, which is text, is compared with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// By the column, so that an index of it serves.
    Column,
    /// As `uuid`, so that an index of the column serves.
    Uuid,
    /// As a number, so that an index of the column serves.
    Integer,
    /// By its text, since it is of another type.
    Text,
    /// By an expression that no index serves, because the indexes have the order of another version
    /// of the collation.
    PastIndexes,
    /// Byte for byte, since its collation takes different texts for equal, and different texts are
    /// different agents (G13).
    Bytes,
}

impl Lookup {
    /// Whether an index of the column serves the comparison.
    pub(super) fn can_be_indexed(self) -> bool {
        matches!(self, Self::Column | Self::Uuid | Self::Integer)
    }

    /// Whether a value may have any character in it.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Self::Uuid | Self::Integer)
    }

    /// The column of the row `alias` as text, as it is compared with other text.
    pub(super) fn sql(self, alias: &str, column: &SqlColumn) -> String {
        let column = &column.name;
        match self {
            Self::Column => format!("{alias}.{column}"),
            Self::Text | Self::Uuid | Self::Integer => format!("{alias}.{column}::text"),
            Self::PastIndexes => format!("(ARRAY[{alias}.{column}])[1]"),
            Self::Bytes => format!("({alias}.{column} COLLATE \"C\")"),
        }
    }

    /// The condition that the column of the row `alias` has this text as its value. A text that is
    /// no value of the type is in no row, and no error: it may come from anyone (I7), or from the
    /// time before the column had this type. Nor is one that the server would write otherwise, like
    /// `07`: it is another slug (G13), and the comparison with the text of the row, before a write,
    /// would fail. The cast is of the text alone, so an index serves.
    pub(super) fn is(self, alias: &str, column: &SqlColumn, text: &str) -> String {
        let name = &column.name;
        match self {
            Self::Uuid => format!(
                "{alias}.{name} = CASE WHEN {text} ~ \
                '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN ({text})::uuid END"
            ),
            // A number of 19 digits may be too large for int8.
            Self::Integer => format!(
                "{alias}.{name} = CASE WHEN {text} ~ '^(0|-?[1-9][0-9]{{0,17}})$' \
                THEN ({text})::int8 \
                WHEN {text} ~ '^-?[1-9][0-9]{{18}}$' THEN CASE WHEN ({text})::numeric BETWEEN \
                -9223372036854775808 AND 9223372036854775807 THEN ({text})::int8 END END"
            ),
            _ => format!("{} = {text}", self.sql(alias, column)),
        }
    }

    /// The text of a value as the server writes it, if it is a value of the type.
    pub(super) fn canonical(self, value: &str) -> Option<String> {
        match self {
            Self::Uuid => {
                let digits: String = value
                    .chars()
                    .filter(|c| !matches!(c, '-' | '{' | '}'))
                    .map(|c| c.to_ascii_lowercase())
                    .collect();
                let is_uuid =
                    digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
                let parts = parts.map(|(from, to)| digits.get(from..to).unwrap_or_default());
                is_uuid.then(|| parts.join("-"))
            }
            Self::Integer => {
                let number = value.trim().parse::<i64>().ok();
                number.map(|number| number.to_string())
            }
            _ => Some(value.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_the_server_writes_it() {
        let id = "0b1f2c3d-0000-4000-8000-00000000abcd";
        for written in [
            id,
            "0B1F2C3D-0000-4000-8000-00000000ABCD",
            "{0b1f2c3d0000400080000000 0000abcd}"
                .replace(' ', "")
                .as_str(),
        ] {
            assert_eq!(Lookup::Uuid.canonical(written).as_deref(), Some(id));
        }
        assert_eq!(Lookup::Uuid.canonical("acme"), None);
        assert_eq!(Lookup::Integer.canonical(" 007").as_deref(), Some("7"));
        assert_eq!(Lookup::Integer.canonical("1.0"), None);
        assert_eq!(Lookup::Column.canonical("A/b").as_deref(), Some("A/b"));
    }
}
