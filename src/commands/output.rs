//! Output of the commands: results to standard output, everything else to standard error.
//!
//! A reader that closes the pipe early, such as `head`, is no failure. A full disk is one.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{AutoStream, ColorChoice};
use anyhow::Context as _;

use super::terminal;
use crate::exit::{Exit, Fault};
use crate::mapping::{Rejection, RulesError};
use crate::observe::journal;
use crate::settings::{self, SettingsError};
use crate::show::{Clean, WIDTH};

/// Whether `--quiet` asks for neither notes nor progress.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Writes neither notes nor progress from now on.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Sets the colours of the process; `auto` follows the terminal and `NO_COLOR`, `CLICOLOR` and
/// `CLICOLOR_FORCE`.
pub fn colour(choice: clap::ColorChoice) {
    match choice {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    }
    .write_global();
}

/// Writes a note to standard error, unless `--quiet` is given.
pub(super) fn note(text: impl std::fmt::Display) {
    if !is_quiet() {
        say_aside(&Clean::lines(&format!("agent-sync: {text}\n")));
    }
}

/// Prints a complete result, including its last line feed.
pub(super) fn print(text: &Clean<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    is_read(
        out.write_all(text.as_str().as_bytes())
            .and_then(|()| out.flush()),
    )
    .map(drop)
}

/// Prints one line of results, with control characters escaped.
pub(super) fn say(line: impl std::fmt::Display) -> anyhow::Result<()> {
    print(&Clean::lines(&format!("{line}\n")))
}

/// Prints a result for programs that was made from their own input, such as the JSON of `render`.
pub(super) fn say_result(text: &str) -> anyhow::Result<()> {
    print(&Clean::result(&format!("{text}\n")))
}

/// Prints text without escapes. The text must come neither from a row nor from the network.
pub(super) fn say_verbatim(text: &str) -> anyhow::Result<()> {
    print(&Clean::verbatim(&format!("{text}\n")))
}

/// Whether the reader of standard output is still there. A closed pipe is `false`; any other error
/// fails.
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
                .context(fault.remedy("check the target of standard output: it is incomplete"))
        }
    }
}

/// Prints an error with its causes and its remedy to standard error and returns the exit code of
/// its [`Fault`], or 1 without one.
pub fn report(error: &anyhow::Error) -> Exit {
    let text = format!("agent-sync: {}\n", told(error));
    say_aside(&Clean::lines(&journal::error(&text)));
    let fault = error.downcast_ref::<Fault>();
    fault.map_or(Exit::Failed, |fault| fault.exit)
}

/// The text of an error: a line for it, for each cause, and for the remedy of its [`Fault`].
pub(super) fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        if let Some(list) = list(cause) {
            text.push_str(&list);
            continue;
        }
        // The text of a server is one line.
        let cause = cause.to_string().replace('\n', "; ");
        // Some errors include the text of their causes, and "db error" only announces the next one.
        let message = cause.strip_prefix("ERROR: ").unwrap_or(&cause);
        if !text.contains(message) && cause != "db error" {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
    }
    let fault = error.downcast_ref::<Fault>();
    if let Some(remedy) = fault.and_then(|fault| fault.remedy.as_deref()) {
        text.push_str("\n  try: ");
        text.push_str(remedy);
    }
    text
}

/// The most mistakes of the settings that are listed.
const MISTAKES: usize = 100;

/// The list of a cause with several mistakes, a line each, below the file that they are in.
fn list(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let below =
        |place: &str, lines: &[String]| format!("\n  {place}:\n  - {}", lines.join("\n  - "));
    if cause.is::<RulesError>() || cause.is::<Rejection>() {
        let lines: Vec<_> = cause.to_string().lines().map(str::to_owned).collect();
        return (lines.len() > 1).then(|| below("because", &lines));
    }
    let error = cause.downcast_ref::<SettingsError>()?;
    if error.mistakes.len() < 2 {
        return None;
    }
    let (mut text, mut left) = (String::new(), MISTAKES);
    for group in error.by_file() {
        let lines: Vec<_> = group.lines().take(left).collect();
        left -= lines.len();
        if lines.is_empty() {
            break;
        }
        let place = match group.file {
            Some(file) => format!("in {file}"),
            None if text.is_empty() => "because".to_owned(),
            None => "elsewhere".to_owned(),
        };
        text.push_str(&below(&place, &lines));
    }
    let more = error.mistakes.len().saturating_sub(MISTAKES);
    if more > 0 {
        let _ = write!(text, "\n  and {more} more");
    }
    Some(text)
}

/// Reports a command line that does not parse. If an argument looks like a connection string, the
/// report quotes no argument, because such reports end up in journals.
pub fn report_command_line(
    error: &clap::Error,
    arguments: impl IntoIterator<Item = OsString>,
) -> Exit {
    if arguments
        .into_iter()
        .any(|argument| settings::is_withheld(&argument.to_string_lossy()))
    {
        let what = "the command line is not understood, and one of its arguments looks like a \
            connection string (not shown)";
        let fault = Fault::usage(what).remedy(
            "put the connection string into DATABASE_URL or into the settings; `agent-sync --help` \
            has the arguments",
        );
        return report(&fault.into());
    }
    let text = error.render();
    let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
    let text = if colours {
        text.ansi().to_string()
    } else {
        text.to_string()
    };
    // An error of the command line begins as every other one does.
    let text = text.replacen("error:", "agent-sync:", 1);
    say_aside(&Clean::styled(&text));
    Exit::Usage
}

/// The width of the lines on standard error, if that is a terminal.
fn terminal_width() -> Option<usize> {
    terminal::size_of(io::stderr()).map(|(columns, _)| columns.min(WIDTH))
}

/// Writes to standard error. A terminal gets lines as wide as those of reports, or as it is itself.
pub(super) fn say_aside(text: &Clean<'_>) {
    let fitted;
    let text = match terminal_width() {
        Some(width) => {
            fitted = text.fitted(width);
            &fitted
        }
        None => text,
    };
    // Without a reader of standard error, there is no place for the error.
    let _ = io::stderr().write_all(text.as_str().as_bytes());
}
