//! The counts and latencies of the last hour, minute by minute, in a ring of 60 minutes (about 15
//! KiB) that is allocated with the first batch. Minutes are counted from the start of the process,
//! so a changed clock has no effect.

use super::histogram::{Histogram, LATENCY};
use super::totals::Totals;

/// The number of minutes in the ring.
pub const MINUTES: usize = 60;

/// One minute.
#[derive(Debug, Clone, Copy)]
pub struct Minute {
    /// The number of the minute; 0 is the first of the process.
    pub number: u64,
    /// The totals of its batches.
    pub totals: Totals,
    /// Agents that could not be brought in sync.
    pub failed: u64,
    /// The latencies of its slugs, from the change to the commit of the configuration, in seconds.
    pub latency: Histogram<19>,
}

impl Minute {
    fn new(number: u64) -> Self {
        Self {
            number,
            totals: Totals::default(),
            failed: 0,
            latency: Histogram::new(&LATENCY),
        }
    }
}

/// The ring of the last 60 minutes.
#[derive(Debug, Clone, Default)]
pub struct Hour {
    /// The minute `n` is at the index `n % 60`, until it is overwritten an hour later.
    ring: Vec<Minute>,
}

impl Hour {
    /// The minute of this number, emptied if the slot held an older one.
    pub fn at(&mut self, number: u64) -> &mut Minute {
        if self.ring.is_empty() {
            // Empty slots have a number that no running minute has.
            self.ring = vec![Minute::new(u64::MAX); MINUTES];
        }
        let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
        let minute = &mut self.ring[place];
        if minute.number != number {
            *minute = Minute::new(number);
        }
        minute
    }

    /// The last 60 minutes up to this one, oldest first, without minutes before the start of the
    /// process.
    pub fn until(&self, number: u64) -> impl Iterator<Item = Minute> {
        let first = number.saturating_sub(MINUTES as u64 - 1);
        (first..=number).map(|number| {
            let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
            self.ring
                .get(place)
                .filter(|minute| minute.number == number)
                .copied()
                .unwrap_or(Minute::new(number))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(hour: &Hour, until: u64) -> Vec<u64> {
        hour.until(until)
            .map(|minute| minute.totals.written)
            .collect()
    }

    #[test]
    fn a_minute_leaves_after_an_hour_and_its_place_is_used_again() {
        let mut hour = Hour::default();
        assert_eq!(written(&hour, 2), [0, 0, 0]);
        hour.at(0).totals.written += 1;
        hour.at(59).totals.written += 2;
        assert_eq!(written(&hour, 59).iter().sum::<u64>(), 3);
        assert_eq!(written(&hour, 60).iter().sum::<u64>(), 2);
        hour.at(60).totals.written += 4;
        assert_eq!(written(&hour, 60).len(), MINUTES);
        assert_eq!(written(&hour, 60).last(), Some(&4));
        assert_eq!(written(&hour, 1000).iter().sum::<u64>(), 0);
        assert!(size_of::<Minute>() * MINUTES <= 15 * 1024);
    }
}
