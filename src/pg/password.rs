//! The passwords of the connections, to mask them in the texts of their servers (G11): a server
//! that gets a password in the clear can put it into an error.
//!
//! The last two passwords of each database are known: an open connection has the former one after
//! a rotation.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret as _, SecretString};

/// The fewest characters of a password that is masked: a shorter one stands in every other word.
const SHORTEST: usize = 4;

/// The replacement.
const MASK: &str = "********";

/// The passwords of each database, the latest first.
static KNOWN: Mutex<BTreeMap<String, Vec<SecretString>>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<String, Vec<SecretString>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes the password of a connection to this database of the settings.
pub fn know(database: &str, password: &[u8]) {
    let Ok(password) = str::from_utf8(password) else {
        // No text has it.
        return;
    };
    if password.chars().count() < SHORTEST {
        return;
    }
    let mut known = known();
    let of_database = known.entry(database.to_owned()).or_default();
    of_database.retain(|before| before.expose_secret() != password);
    of_database.insert(0, password.into());
    of_database.truncate(2);
}

/// The text of a server without the passwords.
pub(super) fn masked(text: &str) -> Cow<'_, str> {
    let mut shown = Cow::Borrowed(text);
    for password in known().values().flatten() {
        if shown.contains(password.expose_secret()) {
            shown = shown.replace(password.expose_secret(), MASK).into();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g11_the_known_passwords_are_masked_and_no_others() {
        know("short", b"abc");
        know("bytes", b"\xff\xfe\xfd\xfc");
        for password in ["first-one", "second-one", "third-one", "third-one"] {
            know("rotated", password.as_bytes());
        }
        know("other", "pässwörd".as_bytes());
        for (text, shown) in [
            ("", ""),
            ("abc is no password", "abc is no password"),
            ("first-one is forgotten", "first-one is forgotten"),
            ("second-onethird-one", "****************"),
            ("it is 'pässwörd', pässwörd", "it is '********', ********"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
