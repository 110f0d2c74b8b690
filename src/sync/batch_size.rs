//! The size of the next batch, in rows and in bytes (G5, G12).
//!
//! Rows: one at first, more after each success, fewer after a batch that was too heavy or failed.
//! So a failing batch is bisected down to the row that causes the failure, and a connection that
//! begins after a lost one begins with little. Bytes: the server sends no more than the budget
//! (`store::queries::claim`). The budget follows the link: it grows after a quick batch in which
//! slugs did not fit, and shrinks after one that takes long. More than [`MOST_WITHOUT_TURN`] has an
//! effect only in the turn of heavy work.

use std::time::Duration;

use super::heavy::MOST_WITHOUT_TURN;

/// The budget of a batch at first, at least and at most, in bytes.
const BUDGET: (usize, usize, usize) = (MOST_WITHOUT_TURN, 64 * 1024, 8 * 1024 * 1024);

/// A batch that takes less than the first is quick, and one that takes more than the second is
/// slow.
const QUICK: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// The size of the next batch.
#[derive(Debug)]
pub(super) struct BatchSize {
    limit: u32,
    most: u32,
    budget: usize,
    bisecting: bool,
    /// Whether the last batches were light: after a heavy one the rows grow slowly, for what is
    /// left out was read in vain.
    light: bool,
}

impl BatchSize {
    pub(super) fn new(most: u32) -> Self {
        Self {
            limit: 1,
            most,
            budget: BUDGET.0,
            bisecting: false,
            light: true,
        }
    }

    /// The rows to take.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Their budget, in bytes: at most what is light, unless it is the turn of the connection.
    pub(super) fn budget(&self, has_turn: bool) -> usize {
        if has_turn {
            self.budget
        } else {
            self.budget.min(MOST_WITHOUT_TURN)
        }
    }

    /// Whether the turn would let the next batch take more.
    pub(super) fn wants_turn(&self) -> bool {
        !self.light && self.budget > MOST_WITHOUT_TURN
    }

    /// Whether a failed batch is being bisected: then no lock is waited for long.
    pub(super) fn is_bisecting(&self) -> bool {
        self.bisecting
    }

    /// A batch of this many rows is committed, after so long; `heavy` slugs of it were left out,
    /// and `slugs` were done.
    pub(super) fn on_success(&mut self, rows: usize, slugs: usize, heavy: usize, took: Duration) {
        if heavy > 0 {
            self.on_too_heavy(slugs, heavy);
        } else if rows >= self.limit as usize {
            let more = if self.light {
                self.limit
            } else {
                self.limit.div_ceil(8)
            };
            self.limit = self.limit.saturating_add(more).min(self.most);
            self.bisecting &= self.limit < self.most;
            self.light |= self.limit == self.most;
        }
        if took > QUICK.1 {
            self.budget = (self.budget / 2).max(BUDGET.1);
        } else if took < QUICK.0 && heavy > 0 {
            self.budget = (self.budget * 2).min(BUDGET.2);
        }
    }

    /// The batch would have been too heavy with these slugs; without them, so many are left.
    pub(super) fn on_too_heavy(&mut self, slugs: usize, heavy: usize) {
        self.light = false;
        let (limit, part) = (u64::from(self.limit), slugs as u64);
        let fitting = limit * part / (part + heavy as u64).max(1);
        self.limit = u32::try_from(fitting)
            .unwrap_or(self.most)
            .clamp(1, self.most);
    }

    /// A batch of this many rows has failed. False if it was a single row, which cannot be divided.
    pub(super) fn on_failure(&mut self, rows: usize) -> bool {
        if rows <= 1 {
            return false;
        }
        self.bisecting = true;
        self.limit = u32::try_from(rows / 2)
            .unwrap_or(self.most)
            .clamp(1, self.most);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn settle(batch_size: &mut BatchSize) -> u32 {
        for _ in 0..60 {
            let rows = batch_size.limit() as usize;
            batch_size.on_success(rows, rows, 0, SHORT);
        }
        batch_size.limit()
    }

    #[test]
    fn batches_begin_with_one_row_and_grow_to_the_most_that_is_set() {
        let mut batch_size = BatchSize::new(500);
        assert_eq!(batch_size.limit(), 1);
        assert_eq!(settle(&mut batch_size), 500);
        assert_eq!(settle(&mut BatchSize::new(5)), 5);
    }

    #[test]
    fn a_small_batch_says_nothing_about_a_large_one() {
        let mut batch_size = BatchSize::new(500);
        settle(&mut batch_size);
        batch_size.on_success(1, 1, 0, SHORT);
        assert_eq!(batch_size.limit(), 500);
    }

    #[test]
    fn a_heavy_batch_is_followed_by_one_of_as_many_rows_as_fit() {
        let mut batch_size = BatchSize::new(500);
        settle(&mut batch_size);
        batch_size.on_success(500, 4, 496, SHORT);
        assert_eq!(batch_size.limit(), 4);
        batch_size.on_too_heavy(0, 4);
        assert_eq!(batch_size.limit(), 1, "there is always one");
    }

    #[test]
    fn the_budget_follows_the_link_within_its_bounds() {
        let mut batch_size = BatchSize::new(500);
        for _ in 0..10 {
            batch_size.on_success(500, 1, 1, SHORT);
        }
        assert_eq!(batch_size.budget(true), BUDGET.2);
        assert_eq!(batch_size.budget(false), MOST_WITHOUT_TURN);
        assert!(batch_size.wants_turn());
        for _ in 0..10 {
            batch_size.on_success(500, 1, 1, Duration::from_secs(2));
        }
        assert_eq!(batch_size.budget(true), BUDGET.1);
        batch_size.on_success(1, 1, 0, SHORT);
        assert_eq!(
            batch_size.budget(true),
            BUDGET.1,
            "a light batch says nothing about a heavy one"
        );
    }

    #[test]
    fn a_failing_batch_is_halved_down_to_one_row_and_grows_again() {
        let mut batch_size = BatchSize::new(500);
        settle(&mut batch_size);
        for expected in [250, 125, 62, 31, 15, 7, 3, 1] {
            assert!(batch_size.on_failure(batch_size.limit() as usize));
            assert_eq!(batch_size.limit(), expected);
            assert!(batch_size.is_bisecting());
        }
        assert!(!batch_size.on_failure(1));
        assert_eq!(settle(&mut batch_size), 500);
        assert!(!batch_size.is_bisecting());
    }
}
