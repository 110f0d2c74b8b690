//! The schema of an install, which also names its channels, triggers and locks (T6).
//!
//! Every statement and every message is written for the schema `agent_sync`. Where an install has
//! another schema, the name is exchanged in one place: [`crate::pg::Db`] does it for all that it
//! sends. A message also has names from the server, which are final: they may be `agent_sync` as
//! well, for example that of a role, and stay as they are.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

/// The key of the advisory locks of the usual schema, "agsy".
const USUAL_KEY: u32 = 1_634_169_721;

/// The longest name, in bytes: PostgreSQL keeps 63 of each name that begins with it.
const LONGEST: usize = 40;

/// The ends of the names that begin with that of the schema: channels, triggers and policies.
const DERIVED: [&str; 6] = [
    "_change", "_probe", "_insert", "_update", "_delete", "_select",
];

/// The tables, the view, the sequence and the functions of an install, as messages name them.
const PARTS: [&str; 13] = [
    "outbox",
    "install",
    "problem",
    "history",
    "uncaptured",
    "role",
    "granted",
    "state",
    "slugs",
    "sent",
    "in_sync",
    "capture_agent",
    "capture_configuration",
];

/// The texts before the name of the schema itself in a message, with `SCHEMA` for the statements
/// of a remedy.
const BEFORE: [&str; 6] = [
    "schema ",
    "SCHEMA ",
    "--schema=",
    "those of ",
    "channel ",
    "pg_notify('",
];

/// The text before the name of a trigger of the install in a message.
const BEFORE_TRIGGER: &str = "DROP TRIGGER IF EXISTS ";

/// The key words of SQL that PostgreSQL takes as the name of a schema only in quotes.
const RESERVED: &str = "\
    all analyse analyze and any array as asc asymmetric authorization binary both case cast \
    check collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user \
    default deferrable desc distinct do else end except false fetch for foreign freeze from \
    full grant group having ilike in initially inner intersect into is isnull join lateral \
    leading left like limit localtime localtimestamp natural not notnull null offset on only \
    or order outer overlaps placing primary references returning right select session_user \
    similar some symmetric system_user table tablesample then to trailing true union unique \
    user using variadic verbose when where window with";

/// The modules of PostgreSQL with settings that begin with their name, but for those whose name
/// begins with `pg_`. Any session may load one, and the settings of an install of this name would
/// then be refused. `sql/prefix.sql` finds those of other extensions.
const MODULES: &str = "\
    auth_delay auto_explain basebackup_to_shell basic_archive isn passwordcheck plperl plpgsql \
    pltcl postgres_fdw sepgsql";

/// The schema of an install.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct InstallSchema {
    name: Arc<str>,
    /// The key of its advisory locks.
    key: u32,
}

impl Default for InstallSchema {
    fn default() -> Self {
        Self {
            name: Self::USUAL.into(),
            key: USUAL_KEY,
        }
    }
}

impl InstallSchema {
    /// The usual schema.
    pub const USUAL: &str = "agent_sync";

