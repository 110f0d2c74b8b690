//! The life of one connection: an attempt to keep one database in sync, until it fails or is told
//! to stop.
//!
//! ```text
//! Connecting ──► Standby ──► CatchUp ──► Draining ◄──► Waiting
//!                  │  ▲                    │  ▲
//!                  └──┘                    ▼  │
//!         another daemon leads           Polling
//! ```
//!
//! Any error ends the attempt; the next one begins with a new connection, after a pause that
//! [`super::database`] decides on. So there is no state to repair: the server has released the
//! locks and undone the running batch.
//!
//! Invariant: LISTEN comes before the catch-up, and the catch-up asks for nothing but what is in
//! the outbox, so what was saved while nobody listened is found there (G1). Invariant: no
//! transaction of somebody else's holds anything up but what it has saved or locked itself. One
//! that keeps the daemon from going to sleep, for as long as it likes, has it poll, and no more:
//! the database counts as caught up, and whoever asks is served (I4, I7). Invariant: nobody writes
//! but the holder of the leader's lock, by the session that holds it (G2).

mod elsewhere;
mod sweep;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::elsewhere::Elsewhere;
use super::backlog_poll::BacklogPoll;
use super::database::{Context, Health};
use super::drain::{Drain, Drained, Tools};
use super::protocol::Input;
use crate::install;
use crate::mapping::Rules;
use crate::observe::{self, Event, Totals, WakeUp, pulse};
use crate::session::{Limits, News, Session, SessionError};
use crate::store::failure::{self, Class};
use crate::store::identifier::Literal;
use crate::store::{
    self, Finding, ForeignCode, Layout, LayoutError, Leader, Mapping, Owners, RowId, Store,
    StoreError, checks,
};

/// How often a standby tries for the leader's lock. It must not wait in the lock function: a
/// waiting statement holds a snapshot, and that keeps vacuum from cleaning up in the whole cluster.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);

/// For how long what was waiting goes before the first sweep, which asks a dozen things of a
/// session that has just begun.
const FIRST_SWEEP: Duration = Duration::from_secs(1);

/// The first pause before another look at rows that others have locked; it doubles up to
/// `sync.lock_timeout`.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);

/// What to do about code of others that runs in the session of the daemon.
const FOREIGN_CODE: &str = "Look for UNLISTEN, pg_advisory_unlock_all() or SET in the triggers of \
    the configurations, and in what they call: they run in the daemon's session. The daemon \
    connects again.";

/// How long a lock of another session goes unmentioned, and the pause between two tries.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// See [`LOCK_PATIENCE`].
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How often every agent is looked at because somebody asked for more slugs than are kept.
const EVERYTHING: Duration = Duration::from_secs(600);

/// A third of the shortest time after which the server takes a daemon that says nothing for gone.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

/// The shortest and the longest time between two looks of a standby at the leader. The server
/// counts what was taken with a delay of a second.
const LEADER_LOOKS: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

/// How long agents that wait for a lock of others, or for a slow write, go unmentioned.
const LEFT_PATIENCE: Duration = Duration::from_secs(60);

/// The most rows of a batch where a save of an agent can wait for it.
const SMALL_BATCH: u32 = 50;

/// How long the end of a daemon may take to say when it wrote last.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why an attempt ended.
#[derive(Debug, thiserror::Error)]
pub enum AttemptError {
    /// There is no connection.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The tables are not as the settings say.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The server said no, or nothing.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The connection ended.
    #[error("the connection was lost: {0}")]
    Closed(String),
    /// Another session has the leader's lock, which this session has held.
    #[error("this session has lost the leader's lock, and another session has taken it")]
    LostLead,
    /// The tables are not what they were when the connection began.
    #[error("the tables have changed")]
    TablesChanged,
    /// The name of the server leads to another one.
    #[error(
        "the address of this database leads to another server now, and this connection to the one \
        before"
    )]
    Moved,
    /// The session is not as the daemon has set it up.
    #[error("something in this session has changed {0}")]
    SessionChanged(&'static str),
    /// The database is not fit to be worked in (G10).
    #[error("{}", joined(.0, "; ", Finding::to_string))]
    Unfit(Vec<Finding>),
}

