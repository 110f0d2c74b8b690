//! Where the log goes and in which form: standard error; for people on a terminal, as JSON for everything else.

use std::io::{IsTerminal as _, stderr};

use tracing::Subscriber;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, layer::SubscriberExt as _};

use crate::settings::{Log, LogFormat};

/// The running log: its level can be changed, its form cannot.
#[derive(Debug)]
pub struct Logging {
    level: Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Starts the log. A second start in a process is ignored.
    pub fn start(settings: &Log) -> Self {
        let (filter, level) = reload::Layer::new(filter(settings));
        // Only a log that was started before can be in the way.
        let _ = subscriber(settings, filter).try_init();
        Self { level }
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
) -> Box<dyn Subscriber + Send + Sync> {
    let terminal = stderr().is_terminal();
    let pretty = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    // A log that cannot be written must not end the work.
    let lines =
        fmt::layer().log_internal_errors(false).with_writer(stderr).with_timer(SystemTime).with_target(false);
    let lines = if pretty {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        lines.compact().with_ansi(colours).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    Box::new(tracing_subscriber::registry().with(filter).with(lines))
}
