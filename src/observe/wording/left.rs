//! The log lines of an agent that stays in the outbox for a while.

use std::time::Duration;

use tracing::warn;

use super::fields;
use crate::key::Key;
use crate::observe::event::Holdup;
use crate::settings::InstallSchema;

/// The remedy where a write is held up.
const WRITE_REMEDY: &str = "List them: SELECT slug, since FROM agent_sync.state WHERE pending; \
    then find the cause: a session or prepared transaction that has the configuration locked \
    (`agent-sync doctor` names the oldest), a trigger that takes long or raises 55P03, or a row of \
    agent_sync.outbox that cannot be deleted.";

/// The remedy where the turn is held up.
const TURN_REMEDY: &str = "Of the other databases of this daemon, one has slow writes of large \
    agents: its own log lines name the agent, and `agent-sync doctor` the transactions. Speed up \
    the triggers on its configurations, or serve one of the two databases with a daemon of its \
    own.";

pub(super) fn line(key: &Key<'_>, since: Duration, holdup: Holdup, schema: &InstallSchema) {
    let (seconds, (tenant, slug)) = (since.as_secs(), fields(key));
    match holdup {
        Holdup::Write => {
            let remedy = schema.localize_message(WRITE_REMEDY);
            warn!(
                tenant,
                slug,
                seconds,
                remedy = &*remedy,
                "an agent is not in sync yet and stays in the outbox; the daemon retries"
            );
        }
        Holdup::Turn => warn!(
            tenant,
            slug,
            seconds,
            remedy = TURN_REMEDY,
            "an agent is not in sync yet: it is large, and waits for another database of this \
            daemon, which has the turn of heavy work; the daemon retries"
        ),
    }
}