impl AttemptError {
    /// What the operator can do.
    pub fn remedy(&self) -> Cow<'static, str> {
        let remedy = match self {
            Self::Unfit(findings) => {
                return joined(findings, " ", |finding| finding.remedy().into_owned()).into();
            }
            Self::Session(error) => error.remedy(),
            Self::Layout(error) => error.remedy(),
            Self::Store(error) => error.remedy(),
            Self::Closed(_) => failure::REACH,
            Self::TablesChanged => "Nothing: the tables are looked at again.",
            Self::Moved => {
                "Nothing: the daemon connects to the other one. Switch the former one off, so that \
                nobody saves there."
            }
            Self::LostLead | Self::SessionChanged(_) => FOREIGN_CODE,
        };
        remedy.into()
    }

    /// Whether another session holds a lock on what it is about: no fault of the connection (G16).
    pub(super) fn is_locked(&self) -> bool {
        self.class() == Some(Class::Locked)
    }

    /// Whether the tables have changed under the statements of the connection.
    pub(super) fn is_layout_change(&self) -> bool {
        matches!(self, Self::TablesChanged) || self.class() == Some(Class::Layout)
    }

    /// Whether the daemon itself has seen that the tables have changed, before a statement failed
    /// on it.
    pub(super) fn has_seen_a_change(&self) -> bool {
        matches!(self, Self::TablesChanged)
    }

    fn class(&self) -> Option<Class> {
        match self {
            Self::Store(error) | Self::Layout(LayoutError::Store(error)) => error.class(),
            Self::Session(SessionError::Postgres(error)) if error.as_db_error().is_some() => {
                Some(failure::policy(error).class)
            }
            _ => None,
        }
    }

    /// Whether changes may have been missed on account of it, so that every agent has to be looked
    /// at afterwards.
    pub(crate) fn misses_changes(&self) -> bool {
        match self {
            Self::Unfit(findings) => findings.iter().any(Finding::misses_changes),
            // What the daemon needs is gone, or closed to it; it is likely to be so for the
            // capture.
            Self::Store(StoreError::Postgres(error)) => error
                .code()
                .is_some_and(|code| code.code().starts_with("42") || code.code() == "3F000"),
            _ => false,
        }
    }

    /// Whether it is worth telling in the middle of an outage that began for another reason.
    pub(crate) fn is_finding(&self) -> bool {
        match self {
            Self::Unfit(_)
            | Self::Session(
                SessionError::Pooler | SessionError::Secret(_) | SessionError::Password(_),
            ) => true,
            Self::Layout(error) => !matches!(error, LayoutError::Store(_)),
            // A server that answers, and will go on to say no: to the user, the password or the
            // database.
            Self::Session(SessionError::Postgres(error)) => {
                error.code().is_some() && failure::policy(error).class == Class::Fault
            }
            _ => false,
        }
    }
}

fn joined(findings: &[Finding], separator: &str, part: impl Fn(&Finding) -> String) -> String {
    findings
        .iter()
        .map(part)
        .collect::<Vec<_>>()
        .join(separator)
}

/// Ends the attempt where nothing can be done.
fn refuse(findings: Vec<Finding>) -> Result<(), AttemptError> {
    if findings.is_empty() {
        Ok(())
    } else {
        Err(AttemptError::Unfit(findings))
    }
}

