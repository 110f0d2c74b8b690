//! Puts the sources over one another and makes typed settings of the result, or reports everything
//! that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::connection::{Connection, connection, database_url, implied_by_url};
use super::database::{Database, RawDatabase};
use super::dsn;
use super::entries::{Entry, entries};
use super::env::Environment;
use super::exposed::Exposed;
use super::file;
use super::layer::{DEFAULT, Layer, variable};
use super::merged::{Merged, read};
use super::problem::{Problem, SettingsError, is_withheld, shown};
use super::secrets::SecretFiles;
use super::{
    Admin, Announce, Capture, History, Log, Reconcile, Reconnect, Rules, Settings, Shutdown, Sync,
};

/// The settings file that is read when none is named and this one exists.
const DEFAULT_FILE: &str = "/etc/agent-sync/agent-sync.toml";

/// Where settings are looked for.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    file: Option<(PathBuf, String)>,
    default_file: Option<PathBuf>,
    env: Environment,
}

impl Sources {
    /// Of this environment: the file is `config`, else `$AGENT_SYNC_CONFIG`, else `default_file`
    /// when it exists.
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

    /// Of this process.
    pub fn of_process(config: Option<&Path>) -> Self {
        Self::new(config, Some(Path::new(DEFAULT_FILE)), std::env::vars_os())
    }
}

/// Valid settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every value in force, in the order of the schema, databases by name; secrets are masked.
    pub entries: Vec<Entry>,
    /// What the reader should know besides: that `DATABASE_URL` is set and not used.
    pub notes: Vec<String>,
    /// The files with a secret that others can read or change.
    pub exposed: Vec<Exposed>,
}

impl Loaded {
    /// Each of those files once, whatever databases have their secrets in it.
    pub fn exposed_files(&self) -> Vec<&Exposed> {
        let mut seen = BTreeSet::new();
        self.exposed
            .iter()
            .filter(|exposed| seen.insert(&exposed.file))
            .collect()
    }
}

/// All settings but the databases, in the shape of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Global {
    log: Log,
    #[serde(default)]
    rules: Rules,
    capture: Capture,
    #[serde(default)]
    announce: Announce,
    sync: Sync,
    history: History,
    reconcile: Reconcile,
    reconnect: Reconnect,
    shutdown: Shutdown,
    admin: Admin,
    #[serde(rename = "databases")]
    _databases: Option<IgnoredAny>,
}

/// Loads settings; all mistakes come out together.
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
        // Something could not be read at all, and what is missing for that reason only is not
        // missing.
        return Err(SettingsError { problems });
    }
    let notes = database_url(&sources.env, &mut names, &mut layers, &mut problems);

    // A key that has a problem is not missing, and nothing that follows from it is worth a line of
    // its own.
    let reported: BTreeSet<_> = problems.iter().map(|problem| problem.key.clone()).collect();
    let defaults = Layer::defaults(names.keys());
    let first = Merged::of([&defaults].into_iter().chain(&layers));
    let mut dsns = BTreeMap::new();
    let mut implied = defaults;
    for (name, origin) in &names {
        if let Some(found) = connection(name, origin, &first, &reported, &mut problems) {
            implied_by_url(name, &found, &first, &mut implied);
            dsns.insert(name.clone(), found);
        }
    }
    problems.append(&mut implied.problems);

    let merged = Merged::of([&implied].into_iter().chain(&layers));
    let sources = Merged::of(layers.iter());
    let settings = typed(&merged, &sources, &names, &dsns, &mut problems);
    shared(&merged, &dsns, &mut problems);
    let Some(settings) = settings.filter(|_| problems.is_empty()) else {
        return Err(SettingsError { problems });
    };
    let entries = entries(&merged, &settings, &dsns);
    let exposed = exposed(&merged, &dsns);
    Ok(Loaded {
        settings,
        entries,
        notes,
        exposed,
    })
}

/// The files with a secret that others can read or change: those of secrets, and the settings files
/// that hold a password.
fn exposed(merged: &Merged, dsns: &BTreeMap<String, Connection>) -> Vec<Exposed> {
    let files_of = |name: &str, connection: &Connection| {
        let path = |key: &str| format!("databases.{name}.{key}");
        let secrets = ["url_file", "password_file"]
            .into_iter()
            .filter_map(|key| merged.text(&path(key)));
        let mut files: Vec<_> = secrets.map(PathBuf::from).collect();
        if connection.dsn.config.get_password().is_some() && merged.text(&path("url")).is_some() {
            // A line of a file; a variable has none.
            let origin = merged.origin(&path("url"));
            let line = origin
                .rsplit_once(':')
                .filter(|(_, line)| line.parse::<u32>().is_ok());
            files.extend(line.map(|(file, _)| PathBuf::from(file)));
        }
        files
    };
    dsns.iter()
        .flat_map(|(name, connection)| {
            files_of(name, connection)
                .into_iter()
                .filter_map(|file| Exposed::of(name, &file))
        })
        .collect()
}

