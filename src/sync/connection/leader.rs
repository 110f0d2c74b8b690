//! The standby: it tries to take over, and checks that the leader works (G14).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{ConnectionLoop, Phase};
use crate::observe::{self, Event, event, pulse};
use crate::pg::identifier::Literal;
use crate::session::SessionError;
use crate::show::quoted;
use crate::store::{LeadAttempt, Leader, Mapping};
use crate::sync::error::{AttemptError, refuse_pause};

/// The interval at which a standby tries for the leader lock. It must not wait in the lock
/// function: a waiting statement holds a snapshot, which holds back vacuum in the whole cluster.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);

/// The time limit for the last note of a connection.
const FAREWELL: Duration = Duration::from_secs(1);

/// The shortest and the longest time between two checks of the leader by a standby. The statistics
/// of the server are a second late.
const LEADER_LOOKS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

/// How long a change waits before a leader that does nothing is a fault.
const REPORT_IDLE_LEADER_AFTER: Duration = Duration::from_secs(60);

/// The remedy for two daemons with different mappings.
const OTHER_MAPPING: &str = "Give all daemons of a database the same rules and the same names of \
    tables and columns, and name a database once in the settings.";

/// The last check of the leader.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaderSeen {
    at: Instant,
    /// How many changes had been taken by then.
    taken: i64,
    /// The time since which that number is the same.
    unmoved_since: Instant,
}

impl LeaderSeen {
    fn next(before: Option<Self>, taken: i64) -> Self {
        let at = Instant::now();
        let unmoved_since = before
            .filter(|before| before.taken == taken)
            .map_or(at, |before| before.unmoved_since);
        Self {
            at,
            taken,
            unmoved_since,
        }
    }

    /// Whether the leader does nothing. The session of a daemon is idle for long only where it
    /// hangs. One whose state is hidden, and one that does something else, is told by the changes
    /// that it takes: a daemon may wait for a lock or a slow write, with no change taken meanwhile.
    fn hangs(&self, leader: &Leader) -> bool {
        let is_unmoved = || self.unmoved_since.elapsed() >= REPORT_IDLE_LEADER_AFTER / 2;
        match leader.quiet {
            Some(quiet) => {
                quiet >= REPORT_IDLE_LEADER_AFTER / 2
                    || (leader.is_others || !leader.is_named) && is_unmoved()
            }
            None => is_unmoved(),
        }
    }
}

/// A fault of the leader, if there is one. A leader that does nothing (`hangs`) is a fault only if
/// a change has been waiting for long.
fn idle_leader(leader: &Leader, hangs: bool) -> Option<observe::Finding> {
    if let Some((gid, owner)) = &leader.prepared {
        return Some(observe::Finding {
            what: format!(
                "the prepared transaction {gid} of the role {owner} holds the leader lock and is \
                no daemon; changes are not applied"
            ),
            remedy: format!(
                "ROLLBACK PREPARED {}; and keep the role {owner} out of this database.",
                Literal(gid)
            ),
            misses_changes: true,
        });
    }
    let pid = leader.pid?;
    let role = leader.role.as_deref().unwrap_or("?");
    if !leader.is_able {
        return Some(observe::Finding {
            what: format!(
                "process {pid} of the role {role} holds the leader lock and is no daemon, for \
                its role may not take changes; they are not applied"
            ),
            remedy: format!(
                "SELECT pg_terminate_backend({pid}); and keep the role {role} out of this database."
            ),
            misses_changes: true,
        });
    }
    let program = leader.program.as_deref().unwrap_or_default();
    // A command or a look at the address lets go of inherited locks at once.
    let is_passing = program.starts_with("agent-sync ");
    let program = quoted(program);
    if !leader.is_named && !is_passing {
        return Some(observe::Finding {
            what: format!(
                "process {pid} of the role {role} holds the leader lock and is no daemon, for its \
                application name is {program}; changes are not applied"
            ),
            remedy: Leader::remedy_for_inherited_lock(pid),
            misses_changes: true,
        });
    }
    let waiting = leader
        .oldest
        .filter(|age| hangs && *age >= REPORT_IDLE_LEADER_AFTER)?;
    let (does, remedy) = idleness(leader.is_others, pid, &program);
    Some(observe::Finding {
        what: format!(
            "process {pid} of the role {role} {does} and applies no changes; the oldest has been \
            waiting for {} s",
            waiting.as_secs()
        ),
        remedy,
        misses_changes: true,
    })
}

