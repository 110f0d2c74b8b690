//! How a verb ends: the exit codes of I2, and the remedy that goes with an error.
//!
//! Inside, errors are typed where code decides. At the edge they are `anyhow` chains; a [`Fault`]
//! put on such a chain as context says what failed, what to do about it, and which exit code tells
//! a script so.

use std::ffi::OsString;
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};

use crate::observe::journal;
use crate::settings;
use crate::show::Clean;

/// The exit codes that agent-sync promises (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `check`, in sync.
    Done = 0,
    /// Anything that has no code of its own.
    Failed = 1,
    /// `check` found drift, or `doctor` found a fault.
    Drift = 2,
    /// The command line, the settings or the input are not what they should be.
    Usage = 64,
    /// A database is unavailable.
    Unavailable = 69,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What failed, which exit code says so, and what to do: put on an error chain with `anyhow`'s
/// `context`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// The exit code of the process.
    pub exit: Exit,
    what: String,
    /// What the reader can do about it: a sentence, or nothing where the cause says it all.
    pub remedy: Option<String>,
}

impl Fault {
    /// A fault of any kind.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            remedy: None,
        }
    }

    /// The command line, the settings or the input are wrong (exit 64).
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// A database cannot be reached or used (exit 69).
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, what)
    }

    /// The same fault with a sentence that says what to do.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// Prints an error the way every verb does, as cause chain and remedy, and returns the exit code
/// that goes with it.
pub fn report(error: &anyhow::Error) -> Exit {
    let fault = error.downcast_ref::<Fault>();
    let mut text = format!("agent-sync: {error}\n");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string().replace('\n', "\n    ");
        // Some errors tell their causes themselves; and what this one says is only that there is a
        // further cause.
        let message = cause.strip_prefix("ERROR: ").unwrap_or(&cause);
        if !text.contains(message) && cause != "db error" {
            text.push_str("  because: ");
            text.push_str(&cause);
            text.push('\n');
        }
    }
    if let Some(remedy) = fault.and_then(|fault| fault.remedy.as_deref()) {
        text.push_str("  try: ");
        text.push_str(remedy);
        text.push('\n');
    }
    say(&Clean::lines(&journal::error(&text)));
    fault.map_or(Exit::Failed, |fault| fault.exit)
}

/// Tells of a command line that is not understood. Where one of its arguments looks like a
/// connection string, none is told: such a line stands in units and scripts, and what it says goes
/// into a journal.
pub fn misunderstood(error: &clap::Error, arguments: impl IntoIterator<Item = OsString>) -> Exit {
    if arguments
        .into_iter()
        .any(|argument| settings::is_withheld(&argument.to_string_lossy()))
    {
        let what = "the command line is not understood, and one of its arguments looks like a \
            connection string (not shown)";
        let fault = Fault::usage(what).remedy(
            "put the connection string into DATABASE_URL or into the settings; `agent-sync --help` \
            has the arguments",
        );
        return report(&fault.into());
    }
    let text = error.render();
    let colours = AutoStream::choice(&std::io::stderr()) != ColorChoice::Never;
    let text = if colours {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    say(&Clean::styled(&text));
    Exit::Usage
}

/// Writes to standard error, beside the results.
pub fn say(text: &Clean<'_>) {
    // Nobody is left to tell when standard error is closed.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_str().as_bytes());
}
