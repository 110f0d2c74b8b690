//! The check for configurations that match no agent.

use std::time::Duration;

use super::note::Note;
use super::problem;
use crate::key::Key;
use crate::pg::Db;
use crate::show::{count, plural, quoted, shorten};
use crate::store::Layout;
use crate::survey::{Unmatched, unmatched};

/// The time limit.
const LIMIT: Duration = Duration::from_secs(5);

/// Looks for them.
pub async fn configurations(db: &Db, layout: &Layout) -> Note {
    let topic = "unmatched";
    match unmatched(db, layout, LIMIT).await {
        Ok(Some(found)) if found.number == 0 => {
            Note::pass(topic, "every configuration matches an agent")
        }
        Ok(Some(found)) => Note::warn(
            topic,
            sentence(&found),
            "If they are in use, correct their slugs, or their tenants where tenants are set. If \
            not, delete them.",
        ),
        Ok(None) => Note::pass(
            topic,
            "not counted, because it takes longer than 5 s; `agent-sync check` counts the \
            configurations that match no agent",
        ),
        Err(error) => Note::unanswered(topic, &error),
    }
}

/// The sentence about configurations that match no agent.
pub fn sentence(found: &Unmatched) -> String {
    let name = |key: Key<'_>| {
        let slug = shorten(&quoted(key.slug), problem::LONGEST_SHOWN);
        format!("{slug}{}", problem::of_tenant(&key))
    };
    let some: Vec<_> = found.some().map(name).collect();
    let more = found.number - i64::try_from(some.len()).unwrap_or(0);
    let more = if more > 0 {
        format!(" and {} more", count(more))
    } else {
        String::new()
    };
    let (matches, them) = if found.number == 1 {
        ("matches", "it")
    } else {
        ("match", "them")
    };
    format!(
        "{} {matches} no agent, so nothing is written to {them}: {}{more}",
        plural(found.number, "configuration"),
        some.join(", ")
    )
}
