//! The pause of a database, as `agent-sync pause` begins it.

use std::fmt::{self, Display};
use std::time::SystemTime;

use serde::Serialize;

use crate::show::Clean;

/// A pause that is in force. While it lasts, changes are noted and not applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Its beginning.
    #[serde(serialize_with = "crate::time::serialize")]
    pub since: SystemTime,
    /// Its end, if it ends by itself.
    #[serde(serialize_with = "crate::time::serialize_option")]
    pub until: Option<SystemTime>,
    /// The user that began it: of the operating system, the role, and the address.
    pub by: String,
    /// The reason that the user gave.
    pub reason: Option<String>,
    /// Whether daemons close their connections.
    pub releases: bool,
}

impl Pause {
    /// The remedy.
    pub const REMEDY: &'static str = "`agent-sync resume` ends the pause.";
}

impl Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = crate::time::rfc3339(self.since);
        write!(f, "paused since {since} by {}", Clean::line(&self.by))?;
        if let Some(until) = self.until {
            write!(f, ", until {}", crate::time::rfc3339(until))?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ", because: {}", Clean::line(reason))?;
        }
        Ok(())
    }
}
