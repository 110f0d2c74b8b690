//! agent-sync keeps the table `agent_configurations` in sync with the table `agents`, in every
//! configured PostgreSQL database.
//!
//! The crate is the library behind one program. It has no stable interface: the binary, the tests,
//! the benchmarks and the fuzz targets use it. `README.md` introduces the program,
//! `ARCHITECTURE.md` is the map of the modules and their dependencies, and `docs/contract.md`
//! numbers the promises (T1, M3, G2 …), which the code cites.
//!
//! # One change
//!
//! 1. A trigger that [`install`] creates from `sql/` appends the slug of a saved agent to the
//!    outbox, in the writer's transaction. It sends a notification only while the daemon sleeps.
//! 2. [`session`] is the daemon's connection. It receives the notification and wakes the task of
//!    the database in [`sync`], which decides on every scan, poll and sleep.
//! 3. [`sync`] executes a batch. [`store`] claims slugs from the outbox, and reads their agents and
//!    configurations in the same snapshot.
//! 4. [`mapping`] computes the columns to write from an agent and its configuration, without I/O;
//!    or every reason to reject the agent. [`mapping::plan()`] is its entry point.
//! 5. [`store`] writes the differences, deletes the outbox rows and commits.
//! 6. [`observe`] turns the committed batch into log lines and the state of the database, which
//!    [`admin`] serves over HTTP and [`supervisor`] sends to systemd.
//!
//! # Modules
//!
//! | for | modules |
//! |---|---|
//! | the program | [`cli`], the command line, [`commands`], and [`exit`], the exit codes |
//! | the daemon | [`sync`], [`session`], [`observe`], [`admin`], [`supervisor`] |
//! | the other commands | [`reconcile`], [`report`], [`survey`], [`install`] |
//! | the database | [`store`] has the queries, and [`pg`] what concerns PostgreSQL in general |
//! | the mapping | [`mapping`] |
//! | the settings | [`settings`], [`columns`], the mapped columns, and [`key`], an agent's key |
//! | the output | [`show`], [`time`], the format of times, and [`similar`], names that are meant |
//!
//! To start: [`mapping::plan()`] is pure and small, and [`sync`] is the largest part.

/// The version, with the commit of the build if it is known, as in `0.1.0 (0123456789ab)`.
pub const VERSION: &str = env!("AGENT_SYNC_VERSION");

pub mod admin;
pub mod cli;
pub mod columns;
pub mod commands;
pub mod exit;
pub mod install;
pub mod key;
pub mod mapping;
pub mod observe;
pub mod pg;
pub mod reconcile;
pub mod report;
pub mod session;
pub mod settings;
pub mod show;
pub mod similar;
pub mod store;
pub mod supervisor;
pub mod survey;
pub mod sync;
pub mod time;
