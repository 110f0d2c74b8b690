//! Equivalent states: one of them represents all, because their futures differ only in names.
//!
//! Mutants do not use it, so their traces are complete.
//!
//! - Daemons are interchangeable, and so are writers with the same script.
//! - A place in an inbox matters only if the daemon may use it: while it rests with the lock. An
//!   earlier one makes it release the lock (`Wait`), like a wake-up.
//! - The owner of a visible row matters only if the outbox may be rewritten: only the leader
//!   deletes rows, so no other row takes the place of one that it has read. Places to which no
//!   session refers do not matter: those behind them move up.

use agent_sync::session::News;

use super::notes::place;
use super::outbox::Row;
use super::state::{DAEMONS, Model, Phase, State, WRITERS};

impl Model {
    /// The representative of a state.
    pub(super) fn representative(&self, mut state: State) -> State {
        for daemon in &mut state.daemons {
            let may_believe = daemon.phase == Phase::Resting && daemon.protocol.holds_idle_lock();
            if !may_believe && place(daemon.news).is_some() {
                daemon.news = News::WakeUp;
            }
            if self.rewrites == 0 {
                daemon.single = daemon.single.anonymous();
            }
        }
        if self.rewrites == 0 {
            state.outbox = state.outbox.map(Row::anonymous);
            Self::without_gaps(&mut state);
        }
        let [one, other] = &state.daemons;
        if self.daemons == DAEMONS && (one.bits(), one.protocol) < (other.bits(), other.protocol) {
            state.daemons.swap(0, 1);
        }
        for (one, next) in (1..WRITERS).map(|next| (next - 1, next)) {
            if self.writers[one] == self.writers[next]
                && state.writers[one].bits() < state.writers[next].bits()
            {
                state.writers.swap(one, next);
                state.outbox = state.outbox.map(|row| row.exchanged(one, next));
                for daemon in &mut state.daemons {
                    daemon.single = daemon.single.exchanged(one, next);
                }
            }
        }
        state
    }
}
