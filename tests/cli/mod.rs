//! The commands and their output.

mod asking;
mod bad_inputs;
mod check;
mod databases;
mod doctor;
mod help;
mod logging;
mod other_rules;
mod pause;
mod printed;
mod reconcile;
mod rules;
mod scale;
mod status;
mod story;
mod tenants;
mod wait;
mod wait_for_check;
mod why;
