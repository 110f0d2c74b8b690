//! How many outbox rows the next batch takes: few at first, more while it goes well, fewer when a batch was large in
//! bytes (G12) or failed (G5). So a batch is bounded in memory whatever the agents hold, and a batch that cannot be
//! written as a whole is narrowed down to the row that is to blame.

/// Where every connection begins.
const FIRST: u32 = 16;

/// What a batch may weigh, as PostgreSQL sends it; the arrays that go back weigh no more.
const BYTES: usize = 8 * 1024 * 1024;

/// The size of the next batch.
#[derive(Debug)]
pub(super) struct Pace {
    limit: u32,
    most: u32,
    careful: bool,
}

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { limit: FIRST.min(most), most, careful: false }
    }

    /// The rows to take.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether a batch has failed and its culprit is being looked for: then nothing is waited for long.
    pub(super) fn is_careful(&self) -> bool {
        self.careful
    }

    /// A batch of this many rows and bytes is committed.
    pub(super) fn went_well(&mut self, rows: usize, bytes: usize) {
        let full = rows >= self.limit as usize;
        if full {
            self.limit = self.limit.saturating_mul(2).min(self.most);
            self.careful &= self.limit < self.most;
        }
        let weight = bytes / rows.max(1);
        if let Some(fitting) = BYTES.checked_div(weight) {
            self.limit = self.limit.min(u32::try_from(fitting).unwrap_or(u32::MAX)).max(1);
        }
    }

    /// A batch of this many rows has failed. False if it was a single row, which cannot be divided.
    pub(super) fn went_wrong(&mut self, rows: usize) -> bool {
        if rows <= 1 {
            return false;
        }
        self.careful = true;
        self.limit = u32::try_from(rows / 2).unwrap_or(self.most).clamp(1, self.most);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(pace: &mut Pace, bytes_a_row: usize) -> u32 {
        for _ in 0..20 {
            let rows = pace.limit() as usize;
            pace.went_well(rows, rows * bytes_a_row);
        }
        pace.limit()
    }

    #[test]
    fn batches_grow_to_the_most_that_is_set_and_to_what_fits() {
        assert_eq!(settle(&mut Pace::new(500), 1000), 500);
        assert_eq!(settle(&mut Pace::new(5), 1000), 5);
        assert_eq!(settle(&mut Pace::new(500), 1024 * 1024), 8);
        assert_eq!(settle(&mut Pace::new(500), 100 * 1024 * 1024), 1);
    }

    #[test]
    fn a_small_batch_says_nothing_about_a_large_one() {
        let mut pace = Pace::new(500);
        pace.went_well(1, 100);
        assert_eq!(pace.limit(), FIRST);
    }

    #[test]
    fn a_failing_batch_is_halved_down_to_one_row_and_grows_again() {
        let mut pace = Pace::new(500);
        settle(&mut pace, 10);
        for expected in [250, 125, 62, 31, 15, 7, 3, 1] {
            assert!(pace.went_wrong(pace.limit() as usize));
            assert_eq!(pace.limit(), expected);
            assert!(pace.is_careful());
        }
        assert!(!pace.went_wrong(1));
        assert_eq!(settle(&mut pace, 10), 500);
        assert!(!pace.is_careful());
    }
}
