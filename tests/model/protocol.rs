//! Capture, sleeping consumer, leadership, batch and crash, as small as they can be without losing what matters.
//!
//! The steps of a writer have the names of what `sql/attach.sql` does, and those of a daemon the names in `sync::attempt`,
//! `sync::drain` and `store`. One step is what nothing can come between: one statement, or one moment of a commit.
//!
//! ```text
//! a writer:  Save ─► Look ─► … Savepoint, RollBackTo, Release … ─► Commit ─► Settle       (or Abort, at any time)
//! a daemon:  TryLead ─► Listen ─► ┌► Idle ─► Claim ─► LockRows ─► Finish ─┐ ─► Wait ─► Take ─┐
//!                                 │└──────────────────────────────────────┘                 │
//!                                 └─────────────────────────────────────────────────────────┘
//! ```
//!
//! What is taken for granted of PostgreSQL: a statement sees one snapshot; what a transaction did, the notifications included, is
//! seen by all in one moment (`Commit`), and its locks are released after that (`Settle`); a session that ends has released its locks
//! and undone its transaction. When notifications arrive (`Deliver`) is anybody's guess, but not before the `Settle`.
//!
//! The outbox has one place for each writer; the places have an order, and writers commit in any other.

use std::hash::{Hash, Hasher};

use super::explore::System;

/// How many agents there are, each with its configuration.
pub const SLUGS: usize = 2;
const WRITERS: usize = 3;
const DAEMONS: usize = 2;

/// What is modelled: how many of each, and what may go wrong how often.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The writers, each with one transaction.
    pub writers: [Script; WRITERS],
    /// How many there are of the daemons; the others never start.
    pub daemons: usize,
    /// How many rows of the outbox a batch reads.
    pub limit: u32,
    /// How often a session ends, whatever it is at.
    pub crashes: u8,
    /// How often a claim or a write fails without the session ending; a batch of one row that fails is set aside.
    pub failures: u8,
    /// How often somebody else locks the configuration of the first agent, for as long as he likes.
    pub edits: u8,
    /// How often a notification is lost on its way. Then, and only then, is there a slow sweep.
    pub losses: u8,
    /// What is done otherwise than it should be.
    pub fault: Option<Fault>,
}

/// What a writer may do in its transaction, at most.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// The agent that it saves.
    pub slug: usize,
    /// How often it does.
    pub saves: u8,
    /// How many savepoints it sets.
    pub savepoints: u8,
    /// Whether it has appended so much already that it looks for the sleeper only once (`agent_sync.appended`).
    pub in_bulk: bool,
}

impl Script {
    /// A transaction that does nothing.
    pub const NONE: Self = Self { slug: 0, saves: 0, savepoints: 0, in_bulk: false };

    /// One save of an agent.
    pub const fn save(slug: usize) -> Self {
        Self { slug, saves: 1, ..Self::NONE }
    }
}

/// One thing that is done otherwise; the checker has to find out what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The daemon takes the lock of the sleeper and sleeps, without the pass over the outbox in between.
    SleepsWithoutSecondPass,
    /// It takes that lock before any batch, and not only before the first of a pass.
    TakesLockMidPass,
    /// It forgets the wake-ups at the end of a drain, and not before it.
    TakesInboxAfterDrain,
    /// It listens when it is about to sleep for the first time, and not before the catch-up.
    ListensAfterCatchUp,
    /// It leads without the leader's lock.
    LeadsWithoutLock,
    /// After an error it holds the lock that it asked for to be its own.
    TrustsLostAnswer,
    /// It never looks at the outbox without being woken.
    NeverSweeps,
    /// It takes the rows out of the outbox in a transaction before the one that writes.
    AcknowledgesBeforeWrite,
    /// It reads the agents in an older snapshot than the outbox.
    ReadsAgentsFirst,
    /// The trigger looks, and notifies at once, before it appends.
    NotifiesBeforeAppend,
    /// The trigger lets go of the lock at once when it has seen that it can share it, and not with the transaction.
    OnlyPeeksAtLock,
    /// What the trigger remembers of having looked survives a rollback to a savepoint; the lock and the notification do not.
    RemembersAcrossRollback,
    /// The database releases the locks of a transaction before its rows can be seen.
    UnlocksBeforeVisible,
}

