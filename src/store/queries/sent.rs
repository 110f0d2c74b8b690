//! Keys on their way out of the server, where it converts text: a database whose encoding is
//! neither UTF-8 nor `SQL_ASCII`. And long keys.
//!
//! A character without an equal in UTF-8 ends the statement that sends it. One that comes back as
//! another is not found again, and may be that of another agent (G13). So a key leaves the server
//! only through these two. Elsewhere they change nothing: see [`SENT`].

use super::LONGEST_SLUG;
use crate::pg::SENT;

/// The text, or null if it does not survive.
pub(in crate::store) fn sent(text: &str) -> String {
    format!("{SENT}{text})")
}

/// The text for a reader: with the bytes in octal if it does not survive.
pub(in crate::store) fn shown(text: &str) -> String {
    format!(
        "COALESCE({}, pg_catalog.encode(pg_catalog.convert_to({text}, \
        pg_catalog.getdatabaseencoding()), 'escape'))",
        sent(text)
    )
}

/// The key, or the beginning of one that is longer than any slug may be.
pub(in crate::store) fn beginning(key: &str) -> String {
    format!("CASE WHEN octet_length({key}) > {LONGEST_SLUG} THEN left({key}, 200) ELSE {key} END")
}
