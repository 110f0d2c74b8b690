//! The names of the columns of the two tables in a database: one key for each column.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::schema::{DefaultValue, Key};
use super::value_type::ValueType;
use crate::columns::{MappedColumn, Per, PerAgentColumn, PerColumn};

/// The names of the columns of the agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct AgentsColumns {
    /// The slug.
    pub slug: String,
    /// The mapped columns.
    pub mapped: PerAgentColumn<String>,
}

/// The names of the columns of the configurations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct ConfigurationsColumns {
    /// The slug of the agent.
    pub agent_slug: String,
    /// The mapped columns.
    pub mapped: PerColumn<String>,
    /// A column that takes the time of the change.
    pub updated_at: String,
    /// A second column that takes the time of the change.
    pub last_updated: String,
}

/// The keys of a section of names. Each column has the name of its key by default.
macro_rules! keys {
    ($section:literal { $($column:literal: $doc:literal,)+ }) => {
        &[$(Key {
            path: concat!($section, ".", $column),
            value_type: ValueType::Identifier,
            default: DefaultValue::Text($column),
            doc: $doc,
        },)+]
    };
}

impl AgentsColumns {
    pub(super) const KEYS: &[Key] = keys! {
        "databases.*.agents.columns" {
            "slug": "What an agent is known by; required.",
            "name": "The agent's name.",
            "system_prompt": "The agent's system prompt.",
            "agent_image": "The agent's image.",
            "voice_settings": "The agent's voice settings; required.",
        }
    };

    /// Every column: its key and its name in the database.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        std::iter::once(("slug", &*self.slug)).chain(mapped(&self.mapped))
    }
}

impl ConfigurationsColumns {
    pub(super) const KEYS: &[Key] = keys! {
        "databases.*.configurations.columns" {
            "agent_slug": "Which agent the row is for; required.",
            "agent_name": "Takes the agent's name.",
            "system_prompt": "Takes the agent's system prompt.",
            "agent_image": "Takes the agent's image.",
            "voice_id": "Takes the voice of the voice settings.",
            "temperature": "Takes the temperature of the voice settings.",
            "provider_config": "Takes the sections that the rules compute; required.",
            "voice_settings": "Takes the voice settings.",
            "updated_at": "Takes the time of the change.",
            "last_updated": "Takes the time of the change.",
        }
    };

    /// Every column: its key and its name in the database.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let clocks = [
            ("updated_at", &*self.updated_at),
            ("last_updated", &*self.last_updated),
        ];
        std::iter::once(("agent_slug", &*self.agent_slug))
            .chain(mapped(&self.mapped))
            .chain(clocks)
    }
}

fn mapped<C: MappedColumn, const N: usize>(
    names: &Per<C, String, N>,
) -> impl Iterator<Item = (&'static str, &str)> {
    names.iter().map(|(column, name)| (column.name(), &**name))
}

impl TryFrom<BTreeMap<String, String>> for AgentsColumns {
    type Error = String;

    fn try_from(mut names: BTreeMap<String, String>) -> Result<Self, String> {
        let columns = Self {
            slug: take(&mut names, "slug")?,
            mapped: take_mapped(&mut names)?,
        };
        nothing_left(&names).map(|()| columns)
    }
}

impl TryFrom<BTreeMap<String, String>> for ConfigurationsColumns {
    type Error = String;

    fn try_from(mut names: BTreeMap<String, String>) -> Result<Self, String> {
        let columns = Self {
            agent_slug: take(&mut names, "agent_slug")?,
            mapped: take_mapped(&mut names)?,
            updated_at: take(&mut names, "updated_at")?,
            last_updated: take(&mut names, "last_updated")?,
        };
        nothing_left(&names).map(|()| columns)
    }
}

fn take(names: &mut BTreeMap<String, String>, key: &str) -> Result<String, String> {
    names
        .remove(key)
        .ok_or_else(|| format!("missing field `{key}`"))
}

fn take_mapped<C: MappedColumn, const N: usize>(
    names: &mut BTreeMap<String, String>,
) -> Result<Per<C, String, N>, String> {
    let mut mapped = Per::default();
    for column in C::ALL.iter().copied() {
        mapped[column] = take(names, column.name())?;
    }
    Ok(mapped)
}

fn nothing_left(names: &BTreeMap<String, String>) -> Result<(), String> {
    match names.keys().next() {
        Some(unknown) => Err(format!("unknown field `{unknown}`")),
        None => Ok(()),
    }
}
