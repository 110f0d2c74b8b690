//! The size of a model, its states, and the names of its steps.

use std::hash::{Hash, Hasher};

use agent_sync::session::News;
use agent_sync::store::IdleLockAction;
use agent_sync::sync::protocol::Protocol;

use super::notes::{Note, Notes, bits};
use super::outbox::{Outbox, Row};

/// The number of agents; each has one configuration.
pub const SLUGS: usize = 2;
pub(super) const WRITERS: usize = 3;
pub(super) const DAEMONS: usize = 2;

/// A model: the numbers of its parts and of its faults.
#[derive(Debug, Clone, Copy)]
pub struct Model {
    /// The writers, each with one transaction.
    pub writers: [Script; WRITERS],
    /// The number of daemons that start.
    pub daemons: usize,
    /// The number of rows that a batch reads.
    pub limit: u32,
    /// The number of crashes, each possible at any time.
    pub crashes: u8,
    /// The number of failed claims or writes that do not end the session; a failed batch of one row
    /// is set aside.
    pub failures: u8,
    /// The number of times that another session locks the configuration of the first agent, for any
    /// time.
    pub edits: u8,
    /// The number of notifications lost in transit. Only with such losses does the model have a
    /// sweep.
    pub losses: u8,
    /// The number of stray notifications, of any place.
    pub strays: u8,
    /// The number of rewrites of the outbox, which move its rows.
    pub rewrites: u8,
    /// The number of rewrites of the configurations: their rows keep their common version and
    /// exchange their places.
    pub moves: u8,
    /// The defect of a mutant.
    pub mutation: Option<Mutation>,
}

/// The transaction of a writer, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Script {
    /// The agent that it saves.
    pub slug: usize,
    /// The number of saves.
    pub saves: u8,
    /// Whether a save concerns both agents: a rename, which appends two rows.
    pub renames: bool,
    /// Whether the second save concerns the other agent.
    pub alternates: bool,
    /// The number of savepoints.
    pub savepoints: u8,
    /// Whether it has made so many appends that it checks the idle lock only once
    /// (`agent_sync.appended`).
    pub in_bulk: bool,
}

impl Script {
    /// A transaction without saves.
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

    /// The set of agents of the next save, if `saves` are left.
    pub(super) fn slugs(self, saves: u8) -> u8 {
        match (self.renames, self.alternates && saves < self.saves) {
            (true, _) => 3,
            (false, is_other) => 1 << (self.slug ^ usize::from(is_other)),
        }
    }
}

/// One defect of a mutant; the checker has to find its consequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// No defect, and equivalent states are kept apart.
    TellsAllApart,
    /// The daemon takes the idle lock and sleeps without the scan in between.
    SleepsWithoutSecondScan,
    /// It sleeps without the lock when a writer holds it.
    SleepsWithoutLock,
    /// It takes the idle lock before any batch, and not only before the first of a scan.
    TakesLockMidScan,
    /// It empties the inbox after a drain, and not before it.
    TakesInboxAfterDrain,
    /// It listens before its first sleep, and not before the catch-up.
    ListensAfterCatchUp,
    /// It leads without the leader lock.
    LeadsWithoutLock,
    /// After an error it assumes that it has the lock that it requested.
    TrustsLostAnswer,
    /// It never scans the outbox without a wake-up.
    NeverSweeps,
    /// It deletes the rows of the outbox in a transaction before the write.
    AcknowledgesBeforeWrite,
    /// It reads the agents in an older snapshot than the outbox.
    ReadsAgentsFirst,
    /// The trigger checks the idle lock and notifies before it appends.
    NotifiesBeforeAppend,
    /// The trigger releases the shared lock immediately, and not at the end of the transaction.
    OnlyPeeksAtLock,
    /// The trigger's memory of its check survives a rollback to a savepoint; the lock and the
    /// notification do not.
    RemembersAcrossRollback,
    /// The database releases the locks of a transaction before its rows are visible.
    UnlocksBeforeVisible,
    /// A transaction's second append does not notify.
    SecondAppendIsSilent,
    /// The notification of a rename names the place of one of its two rows.
    RenameNamesPlace,
    /// The inbox keeps the last place, whatever else arrives.
    SwallowsOthers,
    /// A change takes the fast path even if the outbox is not scanned.
    TakesFastPathUnscanned,
    /// A scan counts as complete although it left locked rows.
    ScannedDespiteLocked,
    /// The scan still counts as complete after retries are put into the outbox.
    ScannedDespiteRetry,
    /// After a noted failure, due retries are put into the outbox, and the daemon sleeps.
    RestsAfterRetry,
    /// A scan still counts as complete on another connection.
    ScannedAfterReconnect,
    /// The fast path releases the idle lock, like a batch, and the daemon goes back to sleep.
    ReleasesLockForFastPath,
    /// A change counts as done if its place has no row.
    TrustsPlace,
    /// A change counts as done although its write on the fast path changed no row.
    TrustsWrite,
    /// The write does not require the version of the configuration.
    WritesAnyVersion,
    /// The delete does not require the version of the row.
    TakesAnyVersion,
    /// With the version required, the delete does not require the slug of the row.
    TakesAnySlug,
    /// The write on the fast path requires the place and the version of a configuration, and not
    /// its slug.
    WritesAnyPlace,
}

