//! The password file of libpq, `~/.pgpass`: a line `host:port:database:user:password` for each
//! server. PostgreSQL's manual describes it under The Password File.
//!
//! Invariant: no text of the file is part of a message.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use secrecy::SecretString;

use crate::settings::bounded;
use crate::settings::mistake::shown;

/// The host of the directories in which servers have their sockets by default, as the file names
/// it.
const LOCALHOST: &str = "localhost";

/// A server, a database and a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// The host, else its address, else the directory of the socket.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) database: String,
    pub(crate) user: String,
}

/// The passwords of these servers; or the reason why the file is not used, which libpq ignores as
/// well. A file that does not exist has no passwords.
pub(crate) fn passwords(
    file: &Path,
    logins: &[Login],
) -> Result<Vec<Option<SecretString>>, String> {
    let none = || vec![None; logins.len()];
    let named = file.display();
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(none()),
        Err(error) => return Err(format!("cannot read {named}: {error}")),
    };
    let mode = metadata.mode() & 0o777;
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(format!(
            "expected a password file that only its owner can read in {named}, found mode \
            {mode:04o}; chmod 0600 {}",
            shown(&named.to_string())
        ));
    }
    let bytes = bounded::read(file, bounded::LONGEST)
        .map_err(|error| format!("cannot read {named}: {error}"))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{named} is not UTF-8"))?;
    Ok(logins.iter().map(|login| find(&text, login)).collect())
}

/// The password of the first line that matches.
fn find(text: &str, login: &Login) -> Option<SecretString> {
    let port = login.port.to_string();
    let host = &*login.host;
    let is_default = super::SOCKETS.contains(&host) || host == "/run/postgresql";
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let rest = after(line, &login.host)
                .or_else(|| is_default.then(|| after(line, LOCALHOST)).flatten())?;
            let rest = after(rest, &port)?;
            let rest = after(rest, &login.database)?;
            Some(unescaped(after(rest, &login.user)?))
        })
        // To libpq, an empty password is none.
        .filter(|password| !password.is_empty())
        .map(Into::into)
}

/// The rest of a line behind its first field, if that field is `*` or this text. A backslash
/// escapes a colon or a backslash.
fn after<'a>(line: &'a str, text: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (mut expected, mut found) = (text.chars(), line.chars());
    loop {
        let c = match found.next()? {
            ':' => return expected.next().is_none().then_some(found.as_str()),
            '\\' => found.next()?,
            c => c,
        };
        if expected.next() != Some(c) {
            return None;
        }
    }
}

/// The last field, up to a colon, without the backslashes.
fn unescaped(field: &str) -> String {
    let mut text = String::new();
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => break,
            '\\' => text.push(chars.next().unwrap_or(c)),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn password(text: &str, host: &str) -> Option<String> {
        let login = Login {
            host: host.to_owned(),
            port: 5432,
            database: "plat:form".to_owned(),
            user: "ad\\a".to_owned(),
        };
        find(text, &login).map(|password| password.expose_secret().to_owned())
    }

    #[test]
    fn the_first_line_that_matches_has_the_password() {
        const REST: &str = r"5432:plat\:form:ad\\a";
        for (text, host, expected) in [
            (format!("db:{REST}:pw"), "db", Some("pw")),
            (format!("db:{REST}:pw\r\n"), "db", Some("pw")),
            (format!("*:{REST}:pw"), "db", Some("pw")),
            ("*:*:*:*:pw".to_owned(), "db", Some("pw")),
            (format!("#db:{REST}:no\ndb:{REST}:pw"), "db", Some("pw")),
            (
                format!("db2:{REST}:no\ndb:{REST}:pw\n*:*:*:*:no"),
                "db",
                Some("pw"),
            ),
            // The whole field has to match, and `*` alone is the wildcard.
            (format!("d:{REST}:no"), "db", None),
            (format!("dbx:{REST}:no"), "db", None),
            (format!("d*:{REST}:no"), "db", None),
            (format!(r"\*:{REST}:no"), "db", None),
            (format!(r"\*:{REST}:pw"), "*", Some("pw")),
            ("db:5433:*:*:no".to_owned(), "db", None),
            ("db:5432:plat:form:no".to_owned(), "db", None),
            ("db:5432:*:other:no".to_owned(), "db", None),
            // Escapes in the password, and what follows it.
            (format!(r"db:{REST}:a\:b\\c\d"), "db", Some(r"a:b\cd")),
            (format!("db:{REST}:pw:more"), "db", Some("pw")),
            (format!("db:{REST}:"), "db", None),
            (format!("db:{REST}"), "db", None),
            ("::::".to_owned(), "db", None),
            (String::new(), "db", None),
            // Sockets and addresses.
            (
                format!("localhost:{REST}:pw"),
                "/var/run/postgresql",
                Some("pw"),
            ),
            (format!("localhost:{REST}:no"), "/srv/sockets", None),
            (
                format!("/srv/sockets:{REST}:pw"),
                "/srv/sockets",
                Some("pw"),
            ),
            (format!("localhost:{REST}:no"), "127.0.0.1", None),
            (format!(r"\:\:1:{REST}:pw"), "::1", Some("pw")),
        ] {
            assert_eq!(password(&text, host).as_deref(), expected, "{text} {host}");
        }
    }
}
