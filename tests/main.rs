//! The integration tests: one binary, one module a subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::too_many_lines,
    unreachable_pub
)]

mod admin;
mod capture;
mod check;
mod checks;
mod columns;
mod connection;
mod demo;
mod doctor;
mod fleet;
mod help;
mod installing;
mod lone;
mod mapping;
mod outage;
mod packaging;
mod page;
mod poison;
mod pooler;
mod reconcile;
mod roles;
mod settings;
mod status;
mod supervised;
mod support;
mod syncing;
mod tls;
mod upgrading;
mod why;