/// What the loop is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Another daemon leads; try to take over about once a second.
    Standby,
    /// This daemon has just taken the lead: listen.
    CatchUp,
    /// Batches, until the outbox is empty.
    Draining,
    /// Nothing is left, and a writer in flight that did not notify keeps the daemon awake: a short
    /// pause before the next look.
    Polling {
        /// How short.
        pause: Duration,
    },
    /// Asleep until a notification, the next sweep or the next retry.
    Waiting {
        /// Whether something is left that others have locked.
        saw_locked: bool,
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
    next_sweep: Instant,
    has_swept: bool,
    next_retry: Option<Instant>,
    backlog_poll: BacklogPoll,
    locked_pause: Duration,
    /// Saves that could not be captured, and the transactions of them that are not over.
    uncaptured: Option<(i64, Vec<String>)>,
    caught_up: bool,
    /// The settings of the session, as they were when it began to lead; and what code of others
    /// runs in it when a configuration is written.
    settings: String,
    foreign_code: ForeignCode,
    /// The rules under which it writes. That they are in force is noted before they are used.
    rules: Arc<Rules>,
    /// Since when another session holds a lock on a table, and whether that was told.
    locked_since: Option<(Instant, bool)>,
    /// Since when there has been an agent that waits for a lock on its configuration, or for its
    /// slow write, and whether that was told.
    left_since: Option<(Instant, bool)>,
    /// When it was last looked at whether the session that leads does its work, and how many
    /// changes had been taken by then.
    leader_seen: Option<(Instant, i64)>,
    /// The looks at where a new connection leads.
    elsewhere: Elsewhere,
    /// What is wrong, as found last.
    in_force: Vec<observe::Finding>,
    /// Whether what was locked was asked for by something else than a batch, of which the next
    /// sweep is the proof.
    owes_sweep: bool,
}

/// What can be done about two daemons with different mappings.
const OTHER_MAPPING: &str = "Give all daemons of a database the same rules and the same names of \
    tables and columns, and name a database once in the settings.";

/// What is wrong with who leads, if anything is. That it does nothing (`hangs`) matters only where
/// a change has been waiting for long.
fn idle_leader(leader: &Leader, hangs: bool) -> Option<observe::Finding> {
    if let Some((gid, owner)) = &leader.prepared {
        return Some(observe::Finding {
            what: format!(
                "the prepared transaction {gid} of the role {owner} holds the leader's lock and is \
                no daemon; changes are not applied"
            ),
            remedy: format!(
                "ROLLBACK PREPARED {}; and keep the role {owner} out of this database.",
                Literal(gid)
            ),
            misses_changes: true,
        });
    }
    let pid = leader.pid?;
    let role = leader.role.as_deref().unwrap_or("?");
    if !leader.is_able {
        return Some(observe::Finding {
            what: format!(
                "process {pid} of the role {role} holds the leader's lock and is no daemon, for \
                its role may not take changes; they are not applied"
            ),
            remedy: format!(
                "SELECT pg_terminate_backend({pid}); and keep the role {role} out of this database."
            ),
            misses_changes: true,
        });
    }
    let waiting = leader.oldest.filter(|age| hangs && *age >= LEFT_PATIENCE)?;
    Some(observe::Finding {
        what: format!(
            "process {pid} of the role {role} leads and applies no changes; the oldest has been \
            waiting for {} s",
            waiting.as_secs()
        ),
        remedy: format!(
            "See in pg_stat_activity what it waits for. If it hangs, let another daemon lead: \
            SELECT pg_terminate_backend({pid});"
        ),
        misses_changes: true,
    })
}

/// Keeps the database in sync over one connection. Returns when told to stop.
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
    let mut batch_size = context.options.sync.batch_size;
    if store.holds_up_cascades(session.client()).await? {
        batch_size = batch_size.min(SMALL_BATCH);
    }
    stop.mark_unchanged();
    let (server_version, target) = (session.server_version(), session.target());
    context.observer.tell(&Event::Connected {
        server_version,
        target,
    });
    let mut connection = ConnectionLoop {
        context,
        health,
        stop,
        session,
        store,
        drain: Drain::new(
            batch_size,
            context.options.sync.statement_timeout,
            context.options.capture.notify,
        ),
        next_sweep: Instant::now(),
        has_swept: false,
        next_retry: None,
        backlog_poll: BacklogPoll::new(),
        locked_pause: LOCKED_PAUSE,
        uncaptured: None,
        caught_up: false,
        settings: String::new(),
        foreign_code: ForeignCode::None,
        rules: Arc::clone(&context.rules.borrow()),
        locked_since: None,
        left_since: None,
        leader_seen: None,
        elsewhere: Elsewhere::default(),
        in_force: Vec::new(),
        owes_sweep: false,
    };
    let mut phase = Phase::Standby;
    while !*connection.stop.borrow() {
        phase = match connection.step(phase).await {
            Err(error) if error.is_locked() => connection.wait_for_lock(phase).await,
            Err(error) => return Err(connection.ended(error)),
            Ok(next) => next,
        };
    }
    if let Some(at) = connection.drain.take_last_write() {
        // The last courtesy of a daemon that is told to stop, and nothing to wait long for.
        let noting = connection
            .store
            .note_last_sync(connection.session.client(), at.elapsed());
        let _ = pulse::timeout(FAREWELL, noting).await;
    }
    Ok(())
}

