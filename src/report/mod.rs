//! What is the case in a database, why, and what to do: told from SQL alone, with no daemon
//! running.
//!
//! - `look` looks at a database as the daemon does at its start, and at who leads, what waits and
//!   what is not in sync.
//! - `story` is about one agent.
//! - `loss` is about the changes and roles that an uninstall takes away for good.
//! - `upkeep` and `canary` are what `doctor` examines besides.
//! - `note` is one thing that was looked at; `problem` owns the words for what stands in the way of
//!   an agent.
//!
//! Invariant: each thing that can be wrong has one wording and one remedy, here or in the type of
//! its error, and every verb uses it; so they all tell the same story.

mod canary;
mod look;
mod loss;
mod note;
pub mod problem;
mod story;
mod upkeep;

pub use canary::canary;
pub use look::{Counted, Daemon, Group, Look, Outbox, look};
pub use loss::{Loss, loss};
pub use note::{Level, Note};
pub use story::{Conclusion, Problem, Since, Story, Write, conclude, story};
pub use upkeep::upkeep;
