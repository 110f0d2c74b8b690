//! The keys that a drain remembers from batch to batch, within bounds ([`Remembered`]); and those
//! of a scan of the outbox: those with a problem, and those that were requested.

use std::collections::BTreeMap;

use tokio_postgres::Error;

use crate::key::Keys;
use crate::pg::Version;
use crate::store::{Group, Problem};

/// The most keys with a problem that are remembered in a scan.
const SETTLED: Most = Most {
    keys: 10_000,
    bytes: 1024 * 1024,
};

/// The most slow slugs that are remembered, and the most busy ones. Each is tried alone.
pub(super) const TRIED_ALONE: Most = Most {
    keys: 1_000,
    bytes: 512 * 1024,
};

/// The most keys that a scan passes over: they are sent with each claim.
pub(super) const PASSED: Most = Most {
    keys: 100,
    bytes: 64 * 1024,
};

/// The most requested agents of a scan. Of others, a problem that is noted is logged again.
const REQUESTED: Most = Most {
    keys: 10_000,
    bytes: 1024 * 1024,
};

/// Keys that outlast a batch, each with a value.
///
/// Invariant (G12): they are bounded in number and in bytes, because a writer decides on the length
/// of a slug. The keys are kept as they are and compared exactly: whether a row of the outbox is
/// taken untried depends on them, so another key with the same hash could lose a change (G1). A key
/// for which there is no room is not kept, and its rows are treated like those of any other.
#[derive(Debug)]
pub(super) struct Remembered<V> {
    keys: BTreeMap<String, V>,
    bytes: usize,
    most: Most,
}

/// The bounds of [`Remembered`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) keys: usize,
    pub(super) bytes: usize,
}

impl<V> Remembered<V> {
    /// Nothing yet.
    pub(super) fn new(most: Most) -> Self {
        Self {
            keys: BTreeMap::new(),
            bytes: 0,
            most,
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.keys.get(key)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.keys.get_mut(key)
    }

    /// Keeps the key with this value, if it is kept already or there is room. Returns whether it is
    /// kept.
    pub(super) fn insert(&mut self, key: &str, value: V) -> bool {
        if let Some(known) = self.keys.get_mut(key) {
            *known = value;
            return true;
        }
        let bytes = self.bytes.saturating_add(key.len());
        if self.keys.len() >= self.most.keys || bytes > self.most.bytes {
            return false;
        }
        self.bytes = bytes;
        self.keys.insert(key.to_owned(), value);
        true
    }

    /// Forgets a key.
    pub(super) fn remove(&mut self, key: &str) {
        if self.keys.remove(key).is_some() {
            self.bytes -= key.len();
        }
    }

    /// Forgets the keys whose value is not to be kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(&mut V) -> bool) {
        let bytes = &mut self.bytes;
        self.keys.retain(|key, value| {
            let is_kept = is_kept(value);
            if !is_kept {
                *bytes -= key.len();
            }
            is_kept
        });
    }

    /// The keys with their values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.keys.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.keys.clear();
        self.bytes = 0;
    }
}

/// The keys with a problem that this scan has found, each with the oldest transaction that had not
/// ended at the read of its try. The changes of older transactions were visible to that read: their
/// rows are taken, and the key is not tried again for them.
///
/// The time of a row is no such proof: the transaction of an older row may have been committed
/// after the read (G1).
#[derive(Debug)]
pub(super) struct Settled {
    keys: Remembered<Version>,
}

impl Default for Settled {
    fn default() -> Self {
        Self {
            keys: Remembered::new(SETTLED),
        }
    }
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
        for problem in problems {
            self.keys.insert(&problem.key, oldest_running);
        }
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
#[derive(Debug)]
pub(super) struct Requested {
    /// As the notifications name them.
    names: Remembered<()>,
    full_check: bool,
}

impl Default for Requested {
    fn default() -> Self {
        Self {
            names: Remembered::new(REQUESTED),
            full_check: false,
        }
    }
}

impl Requested {
    /// Adds these.
    pub(super) fn add(&mut self, names: &[String]) {
        for name in names {
            self.names.insert(name, ());
        }
    }

    /// Adds every agent.
    pub(super) fn add_full_check(&mut self) {
        self.full_check = true;
    }

    /// Marks the problems whose agent was requested.
    pub(super) fn mark(&self, keys: Keys, problems: &mut [Problem]) {
        for problem in problems {
            let key = keys.parts(&problem.key);
            problem.asked = self.full_check
                || self.names.get(key.slug).is_some()
                || self.names.get(&key.plain()).is_some();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// G12: neither many keys nor long ones take more than there is room for, and what is forgotten
    /// makes room.
    #[test]
    fn g12_remembered_keys_are_bounded_in_number_and_bytes() {
        let most = Most {
            keys: 3,
            bytes: 100,
        };
        let (long, mut keys) = ("x".repeat(90), Remembered::new(most));
        assert!(keys.insert(&long, 1) && keys.insert("a", 2));
        assert!(!keys.insert("too long for it", 3) && keys.get("too long for it").is_none());
        assert!(
            keys.insert("b", 3) && !keys.insert("c", 4),
            "there are three"
        );
        assert!(keys.insert(&long, 5) && keys.get(&long) == Some(&5));
        keys.retain(|value| *value != 5);
        assert!(keys.insert("too long for it", 6));
        keys.remove("too long for it");
        keys.remove("not there");
        assert_eq!((keys.bytes, keys.iter().count()), (2, 2));
        keys.clear();
        assert!(keys.insert(&"y".repeat(100), 7) && !keys.insert("z", 8));
    }

    /// G12, G1: of keys with a problem, the first MiB is remembered, and no other key counts as
    /// tried.
    #[test]
    fn g12_settled_keys_are_bounded_in_bytes() {
        let mut settled = Settled::default();
        for number in 0..10_000 {
            let key = format!("{number}{}", "x".repeat(8000));
            let problem = Problem::failed(&key, "", "");
            settled.add(&[problem], Some(Version::default()));
        }
        let bytes: usize = settled.keys.iter().map(|(key, _)| key.len()).sum();
        assert!((SETTLED.bytes / 2..=SETTLED.bytes).contains(&bytes));
    }
}
