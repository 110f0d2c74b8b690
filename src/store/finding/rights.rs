//! Findings about privileges, row-level security and owners.

use std::borrow::Cow;

use tokio_postgres::{Error, Row};

use super::Consequence;
use crate::pg::{identifier::plain, told};

/// The remedy for objects of others.
const STRANGERS: &str = "Find its owner. If it is not needed: DROP SCHEMA agent_sync CASCADE; \
    or, if it is an install of your own, give the named objects to the owner of the tables: ALTER \
    SCHEMA agent_sync OWNER TO …; ALTER TABLE … OWNER TO …;";

/// The remedy for a table with another owner than at the install.
const NEW_OWNER: &str = "If this role is meant to own the table, run `agent-sync install` as it; \
    otherwise find out who made the table.";

/// A fault or a warning about the rights of the role, or of the owners.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rights {
    /// The role lacks privileges.
    #[error("the role {role} lacks {}", lacking(.missing))]
    Unprivileged {
        /// The role.
        role: String,
        /// The missing privileges, by object.
        missing: Vec<String>,
        /// The statements that would let it, one for each object.
        grants: Vec<String>,
        /// Whether it is a monitoring role.
        reads_only: bool,
    },
    /// Row-level security keeps the role from rows of agent-sync's own tables.
    #[error(
        "row-level security hides rows of agent-sync's own tables from the role {role}: {}",
        .tables.join(", ")
    )]
    OwnRowsHidden {
        /// The role.
        role: String,
        /// Which tables, as `agent_sync.name`.
        tables: Vec<String>,
    },
    /// Row-level security is active for the role, and no policy plainly lets it at every row.
    #[error(
        "row-level security of {table} may hide rows from the role {role} ({command}), and hidden \
        rows are not synced"
    )]
    RowsMayBeHidden {
        /// The role.
        role: String,
        /// The table, as `schema.name`.
        table: String,
        /// SELECT or UPDATE.
        command: String,
        /// The restrictive policies that keep rows from the role, as quoted names; five at most.
        restrictive: Vec<String>,
        /// The name of a new policy that lets the role at every row; none if one does.
        policy: Option<String>,
    },
    /// Objects of the install belong to roles that this session must not run code of (S5): which,
    /// with their owners.
    #[error(
        "in the schema agent_sync, expected objects of a superuser or of the owner of the tables, \
        found {0}; nothing of it was used"
    )]
    Untrusted(String),
    /// A table of the platform has another owner than at the install, who may be anybody (S5):
    /// which, with their owners.
    #[error(
        "expected tables of a superuser or of their owner at the install, found {0}; nothing of \
        them was read"
    )]
    TablesOfStranger(String),
    /// The install belongs to roles that are no superusers, and this session has rights over others
    /// and over the server (S27).
    #[error(
        "the install belongs to {owners}, and {role} has the rights of {rights}: code of {owners} \
        would run with them; nothing of the install was used"
    )]
    OfOthers {
        /// The owners, as quoted names.
        owners: String,
        /// The role that has logged in, as a quoted name.
        role: String,
        /// The rights, in words.
        rights: String,
    },
    /// The type of a column belongs to a role that the owner of the table does not have to trust
    /// (S5).
    #[error(
        "{column} of {table} has the type {of_type} of the role {owner}, whose code would run with \
        the rights of others"
    )]
    ForeignType {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type, or a part of that.
        of_type: String,
        /// Whom the type belongs to.
        owner: String,
        /// Whom the table belongs to.
        table_owner: String,
    },
    /// The role of this session is a superuser, and code of the owners of the tables runs in it.
    #[error(
        "the role {0} is a superuser or can act as one, and code of the owners of the tables runs \
        with its rights"
    )]
    Superuser(String),
    /// A capture function belongs to a role that the owner of its table is not, so that owner can
    /// act as it.
    #[error(
        "{function} belongs to {owner}, and the owner of {table}, {table_owner}, can act with the \
        rights of that role through it"
    )]
    LendsRights {
        /// The function.
        function: String,
        /// Its owner, with what it is.
        owner: String,
        /// The table, as `schema.name`.
        table: String,
        /// Its owner.
        table_owner: String,
    },
    /// A role that is no role of a daemon may write to tables of agent-sync, so it can lose
    /// changes.
    #[error("{role}, which is no role of a daemon here, may write {tables}")]
    OthersMayWrite {
        /// The role as a quoted name, or PUBLIC.
        role: String,
        /// The tables, as `agent_sync.name`.
        tables: String,
        /// The statements that revoke the privileges.
        revokes: String,
    },
}

impl Rights {
    /// From a row of `queries::HIDDEN_ROWS`.
    pub(in crate::store) fn rows_may_be_hidden(row: &Row) -> Result<Self, Error> {
        Ok(Self::RowsMayBeHidden {
            table: told(row, 0)?,
            command: told(row, 1)?,
            role: told(row, 2)?,
            restrictive: told(row, 3)?,
            policy: told(row, 4)?,
        })
    }

