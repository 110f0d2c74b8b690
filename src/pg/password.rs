//! The passwords of a database, to mask them in the texts of its server (G11): a server that gets a
//! password in the clear can put it into an error.
//!
//! The texts of a server are masked with the passwords of its own database and with no others.
//! Otherwise the owner of a table could find the password of another database: guesses in the name
//! of a constraint, and the masked one is right.
//!
//! The last two passwords of each database are known: its server has seen the former one before a
//! rotation.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

/// The fewest characters of a password that is masked: a shorter one stands in every other word.
const SHORTEST: usize = 4;

/// The replacement.
const MASK: &str = "********";

/// The passwords of one database: what a text of its server may be masked with.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<[SecretString]>);

impl Secrets {
    /// The length of the longest one, in bytes.
    pub fn longest(&self) -> usize {
        // The longest one stands first.
        self.0
            .first()
            .map_or(0, |secret| secret.expose_secret().len())
    }

    /// The text without the passwords.
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for password in self.0.iter().map(SecretString::expose_secret) {
            if shown.contains(password) {
                shown = shown.replace(password, MASK).into();
            }
        }
        shown
    }
}

/// The present passwords of each database of the settings, one for each of its hosts, and the
/// former ones.
static KNOWN: Mutex<BTreeMap<String, [Vec<SecretString>; 2]>> = Mutex::new(BTreeMap::new());

/// Notes the passwords of a connection to this database of the settings. Gives those, and the
/// former ones.
pub fn know<'a>(database: &str, passwords: impl IntoIterator<Item = &'a [u8]>) -> Secrets {
    let is_long = |password: &&str| password.chars().count() >= SHORTEST;
    // No text has one that is no UTF-8.
    let passwords = passwords.into_iter().map(str::from_utf8);
    let passwords: Vec<&str> = passwords.flatten().filter(is_long).collect();
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let [present, former] = known.entry(database.to_owned()).or_default();
    if !passwords
        .iter()
        .copied()
        .eq(present.iter().map(SecretString::expose_secret))
    {
        *former = std::mem::take(present);
        *present = passwords.into_iter().map(SecretString::from).collect();
    }
    let mut each: Vec<SecretString> = present.iter().chain(&*former).cloned().collect();
    // Where one is a part of another, the longer one is masked first.
    each.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
    Secrets(each.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<'a>(passwords: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        passwords.iter().map(|password| password.as_bytes())
    }

    #[test]
    fn g11_the_last_passwords_of_a_database_are_masked() {
        let mut secrets = Secrets::default();
        for passwords in [
            &["first-one"][..],
            &["second-one", "second"],
            &["third-one", "abc", "pässwörd"],
            &["third-one", "abc", "pässwörd"],
        ] {
            secrets = know("rotated", bytes(passwords));
        }
        assert_eq!(secrets.longest(), "second-one".len());
        for (text, shown) in [
            ("", ""),
            ("abc is no password", "abc is no password"),
            ("first-one is forgotten", "first-one is forgotten"),
            ("second-onethird-one", "****************"),
            ("it is 'pässwörd', pässwörd", "it is '********', ********"),
        ] {
            assert_eq!(secrets.masked(text), shown);
        }
        let none = know("bytes", [&b"\xff\xfe\xfd\xfc"[..]]);
        assert_eq!(
            (none.longest(), &*none.masked("third-one")),
            (0, "third-one")
        );
    }

    /// The masked parts of the texts of one server say nothing about the password of another one.
    #[test]
    fn g11_a_server_learns_nothing_of_the_passwords_of_others() {
        let own = know("owned", bytes(&["own-password"]));
        know("strange", bytes(&["Sommer2026"]));
        let guesses = "Winter2025Sommer2026own-password";
        assert_eq!(own.masked(guesses), "Winter2025Sommer2026********");
    }
}
