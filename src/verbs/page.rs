//! Where a reporting verb writes: results to standard output, and on a terminal a line of progress
//! on standard error.
//!
//! Colours are left out where they are not wanted (`NO_COLOR`, pipes). When nobody reads any more,
//! the page says so, and the verb can stop early; whether that is a failure, [`Page::end`] says.
//! What goes to no terminal is written in large pieces.
//!
//! Invariant: while a transaction is open, no reader can keep it open. What is written then is
//! [held back](Page::hold) in a file without a name, for a pipe takes no more than its reader does
//! (`agent-sync check | less`), and a transaction holds locks that a migration, and every save
//! behind it, would wait for.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Seek as _, Stdout, Write as _, stderr, stdout};
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use tempfile::SpooledTempFile;

use super::output;
use crate::exit::Exit;
use crate::show::{CYAN, Clean, WIDTH, count, shorten};

/// How often the line of progress is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How much is held back in memory, in bytes; more is held back in a file.
const HELD_IN_MEMORY: usize = 1024 * 1024;

/// Standard output, and the line of progress.
pub(super) struct Page {
    out: BufWriter<Stdout>,
    held: Option<SpooledTempFile>,
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
        let progress = stderr().is_terminal().then_some(Progress {
            drawn: None,
            shown: false,
        });
        let colours = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self {
            out: BufWriter::new(stdout()),
            held: None,
            colours,
            live: stdout().is_terminal(),
            gone: false,
            failure: None,
            progress,
            heading: None,
        }
    }

    /// What is told from now on is about this; said above the first line of it, and not at all
    /// where no line follows.
    pub(super) fn under(&mut self, heading: Option<String>) {
        self.heading = heading;
    }

    /// Writes a line, or several.
    pub(super) fn line(&mut self, line: impl Display) {
        self.clear();
        let heading = self
            .heading
            .take()
            .map(|heading| format!("{CYAN}{heading}{CYAN:#}\n"));
        let line = format!("{}{line}", heading.unwrap_or_default());
        let line = Clean::styled(&line);
        if self.colours {
            self.write(&line);
        } else {
            self.write(&Clean::lines(
                &anstream::adapter::strip_str(line.as_str()).to_string(),
            ));
        }
    }

    /// Writes an object of JSON on a line of its own.
    pub(super) fn json(&mut self, object: &impl serde::Serialize) {
        // What the verbs make always has a form in JSON.
        let text = serde_json::to_string(object).unwrap_or_default();
        self.clear();
        self.write(&Clean::lines(&text));
    }

    /// Takes away what is on the terminal, for the next lines to take its place.
    pub(super) fn wipe(&mut self) {
        self.clear();
        self.write(&Clean::verbatim("\x1b[H\x1b[2J\x1b[1A"));
    }

    fn write(&mut self, line: &Clean<'_>) {
        let written = match &mut self.held {
            Some(held) => writeln!(held, "{line}"),
            None => writeln!(self.out, "{line}"),
        };
        self.written(written);
        if self.live {
            self.flush();
        }
    }

    /// Holds back what is written from now on, unless it goes to a terminal, until it is
    /// [released](Page::release).
    pub(super) fn hold(&mut self) {
        if !self.live {
            self.flush();
            self.held
                .get_or_insert_with(|| SpooledTempFile::new(HELD_IN_MEMORY));
        }
    }

    /// Writes what was held back.
    pub(super) fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            let written = held
                .rewind()
                .and_then(|()| io::copy(&mut held, &mut self.out));
            self.written(written.map(drop));
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
        self.release();
        self.clear();
        self.flush();
        self.failure.take().map_or(Ok(exit), Err)
    }

    /// Whether nobody reads any more.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Draws how far it has come, every now and then; `total` is less than `done` where it is not
    /// known.
    pub(super) fn progress(&mut self, what: &str, done: i64, total: i64) {
        let Some(progress) = &mut self.progress else {
            return;
        };
        if progress.drawn.is_some_and(|drawn| drawn.elapsed() < FRAME) {
            return;
        }
        progress.drawn = Some(Instant::now());
        progress.shown = true;
        let line = if total > 0 && done <= total {
            let part = usize::try_from(done.saturating_mul(20) / total).unwrap_or(0);
            let bar = format!(
                "{}{}",
                "█".repeat(part),
                "░".repeat(20_usize.saturating_sub(part))
            );
            format!(
                "{bar} {:>3}%  {what}: {} of {}",
                done * 100 / total,
                count(done),
                count(total)
            )
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
        output::say_aside(&Clean::lines(&format!("agent-sync: {note}\n")));
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.release();
        self.clear();
        self.flush();
    }
}
