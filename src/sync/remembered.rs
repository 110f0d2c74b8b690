//! The keys that a scan of the outbox remembers: those with a problem, and those that were
//! requested.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Error;

use crate::key::Keys;
use crate::pg::Version;
use crate::store::{Group, Problem};

/// The most keys with a problem that are remembered in a scan (G12).
const REMEMBERED: usize = 10_000;

/// The keys with a problem that this scan has found, each with the oldest transaction that had not
/// ended at the read of its try. The changes of older transactions were visible to that read: their
/// rows are taken, and the key is not tried again for them.
///
/// The time of a row is no such proof: the transaction of an older row may have been committed
/// after the read (G1).
#[derive(Debug, Default)]
pub(super) struct Settled {
    keys: BTreeMap<String, Version>,
}

impl Settled {
    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
    }

    /// Remembers the keys of these problems, which a claim with this oldest running transaction
    /// has read.
    pub(super) fn add(&mut self, problems: &[Problem], oldest_running: Option<Version>) {
        let Some(oldest_running) = oldest_running else {
            return;
        };
        let room = REMEMBERED.saturating_sub(self.keys.len());
        let keys = problems.iter().take(room).map(|problem| &problem.key);
        self.keys
            .extend(keys.map(|key| (key.clone(), oldest_running)));
    }

    /// Whether the try of this key has seen all of its rows of the outbox.
    pub(super) fn covers(&self, key: &str, group: Group<'_>) -> Result<bool, Error> {
        let Some(oldest_running) = self.keys.get(key) else {
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
    /// As the notifications name them.
    names: BTreeSet<String>,
    everything: bool,
}

impl Requested {
    /// Adds these.
    pub(super) fn add(&mut self, names: &[String]) {
        self.names.extend(names.iter().cloned());
    }

    /// Adds every agent.
    pub(super) fn add_everything(&mut self) {
        self.everything = true;
    }

    /// Marks the problems whose agent was requested.
    pub(super) fn mark(&self, keys: Keys, problems: &mut [Problem]) {
        for problem in problems {
            let key = keys.parts(&problem.key);
            problem.asked = self.everything
                || self.names.contains(key.slug)
                || self.names.contains(&*key.plain());
        }
    }
}
