//! Processes the outbox in batches, from the front to the end.
//!
//! [`Protocol`] decides when to scan, when to sleep and what happens to the idle lock; this module
//! executes its commands.
//!
//! The outbox has no index: a batch reads on from the end of the last one, so that a backlog drains
//! in linear time, however many dead rows lie in front. A row can appear before that position (a
//! long transaction commits, or freed space is used again). So the daemon sleeps only after a scan
//! from the front under the idle lock, or, where it never takes that lock, after a scan that has
//! taken nothing.
//!
//! A failed batch is the subject of `drain::failure`. Whatever the error, one row never stops the
//! others (G5). A slow write is tried alone ([`super::slow`]), and a lock on a whole table is
//! waited for (G16).

mod batch;
mod failure;
mod suspect;
mod trial;

use std::time::{Duration, Instant};

use tracing::Instrument as _;

use self::batch::{Batch, End};
use super::batch_size::BatchSize;
use super::busy::Busy;
use super::context::Tools;
use super::error::AttemptError;
use super::fast_path;
use super::heavy::{Place, Turn};
use super::protocol::{Command, Input, Next, Protocol};
use super::remembered::{PASSED, Remembered, Requested, Settled};
use super::slow::{Allowed, Slow};
use crate::observe::Totals;
use crate::observe::event::Holdup;
use crate::pg::sqlstate::Class;
use crate::pg::{Tid, Version};
use crate::store::{Problem, Store};

/// The first pause between scans of the outbox while a writer blocks the idle lock, and the longest
/// one unless a quarter of the time of a scan is longer. The pauses after transient errors begin
/// with twice the first one.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// The state of the drain.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Drain {
    protocol: Protocol,
    command: Command<Tid>,
    /// The position that the next batch reads on from.
    from: Tid,
    /// When the first claim of the running scan was sent; None between two scans.
    scan_began: Option<Instant>,
    batch_size: BatchSize,
    poll_pause: Duration,
    /// The time limit of the last batch that was sent to be written.
    allowed: Allowed,
    /// The number of consecutive batches with a transient error.
    transient: u32,
    /// The number of consecutive single rows that failed with the class `Fault`.
    faults: u32,
    /// The row of the outbox that a committed batch of one row was to take and has not taken.
    untaken: Option<(Tid, Version)>,
    totals: Totals,
    last_write: Option<Instant>,
    wrote: bool,
    has_new_retry: bool,
    /// Whether the suspect of this connection is noted (`store::suspect`), or there was none.
    has_noted_suspect: bool,
    /// Whether the suspect is done, or there is none: larger batches may follow.
    suspect_is_done: bool,
    /// The slugs with a problem that this scan has found.
    settled: Settled,
    requested: Requested,
    /// The slugs whose write takes long.
    slow: Slow,
    /// The slugs whose configurations are locked.
    busy: Busy,
    /// The keys that this scan has left.
    passed: Remembered<()>,
    /// A slug that was left in the outbox since the last [`Self::take_left`], and for what.
    left: Option<(String, Holdup)>,
    /// A slug that was left because connections have ended on it. It is tried alone after this
    /// scan.
    dangerous: Option<String>,
    /// The time before which no slug on which connections have ended is tried: the last one needs
    /// the turn of heavy work.
    no_danger_before: Instant,
    /// The turn of heavy work, from its first heavy batch to the end of the connection.
    turn: Option<Turn>,
    /// Whether it has come since the last scan began: that one may have left slugs that need it.
    turn_is_new: bool,
    /// The place in the queue for it, while slugs are left that need it.
    place: Option<Place>,
}

/// The result of one step of the drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// There may be more.
    More,
    /// Nothing more can be taken, and a writer blocks the idle lock.
    Poll {
        /// Whether slugs are left in the outbox (glossary: left).
        left_rows: bool,
        /// The pause before the next scan.
        pause: Duration,
    },
    /// Another session has a table locked; nothing has happened.
    Locked,
    /// Nothing more can be taken. The idle lock is held, if writers notify.
    Sleep {
        /// Whether slugs are left in the outbox (glossary: left).
        left_rows: bool,
    },
}

impl Drain {
    /// With `uses_idle_lock`, writers notify a sleeping daemon (C6); without, it never takes the
    /// idle lock. The slow writes are those that an earlier connection knew.
    pub(super) fn new(batch_size: u32, slow: Slow, uses_idle_lock: bool) -> Self {
        let mut protocol = Protocol::new(uses_idle_lock);
        Self {
            command: protocol.next(Input::Unannounced),
            protocol,
            from: Tid::START,
            scan_began: None,
            batch_size: BatchSize::new(batch_size),
            poll_pause: POLL.0,
            allowed: Allowed::from_now(slow.time()),
            transient: 0,
            faults: 0,
            untaken: None,
            totals: Totals::default(),
            last_write: None,
            wrote: false,
            has_new_retry: false,
            has_noted_suspect: false,
            suspect_is_done: false,
            settled: Settled::default(),
            requested: Requested::default(),
            slow,
            busy: Busy::default(),
            passed: Remembered::new(PASSED),
            left: None,
            dangerous: None,
            no_danger_before: Instant::now(),
            turn: None,
            turn_is_new: false,
            place: None,
        }
    }

    /// The totals since the last call.
    pub(super) fn take_totals(&mut self) -> Totals {
        std::mem::take(&mut self.totals)
    }

    /// When a configuration was last written, if one was since the last call.
    pub(super) fn take_last_write(&mut self) -> Option<Instant> {
        self.last_write.take()
    }

    fn add(&mut self, totals: Totals) {
        if totals.written > 0 {
            self.last_write = Some(Instant::now());
            self.wrote = true;
        }
        self.totals.add(totals);
    }

