//! When a pass of the audit begins.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use crate::mapping::Rules;
use crate::sync::context::Lead;

/// Why a pass begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The rules or the columns have changed.
    Mapping,
    /// It is time.
    Due,
}

/// The next pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    pub(super) at: Instant,
    /// Whether it needs the lead. After a change of the mapping every daemon counts what differs
    /// under its own.
    pub(super) needs_lead: bool,
}

/// Returns when the rules have changed.
pub(super) async fn changed(rules: &mut watch::Receiver<Arc<Rules>>) {
    if rules.changed().await.is_err() {
        // Nobody can change them any more.
        std::future::pending::<()>().await;
    }
}

/// Returns when it is time for a pass, and this process leads where that is needed.
pub(super) async fn due(next: Option<Next>, lead: &mut watch::Receiver<Lead>) {
    let Some(next) = next else {
        return std::future::pending().await;
    };
    tokio::time::sleep_until(next.at.into()).await;
    if next.needs_lead && lead.wait_for(|lead| *lead != Lead::None).await.is_err() {
        std::future::pending::<()>().await;
    }
}
