//! The form of terminal output: 80 columns, one set of colours, and one format for numbers, times
//! and differences.
//!
//! Pure: text in, text out. The writer decides about the destination; `anstream` removes colours
//! where they are not wanted (`NO_COLOR`, pipes). Invariant: values of rows are escaped, so no
//! slug, name or path can disturb a terminal; [`Clean`] is the type of such text.

mod bounded;
mod clean;
mod diff;
mod entry;
mod text;

use anstyle::{AnsiColor, Style};

pub use bounded::{TEXT, bounded, brief};
pub use clean::Clean;
pub use diff::diff_lines;
pub use entry::Entry;
pub use text::{
    age, columns, compact, count, fit, indented, padded, plural, quoted, shorten, time, wrap,
};

/// The width of a terminal, in columns.
pub const WIDTH: usize = 80;

/// For headings.
pub const BOLD: Style = Style::new().bold();
/// For unimportant text.
pub const DIM: Style = Style::new().dimmed();
/// For passed checks and new values.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// For faults and old values.
pub const RED: Style = AnsiColor::Red.on_default();
/// For warnings.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// For titles.
pub const CYAN: Style = AnsiColor::Cyan.on_default();
