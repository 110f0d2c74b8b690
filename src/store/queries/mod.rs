//! The text of every query that the daemon runs. Values are always parameters; names come quoted
//! from `store::layout`.
//!
//! The queries that depend on the tables ([`claim()`], [`write()`], and their forms for a single
//! change) are built once per connection. PostgreSQL plans each of them once, without the number of
//! rows (`session::planner`), and the plan must be good for one row and for a thousand. So rows are
//! looked up by index wherever there is one, whatever the number.

mod capture;
mod claim;
mod claimed;
mod columns;
mod fast_path;
mod hidden;
mod history;
mod install;
mod joins;
pub(in crate::store) mod key;
mod lead;
mod near;
mod outbox;
mod own;
mod problems;
mod requested;
mod rights;
mod seal;
mod sent;
mod server;
mod session;
mod slug_index;
mod table_locks;
mod tables;
mod weight;
mod write;

pub use capture::*;
pub use claim::*;
pub use claimed::{LONGEST_SLUG, LOST_ON_THE_WAY, too_long};
pub(super) use columns::{As, agent_columns, configuration_columns, is_result_name};
pub use fast_path::*;
pub use history::{NOTE_LAST_SYNC, PRUNE_HISTORY};
pub use install::*;
pub use joins::*;
pub use lead::*;
pub use near::near_misses;
pub use outbox::*;
pub(super) use own::{OWN_FUNCTIONS, OWN_RELATIONS};
pub use problems::*;
pub use requested::*;
pub use rights::*;
pub use seal::*;
pub(super) use sent::{beginning, sent, shown};
pub use server::*;
pub use session::*;
pub use slug_index::*;
pub use table_locks::*;
pub use tables::*;
pub use weight::HEAVIEST;
pub(super) use weight::{heavier, heavy};
pub use write::*;
