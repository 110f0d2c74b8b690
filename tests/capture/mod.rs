//! The capture: the triggers, and tables and foreign code that change beside them.

mod changed_tables;
mod foreign_code;
mod migrations;
mod triggers;
