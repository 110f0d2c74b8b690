//! The steps of a daemon: its loop (`sync::attempt`), its drain (`sync::drain`), and what the server does for it.

use super::state::{Daemon, Fault, Idle, Model, Phase, SHARES, SLUGS, SleeperLock, State, Step, WRITERS};

impl Model {
    pub(super) fn daemon(&self, state: &State, index: usize, next: &mut Vec<(Step, State)>) {
        let daemon = state.daemons[index];
        let mut take = |step: Step, change: &dyn Fn(&mut State, &mut Daemon)| {
            let (mut state, mut daemon) = (*state, daemon);
            change(&mut state, &mut daemon);
            state.daemons[index] = daemon;
            next.push((step, state));
        };
        if daemon.coming {
            take(Step::Deliver(index), &|_, daemon| (daemon.coming, daemon.news) = (false, true));
        }
        match daemon.phase {
            Phase::Standby => {
                let is_free = state.daemons.iter().all(|daemon| !daemon.leads);
                if is_free || self.has(Fault::LeadsWithoutLock) {
                    take(Step::TryLead(index), &|_, daemon| {
                        (daemon.leads, daemon.phase) = (true, Phase::CatchUp);
                    });
                }
            }
            Phase::CatchUp => take(Step::Listen(index), &|_, daemon| {
                daemon.listens = !self.has(Fault::ListensAfterCatchUp);
                daemon.phase = Phase::Draining;
            }),
            Phase::Draining => match self.idle(&daemon) {
                Idle::Keep => self.claim(state, index, &mut take),
                idle => take(Step::Idle(index, idle), &|state, daemon| {
                    daemon.idle = idle;
                    daemon.phase = Phase::Begun;
                    daemon.has_idle = idle == Idle::Try && (daemon.has_idle || can_sleep(state));
                }),
            },
            Phase::Begun | Phase::HasReadAgents => self.claim(state, index, &mut take),
            Phase::Claimed => take(Step::LockRows(index), &|state, daemon| {
                // FOR NO KEY UPDATE SKIP LOCKED
                let others = state.daemons.iter().enumerate().filter(|(other, _)| *other != index);
                let taken =
                    others.fold(u8::from(state.is_edited), |taken, (_, daemon)| taken | daemon.locked);
                daemon.locked = self.slugs_of(daemon.rows) & !taken;
                daemon.busy |= self.slugs_of(daemon.rows) & taken != 0;
                daemon.phase = Phase::Locked;
                if daemon.locked == 0 {
                    self.end(daemon);
                }
            }),
            Phase::Locked if self.has(Fault::AcknowledgesBeforeWrite) => {
                take(Step::Acknowledge(index), &|state, daemon| {
                    state.outbox &= !self.taken(daemon);
                    daemon.phase = Phase::Acknowledged;
                });
            }
            Phase::Locked | Phase::Acknowledged => take(Step::Finish(index), &|state, daemon| {
                for slug in (0..SLUGS).filter(|slug| daemon.locked & (1 << slug) != 0) {
                    state.went_stale |= daemon.seen[slug] < state.configurations[slug];
                    state.configurations[slug] = daemon.seen[slug];
                }
                state.outbox &= !self.taken(daemon);
                daemon.took_any = true;
                self.end(daemon);
            }),
            Phase::Waiting => take(Step::Wait(index), &|_, daemon| {
                daemon.listens = true;
                if self.has(Fault::TakesInboxAfterDrain) {
                    daemon.news = false;
                }
                if daemon.news && daemon.lock == SleeperLock::Held {
                    daemon.lock = SleeperLock::Unwanted; // Drain::stay_awake
                }
                daemon.phase = Phase::Resting;
            }),
            Phase::Resting => {
                if daemon.news || daemon.busy {
                    take(Step::Take(index), &|_, daemon| {
                        daemon.news &= self.has(Fault::TakesInboxAfterDrain);
                        daemon.busy = false;
                        daemon.phase = Phase::Draining;
                    });
                } else if state.set_aside != 0 {
                    take(Step::Retry(index), &|state, daemon| {
                        state.outbox |= std::mem::take(&mut state.set_aside);
                        daemon.phase = Phase::Draining;
                    });
                } else if state.was_lost && !self.has(Fault::NeverSweeps) {
                    take(Step::Sweep(index), &|_, daemon| daemon.phase = Phase::Draining);
                }
            }
        }
    }

