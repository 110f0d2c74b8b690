//! The main job: the written values, their agents and the cost.

mod audit;
mod basics;
mod collisions;
mod columns;
mod encoding;
mod fast_path;
mod fleet;
mod flood;
mod history;
mod identity;
mod keys;
mod long_slugs;
mod long_texts;
mod narrowing;
mod poison;
mod requests;
mod shadow;
mod tenants;
mod watch;
mod weight;
