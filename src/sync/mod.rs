//! The daemon's work: the loop of one database, and the fleet of them.
//!
//! - `fleet` runs one task a database and stops them together.
//! - `database` keeps one database in sync for good: attempt after attempt, with backoff in between
//!   (G8).
//! - `connection` is the life of one connection: connect, stand by, catch up, wait, drain. Its phases
//!   are documented there; `connection::sweep` is the slow round.
//! - `drain` processes the outbox, batch by batch.
//! - `protocol` decides when to scan, poll or sleep. It is pure.
//! - `large` does the one slug that is too heavy for a batch, page by page.
//! - `fast_path` processes one change that a notification names, without a batch.
//! - `slow` remembers the slow writes, and `batch_size` limits the next batch.
//! - `batch_plan` runs the mapping for each slug of a claim.
//! - `oneshot` drains the outbox for a command, where no daemon leads.
//! - `backlog_poll` queries the backlog for the reports over HTTP.
//! - `report` tells what a committed batch came to.
//! - `survey` counts what differs after the rules have changed.
//!
//! The arrows point down that list, and from all of it to `session` and `store`.

mod backlog_poll;
mod backoff;
mod batch_plan;
mod batch_size;
mod connection;
mod database;
mod drain;
mod fast_path;
mod fleet;
mod large;
mod oneshot;
pub mod protocol;
mod report;
mod slow;
mod survey;

pub use connection::AttemptError;
pub use database::{Context, keep_in_sync};
pub use fleet::{Fleet, Options, Reloaded};
pub use oneshot::OneShotDrain;
