//! What later passes have to know of a pass: as hashes, and bounded (G12).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::survey::Comparison;

/// The most agents of each kind that are remembered.
const REMEMBERED: usize = 10_000;

/// The facts of a pass that later ones have to know.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The edited configurations: the agents and the versions.
    edited: HashMap<u64, u64>,
    /// The agents that were put into the outbox, and what for.
    enqueued: HashMap<u64, u64>,
    /// Whether one of `enqueued` is new, so that the next pass has to find out whether that has
    /// helped.
    pub(super) is_to_verify: bool,
}

impl Remembered {
    /// Remembers an edited configuration.
    pub(super) fn add_edited(&mut self, agent: u64, versions: u64) {
        insert(&mut self.edited, agent, versions);
    }

    /// Remembers an agent that this pass has put into the outbox. What there is no room for is
    /// verified by no pass.
    pub(super) fn add_enqueued(&mut self, agent: u64, aim: u64) {
        self.is_to_verify |= insert(&mut self.enqueued, agent, aim);
    }

    /// Remembers an agent that was put into the outbox in vain.
    pub(super) fn add_stuck(&mut self, agent: u64, aim: u64) {
        insert(&mut self.enqueued, agent, aim);
    }

    /// Keeps an agent that is still in the outbox: whether that helps is not known.
    pub(super) fn keep_pending(&mut self, comparison: &Comparison, before: &Self) {
        let agent = comparison.pending.then(|| hash(&comparison.key));
        if let Some(agent) = agent
            && let Some(aim) = before.enqueued.get(&agent)
        {
            insert(&mut self.enqueued, agent, *aim);
        }
    }

    /// Adds those of a later pass. Too many edits are forgotten, but for these; of the
    /// agents that were put into the outbox, those that the later pass has met again are kept.
    pub(super) fn merge(&mut self, later: Self) {
        if self.edited.len() + later.edited.len() > REMEMBERED {
            self.edited.clear();
        }
        self.edited.extend(later.edited);
        self.enqueued = later.enqueued;
        self.is_to_verify = later.is_to_verify;
    }

    /// Whether a pass has found these versions of the configurations of an agent to be edited.
    pub(super) fn has_edited(&self, (agent, versions): (u64, u64)) -> bool {
        self.edited.get(&agent) == Some(&versions)
    }

    /// Whether a pass before has put this agent into the outbox for the same aim: in vain.
    pub(super) fn has_enqueued(&self, agent: u64, aim: u64) -> bool {
        self.enqueued.get(&agent) == Some(&aim)
    }
}

/// Returns whether the agent is kept.
fn insert(of: &mut HashMap<u64, u64>, agent: u64, value: u64) -> bool {
    let is_kept = of.len() < REMEMBERED || of.contains_key(&agent);
    if is_kept {
        of.insert(agent, value);
    }
    is_kept
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent is stuck if the next pass meets it with the same aim.
    #[test]
    fn g17_an_agent_that_is_enqueued_in_vain_is_stuck() {
        let (mut remembered, mut seen) = (Remembered::default(), Remembered::default());
        assert!(!remembered.has_enqueued(7, 1));
        seen.add_enqueued(7, 1);
        seen.add_edited(8, 1);
        remembered.merge(seen);
        assert!(remembered.has_enqueued(7, 1) && remembered.is_to_verify);
        // Something else is to be noted or written by now.
        assert!(!remembered.has_enqueued(7, 2));
        assert!(!remembered.has_enqueued(8, 1) && remembered.has_edited((8, 1)));
        // It stays so as long as each pass finds it, and no pass has to verify it again.
        let mut seen = Remembered::default();
        seen.add_stuck(7, 1);
        remembered.merge(seen);
        assert!(remembered.has_enqueued(7, 1) && !remembered.is_to_verify);
        remembered.merge(Remembered::default());
        assert!(!remembered.has_enqueued(7, 1) && remembered.has_edited((8, 1)));
    }

    /// G12: an agent without room is not kept, and no pass is made for it.
    #[test]
    fn g12_the_remembered_agents_are_bounded() {
        let mut seen = Remembered::default();
        (0..=REMEMBERED as u64).for_each(|agent| seen.add_stuck(agent, 1));
        seen.add_enqueued(u64::MAX, 1);
        assert_eq!(
            (seen.enqueued.len(), seen.is_to_verify),
            (REMEMBERED, false)
        );
        seen.add_enqueued(0, 2);
        assert!(seen.has_enqueued(0, 2) && seen.is_to_verify);
    }
}
