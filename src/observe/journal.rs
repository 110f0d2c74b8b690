//! Detects whether standard error is connected to systemd's journal, and prefixes each line with
//! its severity, such as `<4>`.
//!
//! Without the prefix, the journal stores every line with the same priority.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use tracing::Level;

/// Whether standard error is the stream that `JOURNAL_STREAM` names.
pub(super) fn is_stderr() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    stream
        .zip(stderr().ok())
        .is_some_and(|(stream, own)| is_of(&stream, own))
}

/// The device and inode of standard error.
fn stderr() -> io::Result<(u64, u64)> {
    let metadata = File::from(io::stderr().as_fd().try_clone_to_owned()?).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Whether `device:inode` equals this pair. Processes inherit the variable even if their standard
/// error goes elsewhere.
fn is_of(stream: &str, own: (u64, u64)) -> bool {
    let (device, inode) = stream.split_once(':').unwrap_or_default();
    (device.parse(), inode.parse()) == (Ok(own.0), Ok(own.1))
}

/// An error text for standard error; in the journal, each line gets the priority of an error.
pub fn error(text: &str) -> String {
    if is_stderr() {
        with_priority(Level::ERROR, text)
    } else {
        text.to_owned()
    }
}

/// Prefixes every line with the priority, because the journal splits messages at line feeds.
pub(super) fn with_priority(level: Level, text: &str) -> String {
    let priority = match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    text.lines()
        .flat_map(|line| ["<", priority, ">", line, "\n"])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_systemd_made_is_the_journal() {
        for (stream, expected) in [
            ("8:1234", true),
            ("8:123", false),
            ("9:1234", false),
            ("8", false),
            ("", false),
            ("x:y", false),
        ] {
            assert_eq!(is_of(stream, (8, 1234)), expected, "{stream}");
        }
    }

    #[test]
    fn every_line_has_the_priority_of_its_level() {
        assert_eq!(
            with_priority(Level::WARN, "one\n  two\n"),
            "<4>one\n<4>  two\n"
        );
        let of = |level| with_priority(level, "x").chars().nth(1);
        assert_eq!(
            [Level::ERROR, Level::INFO, Level::DEBUG, Level::TRACE].map(of),
            ["3", "6", "7", "7"].map(|digit| digit.chars().next())
        );
    }
}
