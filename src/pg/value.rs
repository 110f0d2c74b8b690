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

/// An array of one dimension. `Vec` reserves room for the elements that the array announces; this
/// type first compares their number with the bytes that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

/// No elements.
impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> List<T> {
    /// The fewest bytes of an element: its length.
    const ELEMENT: usize = 4;

    /// The number of elements that the array announces in its one dimension, if it has one.
    fn announced(raw: &[u8]) -> Option<i32> {
        const DIMENSIONS: usize = 12;
        let length = raw.get(DIMENSIONS..)?.first_chunk()?;
        Some(i32::from_be_bytes(*length))
    }
}

impl<'a, T: FromSql<'a>> FromSql<'a> for List<T> {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let most = raw.len() / Self::ELEMENT;
        let announced = Self::announced(raw).unwrap_or(0);
        if usize::try_from(announced).is_ok_and(|announced| announced > most) {
            let found = format!("expected an array of at most {most} elements, found {announced}");
            return Err(found.into());
        }
        Vec::from_sql(of, raw).map(Self)
    }

    fn accepts(of: &Type) -> bool {
        <Vec<T> as FromSql<'a>>::accepts(of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g12_an_array_reserves_no_more_than_it_brings() {
        /// Dimensions, flags and type; then length and first index for each; then the elements.
        fn array(dimensions: &[i32], elements: &[u32]) -> Vec<u8> {
            let count = i32::try_from(dimensions.len()).unwrap_or_default();
            let mut raw = [count, 0, 26].map(i32::to_be_bytes).concat();
            for length in dimensions {
                raw.extend([*length, 1].map(i32::to_be_bytes).concat());
            }
            for element in elements {
                raw.extend([4, *element].map(u32::to_be_bytes).concat());
            }
            raw
        }
        let read = |raw: &[u8]| List::<u32>::from_sql(&Type::OID_ARRAY, raw).ok();
        assert_eq!(read(&array(&[], &[])), Some(List(Vec::new())));
        assert_eq!(read(&array(&[0], &[])), Some(List(Vec::new())));
        assert_eq!(read(&array(&[3], &[7, 8, 9])), Some(List(vec![7, 8, 9])));
        for length in [2, 4, 16, 1 << 20, i32::MAX, -1, i32::MIN] {
            assert_eq!(read(&array(&[length], &[7, 8, 9])), None, "{length}");
        }
        for dimensions in [
            &[1, 3][..],
            &[i32::MAX, 1],
            &[1, i32::MAX],
            &[1 << 15, 1 << 15],
        ] {
            assert_eq!(read(&array(dimensions, &[7, 8, 9])), None, "{dimensions:?}");
        }
        let whole = array(&[3], &[7, 8, 9]);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end} bytes");
        }
    }

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
