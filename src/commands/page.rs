//! Output of the reporting commands: results to standard output, and on a terminal a progress line
//! on standard error.
//!
//! Colours are left out for pipes and under `NO_COLOR`. If the reader is gone, [`Page::is_gone`]
//! allows the command to stop early, and [`Page::end`] decides whether that is a failure. Output to
//! files and pipes is written in large pieces.
//!
//! Invariant: a slow reader never extends an open transaction. Output during a transaction is [held
//! back](Page::hold) in an unnamed file, because a pipe takes no more than its reader does
//! (`agent-sync check | less`), and the transaction holds locks that block a migration and every
//! save behind it.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal as _, Seek as _, Stdout, Write as _, stdout};

use anstream::{AutoStream, ColorChoice};
use anstyle::Style;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tempfile::SpooledTempFile;

use super::{output, terminal};
use crate::exit::Exit;
use crate::show::{CYAN, Clean, DIM, count};

/// The limit of the output held in memory, in bytes; a temporary file holds more.
const HELD_IN_MEMORY: usize = 1024 * 1024;

/// One number of a summary, dim if it is 0.
pub(super) fn part(number: i64, name: &str, colour: Style) -> String {
    let colour = if number > 0 { colour } else { DIM };
    format!("{colour}{} {name}{colour:#}", count(number))
}

/// Standard output and the progress line.
pub(super) struct Page {
    out: BufWriter<Stdout>,
    held: Option<SpooledTempFile>,
    colours: bool,
    /// Whether standard output is a terminal, so each line is flushed.
    live: bool,
    gone: bool,
    failure: Option<anyhow::Error>,
    /// The progress line, from its first drawing to its removal.
    progress: Option<ProgressBar>,
    /// The heading of the next lines.
    heading: Option<String>,
    /// The heading of the last line.
    above: Option<String>,
}

impl Page {
    pub(super) fn new() -> Self {
        let colours = AutoStream::choice(&stdout()) != ColorChoice::Never;
        Self {
            out: BufWriter::new(stdout()),
            held: None,
            colours,
            live: stdout().is_terminal(),
            gone: false,
            failure: None,
            progress: None,
            heading: None,
            above: None,
        }
    }

    /// Whether a person reads along.
    pub(super) fn is_terminal(&self) -> bool {
        self.live
    }

    /// Sets the heading of the next lines. It is printed before the first of them, unless the line
    /// above has the same one.
    pub(super) fn under(&mut self, heading: Option<String>) {
        self.heading = heading;
    }

    /// Writes one or more lines.
    pub(super) fn line(&mut self, line: impl Display) {
        let heading = self.heading.as_ref();
        let heading = heading.filter(|_| self.heading != self.above);
        let heading = heading.map(|heading| format!("{CYAN}{heading}{CYAN:#}\n"));
        let line = format!("{}{line}", heading.unwrap_or_default());
        self.above.clone_from(&self.heading);
        let line = Clean::styled(&line);
        if self.colours {
            self.write(&line);
        } else {
            self.write(&Clean::lines(
                &anstream::adapter::strip_str(line.as_str()).to_string(),
            ));
        }
    }

    /// Writes a JSON object on its own line.
    pub(super) fn json(&mut self, object: &impl serde::Serialize) {
        // Serialization cannot fail: the commands use only text keys.
        let text = serde_json::to_string(object).unwrap_or_default();
        self.write(&Clean::lines(&text));
    }

    /// Shows these lines in place of what is on the terminal, as many as it has room for.
    pub(super) fn replace(&mut self, lines: &[String]) {
        self.clear();
        let lines = lines.iter().map(|line| {
            let line = Clean::styled(line).into_string();
            if self.colours {
                line
            } else {
                anstream::adapter::strip_str(&line).to_string()
            }
        });
        let lines: Vec<_> = lines.collect();
        let frame = terminal::frame(&terminal::fit(&lines, terminal::size()));
        let written = self
            .out
            .write_all(Clean::verbatim(&frame).as_str().as_bytes());
        self.written(written);
        self.flush();
    }

    fn write(&mut self, line: &Clean<'_>) {
        let (out, is_live) = (&mut self.out, self.live);
        let mut write = || {
            writeln!(out, "{line}")?;
            if is_live { out.flush() } else { Ok(()) }
        };
        let written = match (&mut self.held, &self.progress) {
            (Some(held), _) => writeln!(held, "{line}"),
            (None, Some(bar)) => bar.suspend(write),
            (None, None) => write(),
        };
        self.written(written);
    }

    /// Holds back the output, unless it goes to a terminal, until [`Page::release`].
    pub(super) fn hold(&mut self) {
        if !self.live {
            self.flush();
            self.held
                .get_or_insert_with(|| SpooledTempFile::new(HELD_IN_MEMORY));
        }
    }

    /// Writes the output that was held back.
    pub(super) fn release(&mut self) {
        if let Some(mut held) = self.held.take() {
            let written = held
                .rewind()
                .and_then(|()| io::copy(&mut held, &mut self.out));
            self.written(written.map(drop));
        }
    }

    /// Writes everything that is buffered.
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

    /// Writes everything and returns this exit code, or the first write error.
    pub(super) fn end(mut self, exit: Exit) -> anyhow::Result<Exit> {
        self.release();
        self.clear();
        self.flush();
        self.failure.take().map_or(Ok(exit), Err)
    }

    /// Whether output can no longer be written: the reader is gone or a write failed.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Draws the progress line, at most ten times a second. A `total` below `done` means an unknown
    /// total.
    pub(super) fn progress(&mut self, what: &str, done: i64, total: i64) {
        let bar = self.progress.get_or_insert_with(|| bar(what));
        let [done, total] = [done, total].map(|number| u64::try_from(number).unwrap_or(0));
        let length = Some(total).filter(|total| *total > 0 && done <= *total);
        if bar.length() != length {
            bar.set_style(style(length.is_some()));
            length.map_or_else(|| bar.unset_length(), |length| bar.set_length(length));
        }
        bar.set_position(done);
    }

    /// Removes the progress line.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.progress.take() {
            bar.finish_and_clear();
        }
    }

    /// Writes a note to standard error.
    pub(super) fn note(&mut self, note: impl Display) {
        self.clear();
        self.flush();
        output::note(note);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.release();
        self.clear();
        self.flush();
    }
}

/// The progress line; it is hidden if standard error is no terminal, and by `--quiet`.
fn bar(what: &str) -> ProgressBar {
    let target = if output::is_quiet() {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr_with_hz(10)
    };
    ProgressBar::with_draw_target(None, target)
        .with_style(style(false))
        .with_message(Clean::line(what).into_string())
}

fn style(has_length: bool) -> ProgressStyle {
    let template = if has_length {
        "{bar:20} {percent:>3}%  {msg}: {human_pos} of {human_len}"
    } else {
        "{msg}: {human_pos}"
    };
    let style = ProgressStyle::with_template(template);
    style
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("█░")
}
