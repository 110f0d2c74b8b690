//! The capture: its triggers, changed tables, and foreign code beside it.

mod changed_tables;
mod foreign_code;
mod locked_sweep;
mod many_objects;
mod migrations;
mod search_path;
mod triggers;