pub(super) async fn connect(context: &Context) -> Result<(Session, Store), AttemptError> {
    let sync = &context.options.sync;
    let limits = Limits::of(sync);
    let database = &context.database;
    let patience = Store::patience(sync);
    let session = Session::connect(database, limits).await?;
    refuse(checks::server(session.client(), patience).await?)?;
    // A daemon that is gone, behind a proxy that answers for it, must not keep the leader's lock
    // (G9): it asks its session for a sign of life at every probe, so one that is silent for
    // several is gone.
    let silence = 3 * (sync.probe_interval + sync.probe_timeout).max(SHORTEST_SILENCE);
    session.end_after(silence, patience).await?;
    let layout = Layout::read(
        session.client(),
        patience,
        &database.agents,
        &database.configurations,
    )
    .await?;
    refuse(
        checks::install(
            session.client(),
            patience,
            database,
            &layout,
            install::VERSION,
        )
        .await?,
    )?;
    let Owners { parts, untrusted } = store::owners(session.client(), patience, database).await?;
    refuse(untrusted.into_iter().collect())?;
    let (captured, history) = (
        context.options.capture.configurations,
        context.options.history.enabled,
    );
    let (limit, usual) = (sync.statement_timeout, session.settings_for_batches());
    let store = Store::prepare(
        session.client(),
        layout,
        captured,
        history,
        limit,
        usual,
        &parts,
    )
    .await?;
    Ok((session, store))
}

