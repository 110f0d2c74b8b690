//! What the passes of an audit have found, each told once.

use std::time::SystemTime;

use super::pass::Pass;
use crate::observe::compared::Unnoticed;
use crate::observe::{Event, Observer, event};
use crate::settings::Repair;
use crate::store::Finding;

/// The last reports.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// The edited configurations: how many agents, and some slugs.
    edited: Last<(u64, Vec<String>)>,
    /// The agents that were put into the outbox in vain.
    stuck: Last<(u64, Vec<String>)>,
    /// The agents whose configurations do not keep what the daemon writes.
    reverted: Last<(u64, Vec<String>)>,
    /// The agents that could not be read.
    unread: Last<(u64, Vec<String>)>,
    /// The indexes that lie.
    indexes: Vec<Finding>,
}

/// The last report of one kind.
#[derive(Debug, Default)]
struct Last<T>(T);

impl<T: PartialEq> Last<T> {
    /// Takes the place of the last one. Returns whether it differs.
    fn replace(&mut self, report: T) -> bool {
        let differs = self.0 != report;
        self.0 = report;
        differs
    }
}

impl Reports {
    /// Reports the indexes by which agents or configurations would be passed over.
    pub(super) fn indexes(&mut self, observer: &Observer, lies: &[Finding]) {
        let known = std::mem::replace(&mut self.indexes, lies.to_vec());
        for found in lies.iter().filter(|found| !known.contains(found)) {
            let (finding, remedy) = (found.to_string(), found.remedy());
            observer.tell(Event::Found {
                finding: &finding,
                remedy: &remedy,
            });
        }
    }

    /// Reports the agents that a complete pass has found.
    pub(super) fn pass(
        &mut self,
        observer: &Observer,
        pass: &Pass,
        at: SystemTime,
        repair: Repair,
    ) {
        let agents = pass.found.counts.unnoticed;
        if agents > 0 {
            let some = pass.unnoticed.clone().into();
            observer.tell(event::Audit::Unnoticed(&Unnoticed { at, agents, some }));
        }
        let (agents, some) = (pass.edited_agents, &pass.edited);
        let are_enqueued = repair == Repair::Reconcile;
        // What another pass has put into the outbox is news, even if the agents are the same.
        if (self.edited.replace((agents, some.clone())) || are_enqueued) && agents > 0 {
            observer.tell(event::Audit::Edited {
                agents,
                some,
                are_enqueued,
            });
        }
        let (agents, some) = (pass.found.counts.reverted, &pass.reverted);
        if self.reverted.replace((agents, some.clone())) && agents > 0 {
            observer.tell(event::Audit::Reverted { agents, some });
        }
        let (agents, some) = (pass.stuck_agents, &pass.stuck);
        if self.stuck.replace((agents, some.clone())) && agents > 0 {
            observer.tell(event::Audit::Stuck { agents, some });
        }
        let (agents, some) = (pass.unread_agents, &pass.unread);
        if self.unread.replace((agents, some.clone())) && agents > 0 {
            observer.tell(event::Audit::Unread { agents, some });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Last;

    /// A repeated finding is told once, and again after it was gone.
    #[test]
    fn g17_a_report_is_news_until_it_is_told() {
        let mut last = Last::<(u64, Vec<String>)>::default();
        let some = |agents| (agents, vec!["a".to_owned()]);
        assert!(last.replace(some(1)));
        assert!(!last.replace(some(1)));
        assert!(last.replace(some(2)));
        assert!(last.replace((0, Vec::new())));
        assert!(last.replace(some(2)));
    }
}
