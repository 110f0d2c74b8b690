//! Texts of the server that a message shows: names, and what others have written. A backtick marks
//! a command in a message, which the pages make copyable, so that of another is escaped (S10).

use std::fmt::Display;

use postgres_types::FromSql;
use tokio_postgres::row::RowIndex;
use tokio_postgres::{Error, Row};

/// The text with its backticks escaped, as `mapping::quoted` escapes them.
pub fn unmarked(text: String) -> String {
    if text.contains('`') {
        text.replace('`', r"\u0060")
    } else {
        text
    }
}

/// A text of a message, or several.
pub trait Text {
    /// The same without a mark of a command.
    #[must_use]
    fn unmarked(self) -> Self;
}

impl Text for String {
    fn unmarked(self) -> Self {
        unmarked(self)
    }
}

impl<T: Text> Text for Option<T> {
    fn unmarked(self) -> Self {
        self.map(T::unmarked)
    }
}

impl<T: Text> Text for Vec<T> {
    fn unmarked(self) -> Self {
        self.into_iter().map(T::unmarked).collect()
    }
}

/// The value of the column, for messages. `Row::try_get` is for what is no text, for what becomes
/// SQL, and for values of rows.
pub fn told<'r, T: Text + FromSql<'r>>(
    row: &'r Row,
    column: impl RowIndex + Display,
) -> Result<T, Error> {
    row.try_get(column).map(T::unmarked)
}
