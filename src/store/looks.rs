//! When a look at the tables may begin that others cause: for requested agents (I7, S8), whose
//! requests stay in the bounded inbox during a pause, and for near slugs (`near`).
//!
//! Invariant: the looks take at most an eleventh of the time.

use std::time::{Duration, Instant};

/// The pause after a look, as a multiple of its duration.
const PAUSE: u32 = 10;

/// When the next look may begin.
#[derive(Debug, Default)]
pub struct Looks {
    next: Option<Instant>,
}

impl Looks {
    /// When the next look may begin, if it may not begin at any time.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a look may begin.
    pub fn may_begin(&self, now: Instant) -> bool {
        self.next.is_none_or(|next| now >= next)
    }

    /// A look has taken this long, whatever its end was.
    pub fn took(&mut self, duration: Duration, now: Instant) {
        self.pause(duration.saturating_mul(PAUSE), now);
    }

    /// No look begins for so long.
    pub(super) fn pause(&mut self, duration: Duration, now: Instant) {
        self.next = now.checked_add(duration);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S8: whatever the looks take, and however often requests arrive, they take an eleventh of the
    /// time.
    #[test]
    fn s8_looks_for_requests_take_a_part_of_the_time() {
        let begun = Instant::now();
        let (mut looks, mut now, mut looked) = (Looks::default(), begun, Duration::ZERO);
        for round in 0..10_000u64 {
            if looks.may_begin(now) {
                let took = Duration::from_micros(1 + round * 7919 % 500_000);
                now += took;
                looks.took(took, now);
                looked += took;
            }
            now += Duration::from_millis(1);
        }
        let end = looks.next().unwrap_or(now).max(now);
        assert!(looked > Duration::ZERO && looked * 11 <= end - begun);
    }
}
