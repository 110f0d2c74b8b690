//! The exit codes of the commands (I2), and the fault that carries one.
//!
//! Inside, errors have types where code decides on them. Commands turn them into `anyhow` chains. A
//! [`Fault`] on such a chain, as context, gives the failed action, the remedy and the exit code.

use std::process::ExitCode;

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
