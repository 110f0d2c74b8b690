//! The options of every command that decide about its output.

use std::ffi::OsString;

use clap::{ArgAction, Args, ColorChoice, ValueEnum as _};

/// The heading of the options that every command has.
pub(super) const GLOBAL: &str = "Global options";

/// How much is written to standard error.
#[derive(Debug, Default, Clone, Copy, Args)]
pub struct Verbosity {
    /// Write more: -v sets log.level to debug, -vv to trace; check -v lists the warnings about
    /// agents in sync
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = GLOBAL)]
    pub verbose: u8,
    /// Write less: -q sets log.level to warn, -qq to error; commands write neither notes nor
    /// progress
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        conflicts_with = "verbose",
        help_heading = GLOBAL
    )]
    pub quiet: u8,
}

impl Verbosity {
    /// The level of the log that the command line sets, over every other source.
    pub fn level(self) -> Option<&'static str> {
        match (self.verbose, self.quiet) {
            (0, 0) => None,
            (1, _) => Some("debug"),
            (2.., _) => Some("trace"),
            (_, 1) => Some("warn"),
            (_, 2..) => Some("error"),
        }
    }
}

/// The value of `--color`, read before the command line is parsed: the help and the mistakes of the
/// command line have colours as well.
pub fn colours(arguments: impl IntoIterator<Item = OsString>) -> ColorChoice {
    let mut arguments = arguments
        .into_iter()
        .take_while(|argument| argument != "--");
    let mut choice = ColorChoice::Auto;
    while let Some(argument) = arguments.next() {
        let value = match argument.to_str() {
            Some("--color") => arguments.next(),
            Some(text) => text.strip_prefix("--color=").map(OsString::from),
            None => None,
        };
        let value = value.and_then(|value| value.into_string().ok());
        choice = value
            .and_then(|value| ColorChoice::from_str(&value, false).ok())
            .unwrap_or(choice);
    }
    choice
}
