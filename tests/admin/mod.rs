//! What the daemon says over HTTP (I8).

mod answers;
mod states;
