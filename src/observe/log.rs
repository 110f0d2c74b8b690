//! The log on standard error: text on a terminal and in the journal, JSON otherwise.
//!
//! A separate thread writes it, so a reader of standard error that stalls does not delay the
//! databases. If the buffer is full, lines are dropped and counted.

use std::io::{self, IsTerminal as _, Write, stderr};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _};

use super::journal::{self, Prioritised};
use crate::settings::{Log, LogFormat};
use crate::show::Clean;

/// The largest number of buffered lines.
const LINES: usize = 16 * 1024;

/// The running log. Its level can be changed, its format cannot. Dropping it writes the buffered
/// lines, for at most a second.
#[derive(Debug)]
pub struct Logging {
    level: Handle<EnvFilter, Registry>,
    dropped: ErrorCounter,
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
        let dropped = writer.error_counter();
        // It fails only if a log was started before.
        let _ = subscriber(settings, filter, move || writer.clone()).try_init();
        let settings = settings.clone();
        std::panic::set_hook(Box::new(move |panic| {
            // The process ends at once, so this line is written here, and not by the thread.
            let text = panic.payload();
            let text = text
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| text.downcast_ref::<String>().map(String::as_str));
            let place = panic.location().map(ToString::to_string);
            log_panic(
                &settings,
                text.unwrap_or_default(),
                &place.unwrap_or_default(),
                stderr,
            );
        }));
        Self {
            level,
            dropped,
            _flush_on_drop: guard,
        }
    }

    /// The number of lines dropped so far.
    pub fn dropped(&self) -> usize {
        self.dropped.dropped_lines()
    }

    /// Applies the level of new settings.
    pub fn reload(&self, settings: &Log) {
        // A log that was started elsewhere keeps its level.
        let _ = self.level.reload(filter(settings));
    }
}

/// The filter of the settings. The settings have already refused an invalid level.
fn filter(settings: &Log) -> EnvFilter {
    EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"))
}

/// Logs a panic, in the form of the other lines.
fn log_panic<W: Write + 'static>(
    settings: &Log,
    panic: &str,
    place: &str,
    writer: impl Fn() -> W + Send + Sync + 'static,
) {
    let subscriber = subscriber(settings, EnvFilter::new("error"), writer);
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

fn subscriber<W: Write + 'static>(
    settings: &Log,
    filter: impl tracing_subscriber::Layer<Registry> + Send + Sync,
    writer: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Subscriber + Send + Sync> {
    let (terminal, journal) = (stderr().is_terminal(), journal::is_stderr());
    let pretty = match settings.format {
        LogFormat::Auto => terminal || journal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A failed write of the log must not end the work.
    let lines = fmt::layer()
        .log_internal_errors(false)
        .with_writer(move || Cleaned(writer()))
        .with_ansi(colours);
    let form = fmt::format().with_timer(SystemTime).with_target(false);
    let lines = if pretty {
        let form = form.compact();
        if journal {
            // The journal adds the time itself.
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

/// A writer that escapes everything that can disturb a terminal.
struct Cleaned<W>(W);

impl<W: Write> Write for Cleaned<W> {
    /// A formatted event arrives in one write and leaves in one write.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(
            Clean::event(&String::from_utf8_lossy(event))
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
        let settings = Log {
            format: LogFormat::Json,
            level: "off".to_owned(),
        };
        let lines = Lines::default();
        let writer = lines.clone();
        log_panic(&settings, "first\nsecond", "src/a.rs:1:2", move || {
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
