//! The steps that follow from the summary of `check`, below it.

use super::checker::Checked;
use super::page::Page;
use crate::report::problem;
use crate::show::{DIM, WIDTH, indented};

/// The step after the summary of agents that only a change of their own brings in sync.
pub(super) const WHY: &str =
    "`agent-sync why SLUG` explains one that is missing, rejected or failed.";

/// Prints the hints. `scope` names the checked agents and their database as arguments of
/// `reconcile`; a daemon leads, or the database is paused.
pub(super) fn print(page: &mut Page, checked: &Checked, scope: &str, (led, paused): (bool, bool)) {
    let tally = &checked.tally;
    let mut hint = |text: &str| {
        page.line(format_args!("{DIM}{}{DIM:#}", indented("  ", text, WIDTH)));
    };
    if tally.drifted > tally.refused && checked.can_read_notes {
        hint(&format!(
            "`agent-sync reconcile {scope}` brings the drifted configurations in sync."
        ));
    }
    if tally.pending > 0 && !led {
        hint(&format!(
            "No daemon leads, so the pending changes wait. {}",
            problem::without_leader(paused)
        ));
    }
    if tally.missing + tally.rejected + tally.ambiguous + tally.refused > 0 {
        hint(WHY);
    }
}
