//! `install` and `uninstall`: objects, owners, roles and versions.

mod lifecycle;
mod locking;
mod owners;
mod roles;
mod schemas;
pub mod upgrades;
