//! Which connection string a database has, and what follows from it: TLS, time-outs and keepalives
//! that no setting names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::ValueKind;
use secrecy::{ExposeSecret as _, SecretString};

use super::bases::Bases;
use super::database::read_secret;
use super::dsn::{self, Dsn};
use super::env::Environment;
use super::kind::Given;
use super::layer::{DEFAULT, Layer, variable};
use super::merged::Merged;
use super::problem::Problem;
use super::schema::{self, Place};

/// Applies `DATABASE_URL`: it is the URL of the database `default` where that is the only one and
/// has none.
pub(crate) fn database_url(
    env: &Environment,
    names: &mut BTreeMap<String, String>,
    layers: &mut Vec<Layer>,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let Some(value) = env.get("DATABASE_URL") else {
        return Vec::new();
    };
    let merged = Merged::of(layers.iter());
    let has_url = |key: &str| merged.text(&format!("databases.default.{key}")).is_some();
    let others: Vec<_> = names
        .keys()
        .filter(|name| *name != "default")
        .cloned()
        .collect();
    if !others.is_empty() {
        let places: Vec<_> = names
            .iter()
            .map(|(name, origin)| format!("{name} ({origin})"))
            .collect();
        return vec![format!(
            "DATABASE_URL is set and not used, because the settings name databases: {}",
            places.join(", ")
        )];
    }
    if let Some(key) = ["url", "url_file"].into_iter().find(|key| has_url(key)) {
        let key = format!("databases.default.{key}");
        let origin = merged.origin(&key);
        return vec![format!(
            "DATABASE_URL is set and not used, because the settings have {key} ({origin})"
        )];
    }
    let origin = variable("DATABASE_URL");
    let key = "databases.default.url";
    let Some(text) = value.to_str() else {
        problems.push(Problem::mismatch(key, origin, "UTF-8", "another encoding"));
        return Vec::new();
    };
    let mut layer = Layer::default();
    layer.insert(key, ValueKind::String(text.to_owned()), &origin);
    names.entry("default".to_owned()).or_insert(origin);
    layers.push(layer);
    Vec::new()
}

/// The connection string of a database and where it comes from.
pub(crate) struct Connection {
    pub(crate) dsn: Dsn,
    /// A variable, a line of a file, or the secret file.
    pub(crate) source: String,
}

