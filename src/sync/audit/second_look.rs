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
        let standing = match mapping(ground.db, &ground.key).await? {
            Mapping::Other | Mapping::Mixed => Self::OtherMapping,
            Mapping::Same if is_sure => Self::Settled,
            Mapping::Same | Mapping::Unknown => Self::Unsure,
        };
        Ok((standing, installed))
    }
}

/// The edited configurations of a pass: the agents and the versions, as hashes.
#[derive(Debug, Default)]
pub(super) struct Remembered(HashMap<u64, u64>);

impl Remembered {
    fn add(&mut self, (agent, versions): (u64, u64)) {
        if self.0.len() < REMEMBERED {
            self.0.insert(agent, versions);
        }
    }

    /// Adds those of a later pass. Too many are forgotten, but for these.
    pub(super) fn merge(&mut self, later: Self) {
        if self.0.len() + later.0.len() > REMEMBERED {
            self.0.clear();
        }
        self.0.extend(later.0);
    }

    fn has(&self, (agent, versions): (u64, u64)) -> bool {
        self.0.get(&agent) == Some(&versions)
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
    /// The agent as it counts where nobody can tell why it differs, and where it stays as it is.
    counted: Found,
}

impl Case {
    fn of(comparison: &Comparison, remembered: &Remembered) -> Self {
        let (hashes, mut counted) = (hashes(comparison), Found::default());
        counted.count(comparison);
        Self {
            why: Why::of(comparison, remembered.has(hashes)),
            key: comparison.key.clone(),
            hashes,
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
        noted: true,
        versions: true,
        within: Some(LONGEST),
        ..Scope::default()
    };
    let (db, layout) = (ground.db, ground.layout);
    let mut cases = Vec::new();
    survey(db, layout, ground.rules, named, |comparison| {
        if comparison.is_unsettled() {
            cases.push(Case::of(comparison, remembered));
        } else {
            found.count(comparison);
        }
        ControlFlow::Continue(())
    })
    .await?;
    // A missed change that was counted after the first reading may be behind a difference.
    let after = Standing::with_count(ground).await?;
    if before != after || after.0 != Standing::Settled {
        for case in &cases {
            if after.0 == Standing::OtherMapping {
                found.add(&case.counted);
            } else {
                found.add_agent(case).pending += 1;
            }
        }
        return Ok(began.elapsed());
    }
    repair(pass, found, ground, &cases).await?;
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
            Why::Edited | Why::Misnoted => found.add_agent(case).pending += 1,
        }
    }
    Ok(())
}

impl Pass {
    /// Notes an agent for the report.
    fn note(&mut self, case: &Case, keys: Keys) {
        let some = match case.why {
            Why::Edited => {
                self.edited_agents += 1;
                self.seen.add(case.hashes);
                &mut self.edited
            }
            Why::Unnoticed => &mut self.unnoticed,
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
