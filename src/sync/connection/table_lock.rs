//! Locks of other sessions on whole tables: the loop waits for them on the same connection (G16).

use std::time::{Duration, Instant};

use super::{ConnectionLoop, FIRST_SWEEP, Phase};
use crate::observe::{Finding, event, pulse};
use crate::sync::protocol::Input;

/// The pause between two tries while another session holds a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The lock of another session, as far as this connection has met it. Its beginning outlives the
/// connection (`Health::locked_since`).
#[derive(Debug)]
pub(super) struct Locked {
    /// Whether it keeps batches from being written, as far as the last one shows. Otherwise it
    /// stops the sweep alone.
    pub(super) stops_batches: bool,
    /// Whether a statement outside a batch has met it. Batches may succeed all the same, so only a
    /// complete sweep shows that it is gone.
    pub(super) owes_sweep: bool,
}

impl Default for Locked {
    fn default() -> Self {
        Self {
            stops_batches: true,
            owes_sweep: false,
        }
    }
}

impl ConnectionLoop<'_> {
    /// A statement of the loop has met the lock of another session. The loop pauses, repeats the
    /// phase, and sweeps within [`FIRST_SWEEP`], because the progress of the interrupted step is
    /// unknown (G16).
    pub(super) async fn wait_for_lock(&mut self, phase: Phase) -> Phase {
        self.pause_for_lock().await;
        self.locked.owes_sweep = true;
        self.drain.tell(Input::Interrupted);
        self.next_sweep = self.next_sweep.min(Instant::now() + FIRST_SWEEP);
        match phase {
            Phase::Standby | Phase::CatchUp => phase,
            Phase::Draining | Phase::Polling { .. } | Phase::Waiting { .. } => Phase::Draining,
        }
    }

    /// A short pause, and an event when the lock has lasted for a while (`Health::note_lock`).
    pub(super) async fn pause_for_lock(&mut self) {
        if let Some(lasted) = self.health.note_lock() {
            let event = if self.locked.stops_batches {
                event::Tables::LockedOut(lasted)
            } else {
                event::Tables::SweepLockedOut(lasted)
            };
            self.context.observer.tell(event);
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
        if self.locked.owes_sweep {
            return;
        }
        if let Some((since, true)) = self.health.locked_since.take() {
            self.context
                .observer
                .tell(event::Tables::LockGone(since.elapsed()));
            self.tell_in_force();
        }
    }

    /// The lock as a finding, once it was reported.
    pub(super) fn lock_in_force(&self) -> Option<Finding> {
        let (_, true) = self.health.locked_since? else {
            return None;
        };
        Some(finding(self.locked.stops_batches))
    }
}

/// The finding about a lock that keeps batches from being written, or the sweep from its end.
pub(in crate::sync) fn finding(stops_batches: bool) -> Finding {
    let what = if stops_batches {
        "a lock of another session on a table keeps changes from being applied"
    } else {
        "a lock of another session on a table or row keeps the sweep from its end, so changes that \
        were missed are not looked for"
    };
    Finding {
        what: what.to_owned(),
        remedy: event::Tables::LOCKED_OUT_REMEDY.to_owned(),
        misses_changes: false,
    }
}