/// What a transaction, or a savepoint in it, has done so far: a set of these.
type Level = u8;
const SAVED: Level = 1;
/// It shares the lock of the sleeper.
const SHARES: Level = 2;
/// It will notify.
const NOTIFIES: Level = 4;
/// It knows that it has looked.
const LOOKED: Level = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    Open,
    /// In the trigger, between the append and the look (or the other way round, if that is the fault).
    InTrigger,
    /// Its rows can be seen, or will be in this moment; it still has its locks.
    Committed,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Writer {
    stage: Stage,
    outer: Level,
    inner: Option<Level>,
    saves: u8,
    savepoints: u8,
}

impl Writer {
    const DONE: Self = Self { stage: Stage::Done, outer: 0, inner: None, saves: 0, savepoints: 0 };

    fn has(self, what: Level) -> bool {
        (self.outer | self.inner.unwrap_or(0)) & what != 0
    }

    fn level(&mut self) -> &mut Level {
        self.inner.as_mut().unwrap_or(&mut self.outer)
    }
}

/// Where a daemon's loop is (`attempt::Phase`, and inside a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Standby,
    CatchUp,
    Draining,
    /// The lock of the sleeper has been seen to, the claim comes next.
    Begun,
    /// The agents are read, the outbox comes next: only where that is the fault.
    HasReadAgents,
    Claimed,
    Locked,
    /// The outbox rows are gone, the write comes next: only where that is the fault.
    Acknowledged,
    Waiting,
    Resting,
}

/// `drain::SleeperLock`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum SleeperLock {
    Free,
    Wanted,
    Held,
    Unwanted,
}

/// `store::Idle`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Idle {
    Keep,
    Release,
    Try,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Daemon {
    phase: Phase,
    /// What the server knows of its session: that it has the leader's lock, listens, and has the lock of the sleeper.
    leads: bool,
    listens: bool,
    has_idle: bool,
    /// A notification is on its way, or in the inbox.
    coming: bool,
    news: bool,
    /// `drain::Drain`
    lock: SleeperLock,
    idle: Idle,
    from: u8,
    took_any: bool,
    busy: bool,
    /// The batch: the places it has read, the agents as it has read them, and the configurations it has locked.
    rows: u8,
    seen: [u8; SLUGS],
    locked: u8,
}

impl Daemon {
    const STANDBY: Self = Self {
        phase: Phase::Standby,
        leads: false,
        listens: false,
        has_idle: false,
        coming: false,
        news: false,
        lock: SleeperLock::Free,
        idle: Idle::Keep,
        from: 0,
        took_any: false,
        busy: false,
        rows: 0,
        seen: [0; SLUGS],
        locked: 0,
    };

    fn is_asleep(&self) -> bool {
        self.phase == Phase::Resting && !self.busy && !self.news && !self.coming
    }

    fn forget_batch(&mut self) {
        (self.rows, self.seen, self.locked, self.idle) = (0, [0; SLUGS], 0, Idle::Keep);
    }

