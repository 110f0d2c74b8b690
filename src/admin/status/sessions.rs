//! The sessions of the daemons of one database.

use serde::Serialize;

use crate::observe::state::{self, Backlog};

/// The sessions as the leader sees them; nulls if this daemon does not lead.
#[derive(Serialize)]
pub(super) struct Sessions<'a> {
    /// The server process of the leader's connection.
    leader_pid: Option<i32>,
    standbys: Option<Vec<Standby<'a>>>,
}

impl<'a> Sessions<'a> {
    pub(super) fn of(backlog: Option<&'a Backlog>) -> Self {
        let sessions = backlog.and_then(|backlog| backlog.sessions.as_ref());
        let standbys = sessions.map(|sessions| sessions.standbys.iter().map(Standby::of).collect());
        Self {
            leader_pid: sessions.map(|sessions| sessions.leader),
            standbys,
        }
    }
}

/// A daemon that stands by.
#[derive(Serialize)]
struct Standby<'a> {
    pid: i32,
    host: Option<&'a str>,
    program: &'a str,
}

impl<'a> Standby<'a> {
    fn of(standby: &'a state::Standby) -> Self {
        Self {
            pid: standby.pid,
            host: standby.host.as_deref(),
            program: &standby.program,
        }
    }
}
