//! The steps of the fast path (`sync::fast_path`): two statements, each in its own transaction.

use agent_sync::sync::protocol::Input;

use super::notes::place;
use super::outbox::Row;
use super::state::{Daemon, Model, Mutation, Phase, SLUGS, State, Step};

impl Model {
    /// The fast path for the place of a notification.
    pub(super) fn fast_path(
        &self,
        state: &State,
        index: usize,
        take: &mut impl FnMut(Step, &dyn Fn(&mut State, &mut Daemon)),
    ) {
        let daemon = state.daemons[index];
        let place = place(daemon.told).expect("a place");
        match daemon.phase {
            // One snapshot: the row at the place, its agent and its configuration, without a lock.
            Phase::FastPath => take(Step::ReadSingle(index), &|state, daemon| {
                if self.has(Mutation::ReleasesLockForFastPath) {
                    daemon.has_idle_lock = false;
                }
                let row = state.outbox[place];
                if !row.is_visible() {
                    return self.end_fast_path(daemon, self.has(Mutation::TrustsPlace));
                }
                if state.set_aside & (1 << row.slug()) != 0 {
                    // A problem has to be cleared.
                    return self.end_fast_path(daemon, false);
                }
                daemon.single = row;
                daemon.seen[row.slug()] = state.agents[row.slug()];
                daemon.differs = state.agents[row.slug()] != state.configurations[row.slug()];
                daemon.is_intact = daemon.differs;
                daemon.phase = Phase::HasReadSingle;
            }),
            // The write requires the agent and the version of the configuration; the delete
            // requires the version of the row.
            Phase::HasReadSingle => take(Step::FinishSingle(index), &|state, daemon| {
                let slug = daemon.single.slug();
                let is_there = self.is_same(state.outbox[place], daemon.single);
                if daemon.differs {
                    let others = state
                        .daemons
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != index);
                    let is_locked = others
                        .fold(state.is_edited && slug == 0, |locked, (_, other)| {
                            locked || other.locked & (1 << slug) != 0
                        });
                    let holds = daemon.is_intact || self.has(Mutation::WritesAnyVersion);
                    let is_another = daemon.is_moved && !self.has(Mutation::WritesAnyPlace);
                    if is_locked || !holds || is_another || !is_there {
                        return self.end_fast_path(daemon, self.has(Mutation::TrustsWrite));
                    }
                    state.is_mixed_up |= daemon.is_moved;
                    state.lost_edit |= !daemon.is_intact;
                    state.write(slug, daemon.seen[slug]);
                }
                if !is_there {
                    return self.end_fast_path(daemon, self.has(Mutation::TrustsWrite));
                }
                state.outbox[place] = Row::NONE;
                self.end_fast_path(daemon, true);
            }),
            _ => {}
        }
    }

    /// The end of the fast path: the change is done, or taken for done, or left to a batch.
    pub(super) fn end_fast_path(&self, daemon: &mut Daemon, done: bool) {
        daemon.forget_batch();
        self.pass(daemon, Input::FastPathEnded { done });
    }

    /// Whether the row at the place is the one that was read.
    fn is_same(&self, now: Row, read: Row) -> bool {
        now.is_visible()
            && (now.writer() == read.writer() || self.has(Mutation::TakesAnyVersion))
            && (now.slug() == read.slug() || self.has(Mutation::TakesAnySlug))
    }
}

impl State {
    /// A new version of a configuration, written by a daemon that has read the version `seen`.
    pub(super) fn write(&mut self, slug: usize, seen: u8) {
        self.went_stale |= seen < self.configurations[slug];
        self.configurations[slug] = seen;
        self.touch(slug);
    }

    /// Another session has written a configuration.
    pub(super) fn touch(&mut self, slug: usize) {
        debug_assert!(slug < SLUGS);
        for daemon in self
            .daemons
            .iter_mut()
            .filter(|daemon| daemon.single.slug() == slug)
        {
            daemon.is_intact = false;
        }
    }
}
