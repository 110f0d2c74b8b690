//! The parameters of a connection by their use: settings of agent-sync, parameters of the driver,
//! and sources of further parameters.

use super::forms::pair;
use super::harmless::{is_harmless, of_options};
use super::parameters::{FOREIGN, OWN, PASSED, UNKNOWN, UNUSED, VALUES};
use super::{PORT, mistake};
use crate::settings::mistake::Mistake;
use crate::settings::value_type::ValueType;

/// The origin of a parameter: a source of libpq, or none for the connection string itself.
pub(crate) type Origin = Option<String>;

/// A parameter that is a setting of agent-sync.
pub(crate) struct Parameter {
    pub(crate) param: &'static str,
    /// The key of the database.
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) origin: Origin,
}

/// The parameters of a connection by their use.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) params: Vec<Parameter>,
    /// For the driver.
    pub(super) passed: Vec<(&'static str, String)>,
    /// The password file that is named.
    pub(super) passfile: Option<String>,
    pub(super) notes: Vec<(Origin, String)>,
}

impl Sorted {
    /// Takes a parameter, or reports why it cannot be used.
    pub(super) fn take(
        &mut self,
        name: &str,
        value: &str,
        origin: Option<&str>,
    ) -> Result<(), Mistake> {
        let origin = || origin.map(str::to_owned);
        if let Some(note) = is_harmless(name, value)? {
            self.notes.push((origin(), note));
        } else if let Some((own, key, unit)) = OWN.iter().find(|(own, ..)| *own == name) {
            // To libpq, a zero means "no limit": the parameter has no effect.
            if unit.is_empty() || value != "0" {
                self.params.push(Parameter {
                    param: own,
                    key,
                    value: format!("{value}{unit}"),
                    origin: origin(),
                });
            }
        } else if let Some(known) = PASSED.split(' ').find(|known| *known == name) {
            let driver = pair(known, value).parse::<tokio_postgres::Config>();
            if driver.is_err() {
                let remedy = if known == "port" { PORT } else { VALUES };
                let what = format!(
                    "expected a connection string, found a value that `{known}` cannot take"
                );
                return Err(mistake(what, remedy));
            }
            if known == "options" {
                self.notes
                    .extend(of_options(value).map(|note| (origin(), note)));
            }
            self.passed.push((known, value.to_owned()));
        } else if name == "passfile" || name == "servicefile" {
            // Messages print the path of a file.
            if !ValueType::SecretFile.fits(value) {
                let expected = ValueType::SecretFile.expected();
                let what = format!("expected `{name}` to be {expected}, found another value");
                return Err(mistake(what, "write the path in full"));
            }
            if name == "passfile" {
                self.passfile = Some(value.to_owned());
            }
        } else if name != "service" {
            return Err(unknown(name));
        }
        Ok(())
    }
}

fn unknown(name: &str) -> Mistake {
    let foreign = FOREIGN.iter().find(|(known, _)| *known == name);
    let remedy = match foreign {
        Some((_, remedy)) => remedy,
        None if UNUSED.split(' ').any(|known| known == name) => {
            "take it out: agent-sync does not use it"
        }
        None => {
            let what = "expected parameters that agent-sync knows, found an unknown parameter";
            return mistake(what, UNKNOWN);
        }
    };
    let what = format!("expected parameters that agent-sync knows, found the parameter `{name}`");
    mistake(what, remedy)
}
