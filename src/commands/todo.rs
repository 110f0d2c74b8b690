//! The agents that `reconcile` has to process in one database.

use crate::survey::{Comparison, Verdict};

/// Their keys, by purpose. A NUL ends each key, because no text in PostgreSQL has one; there may
/// be a million of them, so they share one string.
#[derive(Debug, Default)]
pub(super) struct Todo {
    /// Agents with a configuration that differs.
    pub(super) differing: String,
    /// Agents whose row in `agent_sync.problem` does not match the result of the mapping.
    pub(super) misnoted: String,
    /// The number of the agents with a configuration that differs.
    agents: u64,
    /// The number of their configurations that differ.
    pub(super) configurations: i64,
    /// The number of those agents that have drifted, and are not pending.
    pub(super) drifted: i64,
    /// The number of agents with a configuration that differs that are left out of the sample.
    pub(super) left_out: i64,
}

impl Todo {
    /// Whether both lists are empty.
    pub(super) fn is_empty(&self) -> bool {
        self.differing.is_empty() && self.misnoted.is_empty()
    }

    /// Adds an agent, unless the sample is complete. A sample is about configurations alone.
    pub(super) fn add(&mut self, comparison: &Comparison, sample: Option<u64>) {
        let differs = match comparison.verdict() {
            Verdict::Drifted | Verdict::Pending => true,
            Verdict::Rejected => comparison.differing.number > 0,
            _ => false,
        };
        if differs && sample.is_some_and(|most| self.agents >= most) {
            self.left_out += 1;
            return;
        }
        let list = if differs {
            self.agents += 1;
            self.drifted += i64::from(comparison.verdict() == Verdict::Drifted);
            self.configurations += i64::try_from(comparison.differing.number).unwrap_or(i64::MAX);
            &mut self.differing
        } else if sample.is_none() && comparison.is_misnoted() && comparison.is_sent {
            &mut self.misnoted
        } else {
            return;
        };
        list.push_str(&comparison.key);
        list.push('\0');
    }
}
