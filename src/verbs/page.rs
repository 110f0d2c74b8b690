//! Where a reporting verb writes: results to standard output, and on a terminal a line of progress on standard error.
//!
//! Colours are left out where they are not wanted (`NO_COLOR`, pipes). When nobody reads any more, the page says so, and the verb can
//! stop early; whether that is a failure, [`Page::end`] says. What goes to no terminal is written in large pieces.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};

use super::output;
use crate::exit::Exit;
use crate::show::{CYAN, WIDTH, count, shorten};

/// How often the line of progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// Standard output, and the line of progress.
pub(super) struct Page {
    out: BufWriter<Stdout>,
    colours: bool,
    /// Whether each line is to be seen at once.
    live: bool,
    gone: bool,
    failure: Option<anyhow::Error>,
    progress: Option<Progress>,
    /// What stands above the next line.
    heading: Option<String>,
}

/// The line of progress, where somebody watches.
struct Progress {
    drawn: Option<Instant>,
    shown: bool,
}

impl Page {
    pub(super) fn new() -> Self {
        let progress = stderr().is_terminal().then_some(Progress { drawn: None, shown: false });
        let colours = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self {
            out: BufWriter::new(stdout()),
            colours,
            live: stdout().is_terminal(),
            gone: false,
            failure: None,
            progress,
            heading: None,
        }
    }

    /// What is told from now on is about this; said above the first line of it, and not at all where no line follows.
    pub(super) fn under(&mut self, heading: Option<String>) {
        self.heading = heading;
    }

    /// Writes a line, or several.
    pub(super) fn line(&mut self, line: impl Display) {
        self.clear();
        let heading = self.heading.take().map(|heading| format!("{CYAN}{heading}{CYAN:#}\n"));
        let line = format!("{}{line}", heading.unwrap_or_default());
        let written = if self.colours {
            writeln!(self.out, "{line}")
        } else {
            writeln!(self.out, "{}", anstream::adapter::strip_str(&line))
        };
        self.written(written);
        if self.live {
            self.flush();
        }
    }

    /// Writes an object of JSON on a line of its own.
    pub(super) fn json(&mut self, object: &impl serde::Serialize) {
        // What the verbs make always has a form in JSON.
        let text = serde_json::to_string(object).unwrap_or_default();
        self.clear();
        let written = writeln!(self.out, "{text}");
        self.written(written);
        if self.live {
            self.flush();
        }
    }

    /// Sees to it that everything has been written.
    pub(super) fn flush(&mut self) {
        let written = self.out.flush();
        self.written(written);
    }

    fn written(&mut self, written: io::Result<()>) {
        match output::is_read(written) {
            Ok(is_read) => self.gone |= !is_read,
            Err(failure) => {
                self.gone = true;
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// Ends the page: with this exit code, or with the error if not everything could be written.
    pub(super) fn end(mut self, exit: Exit) -> anyhow::Result<Exit> {
        self.clear();
        self.flush();
        self.failure.take().map_or(Ok(exit), Err)
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Draws how far it has come, every now and then; `total` is less than `done` where it is not known.
    pub(super) fn progress(&mut self, what: &str, done: i64, total: i64) {
        let Some(progress) = &mut self.progress else { return };
        if progress.drawn.is_some_and(|drawn| drawn.elapsed() < FRAME) {
            return;
        }
        progress.drawn = Some(Instant::now());
        progress.shown = true;
        let line = if total > 0 && done <= total {
            let part = usize::try_from(done.saturating_mul(20) / total).unwrap_or(0);
            let bar = format!("{}{}", "█".repeat(part), "░".repeat(20_usize.saturating_sub(part)));
            format!("{bar} {:>3}%  {what}: {} of {}", done * 100 / total, count(done), count(total))
        } else {
            format!("{what}: {}", count(done))
        };
        // Nobody is left to tell when standard error is closed.
        let _ = write!(stderr(), "\r\x1b[K{}", shorten(&line, WIDTH - 1));
    }

    /// Takes the line of progress away.
    pub(super) fn clear(&mut self) {
        if let Some(progress) = &mut self.progress
            && std::mem::take(&mut progress.shown)
        {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    /// Says something beside the results.
    pub(super) fn note(&mut self, note: impl Display) {
        self.clear();
        self.flush();
        let _ = writeln!(stderr(), "agent-sync: {note}");
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.clear();
        self.flush();
    }
}