    fn begin_pass(&mut self) {
        (self.from, self.took_any) = (0, false);
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    writers: [Writer; WRITERS],
    daemons: [Daemon; DAEMONS],
    /// What has been committed: the places of the outbox that are taken, and which version each agent and configuration is at.
    outbox: u8,
    agents: [u8; SLUGS],
    configurations: [u8; SLUGS],
    /// The places of rows whose failure is noted in `agent_sync.problem`, to be tried again.
    set_aside: u8,
    /// Whether somebody else has the configuration of the first agent locked.
    is_edited: bool,
    crashes: u8,
    failures: u8,
    edits: u8,
    losses: u8,
    was_lost: bool,
    went_stale: bool,
}

/// Few large words are hashed sooner than many small ones. Two states of one hash are told apart all the same.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let pack = |parts: &[u8]| parts.iter().fold(0_u64, |word, part| word << 4 ^ u64::from(*part));
        for Writer { stage, outer, inner, saves, savepoints } in self.writers {
            hasher.write_u64(pack(&[stage as u8, outer, inner.map_or(15, |inner| inner), saves, savepoints]));
        }
        for daemon in &self.daemons {
            let Daemon { phase, lock, idle, from, rows, seen, locked, .. } = *daemon;
            let Daemon { leads, listens, has_idle, coming, news, took_any, busy, .. } = *daemon;
            let flags = [leads, listens, has_idle, coming, news, took_any, busy];
            let flags = flags.into_iter().fold(0, |flags, flag| flags << 1 | u8::from(flag));
            let parts = [
                phase as u8,
                lock as u8,
                idle as u8,
                from,
                rows,
                seen[0],
                seen[1],
                locked,
                flags >> 4,
                flags & 15,
            ];
            hasher.write_u64(pack(&parts));
        }
        let Self { outbox, agents, configurations, set_aside, crashes, failures, edits, losses, .. } = *self;
        let flags = u8::from(self.is_edited) | u8::from(self.was_lost) << 1 | u8::from(self.went_stale) << 2;
        let [a, b, c, d] = [agents[0], agents[1], configurations[0], configurations[1]];
        hasher.write_u64(pack(&[outbox, a, b, c, d, set_aside, crashes, failures, edits, losses, flags]));
    }
}

/// Who does what.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "they are told, in stories")]
pub enum Step {
    Save(usize),
    Look(usize),
    Savepoint(usize),
    RollBackTo(usize),
    Release(usize),
    Commit(usize),
    Settle(usize),
    Abort(usize),
    TryLead(usize),
    Listen(usize),
    Idle(usize, Idle),
    ReadAgents(usize),
    Claim(usize),
    LockRows(usize),
    Acknowledge(usize),
    Finish(usize),
    Wait(usize),
    Take(usize),
    Deliver(usize),
    Sweep(usize),
    Crash(usize),
    ClaimFails(usize),
    WriteFails(usize),
    SetAside(usize),
    Retry(usize),
    Lose(usize),
    Edit,
    EndEdit,
}

/// The promises (see `broken` below).
pub const STALE: &str = "G2: no stale value overwrites a newer one";
pub const LOST: &str = "G1: no committed change is lost";
pub const ASLEEP: &str = "C6: no daemon sleeps while there is something to do and nothing will wake it";

type Next = Vec<(Step, State)>;

impl System for Model {
    type State = State;
    type Step = Step;

    fn initial(&self) -> State {
        let writer = |script: Script| match script {
            Script { saves: 0, .. } => Writer::DONE,
            Script { saves, savepoints, .. } => {
                Writer { stage: Stage::Open, outer: 0, inner: None, saves, savepoints }
            }
        };
        State {
            writers: self.writers.map(writer),
            daemons: [Daemon::STANDBY; DAEMONS],
            outbox: 0,
            agents: [0; SLUGS],
            configurations: [0; SLUGS],
            set_aside: 0,
            is_edited: false,
            crashes: self.crashes,
            failures: self.failures,
            edits: self.edits,
            losses: self.losses,
            was_lost: false,
            went_stale: false,
        }
    }

    fn steps(&self, state: &State, next: &mut Next) {
        for writer in 0..WRITERS {
            self.writer(state, writer, next);
        }
        for daemon in 0..self.daemons {
            self.daemon(state, daemon, next);
            self.adversity(state, daemon, next);
        }
        let is_free = state.daemons.iter().all(|daemon| daemon.locked & 1 == 0);
        if state.edits > 0 && is_free && !state.is_edited {
            next.push((Step::Edit, State { edits: state.edits - 1, is_edited: true, ..*state }));
        }
        if state.is_edited {
            next.push((Step::EndEdit, State { is_edited: false, ..*state }));
        }
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        let is_pending = |slug: usize| {
            let is_under_way = |daemon: &Daemon| {
                self.slugs_of(daemon.rows) & (1 << slug) != 0 && daemon.seen[slug] == state.agents[slug]
            };
            self.slugs_of(state.outbox | state.set_aside) & (1 << slug) != 0
                || state.daemons.iter().any(is_under_way)
        };
        let will_notify = |writer: &Writer| writer.stage == Stage::Committed && writer.has(NOTIFIES);
        if state.went_stale {
            Some(STALE)
        } else if (0..SLUGS).any(|slug| state.configurations[slug] != state.agents[slug] && !is_pending(slug))
        {
            Some(LOST)
        } else if state.outbox != 0
            && !state.was_lost
            && state.daemons.iter().any(|daemon| daemon.leads && daemon.is_asleep())
            && !state.writers.iter().any(will_notify)
        {
            Some(ASLEEP)
        } else {
            None
        }
    }

