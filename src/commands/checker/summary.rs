//! The summary of `check` for one database.

use serde_json::json;

use super::super::hints;
use super::super::outcome::Row;
use super::super::page::part;
use super::super::unmatched;
use super::{Checked, Checker};
use crate::report::problem;
use crate::settings::Database;
use crate::show::{BOLD, GREEN, RED, YELLOW, plural};
use crate::survey::Tally;

impl Checker<'_> {
    /// Prints the summary of one database.
    pub(super) fn sum_up(
        &mut self,
        database: &Database,
        checked: &Checked,
        led: bool,
        paused: bool,
    ) {
        let Tally {
            agents,
            in_sync,
            pending,
            drifted,
            refused,
            missing,
            rejected,
            ambiguous,
        } = checked.tally;
        if self.json {
            self.page.json(&Row {
                database: &database.name,
                kind: "summary",
                rest: json!({
                    "summary": {
                        "agents": agents, "in_sync": in_sync, "pending": pending,
                        "drifted": drifted, "failed": refused, "missing": missing,
                        "rejected": rejected, "ambiguous": ambiguous,
                    },
                    "unmatched": unmatched::object(&checked.unmatched),
                    "rows_may_be_hidden": checked.hidden, "led": led, "paused": paused,
                }),
            });
            return;
        }
        let parts = [
            (in_sync, "in sync", GREEN),
            (pending, "pending", YELLOW),
            (drifted - refused, "drifted", RED),
            (refused, "failed", RED),
            (missing, "missing", RED),
            (rejected, "rejected", RED),
            (ambiguous, "ambiguous", RED),
        ];
        let parts = parts
            .iter()
            .filter(|(number, name, _)| *number > 0 || *name == "in sync")
            .map(|&(number, name, colour)| part(number, name, colour));
        let parts = parts.collect::<Vec<_>>().join(", ");
        self.page.line(format_args!(
            "{BOLD}{}{BOLD:#}: {}, {parts}",
            database.name,
            plural(agents, "agent")
        ));
        unmatched::print(&mut self.page, &checked.unmatched);
        let scope = format!("{}{}", problem::scope(&database.name), self.scope());
        hints::print(&mut self.page, checked, &scope, (led, paused));
    }

    /// The checked agents as arguments of `reconcile`.
    fn scope(&self) -> &'static str {
        match (self.slugs.is_empty(), self.tenant) {
            (true, None) => "--all",
            (true, Some(_)) => "--tenant TENANT",
            (false, None) => "SLUG",
            (false, Some(_)) => "SLUG --tenant TENANT",
        }
    }
}
