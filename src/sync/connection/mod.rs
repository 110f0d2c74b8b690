//! The life of one connection, which keeps one database in sync until it fails or the daemon stops.
//!
//! ```text
//! Connecting ──► Standby ──► CatchUp ──► Draining ◄──► Waiting
//!                  │  ▲                    │  ▲
//!                  └──┘                    ▼  │
//!  another daemon leads, or a pause      Polling
//! ```
//!
//! An error that neither a batch (`drain::failure`) nor a wait for a lock (`table_lock`) settles
//! ends the connection; the next one begins after a pause that [`super::database`] decides on.
//! There is no state to repair: the server has released the locks and rolled back the running
//! batch.
//!
//! Invariants:
//! - LISTEN comes before the first scan of the outbox. So the catch-up finds every change that was
//!   saved while no daemon listened (G1).
//! - An open transaction of another session delays only the rows that it changed or locked. If it
//!   blocks the idle lock, the daemon polls; the database counts as caught up, and requests are
//!   served (I4, I7).
//! - Only the holder of the leader lock writes, in the session that holds it (G2).

mod ended;
mod full_check;
mod leader;
mod open;
mod server_recheck;
mod sweep;
mod table_lock;
mod wake_up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use full_check::Unsettled;
use leader::LeaderSeen;
pub(super) use open::{batch_size, connect};
use server_recheck::ServerRecheck;
use table_lock::Locked;
pub(super) use table_lock::finding as lock_finding;
use wake_up::LEFT_PAUSE;

use super::backlog_poll::BacklogPoll;
use super::context::{Context, LeadOf, Tools};
use super::drain::{Drain, Drained};
use super::error::AttemptError;
use super::health::Health;
use super::slow::Slow;
use crate::mapping::Rules;
use crate::observe::{self, Event, Totals, event};
use crate::session::Session;
use crate::store::{Finding, ForeignCode, Store};

/// The delay of the first sweep, which sends a dozen queries: waiting changes go first.
const FIRST_SWEEP: Duration = Duration::from_secs(1);

/// The time until a slug that is left is reported (glossary: left).
const REPORT_LEFT_AFTER: Duration = Duration::from_secs(60);

/// The phase of the loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Does not lead: another daemon does, the database is paused, or the connection has just
    /// begun. Tries to take over about once a second.
    Standby,
    /// This daemon has just taken the lead: listen.
    CatchUp,
    /// Batches, until nothing more can be taken.
    Draining,
    /// Nothing more can be taken now, and a writer blocks the idle lock: a short pause before the
    /// next scan.
    Polling {
        /// Its length.
        pause: Duration,
    },
    /// Asleep until a notification arrives or something is due: the next sweep, the next retry,
    /// another attempt at what was left, the turn of heavy work, or a timed wake-up.
    Waiting {
        /// Whether slugs are left in the outbox (glossary: left).
        left_rows: bool,
    },
}

/// One connection and what is known about the database behind it.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct ConnectionLoop<'a> {
    context: &'a Context,
    health: &'a mut Health,
    stop: watch::Receiver<bool>,
    session: Session,
    store: Store,
    drain: Drain,
    /// Until when the connection does not listen, if it does not.
    not_listening_until: Option<Instant>,
    next_sweep: Instant,
    has_swept: bool,
    next_retry: Option<Instant>,
    backlog_poll: BacklogPoll,
    left_pause: Duration,
    /// The saves that could not be captured, and are not settled.
    unsettled: Unsettled,
    /// The indexes that a sweep of this connection has found to miss rows.
    bad_indexes: Vec<Finding>,
    caught_up: bool,
    lead: LeadOf<'a>,
    /// The settings of the session at the beginning of the lead.
    settings: String,
    /// The code of others that runs in the session when a configuration is written.
    foreign_code: ForeignCode,
    /// The rules of the batches. Before the first batch under new rules, the mappings are noted as
    /// mixed (`Store::note_mapping_to_write`).
    rules: Arc<Rules>,
    /// The lock of another session that was met.
    locked: Locked,
    /// The last check of the leader, on a standby.
    leader_seen: Option<LeaderSeen>,
    /// The checks of the server that a new connection reaches.
    server_recheck: ServerRecheck,
    /// The findings of the last sweep.
    in_force: Vec<observe::Finding>,
}

