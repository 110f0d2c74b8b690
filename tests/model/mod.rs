//! The protocol of capture, idle lock, leadership and batch (C6, G1, G2), checked in every order of
//! its steps.
//!
//! - `protocol` is the model as a whole: its assumptions and its promises. `state` has its state.
//!   The steps are those of a `writer`, of a `daemon` and its `fast_path`, and the `faults` of
//!   sessions, statements and notifications. The `outbox` has rows, and `notes` are notifications.
//! - The decisions of a daemon are not modelled: the model calls `sync::protocol` and
//!   `session::News`, and executes their commands.
//! - `explore` is the checker. `symmetry` merges equivalent states.
//! - `properties` checks the model at sizes for every run of the tests.
//! - `mutants` are models with one defect each, which the checker must refute. A mutant changes an
//!   input or a command of the protocol, or a step.
//! - `uncaptured` is a separate model: the repair of changes that were counted and not captured.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::too_many_lines,
    unreachable_pub
)]

mod daemon;
mod explore;
mod fast_path;
mod faults;
mod mutants;
mod notes;
mod outbox;
mod properties;
mod protocol;
mod state;
mod symmetry;
mod uncaptured;
mod writer;
