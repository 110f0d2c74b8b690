//! Logging, metrics and state of the daemon.
//!
//! The logic emits an [`Event`]; this module alone owns its wording, level and field names in the
//! log, and its counts and states for HTTP. There is one enum of events, which the log and the
//! [`Board`] interpret.
//!
//! - `event` has the events; `totals` has the totals of batches.
//! - `observer` sends an event to the log and to the registry; `wording` has its log line.
//! - `log` sets the destination of the log, and `form` has the form of its lines; `journal` adds
//!   the severity for systemd's journal.
//! - `flood` limits the lines about single agents, and `row` like lines in a row.
//! - `board` has the current states of all databases; `cell` applies the events to the state of
//!   one, whose fields are in `state` and `compared`.
//! - `pulse` records the heartbeats of the database tasks; `verdict` decides whether a task makes
//!   progress and whether a database is served, and `condition` has the words for that.
//!
//! Invariant: of the values of rows, only slugs and provider names are logged or stored (G11), and
//! of voice settings that no rule reads their names.
//! Invariant: emitting an event never waits.

mod board;
mod cell;
pub mod compared;
mod condition;
pub mod event;
mod flood;
mod form;
pub mod histogram;
pub mod hour;
pub mod journal;
mod log;
mod observer;
mod pause;
mod phase;
pub mod pulse;
mod row;
pub mod state;
mod totals;
pub mod unmapped;
pub mod verdict;
mod wording;

pub use board::{Board, Snapshot};
pub use condition::Condition;
pub use event::{Committed, Event};
pub use log::Logging;
pub use observer::Observer;
pub use pause::Pause;
pub use phase::Phase;
pub use state::{Backlog, Columns, Finding, Kinds, Problem, State, WakeUp};
pub use totals::Totals;
