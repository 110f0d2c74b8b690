//! The text of every query that the daemon runs. Values are always parameters; names come quoted
//! from `store::layout`.
//!
//! Those that depend on the tables, [`claim`] and [`write()`] and their like for a single change, are
//! built once per connection. Their plans must be good for one row and for a thousand, and
//! PostgreSQL plans them once without knowing the number (see `session::session_settings`): so rows
//! are looked up by index wherever there is one, whatever the number.

mod batch;
mod catalog;
mod claimed;
mod columns;
mod fast_path;
mod hidden;
mod problems;
mod session;
mod upkeep;

pub use batch::*;
pub use catalog::*;
pub use claimed::LONGEST_SLUG;
pub(super) use columns::{As, agent_columns, configuration_columns, heavy, is_result_name};
pub use columns::{HEAVIEST, MOST_CONFIGURATIONS};
pub use fast_path::*;
pub use problems::*;
pub use session::*;
pub use upkeep::*;
