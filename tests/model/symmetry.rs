//! Equivalent states: one of them represents all, because their futures differ in names alone.
//!
//! A mutant makes no use of it, so that its story is complete.
//!
//! - Daemons have no names, nor have writers that do the same.
//! - A place in an inbox makes a difference only if the daemon might believe it when it looks: it
//!   rests and holds the lock. What comes earlier has it give up the lock (`Wait`), and so is a
//!   wake-up.
//! - Whose a row is that can be seen makes a difference only where the outbox may be rewritten:
//!   nobody but the leader takes rows, so no other comes to stand at the place of one that it has
//!   read. Nor do places that nobody thinks of: those behind them move up.

use agent_sync::session::News;

use super::notes::place;
use super::outbox::Row;
use super::state::{DAEMONS, Model, Phase, State, WRITERS};

impl Model {
    /// The state that stands for this one.
    pub(super) fn stand_in(&self, mut state: State) -> State {
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
