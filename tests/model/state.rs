//! What there is: the size of a model, its states, and the names of the steps between them.

use std::hash::{Hash, Hasher};

use agent_sync::session::News;
use agent_sync::store::IdleLockAction;
use agent_sync::sync::protocol::Protocol;

use super::notes::{Note, Notes, bits};
use super::outbox::{Outbox, Row};

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
    /// How often a claim or a write fails without the session ending; a batch of one row that fails
    /// is set aside.
    pub failures: u8,
    /// How often somebody else locks the configuration of the first agent, for as long as he likes.
    pub edits: u8,
    /// How often a notification is lost on its way. Then, and only then, is there a slow sweep.
    pub losses: u8,
    /// How often somebody notifies of any place.
    pub strays: u8,
    /// How often somebody rewrites the outbox, so that its rows stand at other places.
    pub rewrites: u8,
    /// How often somebody rewrites the configurations: their rows keep their versions, which are
    /// one, and exchange their places.
    pub moves: u8,
    /// What is done otherwise than it should be.
    pub mutation: Option<Mutation>,
}

/// What a writer may do in its transaction, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// The agent that it saves.
    pub slug: usize,
    /// How often it does.
    pub saves: u8,
    /// Whether a save is about both agents: a rename, which appends two rows.
    pub renames: bool,
    /// Whether the second save is of the other agent.
    pub alternates: bool,
    /// How many savepoints it sets.
    pub savepoints: u8,
    /// Whether it has appended so much already that it looks for the sleeper only once
    /// (`agent_sync.appended`).
    pub in_bulk: bool,
}

impl Script {
    /// A transaction that does nothing.
    pub const NONE: Self = Self {
        slug: 0,
        saves: 0,
        renames: false,
        alternates: false,
        savepoints: 0,
        in_bulk: false,
    };

    /// One save of an agent.
    pub const fn save(slug: usize) -> Self {
        Self {
            slug,
            saves: 1,
            ..Self::NONE
        }
    }

    /// The agents that the next save is about, as a set, if so many are left.
    pub(super) fn slugs(self, saves: u8) -> u8 {
        match (self.renames, self.alternates && saves < self.saves) {
            (true, _) => 3,
            (false, is_other) => 1 << (self.slug ^ usize::from(is_other)),
        }
    }
}

/// One thing that is done otherwise; the checker has to find out what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// None, and no state stands for another that is alike.
    TellsAllApart,
    /// The daemon takes the idle lock and sleeps, without the pass over the outbox in
    /// between.
    SleepsWithoutSecondScan,
    /// It goes to sleep without the lock when a writer is in the way of it.
    SleepsWithoutLock,
    /// It takes that lock before any batch, and not only before the first of a pass.
    TakesLockMidScan,
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
    /// The trigger lets go of the lock at once when it has seen that it can share it, and not with
    /// the transaction.
    OnlyPeeksAtLock,
    /// What the trigger remembers of having looked survives a rollback to a savepoint; the lock and
    /// the notification do not.
    RemembersAcrossRollback,
    /// The database releases the locks of a transaction before its rows can be seen.
    UnlocksBeforeVisible,
    /// A transaction's second append does not notify.
    SecondAppendIsSilent,
    /// A rename names the place of one of its two rows.
    RenameNamesPlace,
    /// The inbox keeps the place that came last, whatever else has come.
    SwallowsOthers,
    /// A change takes the fast path whether or not all else is known.
    TakesFastPathUnscanned,
    /// All is held to be known after a pass that has left rows which others have locked.
    ScannedDespiteLocked,
    /// Rows are put into the outbox to be tried again, and all is held to be known as before.
    ScannedDespiteRetry,
    /// When a failure has been noted, rows that are due again are put into the outbox, and the
    /// daemon goes to sleep.
    RestsAfterRetry,
    /// What was known is held to be so over another connection.
    ScannedAfterReconnect,
    /// The idle lock is released on the fast path, as it is for a batch, and the daemon
    /// goes back to sleep.
    ReleasesLockForFastPath,
    /// Where no row is at the place that was named, all is held to be done.
    TrustsPlace,
    /// Where the write of a change by the fast path came to nothing, all is held to be done.
    TrustsWrite,
    /// The write is not held to the version of the configuration.
    WritesAnyVersion,
    /// The row that is taken is not held to its version.
    TakesAnyVersion,
    /// Nor, if that is kept, to its slug.
    TakesAnySlug,
    /// The write of a change by the fast path is held to the place and version of a configuration, and not to
    /// its slug.
    WritesAnyPlace,
}

