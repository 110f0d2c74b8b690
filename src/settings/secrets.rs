//! Secrets in files, read again before each connection (G15): a rotated password needs no reload
//! and no restart.
//!
//! A database whose URL is in a file is made anew as a whole, by the code that loads settings, from
//! what the sources say about it and the new URL. A database with a file for its password alone
//! takes the new password.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use config::{Value, ValueKind};
use secrecy::ExposeSecret as _;

use super::connection::{connection, implied_by_url};
use super::database::{Database, RawDatabase, read_secret};
use super::layer::Layer;
use super::merged::{Merged, read};
use super::problem::SettingsError;

/// Where the secrets of a database are, and what it takes to make the database anew.
#[derive(Clone)]
pub(super) struct SecretFiles {
    name: String,
    /// Where the database is first named.
    origin: String,
    /// The file of the URL.
    url: Option<PathBuf>,
    /// The file of the password.
    password: Option<PathBuf>,
    /// What the sources say about this database, without any URL.
    given: Arc<Layer>,
}

impl SecretFiles {
    /// Those of a database, out of the merged sources; none where there is nothing to read again.
    pub(super) fn of(name: &str, origin: &str, sources: &Merged) -> Option<Self> {
        let file = |key: &str| {
            sources
                .text(&format!("databases.{name}.{key}"))
                .map(PathBuf::from)
        };
        let (url, password) = (file("url_file"), file("password_file"));
        if url.is_none() && password.is_none() {
            return None;
        }
        let given = sources.get(&format!("databases.{name}")).cloned();
        let given = Arc::new(Layer::of_database(name, given.filter(|_| url.is_some())));
        Some(Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            url,
            password,
            given,
        })
    }

    /// Whether the password comes from a file, with a URL or by itself.
    pub(super) fn hold_the_password(&self) -> bool {
        self.url.is_some() || self.password.is_some()
    }

    /// The database as its files say now. Blocks on the files.
    pub(super) fn read(&self, database: &Database) -> Result<Database, SettingsError> {
        let mut problems = Vec::new();
        let made = match (&self.url, &self.password) {
            (Some(_), _) => self.rebuild(&mut problems),
            (None, Some(file)) => match read_secret(file, &self.key("password_file"), &self.origin)
            {
                Ok(password) => Some(database.with_password(password.expose_secret())),
                Err(problem) => {
                    problems.push(problem);
                    None
                }
            },
            (None, None) => Some(database.clone()),
        };
        made.filter(|_| problems.is_empty())
            .ok_or(SettingsError { problems })
    }

    fn key(&self, key: &str) -> String {
        format!("databases.{}.{key}", self.name)
    }

    fn rebuild(&self, problems: &mut Vec<super::Problem>) -> Option<Database> {
        let name = &self.name;
        let mut implied = Layer::defaults([name]);
        let first = Merged::of([&implied, &*self.given].into_iter());
        let found = connection(name, &self.origin, &first, &BTreeSet::new(), problems)?;
        implied_by_url(name, &found, &first, &mut implied);
        problems.append(&mut implied.problems);
        let merged = Merged::of([&implied, &*self.given].into_iter());
        let raw: RawDatabase = read(merged.get(&format!("databases.{name}"))?, problems)?;
        let origin = |key: &str| merged.origin(&format!("databases.{name}.{key}"));
        let files = Some(self.clone());
        Database::build(name, raw, found.dsn.config, files, &origin, problems)
    }
}

/// Equal where the same files are read and the same is made of them. Lines of the settings file may
/// have moved.
impl PartialEq for SecretFiles {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.url == other.url
            && self.password == other.password
            && self.given.same_values(&other.given)
    }
}

impl Eq for SecretFiles {}

// The layer holds no secret; it is left out because it repeats the settings.
impl fmt::Debug for SecretFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, password, .. } = self;
        f.debug_struct("SecretFiles")
            .field("url", url)
            .field("password", password)
            .finish_non_exhaustive()
    }
}

/// Whether two values are the same, wherever they come from.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (&one.kind, &other.kind) {
        (ValueKind::Table(one), ValueKind::Table(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}
