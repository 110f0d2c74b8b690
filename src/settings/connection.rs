//! The connection string of a database, or the sources of libpq in its place, and the settings that
//! follow from it: TLS, time-outs and keepalives.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::dsn::{self, Dsn, Parameter};
use super::env::Environment;
use super::layers::{DEFAULT, Layer, Values, variable};
use super::libpq::LibpqSources;
use super::mistake::Mistake;
use super::paths::PathResolver;
use super::schema::{self, Lookup};
use super::secrets::read_secret;
use super::sections::TLS_MODES;
use super::value_type::RawValue;

/// The name of the database that `DATABASE_URL` or the variables of PostgreSQL's tools define.
pub const UNNAMED: &str = "default";

/// Applies `DATABASE_URL`: it is the URL of the database `default`, if that is the only database
/// and has no URL. Returns a note if the variable is set and not used.
pub(crate) fn database_url(env: &Environment, layer: &mut Layer) -> Option<String> {
    let value = env.get("DATABASE_URL")?;
    let Layer {
        values,
        databases,
        mistakes,
    } = layer;
    if databases.keys().any(|name| name != UNNAMED) {
        let place = |(name, origin): (&String, &String)| format!("{name} ({origin})");
        let places: Vec<_> = databases.iter().map(place).collect();
        return Some(format!(
            "DATABASE_URL is set and not used, because the settings name databases: {}",
            places.join(", ")
        ));
    }
    let key = "databases.default.url";
    for key in [key, "databases.default.url_file"] {
        if values.get(key).is_some() {
            return Some(format!(
                "DATABASE_URL is set and not used, because the settings have {key} ({})",
                values.origin(key)
            ));
        }
    }
    let origin = variable("DATABASE_URL");
    if let Some(text) = value.to_str() {
        values.insert(key, text, &origin);
        databases.entry(UNNAMED.to_owned()).or_insert(origin);
    } else {
        mistakes.push(Mistake::mismatch(key, origin, "UTF-8", "another encoding"));
    }
    None
}

/// The connection string of a database.
pub(crate) struct Connection {
    pub(crate) dsn: Dsn,
    /// The key that sets it.
    pub(crate) key: String,
    /// Its origin: a variable, a line of a file, or the file of the secret.
    pub(crate) source: String,
    /// Whether there is a connection string. Without one, all parameters come from the sources of
    /// libpq.
    pub(crate) is_written: bool,
}

impl Connection {
    /// Finds and parses the connection string of a database, or reports the reason why it has none.
    /// A key that has a mistake already is not missing.
    pub(crate) fn of(
        name: &str,
        origin: &str,
        values: &Values,
        libpq: &LibpqSources,
        mistakes: &mut Vec<Mistake>,
    ) -> Option<Self> {
        let section = format!("databases.{name}");
        let (url, file) = (format!("{section}.url"), format!("{section}.url_file"));
        let is_known = |mistake: &Mistake| [&url, &file, &section].contains(&&mistake.key);
        let first = libpq.defines(name);
        let found = match (values.text(&url), values.text(&file)) {
            (Some(text), None) => {
                let text = Some(SecretString::from(text));
                Ok((text, &url, values.origin(&url).to_owned()))
            }
            (None, Some(path)) => read_secret(Path::new(path), &file, values.origin(&file))
                .map(|text| (Some(text), &file, format!("secret file {path}"))),
            (Some(_), Some(_)) => {
                let found = format!("url_file, and a url ({})", values.origin(&url));
                let expected = "one of url and url_file";
                let mistake = Mistake::mismatch(&file, values.origin(&file), expected, found);
                Err(mistake.remedy("leave one of them out"))
            }
            (None, None) if mistakes.iter().any(is_known) => return None,
            (None, None) if first.is_some() => {
                Ok((None, &url, variable(first.unwrap_or_default())))
            }
            (None, None) => {
                let mistake = Mistake::mismatch(&url, origin, "a url or url_file", "neither");
                Err(mistake.remedy("set one of them, or take the database out"))
            }
        };
        let connection = found.and_then(|(text, key, source)| {
            let text = text.as_ref().map(SecretString::expose_secret);
            match Dsn::parse(text, libpq) {
                Ok(dsn) => Ok(Self {
                    dsn,
                    key: key.clone(),
                    source,
                    is_written: text.is_some(),
                }),
                Err(mistake) => Err(mistake.at(key, &source)),
            }
        });
        connection.map_err(|mistake| mistakes.push(mistake)).ok()
    }

