//! The inputs of the work on one database: settings, rules and observers.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::connect_queue::ConnectQueue;
use super::heavy::HeavyWork;
use crate::mapping::Rules;
use crate::observe::Observer;
use crate::observe::compared::Counts;
use crate::settings::{
    Announce, Audit, Capture, Database, History, Reconnect, Settings, SyncSettings,
};
use crate::store::{Audited, ForeignCode, NearLookups, Store};

/// The settings that apply to every database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Batches and waits.
    pub sync: SyncSettings,
    /// The extent of the capture, and whether the triggers notify.
    pub capture: Capture,
    /// The pauses between attempts.
    pub reconnect: Reconnect,
    /// Whom to tell of changed configurations.
    pub announce: Announce,
    /// The limits of the history.
    pub history: History,
    /// How often every agent is compared, and what follows.
    pub audit: Audit,
}

impl Options {
    /// From the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            sync: settings.sync,
            capture: settings.capture,
            reconnect: settings.reconnect,
            announce: settings.announce.clone(),
            history: settings.history,
            audit: settings.audit,
        }
    }
}

/// The parts that stay the same from attempt to attempt.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) database: Database,
    pub(super) options: Options,
    /// The rules in force: a reload changes them under a running attempt.
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) observer: Observer,
    /// Notified when the rules or the columns differ from those under which the configurations were
    /// last in sync.
    pub(super) mapping_changed: Arc<Notify>,
    /// The last comparison in which no configuration differed, until the session that leads has
    /// noted it.
    pub(super) in_sync: watch::Sender<Option<InSync>>,
    /// Whether this process leads, for the audit.
    pub(super) lead: watch::Sender<Lead>,
    /// The record of the audits, as it was when this process began to lead.
    pub(super) audited: watch::Sender<Audited>,
    pub(super) turns: Turns,
    /// When the next lookup of near slugs may begin.
    pub(super) near: Arc<NearLookups>,
}

/// Whether this process leads in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Lead {
    /// It does not, or has not caught up.
    #[default]
    None,
    /// It leads, and there may be more to drain.
    Working,
    /// It leads, and nothing is left that can be taken now.
    Drained,
}

/// The lead of one connection, which ends with it.
#[derive(Debug)]
pub(super) struct LeadOf<'a>(pub(super) &'a watch::Sender<Lead>);

impl LeadOf<'_> {
    /// Tells that nothing is left that can be taken now.
    pub(super) fn set_drained(&self) {
        self.set(|_| Lead::Drained);
    }

    /// Tells that there may be more to drain. Before the end of the catch-up, nothing is told.
    pub(super) fn set_working(&self) {
        self.set(|known| match known {
            Lead::None => Lead::None,
            Lead::Working | Lead::Drained => Lead::Working,
        });
    }

    fn set(&self, next: impl Fn(Lead) -> Lead) {
        self.0.send_if_modified(|known| {
            let next = next(*known);
            std::mem::replace(known, next) != next
        });
    }
}

impl Drop for LeadOf<'_> {
    fn drop(&mut self) {
        self.set(|_| Lead::None);
    }
}

/// A comparison in which no configuration differed.
#[derive(Debug, Clone)]
pub(super) struct InSync {
    /// The [text](crate::store::Layout::mapping_text) of the mapping.
    pub(super) mapping: String,
    /// The mapping that was noted when the comparison began. It is another text after the first
    /// write under another mapping.
    pub(super) noted: String,
    /// The result. A comparison that ended before this process led has not noted it.
    pub(super) counts: Counts,
}

/// The turns that the databases of the process take.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns {
    /// Of heavy batches.
    pub(super) batches: HeavyWork,
    /// Of comparisons of all agents: each of their answers may hold the largest agent.
    pub(super) comparisons: HeavyWork,
    /// Of connections that are set up.
    pub(super) connects: ConnectQueue,
}

impl Context {
    /// The context of one database, with the rules and the observer.
    pub fn new(
        database: Database,
        options: Options,
        rules: watch::Receiver<Arc<Rules>>,
        observer: Observer,
    ) -> Self {
        Self {
            database,
            options,
            rules,
            observer,
            mapping_changed: Arc::default(),
            in_sync: watch::Sender::default(),
            lead: watch::Sender::default(),
            audited: watch::Sender::default(),
            turns: Turns::default(),
            near: Arc::default(),
        }
    }

    /// The same with the turns of the process that the database is part of.
    pub(super) fn with_turns(mut self, turns: &Turns) -> Self {
        self.turns = turns.clone();
        self
    }
}

/// The tools of one drain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tools<'a> {
    pub(super) store: &'a Store,
    pub(super) rules: &'a Rules,
    pub(super) observer: &'a Observer,
    /// The channel to tell of configurations that were written.
    pub(super) announce: Option<&'a str>,
    /// The code of others that runs in the session when a configuration is written.
    pub(super) foreign_code: ForeignCode,
    /// The turn of heavy batches.
    pub(super) heavy: &'a HeavyWork,
    /// When the next lookup of near slugs may begin.
    pub(super) near: &'a NearLookups,
}
