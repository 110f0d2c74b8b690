//! The connection string: any text, by way of `DATABASE_URL`.
//!
//! An input of one line is the string. One of three is a user, a password and the rest, and the
//! string is the URL that somebody makes of them who does not know that special characters have to
//! be encoded.
//!
//! What must hold (G11): an error tells nothing of the string, but the path of a certificate that
//! cannot be read; and of a string that is taken, the password is never told: not by what
//! `agent-sync config` prints, and not by the words for where a connection leads.

use std::ffi::OsString;

use agent_sync::settings::{Settings, Sources};
use tokio_postgres::config::Host;

use super::SECRET;

/// The target.
pub fn dsn(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let lines: Vec<_> = text.split('\n').collect();
    match *lines {
        [user, password, rest] => {
            let is_secret =
                password.contains(SECRET) && !user.contains(SECRET) && !rest.contains(SECRET);
            let told = told(&format!("postgres://{user}:{password}@{rest}"));
            // Whatever the password looks like, it does not become a part of the address.
            assert!(!is_secret || !told.contains(SECRET), "G11: {told}");
        }
        _ => drop(told(text)),
    }
}

/// Everything that is told of a connection string.
fn told(url: &str) -> String {
    let environment = [(OsString::from("DATABASE_URL"), OsString::from(url))];
    match Settings::load_from(&Sources::new(None, None, environment)) {
        Err(error) => {
            // The path of a certificate is told when the file cannot be read, unless it looks like
            // a connection string itself.
            let mut error = error;
            error.problems.retain(|problem| {
                let path = problem.what.strip_prefix("cannot read ");
                path.is_none_or(|path| path.contains("://") || path.contains("password="))
            });
            let told = format!("{error} {error:?}");
            assert!(!told.contains(SECRET), "G11: {told}");
            told
        }
        Ok(loaded) => {
            let Some(database) = loaded.settings.databases.get("default") else {
                return String::new();
            };
            let config = database.connect_config();
            let told = format!("{loaded:?} {}", database.target());
            let hosts = config.get_hosts().iter().any(|host| match host {
                Host::Tcp(name) => name.contains(SECRET),
                Host::Unix(path) => path.to_string_lossy().contains(SECRET),
            });
            let open = [
                config.get_user(),
                config.get_dbname(),
                config.get_options(),
                config.get_application_name(),
            ];
            if !hosts && !open.into_iter().flatten().any(|open| open.contains(SECRET)) {
                assert!(!told.contains(SECRET), "G11: {told}");
            }
            told
        }
    }
}
