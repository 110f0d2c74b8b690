//! The observer of a database: it sends each event to the log and to the registry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{Span, debug};

use super::cell::Cell;
use super::event::{Event, Mapping};
use super::flood::{Kind, LogDecision};
use super::unmapped::Novelty;
use super::wording;
use crate::key::Key;

/// Sends the events of one database to the log and to the registry.
#[derive(Debug, Clone)]
pub struct Observer {
    database: String,
    cell: Arc<Cell>,
}

impl Observer {
    /// For the database with this name in the settings, without a registry.
    pub fn new(database: impl Into<String>) -> Self {
        Self {
            database: database.into(),
            cell: Arc::new(Cell::new("", Instant::now())),
        }
    }

    /// With a slot of a registry.
    pub(super) fn of(database: &str, cell: Arc<Cell>) -> Self {
        Self {
            database: database.to_owned(),
            cell,
        }
    }

    /// The span of the work on this database: the events of the work are sent inside of it.
    pub fn span(&self) -> Span {
        wording::of_database(&self.database)
    }

    /// The span of the next batch, with its number since the start of the process.
    pub fn batch_span(&self) -> Span {
        wording::of_batch(self.cell.next_batch())
    }

    /// Sends a heartbeat, and expects the next one within this time: see
    /// [`super::verdict::stuck`].
    pub(crate) fn alive(&self, within: Duration) {
        self.cell.alive(within);
    }

    /// Sends one event.
    pub fn tell<'a>(&self, event: impl Into<Event<'a>>) {
        self.send(&event.into());
    }

    /// Reports a voice setting of an agent that no rule reads. Each is logged once, within bounds;
    /// the sentence on it is made only for a new one.
    pub(crate) fn report_unmapped(
        &self,
        setting: &str,
        key: &Key<'_>,
        remark: impl FnOnce() -> String,
    ) {
        let mut told = String::new();
        let make = || {
            told = remark();
            told.clone()
        };
        match self.cell.note_unmapped(setting, key, make) {
            Novelty::Known => {}
            Novelty::FirstOfOthers => self.tell(Mapping::FurtherUnmapped),
            Novelty::New => self.tell(Mapping::Unmapped {
                setting,
                remark: &told,
                key,
            }),
        }
    }

    fn send(&self, event: &Event<'_>) {
        self.cell.note(event);
        let LogDecision { held, summaries } = self.cell.decide_log(event);
        for (kind, agents) in Kind::ALL.into_iter().zip(summaries) {
            if agents > 0 {
                wording::summary(kind, agents);
            }
        }
        if held {
            debug!(?event, "one of many, or told a moment ago");
        } else {
            wording::line(event);
        }
    }
}
