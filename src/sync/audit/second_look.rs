//! The second look at the agents that a portion has found to differ, and what follows from it.
//!
//! The versions of the rows tell two causes apart, without a cost for any save or batch:
//! - The configuration has the younger version: somebody has edited it after the last write of the
//!   daemon.
//! - The agent has the younger version, and nothing is pending: its change was never noticed. That
//!   is a fault of the capture, and the agent is put into the outbox.
//!
//! An agent that a pass has put into the outbox, and that the next one finds to differ from the
//! same values, is stuck: the configuration does not keep what the daemon writes. It is told,
//! counts as drifted, and is not put into the outbox again until other values are expected of it.
//!
//! Limits: a save of an agent that changes nothing relevant gives it a younger version, too. So the
//! edited configurations of the last pass are remembered, and stay edited as long as their versions
//! stay the same. Where the versions do not tell, a change counts as never noticed, because a fault
//! of the capture that is not told is the worse mistake. `docs/design/audit.md` lists the cases.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::pass::{Found, Ground, LONGEST, Pass};
use super::remembered::{Remembered, hash};
use crate::key::Keys;
use crate::observe::compared::{Counts, NAMED};
use crate::pg::QueryError;
use crate::settings::Repair;
use crate::show::brief;
use crate::store::surveyed::Named;
use crate::store::{Installed, Mapping, ProblemKind, enqueue, mapping};
use crate::survey::{Comparison, Scope, Verdict, survey};
use crate::sync::context::Lead;

/// The longest wait for the end of a drain before the second look.
const SETTLING: Duration = Duration::from_secs(5);

/// The limit of a slug in a report, in bytes.
const SLUG: usize = 128;

/// Whether the state of the install lets a pass tell the cause of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every configuration was last in sync under this mapping, and no missed change is known.
    Settled,
    /// Configurations may differ because of another mapping.
    OtherMapping,
    /// Changes may have been missed, and a full check is due. It will settle them.
    Unsure,
}

impl Standing {
    pub(super) async fn read(ground: &Ground<'_>) -> Result<Self, QueryError> {
        Ok(Self::with_count(ground).await?.0)
    }

    /// With the count of missed changes.
    async fn with_count(ground: &Ground<'_>) -> Result<(Self, Option<Installed>), QueryError> {
        let installed = Installed::read(ground.db).await?;
        let is_sure = installed.is_some_and(|installed| !installed.owes_check());
        let standing = match mapping(ground.db, &ground.mapping).await? {
            Mapping::Other | Mapping::Mixed => Self::OtherMapping,
            Mapping::Same if is_sure => Self::Settled,
            Mapping::Same | Mapping::Unknown => Self::Unsure,
        };
        Ok((standing, installed))
    }
}

fn hashes(comparison: &Comparison) -> (u64, u64) {
    let mut versions = comparison.versions.of_configurations.clone();
    versions.sort_unstable();
    (hash(&comparison.key), hash(&versions))
}

/// Why an agent differs that nothing explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its configuration was edited.
    Edited,
    /// Its change was never noticed.
    Unnoticed,
    /// The note about it is out of date, and its configuration is not to be written.
    Misnoted,
}

/// One such agent.
struct Case {
    why: Why,
    key: String,
    /// The agent, and the versions of its configurations that are not in sync.
    hashes: (u64, u64),
    /// The changes that its sync is to make ([`aim`]).
    aim: u64,
    /// Whether a configuration differs from a mapping that accepts the agent.
    differs: bool,
    /// Whether a pass before has put it into the outbox for the same aim, in vain.
    is_stuck: bool,
    /// The agent as it counts where nobody can tell why it differs, and where it stays as it is.
    counted: Found,
}

impl Case {
    /// Where the index of the slugs lies, the daemon does not find the agent, and a row in the
    /// outbox does not help: the cause is told, and the agent is not stuck.
    fn of(comparison: &Comparison, remembered: &Remembered, index_lies: bool) -> Self {
        let (hashes, mut counted) = (hashes(comparison), Found::default());
        counted.count(comparison);
        let aim = aim(comparison);
        Self {
            why: Why::of(comparison, remembered.has_edited(hashes)),
            key: comparison.key.clone(),
            hashes,
            aim,
            differs: comparison.verdict() == Verdict::Drifted,
            is_stuck: !index_lies && remembered.has_enqueued(hashes.0, aim),
            counted,
        }
    }

