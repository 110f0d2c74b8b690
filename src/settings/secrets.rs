//! Secrets in files, read again before each connection (G15): a rotated password needs neither a
//! reload nor a restart.
//!
//! A database whose URL is in a file, or whose parameters are in a service file, is built again
//! from the new ones and the values of the sources, by the code that loads settings. A database
//! with a file for its password alone takes the new password.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::bounded;
use super::database::Described;
use super::dsn::Dsn;
use super::layers::Values;
use super::libpq::LibpqSources;
use super::mistake::{Mistake, SettingsError, remedy_of_unreadable};
use super::sections::Database;

/// The most bytes of a file with a secret.
const LONGEST: u64 = 64 * 1024;

/// Reads a secret from its file, without the line feed that editors and shells put at its end.
pub(super) fn read_secret(file: &Path, key: &str, source: &str) -> Result<SecretString, Mistake> {
    let named = file.display();
    let mut remedy = "name a file that holds nothing but the secret";
    let reason = match bounded::read(file, LONGEST).map(String::from_utf8) {
        Ok(Ok(text)) => {
            let line = text.strip_suffix('\n');
            let text = line.map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
            if !text.is_empty() {
                return Ok(text.into());
            }
            format!("{named} is empty")
        }
        Ok(Err(_)) => format!("{named} is not UTF-8"),
        Err(error) => {
            remedy = remedy_of_unreadable(&error, remedy);
            format!("cannot read {named}: {error}")
        }
    };
    Err(Mistake::new(key, source, reason).remedy(remedy))
}

/// The files with the secrets of a database, and the values to build it again.
#[derive(Debug, Clone)]
pub(super) struct SecretFiles {
    name: String,
    /// The place that first names the database.
    origin: String,
    /// The file of the URL.
    url: Option<PathBuf>,
    /// The file of the password.
    password: Option<PathBuf>,
    /// The password file of libpq.
    pub(super) passfile: Option<PathBuf>,
    /// Whether parameters come from a service file.
    has_service: bool,
    /// The values of the sources for this database. Without a file for the URL and without a
    /// service there are none.
    given: Arc<Values>,
    libpq: Arc<LibpqSources>,
}

impl SecretFiles {
    /// The files of a database; none if it has no such files. `given` has the values of the sources
    /// for the database.
    pub(super) fn of(
        name: &str,
        origin: &str,
        given: &Values,
        libpq: &Arc<LibpqSources>,
        dsn: &Dsn,
    ) -> Option<Self> {
        let file = |key| {
            given
                .text(&format!("databases.{name}.{key}"))
                .map(PathBuf::from)
        };
        let (url, password) = (file("url_file"), file("password_file"));
        let has_command = given
            .get(&format!("databases.{name}.password_command"))
            .is_some();
        let passfile = dsn.passfile.clone();
        let passfile = passfile.filter(|_| password.is_none() && !has_command);
        let has_service = dsn.has_service;
        let is_built_again = url.is_some() || has_service;
        let given = if is_built_again {
            given.clone()
        } else {
            Values::default()
        };
        (is_built_again || password.is_some() || passfile.is_some()).then(|| Self {
            name: name.to_owned(),
            origin: origin.to_owned(),
            url,
            password,
            passfile,
            has_service,
            given: Arc::new(given),
            libpq: Arc::clone(libpq),
        })
    }

    /// The database with the current content of its files. Blocks on the files.
    pub(super) fn read(&self, database: &Database) -> Result<Database, SettingsError> {
        let mut mistakes = Vec::new();
        let built = match (&self.password, &self.passfile) {
            (Some(file), _) if !self.is_built_again() => {
                let key = format!("databases.{}.password_file", self.name);
                let password = read_secret(file, &key, &self.origin);
                let built = password.map(|password| database.with_password(&password));
                built.map_err(|mistake| mistakes.push(mistake)).ok()
            }
            (None, Some(file)) if !self.is_built_again() => Some(database.with_passfile(file)),
            _ => {
                let (name, origin, given) = (&self.name, &self.origin, &self.given);
                let described = Described::read(name, origin, given, &self.libpq, &mut mistakes);
                described.and_then(|described| described.database)
            }
        };
        built
            .filter(|_| mistakes.is_empty())
            .ok_or(SettingsError { mistakes })
    }
}

impl SecretFiles {
    /// Whether the database is built again from its sources, and not only its password replaced.
    fn is_built_again(&self) -> bool {
        self.url.is_some() || self.has_service
    }
}

/// Equal if the same files are read, and the same database is built of them. Lines of the settings
/// file may differ.
impl PartialEq for SecretFiles {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.url == other.url
            && self.password == other.password
            && self.passfile == other.passfile
            && self.has_service == other.has_service
            && self.given.equal(&other.given)
    }
}

impl Eq for SecretFiles {}
