//! The integration tests: one binary, with a folder for each subject (`README.md`).
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::too_many_lines,
    unreachable_pub
)]

mod capture;
mod chaos;
mod cli;
mod docs;
#[path = "../fuzz/src/lib.rs"]
mod fuzz_targets;
mod http;
mod install;
mod mapping;
mod outage;
mod packaging;
mod settings;
mod support;
mod sync;
