//! The daemon's work: the loop of one database, and the fleet of them.
//!
//! - `fleet` runs one task for each database and stops them together.
//! - `database` keeps one database in sync for good: connection after connection, with `backoff` in
//!   between (G8).
//! - `oneshot` drains the outbox for a command, where no daemon leads.
//! - `audit` compares every agent with its configurations, from time to time and after a change of
//!   the rules.
//! - `connection` is the life of one connection: connect, stand by, catch up, wait, drain. Its
//!   phases are documented there; `connection::sweep` is the periodic check.
//! - `backlog_poll` queries the backlog for the reports over HTTP.
//! - `drain` processes the outbox, batch by batch.
//! - `fast_path` processes one change that a notification names, without a batch.
//! - `protocol` decides when to scan, poll or sleep. It is pure.
//! - `large` processes the one slug that is too heavy for a batch, page by page.
//! - `batch_events` turns a committed batch into events.
//! - `not_text` adds to a plan the slugs that are no text for this program.
//! - `batch_plan` runs the mapping for each slug of a claim.
//! - `reasons` has the texts of the problems that a plan notes.
//! - `health` has what outlives a connection.
//! - `slow` remembers the slow writes, `busy` the slugs with locked configurations, and
//!   `batch_size` limits the next batch.
//! - `remembered` has the slugs with a problem, and the requested ones, of a scan.
//! - `context` and `error` are the data that the others share.
//! - `heavy` gives one database at a time the turn to use much memory, and `connect_queue` limits
//!   the connections that are set up on a server at a time.
//!
//! A module names only modules below it in this list, and the modules below `sync` in
//! `ARCHITECTURE.md` (`tests/docs/order.rs`). `not_text` adds methods to the plan of `batch_plan`,
//! which calls them.

mod audit;
mod backlog_poll;
mod backoff;
mod batch_events;
mod batch_plan;
mod batch_size;
mod busy;
mod connect_queue;
mod connection;
mod context;
mod database;
mod drain;
mod error;
mod fast_path;
mod fleet;
mod health;
mod heavy;
mod large;
mod not_text;
mod oneshot;
pub mod protocol;
mod reasons;
mod remembered;
mod slow;

pub use context::{Context, Options};
pub use database::keep_in_sync;
pub use error::AttemptError;
pub use fleet::{Fleet, Reloaded};
pub use oneshot::OneShotDrain;
