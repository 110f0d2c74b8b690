//! What agent-sync tells the world about its work.
//!
//! Logic emits an [`Event`]; this module alone owns the wording, the level and the field names of
//! what is logged, and what is counted and kept for those who ask: one sum type of events, which
//! the log and the [`Board`] interpret.
//!
//! - `event` lists the events; `totals` has the totals of batches.
//! - `observer` sends an event to the log and to the registry; `wording` has the log line of each.
//! - `log` sets the destination and the form of the log; `journal` marks the severity of a line in
//!   systemd's journal.
//! - `flood` bounds the lines about single agents.
//! - `board` is what is known at this moment, in memory, and `state` what that is for one database.
//! - `pulse` is how a loop says that it is alive; `verdict` makes two answers of it: do the loops
//!   make progress, and is a database served?
//!
//! Invariant: no value of a row is ever logged or kept but slugs and provider names (G11).
//! Invariant: telling an event waits for nothing.

mod board;
mod event;
mod flood;
pub mod histogram;
pub mod hour;
pub mod journal;
mod log;
mod observer;
pub mod pulse;
pub mod state;
mod totals;
pub mod verdict;
mod wording;

pub use board::{Board, Snapshot};
pub use event::{Committed, Event};
pub use log::Logging;
pub use observer::Observer;
pub use state::{Backlog, Columns, Finding, Kinds, Phase, Problem, State, WakeUp, brief};
pub use totals::Totals;
