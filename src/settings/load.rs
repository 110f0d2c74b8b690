//! Loads the settings: puts the sources over one another, makes typed settings of the result, and
//! reports every mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Settings;
use super::channel;
use super::connection::{Connection, database_url};
use super::database::Described;
use super::effective::{Entry, entries, named_files};
use super::env::Environment;
use super::exposed::Exposed;
use super::file;
use super::layers::{DEFAULT, Layer, Values, variable};
use super::libpq::LibpqSources;
use super::mistake::{Mistake, SettingsError, is_withheld, line_of, shown};
use super::sections::Database;
use super::shared;

/// The settings file if no other is named. It may be missing.
const DEFAULT_FILE: &str = "/etc/agent-sync/agent-sync.toml";

/// The sources of settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<(PathBuf, String)>,
    default_file: Option<PathBuf>,
    env: Environment,
}

impl Sources {
    /// The file is `config`, else `$AGENT_SYNC_CONFIG`, else `default_file` if it exists.
    pub fn new(
        config: Option<&Path>,
        default_file: Option<&Path>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let env = Environment::new(env);
        let file = match (config, env.get("AGENT_SYNC_CONFIG")) {
            (Some(path), _) => Some((path.to_owned(), "--config".to_owned())),
            (None, Some(path)) => Some((path.into(), variable("AGENT_SYNC_CONFIG"))),
            (None, None) => None,
        };
        Self {
            file,
            default_file: default_file.map(Path::to_owned),
            env,
        }
    }

    /// The settings file, if one is named or the usual one exists.
    fn main_file(&self) -> Option<&Path> {
        let named = self.file.as_ref().map(|(path, _)| path);
        let usual = self.default_file.as_ref().filter(|path| path.exists());
        named.or(usual).map(PathBuf::as_path)
    }

    /// The sources of this process.
    pub fn of_process(config: Option<&Path>) -> Self {
        Self::new(config, Some(Path::new(DEFAULT_FILE)), std::env::vars_os())
    }
}

/// Valid settings, and the source of each.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every value in force, in the order of the schema, databases by name; secrets are masked.
    pub entries: Vec<Entry>,
    /// That `DATABASE_URL` is set and not used, because other databases are configured.
    pub unused_url: Option<String>,
    /// Remarks on parameters of connections that have no effect.
    pub notes: Vec<String>,
    /// The files with a secret that others can read or change.
    pub exposed: Vec<Exposed>,
    /// The settings file, if there is one. The directory `databases.d` is beside it.
    pub file: Option<PathBuf>,
    /// The files that settings name.
    pub named_files: Vec<PathBuf>,
}

impl Loaded {
    /// Each of those files once, even if several databases have secrets in it.
    pub fn exposed_files(&self) -> Vec<&Exposed> {
        let mut seen = BTreeSet::new();
        self.exposed
            .iter()
            .filter(|exposed| seen.insert(&exposed.file))
            .collect()
    }
}

/// Loads settings, or reports all mistakes at once.
pub(super) fn load(sources: &Sources) -> Result<Loaded, SettingsError> {
    let mut layer = Layer::default();
    read_files(sources, &mut layer);
    sources.env.read(&mut layer);
    if layer.mistakes.iter().any(|mistake| mistake.key.is_empty()) {
        // A source is unreadable, so a key that seems to be missing may stand in it.
        let mistakes = layer.mistakes;
        return Err(SettingsError { mistakes });
    }
    let is_on = layer.values.get("libpq.environment") != Some(&false.into());
    let mut libpq = LibpqSources::of(&sources.env, is_on, &mut layer.mistakes);
    let unused_url = database_url(&sources.env, &mut layer);
    libpq.define(&mut layer);
    let libpq = Arc::new(libpq);

    let Layer {
        values: given,
        databases: names,
        mut mistakes,
    } = layer;
    let mut described = BTreeMap::new();
    for (name, origin) in names {
        let section = format!("databases.{name}.");
        let own = given.below(&section);
        let found = Described::read(&name, &origin, &own, &libpq, &mut mistakes);
        described.extend(found.map(|found| (name, found)));
    }
    let defaults = Values::defaults(None);
    let of_databases = described.values().map(|database| &database.values);
    let values = Values::merged([&defaults, &given].into_iter().chain(of_databases));
    let mut settings = typed(&values, &described, &mut mistakes);
    if let Some(settings) = &mut settings {
        settings.file = sources
            .main_file()
            .or(sources.default_file.as_deref())
            .map(Path::to_owned);
    }
    shared::refuse(&described, &mut mistakes);
    let Some(settings) = settings.filter(|_| mistakes.is_empty()) else {
        return Err(SettingsError { mistakes });
    };
    Ok(Loaded {
        entries: entries(&values, &described),
        exposed: exposed(sources, &values, &described),
        notes: notes(&libpq, &described),
        file: sources.main_file().map(Path::to_owned),
        named_files: named_files(&values, &described),
        unused_url,
        settings,
    })
}