/// What a transaction, or a savepoint in it, has done so far: a set of these.
pub(super) type Level = u8;
pub(super) const SAVED: Level = 1;
/// It shares the idle lock.
pub(super) const SHARES: Level = 2;
/// It will notify that there is something to do.
pub(super) const NOTIFIES: Level = 4;
/// It knows that it has looked, and need not do so again (`agent_sync.appended` is 50).
pub(super) const LOOKED: Level = 8;
/// It will notify, and name the place of its first row.
pub(super) const NAMES: Level = 16;
/// It knows that it has appended (`agent_sync.appended` is not empty).
pub(super) const APPENDED: Level = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Open,
    /// In the trigger, between the append and the look (or the other way round, if that is the
    /// mutant).
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
    /// What it will notify of, if it names a place.
    pub(super) names: Note,
}

impl Writer {
    pub(super) const DONE: Self = Self {
        stage: Stage::Done,
        outer: 0,
        inner: None,
        saves: 0,
        savepoints: 0,
        names: News::Nothing,
    };

    pub(super) fn has(self, what: Level) -> bool {
        (self.outer | self.inner.unwrap_or(0)) & what != 0
    }

    /// All of it in a number.
    pub(super) fn bits(self) -> u32 {
        let Self {
            stage,
            outer,
            inner,
            saves,
            savepoints,
            names,
        } = self;
        let rest = saves << 6 | savepoints << 4 | bits(names);
        u32::from_be_bytes([stage as u8, outer, inner.unwrap_or(255), rest])
    }

    pub(super) fn level(&mut self) -> &mut Level {
        self.inner.as_mut().unwrap_or(&mut self.outer)
    }
}

/// Where a daemon's loop is (`connection::Phase`, and inside a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Standby,
    CatchUp,
    Draining,
    /// The idle lock has been seen to, the claim comes next.
    Begun,
    /// The agents are read, the outbox comes next: only in a mutant.
    HasReadAgents,
    Claimed,
    Locked,
    /// The outbox rows are gone, the write comes next: only in a mutant.
    Acknowledged,
    /// A change takes the fast path, and its place is to be read.
    FastPath,
    /// It is read, the write comes next.
    HasReadSingle,
    /// A pass has found nothing, and a writer keeps the daemon awake.
    Polling,
    Waiting,
    Resting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Daemon {
    pub(super) phase: Phase,
    /// The state of its session on the server: whether it has the leader lock, listens, and has
    /// the idle lock.
    pub(super) leads: bool,
    pub(super) listens: bool,
    pub(super) has_idle_lock: bool,
    /// The notifications on their way, and what is in the inbox.
    pub(super) coming: Notes,
    pub(super) news: Note,
    /// The code under test, and its last command: the action on the idle lock that the next batch
    /// begins with, and whether the daemon sleeps with locked rows left.
    pub(super) protocol: Protocol,
    pub(super) idle_action: IdleLockAction,
    pub(super) saw_locked: bool,
    /// The place that the next batch reads on from.
    pub(super) from: u8,
    /// The agents that were set aside since the daemon rested last (`Drain::take_set_aside`), as a
    /// set.
    pub(super) noted: u8,
    /// The batch: the places it has read, which agents they are about, these as it has read them,
    /// and the configurations it has locked.
    pub(super) rows: u8,
    pub(super) slugs: u8,
    pub(super) seen: [u8; SLUGS],
    pub(super) locked: u8,
    /// The change by the fast path: the place that was named, the row there, whether its configuration has to
    /// be written, and whether that is still the version that was read.
    pub(super) told: Note,
    pub(super) single: Row,
    pub(super) differs: bool,
    pub(super) is_intact: bool,
    /// Whether the configuration of another agent stands now where the one that was read has stood.
    pub(super) is_moved: bool,
}

impl Daemon {
    pub(super) const STANDBY: Self = Self {
        phase: Phase::Standby,
        leads: false,
        listens: false,
        has_idle_lock: false,
        coming: Notes::NONE,
        news: News::Nothing,
        protocol: Protocol::new(true),
        idle_action: IdleLockAction::Keep,
        saw_locked: false,
        from: 0,
        noted: 0,
        rows: 0,
        slugs: 0,
        seen: [0; SLUGS],
        locked: 0,
        told: News::Nothing,
        single: Row::NONE,
        differs: false,
        is_intact: false,
        is_moved: false,
    };