    /// Whether its configuration does not keep what the daemon writes.
    fn is_reverted(&self) -> bool {
        self.is_stuck && self.differs
    }

    /// Whether it is put into the outbox. A configuration that does not keep what the daemon writes
    /// would be written at every pass, in vain.
    fn is_enqueued(&self, repairs: bool) -> bool {
        !self.is_reverted() && (self.why != Why::Edited || repairs)
    }
}

/// The changes that the sync of an agent is to make, as a hash: the problem that is to be noted,
/// the noted one, and the values that the configurations are to get. It is the same where a sync
/// was in vain. It does not depend on the versions of the rows or their order.
fn aim(comparison: &Comparison) -> u64 {
    let noted = comparison.noted.as_ref();
    let noted = noted.map(|noted| (noted.kind.as_str(), noted.detail.as_str()));
    let differing = &comparison.differing;
    let expected = (differing.number, differing.expected);
    hash(&(comparison.verdict().problem(), noted, expected))
}

impl Why {
    fn of(comparison: &Comparison, was_edited: bool) -> Self {
        let is_edited = was_edited || !comparison.versions.agent_is_younger;
        // Nothing was written for an agent that shared its slug, and nothing announces that it
        // shares it no more.
        let noted = comparison.noted.as_ref().map(|noted| &*noted.kind);
        if noted == Some(ProblemKind::Ambiguous.name()) {
            return Self::Misnoted;
        }
        match comparison.verdict() {
            Verdict::Drifted if comparison.noted.is_none() && is_edited => Self::Edited,
            Verdict::Drifted | Verdict::Rejected if !is_edited => Self::Unnoticed,
            _ => Self::Misnoted,
        }
    }
}

/// The reason that decides on the agents of a second look that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Another mapping: they are counted.
    OtherMapping,
    /// A full check that is due, or will be: it settles them.
    FullCheck,
    /// Nothing that they share: each has a cause of its own.
    OfEach,
}

impl Reason {
    /// By the state of the install, with a count, before and after the second look.
    fn of<T: PartialEq>(before: &(Standing, T), after: &(Standing, T), awaits_check: bool) -> Self {
        match after.0 {
            Standing::OtherMapping => Self::OtherMapping,
            Standing::Unsure if awaits_check => Self::FullCheck,
            _ if before != after => Self::FullCheck,
            Standing::Unsure | Standing::Settled => Self::OfEach,
        }
    }
}

/// Looks at the agents with these keys again, once the changes that were in flight are applied.
/// An agent that has settled or is pending by now is no drift. Returns for how long it has read.
pub(super) async fn look_again(
    pass: &mut Pass,
    found: &mut Found,
    ground: &Ground<'_>,
    keys: &[&str],
    remembered: &Remembered,
    lead: &mut watch::Receiver<Lead>,
) -> Result<Duration, QueryError> {
    let draining = lead.wait_for(|lead| *lead != Lead::Working);
    let _ = tokio::time::timeout(SETTLING, draining).await;
    let began = Instant::now();
    let before = Standing::with_count(ground).await?;
    let named = Scope {
        named: Some((Named::Keys, keys)),
        can_read_notes: true,
        versions: true,
        within: Some(LONGEST),
        ..Scope::default()
    };
    let (db, layout) = (ground.db, ground.layout);
    let mut cases = Vec::new();
    survey(db, layout, ground.rules, named, |comparison| {
        if comparison.is_unsettled() {
            cases.push(Case::of(comparison, remembered, ground.is_past_indexes));
        } else {
            pass.seen.keep_pending(comparison, remembered);
            found.count(comparison);
        }
        ControlFlow::Continue(())
    })
    .await?;
    // A missed change that was counted after the first reading may be behind a difference.
    let after = Standing::with_count(ground).await?;
    match Reason::of(&before, &after, ground.awaits_check) {
        Reason::OtherMapping => cases.iter().for_each(|case| found.add(&case.counted)),
        Reason::FullCheck => {
            pass.is_excused |= !cases.is_empty();
            for case in &cases {
                found.add_agent(case).pending += 1;
            }
        }
        Reason::OfEach => repair(pass, found, ground, &cases).await?,
    }
    Ok(began.elapsed())
}

