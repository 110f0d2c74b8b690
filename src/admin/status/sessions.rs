//! The sessions of the daemons of one database.

use serde::Serialize;

use crate::observe::State;
use crate::observe::state::DaemonSession;

/// The sessions of the daemons, as far as this one knows of them.
#[derive(Serialize)]
pub(super) struct Sessions<'a> {
    /// The server process of the connection of this daemon, which leads; or else null.
    leader_pid: Option<i32>,
    /// The daemons that stand by, if this one leads.
    standbys: Option<Vec<Daemon<'a>>>,
    /// The daemon that leads, if this one stands by.
    led_by: Option<Daemon<'a>>,
}

impl<'a> Sessions<'a> {
    pub(super) fn of(state: &'a State) -> Self {
        let backlog = state.backlog.as_deref();
        let sessions = backlog.and_then(|backlog| backlog.sessions.as_ref());
        let standbys = sessions.map(|sessions| sessions.standbys.iter().map(Daemon::of).collect());
        Self {
            leader_pid: sessions.map(|sessions| sessions.leader),
            standbys,
            led_by: state.led_by.as_deref().map(Daemon::of),
        }
    }
}

/// A daemon.
#[derive(Serialize)]
struct Daemon<'a> {
    pid: i32,
    host: Option<&'a str>,
    program: &'a str,
}

impl<'a> Daemon<'a> {
    fn of(session: &'a DaemonSession) -> Self {
        Self {
            pid: session.pid,
            host: session.host.as_deref(),
            program: &session.program,
        }
    }
}
