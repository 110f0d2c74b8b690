//! agent-sync keeps `agent_configurations` in sync with `agents`.
//!
//! `ARCHITECTURE.md` is the map of the modules and their dependencies. `docs/contract.md` numbers
//! the promises of the product (T1, M3, G2 …), which the code cites.

/// The version, with the commit of the build if it is known, as in `0.1.0 (0123456789ab)`.
pub const VERSION: &str = env!("AGENT_SYNC_VERSION");

pub mod admin;
pub mod cli;
pub mod columns;
pub mod commands;
pub mod exit;
pub mod install;
pub mod mapping;
pub mod observe;
pub mod pg;
pub mod reconcile;
pub mod report;
pub mod session;
pub mod settings;
pub mod show;
pub mod store;
pub mod supervisor;
pub mod survey;
pub mod sync;
pub mod time;
