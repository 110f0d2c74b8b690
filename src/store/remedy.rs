//! The remedies for an agent that is not in sync: one wording for the log, the status registry and
//! the commands.

use std::borrow::Cow;

use super::problems::names_near;
use crate::columns::Column;
use crate::key::{Key, Keys};
use crate::pg::identifier::{Literal, plain};
use crate::pg::sqlstate;
use crate::settings::ConfigurationsTable;

/// The remedies in one database.
#[derive(Debug, Clone)]
pub struct Remedies {
    /// The statement that makes a configuration, up to the tenant or the slug.
    insert: String,
    keys: Keys,
}

impl Remedies {
    /// With the names of these settings.
    pub fn new(table: &ConfigurationsTable) -> Self {
        let (columns, mut keys) = (&table.columns, Keys::Slugs);
        let mut names = Vec::new();
        if let Some(tenant) = &columns.tenant {
            (keys, names) = (Keys::Tenants, vec![plain(tenant)]);
        }
        names.push(plain(&columns.agent_slug));
        names.push(plain(&columns.mapped[Column::ProviderConfig]));
        let insert = format!(
            "INSERT INTO {}.{} ({}) VALUES (",
            plain(&table.schema),
            plain(&table.table),
            names.join(", "),
        );
        Self { insert, keys }
    }

    /// About a problem of this kind with this reason, as `agent_sync.problem` has them.
    pub fn of(
        &self,
        (kind, detail): (&str, &str),
        sqlstate: Option<&str>,
        key: &Key<'_>,
    ) -> Cow<'static, str> {
        match kind {
            "missing_configuration" => {
                let what = if names_near(detail) {
                    "Correct the slug of the configuration that is named, or that of the agent. If \
                    that configuration is for another agent, create one"
                } else {
                    "Create it"
                };
                let tenant = key.tenant.as_deref().map(readable);
                let tenant = tenant.map(|tenant| format!("{tenant}, "));
                format!(
                    "{what}, with the other columns that the table requires; it is then brought in \
                    sync: `{}{}{}, '{{}}');`",
                    self.insert,
                    tenant.unwrap_or_default(),
                    readable(key.slug)
                )
                .into()
            }
            "rejected" => {
                "Correct the values that the reason names. The daemon notices a change of the \
                agent at once, and a change of the configuration within five minutes."
                    .into()
            }
            "ambiguous" if self.keys.have_tenants() => {
                "Give each agent of the tenant a slug of its own, or delete the agents that are \
                not wanted; the remaining agent is then brought in sync."
                    .into()
            }
            "ambiguous" => {
                "Give each agent a slug of its own, or delete the agents that are not wanted; the \
                remaining agent is then brought in sync. If a slug is unique for each tenant \
                alone, set agents.columns.tenant and configurations.columns.tenant, and run \
                `agent-sync install`."
                    .into()
            }
            _ => sqlstate::remedy_of_write(detail, sqlstate.unwrap_or_default()).into(),
        }
    }
}

/// A text constant that a person can read and paste: what could disturb a terminal is escaped, and
/// so is a backtick, which would end the statement.
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
        assert_eq!(readable("a` `rm"), r"E'a\u0060 \u0060rm'");
    }
}
