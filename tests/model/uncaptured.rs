//! The repair of saves that could not be captured (G1): a sequence counts them immediately, and
//! their changes become visible later.
//!
//! Savers count, become visible or roll back, and release their locks. The daemon runs
//! `ConnectionLoop::make_good` in each sweep: it reads the count, lists the holders of the locks,
//! enqueues every visible agent, and settles the count when none of the listed holders is left. The
//! promise: a settled save was visible to a full check.
//!
//! Each fault is one wrong step, among them the barrier by transaction numbers, which fails on a
//! quiet server.

use super::explore::{System, explore};

/// The promise.
const LOST: &str = "a save that is settled was visible to a look at every agent";

/// The number of transactions that save.
const SAVERS: usize = 3;

/// The wrong step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The barrier is the last finished transaction plus one, as in `pg_snapshot_xmax`, and is
    /// compared with the oldest open transaction.
    Numbers,
    /// The holders of the locks are listed before the count is read.
    LooksBeforeCount,
    /// The settled count covers only the changes visible before the list of the holders.
    SnapshotBeforeLook,
    /// Every holder at the second check counts, listed before or not.
    ForgetsHolders,
}

/// The stage of a saver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// It has not saved.
    Idle,
    /// It has saved, with this number in the count.
    Counted(u8),
    /// Its save is visible, and it holds its lock.
    Visible(u8),
    /// It is committed and has released its lock.
    Over(u8),
    /// It is rolled back and has released its lock.
    Undone,
}

/// One saving transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Saver {
    stage: Stage,
    /// The number of the transaction, in the order of the saves.
    number: u8,
    /// Whether a full check has seen its save.
    looked_at: bool,
}

/// The progress of the daemon's sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Daemon {
    /// Between two sweeps, possibly with a count and its remaining holders.
    Rests(Option<(u8, Barrier)>),
    /// It has listed the holders first (only with that fault).
    Looked(Barrier),
    /// It has read the count and the visible saves.
    Read(u8, Option<(u8, Barrier)>, Savers),
    /// It has read the count and the remaining holders, with the saves that were visible before.
    Listed(u8, Barrier, Savers, bool),
}

/// The awaited ends: of savers, or of a transaction number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Barrier {
    Holders(Savers),
    Number(u8),
}

type Savers = [bool; SAVERS];

/// The state of the whole model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    savers: [Saver; SAVERS],
    counted: u8,
    seen: u8,
    begun: u8,
    daemon: Daemon,
}

/// The steps.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "the trace of a violation prints the saver")]
enum Step {
    Save(usize),
    Commit(usize),
    Release(usize),
    Undo(usize),
    Look,
    Read,
    List,
    Enqueue,
}

struct Model {
    fault: Option<Fault>,
}

impl Saver {
    fn holds(self) -> bool {
        matches!(self.stage, Stage::Counted(_) | Stage::Visible(_))
    }

    fn is_visible(self) -> bool {
        matches!(self.stage, Stage::Visible(_) | Stage::Over(_))
    }
}

impl State {
    fn holders(&self) -> Savers {
        self.savers.map(Saver::holds)
    }

    fn visible(&self) -> Savers {
        self.savers.map(Saver::is_visible)
    }

    /// The last finished transaction.
    fn last_over(&self) -> u8 {
        let over = self.savers.iter().filter(|saver| {
            matches!(
                saver.stage,
                Stage::Visible(_) | Stage::Over(_) | Stage::Undone
            )
        });
        over.map(|saver| saver.number).max().unwrap_or(0)
    }

    /// `pg_snapshot_xmin`: the oldest open transaction of the snapshot.
    fn oldest_open(&self) -> u8 {
        let open = self
            .savers
            .iter()
            .filter(|saver| matches!(saver.stage, Stage::Counted(_)));
        open.map(|saver| saver.number)
            .min()
            .unwrap_or(u8::MAX)
            .min(self.last_over() + 1)
    }

    fn barrier(&self, fault: Option<Fault>) -> Barrier {
        match fault {
            Some(Fault::Numbers) => Barrier::Number(self.last_over() + 1),
            _ => Barrier::Holders(self.holders()),
        }
    }

    /// The rest of the barrier.
    fn left(&self, barrier: Barrier, fault: Option<Fault>) -> Barrier {
        match barrier {
            Barrier::Holders(_) if fault == Some(Fault::ForgetsHolders) => {
                Barrier::Holders([false; SAVERS])
            }
            Barrier::Holders(mut savers) => {
                for (saver, holds) in savers.iter_mut().zip(self.holders()) {
                    *saver &= holds;
                }
                Barrier::Holders(savers)
            }
            Barrier::Number(number) => Barrier::Number(number),
        }
    }

    fn is_open(&self, barrier: Barrier) -> bool {
        match barrier {
            Barrier::Holders(savers) => savers.contains(&true),
            Barrier::Number(number) => self.oldest_open() < number,
        }
    }

    fn look_at(&mut self, visible: Savers) {
        for (saver, visible) in self.savers.iter_mut().zip(visible) {
            saver.looked_at |= visible;
        }
    }
}