/// Reads the settings file and its drop-ins.
fn read_files(sources: &Sources, layer: &mut Layer) {
    let credentials = sources.env.get("CREDENTIALS_DIRECTORY").map(Path::new);
    let main = match (&sources.file, &sources.default_file) {
        (Some((path, named_by)), _) if is_withheld(&path.to_string_lossy()) => {
            let found = shown(&path.to_string_lossy());
            let expected = "the path of the settings file";
            let mistake = Mistake::mismatch("", named_by, expected, found);
            let remedy = "a connection string goes into DATABASE_URL, or into the file";
            return layer.mistakes.push(mistake.remedy(remedy));
        }
        (Some((path, named_by)), _) => {
            file::read(path, Some(named_by), credentials, layer);
            path
        }
        (None, Some(path)) => {
            // If its existence is unknown, the attempt to read it says why.
            if path.try_exists().unwrap_or(true) {
                file::read(path, None, credentials, layer);
            }
            path
        }
        (None, None) => return,
    };
    match file::drop_ins(main) {
        Ok(paths) => {
            for path in paths {
                file::read(&path, None, credentials, layer);
            }
        }
        Err(mistake) => layer.mistakes.push(mistake),
    }
}

/// The typed settings.
fn typed(
    values: &Values,
    described: &BTreeMap<String, Described>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Settings> {
    let global = values.select(|key| (!key.starts_with("databases.")).then_some(key));
    let mut settings: Settings = global.deserialize(mistakes)?;
    let (sync, reconnect) = (&settings.sync, &settings.reconnect);
    let orders = [
        (
            sync.lock_timeout < sync.statement_timeout,
            ["sync.lock_timeout", "sync.statement_timeout"],
            ["shorter", "longer"],
        ),
        (
            reconnect.initial_delay <= reconnect.max_delay,
            ["reconnect.initial_delay", "reconnect.max_delay"],
            ["no longer", "no shorter"],
        ),
    ];
    for (is_kept, keys, relations) in orders {
        // After a refused value its default is in force, which is no mistake.
        if is_kept || mistakes.iter().any(|mistake| keys.contains(&&*mistake.key)) {
            continue;
        }
        // The message points at the one that a source sets.
        let at = usize::from(values.origin(keys[0]) == DEFAULT);
        let (key, other, relation) = (keys[at], keys[1 - at], relations[at]);
        let [found, value] = [key, other].map(|key| values.text(key).unwrap_or_default());
        let expected = format!("a duration {relation} than {other} ({value})");
        let mistake = Mistake::mismatch(key, values.origin(key), expected, format!("{found:?}"));
        mistakes.push(mistake.remedy("change one of the two"));
    }
    channel::refuse(
        settings.announce.channel.as_deref(),
        values,
        described,
        mistakes,
    );
    for (name, described) in described {
        if let Some(database) = &described.database {
            settings.databases.insert(name.clone(), database.clone());
        }
    }
    Some(settings)
}

/// The remarks on the connections of all databases.
fn notes(libpq: &LibpqSources, described: &BTreeMap<String, Described>) -> Vec<String> {
    let databases = described
        .values()
        .filter_map(|described| described.database.as_ref());
    let unused = databases.filter_map(|database| database.access.unused_passfile.as_ref());
    let unused = unused.map(|reason| format!("the password file is not used: {reason}"));
    let connections = described.values().map(|database| &database.connection);
    let mut seen = BTreeSet::new();
    connections
        .flat_map(Connection::notes)
        .chain(unused)
        .chain(libpq.notes())
        .filter(|note| seen.insert(note.clone()))
        .collect()
}

/// The files that others can read or change: files with a secret, settings files with a password in
/// a URL; and the other files of the settings that every user can change.
fn exposed(
    sources: &Sources,
    values: &Values,
    described: &BTreeMap<String, Described>,
) -> Vec<Exposed> {
    let mut exposed = Vec::new();
    let mut of_settings: Vec<_> = sources
        .main_file()
        .map(Path::to_owned)
        .into_iter()
        .collect();
    if let Some(main) = sources.main_file() {
        of_settings.push(file::drop_in_directory(main));
        of_settings.extend(file::drop_ins(main).unwrap_or_default());
    }
    of_settings.extend(named_files(values, described));
    for (name, described) in described {
        let Described { connection, .. } = described;
        let key = |key: &str| format!("databases.{name}.{key}");
        let secrets = [key("url_file"), key("password_file"), key("tls_key")];
        let mut files: Vec<_> = secrets.iter().filter_map(|key| values.text(key)).collect();
        // The origin is a line of a file, a variable, or a file that counts already.
        let line = connection.password_origin().and_then(line_of);
        files.extend(line.map(|(file, _)| file));
        let files = files.into_iter().map(Path::new);
        exposed.extend(files.filter_map(|file| Exposed::of(name, file)));
        let passfile = described
            .database
            .as_ref()
            .and_then(Database::passfile_in_use);
        exposed.extend(passfile.and_then(|file| Exposed::of(name, file)));
        let others = of_settings
            .iter()
            .filter_map(|file| Exposed::without_secret(name, file));
        for other in others {
            if exposed
                .iter()
                .all(|known: &Exposed| known.file != other.file)
            {
                exposed.push(other);
            }
        }
    }
    exposed
}
