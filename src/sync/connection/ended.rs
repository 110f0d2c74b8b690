//! The cause of the end of a connection, as its driver has noted it.

use super::ConnectionLoop;
use crate::pg::QueryError;
use crate::sync::error::AttemptError;

impl ConnectionLoop<'_> {
    /// The error; or, for a statement whose connection ended, the cause that the driver has noted.
    /// The error of the statement does not have it.
    pub(super) fn ended(&self, error: AttemptError) -> AttemptError {
        match error {
            AttemptError::Store(QueryError::Postgres(lost))
                if lost.is_closed() && self.session.inbox().is_closed() =>
            {
                self.closed()
            }
            error => error,
        }
    }

    /// The end of the connection, with the cause that the driver has noted.
    pub(super) fn closed(&self) -> AttemptError {
        let inbox = self.session.inbox();
        if inbox.is_unreadable() {
            AttemptError::Unreadable(inbox.cause())
        } else {
            AttemptError::Closed(inbox.cause())
        }
    }
}
