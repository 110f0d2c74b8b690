//! Loads the settings: puts the sources over one another, makes typed settings of the result, and
//! reports every mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Settings;
use super::connection::{Connection, connection, database_url, implied_by_url};
use super::dsn;
use super::effective::{Entry, entries};
use super::env::Environment;
use super::exposed::Exposed;
use super::file;
use super::layers::{DEFAULT, Layer, Values, variable};
use super::problem::{Problem, SettingsError, is_withheld, shown};
use super::secrets::SecretFiles;
use super::sections::Database;

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
    /// Remarks for the reader: that `DATABASE_URL` is set and not used.
    pub notes: Vec<String>,
    /// The files with a secret that others can read or change.
    pub exposed: Vec<Exposed>,
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
    let mut problems = Vec::new();
    let mut layers = files(sources, &mut problems);
    layers.push(sources.env.layer());
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for layer in &mut layers {
        problems.append(&mut layer.problems);
        for (name, origin) in &layer.databases {
            names.entry(name.clone()).or_insert_with(|| origin.clone());
        }
    }
    if problems.iter().any(|problem| problem.key.is_empty()) {
        // A source is unreadable, so a key that seems to be missing may stand in it.
        return Err(SettingsError { problems });
    }
    let mut given = Values::merged(layers.iter().map(|layer| &layer.values));
    let note = database_url(&sources.env, &mut names, &mut given, &mut problems);

    // A key with a problem is not missing.
    let reported: BTreeSet<_> = problems.iter().map(|problem| problem.key.clone()).collect();
    let mut connections = BTreeMap::new();
    let mut implied = Layer::default();
    for (name, origin) in &names {
        if let Some(found) = connection(name, origin, &given, &reported, &mut problems) {
            let layer = implied_by_url(name, &found, &given);
            implied.values = Values::merged([&implied.values, &layer.values]);
            implied.problems.extend(layer.problems);
            connections.insert(name.clone(), found);
        }
    }
    problems.append(&mut implied.problems);

    let values = Values::merged([
        &Values::defaults(&names.keys().collect::<Vec<_>>()),
        &implied.values,
        &given,
    ]);
    let settings = typed(&values, &given, &names, &connections, &mut problems);
    refuse_shared(&values, &connections, &mut problems);
    let Some(settings) = settings.filter(|_| problems.is_empty()) else {
        return Err(SettingsError { problems });
    };
    Ok(Loaded {
        entries: entries(&values, &settings, &connections),
        exposed: exposed(&values, &connections),
        notes: note.into_iter().collect(),
        settings,
    })
}

/// The layers of the settings file and of its drop-ins.
fn files(sources: &Sources, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let credentials = sources.env.get("CREDENTIALS_DIRECTORY").map(Path::new);
    let main = match (&sources.file, &sources.default_file) {
        (Some((path, named_by)), _) if is_withheld(&path.to_string_lossy()) => {
            let found = shown(&path.to_string_lossy());
            let expected = "the path of the settings file";
            let problem = Problem::mismatch("", named_by, expected, found);
            let remedy = "a connection string goes into DATABASE_URL, or into the file";
            problems.push(problem.remedy(remedy));
            return layers;
        }
        (Some((path, named_by)), _) => {
            let mut layer = file::read(path, credentials);
            let place = path.display().to_string();
            for problem in &mut layer.problems {
                // A file that cannot be read has no lines; the place that names it helps instead.
                if problem.key.is_empty() && problem.source == place {
                    problem.source = format!("{place} ({named_by})");
                }
            }
            layers.push(layer);
            path
        }
        (None, Some(path)) => {
            // If its existence is unknown, the attempt to read it says why.
            if path.try_exists().unwrap_or(true) {
                layers.push(file::read(path, credentials));
            }
            path
        }
        (None, None) => return layers,
    };
    let (paths, problem) = file::drop_ins(main);
    problems.extend(problem);
    layers.extend(paths.iter().map(|path| file::read(path, credentials)));
    layers
}

