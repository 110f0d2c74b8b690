//! The steps of a writer: the trigger of `sql/capture.sql` in its transaction, and the end of the
//! transaction.

use agent_sync::session::News;

use super::notes::{Note, change};
use super::outbox::{Outbox, Row, Stand, place_of, turn};
use super::state::{
    APPENDED, LOOKED, Model, Mutation, NAMES, NOTIFIES, SAVED, SHARES, SLUGS, Stage, State, Step,
    WRITERS, Writer,
};

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
                // An unfinished writer has locked the row of its agent.
                let slugs = script.slugs(writer.saves);
                let is_free = (0..WRITERS).all(|other| {
                    other == index
                        || saved(state.outbox, other) & slugs == 0
                        || !state.writers[other].has(SAVED)
                });
                if writer.saves > 0 && is_free {
                    for place in Self::free_places(state) {
                        take(Step::Save(index, place), &|state, writer| {
                            append(state, *writer, index, slugs, place);
                            writer.saves -= 1;
                            *writer.level() |= SAVED;
                            let knows = script.in_bulk && writer.has(LOOKED);
                            writer.stage = if knows { Stage::Open } else { Stage::InTrigger };
                        });
                    }
                }
                if writer.savepoints > 0 && writer.saves > 0 && writer.inner.is_none() {
                    take(Step::Savepoint(index), &|_, writer| {
                        writer.savepoints -= 1;
                        writer.inner = Some(0);
                    });
                }
                if let Some(inner) = writer.inner {
                    take(Step::RollBackTo(index), &|state, writer| {
                        turn(&mut state.outbox, index, Stand::Inner, None);
                        writer.inner = None;
                        if self.has(Mutation::RemembersAcrossRollback) {
                            writer.outer |= inner & (LOOKED | APPENDED);
                        }
                        if !writer.has(NAMES) {
                            writer.names = News::Nothing;
                        }
                    });
                    take(Step::Release(index), &|state, writer| {
                        turn(&mut state.outbox, index, Stand::Inner, Some(Stand::Outer));
                        writer.outer |= inner;
                        writer.inner = None;
                    });
                }
                take(Step::Abort(index), &|state, writer| {
                    turn(&mut state.outbox, index, Stand::Inner, None);
                    turn(&mut state.outbox, index, Stand::Outer, None);
                    *writer = Writer::DONE;
                });
                take(Step::Commit(index), &|state, writer| {
                    if !writer.has(SAVED) {
                        *writer = Writer::DONE;
                        return;
                    }
                    writer.stage = Stage::Committed;
                    if self.has(Mutation::UnlocksBeforeVisible) {
                        writer.outer &= !SHARES;
                        writer.inner = writer.inner.map(|inner| inner & !SHARES);
                    } else {
                        Self::make_visible(state, index);
                    }
                    (writer.saves, writer.savepoints) = (0, 0);
                });
            }
            Stage::InTrigger => take(Step::Look(index), &|state, writer| {
                writer.stage = Stage::Open;
                let sleeps = state.daemons.iter().any(|daemon| daemon.has_idle_lock);
                let is_first = !writer.has(APPENDED);
                let is_one = !script.renames || self.has(Mutation::RenameNamesPlace);
                if sleeps {
                    let place = place_of(state.outbox, index).filter(|_| is_first && is_one);
                    if self.has(Mutation::NotifiesBeforeAppend) {
                        signal(state, place.map_or(News::WakeUp, change));
                    } else if let Some(place) = place {
                        writer.names = change(place);
                        *writer.level() |= NAMES;
                    }
                    // In bulk, further appends follow immediately.
                    let notifies = place.is_none() || script.in_bulk;
                    let is_silent = self.has(Mutation::SecondAppendIsSilent) && !is_first
                        || self.has(Mutation::NotifiesBeforeAppend);
                    *writer.level() |= if notifies && !is_silent { NOTIFIES } else { 0 };
                } else {
                    *writer.level() |= if self.has(Mutation::OnlyPeeksAtLock) {
                        0
                    } else {
                        SHARES
                    };
                }
                // The memory of a transaction matters only if it saves again.
                if writer.saves > 0 {
                    *writer.level() |= if script.in_bulk {
                        LOOKED | APPENDED
                    } else {
                        APPENDED
                    };
                }
            }),
            Stage::Committed => take(Step::Settle(index), &|state, writer| {
                if self.has(Mutation::UnlocksBeforeVisible) {
                    Self::make_visible(state, index);
                }
                if writer.has(NAMES) {
                    signal(state, writer.names);
                }
                if writer.has(NOTIFIES) {
                    signal(state, News::WakeUp);
                }
                *writer = Writer::DONE;
            }),
            Stage::Done => {}
        }
    }

    fn make_visible(state: &mut State, writer: usize) {
        let saved = saved(state.outbox, writer);
        for slug in (0..SLUGS).filter(|slug| saved & (1 << slug) != 0) {
            state.agents[slug] += 1;
        }
        turn(
            &mut state.outbox,
            writer,
            Stand::Inner,
            Some(Stand::Visible),
        );
        turn(
            &mut state.outbox,
            writer,
            Stand::Outer,
            Some(Stand::Visible),
        );
    }
}

/// The set of agents that a writer has saved and not yet committed.
fn saved(outbox: Outbox, writer: usize) -> u8 {
    let rows = outbox
        .iter()
        .filter(|row| !row.is_none() && !row.is_visible());
    let rows = rows.filter(|row| usize::from(row.writer()) == writer);
    rows.fold(0, |slugs, row| slugs | 1 << row.slug())
}

/// Appends a row for each of these agents, the first at this place.
fn append(state: &mut State, writer: Writer, index: usize, slugs: u8, mut place: usize) {
    let stand = if writer.inner.is_some() {
        Stand::Inner
    } else {
        Stand::Outer
    };
    for slug in (0..SLUGS).filter(|slug| slugs & (1 << slug) != 0) {
        while !state.outbox[place].is_none() {
            place += 1;
        }
        state.outbox[place] = Row::new(u8::try_from(index).unwrap(), slug, stand);
    }
}

/// Sends a notification to every listening daemon.
pub(super) fn signal(state: &mut State, note: Note) {
    for daemon in state.daemons.iter_mut().filter(|daemon| daemon.listens) {
        daemon.coming.push(note);
    }
}
