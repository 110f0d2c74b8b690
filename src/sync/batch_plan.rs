//! The plan of a batch: the one place where the mapping meets the store.
//!
//! No I/O: the plan follows from the rules, the layout, the claim, and the settled and the slow
//! slugs. The clock only decides when a large batch gives way to the other databases of the
//! process, between two configurations (G5). `batch_events` turns a committed plan into events.
//!
//! Invariants:
//! - A slug is tried once in a batch, however many of its rows are in the batch, and its rows are
//!   taken together (G5).
//! - Nothing is written for a slug that more than one agent has, or whose index leads to an agent
//!   with another one (T5, G13).
//! - A row that is not found counts as absent only where no policy can hide it (G14).

mod refusal;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use refusal::Refusal;
use tokio_postgres::Error;

use super::reasons::{
    AMBIGUOUS, HIDDEN_AGENT, HIDDEN_CONFIGURATION, LED_ASTRAY, MISSED_BY_INDEX,
    MISSED_CONFIGURATION,
};
use super::remembered::Settled;
use super::slow::Slow;
use crate::mapping::{Plan, Rules, Targets, plan};
use crate::observe::Totals;
use crate::observe::unmapped::SETTINGS;
use crate::pg::{RowRef, sqlstate};
use crate::store::{
    Claimed, Group, Layout, NO_CONFIGURATION, NO_TENANT, Outcome, Pair, Problem, ProblemKind,
    too_many,
};
use crate::survey::TimeSlice;

