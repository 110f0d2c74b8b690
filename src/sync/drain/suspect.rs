//! The suspect: the agent that a connection begins with, or a dangerous one after a scan. It is
//! noted before it is tried, so that an agent on which connections end is known and set aside
//! (`store::suspect`).

use super::Drain;
use crate::pg::sqlstate::CONNECTION_ENDED;
use crate::store::Suspect;
use crate::sync::context::Tools;
use crate::sync::error::AttemptError;

impl Drain {
    /// Notes the agent that this connection begins with, or sets it aside.
    pub(super) async fn note_suspect(&mut self, tools: Tools<'_>) -> Result<(), AttemptError> {
        let store = tools.store;
        match store.note_suspect(self.from).await? {
            Suspect::Noted => self.suspect_is_done = false,
            Suspect::None => self.suspect_is_done = true,
            Suspect::TooOften { times } => {
                let detail = format!(
                    "the connection ended {times} times in a row while this agent was brought in \
                    sync"
                );
                let key = store
                    .set_aside_suspect(&detail, Some(CONNECTION_ENDED))
                    .await?;
                self.was_set_aside(
                    tools,
                    &key.unwrap_or_default(),
                    false,
                    &detail,
                    CONNECTION_ENDED,
                );
            }
        }
        self.has_noted_suspect = true;
        Ok(())
    }

    /// Forgets the suspect, if there is one: its batch is over, and the connection is not.
    pub(super) async fn forget_suspect(&mut self, tools: Tools<'_>) -> Result<(), AttemptError> {
        if !std::mem::replace(&mut self.suspect_is_done, true) {
            tools.store.forget_suspect().await?;
        }
        Ok(())
    }
}