impl System for Model {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let saver = Saver {
            stage: Stage::Idle,
            number: 0,
            looked_at: false,
        };
        State {
            savers: [saver; SAVERS],
            counted: 0,
            seen: 0,
            begun: 0,
            daemon: Daemon::Rests(None),
        }
    }

    fn steps(&self, state: &State, next: &mut Vec<(Step, State)>) {
        for index in 0..SAVERS {
            let mut go = |step, change: &dyn Fn(&mut State)| {
                let mut after = state.clone();
                change(&mut after);
                next.push((step, after));
            };
            match state.savers[index].stage {
                Stage::Idle => go(Step::Save(index), &|after| {
                    after.counted += 1;
                    after.begun += 1;
                    after.savers[index].stage = Stage::Counted(after.counted);
                    after.savers[index].number = after.begun;
                }),
                Stage::Counted(count) => {
                    go(Step::Commit(index), &|after| {
                        after.savers[index].stage = Stage::Visible(count);
                    });
                    go(Step::Undo(index), &|after| {
                        after.savers[index].stage = Stage::Undone;
                    });
                }
                Stage::Visible(count) => {
                    go(Step::Release(index), &|after| {
                        after.savers[index].stage = Stage::Over(count);
                    });
                }
                Stage::Over(_) | Stage::Undone => {}
            }
        }
        let mut after = state.clone();
        let step = match state.daemon {
            Daemon::Rests(None) if self.fault == Some(Fault::LooksBeforeCount) => {
                after.daemon = Daemon::Looked(state.barrier(self.fault));
                Step::Look
            }
            Daemon::Rests(known) => {
                after.daemon = Daemon::Read(state.counted, known, state.visible());
                Step::Read
            }
            Daemon::Looked(barrier) => {
                after.daemon = Daemon::Listed(state.counted, barrier, state.visible(), true);
                Step::Read
            }
            Daemon::Read(count, _, _) if count == state.seen => {
                after.daemon = Daemon::Rests(None);
                Step::Enqueue
            }
            Daemon::Read(count, known, visible) => {
                let (barrier, is_new) = match known {
                    Some((before, barrier)) if before == count => {
                        (state.left(barrier, self.fault), false)
                    }
                    _ => (state.barrier(self.fault), true),
                };
                after.daemon = Daemon::Listed(count, barrier, visible, is_new);
                Step::List
            }
            Daemon::Listed(count, barrier, visible, is_new) => {
                let visible = if self.fault == Some(Fault::SnapshotBeforeLook) {
                    visible
                } else {
                    state.visible()
                };
                let open = state.is_open(barrier);
                if is_new || !open {
                    after.look_at(visible);
                }
                if !open {
                    after.seen = count;
                }
                after.daemon = Daemon::Rests(open.then_some((count, barrier)));
                Step::Enqueue
            }
        };
        next.push((step, after));
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let lost = state.savers.iter().any(|saver| match saver.stage {
            Stage::Counted(count) | Stage::Visible(count) | Stage::Over(count) => {
                count <= state.seen && !saver.looked_at
            }
            Stage::Idle | Stage::Undone => false,
        });
        lost.then_some(LOST)
    }

    fn is_well(&self, state: &State) -> bool {
        let over = |saver: &Saver| matches!(saver.stage, Stage::Over(_) | Stage::Undone);
        state.savers.iter().all(over)
            && state.seen == state.counted
            && state.daemon == Daemon::Rests(None)
    }

    fn is_fair(&self, _: Step) -> bool {
        true
    }
}

#[test]
fn g1_a_save_that_was_counted_is_looked_at_after_it_is_visible() {
    let explored = explore(&Model { fault: None }, 10_000_000);
    assert!(explored.violation.is_none(), "{:#?}", explored.violation);
    assert!(
        explored.states > 5_000,
        "{} states are too few to mean anything",
        explored.states
    );
}

/// A barrier of transaction numbers loses a save on a quiet server.
#[test]
fn a_barrier_of_transaction_numbers_loses_a_save() {
    let violation = explore(
        &Model {
            fault: Some(Fault::Numbers),
        },
        10_000_000,
    )
    .violation
    .unwrap();
    assert_eq!(violation.promise, LOST);
    let saves = violation
        .story
        .iter()
        .filter(|step| step.starts_with("Save"))
        .count();
    assert_eq!(
        saves, 1,
        "one saver and nobody else is enough: {:#?}",
        violation.story
    );
}

#[test]
fn each_step_that_is_out_of_order_loses_a_save() {
    for fault in [
        Fault::LooksBeforeCount,
        Fault::SnapshotBeforeLook,
        Fault::ForgetsHolders,
    ] {
        let violation = explore(&Model { fault: Some(fault) }, 10_000_000).violation;
        let violation = violation.unwrap_or_else(|| panic!("{fault:?} is not noticed"));
        assert_eq!(violation.promise, LOST, "{fault:?}: {:#?}", violation.story);
    }
}
