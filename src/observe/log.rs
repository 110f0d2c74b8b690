//! Where the log goes and in which form: standard error; for people on a terminal and in the journal, as JSON for everything else.
//!
//! A thread of its own writes it, so that a reader of standard error who does not read on holds up no database. Lines that such a reader leaves no
//! room for are dropped, and counted.

use std::io::{IsTerminal as _, stderr};

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _};

use super::journal::{self, Prioritised};
use crate::settings::{Log, LogFormat};

/// How many lines wait for their reader at most.
const LINES: usize = 16 * 1024;

/// The running log: its level can be changed, its form cannot. When it is dropped, what waits is written, if that takes no longer than a second.
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
        Self { level, dropped, _writes_what_waits: guard }
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
    let lines = fmt::layer().log_internal_errors(false).with_writer(writer).with_ansi(colours);
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
        let form = form.json().flatten_event(true).with_current_span(false).with_span_list(false);
        if journal { lines.event_format(Prioritised(form)).boxed() } else { lines.event_format(form).boxed() }
    };
    Box::new(tracing_subscriber::registry().with(filter).with(lines))
}
