//! The effect of other rules on one agent, compared with the rules in force. Pure.
//!
//! A configuration that differs from the rules in force is brought in sync with them first, in
//! memory, so the differences are those of the rules alone.

use crate::mapping::{self, Agent, Configuration, Difference, Mistake, Rules, Targets, diff};

use super::verdict::changed;

/// The effect of other rules on one agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// The fields that they would change, over all configurations of the agent.
    pub differences: Vec<Difference>,
    /// The mistakes for which they would reject the agent, and the rules in force do not.
    pub mistakes: Vec<Mistake>,
    /// Whether the rules in force reject the agent, and the others would not.
    pub accepted: bool,
}

impl Planned {
    /// Whether the rules would change something.
    pub fn is_change(&self) -> bool {
        !self.differences.is_empty() || !self.mistakes.is_empty() || self.accepted
    }

    /// Adds one configuration of the agent.
    pub(super) fn add(
        &mut self,
        (rules, other): (&Rules, &Rules),
        targets: &Targets,
        agent: &Agent<'_>,
        current: &Configuration<'_>,
    ) {
        let before = mapping::plan(rules, targets, agent, current);
        let settled = match &before {
            Ok(plan) => changed(current, &plan.changes),
            Err(_) => *current,
        };
        match mapping::plan(other, targets, agent, &settled) {
            Ok(plan) => {
                self.accepted |= before.is_err();
                let after = changed(&settled, &plan.changes);
                let found = diff(other, &settled, &after).differences;
                let is_known = |one: &Difference| {
                    let mut known = self.differences.iter();
                    known.any(|known| known.path() == one.path())
                };
                let new: Vec<_> = found.into_iter().filter(|one| !is_known(one)).collect();
                self.differences.extend(new);
            }
            Err(rejection) => {
                let known = before
                    .err()
                    .map(|before| before.mistakes)
                    .unwrap_or_default();
                for mistake in rejection.mistakes {
                    if !known.contains(&mistake) && !self.mistakes.contains(&mistake) {
                        self.mistakes.push(mistake);
                    }
                }
            }
        }
    }
}
