//! Values of a row, checked: a server can send any bytes, and an unexpected value is an error of
//! its connection. It neither ends the process nor makes it reserve memory (G5, G12).

use std::error::Error;
use std::time::Duration;

use postgres_types::{FromSql, Type, accepts};

/// A length of time from a number of seconds (`float8`). A negative one counts as none, and an
/// infinite or a very large one as [`Seconds::MOST`]. NaN is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seconds(pub Duration);

impl Seconds {
    /// A hundred years: an `Instant` that far from now has a value.
    pub const MOST: Duration = Duration::from_secs(100 * 366 * 86_400);
}

impl<'a> FromSql<'a> for Seconds {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let seconds = f64::from_sql(of, raw)?;
        if seconds.is_nan() {
            return Err("expected a number of seconds, found NaN".into());
        }
        let seconds = seconds.clamp(0.0, Self::MOST.as_secs_f64());
        Ok(Self(
            Duration::try_from_secs_f64(seconds).unwrap_or(Self::MOST),
        ))
    }

    accepts!(FLOAT8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_a_number_of_seconds_is_a_length_of_time_or_an_error() {
        let second = Duration::from_secs(1);
        for (seconds, expected) in [
            (0.0, Some(Duration::ZERO)),
            (-0.0, Some(Duration::ZERO)),
            (1.0, Some(second)),
            (-1.0, Some(Duration::ZERO)),
            (f64::MIN_POSITIVE, Some(Duration::ZERO)),
            (f64::MAX, Some(Seconds::MOST)),
            (f64::MIN, Some(Duration::ZERO)),
            (1e18, Some(Seconds::MOST)),
            (f64::INFINITY, Some(Seconds::MOST)),
            (f64::NEG_INFINITY, Some(Duration::ZERO)),
            (f64::NAN, None),
            (-f64::NAN, None),
        ] {
            let read = Seconds::from_sql(&Type::FLOAT8, &f64::to_be_bytes(seconds));
            assert_eq!(read.ok(), expected.map(Seconds), "{seconds}");
        }
        assert!(Seconds::from_sql(&Type::FLOAT8, b"four").is_err());
        let now = std::time::Instant::now();
        assert!(now.checked_add(Seconds::MOST).is_some());
    }
}
