//! The connection string: any text, through `DATABASE_URL`.
//!
//! An input of one line is the string. An input of three lines is a user, a password and the rest,
//! and the string is the URL of a user who does not percent-encode special characters.
//!
//! Promises (G11): an error contains no part of the string except the path of an unreadable
//! certificate; and the password of an accepted string appears neither in the output of `agent-sync
//! config` nor in the description of the target.

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
            let printed = printed(&format!("postgres://{user}:{password}@{rest}"));
            // No password becomes a part of the address.
            assert!(!is_secret || !printed.contains(SECRET), "G11: {printed}");
        }
        _ => drop(printed(text)),
    }
}

/// All output about a connection string.
fn printed(url: &str) -> String {
    let environment = [(OsString::from("DATABASE_URL"), OsString::from(url))];
    match Settings::load_from(&Sources::new(None, None, environment)) {
        Err(error) => {
            // An error contains the path of an unreadable certificate, unless it looks like a
            // connection string itself.
            let mut error = error;
            error.mistakes.retain(|mistake| {
                let path = mistake.what.strip_prefix("cannot read ");
                path.is_none_or(|path| path.contains("://") || path.contains("password="))
            });
            let printed = format!("{error} {error:?}");
            assert!(!printed.contains(SECRET), "G11: {printed}");
            printed
        }
        Ok(loaded) => {
            let Some(database) = loaded.settings.databases.get("default") else {
                return String::new();
            };
            let config = database.connect_config();
            let printed = format!("{loaded:?} {}", database.target());
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
                assert!(!printed.contains(SECRET), "G11: {printed}");
            }
            printed
        }
    }
}
