//! The mapping: rules + agent + current configuration → the columns to write, or the reasons why
//! not.
//!
//! It is a pure function. There is no I/O, clock, environment, SQL or logging here, so the daemon,
//! `render`, the tests and the fuzzers all run the same code, and what they see is all there is.
//!
//! The life of one call of [`plan()`]:
//!
//! ```text
//! voice_settings ──decode──▶ settings ──rules──▶ wanted sections ──merge──▶ provider_config
//!             (decode.rs)  (voice_settings.rs)     (section.rs)     ▲
//! provider_config ─decode───────────────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - JSON is handled as text. No written value passes through floating point or through a tree that
//!   would reorder keys, so what no rule owns comes back byte for byte (M5). Only the comparison
//!   with a column of the type `real` or `double precision` computes in that type.
//! - Whatever is met is answered with a [`Plan`] or a [`Rejection`], never with a panic, and never
//!   with a recursion deeper than `json::MAX_DEPTH`.
//! - A [`Plan`] that is carried out leaves nothing to do: planning again gives no changes (M8).
//! - A [`Mistake`] never quotes a string that it met, which could be a prompt or a key (M7).

/// Raised whenever the same rules, agent and configuration give another result than before. The
/// daemon then compares every agent after the upgrade, as after a change of the rules (G14).
pub const REVISION: u32 = 2;

mod decimal;
mod decode;
mod diff;
mod difference;
pub(crate) mod json;
mod kind;
mod path;
mod plan;
mod reasons;
mod rules;
mod rules_file;
mod rules_json;
mod same;
mod section;
mod show;
mod tokens;
mod unmapped;
mod voice_settings;

pub use diff::{Diff, diff, fields_of, fields_of_agent};
pub use difference::{Difference, Fields, Value};
pub use plan::{Agent, Changes, Configuration, NumberColumn, Plan, Targets, check, plan};
pub use reasons::{Mistake, Rejection, Warning};
pub use rules::Rules;
pub use rules_file::{RulesError, RulesMistake};
pub(crate) use show::{describe, disturbs, disturbs_message, escape, quoted};
pub use unmapped::{Hint, Unmapped};
