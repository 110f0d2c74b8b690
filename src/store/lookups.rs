//! When a lookup in the tables may begin that others cause: for requested agents (I7, S8), whose
//! requests stay in the bounded inbox during a pause, and for near slugs (`near`).
//!
//! Invariant: the lookups take at most an eleventh of the time.

use std::time::{Duration, Instant};

/// The pause after a lookup, as a multiple of its duration.
const PAUSE: u32 = 10;

/// When the next lookup may begin.
#[derive(Debug, Default)]
pub struct Lookups {
    next: Option<Instant>,
}

impl Lookups {
    /// The earliest time of the next lookup; none while one may begin at any time.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a lookup may begin.
    pub fn may_begin(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// A lookup has taken this long, whatever its end was.
    pub fn took(&mut self, duration: Duration, now: Instant) {
        self.pause(duration.saturating_mul(PAUSE), now);
    }

    /// No lookup begins for so long.
    pub(super) fn pause(&mut self, duration: Duration, now: Instant) {
        self.next = now.checked_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S8: whatever the lookups take, and however often requests arrive, they take an eleventh of
    /// the time.
    #[test]
    fn s8_lookups_for_requests_take_a_part_of_the_time() {
        let begun = Instant::now();
        let (mut lookups, mut now, mut looked) = (Lookups::default(), begun, Duration::ZERO);
        for round in 0..10_000u64 {
            if lookups.may_begin(now) {
                let took = Duration::from_micros(1 + round * 7919 % 500_000);
                now += took;
                lookups.took(took, now);
                looked += took;
            }
            now += Duration::from_millis(1);
        }
        let end = lookups.next().unwrap_or(now).max(now);
        assert!(looked > Duration::ZERO && looked * 11 <= end - begun);
    }
}
