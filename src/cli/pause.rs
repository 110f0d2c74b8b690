//! The arguments of `pause`.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::Databases;
use crate::settings;
use crate::time::Until;

/// The arguments of `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The databases to pause.
    #[command(flatten)]
    pub databases: Databases,
    /// Why, as others will read it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<String>,
    /// When the pause ends by itself: after a time such as 2h, or at one such as
    /// 2026-03-21T04:00:00Z [default: never]
    #[arg(long, value_name = "WHEN", value_parser = until)]
    pub until: Option<Until>,
    /// Also close the connections of the daemons
    #[arg(long)]
    pub release: bool,
    /// The longest wait for the daemons, such as 30s or 5m
    #[arg(
        long,
        value_name = "DURATION",
        default_value = "30s",
        value_parser = settings::duration_argument
    )]
    pub timeout: Duration,
}

/// The longest reason, in characters.
const LONGEST: usize = 200;

/// Reads a duration such as `2h`, or a time such as `2026-03-21T04:00:00Z`, which is not over.
pub(super) fn until(text: &str) -> Result<Until, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return if time > SystemTime::now() {
            Ok(Until::At(time))
        } else {
            Err("expected a time that is not over (in UTC)".to_owned())
        };
    }
    match settings::duration_argument(text) {
        Ok(time) if !time.is_zero() => Ok(Until::After(time)),
        _ => Err(
            "expected a time from now, such as 30m or 2h, or a time in UTC, such as \
            2026-03-21T04:00:00Z"
                .to_owned(),
        ),
    }
}

/// Reads a reason: one line, not empty.
pub(super) fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    let length = text.chars().count();
    if text.is_empty() || text.contains(char::is_control) {
        Err("expected some words on one line".to_owned())
    } else if length > LONGEST {
        Err(format!(
            "expected at most {LONGEST} characters, and found {length}"
        ))
    } else {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_after_or_at_a_time_to_come() {
        assert_eq!(
            until("90m").unwrap(),
            Until::After(Duration::from_secs(5400))
        );
        let time = humantime::parse_rfc3339("2999-03-21T04:00:00Z").unwrap();
        for text in ["2999-03-21T04:00:00Z", "2999-03-21 04:00:00"] {
            assert_eq!(until(text).unwrap(), Until::At(time), "{text}");
        }
        for text in ["", "0s", "-1h", "tomorrow", "2020-03-21T04:00:00Z"] {
            assert!(until(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_some_words() {
        assert_eq!(reason(" bulk import ").unwrap(), "bulk import");
        for text in ["", "  ", "a\nb", "a\u{1b}[2J"] {
            assert!(reason(text).is_err(), "{text:?}");
        }
        assert!(reason(&"x".repeat(201)).is_err());
    }
}
