//! Many agents on a terminal: the first ones are printed in full, and all are counted by what is
//! the matter with them. A pipe, a file and JSON get every agent.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};

use super::page::Page;
use crate::show::{BOLD, DIM, TEXT, WIDTH, bounded, count, indented, plural, shorten};
use crate::survey::{Comparison, Verdict};

/// The number of agents that a terminal shows in full, and of groups.
const SHOWN: usize = 20;

/// The most groups that are told apart.
const REMEMBERED: usize = 1_000;

/// The most fields that name a group.
const FIELDS: usize = 5;

/// The groups of the agents of one database.
#[derive(Debug)]
pub(super) struct Groups {
    /// Whether only the first agents are printed.
    limited: bool,
    shown: usize,
    left_out: i64,
    counts: BTreeMap<(&'static str, String), i64>,
    others: i64,
}

impl Groups {
    /// For a terminal, unless each agent is wanted.
    pub(super) fn new(page: &Page, each: bool) -> Self {
        Self::limited(page.is_terminal() && !each)
    }

    fn limited(limited: bool) -> Self {
        Self {
            limited,
            shown: 0,
            left_out: 0,
            counts: BTreeMap::new(),
            others: 0,
        }
    }

    /// Counts an agent by its verdict and by what differs or is wrong. Returns whether it is
    /// printed.
    pub(super) fn add(&mut self, comparison: &Comparison) -> bool {
        if !self.limited {
            return true;
        }
        let verdict = comparison.verdict();
        if let (Verdict::Drifted, Some(noted)) = (verdict, comparison.refused()) {
            return self.count("failed", &noted.detail);
        }
        let why = match verdict {
            Verdict::Missing => "no configuration has the slug".to_owned(),
            Verdict::Ambiguous => "several agents have the slug".to_owned(),
            Verdict::Rejected => comparison.mistakes.join("; "),
            Verdict::InSync => comparison.remarks.join("; "),
            Verdict::Drifted | Verdict::Pending => differing_fields(comparison),
        };
        self.count(verdict.name(), &why)
    }

    /// Counts an agent in the group `word`, `why`. Returns whether it is printed.
    pub(super) fn count(&mut self, word: &'static str, why: &str) -> bool {
        if !self.limited {
            return true;
        }
        let is_full = self.counts.len() >= REMEMBERED;
        let why = bounded(why, TEXT).into_owned();
        match self.counts.entry((word, why)) {
            Entry::Occupied(mut number) => *number.get_mut() += 1,
            Entry::Vacant(_) if is_full => self.others += 1,
            Entry::Vacant(place) => {
                place.insert(1);
            }
        }
        if self.shown < SHOWN {
            self.shown += 1;
            return true;
        }
        self.left_out += 1;
        false
    }

    /// Prints how many agents are left out, the largest groups, and how to get every agent.
    pub(super) fn print(&self, page: &mut Page) {
        for line in self.lines() {
            page.line(line);
        }
    }

    fn lines(&self) -> Vec<String> {
        if self.left_out == 0 {
            return Vec::new();
        }
        let mut lines = vec![format!(
            "{BOLD}and {}{BOLD:#}. All of them, by what is the matter:",
            plural(self.left_out, "further agent")
        )];
        let mut groups: Vec<_> = self.counts.iter().collect();
        groups.sort_by_key(|(_, number)| Reverse(**number));
        for ((word, why), number) in groups.iter().take(SHOWN) {
            let word = word.replace('_', " ");
            let text = format!("{word}: {}", shorten(why, 3 * WIDTH));
            lines.push(indented(&format!("{:>8}  ", count(**number)), &text, WIDTH));
        }
        let rest: i64 = groups.iter().skip(SHOWN).map(|(_, number)| **number).sum();
        let rest = rest + self.others;
        if rest > 0 {
            lines.push(format!("{:>8}  in smaller groups", count(rest)));
        }
        let all = "A pipe (`| less`), a file and --json get every agent.";
        lines.push(format!("{DIM}  {all}{DIM:#}"));
        lines
    }
}

/// The fields that differ, of all configurations.
fn differing_fields(comparison: &Comparison) -> String {
    let (mut fields, mut seen) = (Vec::new(), HashSet::new());
    for listed in &comparison.differing.listed {
        for difference in &listed.differences {
            let path = difference.path();
            if fields.len() < FIELDS && !seen.contains(&path) {
                fields.push(path.clone());
            }
            seen.insert(path);
        }
    }
    let (left, _) = comparison.differing.left();
    let more = seen.len() - fields.len() + left;
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    fields.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(groups: &Groups) -> Vec<String> {
        let lines = groups.lines();
        let lines = lines.iter().map(|line| anstream::adapter::strip_str(line));
        lines.map(|line| line.to_string()).collect()
    }

    #[test]
    fn the_first_are_printed_and_all_are_counted_the_largest_group_first() {
        let mut groups = Groups::limited(true);
        let mut printed = 0;
        for number in 0..5_016 {
            let why = if number % 8 == 0 {
                "temperature"
            } else {
                "llm.model, tts.voice_id"
            };
            printed += usize::from(groups.count("drifted", why));
        }
        assert!(!groups.count("missing", "no configuration has the slug"));
        assert_eq!(printed, SHOWN);
        assert_eq!(
            plain(&groups),
            [
                "and 4,997 further agents. All of them, by what is the matter:",
                "   4,389  drifted: llm.model, tts.voice_id",
                "     627  drifted: temperature",
                "       1  missing: no configuration has the slug",
                "  A pipe (`| less`), a file and --json get every agent.",
            ]
        );
    }

    #[test]
    fn few_agents_and_a_pipe_get_every_agent_and_no_groups() {
        for (limited, agents) in [(true, SHOWN), (false, 10 * SHOWN)] {
            let mut groups = Groups::limited(limited);
            for number in 0..agents {
                assert!(groups.count("drifted", &number.to_string()));
            }
            assert_eq!(plain(&groups), Vec::<String>::new());
        }
    }

    #[test]
    fn the_groups_are_bounded() {
        let mut groups = Groups::limited(true);
        for number in 0..3 * REMEMBERED {
            groups.count("rejected", &number.to_string());
        }
        assert_eq!(groups.counts.len(), REMEMBERED);
        let lines = plain(&groups);
        assert_eq!(lines.len(), SHOWN + 3);
        assert_eq!(lines[SHOWN + 1], "   2,980  in smaller groups");
    }
}
