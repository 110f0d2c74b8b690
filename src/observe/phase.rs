//! The phases of the task of a database.

/// The phase of a database task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The first connection attempt runs.
    Connecting,
    /// Another daemon leads.
    Standby,
    /// This daemon leads, and its first drain is not finished.
    CatchingUp,
    /// This daemon leads, and batches run.
    Draining,
    /// This daemon leads and sleeps.
    Waiting,
    /// The database is paused: no daemon leads.
    Paused,
    /// There is no connection, or the database is unusable.
    Lost,
}

impl Phase {
    /// Its name in `/status` and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Standby => "standby",
            Self::CatchingUp => "catching_up",
            Self::Draining => "draining",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Lost => "lost",
        }
    }

    /// Whether there is a usable connection. A pause may have closed it; then the daemon connects
    /// every few seconds to look for its end.
    pub fn is_connected(self) -> bool {
        !matches!(self, Self::Connecting | Self::Lost)
    }

    /// Whether this daemon leads.
    pub fn leads(self) -> bool {
        matches!(self, Self::CatchingUp | Self::Draining | Self::Waiting)
    }
}
