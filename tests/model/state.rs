//! What there is: the size of a model, its states, and the names of the steps between them.

use std::hash::{Hash, Hasher};

/// How many agents there are, each with its configuration.
pub const SLUGS: usize = 2;
pub(super) const WRITERS: usize = 3;
pub(super) const DAEMONS: usize = 2;

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
pub(super) type Level = u8;
pub(super) const SAVED: Level = 1;
/// It shares the lock of the sleeper.
pub(super) const SHARES: Level = 2;
/// It will notify.
pub(super) const NOTIFIES: Level = 4;
/// It knows that it has looked.
pub(super) const LOOKED: Level = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Open,
    /// In the trigger, between the append and the look (or the other way round, if that is the fault).
    InTrigger,
    /// Its rows can be seen, or will be in this moment; it still has its locks.
    Committed,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) stage: Stage,
    pub(super) outer: Level,
    pub(super) inner: Option<Level>,
    pub(super) saves: u8,
    pub(super) savepoints: u8,
}

impl Writer {
    pub(super) const DONE: Self = Self { stage: Stage::Done, outer: 0, inner: None, saves: 0, savepoints: 0 };

    pub(super) fn has(self, what: Level) -> bool {
        (self.outer | self.inner.unwrap_or(0)) & what != 0
    }

    pub(super) fn level(&mut self) -> &mut Level {
        self.inner.as_mut().unwrap_or(&mut self.outer)
    }
}

/// Where a daemon's loop is (`attempt::Phase`, and inside a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
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
pub(super) enum SleeperLock {
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
pub(super) struct Daemon {
    pub(super) phase: Phase,
    /// What the server knows of its session: that it has the leader's lock, listens, and has the lock of the sleeper.
    pub(super) leads: bool,
    pub(super) listens: bool,
    pub(super) has_idle: bool,
    /// A notification is on its way, or in the inbox.
    pub(super) coming: bool,
    pub(super) news: bool,
    /// `drain::Drain`
    pub(super) lock: SleeperLock,
    pub(super) idle: Idle,
    pub(super) from: u8,
    pub(super) took_any: bool,
    pub(super) busy: bool,
    /// The batch: the places it has read, the agents as it has read them, and the configurations it has locked.
    pub(super) rows: u8,
    pub(super) seen: [u8; SLUGS],
    pub(super) locked: u8,
}

impl Daemon {
    pub(super) const STANDBY: Self = Self {
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

    pub(super) fn is_asleep(&self) -> bool {
        self.phase == Phase::Resting && !self.busy && !self.news && !self.coming
    }

    pub(super) fn forget_batch(&mut self) {
        (self.rows, self.seen, self.locked, self.idle) = (0, [0; SLUGS], 0, Idle::Keep);
    }

    pub(super) fn begin_pass(&mut self) {
        (self.from, self.took_any) = (0, false);
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    pub(super) writers: [Writer; WRITERS],
    pub(super) daemons: [Daemon; DAEMONS],
    /// What has been committed: the places of the outbox that are taken, and which version each agent and configuration is at.
    pub(super) outbox: u8,
    pub(super) agents: [u8; SLUGS],
    pub(super) configurations: [u8; SLUGS],
    /// The places of rows whose failure is noted in `agent_sync.problem`, to be tried again.
    pub(super) set_aside: u8,
    /// Whether somebody else has the configuration of the first agent locked.
    pub(super) is_edited: bool,
    pub(super) crashes: u8,
    pub(super) failures: u8,
    pub(super) edits: u8,
    pub(super) losses: u8,
    pub(super) was_lost: bool,
    pub(super) went_stale: bool,
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

impl Model {
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The agents that the rows at these places are about.
    pub(super) fn slugs_of(&self, rows: u8) -> u8 {
        (0..WRITERS)
            .filter(|place| rows & (1 << place) != 0)
            .fold(0, |slugs, place| slugs | 1 << self.writers[place].slug)
    }
}
