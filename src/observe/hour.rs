//! The last hour, minute by minute: how much was done and how long it took. A ring of 60, about 15
//! KiB, which is allocated with the first batch; minutes are counted from the start of the process,
//! so a clock that is set changes nothing.

use super::event::Totals;
use super::histogram::{Histogram, LATENCY};

/// How many minutes are kept.
pub const MINUTES: usize = 60;

/// One minute.
#[derive(Debug, Clone, Copy)]
pub struct Minute {
    /// Which: 0 is the first of the process.
    pub number: u64,
    /// What its batches came to.
    pub totals: Totals,
    /// Writes that PostgreSQL refused.
    pub failed: u64,
    /// How long after their change the slugs were in sync.
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

/// The ring.
#[derive(Debug, Clone, Default)]
pub struct Hour {
    /// The minute `n` stands at `n % 60`, until its place is taken an hour later.
    ring: Vec<Minute>,
}

impl Hour {
    /// The minute of this number, to count in.
    pub fn at(&mut self, number: u64) -> &mut Minute {
        if self.ring.is_empty() {
            // Places that nothing was counted in pass for minutes of long ago.
            self.ring = vec![Minute::new(u64::MAX); MINUTES];
        }
        let place = usize::try_from(number % MINUTES as u64).unwrap_or(0);
        let minute = &mut self.ring[place];
        if minute.number != number {
            *minute = Minute::new(number);
        }
        minute
    }

    /// The hour that ends with this minute, oldest first; minutes before the start of the process
    /// are left out.
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
