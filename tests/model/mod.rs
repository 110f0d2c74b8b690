//! The protocol of capture, sleeping consumer, leadership and batch (C6, G1, G2), checked in every order in which its steps can come.
//!
//! - `protocol` is the model: the states, and the steps between them. Its header says what is taken for granted.
//! - `explore` is the checker.
//! - `promises` checks the model as it is, at sizes that a run of the tests has time for.
//! - `broken` does one thing after the other wrong, and expects the checker to find out.

mod broken;
mod explore;
mod promises;
mod protocol;
