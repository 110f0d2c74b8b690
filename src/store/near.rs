//! The limit of the lookup of configurations whose slug is almost that of an agent (T7).
//!
//! A lookup reads all configurations, within the transaction of a batch. Invariants: a lookup takes
//! [`LONGEST`] at most, whatever a writer has put into the slugs, and one that fails costs the
//! batch nothing else; of the time of a database, long lookups take no more than [`Lookups`] says,
//! and each compares a few agents of a batch. They belong to the database, so a new connection is
//! no way to another lookup.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Lookups;

/// The most agents of a batch that are compared.
const COMPARED: usize = 20;

/// A lookup that takes no longer is followed by no pause.
const QUICK: Duration = Duration::from_millis(100);

/// The time limit of a lookup. One that fails is followed by [`PAUSE`].
pub(super) const LONGEST: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_secs(600);

/// The most characters of an almost equal slug that are named.
const NAMED: usize = 200;

/// The slug, or the beginning of a long one, which ends with an ellipsis.
pub(super) fn named(slug: &str) -> String {
    match slug.char_indices().nth(NAMED) {
        Some((end, _)) => format!("{}…", &slug[..end]),
        None => slug.to_owned(),
    }
}

/// When the next lookup in a database may begin, over all of its connections.
#[derive(Debug, Default)]
pub struct NearLookups(Mutex<Lookups>);

impl NearLookups {
    /// Those of the keys that are compared now: none during a pause.
    pub(super) fn of<'a, 'k>(&self, keys: &'a [&'k str], now: Instant) -> &'a [&'k str] {
        if !self.lookups().may_begin(now) {
            return &[];
        }
        &keys[..keys.len().min(COMPARED)]
    }

    /// A lookup has taken this long.
    pub(super) fn took(&self, duration: Duration, now: Instant) {
        if duration > QUICK {
            self.lookups().took(duration, now);
        }
    }

    /// A lookup has failed: it has taken too long, or the server refuses it.
    pub(super) fn failed(&self, now: Instant) {
        self.lookups().pause(PAUSE, now);
    }

    fn lookups(&self) -> std::sync::MutexGuard<'_, Lookups> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T7: 20,000 agents without a configuration do not make their database read all configurations
    /// without an end.
    #[test]
    fn t7_lookups_of_near_slugs_have_a_bound() {
        let (lookups, begun) = (NearLookups::default(), Instant::now());
        let keys = vec!["a"; 500];
        assert_eq!(lookups.of(&keys, begun).len(), 20);
        assert_eq!(lookups.of(&keys[..3], begun).len(), 3);
        lookups.took(Duration::from_millis(100), begun);
        assert_eq!(lookups.of(&keys, begun).len(), 20);
        lookups.took(Duration::from_millis(500), begun);
        for (after, compared) in [(0, 0), (4_999, 0), (5_000, 20)] {
            let now = begun + Duration::from_millis(after);
            assert_eq!(lookups.of(&keys, now).len(), compared, "after {after} ms");
        }
        lookups.failed(begun);
        for (after, compared) in [(0, 0), (599, 0), (600, 20)] {
            let now = begun + Duration::from_secs(after);
            assert_eq!(
                lookups.of(&keys, now).len(),
                compared,
                "{after} s after a failure"
            );
        }
    }

    #[test]
    fn t7_a_long_almost_equal_slug_is_named_by_its_beginning() {
        assert_eq!(named("café"), "café");
        assert_eq!(named(&"é".repeat(NAMED)), "é".repeat(NAMED));
        let cut = format!("{}…", "é".repeat(NAMED));
        assert_eq!(named(&"é".repeat(NAMED + 1)), cut);
    }
}
