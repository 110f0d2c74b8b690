//! What the daemon tells over HTTP and to systemd.

mod answers;
mod page;
mod states;
mod supervised;
