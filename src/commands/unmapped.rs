//! The voice settings that no rule reads, counted over the agents of a database, for
//! `check --unmapped` (M10).

use std::collections::BTreeMap;

use serde_json::json;

use super::outcome::Row;
use super::page::Page;
use crate::mapping::{Rules, Unmapped};
use crate::show::{BOLD, DIM, WIDTH, count, indented, plural};

/// The most different settings that are counted, because agents can have any.
const COUNTED: usize = 1000;

/// The most settings that are printed as text.
const PRINTED: usize = 20;

/// The number of agents by setting.
#[derive(Debug, Default)]
pub(super) struct UnmappedCount {
    agents: BTreeMap<String, i64>,
    /// Whether there are settings that are not counted.
    others: bool,
    /// The most settings of one agent.
    most: usize,
}

impl UnmappedCount {
    /// Adds the settings of one agent.
    pub(super) fn add(&mut self, unmapped: &Unmapped) {
        self.others |= unmapped.more > 0;
        self.most = self.most.max(unmapped.settings.len() + unmapped.more);
        for setting in &unmapped.settings {
            if let Some(agents) = self.agents.get_mut(setting) {
                *agents += 1;
            } else if self.agents.len() < COUNTED {
                self.agents.insert(setting.clone(), 1);
            } else {
                self.others = true;
            }
        }
    }

    /// Prints the settings, those of the most agents first.
    pub(super) fn print(self, page: &mut Page, database: &str, rules: &Rules, json: bool) {
        let mut settings: Vec<_> = self.agents.into_iter().collect();
        settings.sort_by_key(|(_, agents)| -agents);
        if json {
            let settings = settings.iter().map(|(setting, agents)| {
                json!({
                    "setting": setting, "agents": agents,
                    "remark": rules.unmapped_remark(setting),
                })
            });
            page.json(&Row {
                database,
                kind: "unmapped",
                rest: json!({
                    "unmapped": settings.collect::<Vec<_>>(), "others": self.others,
                }),
            });
            return;
        }
        let known = settings.len().max(self.most);
        let number = i64::try_from(known).unwrap_or(i64::MAX);
        if number == 0 {
            page.line(format_args!("  {DIM}rules read every voice setting{DIM:#}"));
            return;
        }
        let at_least = if self.others { "at least " } else { "" };
        let title = plural(number, "voice setting");
        page.line(format_args!(
            "  {BOLD}{at_least}{title} that no rule reads{BOLD:#}"
        ));
        for (setting, agents) in settings.iter().take(PRINTED) {
            let line = format!(
                "{} ({})",
                rules.unmapped_remark(setting),
                plural(*agents, "agent")
            );
            page.line(indented("    ", &line, WIDTH));
        }
        let left = known - settings.len().min(PRINTED);
        if left > 0 || self.others {
            let left = count(u64::try_from(left).unwrap_or(u64::MAX));
            let listed = match (settings.len() > PRINTED, self.others) {
                (true, false) => "; --json lists them",
                (true, true) => "; --json lists more of them",
                (false, _) => "",
            };
            page.line(format_args!("    and {at_least}{left} more{listed}"));
        }
    }
}
