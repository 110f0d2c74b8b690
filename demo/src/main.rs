//! `make demo`: agent-sync at work on a throwaway PostgreSQL.

mod daemon;
mod encore;
mod platform;
mod show;
mod steps;
mod story;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use daemon::Program;
use story::Stage;

/// Plays the demo. Interrupted, it cleans up and fails.
fn main() -> anyhow::Result<ExitCode> {
    let program = Program::find()?;
    // Starting the server blocks. A signal that comes meanwhile ends this process, and the server's
    // keeper cleans up.
    let stage = Stage::set()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the operating system gave no event loop")?;
    let came_true = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            came_true = stage.play(program) => came_true,
            _ = terminate.recv() => Ok(false),
        }
    })?;
    Ok(if came_true {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
