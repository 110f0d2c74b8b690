//! The daemon's reports over HTTP and to systemd.

mod agent;
mod answers;
mod large;
mod page;
mod states;
mod supervised;