/// The activity of the session `pid` that applies no changes, and the remedy. `is_others`:
/// whether its last statement is none of a daemon.
fn idleness(is_others: bool, pid: i32, program: &str) -> (String, String) {
    if is_others {
        let does = format!(
            "holds the leader lock as {program}, runs statements that are none of a daemon's,"
        );
        return (does, Leader::remedy_for_inherited_lock(pid));
    }
    let remedy = format!(
        "See in pg_stat_activity what it waits for. If it hangs, let another daemon lead: \
        SELECT pg_terminate_backend({pid});"
    );
    ("leads".to_owned(), remedy)
}

impl ConnectionLoop<'_> {
    /// The error after a batch that may not write: another session leads, or the database is
    /// paused.
    pub(super) async fn lost_lead(&mut self) -> AttemptError {
        match refuse_pause(&self.store).await {
            Ok(()) => AttemptError::LostLead,
            Err(error) => {
                self.note_last_write().await;
                self.ended(error)
            }
        }
    }

    /// Notes the time of the last write. Only the reports show it, so the end of the connection
    /// does not wait long for it.
    pub(super) async fn note_last_write(&mut self) {
        if let Some(at) = self.drain.take_last_write() {
            let noting = self.store.note_last_sync(at.elapsed());
            let _ = pulse::timeout(FAREWELL, noting).await;
        }
    }

    /// Tries for the leader lock once.
    pub(super) async fn stand_by(&mut self) -> Result<Phase, AttemptError> {
        // The request for the lock is also the connection probe of a standby (G9), so it has the
        // time limit of a probe.
        let time_limit = self.context.options.sync.probe_timeout;
        let asking = self.store.try_lead();
        let lead = pulse::timeout(time_limit, asking)
            .await
            .map_err(|_| SessionError::Dead(time_limit))??;
        match lead {
            LeadAttempt::Paused(pause) if pause.releases => {
                return Err(AttemptError::Paused(Box::new(pause)));
            }
            LeadAttempt::Paused(pause) => {
                self.health.note_pause(&self.context.observer, &pause);
                self.look_at_capture().await?;
            }
            LeadAttempt::Taken => {
                self.health.note_resumed(&self.context.observer);
                return Ok(Phase::CatchUp);
            }
            LeadAttempt::Held => {
                self.health.note_resumed(&self.context.observer);
                self.context
                    .observer
                    .tell(Event::Phase(observe::Phase::Standby));
                self.look_at_leader().await?;
                if self.health.standing_by() {
                    self.context.observer.tell(event::Leader::StandingBy);
                }
            }
        }
        let pause = STANDBY_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.pause(Instant::now() + pause).await;
        Ok(Phase::Standby)
    }

    /// Checks that the leader works: it may be no daemon, or a daemon that hangs.
    /// Then changes are not applied, and this daemon, which cannot take over, is not ready (G14).
    async fn look_at_leader(&mut self) -> Result<(), AttemptError> {
        let before = self.leader_seen;
        let interval = self
            .context
            .options
            .sync
            .sweep_interval
            .clamp(LEADER_LOOKS.0, LEADER_LOOKS.1);
        if before.is_some_and(|before| before.at.elapsed() < interval) {
            return Ok(());
        }
        self.begin_server_recheck();
        let leader = self.store.leader().await?;
        self.context
            .observer
            .tell(Event::LedBy(leader.session().as_ref()));
        let seen = LeaderSeen::next(before, leader.taken);
        self.leader_seen = Some(seen);
        let finding = idle_leader(&leader, seen.hangs(&leader));
        let rules = Arc::clone(&self.context.rules.borrow());
        let is_other = self.store.mapping(&rules).await? == Mapping::Other;
        let other = is_other.then(|| observe::Finding {
            what: "the daemon that leads works with other rules or columns than this one"
                .to_owned(),
            remedy: OTHER_MAPPING.to_owned(),
            misses_changes: false,
        });
        let was_other = std::mem::replace(&mut self.health.noticed.other_mapping, is_other);
        if is_other && !was_other {
            self.context
                .observer
                .tell(event::Leader::OtherMapping(OTHER_MAPPING));
        }
        self.in_force = finding.iter().cloned().chain(other).collect();
        self.tell_in_force();
        match &finding {
            Some(finding) if !self.health.noticed.leader_hangs => {
                self.context.observer.tell(event::Leader::Hangs(finding));
            }
            None if self.health.noticed.leader_hangs => {
                self.context.observer.tell(event::Leader::Works);
            }
            _ => {}
        }
        self.health.noticed.leader_hangs = finding.is_some();
        Ok(())
    }
}