/// Keeps the database in sync over one connection, until the daemon stops or an error ends it.
pub(super) async fn run(
    context: &Context,
    health: &mut Health,
    mut stop: watch::Receiver<bool>,
) -> Result<(), AttemptError> {
    let mut connecting = stop.clone();
    let connected = tokio::select! {
        biased;
        _ = connecting.wait_for(|stop| *stop) => return Ok(()),
        connected = connect(context) => connected,
    };
    let (session, mut store) = connected?;
    let batch_size = batch_size(context, &mut store).await?;
    // Before the connection counts as one: during a pause that closes connections, each is only a
    // look for its end.
    if let Some(pause) = store.pause().await?
        && pause.releases
    {
        return Err(AttemptError::Paused(Box::new(pause)));
    }
    stop.mark_unchanged();
    let (server_version, target) = (session.server_version(), session.target());
    context.observer.tell(Event::Connected {
        server_version,
        target,
    });
    let mut connection = ConnectionLoop::new(context, health, stop, (session, store), batch_size);
    let outcome = connection.run().await;
    connection.health.slow = Some(connection.drain.take_slow());
    outcome
}

impl<'a> ConnectionLoop<'a> {
    fn new(
        context: &'a Context,
        health: &'a mut Health,
        stop: watch::Receiver<bool>,
        (session, store): (Session, Store),
        batch_size: u32,
    ) -> Self {
        let not_listening_until = health.noticed.not_listening_for_now();
        let most = context.options.sync.statement_timeout;
        let slow = health.slow.take().unwrap_or_else(|| Slow::new(most));
        Self {
            context,
            health,
            stop,
            session,
            store,
            drain: Drain::new(
                batch_size,
                slow,
                context.options.capture.notify && not_listening_until.is_none(),
            ),
            not_listening_until,
            next_sweep: Instant::now(),
            has_swept: false,
            next_retry: None,
            backlog_poll: BacklogPoll::new(),
            left_pause: LEFT_PAUSE,
            unsettled: Unsettled::default(),
            bad_indexes: Vec::new(),
            caught_up: false,
            lead: LeadOf(&context.lead),
            settings: String::new(),
            foreign_code: ForeignCode::None,
            rules: Arc::clone(&context.rules.borrow()),
            locked: Locked::default(),
            leader_seen: None,
            server_recheck: ServerRecheck::default(),
            in_force: Vec::new(),
        }
    }

    async fn run(&mut self) -> Result<(), AttemptError> {
        let mut phase = Phase::Standby;
        while !*self.stop.borrow() {
            phase = match self.step(phase).await {
                Err(error) if error.is_locked() => self.wait_for_lock(phase).await,
                Err(AttemptError::LostLead) => return Err(self.lost_lead().await),
                Err(error) => return Err(self.ended(error)),
                Ok(next) => next,
            };
        }
        self.note_last_write().await;
        Ok(())
    }

    async fn step(&mut self, phase: Phase) -> Result<Phase, AttemptError> {
        if self.session.inbox().is_closed() {
            return Err(self.closed());
        }
        self.finish_server_recheck()?;
        if let Some(phase) = self.shown(phase) {
            self.context.observer.tell(Event::Phase(phase));
        }
        match phase {
            Phase::Standby => self.stand_by().await,
            Phase::CatchUp => self.catch_up().await,
            Phase::Draining => self.drain().await,
            Phase::Polling { pause } => self.poll(pause).await,
            Phase::Waiting { left_rows } => self.wait(left_rows).await,
        }
    }

    /// The phase as `/status` shows it. The first batches are part of the catch-up. A standby is
    /// reported only after the attempt at the leader lock.
    fn shown(&self, phase: Phase) -> Option<observe::Phase> {
        match phase {
            Phase::Standby => None,
            Phase::CatchUp => Some(observe::Phase::CatchingUp),
            Phase::Draining if !self.caught_up => Some(observe::Phase::CatchingUp),
            Phase::Draining | Phase::Polling { .. } => Some(observe::Phase::Draining),
            Phase::Waiting { .. } => Some(observe::Phase::Waiting),
        }
    }

    async fn catch_up(&mut self) -> Result<Phase, AttemptError> {
        // A standby may have waited for hours, and the tables may have changed meanwhile.
        if !self.store.is_current().await? {
            return Err(AttemptError::TablesChanged);
        }
        let observer = &self.context.observer;
        let is_first_lead = self.health.note_lead();
        if is_first_lead {
            observer.tell(event::Leader::Leading(self.session.target()));
        }
        let rules = Arc::clone(&self.context.rules.borrow());
        // Another daemon may have written under other rules since that comparison.
        self.context.in_sync.send_replace(None);
        if !self.store.note_mapping_to_write(&rules).await? {
            self.context.mapping_changed.notify_one();
        }
        self.rules = rules;
        let missing = &self.store.layout().missing;
        let is_news = self.health.noticed.take_news_of_missing(missing);
        if is_news && !missing.is_empty() {
            observer.tell(event::Tables::ColumnsMissing {
                columns: missing,
                have_gone: !is_first_lead,
            });
        }
        if self.not_listening_until.is_none() {
            self.session.listen().await?;
        }
        self.foreign_code = self.store.foreign_code().await?;
        self.session.plan_for_batches().await?;
        self.settings = self.store.session_state().await?.settings;
        self.next_sweep = Instant::now() + FIRST_SWEEP;
        Ok(Phase::Draining)
    }