    /// The schema of this name, if a schema of an install can have it: it stands in SQL without
    /// quotes.
    pub fn of(name: &str) -> Option<Self> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=LONGEST).contains(&name.len())
            && name.bytes().all(is_plain)
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.starts_with("pg_")
            && !["public", "information_schema"].contains(&name)
            && !RESERVED.split(' ').any(|word| word == name)
            && !MODULES.split(' ').any(|module| module == name)
            // Such a name could be that of a channel of another install.
            && !DERIVED.iter().any(|end| name.ends_with(end));
        fits.then(|| Self {
            name: name.into(),
            key: if name == Self::USUAL {
                USUAL_KEY
            } else {
                key_of(name)
            },
        })
    }

    /// Its name, which is also the name of the channel of wake-ups and of requests (I7).
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A statement that was written for the usual schema, for this one. A name in double quotes
    /// stays: it belongs to the platform.
    pub fn localize<'a>(&self, statement: &'a str) -> Cow<'a, str> {
        self.exchange(statement, |_, _, _| true)
    }

    /// A message that was written for the usual schema, for this one. Names of the platform in it
    /// stay: a word is exchanged only where a message names the schema or a part of the install.
    pub fn localize_message<'a>(&self, message: &'a str) -> Cow<'a, str> {
        self.exchange(message, |before, end, after| {
            if !end.is_empty() {
                return before.ends_with(BEFORE_TRIGGER);
            }
            let part = after.strip_prefix('.').unwrap_or_default();
            let part = part.split(|c| !is_of_word(c)).next().unwrap_or_default();
            PARTS.contains(&part) || BEFORE.iter().any(|words| before.ends_with(words))
        })
    }

    /// Exchanges the words that are the usual name, or begin with it, where the text before it, its
    /// end and the text after it are so.
    fn exchange<'a>(
        &self,
        text: &'a str,
        is_so: impl Fn(&str, &str, &str) -> bool,
    ) -> Cow<'a, str> {
        if &*self.name == Self::USUAL {
            return Cow::Borrowed(text);
        }
        let mut localized = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = if let Some(name) = quoted_name(rest) {
                name.len() + 2
            } else if is_of_word(first) {
                rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())
            } else {
                first.len_utf8()
            };
            let (before, (part, after)) = (&text[..text.len() - rest.len()], rest.split_at(length));
            match part.strip_prefix(Self::USUAL) {
                Some(end)
                    if (end.is_empty() || DERIVED.contains(&end)) && is_so(before, end, after) =>
                {
                    localized.push_str(&self.name);
                    localized.push_str(end);
                }
                _ if part.parse() == Ok(USUAL_KEY) => localized.push_str(&self.key.to_string()),
                _ => localized.push_str(part),
            }
            rest = after;
        }
        Cow::Owned(localized)
    }
}

impl TryFrom<String> for InstallSchema {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::of(&name).ok_or("not a name that the schema of an install can have")
    }
}

