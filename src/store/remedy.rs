//! The remedies for an agent that is not in sync: one wording for the log, the status registry and
//! the commands.

use std::borrow::Cow;

use crate::columns::Column;
use crate::pg::identifier::{Literal, plain};
use crate::pg::sqlstate;
use crate::settings::ConfigurationsTable;

/// The remedies in one database.
#[derive(Debug, Clone)]
pub struct Remedies {
    /// The statement that makes a configuration, up to the slug.
    insert: String,
}

impl Remedies {
    /// With the names of these settings.
    pub fn new(table: &ConfigurationsTable) -> Self {
        let insert = format!(
            "INSERT INTO {}.{} ({}, {}) VALUES (",
            plain(&table.schema),
            plain(&table.table),
            plain(&table.columns.agent_slug),
            plain(&table.columns.mapped[Column::ProviderConfig]),
        );
        Self { insert }
    }

    /// About a problem of this kind, as `agent_sync.problem` calls it.
    pub fn of(&self, kind: &str, sqlstate: Option<&str>, slug: &str) -> Cow<'static, str> {
        match kind {
            "missing_configuration" => format!(
                "Create it, with the other columns that the table requires; it is then brought in \
                sync: {}{}, '{{}}');",
                self.insert,
                readable(slug)
            )
            .into(),
            "rejected" => {
                "Correct the values that the reason names. The daemon notices a change of the \
                agent at once, and a change of the configuration within five minutes."
                    .into()
            }
            "ambiguous" => {
                "Give each agent a slug of its own, or delete the agents that are not wanted; the \
                remaining agent is then brought in sync."
                    .into()
            }
            _ => sqlstate::remedy(sqlstate.unwrap_or_default()).into(),
        }
    }
}

/// A text constant that a person can read and paste: what could disturb a terminal is escaped.
fn readable(text: &str) -> String {
    let escaped = crate::mapping::quoted(text);
    let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
    if inner == text {
        Literal(text).to_string()
    } else {
        format!("E'{}'", inner.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::readable;

    #[test]
    fn a_constant_to_paste_holds_no_control_character() {
        assert_eq!(readable("it's"), "'it''s'");
        assert_eq!(readable("\u{1b}'\\"), r"E'\u001b''\\'");
    }
}