impl ConnectionLoop<'_> {
    async fn step(&mut self, phase: Phase) -> Result<Phase, AttemptError> {
        if self.session.inbox().is_closed() {
            return Err(AttemptError::Closed(self.session.inbox().cause()));
        }
        self.judge_elsewhere()?;
        if let Some(phase) = self.shown(phase) {
            self.context.observer.tell(&Event::Phase(phase));
        }
        match phase {
            Phase::Standby => self.stand_by().await,
            Phase::CatchUp => self.catch_up().await,
            Phase::Draining => self.drain().await,
            Phase::Polling { pause } => self.poll(pause).await,
            Phase::Waiting { saw_locked } => self.wait(saw_locked).await,
        }
    }

    /// The error, or why the connection ended under a statement: the statement learns only that it
    /// did.
    fn ended(&self, error: AttemptError) -> AttemptError {
        match error {
            AttemptError::Store(StoreError::Postgres(lost))
                if lost.is_closed() && self.session.inbox().is_closed() =>
            {
                AttemptError::Closed(self.session.inbox().cause())
            }
            error => error,
        }
    }

    /// What those who ask are told of the phase: the first batches are part of the catch-up, and
    /// who stands by is known only when the lock has been asked for.
    fn shown(&self, phase: Phase) -> Option<observe::Phase> {
        match phase {
            Phase::Standby => None,
            Phase::CatchUp => Some(observe::Phase::CatchingUp),
            Phase::Draining if !self.caught_up => Some(observe::Phase::CatchingUp),
            Phase::Draining | Phase::Polling { .. } => Some(observe::Phase::Draining),
            Phase::Waiting { .. } => Some(observe::Phase::Waiting),
        }
    }

    /// Another session has locked what the loop asked for. The loop tries again shortly, and looks
    /// at everything then, for it is not known how far it came (G16).
    async fn wait_for_lock(&mut self, phase: Phase) -> Phase {
        self.pause_for_lock().await;
        self.owes_sweep = true;
        self.drain.tell(Input::Interrupted);
        self.next_sweep = self.next_sweep.min(Instant::now() + FIRST_SWEEP);
        match phase {
            Phase::Standby | Phase::CatchUp => phase,
            Phase::Draining | Phase::Polling { .. } | Phase::Waiting { .. } => Phase::Draining,
        }
    }

    /// A short pause, and a word when the lock has lasted.
    async fn pause_for_lock(&mut self) {
        let now = Instant::now();
        let (since, told) = self.locked_since.get_or_insert((now, false));
        if !*told && now - *since >= LOCK_PATIENCE {
            *told = true;
            self.context.observer.tell(&Event::LockedOut {
                since: now - *since,
            });
        }
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => {}
            () = pulse::sleep(LOCK_PAUSE) => {}
        }
    }

    /// The sweep, and what is only looked at as often.
    async fn sweep_all(&mut self) -> Result<(), AttemptError> {
        self.next_sweep = Instant::now() + self.context.options.sync.sweep_interval;
        self.has_swept = true;
        // Code of others may run in ways that no catalog shows, such as a function of PostgreSQL
        // that runs SQL text.
        self.verify_session().await?;
        let patience = Store::patience(&self.context.options.sync);
        self.session.plan_as_usual(patience).await?;
        // The schema may be another one by now.
        let owners = store::owners(self.session.client(), patience, &self.context.database).await?;
        refuse(owners.untrusted.into_iter().collect())?;
        self.store.verify_parts(self.session.client()).await?;
        let swept = self.sweep_tables().await;
        // Also after a lock that was not had, which ends no session.
        if swept.as_ref().err().is_none_or(AttemptError::is_locked) {
            self.session.plan_for_batches(patience).await?;
        }
        swept
    }

    async fn sweep_tables(&mut self) -> Result<(), AttemptError> {
        self.sweep().await?;
        self.look_at_everything().await?;
        self.look_elsewhere();
        self.foreign_code = self.store.foreign_code(self.session.client()).await?;
        self.owes_sweep = false;
        Ok(())
    }

    /// The tables can be worked on.
    fn no_lock(&mut self) {
        if self.owes_sweep {
            return;
        }
        if let Some((since, true)) = self.locked_since.take() {
            self.context.observer.tell(&Event::LockGone {
                lasted: since.elapsed(),
            });
        }
    }

    async fn stand_by(&mut self) -> Result<Phase, AttemptError> {
        // The question is the probe of a standby (G9), so its answer must not take longer than a
        // probe's.
        let patience = self.context.options.sync.probe_timeout;
        let asking = self.store.try_lead(self.session.client());
        let leads = pulse::timeout(patience, asking)
            .await
            .map_err(|_| SessionError::Dead(patience))??;
        if leads {
            return Ok(Phase::CatchUp);
        }
        self.context
            .observer
            .tell(&Event::Phase(observe::Phase::Standby));
        self.look_at_leader().await?;
        if self.health.standing_by() {
            self.context.observer.tell(&Event::StandingBy);
        }
        let pause = STANDBY_INTERVAL.mul_f64(0.75 + fastrand::f64() / 2.0);
        self.pause(Instant::now() + pause).await;
        Ok(Phase::Standby)
    }

    /// Looks whether whoever leads does the work: it may be no daemon at all, or one that hangs.
    /// Then changes are not applied, and this daemon, which cannot take over, is not ready (G14).
    async fn look_at_leader(&mut self) -> Result<(), AttemptError> {
        let before = self.leader_seen;
        let interval = self
            .context
            .options
            .sync
            .sweep_interval
            .clamp(LEADER_LOOKS.0, LEADER_LOOKS.1);
        if before.is_some_and(|(at, _)| at.elapsed() < interval) {
            return Ok(());
        }
        self.look_elsewhere();
        let leader = self.store.leader(self.session.client()).await?;
        self.leader_seen = Some((Instant::now(), leader.taken));
        let hangs = match leader.quiet {
            Some(quiet) => quiet >= LEFT_PATIENCE / 2,
            None => before.is_some_and(|(_, taken)| taken == leader.taken),
        };
        let finding = idle_leader(&leader, hangs);
        let rules = Arc::clone(&self.context.rules.borrow());
        let is_other = self.store.mapping(self.session.client(), &rules).await? == Mapping::Other;
        let other = is_other.then(|| observe::Finding {
            what: "the daemon that leads works with other rules or columns than this one"
                .to_owned(),
            remedy: OTHER_MAPPING.to_owned(),
            misses_changes: false,
        });
        let was_other = std::mem::replace(&mut self.health.noticed.other_mapping, is_other);
        if is_other && !was_other {
            self.context.observer.tell(&Event::OtherMapping {
                remedy: OTHER_MAPPING,
            });
        }
        self.in_force = finding.iter().cloned().chain(other).collect();
        self.tell_in_force();
        match &finding {
            Some(finding) if !self.health.noticed.leader_hangs => {
                self.context.observer.tell(&Event::LeaderHangs { finding });
            }
            None if self.health.noticed.leader_hangs => {
                self.context.observer.tell(&Event::LeaderWorks);
            }
            _ => {}
        }
        self.health.noticed.leader_hangs = finding.is_some();
        Ok(())
    }

    async fn catch_up(&mut self) -> Result<Phase, AttemptError> {
        // A standby may have waited for hours, and the tables may have changed meanwhile.
        if !self.store.is_current(self.session.client()).await? {
            return Err(AttemptError::TablesChanged);
        }
        let observer = &self.context.observer;
        let is_first_lead = self.health.is_first_lead();
        if is_first_lead {
            observer.tell(&Event::Leading {
                server: self.session.target(),
            });
        }
        let rules = Arc::clone(&self.context.rules.borrow());
        if !self
            .store
            .knows_mapping(self.session.client(), &rules)
            .await?
        {
            self.context.mapping_changed.notify_one();
        }
        self.rules = rules;
        let missing = &self.store.layout().missing;
        if self.health.noticed.has_news_of_missing(missing) && !missing.is_empty() {
            observer.tell(&Event::ColumnsMissing {
                columns: missing,
                have_gone: !is_first_lead,
            });
        }
        let patience = Store::patience(&self.context.options.sync);
        self.session.listen(patience).await?;
        self.foreign_code = self.store.foreign_code(self.session.client()).await?;
        self.session.plan_for_batches(patience).await?;
        self.settings = self
            .store
            .session_state(self.session.client())
            .await?
            .settings;
        self.next_sweep = Instant::now() + FIRST_SWEEP;
        Ok(Phase::Draining)
    }

    async fn drain(&mut self) -> Result<Phase, AttemptError> {
        if Instant::now() >= self.next_sweep {
            self.sweep_all().await?;
        }
        self.backlog_poll
            .if_due(&self.store, &self.session, &self.context.observer)
            .await?;
        let rules = Arc::clone(&self.context.rules.borrow());
        if !Arc::ptr_eq(&rules, &self.rules) {
            // A reload, which has the configurations compared.
            self.store
                .knows_mapping(self.session.client(), &rules)
                .await?;
            self.rules = rules;
        }
        let tools = Tools {
            session: &self.session,
            store: &self.store,
            rules: &self.rules,
            observer: &self.context.observer,
            announce: self.context.options.announce.channel.as_deref(),
            foreign_code: self.foreign_code,
        };
        let (saw_locked, next) = match self.drain.step(tools).await? {
            Drained::More => {
                self.no_lock();
                self.backlog_poll.expect_news();
                return Ok(Phase::Draining);
            }
            Drained::Locked => {
                self.pause_for_lock().await;
                return Ok(Phase::Draining);
            }
            Drained::Poll { saw_locked, pause } => (saw_locked, Phase::Polling { pause }),
            Drained::Sleep { saw_locked } => (saw_locked, Phase::Waiting { saw_locked }),
        };
        self.no_lock();
        if !self.has_swept {
            self.sweep_all().await?;
            return Ok(Phase::Draining);
        }
        if self.drain.take_wrote() && self.foreign_code != ForeignCode::None {
            self.verify_session().await?;
        }
        let left = self.drain.take_left();
        if saw_locked {
            let (since, told) = self.left_since.get_or_insert((Instant::now(), false));
            if let Some(slug) = left
                && !*told
                && since.elapsed() >= LEFT_PATIENCE
            {
                *told = true;
                self.context.observer.tell(&Event::Left {
                    slug: &slug,
                    since: since.elapsed(),
                });
            }
        } else {
            self.left_since = None;
            self.locked_pause = LOCKED_PAUSE;
            self.context.observer.tell(&Event::Emptied);
        }
        let totals = self.drain.take_totals();
        if saw_locked || totals != Totals::default() {
            self.backlog_poll.expect_news();
        }
        if !std::mem::replace(&mut self.caught_up, true) {
            self.health.healthy(&self.context.observer, totals);
        }
        Ok(next)
    }

    /// Sees whether the session is still as the daemon has set it up, after code of others has run
    /// in it: before the daemon sleeps and counts on being woken.
    pub(super) async fn verify_session(&mut self) -> Result<(), AttemptError> {
        let state = self.store.session_state(self.session.client()).await?;
        let changed = if !state.listens {
            "the channels that it listens on (UNLISTEN)"
        } else if !state.leads || self.drain.holds_idle_lock() && !state.holds_idle {
            "the locks that it holds (pg_advisory_unlock)"
        } else if state.settings != self.settings {
            "its settings (SET)"
        } else {
            return Ok(());
        };
        Err(AttemptError::SessionChanged(changed))
    }

    /// A pause, in which whoever asks for a slug is served as if the daemon slept (I7), and what is
    /// due is tried again. All of that goes into the outbox before the next pass begins, and only
    /// such a pass may end in sleep.
    async fn poll(&mut self, pause: Duration) -> Result<Phase, AttemptError> {
        self.pause(Instant::now() + pause).await;
        let (news, slugs) = self.session.inbox().take();
        let retry = self.is_retry_due();
        // Another scan is no wake-up: the daemon does not sleep.
        let cause = match news {
            News::Nothing | News::WakeUp => retry.then_some(WakeUp::Retry),
            News::Slugs | News::Everything => Some(WakeUp::Request),
            News::Change(_) => Some(WakeUp::Notification),
        };
        if let Some(cause) = cause {
            self.tell_woken(cause);
        }
        self.serve(news, &slugs).await?;
        // Of what has just been set aside, it is only now found out when it will be due.
        if self.drain.take_set_aside() || retry {
            self.enqueue_retries().await?;
        }
        Ok(Phase::Draining)
    }

    async fn wait(&mut self, saw_locked: bool) -> Result<Phase, AttemptError> {
        if self.drain.take_set_aside() {
            // What was set aside before may have become due by now, and nobody notifies of what
            // that puts into the outbox.
            self.enqueue_retries().await?;
            self.backlog_poll.expect_news();
            return Ok(Phase::Draining);
        }
        self.backlog_poll
            .if_due(&self.store, &self.session, &self.context.observer)
            .await?;
        let mut wake_up_at = self
            .next_sweep
            .min(self.next_retry.unwrap_or(self.next_sweep));
        if saw_locked {
            wake_up_at = wake_up_at.min(Instant::now() + self.locked_pause);
            self.locked_pause = (self.locked_pause * 2).min(self.context.options.sync.lock_timeout);
        }
        if !self.context.options.capture.notify || self.health.noticed.is_deaf() {
            wake_up_at = wake_up_at.min(Instant::now() + self.context.options.sync.poll_interval);
        }
        if self.session.inbox().has_news() {
            self.drain.tell(Input::ArrivedBeforeSleep);
        }
        let in_time = self.rest(wake_up_at).await?;

        let (news, slugs) = self.session.inbox().take();
        let retry = self.is_retry_due();
        let cause = match news {
            News::Nothing | News::WakeUp => self.cause(in_time, retry, saw_locked),
            News::Slugs | News::Everything => WakeUp::Request,
            News::Change(_) => WakeUp::Notification,
        };
        self.tell_woken(cause);
        self.serve(news, &slugs).await?;
        if in_time {
            self.drain.tell(Input::Unannounced);
        }
        if retry {
            self.enqueue_retries().await?;
        }
        Ok(Phase::Draining)
    }

    fn is_retry_due(&self) -> bool {
        self.next_retry.is_some_and(|due| Instant::now() >= due)
    }

    fn tell_woken(&self, cause: WakeUp) {
        if !*self.stop.borrow() && !self.session.inbox().is_closed() {
            self.context.observer.tell(&Event::Woken { cause });
        }
    }

    /// Passes the news to the drain, and puts the requested slugs into the outbox.
    async fn serve(&mut self, news: News<RowId>, slugs: &[String]) -> Result<(), AttemptError> {
        // PostgreSQL limits the time of no commit, so a change takes the fast path only where no
        // code of others runs with it (G5).
        let fast_path = self.context.options.announce.channel.is_none()
            && self.foreign_code != ForeignCode::WithTheCommit;
        self.drain.tell(Input::Woken { news, fast_path });
        if let News::Change(_) = news {
            return Ok(());
        }
        self.health.noticed.owes_everything |= news == News::Everything;
        if !slugs.is_empty() {
            self.store.verify_parts(self.session.client()).await?;
            // What was asked for is asked for once, so it is kept until the outbox can be written
            // to.
            while let Err(error) = self.store.enqueue_known(self.session.client(), slugs).await {
                if error.class() != Some(Class::Locked) || *self.stop.borrow() {
                    return Err(error.into());
                }
                self.pause_for_lock().await;
            }
            self.drain.was_asked(slugs);
        }
        self.look_at_everything().await
    }

    /// Looks at every agent, if more were asked for than are kept, and at most once in
    /// [`EVERYTHING`]: anybody may ask, and each look is work.
    async fn look_at_everything(&mut self) -> Result<(), AttemptError> {
        let noticed = &mut self.health.noticed;
        if !noticed.owes_everything
            || noticed
                .everything_at
                .is_some_and(|at| at.elapsed() < EVERYTHING)
        {
            return Ok(());
        }
        self.store.verify_parts(self.session.client()).await?;
        self.context.observer.tell(&Event::AskedForTooMany);
        self.store.enqueue_absent(self.session.client()).await?;
        self.drain.was_asked_for_everything();
        let noticed = &mut self.health.noticed;
        (noticed.owes_everything, noticed.everything_at) = (false, Some(Instant::now()));
        Ok(())
    }

    /// Why the loop woke up, if nobody asked for a slug.
    fn cause(&self, in_time: bool, retry: bool, saw_locked: bool) -> WakeUp {
        if !in_time {
            WakeUp::Notification
        } else if retry {
            WakeUp::Retry
        } else if Instant::now() >= self.next_sweep {
            WakeUp::Sweep
        } else if saw_locked {
            WakeUp::Busy
        } else {
            WakeUp::Poll
        }
    }

    async fn enqueue_retries(&mut self) -> Result<(), AttemptError> {
        self.drain.tell(Input::Unannounced);
        self.store.verify_parts(self.session.client()).await?;
        let pause = self.store.enqueue_retries(self.session.client()).await?;
        self.next_retry = pause.map(|pause| Instant::now() + pause);
        Ok(())
    }

    /// Until something arrives, the connection is gone, it is time, or the daemon is told to stop.
    ///
    /// A notification shows that the connection is alive. Without one, it is probed every
    /// `sync.probe_interval`, and once more when it is time: so nothing else is ever asked of a
    /// connection that has been dead for long (G9). A probe wakes nobody: writers go on notifying,
    /// and no batch is begun. Says whether it is time.
    async fn rest(&mut self, until: Instant) -> Result<bool, AttemptError> {
        loop {
            let sync = &self.context.options.sync;
            let probe_at = until.min(Instant::now() + sync.probe_interval);
            let probe_at = self
                .backlog_poll
                .due()
                .map_or(probe_at, |due| probe_at.min(due));
            if !self.pause(probe_at).await {
                return Ok(false);
            }
            tokio::select! {
                biased;
                _ = self.stop.wait_for(|stop| *stop) => return Ok(false),
                answer = self.session.probe(self.context.options.sync.probe_timeout) => answer?,
            }
            // Not before the probe, which notices a dead connection sooner.
            self.backlog_poll
                .if_due(&self.store, &self.session, &self.context.observer)
                .await?;
            if Instant::now() >= until {
                return Ok(true);
            }
        }
    }

    /// The same without probes. Says whether it is time.
    async fn pause(&mut self, until: Instant) -> bool {
        pulse::promise(until.saturating_duration_since(Instant::now()));
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            () = self.session.inbox().arrival() => false,
            () = tokio::time::sleep_until(until.into()) => true,
        }
    }
}
