//! What is the case in a database, why, and what to do: told from SQL alone, with no daemon running.
//!
//! - `problem` owns the words for what stands in the way of an agent, and the remedies.
//!
//! Invariant: each thing that can be wrong has one wording and one remedy, here or in the type of its error, and every
//! verb uses it; so they all tell the same story.

pub mod problem;
