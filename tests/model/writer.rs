//! The steps of a writer: what `sql/attach.sql` does in its transaction, and what becomes of that at its end.

use super::state::{Fault, LOOKED, Model, NOTIFIES, SAVED, SHARES, Stage, State, Step, WRITERS, Writer};

impl Model {
    pub(super) fn writer(&self, state: &State, index: usize, next: &mut Vec<(Step, State)>) {
        let (writer, script) = (state.writers[index], self.writers[index]);
        let mut take = |step: Step, change: &dyn Fn(&mut State, &mut Writer)| {
            let (mut state, mut writer) = (*state, writer);
            change(&mut state, &mut writer);
            state.writers[index] = writer;
            next.push((step, state));
        };
        match writer.stage {
            Stage::Open => {
                // The row of the agent is locked by whoever has saved it and is not over.
                let is_free = (0..WRITERS).all(|other| {
                    other == index
                        || self.writers[other].slug != script.slug
                        || !state.writers[other].has(SAVED)
                });
                if writer.saves > 0 && is_free {
                    take(Step::Save(index), &|_, writer| {
                        writer.saves -= 1;
                        *writer.level() |= SAVED;
                        let knows = script.in_bulk && writer.has(LOOKED);
                        writer.stage = if knows { Stage::Open } else { Stage::InTrigger };
                    });
                }
                if writer.savepoints > 0 && writer.saves > 0 && writer.inner.is_none() {
                    take(Step::Savepoint(index), &|_, writer| {
                        writer.savepoints -= 1;
                        writer.inner = Some(0);
                    });
                }
                if let Some(inner) = writer.inner {
                    take(Step::RollBackTo(index), &|_, writer| {
                        writer.inner = None;
                        if self.has(Fault::RemembersAcrossRollback) {
                            writer.outer |= inner & LOOKED;
                        }
                    });
                    take(Step::Release(index), &|_, writer| {
                        writer.outer |= inner;
                        writer.inner = None;
                    });
                }
                take(Step::Abort(index), &|_, writer| *writer = Writer::DONE);
                take(Step::Commit(index), &|state, writer| {
                    if !writer.has(SAVED) {
                        *writer = Writer::DONE;
                        return;
                    }
                    writer.stage = Stage::Committed;
                    if self.has(Fault::UnlocksBeforeVisible) {
                        writer.outer &= !SHARES;
                        writer.inner = writer.inner.map(|inner| inner & !SHARES);
                    } else {
                        self.make_visible(state, index);
                    }
                    (writer.saves, writer.savepoints) = (0, 0);
                });
            }
            Stage::InTrigger => take(Step::Look(index), &|state, writer| {
                writer.stage = Stage::Open;
                let sleeps = state.daemons.iter().any(|daemon| daemon.has_idle);
                *writer.level() |= LOOKED;
                if !sleeps {
                    *writer.level() |= if self.has(Fault::OnlyPeeksAtLock) { 0 } else { SHARES };
                } else if self.has(Fault::NotifiesBeforeAppend) {
                    signal(state);
                } else {
                    *writer.level() |= NOTIFIES;
                }
                if !script.in_bulk {
                    *writer.level() &= !LOOKED;
                }
            }),
            Stage::Committed => take(Step::Settle(index), &|state, writer| {
                if self.has(Fault::UnlocksBeforeVisible) {
                    self.make_visible(state, index);
                }
                if writer.has(NOTIFIES) {
                    signal(state);
                }
                *writer = Writer::DONE;
            }),
            Stage::Done => {}
        }
    }

    fn make_visible(&self, state: &mut State, writer: usize) {
        state.agents[self.writers[writer].slug] += 1;
        state.outbox |= 1 << writer;
    }
}

/// A notification sets out to everybody who listens.
fn signal(state: &mut State) {
    for daemon in state.daemons.iter_mut().filter(|daemon| daemon.listens) {
        daemon.coming = true;
    }
}
