//! The comparison of one agent with all its configurations. Pure.

use super::differing::{Differing, Keep};
use super::planned::Planned;
use crate::key::{Key, Keys};
use crate::mapping::{self, Agent, Changes, Configuration, Rules, Targets, Unmapped};
use crate::pg::{QueryError, sqlstate};
use crate::store::surveyed::{Noted, Surveyed};
use crate::store::{
    LONGEST_SLUG, LOST_ON_THE_WAY, MOST_CONFIGURATIONS, NO_TENANT, too_heavy, too_long, too_many,
};

/// The result of the comparison of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every configuration equals the mapping of the agent.
    InSync,
    /// A configuration differs, and the slug is in the outbox.
    Pending,
    /// A configuration differs.
    Drifted,
    /// There is no configuration.
    Missing,
    /// The agent cannot be mapped to a configuration (M7).
    Rejected,
    /// Several agents have the slug, so the owner of its configurations is unknown (T5).
    Ambiguous,
}

impl Verdict {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Pending => "pending",
            Self::Drifted => "drifted",
            Self::Missing => "missing",
            Self::Rejected => "rejected",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// The kind of problem that the daemon notes for this verdict.
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Self::Missing => Some("missing_configuration"),
            Self::Rejected => Some("rejected"),
            Self::Ambiguous => Some("ambiguous"),
            Self::InSync | Self::Pending | Self::Drifted => None,
        }
    }
}

/// The comparison of one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The key of the agent.
    pub key: String,
    keys: Keys,
    /// Whether the key is the same after the way to UTF-8 and back, so that it can be a parameter.
    pub is_sent: bool,
    /// Whether it could not be read.
    pub is_unread: bool,
    /// Whether it is in the outbox.
    pub pending: bool,
    /// The row of `agent_sync.problem`.
    pub noted: Option<Noted>,
    /// The number of its configurations.
    pub configurations: usize,
    /// The rows with a configuration, of a slug that several agents have.
    rows: usize,
    /// The configurations that differ.
    pub differing: Differing,
    /// The number of agents with the slug.
    pub agents: i64,
    /// The mistakes that reject the agent, or the note that the slug is ambiguous.
    pub mistakes: Vec<String>,
    /// The reasons that the daemon may note for the rejection: it notes those of one configuration.
    /// `None` if the comparison does not know them.
    reasons: Option<Vec<String>>,
    /// The warnings of the mapping.
    pub remarks: Vec<String>,
    /// The settings of the agent that no rule reads.
    pub unmapped: Unmapped,
    /// The effect of other rules, where it is asked for.
    pub planned: Planned,
    /// Of the rows that are not in sync, where the versions were read.
    pub versions: Versions,
}

/// The versions of an agent and of its configurations that are not in sync with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// Whether the agent has a younger version than one of them.
    pub agent_is_younger: bool,
    /// Their versions.
    pub of_configurations: Vec<String>,
}

impl Comparison {
    /// The comparison of an agent, from its first row.
    pub(super) fn of(
        (keys, keep): (Keys, Keep),
        rules: (&Rules, Option<&Rules>),
        targets: &Targets,
        row: &Surveyed<'_>,
    ) -> Self {
        let mut comparison = Self {
            key: row.key.clone(),
            keys,
            is_sent: row.is_sent,
            is_unread: false,
            pending: row.pending,
            noted: row.noted.clone(),
            configurations: 0,
            rows: 0,
            differing: Differing::keeping(keep),
            agents: row.agents,
            mistakes: Vec::new(),
            reasons: Some(Vec::new()),
            remarks: Vec::new(),
            unmapped: Unmapped::default(),
            planned: Planned::default(),
            versions: Versions::default(),
        };
        comparison.add(rules, targets, row);
        comparison
    }

