//! Histograms with fixed buckets, so with fixed memory, in the form of Prometheus.

/// The bucket bounds of latencies, in seconds.
pub const LATENCY: [f64; 19] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

/// The bucket bounds of batch sizes, in rows of the outbox.
pub const ROWS: [f64; 13] = [
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0,
];

/// Counts values by the first bound that they do not exceed.
#[derive(Debug, Clone, Copy)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    counts: [u64; N],
    /// The number of values above every bound.
    more: u64,
    sum: f64,
    max: f64,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram.
    pub const fn new(bounds: &'static [f64; N]) -> Self {
        Self {
            bounds,
            counts: [0; N],
            more: 0,
            sum: 0.0,
            max: 0.0,
        }
    }

    /// Adds a value. A negative value, which only a clock that was set back can cause, counts as
    /// zero.
    pub fn add(&mut self, value: f64) {
        let value = value.max(0.0);
        let fits = self.bounds.iter().position(|bound| value <= *bound);
        match fits.and_then(|index| self.counts.get_mut(index)) {
            Some(count) => *count += 1,
            None => self.more += 1,
        }
        self.sum += value;
        self.max = self.max.max(value);
    }

    /// Adds all values of another histogram.
    pub fn merge(&mut self, other: &Self) {
        for (own, count) in self.counts.iter_mut().zip(&other.counts) {
            *own += count;
        }
        self.more += other.more;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.more
    }

    /// The sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The largest value; `None` without values.
    pub fn max(&self) -> Option<f64> {
        (self.count() > 0).then_some(self.max)
    }

    /// The number of values up to each bound and above the one before; the last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.counts.iter().copied().chain([self.more]))
    }

    /// The value that the share `q` of the values does not exceed, interpolated linearly within a
    /// bucket. `None` without values.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let max = self.max()?;
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let (total, float) = (self.count() as f64, |count: u64| count as f64);
        let rank = q * total;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            let count = float(*count);
            if count > 0.0 && below + count >= rank {
                let within = ((rank - below) / count).clamp(0.0, 1.0);
                return Some((lower + (bound - lower) * within).min(max));
            }
            below += count;
            lower = *bound;
        }
        Some(max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_by_the_first_bound_that_it_does_not_exceed() {
        let mut rows = Histogram::new(&ROWS);
        for value in [1.0, 1.0, 3.0, 500.0, 20_000.0, -1.0] {
            rows.add(value);
        }
        let counts: Vec<_> = rows.buckets().map(|(_, count)| count).collect();
        assert_eq!(counts, [3, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!((rows.count(), rows.max()), (6, Some(20_000.0)));
        assert!((rows.sum() - 20_505.0).abs() < f64::EPSILON);
    }

    #[test]
    fn a_quantile_lies_in_the_bucket_of_its_rank_and_is_no_larger_than_the_largest_value() {
        let mut latency = Histogram::new(&LATENCY);
        assert_eq!(latency.quantile(0.5), None);
        for _ in 0..99 {
            latency.add(0.0015);
        }
        latency.add(3.0);
        let median = latency.quantile(0.5).unwrap_or_default();
        assert!(median > 0.001 && median <= 0.002, "{median}");
        assert!(latency.quantile(0.999).unwrap_or_default() > 2.0);
        assert_eq!(latency.quantile(1.0), Some(3.0));
        latency.add(1000.0);
        assert_eq!(latency.quantile(1.0), Some(1000.0));
    }

    #[test]
    fn merged_histograms_count_what_both_count() {
        let (mut one, mut other) = (Histogram::new(&LATENCY), Histogram::new(&LATENCY));
        one.add(0.1);
        other.add(700.0);
        one.merge(&other);
        assert_eq!((one.count(), one.max()), (2, Some(700.0)));
    }
}
