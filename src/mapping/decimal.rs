//! Exact decimal numbers: the text of a JSON number, compared and rounded without floating point.
//!
//! A number is a sign, its significant digits and the power of ten of its decimal point, so
//! `1e999999999` costs as much as `1`. Exponents beyond [`FAR`] saturate: such numbers still order
//! correctly against every number that `PostgreSQL` can hold, and it can hold none of them.

use std::cmp::Ordering;

use super::json;

/// Exponents are clamped to this; adding the length of any text to it cannot overflow.
const FAR: i64 = 1 << 60;

/// The most digits that `PostgreSQL`'s `numeric`, and with it `jsonb`, takes before the decimal
/// point …
const MAX_INTEGER_DIGITS: i64 = 131_072;
/// … and after it.
const MAX_FRACTION_DIGITS: i64 = 16_383;
/// The largest exponent that `numeric` reads at all, even of a zero.
const MAX_EXPONENT: i64 = i32::MAX as i64 / 2;

/// The exact value of a JSON number: `0.d₁d₂d₃… × 10^point`, with neither leading nor trailing
/// zeros in `digits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    point: i64,
}

impl Decimal {
    /// Reads a number by the grammar of JSON; anything else is `None`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Parts::of(text).map(|parts| Self::of(&parts))
    }

    fn of(parts: &Parts<'_>) -> Self {
        let integer = parts.integer.trim_start_matches('0');
        let mut digits: Vec<u8> = integer.bytes().chain(parts.fraction.bytes()).collect();
        let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
        digits.drain(..zeros);
        let point = parts.exponent + length(integer) - i64::try_from(zeros).unwrap_or(FAR);
        let negative = parts.negative;
        let number = Self {
            negative,
            digits,
            point,
        };
        number.normal()
    }

    /// The number rounded to `scale` digits after the point, halves away from zero, as `numeric`
    /// does.
    pub(super) fn round(mut self, scale: i32) -> Self {
        let kept = self.point.saturating_add(i64::from(scale));
        if kept < 0 {
            self.digits.clear();
            return self.normal();
        }
        let Ok(kept) = usize::try_from(kept) else {
            return self;
        };
        let Some(&next) = self.digits.get(kept) else {
            return self;
        };
        self.digits.truncate(kept);
        if next >= b'5' {
            while self.digits.last() == Some(&b'9') {
                self.digits.pop();
            }
            if let Some(last) = self.digits.last_mut() {
                *last += 1;
            } else {
                self.digits.push(b'1');
                self.point += 1;
            }
        }
        self.normal()
    }

    fn normal(mut self) -> Self {
        while self.digits.last() == Some(&b'0') {
            self.digits.pop();
        }
        if self.digits.is_empty() {
            self.negative = false;
            self.point = 0;
        }
        self
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        sign(self).cmp(&sign(other)).then_with(|| {
            // Without leading and trailing zeros the digits order like words in a dictionary.
            let size = self
                .point
                .cmp(&other.point)
                .then_with(|| self.digits.cmp(&other.digits));
            if self.negative { size.reverse() } else { size }
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether `PostgreSQL` can keep this JSON number in a `jsonb` or a `numeric`.
pub(super) fn storable(text: &str) -> bool {
    Parts::of(text).is_some_and(|parts| {
        parts.exponent.abs() < MAX_EXPONENT
            && Decimal::of(&parts).point <= MAX_INTEGER_DIGITS
            && length(parts.fraction) - parts.exponent <= MAX_FRACTION_DIGITS
    })
}

/// The pieces of a JSON number.
struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        // `serde_json` has the grammar. It allows white space around a number.
        if !is_number || json::validate(text).ok()? != text {
            return None;
        }
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let negative = integer.starts_with('-');
        let far = if exponent.starts_with('-') { -FAR } else { FAR };
        Some(Self {
            negative,
            integer: integer.trim_start_matches('-'),
            fraction,
            exponent: exponent.parse().unwrap_or(far).clamp(-FAR, FAR),
        })
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(FAR)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value_and_to_the_last_digit() {
        for (left, right) in [
            ("1.0", "1.00"),
            ("1", "1e0"),
            ("0.9", "9E-1"),
            ("-0", "0e7"),
            ("1200", "1.2e+3"),
        ] {
            assert_eq!(number(left), number(right), "{left} and {right}");
        }
        assert_ne!(number("0.1000000000000000000001"), number("0.1"));
        assert_ne!(
            number("12345678901234567890123"),
            number("12345678901234567890124")
        );
    }

    #[test]
    fn numbers_order_by_sign_then_size() {
        let ordered = [
            "-1e999999999999999999999",
            "-10",
            "-9",
            "-0.1",
            "0",
            "1e-99999999999999999999",
        ];
        let ordered = ordered.into_iter().chain([
            "0.09",
            "0.1",
            "0.11",
            "2",
            "2.0000001",
            "10",
            "1e400",
            "1e99999999999",
        ]);
        let ordered: Vec<_> = ordered.map(number).collect();
        assert!(
            ordered.is_sorted_by(|left, right| left < right),
            "{ordered:?}"
        );
    }

    #[test]
    fn what_json_does_not_call_a_number_is_none() {
        for text in [
            "", "-", "+1", "01", "1.", ".5", "1e", "1e+", "0x1", "1_0", "1 ", "NaN", "Infinity",
            "٣",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (text, scale, rounded) in [
            ("0.125", 2, "0.13"),
            ("-0.125", 2, "-0.13"),
            ("0.1249999", 2, "0.12"),
            ("1.995", 2, "2"),
            ("0.5", 0, "1"),
            ("0.05", 0, "0"),
            ("0.49", 0, "0"),
            ("1.5", 5, "1.5"),
            ("1499", -3, "1000"),
            ("500", -3, "1000"),
            ("1e-999999999999999999999999", 3, "0"),
        ] {
            assert_eq!(
                number(text).round(scale),
                number(rounded),
                "{text} to {scale}"
            );
        }
    }

    /// The answers are those of `PostgreSQL` 15 to a cast to `jsonb`.
    #[test]
    fn storable_is_what_numeric_takes() {
        for text in [
            "0",
            "1e131071",
            "-12.5e-16000",
            "1e-16383",
            "12.5e-16382",
            "0e131999",
            "0e1073741822",
            "1234e131068",
        ] {
            assert!(storable(text), "{text}");
        }
        for text in [
            "1e131072",
            "1e-16384",
            "12.5e-16383",
            "0e-16384",
            "0e1073741823",
            "1e99999999999999999999",
            "1234e131069",
        ] {
            assert!(!storable(text), "{text}");
        }
    }

    /// A number of millionths, and one of the many ways to write it.
    fn spelled() -> impl Strategy<Value = (i128, String)> {
        let size = prop_oneof![0_i128..20, 0_i128..2_000_000, 0_i128..1_000_000_000_000_000];
        (size, any::<bool>(), 0_usize..9, -9_i32..9).prop_map(|(size, negative, zeros, shift)| {
            // The point goes `6 + shift` digits before the end, and the exponent takes it back.
            let places = 6 + shift;
            let digits = format!(
                "{size:0>width$}",
                width = usize::try_from(places.max(0)).unwrap() + 1
            );
            let (integer, fraction) =
                digits.split_at(digits.len() - usize::try_from(places.max(0)).unwrap());
            let fraction = format!("{fraction}{}", "0".repeat(zeros));
            let dot = if fraction.is_empty() { "" } else { "." };
            let sign = if negative { "-" } else { "" };
            let exponent = places.max(0) - 6;
            let text = format!("{sign}{integer}{dot}{fraction}e{exponent}");
            (if negative { -size } else { size }, text)
        })
    }

    proptest! {
        #[test]
        fn any_two_numbers_order_like_integers((left, a) in spelled(), (right, b) in spelled()) {
            prop_assert_eq!(number(&a).cmp(&number(&b)), left.cmp(&right), "{} and {}", a, b);
        }

        #[test]
        fn one_number_spelled_twice_is_one_number((value, text) in spelled(), zeros in 0_usize..9) {
            let factor = 10_i128.pow(u32::try_from(zeros).unwrap());
            let plain = format!("{}e-{}", value * factor, zeros + 6);
            prop_assert_eq!(number(&text), number(&plain), "{} and {}", text, plain);
        }

        #[test]
        fn rounding_is_integer_division((value, text) in spelled(), scale in -3_i32..=6) {
            let unit = 10_i128.pow(u32::try_from(6 - scale).unwrap());
            let rounded = (value.abs() + unit / 2) / unit * unit * value.signum();
            prop_assert_eq!(number(&text).round(scale), number(&format!("{rounded}e-6")), "{} to \
                {}", text, scale);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9.eE]{0,30}|.{0,9}", scale in any::<i32>()) {
            let _ = (storable(&text), Decimal::parse(&text).map(|number| number.round(scale)));
        }
    }
}