    fn is_well(&self, state: &State) -> bool {
        state.outbox | state.set_aside == 0
            && state.configurations == state.agents
            && state.writers.iter().all(|writer| writer.stage == Stage::Done)
            && state.daemons.iter().any(|daemon| daemon.is_asleep() && daemon.has_idle)
    }

    fn is_fair(&self, step: Step) -> bool {
        use Step::{ClaimFails, Crash, Edit, Lose, SetAside, WriteFails};
        !matches!(step, Crash(_) | ClaimFails(_) | WriteFails(_) | SetAside(_) | Lose(_) | Edit)
    }
}

impl Model {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The agents that the rows at these places are about.
    fn slugs_of(&self, rows: u8) -> u8 {
        (0..WRITERS)
            .filter(|place| rows & (1 << place) != 0)
            .fold(0, |slugs, place| slugs | 1 << self.writers[place].slug)
    }

    fn writer(&self, state: &State, index: usize, next: &mut Next) {
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

    fn daemon(&self, state: &State, index: usize, next: &mut Next) {
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

    /// What may go wrong with a daemon.
    fn adversity(&self, state: &State, index: usize, next: &mut Next) {
        let daemon = state.daemons[index];
        if state.crashes > 0 && daemon.phase != Phase::Standby {
            let mut after = *state;
            after.crashes -= 1;
            after.daemons[index] = Daemon::STANDBY;
            next.push((Step::Crash(index), after));
        }
        if state.failures > 0 {
            let (mut after, mut failed) = (*state, daemon);
            after.failures -= 1;
            failed.phase = Phase::Draining;
            failed.forget_batch();
            match daemon.phase {
                Phase::Begun => {
                    if daemon.idle == Idle::Try {
                        let trusted = self.has(Fault::TrustsLostAnswer);
                        failed.lock = if trusted { SleeperLock::Held } else { SleeperLock::Unwanted };
                    }
                    after.daemons[index] = failed;
                    next.push((Step::ClaimFails(index), after));
                }
                Phase::Locked if daemon.rows.count_ones() > 1 => {
                    after.daemons[index] = failed;
                    next.push((Step::WriteFails(index), after));
                }
                Phase::Locked => {
                    // The batch is undone, and its row taken out with a note of why; the pass goes on from where it was.
                    after.outbox &= !daemon.rows;
                    after.set_aside |= daemon.rows;
                    failed.took_any = true;
                    after.daemons[index] = failed;
                    next.push((Step::SetAside(index), after));
                }
                _ => {}
            }
        }
        if state.losses > 0 && daemon.coming {
            let mut after = *state;
            after.losses -= 1;
            after.was_lost = true;
            after.daemons[index].coming = false;
            next.push((Step::Lose(index), after));
        }
    }
}

/// Whether nobody is in the way of a daemon that wants the lock of the sleeper: another daemon, or a writer that shares it.
fn can_sleep(state: &State) -> bool {
    state.daemons.iter().all(|daemon| !daemon.has_idle)
        && !state.writers.iter().any(|writer| writer.has(SHARES))
}

/// A notification sets out to everybody who listens.
fn signal(state: &mut State) {
    for daemon in state.daemons.iter_mut().filter(|daemon| daemon.listens) {
        daemon.coming = true;
    }
}
