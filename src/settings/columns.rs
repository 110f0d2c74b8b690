//! The names of the columns of the two tables in a database: one key for each column.

use serde::Deserialize;

use super::schema::DefaultValue::{Text, Unset};
use super::schema::{Key, key_table};
use super::value_type::ValueType::Identifier;
use crate::columns::{MappedColumn, Per, PerAgentColumn, PerColumn};
use crate::key::Keys;

/// The names of the columns of the agents.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AgentsColumns {
    /// The slug.
    pub slug: String,
    /// The tenant.
    pub tenant: Option<String>,
    /// The mapped columns.
    #[serde(flatten)]
    pub mapped: PerAgentColumn<String>,
}

/// The names of the columns of the configurations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ConfigurationsColumns {
    /// The slug of the agent.
    pub agent_slug: String,
    /// The tenant of the agent.
    pub tenant: Option<String>,
    /// The mapped columns.
    #[serde(flatten)]
    pub mapped: PerColumn<String>,
    /// A column that takes the time of the change.
    pub updated_at: String,
    /// A second column that takes the time of the change.
    pub last_updated: String,
}

impl AgentsColumns {
    pub(super) const KEYS: &[Key] = key_table! {
        "databases.*.agents.columns" {
            /// The text that identifies an agent; required.
            slug = Identifier, Text("slug");
            /// The tenant of the agent, where a slug is unique for each tenant alone. With it,
            /// tenant and slug identify an agent. Set it together with
            /// configurations.columns.tenant, and then run `agent-sync install`. Of one of the
            /// types of a slug; an index is used where it is uuid, an integer type, text or
            /// varchar.
            tenant = Identifier, Unset("client_id");
            /// The agent's name.
            name = Identifier, Text("name");
            /// The agent's system prompt.
            system_prompt = Identifier, Text("system_prompt");
            /// The agent's image.
            agent_image = Identifier, Text("agent_image");
            /// The agent's voice settings; required.
            voice_settings = Identifier, Text("voice_settings");
        }
    };

    /// Whether the keys of agents have a tenant.
    pub fn keys(&self) -> Keys {
        Keys::with_tenants(self.tenant.is_some())
    }

    /// Every column: its key and its name in the database.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        std::iter::once(("slug", &*self.slug))
            .chain(self.tenant.as_deref().map(|name| ("tenant", name)))
            .chain(mapped(&self.mapped))
    }

    /// The names of the columns that have to be there (T3).
    pub fn required(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.slug)
            .chain(self.tenant.as_deref())
            .chain(required(&self.mapped))
    }
}

impl ConfigurationsColumns {
    pub(super) const KEYS: &[Key] = key_table! {
        "databases.*.configurations.columns" {
            /// The slug of the agent of the row; required.
            agent_slug = Identifier, Text("agent_slug");
            /// The tenant of the agent of the row: see agents.columns.tenant.
            tenant = Identifier, Unset("client_id");
            /// Takes the agent's name.
            agent_name = Identifier, Text("agent_name");
            /// Takes the agent's system prompt.
            system_prompt = Identifier, Text("system_prompt");
            /// Takes the agent's image.
            agent_image = Identifier, Text("agent_image");
            /// Takes the voice of the voice settings.
            voice_id = Identifier, Text("voice_id");
            /// Takes the temperature of the voice settings.
            temperature = Identifier, Text("temperature");
            /// Takes the sections that the rules compute; required.
            provider_config = Identifier, Text("provider_config");
            /// Takes the voice settings.
            voice_settings = Identifier, Text("voice_settings");
            /// Takes the time of the change.
            updated_at = Identifier, Text("updated_at");
            /// Takes the time of the change.
            last_updated = Identifier, Text("last_updated");
        }
    };

    /// Every column: its key and its name in the database.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        std::iter::once(("agent_slug", &*self.agent_slug))
            .chain(self.tenant.as_deref().map(|name| ("tenant", name)))
            .chain(mapped(&self.mapped))
            .chain([
                ("updated_at", &*self.updated_at),
                ("last_updated", &*self.last_updated),
            ])
    }

    /// The names of the columns that have to be there (T3).
    pub fn required(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.agent_slug)
            .chain(self.tenant.as_deref())
            .chain(required(&self.mapped))
    }
}

fn required<C: MappedColumn, const N: usize>(
    names: &Per<C, String, N>,
) -> impl Iterator<Item = &str> {
    let required = names.iter().filter(|(column, _)| column.is_required());
    required.map(|(_, name)| &**name)
}

fn mapped<C: MappedColumn, const N: usize>(
    names: &Per<C, String, N>,
) -> impl Iterator<Item = (&'static str, &str)> {
    names.iter().map(|(column, name)| (column.name(), &**name))
}