    /// The result for an agent that PostgreSQL cannot read.
    pub(super) fn unreadable(keys: Keys, key: &str, error: &QueryError) -> Self {
        let cause = match error {
            QueryError::Postgres(error) => sqlstate::describe_read(error),
            error => error.to_string(),
        };
        Self {
            key: key.to_owned(),
            keys,
            is_sent: true,
            is_unread: true,
            pending: false,
            noted: None,
            configurations: 0,
            rows: 0,
            differing: Differing::default(),
            agents: 1,
            mistakes: vec![format!(
                "the agent or its configuration cannot be read: {cause}"
            )],
            reasons: None,
            remarks: Vec::new(),
            unmapped: Unmapped::default(),
            planned: Planned::default(),
            versions: Versions::default(),
        }
    }

    /// The tenant and the slug of the agent.
    pub fn parts(&self) -> Key<'_> {
        self.keys.parts(&self.key)
    }

    /// Notes the settings that no rule reads, which are those of the agent alone, where it has no
    /// configuration.
    fn note_unmapped(&mut self, rules: &Rules, targets: &Targets, row: &Surveyed<'_>) {
        if let Ok(agent) = &row.agent
            && let Ok(plan) = mapping::plan(rules, targets, agent, &Configuration::default())
        {
            self.unmapped.merge(plan.unmapped);
        }
    }

    /// Adds a further row of the same agent: another configuration.
    pub(super) fn add(
        &mut self,
        (rules, other): (&Rules, Option<&Rules>),
        targets: &Targets,
        row: &Surveyed<'_>,
    ) {
        if !self.is_sent {
            self.agents = 1;
            return self.reject_slug(LOST_ON_THE_WAY.to_owned());
        }
        if self.keys.have_tenants() && self.parts().tenant.is_none() {
            self.configurations = 0;
            return self.reject(NO_TENANT.to_owned());
        }
        if self.agents > 1 {
            return self.share(row);
        }
        if self.key.len() > LONGEST_SLUG {
            return self.reject_slug(too_long(self.key.len()));
        }
        let Some(configuration) = &row.configuration else {
            return self.note_unmapped(rules, targets, row);
        };
        self.configurations += 1;
        if self.configurations > MOST_CONFIGURATIONS as usize {
            self.differing.clear();
            self.reject(too_many());
            return;
        }
        if row.is_unread() {
            return;
        }
        if let Some(weight) = row.weight {
            // The daemon measures an agent and its configuration together, so its text differs.
            add_new(&mut self.mistakes, std::iter::once(too_heavy(weight)));
            self.reasons = None;
            return;
        }
        let before = (self.differing.number, self.mistakes.len());
        match (&row.agent, configuration) {
            (Ok(agent), Ok(configuration)) => {
                self.judge(rules, targets, agent, configuration);
                if let Some(other) = other {
                    self.planned
                        .add((rules, other), targets, agent, configuration);
                }
            }
            (Err(not_text), _) | (_, Err(not_text)) => {
                self.reject(not_text.to_string());
            }
        }
        if before != (self.differing.number, self.mistakes.len()) {
            self.versions.agent_is_younger |= row.is_younger == Some(true);
            self.versions.of_configurations.extend(row.version.clone());
        }
    }

    /// Adds a row of one of several agents. Nothing would be written, so nothing is computed.
    fn share(&mut self, row: &Surveyed<'_>) {
        let reason = format!("{} agents have this slug", self.agents);
        add_new(&mut self.mistakes, std::iter::once(reason));
        // The join repeats each configuration for each agent.
        self.rows += usize::from(row.configuration.is_some());
        let agents = usize::try_from(self.agents).unwrap_or(usize::MAX);
        self.configurations = self.rows.div_ceil(agents);
    }

    fn judge(
        &mut self,
        rules: &Rules,
        targets: &Targets,
        agent: &Agent<'_>,
        current: &Configuration<'_>,
    ) {
        match mapping::plan(rules, targets, agent, current) {
            Ok(plan) => {
                if !plan.changes.is_empty() {
                    self.differing
                        .add(self.configurations, rules, current, &plan.changes);
                }
                add_new(
                    &mut self.remarks,
                    plan.warnings.iter().map(ToString::to_string),
                );
                self.unmapped.merge(plan.unmapped);
            }
            Err(rejection) => {
                add_new(
                    &mut self.mistakes,
                    rejection.mistakes.iter().map(ToString::to_string),
                );
                self.note(rejection.to_string());
            }
        }
    }

    /// The daemon cannot read the slug either, and its text of the reason may differ.
    fn reject_slug(&mut self, reason: String) {
        add_new(&mut self.mistakes, std::iter::once(reason));
        self.reasons = None;
    }

    fn reject(&mut self, reason: String) {
        add_new(&mut self.mistakes, std::iter::once(reason.clone()));
        self.note(reason);
    }

    fn note(&mut self, reason: String) {
        if let Some(reasons) = &mut self.reasons {
            add_new(reasons, std::iter::once(reason));
        }
    }

    /// The verdict: the most severe finding.
    pub fn verdict(&self) -> Verdict {
        match self {
            _ if self.agents > 1 => Verdict::Ambiguous,
            _ if !self.mistakes.is_empty() => Verdict::Rejected,
            _ if self.configurations == 0 => Verdict::Missing,
            _ if self.differing.number == 0 => Verdict::InSync,
            _ if self.pending => Verdict::Pending,
            _ => Verdict::Drifted,
        }
    }

    /// Whether a configuration is to be written, or the row in `agent_sync.problem`, and no change
    /// is pending from which the daemon would know.
    pub fn is_unsettled(&self) -> bool {
        match self.verdict() {
            _ if self.pending => false,
            Verdict::Drifted => self.refused().is_none(),
            // It cannot be known whether the noted reason is that of the daemon.
            Verdict::Rejected if self.reasons.is_none() => false,
            _ => self.is_misnoted(),
        }
    }

    /// Whether no configuration has to be written, and the row in `agent_sync.problem` does not
    /// match the verdict.
    pub fn is_misnoted(&self) -> bool {
        let noted = self.noted.as_ref().map(|noted| noted.kind.as_str());
        match self.verdict() {
            Verdict::Drifted | Verdict::Pending => false,
            verdict if noted != verdict.problem() => true,
            Verdict::Rejected => !self.notes_current_reasons(),
            Verdict::InSync | Verdict::Missing | Verdict::Ambiguous => false,
        }
    }

    /// Whether the noted reasons may be those that the daemon would note now.
    fn notes_current_reasons(&self) -> bool {
        let (Some(noted), Some(reasons)) = (&self.noted, &self.reasons) else {
            return true;
        };
        reasons.contains(&noted.detail)
    }

    /// The last failed write, if a configuration still differs.
    pub fn refused(&self) -> Option<&Noted> {
        self.noted
            .as_ref()
            .filter(|noted| noted.kind == "failed" && self.differing.number > 0)
    }
}

