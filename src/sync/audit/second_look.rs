//! The second look at the agents that a portion has found to differ, and what follows from it.
//!
//! The versions of the rows tell two causes apart, without a cost for any save or batch:
//! - The configuration has the younger version: somebody has edited it after the last write of the
//!   daemon.
//! - The agent has the younger version, and nothing is pending: its change was never noticed. That
//!   is a fault of the capture, and the agent is put into the outbox.
//!
//! Limits: a save of an agent that changes nothing relevant gives it a younger version, too. So the
//! edited configurations of the last pass are remembered, and stay edited as long as their versions
//! stay the same. Where the versions do not tell, a change counts as never noticed, because a fault
//! of the capture that is not told is the worse mistake. `docs/design/audit.md` lists the cases.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::pass::{Found, Ground, LONGEST, Pass};
use crate::key::Keys;
use crate::observe::compared::{Counts, NAMED};
use crate::pg::QueryError;
use crate::settings::Repair;
use crate::show::brief;
use crate::store::surveyed::Named;
use crate::store::{Installed, Mapping, mapping, request};
use crate::survey::{Comparison, Scope, Verdict, survey};
use crate::sync::context::Lead;

/// The longest wait for the end of a drain before the second look.
const SETTLING: Duration = Duration::from_secs(5);

/// The most edited configurations that are remembered.
const REMEMBERED: usize = 10_000;

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

/// What later passes have to know of a pass, as hashes.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    /// The edited configurations: the agents and the versions.
    edited: HashMap<u64, u64>,
    /// The agents that were requested because of their problem: what was noted of them.
    misnoted: HashMap<u64, u64>,
}

impl Remembered {
    fn add(&mut self, case: &Case) {
        let (of, (agent, versions)) = match case.why {
            Why::Edited => (&mut self.edited, case.hashes),
            Why::Misnoted => (&mut self.misnoted, (case.hashes.0, case.noted)),
            Why::Unnoticed => return,
        };
        if of.len() < REMEMBERED {
            of.insert(agent, versions);
        }
    }

    /// Adds those of a later pass. Too many edits are forgotten, but for these; of the problems,
    /// those of the last pass are kept.
    pub(super) fn merge(&mut self, later: Self) {
        if self.edited.len() + later.edited.len() > REMEMBERED {
            self.edited.clear();
        }
        self.edited.extend(later.edited);
        self.misnoted = later.misnoted;
    }

    /// Whether the last pass has requested this agent because of the same problem, with the same
    /// note of it: in vain.
    fn has_misnoted(&self, why: Why, agent: u64, noted: u64) -> bool {
        why == Why::Misnoted && self.misnoted.get(&agent) == Some(&noted)
    }
}

fn hashes(comparison: &Comparison) -> (u64, u64) {
    let mut versions = comparison.versions.of_configurations.clone();
    versions.sort_unstable();
    (hash(&comparison.key), hash(&versions))
}

pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Why an agent differs that nothing explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its configuration was edited.
    Edited,
    /// Its change was never noticed.
    Unnoticed,
    /// What is noted of it is out of date, and its configuration is not to be written.
    Misnoted,
}

/// One such agent.
struct Case {
    why: Why,
    key: String,
    hashes: (u64, u64),
    /// Its verdict and what is noted of it, as a hash.
    noted: u64,
    /// Whether the pass before has requested it for the same reason, in vain.
    is_stuck: bool,
    /// The agent as it counts where nobody can tell why it differs, and where it stays as it is.
    counted: Found,
}

