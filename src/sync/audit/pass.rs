//! One comparison of every agent, portion by portion.
//!
//! Invariants:
//! - A portion is one read-only transaction with one snapshot. The trigger notes a change in the
//!   transaction of the save, and a batch writes and takes the row of the outbox in one
//!   transaction. So a snapshot that shows an agent outside of the outbox shows it in sync, unless
//!   a change was not noted, a configuration was edited, or a problem stands.
//! - A portion counts once it is complete, so a lost connection repeats it and counts nothing
//!   twice.
//! - Memory is bounded: a portion keeps the keys of at most [`UNSETTLED`] agents, which the
//!   [second look](super::second_look) then reads again.

use std::ops::ControlFlow;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::remembered::{Remembered, hash};
use super::second_look::{Standing, add_name, look_again};
use crate::mapping::Rules;
use crate::observe::compared::Counts;
use crate::pg::sqlstate::Class;
use crate::pg::{Db, QueryError};
use crate::settings::Repair;
use crate::store::{Layout, noted_mapping};
use crate::survey::{Comparison, Scope, Step, Verdict, Walk};
use crate::sync::context::Lead;

/// The agents in a portion where an index has the order of the keys, and where each portion reads
/// the whole table.
const PORTION: (i64, i64) = (4096, 65_536);

/// The longest time of a portion. It has the turn of comparisons, for which the audits of the other
/// databases wait.
pub(super) const LONGEST: Duration = Duration::from_secs(60);

/// The most agents of a portion that are looked at again, and the most bytes of their keys.
const UNSETTLED: (usize, usize) = (4096, 1024 * 1024);

/// The parts that a pass works with.
pub(super) struct Ground<'a> {
    pub(super) db: &'a Db,
    pub(super) layout: &'a Layout,
    pub(super) rules: &'a Rules,
    /// The [text](Layout::mapping_text) of the mapping.
    pub(super) mapping: String,
    /// Whether the pass is one of the daemon that leads.
    pub(super) needs_lead: bool,
    pub(super) repair: Repair,
    /// Whether a full check that is due may still settle a difference.
    pub(super) awaits_check: bool,
    /// Whether the session reads past all indexes, because that of the slugs lies.
    pub(super) is_past_indexes: bool,
}

/// A comparison of every agent that has begun. It is noted in this form.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pass {
    walk: Walk,
    /// When it began, in seconds since 1970 by the clock of its daemon.
    #[serde(default)]
    began: u64,
    /// The mapping that it compares with, as a hash.
    mapping: String,
    /// Whether it reads past all indexes.
    #[serde(default)]
    is_past_indexes: bool,
    /// The mapping that was noted when it began.
    pub(super) noted: Option<String>,
    pub(super) found: Found,
    /// The agents whose configuration was edited, and the slugs of some.
    pub(super) edited_agents: u64,
    pub(super) edited: Vec<String>,
    /// The slugs of some agents with a change that was never noticed.
    pub(super) unnoticed: Vec<String>,
    /// The agents that were put into the outbox in vain, because of what is noted of them; and the
    /// slugs of some.
    #[serde(skip)]
    pub(super) stuck_agents: u64,
    #[serde(skip)]
    pub(super) stuck: Vec<String>,
    /// The slugs of some agents whose configurations do not keep what the daemon writes.
    #[serde(skip)]
    pub(super) reverted: Vec<String>,
    /// The agents that were passed over because they could not be read; and the slugs of some.
    #[serde(skip)]
    pub(super) unread_agents: u64,
    #[serde(skip)]
    pub(super) unread: Vec<String>,
    /// Whether a difference was left to a full check that is due.
    #[serde(skip)]
    pub(super) is_excused: bool,
    /// The facts of this pass that the next one has to know.
    #[serde(skip)]
    pub(super) seen: Remembered,
    /// Whether its last portion has failed by time.
    #[serde(skip)]
    took_too_long: bool,
    /// The time in which it has read.
    #[serde(skip)]
    pub(super) worked: Duration,
}

/// The numbers that a portion, or all of them, have found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) counts: Counts,
    /// The agents without a configuration, and the rejected ones.
    pub(super) missing: u64,
    pub(super) rejected: u64,
}

impl Pass {
    pub(super) async fn begin(ground: &Ground<'_>) -> Result<Self, QueryError> {
        let is_ordered = ground.layout.agents.is_in_order_of_an_index() && !ground.is_past_indexes;
        let portion = if is_ordered { PORTION.0 } else { PORTION.1 };
        Ok(Self {
            mapping: hash(&ground.mapping).to_string(),
            is_past_indexes: ground.is_past_indexes,
            noted: noted_mapping(ground.db).await?,
            ..Self::of(Walk::in_portions(portion))
        })
    }

    fn of(walk: Walk) -> Self {
        Self {
            walk,
            began: now(),
            mapping: String::new(),
            is_past_indexes: false,
            noted: None,
            found: Found::default(),
            edited_agents: 0,
            edited: Vec::new(),
            unnoticed: Vec::new(),
            stuck_agents: 0,
            stuck: Vec::new(),
            reverted: Vec::new(),
            unread_agents: 0,
            unread: Vec::new(),
            is_excused: false,
            seen: Remembered::default(),
            took_too_long: false,
            worked: Duration::ZERO,
        }
    }

