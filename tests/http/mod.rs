//! The daemon's reports over HTTP and to systemd.

mod answers;
mod page;
mod states;
mod supervised;