    /// The settings of a database that follow from its connection string. They go over the built-in
    /// defaults and below the `given` values.
    pub(crate) fn implied(&self, name: &str, given: &Values) -> Layer {
        let mut layer = Layer::default();
        let [tls, roots] = ["tls", "tls_root_cert"].map(|key| format!("databases.{name}.{key}"));
        let (mut sslmode, mut system_roots) = (None, None);
        let own = given.text(&tls).map(|mode| (mode, given.origin(&tls)));
        let has_roots = given.text(&roots).is_some();
        let counts = |param: &&Parameter| {
            param.origin.is_none() || self.counts(param, own.map(|(mode, _)| mode), has_roots)
        };
        for parameter in self.dsn.params.iter().filter(counts) {
            let Parameter {
                param, key, value, ..
            } = parameter;
            if *param == "sslrootcert" && value == "system" {
                system_roots = Some(parameter);
                continue;
            }
            if *param == "sslmode" {
                sslmode = Some(parameter);
            }
            let key = format!("databases.{name}.{key}");
            take(param, &key, value, &self.origin(parameter), &mut layer);
        }
        if let (Some((own, origin)), Some(mode)) = (own, sslmode) {
            let mistake = self.refuse_weaker(own, &mode.value, &tls, origin);
            layer.mistakes.extend(mistake);
        }
        // `sslrootcert=system` is the default here; in libpq, it demands `verify-full` as well.
        if let Some(system) = system_roots.filter(|_| !has_roots) {
            let of_url = sslmode.map(|mode| (&*mode.value, self.origin(mode)));
            let of_source = own.map(|(mode, origin)| (mode, origin.to_owned()));
            match of_source.or(of_url) {
                None => {
                    let origin = self.origin(system);
                    layer.values.insert(&*tls, "verify-full", &origin);
                }
                // An unknown mode is a mistake already.
                Some((mode, origin)) if mode != "verify-full" && TLS_MODES.contains(&mode) => {
                    let expected = "\"verify-full\" with sslrootcert=system";
                    let mistake = Mistake::mismatch(&tls, origin, expected, format!("{mode:?}"));
                    let remedy = "set \"verify-full\", or take sslrootcert out of the URL";
                    layer.mistakes.push(mistake.remedy(remedy));
                }
                Some(_) => {}
            }
        }
        let is_set = |key: &str| given.get(key).is_some() || layer.values.get(key).is_some();
        if !is_set(&tls) {
            let is_plain = dsn::is_local(&self.dsn.config) && !is_set(&roots);
            let mode = if is_plain { "disable" } else { "verify-full" };
            layer.values.insert(tls, mode, DEFAULT);
        }
        layer
    }

    /// Whether a parameter for TLS from a source of libpq counts, where `own` is the mode of the
    /// settings. As in libpq, none counts for a Unix socket, and no certificate without encryption.
    fn counts(&self, parameter: &Parameter, own: Option<&str>, has_roots: bool) -> bool {
        if !["tls", "tls_root_cert", "tls_cert", "tls_key"].contains(&parameter.key) {
            return true;
        }
        let find = |name: &str| self.dsn.params.iter().find(|other| other.param == name);
        let mode = own.or(find("sslmode").map(|mode| &*mode.value));
        self.dsn.is_remote()
            && match (parameter.param, mode) {
                ("sslmode", _) => own.is_none(),
                (_, Some(mode)) => mode != "disable",
                ("sslrootcert", None) => true,
                (_, None) => {
                    has_roots || find("sslrootcert").is_some() || !dsn::is_local(&self.dsn.config)
                }
            }
    }

    /// Remarks on parameters without an effect.
    pub(crate) fn notes(&self) -> impl Iterator<Item = String> {
        let place = format!("{} ({})", self.key, self.source);
        let notes = self.dsn.notes.iter();
        notes.map(move |(origin, note)| format!("{}: {note}", origin.as_ref().unwrap_or(&place)))
    }

    /// The origin of a parameter.
    fn origin(&self, parameter: &Parameter) -> String {
        let of_string = || format!("{}, {}", self.source, parameter.param);
        parameter.origin.clone().unwrap_or_else(of_string)
    }

    /// The origin of the password, if the connection has one.
    pub(crate) fn password_origin(&self) -> Option<&str> {
        self.dsn.config.get_password()?;
        Some(self.dsn.password_origin().unwrap_or(&self.source))
    }

    /// The mistake of a `tls` that is weaker than the `sslmode` of the URL and would override it. A
    /// Unix socket knows no TLS.
    fn refuse_weaker(&self, own: &str, mode: &str, key: &str, origin: &str) -> Option<Mistake> {
        let strength = |mode: &str| TLS_MODES.iter().position(|known| *known == mode);
        if !self.dsn.is_remote() || strength(own) >= strength(mode) {
            return None;
        }
        let source = &self.source;
        let expected =
            format!("no weaker mode than the {mode:?} that sslmode of the URL says ({source})");
        let mistake = Mistake::mismatch(key, origin, expected, format!("{own:?}"));
        let remedy = format!("set \"{mode}\" here, or take sslmode out of the URL");
        Some(mistake.remedy(remedy))
    }
}

/// Takes a parameter of a connection string for a key.
fn take(param: &str, key: &str, value: &str, origin: &str, layer: &mut Layer) {
    let path: Vec<_> = key.split('.').map(str::to_owned).collect();
    let Lookup::Key(known) = schema::lookup(&path) else {
        return;
    };
    // A refusal names the modes that other programs know. Any other text may be part of a secret.
    let raw = match value {
        "prefer" | "allow" | "no-verify" => RawValue::Text(value),
        _ => RawValue::SecretText(value),
    };
    let before = layer.mistakes.len();
    layer.set(&path, known, raw, origin, PathResolver::default());
    if let Some(mistake) = layer.mistakes.get_mut(before) {
        let choice = match (param, value) {
            ("sslmode", "prefer") => {
                "\"require\" is the nearest that never falls back to a connection in the clear, \
                \"verify-full\" also verifies the server, and \"disable\" never encrypts; "
            }
            ("sslmode", "allow") => {
                "\"disable\" is the nearest, for a connection in the clear, and \"require\" or \
                \"verify-full\" is for an encrypted one; "
            }
            ("sslmode", "no-verify") => {
                "\"require\" is what encrypts without a look at the certificate; "
            }
            _ => "",
        };
        mistake.remedy = format!("{choice}correct it there, or set {key} and take it out");
    }
}
