//! Settings from the environment: `AGENT_SYNC__SYNC__BATCH_SIZE=100` sets `sync.batch_size`.
//!
//! An empty variable counts as not set, because that is what container tools make of a variable
//! they do not know. The process's own environment is never read here, so that tests can hand in
//! another.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::bases::Bases;
use super::kind::Given;
use super::layer::{Layer, variable};
use super::problem::Problem;
use super::schema::Place;

/// What every variable that holds a setting starts with.
const PREFIX: &str = "AGENT_SYNC__";

/// An environment: variables by name, in the order of their names.
#[derive(Clone, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    pub(crate) fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        // A name that is not UTF-8 is none of ours.
        let named = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(named.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    /// The settings among the variables.
    pub(crate) fn layer(&self) -> Layer {
        let mut layer = Layer::default();
        for (name, value) in &self.0 {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let origin = variable(name);
            match value.to_str() {
                Some(text) => take(rest, text, &origin, &mut layer),
                None => {
                    layer
                        .problems
                        .push(Problem::mismatch("", origin, "UTF-8", "another encoding"));
                }
            }
        }
        layer
    }
}

fn take(rest: &str, text: &str, origin: &str, layer: &mut Layer) {
    let path: Vec<_> = rest.split("__").map(str::to_ascii_lowercase).collect();
    for length in 1..=path.len() {
        let last = length == path.len();
        match layer.place(&path[..length], origin) {
            Place::Key(key) if last => {
                return layer.set(&path, key, Given::Word(text), origin, Bases::default());
            }
            Place::Section if last => return layer.not_a_table(&path, origin, "a value"),
            Place::Unknown => return,
            // A key with more behind it: the next turn finds that nothing is known there.
            Place::Key(_) | Place::Section => {}
        }
    }
}

// Variables hold secrets, so an environment prints none of them.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