/// The name in double quotes that the text begins with. Other SQL has a double quote in a text
/// constant, and an apostrophe before the next one.
fn quoted_name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('"')?.split_once('"')?;
    (!name.contains(['\'', '\n'])).then_some(name)
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The key of the locks of another schema: FNV-1a, 31 bits, because PostgreSQL takes an integer.
fn key_of(name: &str) -> u32 {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    match hash & 0x7fff_ffff {
        USUAL_KEY => USUAL_KEY + 1,
        key => key,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn t6_a_schema_has_a_name_that_needs_no_quotes() {
        for name in [
            "agent_sync",
            "sync_a",
            "_",
            "tenant1",
            "outbox",
            &"a".repeat(40),
        ] {
            let schema = InstallSchema::of(name);
            assert_eq!(schema.as_ref().map(InstallSchema::name), Some(name));
        }
        for name in [
            "",
            "A",
            "1a",
            "a-b",
            "a.b",
            "a\"b",
            "é",
            "pg_sync",
            "public",
            "user",
            "select",
            "plpgsql",
            "auto_explain",
            "agent_sync_change",
            "x_insert",
            &"a".repeat(41),
        ] {
            assert_eq!(InstallSchema::of(name), None, "{name}");
        }
    }

    #[test]
    fn t6_the_usual_schema_changes_nothing() {
        let text = "SELECT agent_sync.outbox, 1634169721";
        assert!(matches!(
            InstallSchema::default().localize(text),
            Cow::Borrowed(same) if same == text
        ));
        assert_eq!(
            InstallSchema::of(InstallSchema::USUAL),
            Some(InstallSchema::default())
        );
    }

    #[test]
    fn t6_names_of_the_install_are_exchanged_and_no_others() {
        let Some(schema) = InstallSchema::of("sync_a") else {
            panic!("a plain name");
        };
        let key = schema.key;
        assert!(key != USUAL_KEY && i32::try_from(key).is_ok());
        for (text, expected) in [
            (
                "FROM agent_sync.outbox o",
                "FROM sync_a.outbox o".to_owned(),
            ),
            (
                "'agent_sync.outbox'::regclass",
                "'sync_a.outbox'::regclass".into(),
            ),
            (
                "LISTEN agent_sync; LISTEN agent_sync_change",
                "LISTEN sync_a; LISTEN sync_a_change".into(),
            ),
            ("'agent_sync_insert'", "'sync_a_insert'".into()),
            ("lock(1634169721, 2)", format!("lock({key}, 2)")),
            ("21634169721", "21634169721".into()),
            (
                r#""agent_sync"."agent_sync.x" agent_sync"#,
                r#""agent_sync"."agent_sync.x" sync_a"#.into(),
            ),
            (
                r#"'"' || replace(agent_sync.x, '"', '""') || '"' agent_sync"#,
                r#"'"' || replace(sync_a.x, '"', '""') || '"' sync_a"#.into(),
            ),
            (
                "my_agent_sync agent_syncs éagent_sync agent_sync_daemon",
                "my_agent_sync agent_syncs éagent_sync agent_sync_daemon".into(),
            ),
            ("agent-sync install", "agent-sync install".into()),
        ] {
            assert_eq!(schema.localize(text), expected);
        }
    }

    #[test]
    fn t6_names_of_the_platform_stay_in_messages() {
        let Some(schema) = InstallSchema::of("sync_a") else {
            panic!("a plain name");
        };
        for (text, expected) in [
            (
                "the role agent_sync lacks SELECT ON agent_sync.outbox",
                "the role agent_sync lacks SELECT ON sync_a.outbox",
            ),
            (
                "`install --role agent_sync`, or: GRANT USAGE ON SCHEMA agent_sync TO agent_sync;",
                "`install --role agent_sync`, or: GRANT USAGE ON SCHEMA sync_a TO agent_sync;",
            ),
            (
                "INSERT INTO agent_sync.agent_configurations VALUES ('agent_sync', '{}')",
                "INSERT INTO agent_sync.agent_configurations VALUES ('agent_sync', '{}')",
            ),
            (
                "the agents agent_sync and agent_sync_change",
                "the agents agent_sync and agent_sync_change",
            ),
            (
                "DROP TRIGGER agent_sync_insert ON a; \
                DROP TRIGGER IF EXISTS agent_sync_insert ON b",
                "DROP TRIGGER agent_sync_insert ON a; DROP TRIGGER IF EXISTS sync_a_insert ON b",
            ),
            (
                "on the channel agent_sync: SELECT pg_notify('agent_sync', '')",
                "on the channel sync_a: SELECT pg_notify('sync_a', '')",
            ),
            (
                "the install in the schema \"agent_sync\" serves it",
                "the install in the schema \"agent_sync\" serves it",
            ),
        ] {
            assert_eq!(schema.localize_message(text), expected);
        }
    }

    #[test]
    fn t6_every_part_that_an_install_makes_is_known_to_messages() {
        let sql = concat!(
            include_str!("../../sql/0001_schema.sql"),
            include_str!("../../sql/attach.sql"),
            include_str!("../../sql/capture.sql"),
        );
        let sql = sql.replace("/* function */", "");
        let kinds = ["TABLE ", "VIEW ", "SEQUENCE ", "FUNCTION "];
        let made: BTreeSet<&str> = kinds
            .iter()
            .flat_map(|kind| {
                let made = ["CREATE ", "CREATE OR REPLACE "].map(|create| [create, kind].concat());
                made.into_iter().flat_map(|made| {
                    let made = made + "agent_sync.";
                    let names = sql
                        .match_indices(&made)
                        .map(|(at, made)| &sql[at + made.len()..]);
                    names
                        .filter_map(|name| name.split(|c| !is_of_word(c)).next())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        // The slug stands in the name of one of them; the other is made from the name of a trigger.
        let known = PARTS
            .into_iter()
            .filter(|part| *part != "capture_configuration");
        assert_eq!(made, known.collect());
    }
}