/// Puts the agents into the outbox that are to be synced, and counts all of them.
async fn repair(
    pass: &mut Pass,
    found: &mut Found,
    ground: &Ground<'_>,
    cases: &[Case],
) -> Result<(), QueryError> {
    let repairs = ground.repair == Repair::Reconcile;
    let keys = ground.layout.keys();
    let wanted = cases.iter().filter(|case| case.is_enqueued(repairs));
    let enqueued: Vec<&str> = wanted.map(|case| &*case.key).collect();
    if !enqueued.is_empty() {
        enqueue::put(ground.db, keys, &enqueued).await?;
    }
    found.counts.enqueued += u64::try_from(enqueued.len()).unwrap_or(u64::MAX);
    for case in cases {
        pass.note(
            case,
            keys,
            case.is_enqueued(repairs) && !ground.is_past_indexes,
        );
        match case.why {
            _ if case.is_stuck => {
                found.add(&case.counted);
                found.counts.reverted += u64::from(case.differs);
            }
            Why::Edited if !repairs => found.add(&case.counted),
            Why::Unnoticed => found.add_agent(case).unnoticed += 1,
            Why::Edited | Why::Misnoted => found.add_agent(case).pending += 1,
        }
    }
    Ok(())
}

impl Pass {
    /// Notes an agent for the report and for the next pass, which finds out whether its sync
    /// has helped.
    fn note(&mut self, case: &Case, keys: Keys, is_enqueued: bool) {
        let (agent, versions) = case.hashes;
        if case.why == Why::Edited {
            self.seen.add_edited(agent, versions);
        }
        if case.is_stuck {
            self.seen.add_stuck(agent, case.aim);
        } else if is_enqueued {
            self.seen.add_enqueued(agent, case.aim);
        }
        let some = match case.why {
            _ if case.is_reverted() => &mut self.reverted,
            _ if case.is_stuck => {
                self.stuck_agents += 1;
                &mut self.stuck
            }
            Why::Edited => {
                self.edited_agents += 1;
                &mut self.edited
            }
            Why::Unnoticed => &mut self.unnoticed,
            Why::Misnoted => return,
        };
        add_name(some, keys, &case.key);
    }
}

/// Adds an agent to those that a report names, as far as there is room.
pub(super) fn add_name(some: &mut Vec<String>, keys: Keys, key: &str) {
    if some.len() < NAMED {
        let key = keys.parts(key).plain().into_owned();
        some.push(brief(&key, SLUG).to_owned());
    }
}

impl Found {
    /// Counts an agent. The caller adds it to the count of its kind.
    fn add_agent(&mut self, case: &Case) -> &mut Counts {
        self.counts.agents += 1;
        self.counts.unmapped += case.counted.counts.unmapped;
        &mut self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A difference is left to a full check that is due for as long as the audit waits for it.
    #[test]
    fn g17_a_check_that_is_due_excuses_no_difference_for_ever() {
        let (settled, unsure) = ((Standing::Settled, 1), (Standing::Unsure, 1));
        assert_eq!(Reason::of(&unsure, &unsure, true), Reason::FullCheck);
        assert_eq!(Reason::of(&unsure, &unsure, false), Reason::OfEach);
        assert_eq!(Reason::of(&settled, &settled, true), Reason::OfEach);
        // A missed change was counted meanwhile.
        assert_eq!(
            Reason::of(&settled, &(Standing::Settled, 2), false),
            Reason::FullCheck
        );
        assert_eq!(Reason::of(&settled, &unsure, false), Reason::FullCheck);
        let other = (Standing::OtherMapping, 1);
        assert_eq!(Reason::of(&other, &other, true), Reason::OtherMapping);
    }
}
