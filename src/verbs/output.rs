//! Standard output: a reader that has seen enough, such as `head`, is no failure, and a disk that
//! is full is one.

use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::exit::{Exit, Fault};
use crate::show::Clean;

/// Prints results that are ready as a whole, to the last line feed.
pub(super) fn print(text: &Clean<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    is_read(
        out.write_all(text.as_str().as_bytes())
            .and_then(|()| out.flush()),
    )
    .map(drop)
}

/// Prints a line of results.
pub(super) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    print(&Clean::lines(&format!("{line}\n")))
}

/// Prints what a program is to read to the letter, and what comes neither from a row nor from the
/// network.
pub(super) fn say_verbatim(text: &str) -> anyhow::Result<()> {
    print(&Clean::verbatim(&format!("{text}\n")))
}

/// Whether somebody still reads what was written so.
pub(super) fn is_read(written: io::Result<()>) -> anyhow::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            let fault = Fault::new(
                Exit::Failed,
                "the results cannot be written to standard output",
            );
            Err(error)
                .context(fault.remedy("see where they go: what is there now is not all of them"))
        }
    }
}
