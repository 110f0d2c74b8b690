//! The connection string of a database, and the settings that follow from it: TLS, time-outs and
//! keepalives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::database::read_secret;
use super::dsn::{self, Dsn};
use super::env::Environment;
use super::layers::{DEFAULT, Layer, Values, variable};
use super::paths::PathResolver;
use super::problem::Problem;
use super::schema::{self, Lookup};
use super::sections::TLS_MODES;
use super::value_type::RawValue;

/// Applies `DATABASE_URL`: it is the URL of the database `default`, if that is the only database
/// and has no URL. Returns a note if the variable is set and not used.
pub(crate) fn database_url(
    env: &Environment,
    names: &mut BTreeMap<String, String>,
    given: &mut Values,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let value = env.get("DATABASE_URL")?;
    if names.keys().any(|name| name != "default") {
        let place = |(name, origin): (&String, &String)| format!("{name} ({origin})");
        let places: Vec<_> = names.iter().map(place).collect();
        return Some(format!(
            "DATABASE_URL is set and not used, because the settings name databases: {}",
            places.join(", ")
        ));
    }
    let mut keys = ["url", "url_file"]
        .map(|key| format!("databases.default.{key}"))
        .into_iter();
    if let Some(key) = keys.find(|key| given.get(key).is_some()) {
        return Some(format!(
            "DATABASE_URL is set and not used, because the settings have {key} ({})",
            given.origin(&key)
        ));
    }
    let origin = variable("DATABASE_URL");
    let key = "databases.default.url";
    if let Some(text) = value.to_str() {
        given.insert(key, text, &origin);
        names.entry("default".to_owned()).or_insert(origin);
    } else {
        problems.push(Problem::mismatch(key, origin, "UTF-8", "another encoding"));
    }
    None
}

/// The connection string of a database.
pub(crate) struct Connection {
    pub(crate) dsn: Dsn,
    /// Its origin: a variable, a line of a file, or the file of the secret.
    pub(crate) source: String,
}

/// Finds and parses the connection string of a database, or reports the reason why it has none.
pub(crate) fn connection(
    name: &str,
    origin: &str,
    values: &Values,
    reported: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> Option<Connection> {
    let section = format!("databases.{name}");
    let (url, file) = (format!("{section}.url"), format!("{section}.url_file"));
    let (text, key, source) = match (values.text(&url), values.text(&file)) {
        (Some(text), None) => (
            SecretString::from(text),
            &url,
            values.origin(&url).to_owned(),
        ),
        (None, Some(path)) => match read_secret(Path::new(path), &file, values.origin(&file)) {
            Ok(text) => (text, &file, format!("secret file {path}")),
            Err(problem) => {
                problems.push(problem);
                return None;
            }
        },
        (Some(_), Some(_)) => {
            let found = format!("url_file, and a url ({})", values.origin(&url));
            let expected = "one of url and url_file";
            let problem = Problem::mismatch(&file, values.origin(&file), expected, found);
            problems.push(problem.remedy("leave one of them out"));
            return None;
        }
        (None, None) => {
            if ![&url, &file, &section]
                .iter()
                .any(|key| reported.contains(*key))
            {
                let problem = Problem::mismatch(url, origin, "a url or url_file", "neither");
                problems.push(problem.remedy("set one of them, or take the database out"));
            }
            return None;
        }
    };
    match Dsn::parse(text.expose_secret()) {
        Ok(dsn) => Some(Connection { dsn, source }),
        Err(mistake) => {
            problems.push(mistake.problem(key, &source));
            None
        }
    }
}

/// The settings of a database that follow from its connection string. They go over the built-in
/// defaults and below the `given` values.
pub(crate) fn implied_by_url(name: &str, connection: &Connection, given: &Values) -> Layer {
    let mut implied = Implied {
        section: format!("databases.{name}."),
        connection,
        given,
        layer: Layer::default(),
    };
    for (param, key, value) in &connection.dsn.params {
        if !is_system(param, value) {
            implied.set(param, key, value);
        }
    }
    implied.refuse_weaker_tls();
    if connection
        .dsn
        .params
        .iter()
        .any(|(param, _, value)| is_system(param, value))
    {
        implied.system_roots();
    }
    implied.default_tls();
    implied.layer
}

fn is_system(param: &str, value: &str) -> bool {
    param == "sslrootcert" && value == "system"
}

struct Implied<'a> {
    /// `databases.NAME.`
    section: String,
    connection: &'a Connection,
    given: &'a Values,
    layer: Layer,
}

