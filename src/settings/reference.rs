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

<!-- Generated from the code by `UPDATE_DOCS=1 cargo test --test it docs`; a test compares the two. -->

The sources, the later over the earlier: built-in defaults; the file (`--config`, else
`$AGENT_SYNC_CONFIG`, else `/etc/agent-sync/agent-sync.toml`); `databases.d/*.toml` beside it, in
the order of their names; the environment. `AGENT_SYNC__SYNC__BATCH_SIZE=100` sets
`sync.batch_size`, and `AGENT_SYNC__DATABASES__MAIN__URL=…` the URL of the database `main`.
`DATABASE_URL` alone defines one database named `default`. An unknown key or a value of the wrong
type is an error, and all errors are reported at once. `agent-sync config` prints the values in
force and the source of each.

A duration is a whole number and a unit: `500ms`, `15s`, `2m`, `1h`.
[`config/agent-sync.toml`](../config/agent-sync.toml) has the same keys as a file to copy from.
";
