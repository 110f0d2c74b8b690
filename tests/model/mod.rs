//! The protocol of capture, sleeping consumer, leadership and batch (C6, G1, G2), checked in every
//! order in which its steps can come.
//!
//! - `protocol` is the model as a whole: what is taken for granted, and what is promised. `state`
//!   is what there is; the steps are those of a `writer`, of a `daemon` and its `fast_path`, and of
//!   `adversity`. The `outbox` has rows, and `notes` are notifications.
//! - The decisions of a daemon are not modelled: the model calls `sync::protocol` and
//!   `session::News`, and executes their commands.
//! - `explore` is the checker, and `alike` says which states it need not tell apart.
//! - `promises` checks the model as it is, at sizes that a run of the tests has time for.
//! - `broken` does one thing after the other wrong, and expects the checker to find out. It changes
//!   an input or a command of the protocol, or a step.
//! - `uncaptured` is a model of its own: how saves that were counted and not captured are made
//!   good.

mod adversity;
mod alike;
mod broken;
mod daemon;
mod explore;
mod fast_path;
mod notes;
mod outbox;
mod promises;
mod protocol;
mod state;
mod uncaptured;
mod writer;