/// The typed settings. `given` has the values of the sources alone.
fn typed(
    values: &Values,
    given: &Values,
    names: &BTreeMap<String, String>,
    connections: &BTreeMap<String, Connection>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let global = values.select(|key| (!key.starts_with("databases.")).then_some(key));
    let mut settings: Settings = global.deserialize(problems)?;
    let (sync, reconnect) = (&settings.sync, &settings.reconnect);
    check_order(
        sync.lock_timeout < sync.statement_timeout,
        ["sync.lock_timeout", "sync.statement_timeout"],
        ["shorter", "longer"],
        values,
        problems,
    );
    check_order(
        reconnect.initial_delay <= reconnect.max_delay,
        ["reconnect.initial_delay", "reconnect.max_delay"],
        ["no longer", "no shorter"],
        values,
        problems,
    );
    for (name, connection) in connections {
        let origin = names.get(name).map_or(DEFAULT, String::as_str);
        let secrets = SecretFiles::of(name, origin, given);
        let database = Database::build(name, values, connection, secrets, problems);
        let entry = database.map(|database| (name.clone(), database));
        settings.databases.extend(entry);
    }
    Some(settings)
}

/// Reports two durations in the wrong order. `relations` has the required relation of the first to
/// the second, and of the second to the first.
fn check_order(
    fits: bool,
    keys: [&str; 2],
    relations: [&str; 2],
    values: &Values,
    problems: &mut Vec<Problem>,
) {
    // After a refused value its default is in force, which is no mistake.
    if fits || problems.iter().any(|problem| keys.contains(&&*problem.key)) {
        return;
    }
    // The message points at the one that a source sets.
    let at = usize::from(values.origin(keys[0]) == DEFAULT);
    let (key, other) = (keys[at], keys[1 - at]);
    let expected = format!(
        "a duration {} than {other} ({})",
        relations[at],
        values.text(other).unwrap_or_default()
    );
    let found = format!("{:?}", values.text(key).unwrap_or_default());
    let problem = Problem::mismatch(key, values.origin(key), expected, found);
    problems.push(problem.remedy("change one of the two"));
}

/// Reports databases that lead to one database: each install has one owner.
fn refuse_shared(
    values: &Values,
    connections: &BTreeMap<String, Connection>,
    problems: &mut Vec<Problem>,
) {
    let key = |name: &str| {
        let url = format!("databases.{name}.url");
        match values.get(&url) {
            Some(_) => url,
            None => format!("{url}_file"),
        }
    };
    for (index, (name, connection)) in connections.iter().enumerate() {
        let is_same = |(_, other): &(&String, &Connection)| {
            dsn::is_same_database(&connection.dsn.config, &other.dsn.config)
        };
        if let Some((other, first)) = connections.iter().take(index).find(is_same) {
            let found = format!(
                "the server and the database of {} ({})",
                key(other),
                first.source
            );
            let expected = "a database of its own";
            let problem = Problem::mismatch(key(name), &connection.source, expected, found);
            problems.push(problem.remedy(
                "the two would share one install, and each would take changes of the other: keep \
                one entry for each database",
            ));
        }
    }
}

/// The files that others can read or change: files with a secret, and settings files with a
/// password in a URL.
fn exposed(values: &Values, connections: &BTreeMap<String, Connection>) -> Vec<Exposed> {
    let mut exposed = Vec::new();
    for (name, connection) in connections {
        let key = |key: &str| format!("databases.{name}.{key}");
        let secrets = [key("url_file"), key("password_file")];
        let mut files: Vec<_> = secrets.iter().filter_map(|key| values.text(key)).collect();
        if connection.dsn.config.get_password().is_some() && values.get(&key("url")).is_some() {
            // The origin is a line of a file, or a variable.
            let line = connection.source.rsplit_once(':');
            let line = line.filter(|(_, line)| line.parse::<u32>().is_ok());
            files.extend(line.map(|(file, _)| file));
        }
        let found = files
            .into_iter()
            .filter_map(|file| Exposed::of(name, Path::new(file)));
        exposed.extend(found);
    }
    exposed
}