    pub(super) fn consequence(&self) -> Consequence {
        match self {
            // Without the history, the daemon does its work.
            Self::OwnRowsHidden { tables, .. }
                if tables.iter().all(|table| table.ends_with(".history")) =>
            {
                Consequence::Caution
            }
            Self::OwnRowsHidden { .. } | Self::Unprivileged { .. } => Consequence::StopsAndMisses,
            Self::RowsMayBeHidden { .. } => Consequence::Misses,
            Self::Untrusted(_)
            | Self::TablesOfStranger(_)
            | Self::OfOthers { .. }
            | Self::ForeignType { .. } => Consequence::Stops,
            Self::Superuser(_) | Self::LendsRights { .. } | Self::OthersMayWrite { .. } => {
                Consequence::Caution
            }
        }
    }

    /// The statements that would repair it, where they are too many for the remedy.
    pub(super) fn statements(&self) -> &[String] {
        match self {
            Self::Unprivileged { grants, .. } => grants,
            _ => &[],
        }
    }

    pub(super) fn remedy(&self) -> Cow<'static, str> {
        match self {
            Self::Unprivileged {
                role, reads_only, ..
            } => may_be_granted(role, *reads_only).into(),
            Self::OwnRowsHidden { tables, .. } => {
                let disable = |table| format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;");
                let statements: Vec<_> = tables.iter().map(disable).collect();
                let statements = statements.join(" ");
                format!("Run `agent-sync install` for this database, or as the owner: {statements}")
                    .into()
            }
            Self::RowsMayBeHidden {
                role,
                table,
                command,
                restrictive,
                policy,
            } => let_at_rows(role, (table, command), restrictive, policy.as_deref()).into(),
            Self::Untrusted(_) => STRANGERS.into(),
            Self::TablesOfStranger(_) => NEW_OWNER.into(),
            Self::OfOthers { owners, role, .. } => format!(
                "Run this as {owners}; or, except `pause` and `resume`, as the role of the daemon \
                or a role of `agent-sync install --monitor`. If {role} has these rights by a \
                membership that it does not need, REVOKE that membership."
            )
            .into(),
            Self::ForeignType {
                of_type,
                table_owner,
                ..
            } => format!(
                "ALTER TYPE {of_type} OWNER TO {table_owner}; or change the type of the \
                column, or name another one in the settings."
            )
            .into(),
            Self::Superuser(_) => "Run `agent-sync install --role NAME` for this database, \
                and let the daemon connect as that role."
                .into(),
            Self::LendsRights { .. } => "Run `agent-sync install` for this database, as a \
                superuser or a role that can act as both: it gives the function to the owner of \
                the table."
                .into(),
            Self::OthersMayWrite { revokes, .. } => format!(
                "Run `agent-sync install` for this database, which revokes this, or as the owner \
                of the schema: {revokes} If it is a role of the daemon, run `agent-sync install \
                --role NAME`."
            )
            .into(),
        }
    }
}

/// Lets the role at every row of the table: with the policy, and past the restrictive ones.
fn let_at_rows(
    role: &str,
    (table, command): (&str, &str),
    restrictive: &[String],
    policy: Option<&str>,
) -> String {
    let role = plain(role);
    let check = match command {
        "UPDATE" => " WITH CHECK (true)",
        _ => "",
    };
    let policy = policy.map(|policy| {
        format!("CREATE POLICY {policy} ON {table} FOR {command} TO {role} USING (true){check}; ")
    });
    let others = restrictive.iter().map(|policy| {
        format!(
            "the restrictive policy {policy} takes rows back, so name the roles that it is for, \
            without {role}: ALTER POLICY {policy} ON {table} TO …; "
        )
    });
    let statements: String = policy.into_iter().chain(others).collect();
    format!("{statements}or ALTER ROLE {role} BYPASSRLS.")
}

/// The most bytes of the missing privileges that a message names one by one.
const BRIEF: usize = 200;

/// The missing privileges, or the number of their objects where that is a long list.
fn lacking(missing: &[String]) -> String {
    let all = missing.join(", ");
    if all.len() <= BRIEF {
        return all;
    }
    match missing.len() {
        1 => "privileges on 1 object".to_owned(),
        number => format!("privileges on {number} objects"),
    }
}

fn may_be_granted(role: &str, reads_only: bool) -> String {
    let option = if reads_only { "--monitor" } else { "--role" };
    format!(
        "Run `agent-sync install {option} {}` as the owner of the tables, or the statements that \
        `agent-sync doctor` lists as this role.",
        role_argument(role)
    )
}

/// The role, as the server quotes it, as an argument of a command; a placeholder in place of a name
/// that a shell could run: a false server gives any (S10).
pub fn role_argument(role: &str) -> &str {
    let name = role.trim_matches('"');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.starts_with('-') || name.is_empty() || !name.chars().all(is_plain) {
        return "NAME";
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_a_role_that_a_shell_could_run_is_no_part_of_a_command() {
        for (role, expected) in [
            ("app", "app"),
            ("\"agent-sync\"", "agent-sync"),
            ("\"my role\"", "NAME"),
            ("app; curl x|sh #", "NAME"),
            ("\"x$(id)\"", "NAME"),
            ("--config=x", "NAME"),
            ("", "NAME"),
        ] {
            assert_eq!(role_argument(role), expected, "{role}");
        }
    }

    #[test]
    fn few_missing_privileges_are_named_and_many_are_counted() {
        let of = |number: usize| {
            let missing: Vec<_> = (0..number)
                .map(|number| format!("SELECT ON t{number}"))
                .collect();
            lacking(&missing)
        };
        assert_eq!(of(2), "SELECT ON t0, SELECT ON t1");
        assert_eq!(of(20), "privileges on 20 objects");
    }
}
