//! The configurations that match no agent, for `check`.

use std::time::Duration;

use serde_json::{Value, json};

use super::page::Page;
use crate::report;
use crate::show::{DIM, WIDTH, YELLOW, indented};
use crate::survey::Unmatched;

/// The time limit of their count.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// The count of them.
#[derive(Debug, Default)]
pub(super) enum Counted {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It took longer than [`LIMIT`].
    TooSlow,
    /// The result.
    Found(Unmatched),
}

impl From<Option<Unmatched>> for Counted {
    fn from(found: Option<Unmatched>) -> Self {
        found.map_or(Self::TooSlow, Self::Found)
    }
}

/// Prints the sentence on them, if there are any.
pub(super) fn print(page: &mut Page, counted: &Counted) {
    match counted {
        Counted::Found(found) if found.number > 0 => {
            let text = indented("  ", &report::unmatched::sentence(found), WIDTH);
            page.line(format_args!("{YELLOW}{text}{YELLOW:#}"));
        }
        Counted::TooSlow => {
            let text = "The configurations that match no agent are not counted: it takes longer \
                than a minute.";
            page.line(format_args!("{DIM}{}{DIM:#}", indented("  ", text, WIDTH)));
        }
        Counted::NotAsked | Counted::Found(_) => {}
    }
}

/// Their number and some of their keys; null if they are not counted.
pub(super) fn object(counted: &Counted) -> Value {
    let Counted::Found(found) = counted else {
        return Value::Null;
    };
    let some = found.some().map(|key| match &key.tenant {
        Some(tenant) => json!({ "tenant": tenant, "slug": key.slug }),
        None => json!({ "slug": key.slug }),
    });
    json!({ "configurations": found.number, "some": some.collect::<Vec<_>>() })
}
