//! The limit of the look for configurations whose slug is almost that of an agent (T7).
//!
//! A look reads all configurations. Invariant: the looks of a session that take long take at most a
//! tenth of its time, and each compares a few agents of a batch.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Looks;

/// The most agents of a batch that are compared.
const COMPARED: usize = 20;

/// A look that takes no longer is followed by no pause.
const QUICK: Duration = Duration::from_millis(100);

/// When the next look may begin.
#[derive(Debug, Default)]
pub(super) struct NearLooks(Mutex<Looks>);

impl NearLooks {
    /// Those of the keys that are compared now: none during a pause.
    pub(super) fn of<'a, 'k>(&self, keys: &'a [&'k str], now: Instant) -> &'a [&'k str] {
        if !self.looks().may_begin(now) {
            return &[];
        }
        &keys[..keys.len().min(COMPARED)]
    }

    /// A look has taken this long.
    pub(super) fn took(&self, duration: Duration, now: Instant) {
        if duration > QUICK {
            self.looks().took(duration, now);
        }
    }

    fn looks(&self) -> std::sync::MutexGuard<'_, Looks> {
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
    fn t7_looks_for_near_slugs_have_a_bound() {
        let (looks, begun) = (NearLooks::default(), Instant::now());
        let keys = vec!["a"; 500];
        assert_eq!(looks.of(&keys, begun).len(), 20);
        assert_eq!(looks.of(&keys[..3], begun).len(), 3);
        looks.took(Duration::from_millis(100), begun);
        assert_eq!(looks.of(&keys, begun).len(), 20);
        looks.took(Duration::from_millis(500), begun);
        for (after, compared) in [(0, 0), (4_999, 0), (5_000, 20)] {
            let now = begun + Duration::from_millis(after);
            assert_eq!(looks.of(&keys, now).len(), compared, "after {after} ms");
        }
    }
}
