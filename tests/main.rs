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
mod checks;
mod columns;
mod connection;
mod demo;
mod fleet;
mod installing;
mod mapping;
mod outage;
mod packaging;
mod page;
mod poison;
mod pooler;
mod roles;
mod settings;
mod support;
mod syncing;
mod tls;
