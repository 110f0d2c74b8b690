//! The slugs that a scan of the outbox remembers: those with a problem, and those that were
//! requested.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Error;

use crate::pg::Version;
use crate::store::{Group, Problem};

/// The most slugs with a problem that are remembered in a scan (G12).
const REMEMBERED: usize = 10_000;

/// The slugs with a problem that this scan has found, each with the oldest transaction that had not
/// ended at the read of its try. The changes of older transactions were visible to that read: their
/// rows are taken, and the slug is not tried again for them.
///
/// The time of a row is no such proof: the transaction of an older row may have been committed
/// after the read (G1).
#[derive(Debug, Default)]
pub(super) struct Settled {
    slugs: BTreeMap<String, Version>,
}

impl Settled {
    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.slugs.clear();
    }

    /// Remembers the slugs of these problems, which a claim with this oldest running transaction
    /// has read.
    pub(super) fn add(&mut self, problems: &[Problem], oldest_running: Option<Version>) {
        let Some(oldest_running) = oldest_running else {
            return;
        };
        let room = REMEMBERED.saturating_sub(self.slugs.len());
        let slugs = problems.iter().take(room).map(|problem| &problem.slug);
        self.slugs
            .extend(slugs.map(|slug| (slug.clone(), oldest_running)));
    }

    /// Whether the try of this slug has seen all of its rows of the outbox.
    pub(super) fn covers(&self, slug: &str, group: Group<'_>) -> Result<bool, Error> {
        let Some(oldest_running) = self.slugs.get(slug) else {
            return Ok(false);
        };
        let versions = group.versions()?;
        Ok(versions
            .iter()
            .all(|version| version.is_before(*oldest_running)))
    }
}

/// The agents that were requested (I7), until a scan has processed them.
#[derive(Debug, Default)]
pub(super) struct Requested {
    slugs: BTreeSet<String>,
    everything: bool,
}

impl Requested {
    /// Adds these.
    pub(super) fn add(&mut self, slugs: &[String]) {
        self.slugs.extend(slugs.iter().cloned());
    }

    /// Adds every agent.
    pub(super) fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Marks the problems whose agent was requested.
    pub(super) fn mark(&self, problems: &mut [Problem]) {
        for problem in problems {
            problem.asked = self.everything || self.slugs.contains(&problem.slug);
        }
    }
}
