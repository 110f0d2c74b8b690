//! `docs/settings.md`, made from the schema; a test holds the two together.

use std::fmt::Write as _;

use super::schema::{Default, KEYS};

/// The text of it.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut section = "";
    for key in KEYS {
        let (own, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if own != section {
            section = own;
            let title = section.replace('*', "NAME");
            let _ = write!(
                text,
                "\n## `[{title}]`\n\n| key | what it can be | default | what it does \
                |\n|---|---|---|---|\n"
            );
        }
        let default = match key.default {
            Default::Unset(example) => format!("not set; for example `\"{example}\"`"),
            _ => format!("`{}`", key.example()),
        };
        let _ = writeln!(
            text,
            "| `{name}` | {} | {default} | {} |",
            key.kind.expected().replace('|', "\\|"),
            key.doc.replace('|', "\\|")
        );
    }
    text
}

const HEAD: &str = "\
# Settings

<!-- Made from src/settings/schema.rs by `UPDATE_DOCS=1 cargo test --test it docs`; a test holds the two together. -->

Built-in defaults, then the file (`--config`, else `$AGENT_SYNC_CONFIG`, else
`/etc/agent-sync/agent-sync.toml`), then `databases.d/*.toml` beside it in the order of their names,
then the environment: `AGENT_SYNC__SYNC__BATCH_SIZE=100` sets `sync.batch_size`, and
`AGENT_SYNC__DATABASES__MAIN__URL=…` the URL of the database `main`. `DATABASE_URL` alone defines
one database named `default`. An unknown or ill-typed key is an error, and all errors come out at
once. `agent-sync config` prints what is in force, and where each value comes from.

A duration is a whole number and a unit: `500ms`, `15s`, `2m`, `1h`.
[`config/agent-sync.toml`](../config/agent-sync.toml) is the same as a file to copy from.
";
