//! Times: their text in output (RFC 3339, UTC, milliseconds), and the end of a period.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serializer;

/// The last second that has a date of four digits, in seconds after 1970.
const LAST: Duration = Duration::from_secs(253_402_300_799);

/// The end of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// It ends after this time.
    After(Duration),
    /// It ends at this time.
    At(SystemTime),
}

/// Formats a time such as `2026-03-21T04:06:22.123Z`. A time before 1970 or after 9999, which only
/// a server can send, becomes the nearest one that has a format: the library panics at the others.
pub fn rfc3339(time: SystemTime) -> String {
    let time = time.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST);
    humantime::format_rfc3339_millis(time).to_string()
}

/// Serializes a time as RFC 3339.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub fn serialize<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// Serializes a time that may be unknown.
#[allow(clippy::ref_option, reason = "serde asks for it")]
pub fn serialize_option<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_774_066_782_123, "2026-03-21T04:19:42.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (4_133_980_799_000, "2100-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn a_time_without_a_date_of_four_digits_is_no_panic() {
        let day = Duration::from_secs(86_400);
        assert_eq!(rfc3339(UNIX_EPOCH - day), "1970-01-01T00:00:00.000Z");
        let last = "9999-12-31T23:59:59.000Z";
        assert_eq!(rfc3339(UNIX_EPOCH + LAST), last);
        assert_eq!(rfc3339(UNIX_EPOCH + LAST + day), last);
    }
}
