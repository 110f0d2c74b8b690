//! `run`: keep the databases in sync until told to stop (I4).

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};

use crate::cli::Databases;
use crate::exit::Exit;
use crate::observe;
use crate::settings;
use crate::sync::{Fleet, Options};

/// Runs until SIGTERM or SIGINT.
pub fn run(config: Option<&Path>, args: &Databases) -> anyhow::Result<Exit> {
    let settings = settings::load_or_fault(config)?.settings;
    let databases = settings.select(&args.names)?;
    let rules = Arc::new(super::rules(&settings)?);
    observe::init(&settings.log);

    super::block_on(async {
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        info!(version = env!("CARGO_PKG_VERSION"), databases = databases.len(), "agent-sync starts");
        let mut fleet = Fleet::start(databases, &Options::of(&settings), &rules);
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = fleet.failure() => {
                error!("a database's task ended though it was not told to; the process ends, to be started afresh");
                return Ok(Exit::Failed);
            }
        };
        info!(signal, "stopping after the running batch");
        if !fleet.stop(settings.shutdown.grace_period).await {
            warn!(
                "a batch did not end in time; the server undoes it, and it is done again at the next start"
            );
        }
        Ok(Exit::Done)
    })
}

fn listen(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("the operating system refused to deliver signals")
}
