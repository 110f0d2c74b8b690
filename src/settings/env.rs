//! Settings from the environment: `AGENT_SYNC__SYNC__BATCH_SIZE=100` sets `sync.batch_size`.
//!
//! An empty variable counts as not set, because container tools turn an unknown variable into an
//! empty one. This module never reads the environment of the process, so that tests can pass
//! another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use super::layers::{Layer, variable};
use super::mistake::Mistake;
use super::paths::PathResolver;
use super::schema::Lookup;
use super::value_type::RawValue;

/// The variable of other programs that is a source of `log.level`.
const RUST_LOG: (&str, &str) = ("RUST_LOG", "LOG__LEVEL");

/// The start of every variable that holds a setting.
const PREFIX: &str = "AGENT_SYNC__";

/// An environment: variables by name, in the order of their names.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // No variable of agent-sync has a name that is not UTF-8.
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    /// Whether there is a variable with this end of its name, in whatever case.
    fn has_setting(&self, rest: &str) -> bool {
        let mut names = self.0.keys().filter_map(|name| name.strip_prefix(PREFIX));
        names.any(|found| found.eq_ignore_ascii_case(rest))
    }

    /// Reads the settings among the variables.
    pub(crate) fn read(&self, layer: &mut Layer) {
        for (name, value) in &self.0 {
            let rest = match name.strip_prefix(PREFIX) {
                Some(rest) => rest,
                None if name == RUST_LOG.0 && !self.has_setting(RUST_LOG.1) => RUST_LOG.1,
                None => continue,
            };
            let origin = variable(name);
            if let Some(text) = value.to_str() {
                take(rest, text, &origin, layer);
            } else {
                let mistake = Mistake::mismatch("", origin, "UTF-8", "another encoding");
                layer.mistakes.push(mistake);
            }
        }
    }
}

fn take(rest: &str, text: &str, origin: &str, layer: &mut Layer) {
    let path: Vec<_> = rest.split("__").map(str::to_ascii_lowercase).collect();
    for length in 1..=path.len() {
        let last = length == path.len();
        match layer.lookup(&path[..length], origin) {
            Lookup::Key(key) if last => {
                let value = RawValue::Text(text);
                return layer.set(&path, key, value, origin, PathResolver::default());
            }
            Lookup::Section if last => return layer.not_a_table(&path, origin, "a value"),
            Lookup::Unknown => return,
            // The next turn refuses the parts behind a key.
            Lookup::Key(_) | Lookup::Section => {}
        }
    }
}

// A variable may hold a secret, so only the names are printed.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