/// The plan of a batch: the outcome that the store writes, and the facts to report once it is
/// committed.
#[derive(Debug, Default)]
pub(super) struct BatchPlan<'a> {
    /// The writes and problems for the store.
    pub(super) outcome: Outcome<'a>,
    /// The numbers.
    pub(super) totals: Totals,
    /// The warnings of the mapping: slug and warning.
    pub(super) remarks: BTreeSet<(&'a str, String)>,
    /// The settings that no rule reads, each with one agent that has it; the first [`SETTINGS`].
    pub(super) unmapped: BTreeMap<String, &'a str>,
    /// For each slug that is taken, how long its oldest change had been waiting, in seconds.
    pub(super) ages: Vec<(&'a str, f64)>,
    /// How many slugs stay in the outbox because the batch would have been too heavy with them; at
    /// least one, if not all of them came.
    pub(super) heavy: usize,
    /// How many slugs are taken.
    pub(super) slugs: usize,
    /// The slugs that are taken although no agent was found, until that is
    /// [verified](Self::end_gone).
    pub(super) gone: Vec<&'a str>,
    /// The slugs for which no configuration was found, and that have no problem yet, or one of a
    /// damaged index: until that is [verified](Self::end_missing).
    pub(super) missing: Vec<&'a str>,
    /// Those of them with a problem of a damaged index.
    doubtful: Vec<&'a str>,
    /// The first of the slugs that are left because connections have ended on them.
    pub(super) dangerous: Option<&'a str>,
    /// The slugs that are left (glossary). A heavy one without its turn is in `Drain::left` alone.
    pub(super) left: Vec<&'a str>,
    /// The slugs that are left because a configuration is locked.
    pub(super) busy: Vec<&'a str>,
}

impl<'a> BatchPlan<'a> {
    /// Whether the batch takes any row out of the outbox.
    pub(super) fn takes_any(&self) -> bool {
        self.outcome.taken.rows() > 0 || self.sets_aside()
    }

    /// Takes the rows of a slug, and remembers how long they have waited.
    pub(super) fn take(&mut self, group: Group<'_>, key: &'a str) -> Result<(), Error> {
        let taken = &mut self.outcome.taken;
        taken.add(key, group.places()?, group.versions()?);
        self.slugs += 1;
        self.ages.extend(group.age()?.map(|age| (key, age)));
        Ok(())
    }

    /// Ends the work of the slugs whose agents are gone. Those that an agent has are problems: the
    /// index misses it.
    pub(super) fn end_gone(&mut self, missed_by_index: &[String]) {
        let missed: BTreeSet<&str> = missed_by_index.iter().map(String::as_str).collect();
        let cleared = &mut self.outcome.cleared;
        cleared.retain(|key| !missed.contains(key.as_str()));
        for key in std::mem::take(&mut self.gone) {
            if missed.contains(key) {
                self.note_damaged_index(key, MISSED_BY_INDEX);
            } else {
                self.totals.gone += 1;
            }
        }
    }

    /// Ends the work of the slugs without a configuration, of which the first `looked_up` were
    /// looked up past the index. Those that a configuration has are problems of the index, and so
    /// are those that were, and could not be looked up.
    pub(super) fn end_missing(&mut self, looked_up: usize, missed_by_index: &[String]) {
        let missed: BTreeSet<&str> = missed_by_index.iter().map(String::as_str).collect();
        for (place, key) in std::mem::take(&mut self.missing).into_iter().enumerate() {
            if missed.contains(key) || place >= looked_up && self.doubtful.contains(&key) {
                let problems = &mut self.outcome.problems;
                let before = problems.len();
                problems.retain(|problem| problem.key != key);
                self.totals.missing -= (before - problems.len()) as u64;
                self.note_damaged_index(key, MISSED_CONFIGURATION);
            }
        }
    }

    /// Notes the problem of a slug to which no single agent belongs: the index leads to another
    /// one, or two agents have it. Returns whether there is such a problem.
    pub(super) fn note_no_single(&mut self, group: Group<'_>, key: &str) -> Result<bool, Error> {
        if group.is_of_another()? {
            self.note_damaged_index(key, LED_ASTRAY);
        } else if group.is_ambiguous()? {
            self.note(key, ProblemKind::Ambiguous, AMBIGUOUS);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    fn note_damaged_index(&mut self, key: &str, detail: &str) {
        self.totals.failed += 1;
        let problem = Problem::failed(key, detail, sqlstate::INDEX_DAMAGED);
        self.outcome.problems.push(problem);
    }

    /// Leaves a slug in the outbox.
    pub(super) fn leave(&mut self, key: &'a str) {
        self.totals.left += 1;
        self.left.push(key);
    }

    /// Leaves a slug in the outbox because another session has a configuration locked.
    pub(super) fn leave_locked(&mut self, key: &'a str) {
        self.leave(key);
        self.busy.push(key);
    }

    /// Notes a problem.
    pub(super) fn note(&mut self, key: &str, kind: ProblemKind, detail: impl Into<String>) {
        self.note_with(key, kind, detail, kind == ProblemKind::Failed);
    }

    /// Notes a problem that is tried again after a while, or is not.
    pub(super) fn note_with(
        &mut self,
        key: &str,
        kind: ProblemKind,
        detail: impl Into<String>,
        retries: bool,
    ) {
        match kind {
            ProblemKind::MissingConfiguration => self.totals.missing += 1,
            ProblemKind::Rejected | ProblemKind::Ambiguous => self.totals.rejected += 1,
            ProblemKind::Failed => self.totals.failed += 1,
        }
        self.outcome.problems.push(Problem {
            key: key.to_owned(),
            kind,
            detail: detail.into(),
            sqlstate: None,
            near: None,
            retries,
            asked: false,
        });
    }

    /// Adds what the mapping makes of one configuration of a slug.
    fn write(&mut self, key: &'a str, place: RowRef, plan: Plan<'a>) {
        let warnings = plan.warnings.iter();
        let remarks = warnings.map(|warning| (key, warning.to_string()));
        self.remarks.extend(remarks);
        for setting in plan.unmapped.settings {
            self.note_unmapped(setting, key);
        }
        if plan.changes.is_empty() {
            self.totals.unchanged += 1;
        } else {
            self.totals.written += 1;
            self.outcome.changed.push(key);
            self.outcome.writes.push((place, plan.changes));
        }
    }

    /// Notes a setting that no rule reads.
    fn note_unmapped(&mut self, setting: String, slug: &'a str) {
        if self.unmapped.len() < SETTINGS || self.unmapped.contains_key(&setting) {
            self.unmapped.entry(setting).or_insert(slug);
        }
    }

    /// Adds the result of a page of the slug. The writes of the page are already made.
    pub(super) fn absorb(&mut self, key: &'a str, page: BatchPlan<'_>) {
        self.totals.add(page.totals);
        self.totals.gone += page.gone.len() as u64;
        if page.totals.written > 0 && self.outcome.changed.is_empty() {
            self.outcome.changed.push(key);
        }
        if self.outcome.problems.is_empty() {
            self.outcome.problems.extend(page.outcome.problems);
        }
        for setting in page.unmapped.into_keys() {
            self.note_unmapped(setting, key);
        }
        let remarks = page.remarks.into_iter();
        self.remarks
            .extend(remarks.map(|(_, remark)| (key, remark)));
    }
}

/// Plans every slug of a claim. `is_one`: the batch has one slug alone, so a slug on which
/// connections have ended is tried.
pub(super) async fn plan_batch<'a>(
    rules: &Rules,
    layout: &Layout,
    claimed: &'a Claimed,
    settled: &Settled,
    slow: &Slow,
    is_one: bool,
) -> Result<BatchPlan<'a>, Error> {
    let mut batch = BatchPlan::default();
    let mut slice = TimeSlice::begin();
    for group in claimed.groups() {
        slice.give_way().await;
        let Ok(key) = group.key() else {
            batch.set_aside(group)?;
            continue;
        };
        let parts = layout.keys().parts(key);
        if layout.keys().have_tenants() && parts.tenant.is_none() {
            batch.take(group, key)?;
            plan_no_tenant(group, key, parts.slug, &mut batch)?;
        } else if parts.is_empty() && !group.is_found()? {
            // No policy hides it: the row is about no agent.
            batch.take(group, key)?;
            batch.totals.gone += 1;
            batch.outcome.cleared.push(key.to_owned());
        } else if settled.covers(key, group)? || batch.note_no_single(group, key)? {
            batch.take(group, key)?;
        } else if !is_one && group.ends_connections()? {
            batch.dangerous.get_or_insert(key);
            batch.leave(key);
        } else if slow.must_wait(key) {
            batch.leave(key);
        } else if group.has_too_many()? {
            batch.take(group, key)?;
            // Retried, because a deleted configuration is captured only in a partitioned table.
            batch.note_with(key, ProblemKind::Rejected, too_many(), true);
        } else if !group.fits()? && group.has_contents()? {
            batch.heavy += 1;
        } else if group.is_busy()? {
            batch.leave_locked(key);
        } else {
            batch.take(group, key)?;
            plan_key(rules, &layout.targets, group, key, &mut batch, &mut slice).await?;
        }
    }
    if claimed.is_incomplete()? {
        batch.heavy = batch.heavy.max(1);
    }
    Ok(batch)
}

/// Decides on a key without tenant, where tenants are set. It is about the agents of every tenant
/// with this slug, and about the agents without tenant, for which nothing can be written: NULL is
/// no tenant.
fn plan_no_tenant<'a>(
    group: Group<'a>,
    key: &'a str,
    slug: &'a str,
    batch: &mut BatchPlan<'a>,
) -> Result<(), Error> {
    batch.outcome.every_tenant.push(slug);
    if group.is_of_another()? {
        batch.note_damaged_index(key, LED_ASTRAY);
    } else if group.is_found()? {
        batch.note(key, ProblemKind::Rejected, NO_TENANT);
    } else if group.may_be_hidden()?.unwrap_or(false) {
        batch.note(key, ProblemKind::Failed, HIDDEN_AGENT);
    } else if group.has_problem()? {
        batch.outcome.cleared.push(key.to_owned());
    }
    Ok(())
}