impl Implied<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.section)
    }

    fn is_set(&self, name: &str) -> bool {
        let key = self.key(name);
        self.given.get(&key).is_some() || self.layer.values.get(&key).is_some()
    }

    /// The origin of a parameter of the connection string.
    fn origin(&self, param: &str) -> String {
        format!("{}, {param}", self.connection.source)
    }

    fn set(&mut self, param: &str, key: &str, value: &str) {
        let path: Vec<_> = self.key(key).split('.').map(str::to_owned).collect();
        let Lookup::Key(key) = schema::lookup(&path) else {
            return;
        };
        // A refusal names the modes that other programs know. Any other text may be part of a
        // secret.
        let raw = match value {
            "prefer" | "allow" | "no-verify" => RawValue::Text(value),
            _ => RawValue::SecretText(value),
        };
        let origin = self.origin(param);
        let before = self.layer.problems.len();
        self.layer
            .set(&path, key, raw, &origin, PathResolver::default());
        if let Some(problem) = self.layer.problems.get_mut(before) {
            let choice = match (param, value) {
                ("sslmode", "prefer" | "allow") => {
                    "choose \"disable\" for a connection in the clear, or \"require\" or \
                    \"verify-full\" for an encrypted one; "
                }
                ("sslmode", "no-verify") => {
                    "\"require\" is what encrypts without a look at the certificate; "
                }
                _ => "",
            };
            problem.remedy = format!(
                "{choice}correct it there, or set {} and take it out",
                problem.key
            );
        }
    }

    /// The last `sslmode` of the connection string.
    fn sslmode(&self) -> Option<&str> {
        let mut params = self.connection.dsn.params.iter();
        let mode = params.rfind(|(param, ..)| *param == "sslmode");
        mode.map(|(.., mode)| &**mode)
    }

    /// Reports a `tls` that is weaker than the `sslmode` of the URL, which it would override. A Unix
    /// socket knows no TLS.
    fn refuse_weaker_tls(&mut self) {
        let key = self.key("tls");
        let (Some(own), Some(mode)) = (self.given.text(&key), self.sslmode()) else {
            return;
        };
        let strength = |mode: &str| TLS_MODES.iter().position(|known| *known == mode);
        if self.connection.dsn.is_remote() && strength(own) < strength(mode) {
            let expected = format!(
                "no weaker mode than the {mode:?} that sslmode of the URL says ({})",
                self.connection.source
            );
            let found = format!("{own:?}");
            let remedy = format!("set \"{mode}\" here, or take sslmode out of the URL");
            let problem = Problem::mismatch(&key, self.given.origin(&key), expected, found);
            self.layer.problems.push(problem.remedy(remedy));
        }
    }

    /// Uses the authorities of the operating system, the meaning of `sslrootcert=system` in libpq.
    /// They are the default, so only the mode remains: it is `verify-full`, and a weaker one is
    /// refused.
    fn system_roots(&mut self) {
        if self.given.text(&self.key("tls_root_cert")).is_some() {
            return;
        }
        let key = self.key("tls");
        let (mode, source) = match (self.given.text(&key), self.sslmode()) {
            (Some(mode), _) => (mode, self.given.origin(&key).to_owned()),
            (None, Some(mode)) => (mode, self.origin("sslmode")),
            (None, None) => {
                let origin = self.origin("sslrootcert");
                return self.layer.values.insert(key, "verify-full", &origin);
            }
        };
        // An unknown mode is a problem already.
        if mode != "verify-full" && TLS_MODES.contains(&mode) {
            let expected = "\"verify-full\" with sslrootcert=system";
            let problem = Problem::mismatch(key, source, expected, format!("{mode:?}"));
            let remedy = "set \"verify-full\", or take sslrootcert out of the URL";
            self.layer.problems.push(problem.remedy(remedy));
        }
    }

    fn default_tls(&mut self) {
        if self.is_set("tls") {
            return;
        }
        let is_local = dsn::is_local(&self.connection.dsn.config);
        let mode = if is_local && !self.is_set("tls_root_cert") {
            "disable"
        } else {
            "verify-full"
        };
        let key = self.key("tls");
        self.layer.values.insert(key, mode, DEFAULT);
    }
}
