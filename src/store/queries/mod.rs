//! The text of every query that the daemon runs. Values are always parameters; names come quoted
//! from `store::layout`.
//!
//! The queries that depend on the tables ([`claim`], [`write()`], and their forms for a single
//! change) are built once per connection. PostgreSQL plans each of them once, without the number of
//! rows (`session::planner`), and the plan must be good for one row and for a thousand. So rows are
//! looked up by index wherever there is one, whatever the number.

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
pub use claimed::{LONGEST_SLUG, too_long};
pub(super) use columns::{As, agent_columns, configuration_columns, heavy, is_result_name};
pub use columns::{HEAVIEST, MOST_CONFIGURATIONS};
pub use fast_path::*;
pub use problems::*;
pub use session::*;
pub use upkeep::*;