    /// What happens to the lock of the sleeper before a claim: `drain::Drain::batch`.
    fn idle(&self, daemon: &Daemon) -> Idle {
        match daemon.lock {
            SleeperLock::Unwanted => Idle::Release,
            SleeperLock::Held if daemon.took_any => Idle::Release,
            SleeperLock::Wanted if daemon.from == 0 || self.has(Fault::TakesLockMidPass) => Idle::Try,
            _ => Idle::Keep,
        }
    }

    /// One statement: the outbox from a place on, and the agents that it is about, in one snapshot.
    fn claim(
        &self,
        state: &State,
        index: usize,
        take: &mut impl FnMut(Step, &dyn Fn(&mut State, &mut Daemon)),
    ) {
        if self.has(Fault::ReadsAgentsFirst) && state.daemons[index].phase != Phase::HasReadAgents {
            return take(Step::ReadAgents(index), &|state, daemon| {
                daemon.seen = state.agents;
                daemon.phase = Phase::HasReadAgents;
            });
        }
        take(Step::Claim(index), &|state, daemon| {
            let places = (usize::from(daemon.from)..WRITERS).filter(|place| state.outbox & (1 << place) != 0);
            daemon.rows = places.take(self.limit as usize).fold(0, |rows, place| rows | 1 << place);
            for slug in 0..SLUGS {
                let reads = self.slugs_of(daemon.rows) & (1 << slug) != 0;
                if !self.has(Fault::ReadsAgentsFirst) {
                    daemon.seen[slug] = state.agents[slug];
                }
                if !reads {
                    daemon.seen[slug] = 0;
                }
            }
            match daemon.idle {
                Idle::Release => daemon.lock = SleeperLock::Free,
                Idle::Try if daemon.has_idle => daemon.lock = SleeperLock::Held,
                Idle::Try | Idle::Keep => {}
            }
            if self.has(Fault::SleepsWithoutSecondPass)
                && daemon.lock == SleeperLock::Held
                && daemon.idle == Idle::Try
            {
                daemon.forget_batch();
                daemon.begin_pass();
                daemon.phase = Phase::Waiting;
                return;
            }
            daemon.phase = Phase::Claimed;
            if daemon.rows == 0 {
                self.end(daemon);
            }
        });
    }

    /// The end of a batch, and perhaps of a pass: `drain::Drain::step`.
    fn end(&self, daemon: &mut Daemon) {
        let (rows, last) = (daemon.rows, u8::BITS - daemon.rows.leading_zeros());
        daemon.forget_batch();
        daemon.phase = Phase::Draining;
        if rows.count_ones() >= self.limit {
            daemon.from = u8::try_from(last).unwrap();
            return;
        }
        daemon.begin_pass();
        match daemon.lock {
            SleeperLock::Held => daemon.phase = Phase::Waiting,
            SleeperLock::Free => daemon.lock = SleeperLock::Wanted,
            SleeperLock::Wanted | SleeperLock::Unwanted => {}
        }
        if daemon.phase != Phase::Waiting {
            daemon.busy = false;
        }
    }

    /// The rows that a batch takes out of the outbox: those whose configurations it could lock.
    fn taken(&self, daemon: &Daemon) -> u8 {
        let is_taken = |place: &usize| daemon.locked & (1 << self.writers[*place].slug) != 0;
        (0..WRITERS).filter(is_taken).fold(0, |taken, place| taken | 1 << place) & daemon.rows
    }
}

/// Whether nobody is in the way of a daemon that wants the lock of the sleeper: another daemon, or a writer that shares it.
fn can_sleep(state: &State) -> bool {
    state.daemons.iter().all(|daemon| !daemon.has_idle)
        && !state.writers.iter().any(|writer| writer.has(SHARES))
}
