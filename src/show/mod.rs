//! How things look on a terminal: 80 columns, one set of colours, one way to say a number, a time
//! and a difference.
//!
//! Pure: text in, text out. Who writes it decides where it goes; `anstream` takes the colours away
//! where they are not wanted (`NO_COLOR`, pipes). Invariant: what comes from a row is escaped, so
//! that no slug, name or path can disturb a terminal; a [`Clean`] is text of which that holds.

mod clean;
mod diff;
mod text;

use anstyle::{AnsiColor, Style};

pub use clean::Clean;
pub use diff::diff_lines;
pub use text::{age, compact, count, fit, indented, plural, quoted, shorten, time, wrap};

/// What fits on every terminal.
pub const WIDTH: usize = 80;

/// For headings.
pub const BOLD: Style = Style::new().bold();
/// For what can be passed over.
pub const DIM: Style = Style::new().dimmed();
/// For what is as it should be, and what is new.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// For what is broken, and what is old.
pub const RED: Style = AnsiColor::Red.on_default();
/// For what wants to be looked at.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// For titles.
pub const CYAN: Style = AnsiColor::Cyan.on_default();
