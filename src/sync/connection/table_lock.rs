//! Locks of other sessions on whole tables: the loop waits for them on the same connection (G16).

use std::time::{Duration, Instant};

use super::{ConnectionLoop, FIRST_SWEEP, Phase};
use crate::observe::{Finding, event, pulse};
use crate::sync::protocol::Input;

/// The time after which an event reports a lock of another session.
const REPORT_LOCK_AFTER: Duration = Duration::from_secs(5);
/// The pause between two tries while another session holds a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

impl ConnectionLoop<'_> {
    /// A statement of the loop has met the lock of another session. The loop pauses, repeats the
    /// phase, and sweeps within [`FIRST_SWEEP`], because the progress of the interrupted step is
    /// unknown (G16).
    pub(super) async fn wait_for_lock(&mut self, phase: Phase) -> Phase {
        self.pause_for_lock().await;
        self.owes_sweep = true;
        self.drain.tell(Input::Interrupted);
        self.next_sweep = self.next_sweep.min(Instant::now() + FIRST_SWEEP);
        match phase {
            Phase::Standby | Phase::CatchUp => phase,
            Phase::Draining | Phase::Polling { .. } | Phase::Waiting { .. } => Phase::Draining,
        }
    }

    /// A short pause, and an event when the lock has lasted for [`REPORT_LOCK_AFTER`].
    pub(super) async fn pause_for_lock(&mut self) {
        let now = Instant::now();
        let (since, told) = self.locked_since.get_or_insert((now, false));
        if !*told && now - *since >= REPORT_LOCK_AFTER {
            *told = true;
            self.context
                .observer
                .tell(event::Tables::LockedOut(now - *since));
            self.tell_in_force();
        }
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = pulse::sleep(LOCK_PAUSE) => {}
        }
    }

    /// The tables can be worked on.
    pub(super) fn no_lock(&mut self) {
        if self.owes_sweep {
            return;
        }
        if let Some((since, true)) = self.locked_since.take() {
            self.context
                .observer
                .tell(event::Tables::LockGone(since.elapsed()));
            self.tell_in_force();
        }
    }

    /// The lock as a finding, once it was reported.
    pub(super) fn lock_in_force(&self) -> Option<Finding> {
        let (_, true) = self.locked_since? else {
            return None;
        };
        Some(Finding {
            what: "a lock of another session on a table keeps changes from being applied"
                .to_owned(),
            remedy: event::Tables::LOCKED_OUT_REMEDY.to_owned(),
            misses_changes: false,
        })
    }
}
