//! The result of the comparison of every agent with its configurations: plain data, bounded.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// The remedy for configurations that differ.
pub const DRIFT_REMEDY: &str =
    "`agent-sync check` lists them, `agent-sync reconcile --all` brings them in sync.";

/// The remedy for configurations that do not keep what the daemon writes.
pub const REVERTED_REMEDY: &str = "`agent-sync why SLUG` shows the fields. Find what changes them: \
    a BEFORE UPDATE trigger on the configurations, another program that writes them, or the type \
    of a column. Then run `agent-sync reconcile --all`.";

/// The remedy for changes of agents that were never noticed.
pub const UNNOTICED_REMEDY: &str = "The changes are being applied. Find the cause: `agent-sync \
    doctor` checks the capture, and the log of the server may show who has deleted rows of the \
    outbox.";

/// The remedy for agents that an audit has put into the outbox in vain.
pub const STUCK_REMEDY: &str = "`agent-sync why SLUG` shows one of them, and `agent-sync doctor` \
    checks the database. Report it with both outputs.";

/// The remedy for agents that an audit has passed over.
pub const UNREAD_REMEDY: &str = "`agent-sync why SLUG` shows whether one of them can be read. \
    Give an agent with very many configurations fewer of them or shorter texts; see the log of the \
    server where their storage is damaged.";

/// The time for which a finding tells of changes that were never noticed.
pub const TOLD_FOR: Duration = Duration::from_secs(24 * 3600);

/// The number of slugs that an event names.
pub const NAMED: usize = 3;

/// The numbers of agents and configurations by the result of their comparison.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// The agents that were compared.
    pub agents: u64,
    /// Those whose every configuration equals their mapping.
    pub in_sync: u64,
    /// Those with a configuration that differs, which no pending change and no problem explains.
    pub drifted: u64,
    /// Those of `drifted` that were put into the outbox in vain: their configurations do not keep
    /// what the daemon writes.
    #[serde(default)]
    pub reverted: u64,
    /// Those that are in the outbox.
    pub pending: u64,
    /// Those with a problem.
    pub problems: u64,
    /// Those with a voice setting that no rule reads.
    pub unmapped: u64,
    /// Those with a change that was never noticed. They are in the outbox by now.
    pub unnoticed: u64,
    /// Those that the comparison has put into the outbox. Its name in `agent_sync.install.audit` is
    /// an older one.
    #[serde(rename = "requested")]
    pub enqueued: u64,
    /// Configurations that differ and that nothing is going to write: the configurations of
    /// `drifted` agents; and, after a change of the rules, rejected agents without a problem noted.
    pub differing: u64,
    /// Configurations in sync.
    pub equal: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.agents += other.agents;
        self.in_sync += other.in_sync;
        self.drifted += other.drifted;
        self.reverted += other.reverted;
        self.pending += other.pending;
        self.problems += other.problems;
        self.unmapped += other.unmapped;
        self.unnoticed += other.unnoticed;
        self.enqueued += other.enqueued;
        self.differing += other.differing;
        self.equal += other.equal;
    }

    /// The known cause for which configurations differ, to go on a sentence.
    pub fn cause_of_drift(&self) -> String {
        match self.reverted {
            0 => String::new(),
            1 => "; the configurations of 1 agent do not keep what the daemon writes".to_owned(),
            number => format!(
                "; the configurations of {number} agents do not keep what the daemon writes"
            ),
        }
    }

    /// The remedy for configurations that differ.
    pub fn remedy_of_drift(&self) -> &'static str {
        match self.reverted {
            0 => DRIFT_REMEDY,
            _ => REVERTED_REMEDY,
        }
    }
}

/// The result of the last comparison of every agent. The daemon compares at `audit.interval`, after
/// a change of the rules, and again while a configuration differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// The time of its end.
    pub at: SystemTime,
    /// The numbers.
    pub counts: Counts,
}

/// Changes of agents that were never noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unnoticed {
    /// The time of the comparison that found them.
    pub at: SystemTime,
    /// Their number.
    pub agents: u64,
    /// The slugs of some of them.
    pub some: Arc<[String]>,
}

impl Unnoticed {
    /// The finding, in words.
    pub fn sentence(&self) -> String {
        let (changes, were) = match self.agents {
            1 => ("change of an agent", "was"),
            _ => ("changes of agents", "were"),
        };
        format!(
            "{} {changes} {were} never noticed: a fault of the capture; the audit has put the \
            agents into the outbox: {}",
            self.agents,
            self.some.join(", ")
        )
    }
}
