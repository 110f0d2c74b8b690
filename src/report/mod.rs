//! Reads the state of a database with SQL alone and explains it. No daemon needs to run.
//!
//! - `look` runs the checks of the daemon's start and reads leader, outbox and problems.
//! - `story` reads the state of one agent, within the limits of `reach`, and `conclusion` explains
//!   it.
//! - `awaited` counts the changes that `wait` waits for.
//! - `loss` finds the changes and roles that an uninstall drops or an install leaves.
//! - `unmatched`, `upkeep` and `canary` are further checks of `doctor`.
//! - `note` is the result of one check; `problem` has the texts for the problem of an agent.
//!
//! Invariant: every fault has one text and one remedy, here or in the type of its error, and every
//! command uses them.

mod awaited;
mod canary;
mod conclusion;
mod look;
mod loss;
mod note;
pub mod problem;
mod reach;
mod story;
pub mod unmatched;
mod upkeep;

pub use awaited::{Awaited, NamedAgents, Waiting, problems_of};
pub use canary::canary;
pub use conclusion::{Conclusion, conclude};
pub use look::{Audit, Counted, Daemon, Group, Look, Outbox, look};
pub use loss::{Left, Loss, left, loss, not_in_sync};
pub use note::{Level, Note};
pub use reach::Reach;
pub use story::{Problem, Since, Story, Write, story};
pub use upkeep::upkeep;
