//! The log lines of the comparison of every agent.

use tracing::{debug, warn};

use crate::observe::compared::{self, Counts, Unnoticed};
use crate::observe::event::Audit;

pub(super) fn line(event: &Audit<'_>) {
    match event {
        Audit::Finished(result) => {
            let Counts {
                agents,
                in_sync,
                drifted,
                pending,
                problems,
                unmapped,
                unnoticed,
                ..
            } = result.counts;
            debug!(
                agents,
                in_sync,
                drifted,
                pending,
                problems,
                unmapped,
                unnoticed,
                "every agent has been compared"
            );
        }
        Audit::Known(..) => {}
        Audit::Unnoticed(Unnoticed { agents, some, .. }) => {
            let (some, remedy) = (some.join(", "), compared::UNNOTICED_REMEDY);
            warn!(
                agents,
                some,
                remedy,
                "changes of agents were never noticed: a fault of the capture; the audit has put \
                the agents into the outbox"
            );
        }
        Audit::Edited {
            agents,
            some,
            are_enqueued,
        } => edited(*agents, &some.join(", "), *are_enqueued),
        Audit::Stuck { agents, some } => {
            let some = some.join(", ");
            warn!(
                agents,
                some,
                remedy = compared::STUCK_REMEDY,
                "what is noted of these agents is out of date, and putting them into the outbox \
                does not help: a fault of agent-sync"
            );
        }
        Audit::Reverted { agents, some } => reverted(*agents, &some.join(", ")),
        Audit::Unread { agents, some } => unread(*agents, &some.join(", ")),
        Audit::Interrupted(cause) => warn!(
            cause,
            "the audit is interrupted: whether every agent is in sync is unknown; the daemon \
            tries again"
        ),
    }
}

fn reverted(agents: u64, some: &str) {
    warn!(
        agents,
        some,
        remedy = compared::REVERTED_REMEDY,
        "the configurations of these agents do not keep what the daemon writes: they differ as \
        before, after the audit has put the agents into the outbox"
    );
}

fn unread(agents: u64, some: &str) {
    warn!(
        agents,
        some,
        remedy = compared::UNREAD_REMEDY,
        "the audit has passed over agents that could not be read, or not in time"
    );
}

fn edited(agents: u64, some: &str, are_enqueued: bool) {
    if are_enqueued {
        warn!(
            agents,
            some,
            remedy = "`agent-sync why SLUG` shows one of them.",
            "configurations were edited and differ from their agents; the audit has put the agents \
            into the outbox (audit.repair)"
        );
    } else {
        warn!(
            agents,
            some,
            remedy = compared::DRIFT_REMEDY,
            "configurations were edited and differ from their agents; the audit leaves them as \
            they are (audit.repair)"
        );
    }
}
