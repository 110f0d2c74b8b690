//! What agent-sync tells the world about its work.
//!
//! Logic emits an [`Event`]; this module alone owns the wording, the level and the field names of what is logged.
//! Invariant: no value of a row is ever logged but slugs and provider names (G11).

mod event;
mod log;

pub use event::{Event, Observer, Totals};
pub use log::Logging;
