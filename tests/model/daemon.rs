//! The steps of a daemon: the execution of the commands of `sync::protocol`, as `sync::connection`
//! and `sync::drain` do it, and the work of the server.

use agent_sync::session::News;
use agent_sync::store::IdleLockAction;
use agent_sync::sync::protocol::{Command, Input, Next};

use super::notes::{change, place};
use super::outbox::{PLACES, enqueue, take_out, visible};
use super::state::{Daemon, Model, Mutation, Phase, SHARES, SLUGS, State, Step};

impl Model {
    pub(super) fn daemon(&self, state: &State, index: usize, next: &mut Vec<(Step, State)>) {
        let daemon = state.daemons[index];
        let mut take = |step: Step, change: &dyn Fn(&mut State, &mut Daemon)| {
            let (mut state, mut daemon) = (*state, daemon);
            change(&mut state, &mut daemon);
            state.daemons[index] = daemon;
            next.push((step, state));
        };
        if !daemon.coming.is_empty() {
            take(Step::Deliver(index), &|_, daemon| {
                let note = daemon.coming.pop();
                daemon.news = if self.has(Mutation::SwallowsOthers) && place(note).is_some() {
                    note
                } else {
                    daemon.news.and(note)
                };
            });
        }
        match daemon.phase {
            Phase::Standby => {
                let is_free = state.daemons.iter().all(|daemon| !daemon.leads);
                if is_free || self.has(Mutation::LeadsWithoutLock) {
                    take(Step::TryLead(index), &|_, daemon| {
                        (daemon.leads, daemon.phase) = (true, Phase::CatchUp);
                    });
                }
            }
            Phase::CatchUp => take(Step::Listen(index), &|_, daemon| {
                daemon.listens = !self.has(Mutation::ListensAfterCatchUp);
                self.pass(daemon, Input::Unannounced);
            }),
            Phase::Draining => match daemon.idle_action {
                IdleLockAction::Keep => self.claim(state, index, &mut take),
                action => take(Step::IdleLock(index, action), &|state, daemon| {
                    daemon.phase = Phase::Begun;
                    daemon.has_idle_lock =
                        action == IdleLockAction::Try && (daemon.has_idle_lock || can_sleep(state));
                }),
            },
            Phase::Begun | Phase::HasReadAgents => self.claim(state, index, &mut take),
            Phase::Claimed => take(Step::LockRows(index), &|state, daemon| {
                // FOR NO KEY UPDATE SKIP LOCKED
                let others = state
                    .daemons
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index);
                let taken = others.fold(u8::from(state.is_edited), |taken, (_, daemon)| {
                    taken | daemon.locked
                });
                daemon.locked = daemon.slugs & !taken;
                if daemon.slugs & taken != 0 {
                    self.pass(daemon, Input::LeftRows);
                }
                daemon.phase = Phase::Locked;
                if daemon.locked == 0 {
                    self.end(daemon);
                }
            }),
            Phase::Locked if self.has(Mutation::AcknowledgesBeforeWrite) => {
                take(Step::Acknowledge(index), &|state, daemon| {
                    let taken = taken(state, daemon);
                    take_out(&mut state.outbox, taken);
                    daemon.phase = Phase::Acknowledged;
                });
            }
            Phase::Locked | Phase::Acknowledged => take(Step::Finish(index), &|state, daemon| {
                for slug in (0..SLUGS).filter(|slug| daemon.locked & (1 << slug) != 0) {
                    state.write(slug, daemon.seen[slug]);
                }
                state.set_aside &= !daemon.locked;
                let taken = taken(state, daemon);
                take_out(&mut state.outbox, taken);
                self.pass(daemon, Input::TookRows);
                self.end(daemon);
            }),
            Phase::FastPath | Phase::HasReadSingle => self.fast_path(state, index, &mut take),
            Phase::Polling => {
                take(Step::Poll(index), &|_, daemon| {
                    daemon.noted = 0;
                    self.wake_up(daemon);
                });
                if state.set_aside != 0 {
                    take(Step::Retry(index), &|state, daemon| {
                        retry(state, state.set_aside);
                        daemon.noted = 0;
                        self.wake_up(daemon);
                        self.pass(daemon, Input::Unannounced);
                    });
                }
            }
            Phase::Waiting if daemon.noted != 0 => {
                // A retry may be due by now, or not.
                let due = state.set_aside & !daemon.noted;
                for (step, due) in [(Step::Wait(index), 0), (Step::Retry(index), due)] {
                    take(step, &|state, daemon| {
                        retry(state, due);
                        daemon.noted = 0;
                        self.pass(daemon, Input::Unannounced);
                    });
                }
            }
            Phase::Waiting => take(Step::Wait(index), &|_, daemon| {
                daemon.listens = true;
                if self.has(Mutation::TakesInboxAfterDrain) {
                    daemon.news = News::Nothing;
                }
                if daemon.news != News::Nothing {
                    self.pass(daemon, Input::MoreWork);
                }
                daemon.phase = Phase::Resting;
            }),
            Phase::Resting => {
                let is_woken = daemon.news != News::Nothing || daemon.left_rows;
                if is_woken {
                    take(Step::Take(index), &|_, daemon| self.wake_up(daemon));
                }
                // A retry may be due while news has arrived.
                if state.set_aside != 0 {
                    take(Step::Retry(index), &|state, daemon| {
                        retry(state, state.set_aside);
                        self.wake_up(daemon);
                        self.pass(daemon, Input::Unannounced);
                    });
                } else if !is_woken && state.was_lost && !self.has(Mutation::NeverSweeps) {
                    take(Step::Sweep(index), &|_, daemon| {
                        self.wake_up(daemon);
                        self.pass(daemon, Input::Unannounced);
                    });
                }
            }
        }
    }

    /// Passes an input to the protocol, and notes the command as the daemon's next step.
    pub(super) fn pass(&self, daemon: &mut Daemon, input: Input<u8>) {
        match self.next(daemon, input) {
            Command::Continue => {}
            Command::Claim(action) => {
                (daemon.idle_action, daemon.left_rows, daemon.told) =
                    (action, false, News::Nothing);
                daemon.phase = Phase::Draining;
            }
            Command::FastPath(tid) => {
                (daemon.told, daemon.left_rows) = (change(usize::from(tid)), false);
                daemon.phase = Phase::FastPath;
            }
            Command::Poll { .. } => daemon.phase = Phase::Polling,
            Command::Sleep { left_rows } => {
                (daemon.phase, daemon.left_rows) = (Phase::Waiting, left_rows);
            }
        }
    }

    /// The end of the sleep or of a pause.
    fn wake_up(&self, daemon: &mut Daemon) {
        let news = daemon.news;
        if !self.has(Mutation::TakesInboxAfterDrain) {
            daemon.news = News::Nothing;
        }
        let fast_path = true;
        self.pass(daemon, Input::Woken { news, fast_path });
    }

    /// One statement with one snapshot: the outbox from a place on, and its agents.
    fn claim(
        &self,
        state: &State,
        index: usize,
        take: &mut impl FnMut(Step, &dyn Fn(&mut State, &mut Daemon)),
    ) {
        if self.has(Mutation::ReadsAgentsFirst)
            && state.daemons[index].phase != Phase::HasReadAgents
        {
            return take(Step::ReadAgents(index), &|state, daemon| {
                daemon.seen = state.agents;
                daemon.phase = Phase::HasReadAgents;
            });
        }
        take(Step::Claim(index), &|state, daemon| {
            let seen = visible(state.outbox);
            let places =
                (usize::from(daemon.from)..PLACES).filter(|place| seen & (1 << place) != 0);
            for place in places.take(self.limit as usize) {
                daemon.rows |= 1 << place;
                daemon.slugs |= 1 << state.outbox[place].slug();
            }
            for slug in 0..SLUGS {
                let reads = daemon.slugs & (1 << slug) != 0;
                if !self.has(Mutation::ReadsAgentsFirst) {
                    daemon.seen[slug] = state.agents[slug];
                }
                if !reads {
                    daemon.seen[slug] = 0;
                }
            }
            daemon.phase = Phase::Claimed;
            let (action, got_lock) = (daemon.idle_action, daemon.has_idle_lock);
            self.pass(daemon, Input::Claimed { action, got_lock });
            if daemon.phase == Phase::Waiting {
                daemon.forget_batch(); // A mutant sleeps without the scan.
            } else if daemon.rows == 0 {
                self.end(daemon);
            }
        });
    }

    /// The end of a batch, possibly also of a scan.
    fn end(&self, daemon: &mut Daemon) {
        let (rows, last) = (daemon.rows, u8::BITS - daemon.rows.leading_zeros());
        daemon.forget_batch();
        let next = if rows.count_ones() >= self.limit {
            daemon.from = u8::try_from(last).unwrap();
            Next::Further
        } else {
            daemon.from = 0;
            Next::End
        };
        self.pass(daemon, Input::BatchEnded(next));
    }
}

/// Puts the due retries into the outbox.
fn retry(state: &mut State, due: u8) {
    state.set_aside &= !due;
    for slug in (0..SLUGS).filter(|slug| due & (1 << slug) != 0) {
        enqueue(&mut state.outbox, slug);
    }
}

/// The rows that a batch deletes from the outbox: those whose configurations it could lock.
fn taken(state: &State, daemon: &Daemon) -> u8 {
    let is_taken = |place: &usize| daemon.locked & (1 << state.outbox[*place].slug()) != 0;
    (0..PLACES)
        .filter(is_taken)
        .fold(0, |taken, place| taken | 1 << place)
        & daemon.rows
}

/// Whether the idle lock is free for a daemon: no other daemon and no writer holds it.
fn can_sleep(state: &State) -> bool {
    state.daemons.iter().all(|daemon| !daemon.has_idle_lock)
        && !state.writers.iter().any(|writer| writer.has(SHARES))
}