    /// Whether a problem that is retried was noted since the last call.
    pub(super) fn take_new_retry(&mut self) -> bool {
        std::mem::take(&mut self.has_new_retry)
    }

    /// The slow writes that are known. For the end of the connection.
    pub(super) fn take_slow(&mut self) -> Slow {
        self.slow.put_off(Duration::ZERO, Instant::now());
        std::mem::replace(&mut self.slow, Slow::new(Duration::ZERO))
    }

    /// A slug that was left in the outbox since the last call, and for what.
    pub(super) fn take_left(&mut self) -> Option<(String, Holdup)> {
        self.left.take()
    }

    /// Whether the connection has to end, so that another database has the turn of heavy work, and
    /// the memory of this one is released.
    pub(super) fn owes_turn(&self, is_done: bool) -> bool {
        self.turn
            .as_ref()
            .is_some_and(|turn| is_done || turn.is_over())
    }

    /// Whether this connection has the turn of heavy work.
    pub(super) fn has_turn(&self) -> bool {
        self.turn.is_some()
    }

    /// Whether a configuration was written since the last call.
    pub(super) fn take_wrote(&mut self) -> bool {
        std::mem::take(&mut self.wrote)
    }

    /// Whether the session certainly holds the idle lock.
    pub(super) fn holds_idle_lock(&self) -> bool {
        self.protocol.holds_idle_lock()
    }

    /// Passes a fact to the protocol.
    pub(super) fn tell(&mut self, input: Input<Tid>) {
        match self.protocol.next(input) {
            Command::Continue => {}
            command => self.command = command,
        }
    }

    /// Notes a request for these slugs, which are in the outbox.
    pub(super) fn was_asked(&mut self, slugs: &[String]) {
        self.requested.add(slugs);
    }

    /// Marks the problems of requested agents.
    fn mark_requested(&self, store: &Store, problems: &mut [Problem]) {
        self.requested.mark(store.layout().keys(), problems);
    }

    /// Notes a request for every agent.
    pub(super) fn was_asked_for_full_check(&mut self) {
        self.requested.add_full_check();
    }

    /// One change by the fast path, or one batch: also both, if the fast path was in vain.
    pub(super) async fn step(&mut self, tools: Tools<'_>) -> Result<Drained, AttemptError> {
        if let Command::FastPath(tid) = self.command {
            let totals = Box::pin(fast_path::run(tools, tid, &self.slow))
                .instrument(tools.observer.batch_span())
                .await?;
            let done = totals.is_some();
            self.tell(Input::FastPathEnded { done });
            if let Some(totals) = totals {
                self.add(totals);
            }
        }
        let mut scan = Duration::ZERO;
        if let Command::Claim(action) = self.command {
            let began = *self.scan_began.get_or_insert_with(Instant::now);
            // On the heap: a batch is large compared with the rest of the loop.
            let batch = Box::pin(self.batch(tools, action))
                .instrument(tools.observer.batch_span())
                .await?;
            scan = began.elapsed();
            self.batch_ended(tools, batch).await?;
            if let Batch::Locked = batch {
                return Ok(Drained::Locked);
            }
        }
        Ok(match self.command {
            Command::Poll { left_rows } => {
                let pause = self.poll_pause;
                // A scan that takes long, over many dead rows, is not repeated all the time.
                self.poll_pause = (pause * 2).min(POLL.1.max(scan / 4));
                Drained::Poll { left_rows, pause }
            }
            Command::Sleep { left_rows } => Drained::Sleep { left_rows },
            Command::Claim(_) | Command::FastPath(_) | Command::Continue => Drained::More,
        })
    }

    /// Passes the end of a batch to the protocol.
    async fn batch_ended(&mut self, tools: Tools<'_>, batch: Batch) -> Result<(), AttemptError> {
        match batch {
            Batch::Done(end) if end.is_last && !end.stays_here => {}
            Batch::Left(last)
            | Batch::Done(End {
                stays_here: false,
                last,
                ..
            }) => {
                self.from = last.next();
                self.tell(Input::BatchEnded(Next::Further));
                return Ok(());
            }
            Batch::Done(_) | Batch::Again | Batch::Locked => {
                self.tell(Input::BatchEnded(Next::Same));
                return Ok(());
            }
        }
        self.suspect_is_done = true;
        self.busy.end_scan();
        self.passed.retain(|()| false);
        self.settled.clear();
        self.requested = Requested::default();
        (self.from, self.scan_began) = (Tid::START, None);
        let now = Instant::now();
        let dangerous = self.dangerous.take();
        if let Some(key) = dangerous.filter(|_| self.no_danger_before <= now) {
            self.tell(Input::BatchEnded(Next::Front));
            tools.store.note_dangerous(&key).await?;
            self.suspect_is_done = false;
        } else if std::mem::take(&mut self.turn_is_new)
            || self.slow.begin_one(now)
            || self.begin_busy(tools.store).await?
        {
            self.tell(Input::BatchEnded(Next::Front));
        } else {
            self.tell(Input::BatchEnded(Next::End));
            if let Command::Sleep { left_rows: false } = self.command {
                self.place = None;
            }
            if !matches!(self.command, Command::Poll { .. }) {
                self.poll_pause = POLL.0;
            }
        }
        Ok(())
    }

    /// Begins the try of a slug whose configurations are locked. Returns false if there is none.
    async fn begin_busy(&mut self, store: &Store) -> Result<bool, AttemptError> {
        let Some(key) = self.busy.due(Instant::now()).map(str::to_owned) else {
            return Ok(false);
        };
        match store.versions_of_configurations(&key).await {
            Ok(versions) => Ok(self.busy.note_versions(&key, versions, Instant::now())),
            // The table is locked; the next batch waits for it.
            Err(error) if error.class() == Some(Class::Locked) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
