//! Medians, percentiles and pairs.

/// What one round gave for both sides.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    pub ours: f64,
    pub beside: f64,
}

/// The nearest-rank percentile of some values; NaN of none.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// The median; of an even number of values, the mean of the two in the middle.
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

/// The least and the greatest.
pub fn spread(values: &[f64]) -> (f64, f64) {
    values.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(*value), most.max(*value)),
    )
}

/// The sides of a round in an order that changes with the round, so that no side always comes
/// first.
pub fn in_turn(sides: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..sides).map(move |index| (index + round) % sides)
}