/// The configuration after the changes.
pub(super) fn changed<'a>(
    current: &Configuration<'a>,
    changes: &'a Changes<'a>,
) -> Configuration<'a> {
    let changes = changes.as_deref();
    Configuration::from_fn(|column| changes[column].or(current[column]))
}

fn add_new(all: &mut Vec<String>, more: impl Iterator<Item = String>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// The numbers of agents by verdict.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// All agents.
    pub agents: i64,
    /// [`Verdict::InSync`]
    pub in_sync: i64,
    /// [`Verdict::Pending`]
    pub pending: i64,
    /// [`Verdict::Drifted`]
    pub drifted: i64,
    /// The part of `drifted` whose last write PostgreSQL has refused.
    pub refused: i64,
    /// [`Verdict::Missing`]
    pub missing: i64,
    /// [`Verdict::Rejected`]
    pub rejected: i64,
    /// [`Verdict::Ambiguous`]
    pub ambiguous: i64,
}

impl Tally {
    /// Counts one agent.
    pub fn add(&mut self, comparison: &Comparison) {
        self.agents += 1;
        match comparison.verdict() {
            Verdict::InSync => self.in_sync += 1,
            Verdict::Pending => self.pending += 1,
            Verdict::Drifted => {
                self.drifted += 1;
                self.refused += i64::from(comparison.refused().is_some());
            }
            Verdict::Missing => self.missing += 1,
            Verdict::Rejected => self.rejected += 1,
            Verdict::Ambiguous => self.ambiguous += 1,
        }
    }
}
