//! What agent-sync tells the world about its work.
//!
//! Logic emits an [`Event`]; this module alone owns the wording, the level and the field names of
//! what is logged, and what is counted and kept for those who ask: one sum type of events, which
//! the log and the [`Board`] interpret.
//!
//! - `event` lists the events, and has the words of the log; `log` says where the log goes, and
//!   `journal` how severe a line is in systemd's journal.
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
pub mod pulse;
pub mod state;
pub mod verdict;

pub use board::{Board, Snapshot};
pub use event::{Committed, Event, Observer, Totals};
pub use log::Logging;
pub use state::{Backlog, Columns, Finding, Kinds, Phase, Problem, State, WakeUp, brief};
