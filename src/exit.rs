//! The exit codes of the commands (I2), and the fault that carries one.
//!
//! Errors have types where code decides on them. Commands turn them into `anyhow` chains. A
//! [`Fault`] as the context of such a chain gives the failed action, the remedy and the exit code.

use std::process::ExitCode;

/// The exit codes that agent-sync promises (I2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `check`, in sync.
    Done = 0,
    /// Any other failure.
    Failed = 1,
    /// `check` found drift, `status` or `doctor` found a fault, or `wait` a problem.
    Found = 2,
    /// The command line, the settings or the input are invalid.
    Usage = 64,
    /// A database is unavailable.
    Unavailable = 69,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The failed action, the exit code and the remedy, added to an error chain with `anyhow`'s
/// `context`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct Fault {
    /// The exit code of the process.
    pub exit: Exit,
    what: String,
    /// The remedy, as a sentence; `None` if the cause says it already.
    pub remedy: Option<String>,
}

impl Fault {
    /// A fault with this exit code.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            remedy: None,
        }
    }

    /// A fault of the command line, the settings or the input (exit 64).
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// A fault for a database that cannot be reached or used (exit 69).
    pub fn unavailable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, what)
    }

    /// Adds a remedy.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