    /// All of it but the protocol, in two numbers.
    pub(super) fn bits(self) -> [u64; 2] {
        let Self {
            phase,
            idle_action,
            from,
            rows,
            slugs,
            seen,
            locked,
            noted,
            ..
        } = self;
        let flags = [
            self.leads,
            self.listens,
            self.has_idle_lock,
            self.saw_locked,
            self.differs,
            self.is_intact,
            self.is_moved,
        ];
        let flags = flags
            .into_iter()
            .fold(0, |flags, flag| flags << 1 | u8::from(flag));
        let parts = [
            phase as u8 | (idle_action as u8) << 6,
            from | bits(self.news) << 4,
            rows,
            slugs | locked << 2 | bits(self.told) << 4,
            seen[0] | seen[1] << 4,
            self.single.bits() | noted << 5,
            flags,
        ];
        [pack(&parts), u64::from(self.coming.bits())]
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.phase == Phase::Resting
            && !self.saw_locked
            && self.news == News::Nothing
            && self.coming.is_empty()
    }

    pub(super) fn forget_batch(&mut self) {
        (self.rows, self.slugs, self.seen, self.locked) = (0, 0, [0; SLUGS], 0);
        (self.told, self.single, self.differs, self.is_intact) =
            (News::Nothing, Row::NONE, false, false);
        (self.idle_action, self.is_moved) = (IdleLockAction::Keep, false);
    }
}

/// Everything at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct State {
    pub(super) writers: [Writer; WRITERS],
    pub(super) daemons: [Daemon; DAEMONS],
    /// The outbox, and which version each agent and configuration is at.
    pub(super) outbox: Outbox,
    pub(super) agents: [u8; SLUGS],
    pub(super) configurations: [u8; SLUGS],
    /// The agents whose failure is noted in `agent_sync.problem`, to be tried again.
    pub(super) set_aside: u8,
    /// Whether somebody else has the configuration of the first agent locked.
    pub(super) is_edited: bool,
    pub(super) crashes: u8,
    pub(super) failures: u8,
    pub(super) edits: u8,
    pub(super) losses: u8,
    pub(super) strays: u8,
    pub(super) rewrites: u8,
    pub(super) moves: u8,
    pub(super) was_lost: bool,
    pub(super) went_stale: bool,
    pub(super) lost_edit: bool,
    pub(super) is_mixed_up: bool,
}

/// Few large words are hashed sooner than many small ones. Two states of one hash are told apart
/// all the same.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for writer in self.writers {
            hasher.write_u32(writer.bits());
        }
        for daemon in self.daemons {
            let [one, other] = daemon.bits();
            hasher.write_u64(one);
            hasher.write_u64(other);
            daemon.protocol.hash(hasher);
        }
        let Self {
            outbox,
            agents,
            configurations,
            set_aside,
            crashes,
            failures,
            edits,
            losses,
            ..
        } = *self;
        let Self {
            is_edited,
            was_lost,
            went_stale,
            lost_edit,
            strays,
            rewrites,
            moves,
            is_mixed_up,
            ..
        } = *self;
        let flags = [is_edited, was_lost, went_stale, lost_edit, is_mixed_up];
        let flags = flags
            .into_iter()
            .fold(0, |flags, flag| flags << 1 | u8::from(flag));
        hasher.write_u64(pack(&outbox.map(Row::bits)));
        let [a, b] = [0, 1].map(|slug: usize| agents[slug] | configurations[slug] << 4);
        let left = [
            crashes | failures << 4,
            edits | losses << 4,
            strays | rewrites << 4,
        ];
        hasher.write_u64(pack(&[
            a, b, set_aside, flags, left[0], left[1], left[2], moves,
        ]));
    }
}

fn pack(parts: &[u8]) -> u64 {
    parts
        .iter()
        .fold(0, |word, part| word << 8 | u64::from(*part))
}

/// Who does what.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "they are told, in stories")]
pub enum Step {
    /// At which place its row stands.
    Save(usize, usize),
    Look(usize),
    Savepoint(usize),
    RollBackTo(usize),
    Release(usize),
    Commit(usize),
    Settle(usize),
    Abort(usize),
    TryLead(usize),
    Listen(usize),
    IdleLock(usize, IdleLockAction),
    ReadAgents(usize),
    Claim(usize),
    LockRows(usize),
    Acknowledge(usize),
    Finish(usize),
    ReadSingle(usize),
    FinishSingle(usize),
    Poll(usize),
    Wait(usize),
    Take(usize),
    Deliver(usize),
    Sweep(usize),
    Crash(usize),
    ClaimFails(usize),
    WriteFails(usize),
    SetAside(usize),
    FastPathFails(usize),
    Retry(usize),
    Lose(usize),
    Stray(usize),
    Rewrite,
    Tidy,
    Move,
    Edit,
    EndEdit,
}

impl Model {
    pub(super) fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }
}
