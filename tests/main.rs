//! The integration tests: one binary, one module a subject.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::too_many_lines,
    unreachable_pub
)]

mod admin;
mod asking;
mod bad_inputs;
mod cancellation;
mod capture;
mod changed_tables;
mod check;
mod checks;
mod columns;
mod connection;
mod corpora;
mod docs;
mod doctor;
mod encoding;
mod fleet;
mod flood;
mod foreign_code;
#[path = "../fuzz/src/lib.rs"]
mod fuzz_targets;
mod help;
mod history;
mod identity;
mod installing;
mod keys;
mod locking;
mod lone;
mod mapping;
mod migrations;
mod model;
mod narrowing;
mod outage;
mod owners;
mod packaging;
mod page;
mod poison;
mod pooler;
mod printed;
mod reconcile;
mod reliability;
mod roles;
mod scale;
mod secrets;
mod settings;
mod shadow;
mod status;
mod storm;
mod story;
mod supervised;
mod support;
mod syncing;
mod tls;
mod upgrading;
mod weight;
mod why;
