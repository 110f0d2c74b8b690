//! The main job: what the daemon writes, for which agents, at which cost.

mod basics;
mod columns;
mod encoding;
mod fast_path;
mod fleet;
mod flood;
mod history;
mod identity;
mod keys;
mod narrowing;
mod poison;
mod shadow;
mod weight;