impl Case {
    /// Where the index of the slugs lies, the daemon does not find the agent, and no request mends
    /// what is noted of it: the cause is told, and the agent is not stuck.
    fn of(comparison: &Comparison, remembered: &Remembered, index_lies: bool) -> Self {
        let (hashes, mut counted) = (hashes(comparison), Found::default());
        counted.count(comparison);
        let was_edited = remembered.edited.get(&hashes.0) == Some(&hashes.1);
        let why = Why::of(comparison, was_edited);
        let noted = comparison.noted.as_ref();
        let noted = noted.map(|noted| (noted.kind.as_str(), noted.detail.as_str()));
        let noted = hash(&(comparison.verdict().problem(), noted));
        Self {
            why,
            key: comparison.key.clone(),
            hashes,
            noted,
            is_stuck: !index_lies && remembered.has_misnoted(why, hashes.0, noted),
            counted,
        }
    }
}

impl Why {
    fn of(comparison: &Comparison, was_edited: bool) -> Self {
        let is_edited = was_edited || !comparison.versions.agent_is_younger;
        match comparison.verdict() {
            Verdict::Drifted if comparison.noted.is_none() && is_edited => Self::Edited,
            Verdict::Drifted | Verdict::Rejected if !is_edited => Self::Unnoticed,
            _ => Self::Misnoted,
        }
    }
}

/// What decides on the agents of a second look that differ.
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

/// Looks at the agents with these keys again, once the changes that were in flight are applied. What
/// has settled or is pending by now is no drift. Returns for how long it has read.
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
    let is_requested = |case: &&Case| case.why != Why::Edited || repairs;
    let requests = cases.iter().filter(is_requested);
    let requests: Vec<&str> = requests.map(|case| &*case.key).collect();
    if !requests.is_empty() {
        request::send(ground.db, keys, &requests).await?;
    }
    found.counts.requested += u64::try_from(requests.len()).unwrap_or(u64::MAX);
    for case in cases {
        pass.note(case, keys);
        match case.why {
            Why::Edited if !repairs => found.add(&case.counted),
            Why::Unnoticed => found.add_agent(case).unnoticed += 1,
            Why::Misnoted if case.is_stuck => found.add(&case.counted),
            Why::Edited | Why::Misnoted => found.add_agent(case).pending += 1,
        }
    }
    Ok(())
}

impl Pass {
    /// Notes an agent for the report.
    fn note(&mut self, case: &Case, keys: Keys) {
        self.seen.add(case);
        let some = match case.why {
            Why::Edited => {
                self.edited_agents += 1;
                &mut self.edited
            }
            Why::Unnoticed => &mut self.unnoticed,
            Why::Misnoted if case.is_stuck => {
                self.stuck_agents += 1;
                &mut self.stuck
            }
            Why::Misnoted => return,
        };
        if some.len() < NAMED {
            let key = keys.parts(&case.key).plain().into_owned();
            some.push(brief(&key, SLUG).to_owned());
        }
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

    fn case(why: Why, agent: u64, noted: u64) -> Case {
        Case {
            why,
            key: String::new(),
            hashes: (agent, 0),
            noted,
            is_stuck: false,
            counted: Found::default(),
        }
    }

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

    /// An agent is stuck if two passes in a row find the same problem and the same note of it.
    #[test]
    fn g17_an_agent_that_is_requested_in_vain_is_stuck() {
        let mut remembered = Remembered::default();
        let mut seen = Remembered::default();
        assert!(!remembered.has_misnoted(Why::Misnoted, 7, 1));
        seen.add(&case(Why::Misnoted, 7, 1));
        seen.add(&case(Why::Edited, 8, 1));
        seen.add(&case(Why::Unnoticed, 9, 1));
        remembered.merge(seen);
        assert!(remembered.has_misnoted(Why::Misnoted, 7, 1));
        // The daemon has noted something, or the agent differs for another reason.
        assert!(!remembered.has_misnoted(Why::Misnoted, 7, 2));
        assert!(!remembered.has_misnoted(Why::Unnoticed, 7, 1));
        for other in [8, 9] {
            assert!(!remembered.has_misnoted(Why::Misnoted, other, 1));
        }
        // A pass that does not find it ends it.
        remembered.merge(Remembered::default());
        assert!(!remembered.has_misnoted(Why::Misnoted, 7, 1));
    }
}