/// Finds and takes apart the connection string of a database, or reports why there is none.
pub(crate) fn connection(
    name: &str,
    origin: &str,
    merged: &Merged,
    reported: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) -> Option<Connection> {
    let path = |key: &str| format!("databases.{name}.{key}");
    let (url, file) = (path("url"), path("url_file"));
    let (text, key, source) = match (merged.text(&url), merged.text(&file)) {
        (Some(text), None) => (SecretString::from(text), url.clone(), merged.origin(&url)),
        (None, Some(path)) => {
            let source = merged.origin(&file);
            match read_secret(Path::new(path), &file, &source) {
                Ok(text) => (text, file.clone(), format!("secret file {path}")),
                Err(problem) => {
                    problems.push(problem);
                    return None;
                }
            }
        }
        (Some(_), Some(_)) => {
            let found = format!("url_file, and a url ({})", merged.origin(&url));
            let problem = Problem::mismatch(
                &file,
                merged.origin(&file),
                "one of url and url_file",
                found,
            );
            problems.push(problem.remedy("leave one of them out"));
            return None;
        }
        (None, None) => {
            if ![&url, &file, &format!("databases.{name}")]
                .iter()
                .any(|key| reported.contains(*key))
            {
                let problem =
                    Problem::mismatch(path("url"), origin, "a url or url_file", "neither");
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

/// Puts what follows from the connection string over the built-in defaults.
pub(crate) fn implied_by_url(
    name: &str,
    connection: &Connection,
    merged: &Merged,
    layer: &mut Layer,
) {
    let path = |key: &str| format!("databases.{name}.{key}");
    let given = |layer: &Layer, key| merged.text(&path(key)).is_some() || layer.has(&path(key));
    let is_system = |param: &str, value: &str| param == "sslrootcert" && value == "system";
    for (param, key, value) in &connection.dsn.params {
        if is_system(param, value) {
            continue;
        }
        let parts: Vec<_> = path(key).split('.').map(str::to_owned).collect();
        let origin = format!("{}, {param}", connection.source);
        // Modes that people are used to are named when they are refused; any other text might be
        // part of a secret.
        let given = match value.as_str() {
            "prefer" | "allow" | "no-verify" => Given::Word(value),
            _ => Given::Hidden(value),
        };
        if let Place::Key(key) = schema::locate(&parts) {
            let before = layer.problems.len();
            layer.set(&parts, key, given, &origin, Bases::default());
            if let Some(problem) = layer.problems.get_mut(before) {
                let choice = match value.as_str() {
                    "prefer" | "allow" if *param == "sslmode" => {
                        "choose \"disable\" for a connection in the clear, or \"require\" or \
                        \"verify-full\" for an encrypted one; "
                    }
                    "no-verify" if *param == "sslmode" => {
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
    }
    not_weaker(name, connection, merged, layer);
    if connection
        .dsn
        .params
        .iter()
        .any(|(param, _, value)| is_system(param, value))
    {
        system_roots(name, connection, merged, layer);
    }
    if !given(layer, "tls") {
        let is_local = dsn::is_local(&connection.dsn.config);
        let mode = if is_local && !given(layer, "tls_root_cert") {
            "disable"
        } else {
            "verify-full"
        };
        layer.insert(&path("tls"), ValueKind::String(mode.to_owned()), DEFAULT);
    }
}

/// Reports a `tls` that is weaker than the `sslmode` of the URL, over which it would win. A Unix
/// socket knows no TLS.
fn not_weaker(name: &str, connection: &Connection, merged: &Merged, layer: &mut Layer) {
    let path = format!("databases.{name}.tls");
    let mode = connection
        .dsn
        .params
        .iter()
        .find(|(param, ..)| *param == "sslmode");
    let (Some(own), Some((.., mode))) = (merged.text(&path), mode) else {
        return;
    };
    let strength = |mode: &str| schema::TLS_MODES.iter().position(|known| *known == mode);
    if connection.dsn.is_remote() && strength(own) < strength(mode) {
        let expected = format!(
            "no weaker mode than the {mode:?} that sslmode of the URL says ({})",
            connection.source
        );
        let problem = Problem::mismatch(
            path.as_str(),
            merged.origin(&path),
            expected,
            format!("{own:?}"),
        );
        layer.problems.push(problem.remedy(format!(
            "set \"{mode}\" here, or take sslmode out of the URL"
        )));
    }
}

/// The authorities of the operating system, as libpq means `sslrootcert=system`: they are asked in
/// any case, so the mode is `verify-full`, and a weaker one is refused.
fn system_roots(name: &str, connection: &Connection, merged: &Merged, layer: &mut Layer) {
    let path = |key: &str| format!("databases.{name}.{key}");
    if merged.text(&path("tls_root_cert")).is_some() {
        return;
    }
    let of_url = || {
        connection
            .dsn
            .params
            .iter()
            .rev()
            .find(|(param, ..)| *param == "sslmode")
    };
    let (mode, source) = match (merged.text(&path("tls")), of_url()) {
        (Some(mode), _) => (mode, merged.origin(&path("tls"))),
        (None, Some((param, _, mode))) => {
            (mode.as_str(), format!("{}, {param}", connection.source))
        }
        (None, None) => {
            let origin = format!("{}, sslrootcert", connection.source);
            return layer.insert(
                &path("tls"),
                ValueKind::String("verify-full".to_owned()),
                &origin,
            );
        }
    };
    // Any other text has been refused already.
    if mode != "verify-full" && schema::TLS_MODES.contains(&mode) {
        let expected = "\"verify-full\" with sslrootcert=system";
        let problem = Problem::mismatch(path("tls"), source, expected, format!("{mode:?}"));
        layer
            .problems
            .push(problem.remedy("set \"verify-full\", or take sslrootcert out of the URL"));
    }
}
