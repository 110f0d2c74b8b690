//! Medians, percentiles and pairs.

/// The values of one round for both sides.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub ours: f64,
    pub beside: f64,
}

/// The nearest-rank percentile; NaN without values.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// The median; the mean of the two middle values if their number is even.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => {
            f64::midpoint(*below, *above)
        }
        (_, Some(one)) => *one,
        _ => f64::NAN,
    }
}

/// The smallest and the largest value.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(*value), most.max(*value)),
    )
}

/// The order of the sides in a round, rotated with the round so that no side is always first.
pub fn in_turn(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |index| (index + round) % sides)
}
