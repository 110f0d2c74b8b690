//! `make demo`: shows agent-sync on a throwaway PostgreSQL. On a terminal, it waits for Enter before
//! each step; `--fast` (`make demo FAST=1`) goes on at once.

mod daemon;
mod interactive;
mod platform;
mod show;
mod steps;
mod story;
mod tenants;

use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use daemon::Program;
use story::Stage;

/// Runs the demo. After an interrupt, it cleans up and fails.
fn main() -> anyhow::Result<ExitCode> {
    let fast = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--fast" => true,
        other => anyhow::bail!(
            "expected no argument, or --fast to go on without Enter; found: {}",
            other.join(" ")
        ),
    };
    let program = Program::find()?;
    // Starting the server blocks. A signal during the start ends this process, and the server's
    // keeper cleans up.
    let stage = Stage::set(fast)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the operating system gave no event loop")?;
    let passed = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            passed = stage.play(program) => passed,
            _ = terminate.recv() => Ok(false),
        }
    })?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
