//! The log on standard error: text on a terminal and in the journal, JSON otherwise.
//! [`super::form`] has the form of its lines.
//!
//! A separate thread writes it, so a reader of standard error that stalls does not delay the
//! databases. If the buffer is full, lines are dropped and counted.

use std::io::{self, IsTerminal as _, Write, stderr};

use anstream::{AutoStream, ColorChoice};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{FilterExt as _, FilterFn};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt};

use super::form::{Form, Style};
use super::journal;
use crate::settings::{Log, LogFormat};
use crate::show::Clean;

/// The largest number of buffered lines.
const LINES: usize = 16 * 1024;

/// The running log. Its level can be changed, its format cannot. Dropping it writes the buffered
/// lines, for at most a second.
#[derive(Debug)]
pub struct Logging {
    level: Handle<EnvFilter, Registry>,
    form: Form,
    writer: NonBlocking,
    _flush_on_drop: WorkerGuard,
}

impl Logging {
    /// Starts the log. A second start in the same process is ignored.
    pub fn start(settings: &Log) -> Self {
        let (filter, level) = reload::Layer::new(filter(settings));
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES)
            .thread_name("log")
            .finish(stderr());
        let (form, lines) = (form(settings), writer.clone());
        // It fails only if a log was started before.
        let _ = subscriber(form.clone(), filter, move || lines.clone()).try_init();
        let of_panic = self::form(settings);
        std::panic::set_hook(Box::new(move |panic| {
            // The process ends at once, so this line is written here, and not by the thread.
            let text = panic.payload();
            let text = text
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| text.downcast_ref::<String>().map(String::as_str));
            let place = panic.location().map(ToString::to_string);
            log_panic(
                of_panic.clone(),
                text.unwrap_or_default(),
                &place.unwrap_or_default(),
                stderr,
            );
        }));
        Self {
            level,
            form,
            writer,
            _flush_on_drop: guard,
        }
    }

    /// The number of lines dropped so far.
    pub fn dropped(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }

    /// Logs the number of the lines that were left out of a row of like ones, if it is time for it.
    pub fn count_further(&mut self) {
        self.count(false);
    }

    fn count(&mut self, ends: bool) {
        if let Some(text) = self.form.further(ends) {
            // A failed write of the log must not end the work.
            let _ = Cleaned(&mut self.writer).write_all(text.as_bytes());
        }
    }

    /// Applies the level of new settings.
    pub fn reload(&self, settings: &Log) {
        // A log that was started elsewhere keeps its level.
        let _ = self.level.reload(filter(settings));
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.count(true);
    }
}

/// The filter of the settings. The settings have already refused an invalid level.
fn filter(settings: &Log) -> EnvFilter {
    EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Logs a panic, in the form of the other lines.
fn log_panic<W: Write + 'static>(
    form: Form,
    panic: &str,
    place: &str,
    writer: impl Fn() -> W + Send + Sync + 'static,
) {
    let subscriber = subscriber(form, EnvFilter::new("error"), writer);
    tracing::subscriber::with_default(subscriber, || {
        tracing::error!(
            panic,
            place,
            remedy = "Report it with this line: it is a bug. The supervisor starts the process \
                again, and nothing is lost.",
            "a bug ends the process"
        );
    });
}

/// The form of the lines, by the settings and by the reader of standard error.
fn form(settings: &Log) -> Form {
    let (terminal, journal) = (stderr().is_terminal(), journal::is_stderr());
    let style = match settings.format {
        LogFormat::Auto | LogFormat::Pretty if terminal => Style::Wrapped,
        LogFormat::Auto if !journal => Style::Json,
        LogFormat::Auto | LogFormat::Pretty => Style::Line,
        LogFormat::Json => Style::Json,
    };
    let colours = AutoStream::choice(&stderr()) != ColorChoice::Never;
    Form::new(style, colours, journal)
}

fn subscriber<W: Write + 'static>(
    form: Form,
    filter: impl Filter<Registry> + Send + Sync + 'static,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    // A span names what its lines are about, so it is there at every level of them, also after the
    // level has changed.
    let spans = FilterFn::new(|metadata: &Metadata<'_>| metadata.is_span());
    let filter = filter.or(spans.with_max_level_hint(LevelFilter::ERROR));
    let lines = fmt::layer()
        // A failed write of the log must not end the work.
        .log_internal_errors(false)
        .with_writer(move || Cleaned(writer()))
        .fmt_fields(JsonFields::new())
        .event_format(form);
    Box::new(tracing_subscriber::registry().with(lines.with_filter(filter)))
}

/// A writer that escapes everything that can disturb a terminal.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    /// A formatted event arrives in one write and leaves in one write.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let lines = text.split_inclusive('\n').map(Clean::event);
        let clean: String = lines.map(Clean::into_string).collect();
        self.0.write_all(clean.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that the writers of a log share.
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().map_or(Ok(0), |mut lines| lines.write(bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_one_line_in_the_form_of_the_log() {
        let form = Form::new(Style::Json, false, false);
        let lines = Lines::default();
        let writer = lines.clone();
        log_panic(form, "first\nsecond", "src/a.rs:1:2", move || {
            writer.clone()
        });
        let written = lines
            .0
            .lock()
            .map(|lines| lines.clone())
            .unwrap_or_default();
        let written = String::from_utf8_lossy(&written);
        assert_eq!(written.lines().count(), 1, "{written}");
        let line: serde_json::Value = serde_json::from_str(&written).unwrap_or_default();
        assert_eq!(line["level"], "ERROR", "{written}");
        assert_eq!(line["message"], "a bug ends the process", "{written}");
        assert_eq!(line["panic"], "first\nsecond", "{written}");
        assert_eq!(line["place"], "src/a.rs:1:2", "{written}");
    }

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