fn files(sources: &Sources, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let mut layers = Vec::new();
    let credentials = sources.env.get("CREDENTIALS_DIRECTORY").map(Path::new);
    let main = match (&sources.file, &sources.default_file) {
        (Some((path, named_by)), _) if is_withheld(&path.to_string_lossy()) => {
            let found = shown(&path.to_string_lossy());
            let mistake =
                Problem::mismatch("", named_by.clone(), "the path of the settings file", found);
            problems.push(
                mistake.remedy("a connection string goes into DATABASE_URL, or into the file"),
            );
            return layers;
        }
        (Some((path, named_by)), _) => {
            let mut layer = file::read(path, credentials);
            for problem in layer
                .problems
                .iter_mut()
                .filter(|problem| problem.key.is_empty())
            {
                // A file that cannot be read has no line to point at; who named it is what helps.
                if problem.source == path.display().to_string() {
                    problem.source = format!("{} ({named_by})", problem.source);
                }
            }
            layers.push(layer);
            path
        }
        (None, Some(path)) => {
            // Where that cannot be found out, the attempt to read it says why.
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

fn typed(
    merged: &Merged,
    sources: &Merged,
    names: &BTreeMap<String, String>,
    dsns: &BTreeMap<String, Connection>,
    problems: &mut Vec<Problem>,
) -> Option<Settings> {
    let global: Global = read(&merged.0, problems)?;
    together(&global, merged, problems);
    let mut databases = BTreeMap::new();
    for (name, connection) in dsns {
        let table = merged.get(&format!("databases.{name}"))?;
        let raw: RawDatabase = read(table, problems)?;
        let origin = |key: &str| merged.origin(&format!("databases.{name}.{key}"));
        let files = SecretFiles::of(
            name,
            names.get(name).map_or(DEFAULT, |origin| origin),
            sources,
        );
        let database = Database::build(
            name,
            raw,
            connection.dsn.config.clone(),
            files,
            &origin,
            problems,
        );
        databases.extend(database.map(|database| (name.clone(), database)));
    }
    let Global {
        log,
        rules,
        capture,
        sync,
        announce,
        history,
        reconcile,
        reconnect,
        shutdown,
        admin,
        ..
    } = global;
    Some(Settings {
        log,
        rules,
        capture,
        sync,
        announce,
        history,
        reconcile,
        reconnect,
        shutdown,
        admin,
        databases,
    })
}

/// Reports databases that lead to one database: each install has one owner.
fn shared(merged: &Merged, dsns: &BTreeMap<String, Connection>, problems: &mut Vec<Problem>) {
    for (index, (name, connection)) in dsns.iter().enumerate() {
        let first = dsns
            .iter()
            .take(index)
            .find(|(_, other)| dsn::is_same_database(&connection.dsn.config, &other.dsn.config));
        if let Some((other, first)) = first {
            let path = |name: &str| {
                let inline = merged.text(&format!("databases.{name}.url")).is_some();
                format!(
                    "databases.{name}.{}",
                    if inline { "url" } else { "url_file" }
                )
            };
            let found = format!(
                "the server and the database of {} ({})",
                path(other),
                first.source
            );
            let problem = Problem::mismatch(
                path(name),
                &connection.source,
                "a database of its own",
                found,
            );
            problems.push(problem.remedy(
                "the two would share one install, and each would take changes of the other: keep \
                one entry for each database",
            ));
        }
    }
}

/// Checks what only makes sense together.
fn together(global: &Global, merged: &Merged, problems: &mut Vec<Problem>) {
    let mut compare = |fits: bool, key: &str, other: &str, relation: &str| {
        // A value that was refused has left its default behind, which is nothing to complain about.
        if !fits
            && !problems
                .iter()
                .any(|problem| [key, other].contains(&&*problem.key))
        {
            // Of the two, the one that was set by hand is the one to point at.
            let (at, relation) = match merged.origin(key) {
                source if source == DEFAULT => (
                    other,
                    if relation == "shorter" {
                        "longer"
                    } else {
                        "no shorter"
                    },
                ),
                _ => (key, relation),
            };
            let than = if at == key { other } else { key };
            let expected = format!(
                "a duration {relation} than {than} ({})",
                merged.text(than).unwrap_or_default()
            );
            let found = format!("{:?}", merged.text(at).unwrap_or_default());
            problems.push(
                Problem::mismatch(at, merged.origin(at), expected, found)
                    .remedy("change one of the two"),
            );
        }
    };
    let (sync, reconnect) = (&global.sync, &global.reconnect);
    let fits = sync.lock_timeout < sync.statement_timeout;
    compare(
        fits,
        "sync.lock_timeout",
        "sync.statement_timeout",
        "shorter",
    );
    let fits = reconnect.initial_delay <= reconnect.max_delay;
    compare(
        fits,
        "reconnect.initial_delay",
        "reconnect.max_delay",
        "no longer",
    );
}
