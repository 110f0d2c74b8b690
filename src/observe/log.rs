//! Where the log goes and in which form: standard error; for people on a terminal and in the
//! journal, as JSON for everything else.
//!
//! A thread of its own writes it, so that a reader of standard error who does not read on holds up
//! no database. Lines that such a reader leaves no room for are dropped, and counted.

use std::io::{self, IsTerminal as _, Write, stderr};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _};

use super::journal::{self, Prioritised};
use crate::settings::{Log, LogFormat};
use crate::show::Clean;

/// How many lines wait for their reader at most.
const LINES: usize = 16 * 1024;

/// The running log: its level can be changed, its form cannot. When it is dropped, what waits is
/// written, if that takes no longer than a second.
#[derive(Debug)]
pub struct Logging {
    level: Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
    _writes_what_waits: WorkerGuard,
}

impl Logging {
    /// Starts the log. A second start in a process is ignored.
    pub fn start(settings: &Log) -> Self {
        let (filter, level) = reload::Layer::new(filter(settings));
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES)
            .thread_name("log")
            .finish(stderr());
        let dropped = writer.error_counter();
        // Only a log that was started before can be in the way.
        let _ = subscriber(settings, filter, writer).try_init();
        Self {
            level,
            dropped,
            _writes_what_waits: guard,
        }
    }

    /// How many lines have been dropped so far.
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }

    /// Takes over the level of new settings.
    pub fn reload(&self, settings: &Log) {
        // The log goes on as it was if it is not ours to change.
        let _ = self.level.reload(filter(settings));
    }
}

/// A level that is not one was refused with the settings.
fn filter(settings: &Log) -> EnvFilter {
    EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

fn subscriber(
    settings: &Log,
    filter: reload::Layer<EnvFilter, Registry>,
    writer: NonBlocking,
) -> Box<dyn Subscriber + Send + Sync> {
    let (terminal, journal) = (stderr().is_terminal(), journal::is_stderr());
    let pretty = match settings.format {
        LogFormat::Auto => terminal || journal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that cannot be written must not end the work.
    let lines = fmt::layer()
        .log_internal_errors(false)
        .with_writer(move || Cleaned(writer.clone()))
        .with_ansi(colours);
    let form = fmt::format().with_timer(SystemTime).with_target(false);
    let lines = if pretty {
        let form = form.compact();
        if journal {
            // The journal has the time itself.
            lines.event_format(Prioritised(form.without_time())).boxed()
        } else {
            lines.event_format(form).boxed()
        }
    } else {
        let lines = lines.fmt_fields(JsonFields::new());
        let form = form
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        if journal {
            lines.event_format(Prioritised(form)).boxed()
        } else {
            lines.event_format(form).boxed()
        }
    };
    Box::new(tracing_subscriber::registry().with(filter).with(lines))
}

/// A writer that lets through nothing that can disturb a terminal, whatever an event holds.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    /// A formatted event comes in one piece, and goes out in one.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(
            Clean::styled(&String::from_utf8_lossy(event))
                .as_str()
                .as_bytes(),
        )?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s10_a_line_of_the_log_holds_nothing_that_disturbs_and_keeps_its_colours() {
        let mut out = Vec::new();
        let line = "\u{1b}[33m WARN\u{1b}[0m a\u{9b}2J\u{202e}\u{1b}[2J\n";
        assert_eq!(
            Cleaned(&mut out).write(line.as_bytes()).ok(),
            Some(line.len())
        );
        let seen = "\u{1b}[33m WARN\u{1b}[0m a\\u009b2J\\u202e\\u001b[2J\n";
        assert_eq!(String::from_utf8_lossy(&out), seen);
    }
}
