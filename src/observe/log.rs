//! Where the log goes and in which form: standard error; for people on a terminal, as JSON for everything else.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::settings::{Log, LogFormat};

/// Starts the log. A level that is not one was refused with the settings; a second start is ignored.
pub fn init(settings: &Log) {
    let filter = EnvFilter::try_new(&settings.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        .with_timer(SystemTime)
        .with_target(false);
    let pretty = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let started = if pretty {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        builder.compact().with_ansi(colours).finish().try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish().try_init()
    };
    drop(started);
}
