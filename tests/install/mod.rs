//! `install` and `uninstall`: objects, owners, roles and versions.

mod lifecycle;
mod locking;
mod monitor;
mod owners;
mod roles;
mod schemas;
pub mod upgrades;
