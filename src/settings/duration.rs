//! Durations in settings, such as `500ms`, `15s`, `1m 30s` or `2h`.
//!
//! A number without a unit is refused, because `timeout = 30` leaves its reader to guess.

use std::time::Duration;

use serde::{Deserialize as _, Deserializer, de};

use super::value_type::OFF;

/// The largest number of digits. A sum of so few cannot overflow, and `humantime` panics where some
/// sums do.
const DIGITS: usize = 10;

/// Reads a duration; `None` if the text is none or too long.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    // The only number without a unit that `humantime` takes.
    let is_bare = text == "0";
    if is_bare || digits > DIGITS {
        return None;
    }
    humantime::parse_duration(text).ok()
}

/// Whether an interval is switched off.
pub(crate) fn is_off(text: &str) -> bool {
    text == OFF || text == "0" || parse(text).is_some_and(|interval| interval.is_zero())
}

/// Reads a duration from an argument.
pub fn argument(text: &str) -> Result<Duration, &'static str> {
    parse(text).ok_or("expected a number with a unit, such as 500ms, 30s or 5m")
}

/// Reads a duration from a value that the schema has accepted.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| de::Error::custom("not a duration"))
}

/// Reads an interval from a value that the schema has accepted.
pub(crate) fn deserialize_interval<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if is_off(&text) {
        return Ok(None);
    }
    let interval = parse(&text).ok_or_else(|| de::Error::custom("not an interval"))?;
    Ok(Some(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_are_a_duration() {
        for (text, milliseconds) in [
            ("0ms", 0),
            ("500ms", 500),
            ("15s", 15_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            ("1m30s", 90_000),
            ("1h 1min 5 seconds", 3_665_000),
            ("30d", 2_592_000_000),
        ] {
            assert_eq!(
                parse(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_not() {
        for text in [
            "",
            "0",
            "5",
            "1m 30",
            "s",
            "-5s",
            "+5s",
            "5S",
            "5s,",
            "half a minute",
            "18446744073709551615h",
            // This sum makes the library panic.
            "18446744073709551615s 1000ms",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(parse(&format!("{}y", "9".repeat(DIGITS))).is_some());
    }
}