    /// Whether it can go on here: the mapping is the same, and it has followed no index that lies.
    pub(super) fn fits(&self, ground: &Ground<'_>) -> bool {
        self.mapping == hash(&ground.mapping).to_string()
            && self.is_past_indexes == ground.is_past_indexes
    }

    /// From its noted form; nothing, if that is another one, or if the pass began longer ago than
    /// an interval: what it has compared then says nothing of the present.
    pub(super) fn restored(noted: &str, interval: Duration) -> Option<Self> {
        let pass: Self = serde_json::from_str(noted).ok()?;
        let age = now().abs_diff(pass.began);
        (age <= interval.as_secs()).then_some(pass)
    }

    /// Makes the next portion smaller, after one that has failed.
    pub(super) fn shorten(&mut self) {
        self.walk.shorten(std::mem::take(&mut self.took_too_long));
    }

    /// Compares the next portion. Returns for how long it has read. A portion that takes longer
    /// than [`LONGEST`] is an error, also where the server answers slowly or not at all.
    pub(super) async fn portion(
        &mut self,
        ground: &Ground<'_>,
        remembered: &Remembered,
        lead: &mut watch::Receiver<Lead>,
    ) -> Result<(Step, Duration), QueryError> {
        let portion = self.whole_portion(ground, remembered, lead);
        let within = tokio::time::timeout(LONGEST, portion).await;
        let ended = within.unwrap_or(Err(QueryError::Silent(LONGEST)));
        self.took_too_long = ended.as_ref().is_err_and(|error| {
            matches!(error, QueryError::Silent(_)) || error.class() == Some(Class::Slow)
        });
        ended
    }

    async fn whole_portion(
        &mut self,
        ground: &Ground<'_>,
        remembered: &Remembered,
        lead: &mut watch::Receiver<Lead>,
    ) -> Result<(Step, Duration), QueryError> {
        let began = Instant::now();
        // After a change of the mapping, nearly every agent may differ, and nobody has edited them.
        let counts_all = !ground.needs_lead && Standing::read(ground).await? != Standing::Settled;
        let (mut walk, mut found) = (self.walk.clone(), Found::default());
        let (mut unsettled, mut bytes, mut unread) = (Vec::new(), 0, Vec::new());
        let everything = Scope {
            can_read_notes: true,
            within: Some(LONGEST),
            ..Scope::default()
        };
        let Ground {
            db, layout, rules, ..
        } = ground;
        let seen = &mut self.seen;
        let step = walk
            .step(db, layout, rules, everything, &mut |comparison| {
                seen.keep_pending(comparison, remembered);
                unread.extend(comparison.is_unread.then(|| comparison.key.clone()));
                if counts_all || !comparison.is_unsettled() {
                    found.count(comparison);
                    return ControlFlow::Continue(());
                }
                bytes += comparison.key.len();
                unsettled.push(comparison.key.clone());
                if unsettled.len() >= UNSETTLED.0 || bytes >= UNSETTLED.1 {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .await?;
        let mut worked = began.elapsed();
        if !unsettled.is_empty() {
            let keys: Vec<&str> = unsettled.iter().map(String::as_str).collect();
            worked += look_again(self, &mut found, ground, &keys, remembered, lead).await?;
        }
        for key in &unread {
            self.unread_agents += 1;
            add_name(&mut self.unread, layout.keys(), key);
        }
        self.found.add(&found);
        self.walk = walk;
        self.worked += worked;
        Ok((step, worked))
    }
}

impl Found {
    /// Adds others.
    pub(super) fn add(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.missing += other.missing;
        self.rejected += other.rejected;
    }

    /// Counts an agent by its verdict.
    pub(super) fn count(&mut self, comparison: &Comparison) {
        let counts = &mut self.counts;
        counts.agents += 1;
        counts.unmapped += u64::from(!comparison.unmapped.is_empty());
        let (is_unsettled, differing) = (comparison.is_unsettled(), number(comparison));
        match comparison.verdict() {
            _ if comparison.pending => counts.pending += 1,
            Verdict::InSync => counts.in_sync += 1,
            Verdict::Drifted if is_unsettled => {
                counts.drifted += 1;
                counts.differing += differing;
            }
            Verdict::Missing => {
                counts.problems += 1;
                self.missing += 1;
            }
            Verdict::Rejected => {
                counts.problems += 1;
                self.rejected += 1;
                // It is as little in sync as one whose configuration differs.
                counts.differing += u64::from(is_unsettled);
            }
            Verdict::Drifted | Verdict::Pending | Verdict::Ambiguous => counts.problems += 1,
        }
        if comparison.mistakes.is_empty() && !comparison.pending {
            let all = u64::try_from(comparison.configurations).unwrap_or(u64::MAX);
            counts.equal += all.saturating_sub(differing);
        }
    }
}

/// In seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// The number of configurations that differ.
fn number(comparison: &Comparison) -> u64 {
    u64::try_from(comparison.differing.number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g17_an_old_pass_is_not_resumed() {
        let interval = Duration::from_secs(3600);
        let noted = |age| {
            let pass = Pass {
                began: now() - age,
                ..Pass::of(Walk::in_portions(1))
            };
            serde_json::to_string(&pass).unwrap_or_default()
        };
        assert!(Pass::restored(&noted(3500), interval).is_some());
        assert!(Pass::restored(&noted(3700), interval).is_none());
        let without = noted(0).replacen("began", "other", 1);
        assert!(Pass::restored(&without, interval).is_none());
    }
}