    async fn drain(&mut self) -> Result<Phase, AttemptError> {
        if Instant::now() >= self.next_sweep {
            self.sweep_all().await?;
        }
        self.backlog_poll
            .if_due(&self.store, &self.context.observer)
            .await?;
        self.adopt_rules().await?;
        let tools = Tools {
            store: &self.store,
            rules: &self.rules,
            observer: &self.context.observer,
            announce: self.context.options.announce.channel.as_deref(),
            foreign_code: self.foreign_code,
            heavy: &self.context.turns.batches,
            near: &self.context.near,
        };
        let drained = self.drain.step(tools).await?;
        self.locked.stops_batches = drained == Drained::Locked;
        let is_done = matches!(drained, Drained::Sleep { .. } | Drained::Poll { .. });
        // A request is sent once, so it is served first.
        let is_done = is_done && !self.session.inbox().has_news();
        if self.has_swept && self.drain.owes_turn(is_done) {
            return Err(AttemptError::ReconnectNow);
        }
        let (left_rows, next) = match drained {
            Drained::More => {
                self.no_lock();
                self.backlog_poll.expect_news();
                self.lead.set_working();
                return Ok(Phase::Draining);
            }
            Drained::Locked => {
                self.pause_for_lock().await;
                return Ok(Phase::Draining);
            }
            Drained::Poll { left_rows, pause } => (left_rows, Phase::Polling { pause }),
            Drained::Sleep { left_rows } => (left_rows, Phase::Waiting { left_rows }),
        };
        self.no_lock();
        if !self.has_swept {
            self.sweep_all().await?;
            return Ok(Phase::Draining);
        }
        if self.drain.take_wrote() && self.foreign_code != ForeignCode::None {
            self.verify_session().await?;
        }
        self.report_drained(left_rows);
        Ok(next)
    }

    /// Takes over the rules of a reload. Before the first batch under them, the mappings are noted
    /// as mixed in `agent_sync.install`.
    ///
    /// If a comparison has found every configuration in sync under the rules in force, that is
    /// noted as well. If something was written under other rules meanwhile, the comparison is
    /// repeated.
    async fn adopt_rules(&mut self) -> Result<(), AttemptError> {
        let rules = Arc::clone(&self.context.rules.borrow());
        if !Arc::ptr_eq(&rules, &self.rules) {
            self.store.note_mapping_to_write(&rules).await?;
            self.rules = rules;
            self.context.observer.tell(event::Mapping::Adopted);
        }
        let Some(found) = self.context.in_sync.borrow().clone() else {
            return Ok(());
        };
        if found.mapping != self.store.layout().mapping_text(&self.rules) {
            return Ok(());
        }
        self.context.in_sync.send_replace(None);
        if self
            .store
            .note_in_sync(&found.mapping, &found.noted)
            .await?
        {
            self.store.note_audit(&found.mapping, &found.counts).await?;
        } else {
            self.context.mapping_changed.notify_one();
        }
        Ok(())
    }

    /// Reports that nothing more can be taken now.
    fn report_drained(&mut self, left_rows: bool) {
        let left = self.drain.take_left();
        if left_rows {
            let (since, told) = self
                .health
                .left_since
                .get_or_insert((Instant::now(), false));
            if let Some((key, holdup)) = left
                && !*told
                && since.elapsed() >= REPORT_LEFT_AFTER
            {
                *told = true;
                self.context.observer.tell(Event::Left {
                    key: &self.store.layout().keys().parts(&key),
                    since: since.elapsed(),
                    holdup,
                    schema: &self.context.database.install.schema,
                });
            }
        } else {
            self.health.left_since = None;
            self.left_pause = LEFT_PAUSE;
            self.context.observer.tell(Event::Emptied);
        }
        let totals = self.drain.take_totals();
        if left_rows || totals != Totals::default() {
            self.backlog_poll.expect_news();
        }
        if !std::mem::replace(&mut self.caught_up, true) {
            self.health.mark_caught_up(&self.context.observer, totals);
        }
        self.lead.set_drained();
    }
}
