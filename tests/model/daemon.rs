//! The steps of a daemon: its loop (`sync::attempt`), its drain (`sync::drain`), and what the
//! server does for it.

use super::notes::Note;
use super::outbox::{PLACES, enqueue, take_out, visible};
use super::state::{Daemon, Fault, Idle, Model, Phase, SHARES, SLUGS, SleeperLock, State, Step};

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
                if self.has(Fault::SwallowsOthers) && note.place().is_some() {
                    daemon.news = note;
                } else {
                    daemon.news.deliver(note);
                }
            });
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
                if daemon.knows_all {
                    // The fault: only then is it known before the catch-up.
                    (daemon.lock, daemon.phase) = (SleeperLock::Held, Phase::Waiting);
                }
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
                let others = state
                    .daemons
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != index);
                let taken = others.fold(u8::from(state.is_edited), |taken, (_, daemon)| {
                    taken | daemon.locked
                });
                daemon.locked = daemon.slugs & !taken;
                daemon.busy |= daemon.slugs & taken != 0;
                daemon.phase = Phase::Locked;
                if daemon.locked == 0 {
                    self.end(daemon);
                }
            }),
            Phase::Locked if self.has(Fault::AcknowledgesBeforeWrite) => {
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
                daemon.took_any = true;
                self.end(daemon);
            }),
            Phase::Told | Phase::HasReadLone => self.lone(state, index, &mut take),
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
                    });
                }
            }
            Phase::Waiting if daemon.noted != 0 => {
                // What was set aside before may be due by now, or nothing is.
                let due = state.set_aside & !daemon.noted;
                for (step, due) in [(Step::Wait(index), 0), (Step::Retry(index), due)] {
                    take(step, &|state, daemon| {
                        retry(state, due);
                        (daemon.noted, daemon.knows_all) = (0, false);
                        if !self.has(Fault::RestsAfterRetry) {
                            daemon.phase = Phase::Draining;
                        }
                    });
                }
            }
            Phase::Waiting => take(Step::Wait(index), &|_, daemon| {
                daemon.listens = true;
                if self.has(Fault::TakesInboxAfterDrain) {
                    daemon.news = Note::NONE;
                }
                if !daemon.news.is_none() && daemon.lock == SleeperLock::Held {
                    daemon.lock = SleeperLock::Unwanted; // Drain::stay_awake
                }
                daemon.phase = Phase::Resting;
            }),
            Phase::Resting => {
                let is_woken = !daemon.news.is_none() || daemon.busy;
                if is_woken {
                    take(Step::Take(index), &|_, daemon| self.wake_up(daemon));
                }
                // It may be time for either while news has come.
                if state.set_aside != 0 {
                    take(Step::Retry(index), &|state, daemon| {
                        retry(state, state.set_aside);
                        daemon.knows_all &= self.has(Fault::KnowsAllDespiteRetry);
                        self.wake_up(daemon);
                    });
                } else if !is_woken && state.was_lost && !self.has(Fault::NeverSweeps) {
                    take(Step::Sweep(index), &|_, daemon| {
                        daemon.knows_all = false;
                        self.wake_up(daemon);
                    });
                }
            }
        }
    }

    /// What the loop does with what it was asked (`attempt::Attempt::wait`), and whether that goes
    /// the short way.
    fn wake_up(&self, daemon: &mut Daemon) {
        daemon.told = daemon.news;
        if !self.has(Fault::TakesInboxAfterDrain) {
            daemon.news = Note::NONE;
        }
        // What is known is known anew when the pass that follows is over, and nobody asks for it
        // before.
        let knows_all =
            std::mem::take(&mut daemon.knows_all) || self.has(Fault::GoesShortUnknowing);
        daemon.busy = false;
        if daemon.told.place().is_some() && knows_all && daemon.lock == SleeperLock::Held {
            daemon.phase = Phase::Told;
        } else {
            daemon.told = Note::NONE;
            daemon.phase = Phase::Draining;
        }
    }

    /// What happens to the lock of the sleeper before a claim: `drain::Drain::batch`.
    fn idle(&self, daemon: &Daemon) -> Idle {
        match daemon.lock {
            SleeperLock::Unwanted => Idle::Release,
            SleeperLock::Held if daemon.took_any => Idle::Release,
            SleeperLock::Wanted if daemon.from == 0 || self.has(Fault::TakesLockMidPass) => {
                Idle::Try
            }
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
            let seen = visible(state.outbox);
            let places =
                (usize::from(daemon.from)..PLACES).filter(|place| seen & (1 << place) != 0);
            for place in places.take(self.limit as usize) {
                daemon.rows |= 1 << place;
                daemon.slugs |= 1 << state.outbox[place].slug();
            }
            for slug in 0..SLUGS {
                let reads = daemon.slugs & (1 << slug) != 0;
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
        let took_any = daemon.took_any;
        daemon.begin_pass();
        match daemon.lock {
            SleeperLock::Wanted if !took_any => {
                let sleeps = self.has(Fault::SleepsWithoutLock);
                daemon.phase = if sleeps {
                    Phase::Waiting
                } else {
                    Phase::Polling
                };
            }
            SleeperLock::Held => {
                daemon.phase = Phase::Waiting;
                daemon.knows_all = !daemon.busy || self.has(Fault::KnowsAllDespiteBusy);
            }
            SleeperLock::Free => daemon.lock = SleeperLock::Wanted,
            SleeperLock::Wanted | SleeperLock::Unwanted => {}
        }
        if daemon.phase != Phase::Waiting {
            daemon.busy = false;
        }
    }
}

/// Of what was set aside, what is due is put into the outbox again.
fn retry(state: &mut State, due: u8) {
    state.set_aside &= !due;
    for slug in (0..SLUGS).filter(|slug| due & (1 << slug) != 0) {
        enqueue(&mut state.outbox, slug);
    }
}

/// The rows that a batch takes out of the outbox: those whose configurations it could lock.
fn taken(state: &State, daemon: &Daemon) -> u8 {
    let is_taken = |place: &usize| daemon.locked & (1 << state.outbox[*place].slug()) != 0;
    (0..PLACES)
        .filter(is_taken)
        .fold(0, |taken, place| taken | 1 << place)
        & daemon.rows
}

/// Whether nobody is in the way of a daemon that wants the lock of the sleeper: another daemon, or
/// a writer that shares it.
fn can_sleep(state: &State) -> bool {
    state.daemons.iter().all(|daemon| !daemon.has_idle)
        && !state.writers.iter().any(|writer| writer.has(SHARES))
}