/// Decides on one key, which is taken already: adds its writes, and its problem or the end of one.
pub(super) async fn plan_key<'a>(
    rules: &Rules,
    targets: &Targets,
    group: Group<'a>,
    key: &'a str,
    batch: &mut BatchPlan<'a>,
    slice: &mut TimeSlice,
) -> Result<(), Error> {
    let may_be_hidden = group.may_be_hidden()?.unwrap_or(false);
    let mut rejection: Option<(String, bool)> = None;
    for pair in group.pairs() {
        slice.give_way().await;
        let Pair {
            agent,
            configuration,
        } = match pair? {
            Ok(pair) => pair,
            Err(not_text) => {
                rejection = Some((not_text.to_string(), true));
                continue;
            }
        };
        let Some(agent) = agent else {
            if may_be_hidden {
                batch.note(key, ProblemKind::Failed, HIDDEN_AGENT);
                return Ok(());
            }
            batch.gone.push(key);
            continue;
        };
        let Some((place, configuration)) = configuration else {
            let (kind, detail) = if may_be_hidden {
                (ProblemKind::Failed, HIDDEN_CONFIGURATION)
            } else {
                (ProblemKind::MissingConfiguration, NO_CONFIGURATION)
            };
            batch.note(key, kind, detail);
            let is_doubtful = !may_be_hidden && group.has_damaged_index()?;
            let is_new = !may_be_hidden && !group.has_problem()?;
            batch.missing.extend((is_new || is_doubtful).then_some(key));
            batch.doubtful.extend(is_doubtful.then_some(key));
            return Ok(());
        };
        match plan(rules, targets, &agent, &configuration) {
            Ok(plan) => batch.write(key, place, plan),
            Err(rejected) => {
                rejection = Some((rejected.to_string(), rejected.is_about_configuration()));
            }
        }
    }
    if let Some((reasons, retries)) = rejection {
        batch.note_with(key, ProblemKind::Rejected, reasons, retries);
    } else if group.has_problem()? {
        batch.outcome.cleared.push(key.to_owned());
    }
    Ok(())
}