/// The progress of a transaction, or of a savepoint in it: a set of flags.
pub(super) type Level = u8;
pub(super) const SAVED: Level = 1;
/// It shares the idle lock.
pub(super) const SHARES: Level = 2;
/// It will send a wake-up.
pub(super) const NOTIFIES: Level = 4;
/// It remembers its check of the idle lock and skips further ones (`agent_sync.appended` is 50).
pub(super) const LOOKED: Level = 8;
/// It will notify with the place of its first row.
pub(super) const NAMES: Level = 16;
/// It remembers its append (`agent_sync.appended` is not empty).
pub(super) const APPENDED: Level = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    Open,
    /// In the trigger, between the append and the check (in a mutant the other way round).
    InTrigger,
    /// Its rows are visible; it still has its locks.
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
    /// The place that its notification names.
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

    /// The encoding as a number.
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

/// The phase of a daemon (`connection::Phase`, and within a batch).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Standby,
    CatchUp,
    Draining,
    /// The action on the idle lock is done; the claim is next.
    Begun,
    /// The agents are read; the outbox is next (only in a mutant).
    HasReadAgents,
    Claimed,
    Locked,
    /// The rows of the outbox are deleted; the write is next (only in a mutant).
    Acknowledged,
    /// A change takes the fast path; the read of its place is next.
    FastPath,
    /// The change is read; the write is next.
    HasReadSingle,
    /// A scan has found nothing, and a writer keeps the daemon awake.
    Polling,
    Waiting,
    Resting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Daemon {
    pub(super) phase: Phase,
    /// The state of its session: whether it has the leader lock, listens, and has the idle lock.
    pub(super) leads: bool,
    pub(super) listens: bool,
    pub(super) has_idle_lock: bool,
    /// The notifications in transit, and the inbox.
    pub(super) coming: Notes,
    pub(super) news: Note,
    /// The code under test, and its last command: the action on the idle lock that the next batch
    /// begins with, and whether the daemon sleeps with locked rows left.
    pub(super) protocol: Protocol,
    pub(super) idle_action: IdleLockAction,
    pub(super) left_rows: bool,
    /// The place at which the next batch starts.
    pub(super) from: u8,
    /// The set of agents that were set aside since the last rest (`Drain::take_set_aside`).
    pub(super) noted: u8,
    /// The batch: the places that it has read, their agents, the versions of these, and the
    /// configurations that it has locked.
    pub(super) rows: u8,
    pub(super) slugs: u8,
    pub(super) seen: [u8; SLUGS],
    pub(super) locked: u8,
    /// The change on the fast path: the place of the notification, the row there, whether its
    /// configuration has to be written, and whether that is still the version that was read.
    pub(super) told: Note,
    pub(super) single: Row,
    pub(super) differs: bool,
    pub(super) is_intact: bool,
    /// Whether another agent's configuration is now at the place of the one that was read.
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
        left_rows: false,
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

    /// The encoding without the protocol, in two numbers.
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
            self.left_rows,
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
            && !self.left_rows
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

/// The state of the whole model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct State {
    pub(super) writers: [Writer; WRITERS],
    pub(super) daemons: [Daemon; DAEMONS],
    /// The outbox, and the versions of agents and configurations.
    pub(super) outbox: Outbox,
    pub(super) agents: [u8; SLUGS],
    pub(super) configurations: [u8; SLUGS],
    /// The agents with a noted failure, to be retried.
    pub(super) set_aside: u8,
    /// Whether another session has locked the configuration of the first agent.
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

/// A few large words hash faster than many small ones. Equality decides between states with equal
/// hashes.
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

/// The steps, with the index of their writer or daemon.
#[derive(Debug, Clone, Copy)]
#[allow(dead_code, reason = "they are told, in stories")]
pub enum Step {
    /// The second number is the place of the row.
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
