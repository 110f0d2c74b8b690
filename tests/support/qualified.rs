//! Reads SQL for names that the search path decides.

use super::shadow;

/// The names in these statements, without comments, that have no schema. `words` may stand before a
/// parenthesis, in lower case: syntax, and aliases with columns.
pub fn unqualified(code: &str, words: &[&str]) -> Vec<String> {
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let operator = regex_lite::Regex::new(r"OPERATOR\(pg_catalog\.[^)]+\)").unwrap();
    // What follows a comma is no call.
    let code = operator.replace_all(&code, ",");
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (index, letter) in code.char_indices() {
        let (before, after) = (&code[..index], &code[index..]);
        let wrong = match letter {
            // A function call, or the columns of an alias.
            '(' => {
                let name = shadow::last_word(before.trim_end()).unwrap_or_default();
                let prefix = &before[..before.trim_end().len() - name.len()];
                !(name.is_empty()
                    || prefix.ends_with('.')
                    || words.contains(&&*name.to_lowercase()))
            }
            '=' | '<' | '>' | '+' | '/' | '~' | '|' | '&' | '%' | '@' | '#' | '?' | '-' | '*'
            | '!' | '^' => {
                let assigned = before.ends_with("\" ") && letter == '=';
                !assigned && !before.ends_with("count(")
            }
            // A cast.
            ':' if bytes.get(index + 1) == Some(&b':') => !after[2..].starts_with("pg_catalog."),
            _ => false,
        };
        if wrong {
            let excerpt = index.saturating_sub(30)..(index + 20).min(code.len());
            found.push(code[excerpt].to_owned());
        }
    }
    for word in [
        " IN ",
        " LIKE ",
        " ILIKE ",
        " SIMILAR ",
        " BETWEEN ",
        "DISTINCT FROM",
        "NULLIF",
        "CASE $",
        " USING (",
        " NATURAL ",
    ] {
        if code.contains(word) {
            found.push(word.to_owned());
        }
    }
    if code.matches("COLLATE ").count() != code.matches("COLLATE pg_catalog.").count() {
        found.push("COLLATE".to_owned());
    }
    found
}
