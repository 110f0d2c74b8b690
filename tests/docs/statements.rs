//! The SQL that agent-sync tells an operator to run: the statements in remedies, hints and
//! documents are accepted by PostgreSQL's parser.

use std::path::Path;

use super::code::{files, literals};
use crate::support::Platform;

/// The first words of statements.
const KEYWORDS: [&str; 21] = [
    "ALTER", "ANALYZE", "CALL", "CLUSTER", "COMMENT", "COMMIT", "CREATE", "DELETE", "DROP",
    "GRANT", "INSERT", "LISTEN", "NOTIFY", "REASSIGN", "REINDEX", "REVOKE", "ROLLBACK", "SELECT",
    "TRUNCATE", "UPDATE", "VACUUM",
];

/// The statements in a text: each begins with a keyword, at the beginning of the text or behind
/// punctuation, and ends at a semicolon.
fn statements(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = beginning(rest) {
        let statement = &rest[begin..];
        let Some(end) = end(statement) else {
            break;
        };
        found.push(statement[..end].to_owned());
        rest = &statement[end..];
    }
    found
}

/// Where the first statement of a text begins.
fn beginning(text: &str) -> Option<usize> {
    let begins = |at: &usize| {
        let before = text[..*at].trim_end();
        let is_apart = before.is_empty() || before.ends_with([':', ';', '(', '.', '`', ',']);
        let word = text[*at..].split([' ', ';']).next().unwrap_or_default();
        is_apart && KEYWORDS.contains(&word)
    };
    text.char_indices().map(|(at, _)| at).find(begins)
}

/// Where a statement ends: at the first semicolon outside of quotes.
fn end(statement: &str) -> Option<usize> {
    let mut quotes = 0;
    statement.char_indices().find_map(|(at, letter)| {
        quotes += usize::from(letter == '\'');
        (letter == ';' && quotes % 2 == 0).then_some(at)
    })
}

/// What stands in place of the values that the program or the reader fills in.
const FILLED_IN: [(&str, &str); 10] = [
    ("PREPARED …", "PREPARED 'x'"),
    ("INDEX…", "INDEX"),
    ("FOR …", "FOR SELECT"),
    ("(true)…", "(true)"),
    ("%L", "'x'"),
    ("%1$I", "x"),
    ("%I", "x"),
    ("%s", "x"),
    ("...", "x"),
    ("…", "x"),
];

fn filled_in(statement: &str) -> String {
    let text = statement.to_owned();
    FILLED_IN
        .iter()
        .fold(text, |text, (value, name)| text.replace(value, name))
}

/// The texts of an SQL file: its string literals, those that follow each other joined.
fn texts(sql: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    let (mut is_inside, mut letters) = (false, sql.chars().peekable());
    while let Some(letter) = letters.next() {
        let text = texts.last_mut().unwrap();
        match letter {
            '\'' if is_inside && letters.next_if_eq(&'\'').is_some() => text.push('\''),
            '\'' => is_inside = !is_inside,
            _ if is_inside => text.push(letter),
            '-' if letters.peek() == Some(&'-') => drop(letters.find(|letter| *letter == '\n')),
            _ if !letter.is_whitespace() && !text.is_empty() => texts.push(String::new()),
            _ => {}
        }
    }
    texts
}

/// The SQL blocks of a document, and the statements within its lines.
fn blocks(document: &str) -> Vec<String> {
    let blocks = document.split("```sql\n").skip(1);
    let within = document.split('`').skip(1).step_by(2).flat_map(statements);
    blocks
        .filter_map(|block| block.split("```").next())
        .map(str::to_owned)
        .chain(within)
        .collect()
}

/// The files of a folder with this extension.
fn documents(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        &mut found,
    );
    found.retain(|file| file.extension().is_some_and(|found| found == extension));
    assert!(!found.is_empty(), "{folder}");
    found
        .iter()
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect()
}

/// PostgreSQL parses a whole query string before it runs the first statement of it.
#[tokio::test]
async fn every_statement_for_an_operator_is_valid_sql() {
    let code = documents("src", "rs");
    let remedies: Vec<String> = code
        .iter()
        .flat_map(|file| literals(file.parse().unwrap()))
        .filter(|text| !text.contains('\n')) // A query of agent-sync itself.
        .flat_map(|text| statements(&text))
        .collect();
    let hints: Vec<String> = documents("sql", "sql")
        .iter()
        .flat_map(|file| texts(file))
        .flat_map(|text| statements(&text))
        .collect();
    let blocks: Vec<String> = documents("docs", "md")
        .iter()
        .flat_map(|file| blocks(file))
        .collect();
    for found in [&remedies, &hints, &blocks] {
        assert!(found.len() > 2, "{found:?}");
    }
    let platform = Platform::new().await;
    let mut invalid = Vec::new();
    for statement in remedies.iter().chain(&hints).chain(&blocks) {
        let query = format!("SELECT 1/0; {}", filled_in(statement));
        let error = platform.client.batch_execute(&query).await.unwrap_err();
        if error.code().map(tokio_postgres::error::SqlState::code) != Some("22012") {
            invalid.push(format!("{statement}: {error:?}"));
        }
    }
    assert!(invalid.is_empty(), "{}", invalid.join("\n"));
}
