//! The one-shot drain: a command drains the outbox itself where no daemon leads. It takes the
//! leader lock and runs the ordinary drain.
//!
//! Invariant: only the holder of the leader lock writes (G2), so a one-shot drain that does not get
//! it does nothing. It does not sleep, listen, sweep or retry; the next daemon finds the rest.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::connection;
use super::context::{Context, Options, Tools};
use super::drain::{Drain, Drained};
use super::error::{AttemptError, refuse_pause};
use super::protocol::Input;
use super::slow::Slow;
use crate::mapping::Rules;
use crate::observe::Observer;
use crate::session::Session;
use crate::settings::Database;
use crate::store::{ForeignCode, LeadAttempt, Store};

/// The pause between two scans, where nothing more can be taken now (glossary: left).
const SCAN_PAUSE: Duration = Duration::from_millis(50);

/// A drain that holds the leader lock of a database.
pub struct OneShotDrain {
    context: Context,
    rules: Arc<Rules>,
    /// The connection of the store, which ends with it.
    _session: Session,
    store: Store,
    drain: Drain,
}

impl OneShotDrain {
    /// Takes the leader lock. None if another session has it.
    pub async fn acquire(
        database: &Database,
        options: Options,
        rules: Arc<Rules>,
    ) -> Result<Option<Self>, AttemptError> {
        let (_, kept) = watch::channel(Arc::clone(&rules));
        let observer = Observer::new(&*database.name);
        let context = Context::new(database.clone(), options, kept, observer);
        let (session, mut store) = Box::pin(connection::connect(&context)).await?;
        match store.try_lead().await? {
            LeadAttempt::Taken => {}
            LeadAttempt::Held => return Ok(None),
            LeadAttempt::Paused(pause) => return Err(AttemptError::Paused(Box::new(pause))),
        }
        store.note_mapping_to_write(&rules).await?;
        session.plan_for_batches().await?;
        let drain = Drain::new(
            connection::batch_size(&context, &mut store).await?,
            Slow::new(context.options.sync.statement_timeout),
            // It works until it is told to stop, and nobody has to wake it.
            false,
        );
        Ok(Some(Self {
            context,
            rules,
            _session: session,
            store,
            drain,
        }))
    }

    /// One batch of the rows in the outbox. False, after a short wait, where nothing is left that
    /// can be taken now.
    pub async fn drain_batch(&mut self) -> Result<bool, AttemptError> {
        let tools = Tools {
            store: &self.store,
            rules: &self.rules,
            observer: &self.context.observer,
            announce: self.context.options.announce.channel.as_deref(),
            foreign_code: ForeignCode::WithTheCommit,
            heavy: &self.context.turns.batches,
            near: &self.context.near,
        };
        let step = self.drain.step(tools).await;
        if matches!(step, Err(AttemptError::LostLead)) {
            refuse_pause(&self.store).await?;
        }
        if let Drained::Sleep { .. } = step? {
            self.drain.tell(Input::Unannounced);
            tokio::time::sleep(SCAN_PAUSE).await;
            return Ok(false);
        }
        Ok(true)
    }

    /// Releases the leader lock, so that a standby can take it at once.
    pub async fn release(mut self) -> Result<(), AttemptError> {
        if let Some(at) = self.drain.take_last_write() {
            self.store.note_last_sync(at.elapsed()).await?;
        }
        Ok(self.store.stand_down().await?)
    }
}
