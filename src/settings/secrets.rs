//! Secrets in files, read again before each connection (G15): a rotated password needs neither a
//! reload nor a restart.
//!
//! A database whose URL is in a file is built again from the new URL and the values of the sources,
//! by the code that loads settings. A database with a file for its password alone takes the new
//! password.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::connection::{connection, implied_by_url};
use super::database::read_secret;
use super::layers::Values;
use super::problem::{Problem, SettingsError};
use super::sections::Database;

/// The files with the secrets of a database, and the values to build it again.
#[derive(Clone)]
pub(super) struct SecretFiles {
    name: String,
    /// The place that first names the database.
    origin: String,
    /// The file of the URL.
    url: Option<PathBuf>,
    /// The file of the password.
    password: Option<PathBuf>,
    /// The values of the sources for this database. They hold no URL; without a file for the URL,
    /// there are none.
    given: Arc<Values>,
}

impl SecretFiles {
    /// The files of a database; none if it has no such files.
    pub(super) fn of(name: &str, origin: &str, sources: &Values) -> Option<Self> {
        let section = format!("databases.{name}.");
        let file = |key: &str| sources.text(&format!("{section}{key}")).map(PathBuf::from);
        let (url, password) = (file("url_file"), file("password_file"));
        if url.is_none() && password.is_none() {
            return None;
        }
        let given = match url {
            Some(_) => sources.select(|key| key.starts_with(&section).then_some(key)),
            None => Values::default(),
        };
        Some(Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            url,
            password,
            given: Arc::new(given),
        })
    }

    /// Whether the password comes from a file, with a URL or by itself.
    pub(super) fn hold_the_password(&self) -> bool {
        self.url.is_some() || self.password.is_some()
    }

    /// The database with the current content of its files. Blocks on the files.
    pub(super) fn read(&self, database: &Database) -> Result<Database, SettingsError> {
        let mut problems = Vec::new();
        let built = match (&self.url, &self.password) {
            (Some(_), _) => self.rebuild(&mut problems),
            (None, Some(file)) => {
                let key = format!("databases.{}.password_file", self.name);
                let password = read_secret(file, &key, &self.origin);
                let built = password.map(|password| database.with_password(&password));
                built.map_err(|problem| problems.push(problem)).ok()
            }
            (None, None) => Some(database.clone()),
        };
        built
            .filter(|_| problems.is_empty())
            .ok_or(SettingsError { problems })
    }

    fn rebuild(&self, problems: &mut Vec<Problem>) -> Option<Database> {
        let name = &self.name;
        let found = connection(name, &self.origin, &self.given, &BTreeSet::new(), problems)?;
        let mut implied = implied_by_url(name, &found, &self.given);
        problems.append(&mut implied.problems);
        let defaults = Values::defaults(&[name]);
        let values = Values::merged([&defaults, &implied.values, &self.given]);
        Database::build(name, &values, &found, Some(self.clone()), problems)
    }
}

/// Equal if the same files are read, and the same database is built of them. Lines of the settings
/// file may differ.
impl PartialEq for SecretFiles {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.url == other.url
            && self.password == other.password
            && self.given.equal(&other.given)
    }
}

impl Eq for SecretFiles {}

// The values repeat the settings.
impl fmt::Debug for SecretFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, password, .. } = self;
        f.debug_struct("SecretFiles")
            .field("url", url)
            .field("password", password)
            .finish_non_exhaustive()
    }
}
