//! The server that a new connection reaches, checked beside the work. The name of the server may
//! have been given to another one, which an open connection does not notice (G14).
//!
//! If a new connection reaches another server, the loop ends. If two new connections in a row fail,
//! an event reports the cause, because the other server may refuse the daemon for good. A single
//! failure can be a restart.

use std::borrow::Cow;

use tokio::task::JoinSet;

use super::ConnectionLoop;
use crate::observe::{self, Event, event};
use crate::session::{Backend, Session, SessionError};
use crate::sync::error::AttemptError;

/// The number of consecutive failed connections after which an event reports the cause.
const REPORTED_AFTER: u32 = 2;

/// The checks of one connection.
#[derive(Debug, Default)]
pub(super) struct ServerRecheck {
    running: JoinSet<Result<Backend, SessionError>>,
    /// The result of a check that has ended and was not taken yet.
    ended: Option<Result<Backend, SessionError>>,
    /// The checks since the last one that had a connection.
    failed: u32,
    /// Why no new connection is possible, where it is known.
    refusal: Option<observe::Finding>,
}

impl ServerRecheck {
    /// Waits until a check has ended. Never returns where none is running.
    pub(super) async fn end(&mut self) {
        while self.ended.is_none() {
            match self.running.join_next().await {
                Some(Ok(result)) => self.ended = Some(result),
                // Cancelled, which happens only with the connection.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }
}

/// The remedy for a new connection that fails while another is open: a pooler lets a client wait
/// where every connection of its pool is taken.
fn remedy(error: &SessionError) -> Cow<'static, str> {
    match error {
        SessionError::Silent(_) => format!(
            "{} Or the pool of a pooler is full: agent-sync needs three of its connections for a \
            database.",
            error.remedy()
        )
        .into(),
        error => error.remedy(),
    }
}

impl ConnectionLoop<'_> {
    /// Begins a check, unless one is running.
    pub(super) fn begin_server_recheck(&mut self) {
        if self.server_recheck.running.is_empty() && !self.server_recheck.has_ended() {
            let database = self.context.database.clone();
            let own = self.session.backend().clone();
            let connects = self.context.turns.connects.clone();
            self.server_recheck.running.spawn(async move {
                let check = Box::pin(Session::backend_of_a_new_one(&database, &own));
                connects.run(&database.servers(), check).await
            });
        }
    }

    /// Takes the result of a check that has ended. An error if this connection is not the one to
    /// work with.
    pub(super) fn finish_server_recheck(&mut self) -> Result<(), AttemptError> {
        let running = &mut self.server_recheck.running;
        let ended = self.server_recheck.ended.take();
        match ended.or_else(|| running.try_join_next()?.ok()) {
            Some(Ok(other)) => {
                self.server_recheck.failed = 0;
                if self.server_recheck.refusal.take().is_some() {
                    self.tell_in_force();
                }
                let own = self.session.backend();
                if other == *own {
                    // At the start, a second connection was not possible (`session::proof`).
                    return Err(SessionError::Pooler.into());
                }
                if other.server != own.server {
                    return Err(AttemptError::Moved);
                }
            }
            // The open connection may use the last free connection slot of the server.
            Some(Err(error)) if !error.is_for_want_of_places() => self.note_refusal(&error),
            Some(Err(_)) | None => {}
        }
        Ok(())
    }

    fn note_refusal(&mut self, error: &SessionError) {
        self.server_recheck.failed = self.server_recheck.failed.saturating_add(1);
        if self.server_recheck.failed < REPORTED_AFTER {
            return;
        }
        let schema = self.session.db().schema();
        let cause = schema.localize_message(&error.to_string()).into_owned();
        let refusal = observe::Finding {
            what: format!(
                "a new connection to this database fails, and the present one goes on: {cause}"
            ),
            remedy: schema.localize_message(&remedy(error)).into_owned(),
            misses_changes: false,
        };
        if self.server_recheck.refusal.as_ref() == Some(&refusal) {
            return;
        }
        self.context.observer.tell(event::Connection::NewFails {
            cause: &cause,
            remedy: &refusal.remedy,
        });
        self.server_recheck.refusal = Some(refusal);
        self.tell_in_force();
    }

    /// Publishes all findings in force, reported before or not.
    pub(super) fn tell_in_force(&self) {
        let findings: Vec<_> = self
            .in_force
            .iter()
            .chain(&self.server_recheck.refusal)
            .cloned()
            .chain(self.lock_in_force())
            .chain(self.unsettled.in_force())
            .collect();
        self.context.observer.tell(Event::InForce(&findings));
    }
}
