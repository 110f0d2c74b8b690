//! `install` and `uninstall`: objects, owners, roles and versions.

mod lifecycle;
mod locking;
mod monitor;
mod owners;
mod roles;
mod schemas;
mod superuser;
pub mod upgrades;
