//! `demo`: watch agent-sync work on a throwaway PostgreSQL.

use tokio::signal::unix::{SignalKind, signal};

use crate::demo::Stage;
use crate::exit::Exit;

/// Plays the demo. Interrupted, it cleans up and fails.
pub fn demo() -> anyhow::Result<Exit> {
    // Starting the server blocks. A signal that comes meanwhile ends this process, and the server's
    // keeper cleans up.
    let stage = Stage::set()?;
    super::block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let came_true = tokio::select! {
            came_true = stage.play() => came_true?,
            _ = terminate.recv() => false,
        };
        Ok(if came_true { Exit::Done } else { Exit::Failed })
    })
}
