//! The limits of a session: of its statements and locks, and of the memory for an answer of its
//! server (G12).

use std::time::Duration;

/// The most memory for one answer of a server: a batch has 1 MiB of values and 2 MiB of slugs, and
/// other answers are smaller.
pub const ORDINARY: u64 = 16 * 1024 * 1024;

/// The most memory for an answer in the turn of heavy work (`sync::heavy`) and for one of an audit:
/// a batch has 8 MiB, and an agent with its configuration 16 MiB.
pub const LARGE: u64 = 32 * 1024 * 1024;

/// The most memory for an answer where the daemon explains one agent to a client, who may ask again
/// and again: a few rows of half a MiB (`report::Reach`).
pub const BRIEF: u64 = 4 * 1024 * 1024;

/// The most memory for an answer of a command that compares agents, one database at a time: a
/// portion has up to 32 rows (`survey`), and after small ones many may be large.
pub const PORTION: u64 = 256 * 1024 * 1024;

/// The timeouts of statements and locks.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The server's `statement_timeout`.
    pub statement_timeout: Duration,
    /// The longest `lock_timeout` of the session.
    pub lock_timeout: Duration,
}

impl Limits {
    /// How long an answer may take beyond `statement_timeout`.
    const MARGIN: Duration = Duration::from_secs(5);

    /// From the settings.
    pub fn of(sync: &crate::settings::SyncSettings) -> Self {
        Self {
            statement_timeout: sync.statement_timeout,
            lock_timeout: sync.lock_timeout,
        }
    }

    /// The same, where no statement takes longer than that.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self {
            statement_timeout: self.statement_timeout.min(time),
            ..self
        }
    }

    /// The longest time for an answer.
    pub(super) fn of_an_answer(self) -> Duration {
        self.statement_timeout + Self::MARGIN
    }
}
