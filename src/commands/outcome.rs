//! The results of `reconcile`, as it prints them.

use std::ops::AddAssign;

use serde::Serialize;
use serde_json::json;

use super::hints::WHY;
use super::page::{Page, part};
use crate::exit::Exit;
use crate::key::Key;
use crate::reconcile::SlugResult;
use crate::report::problem;
use crate::report::problem::{LONGEST_SHOWN, of_tenant};
use crate::settings::Database;
use crate::show::{BOLD, DIM, GREEN, RED, WIDTH, indented, quoted, shorten};

/// A row of the JSON output: the database and the type first.
#[derive(Serialize)]
pub(super) struct Row<'a, T> {
    pub(super) database: &'a str,
    /// The subject of the row: `agent`, `summary` or another.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    #[serde(flatten)]
    pub(super) rest: T,
}

/// The rest of the row of an agent that is still out of sync.
#[derive(Serialize)]
struct OutOfSync<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    slug: &'a str,
    outcome: &'static str,
    reasons: Vec<String>,
    remedy: Option<String>,
}

/// The number of slugs by result.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) synced: i64,
    pub(super) missing: i64,
    pub(super) rejected: i64,
    pub(super) failed: i64,
}

impl Outcome {
    pub(super) fn exit(self) -> Exit {
        if self.missing + self.rejected + self.failed > 0 {
            Exit::Failed
        } else {
            Exit::Done
        }
    }

    /// Prints the summary of one database.
    pub(super) fn sum_up(
        self,
        page: &mut Page,
        database: &Database,
        unchanged: i64,
        used_oneshot_drain: bool,
        json: bool,
    ) {
        let Outcome {
            synced,
            missing,
            rejected,
            failed,
        } = self;
        if json {
            page.json(&Row {
                database: &database.name,
                kind: "summary",
                rest: json!({
                    "summary": {
                        "synced": synced, "unchanged": unchanged, "missing": missing,
                        "rejected": rejected, "failed": failed,
                    },
                    "stood_in_for_the_daemon": used_oneshot_drain,
                }),
            });
            return;
        }
        let parts = [
            (synced, "synced", GREEN),
            (unchanged, "unchanged", DIM),
            (missing, "missing", RED),
            (rejected, "rejected", RED),
            (failed, "failed", RED),
        ];
        let parts = parts.map(|(number, name, colour)| part(number, name, colour));
        page.line(format_args!(
            "{BOLD}{}{BOLD:#}: {}",
            database.name,
            parts.join(", ")
        ));
        if used_oneshot_drain {
            let text = format!(
                "No daemon leads, so this command did the work. {}.",
                problem::START
            );
            page.line(format_args!("{DIM}{}{DIM:#}", indented("  ", &text, WIDTH)));
        }
        if missing + rejected + failed > 0 {
            page.line(format_args!("{DIM}  {WHY}{DIM:#}"));
        }
    }
}

impl AddAssign<&SlugResult> for Outcome {
    fn add_assign(&mut self, result: &SlugResult) {
        match result {
            SlugResult::InSync => self.synced += 1,
            SlugResult::Missing => self.missing += 1,
            SlugResult::Rejected(_) => self.rejected += 1,
            SlugResult::Failed { .. } | SlugResult::Differs => self.failed += 1,
            SlugResult::Gone => {}
        }
    }
}

/// The group of an agent that is still out of sync.
pub(super) fn group(result: &SlugResult) -> Option<(&'static str, String)> {
    Some(match result {
        SlugResult::InSync | SlugResult::Gone | SlugResult::Rejected(_) => return None,
        SlugResult::Missing => ("missing", "its configuration has just gone".to_owned()),
        SlugResult::Failed { detail, .. } => ("failed", detail.clone()),
        SlugResult::Differs => ("failed", "it was written and differs again".to_owned()),
    })
}

/// Prints an agent that is still out of sync.
pub(super) fn print(
    page: &mut Page,
    database: &Database,
    key: &Key<'_>,
    result: &SlugResult,
    json: bool,
) {
    let (word, reasons, remedy) = match result {
        // The check has printed the rejected agents.
        SlugResult::InSync | SlugResult::Gone | SlugResult::Rejected(_) => return,
        SlugResult::Missing => (
            "missing",
            vec!["its configuration has just gone".to_owned()],
            None,
        ),
        SlugResult::Failed { detail, sqlstate } => {
            let remedy = problem::remedy(database, ("failed", detail), sqlstate.as_deref(), key);
            ("failed", vec![detail.clone()], Some(remedy))
        }
        SlugResult::Differs => {
            let reason = "it was written and differs again: somebody, or a trigger, changes it \
                back, or the daemon has other rules or columns than this command";
            let remedy = "If the settings or the rules were edited, have the daemon read them \
                (`systemctl reload agent-sync`, or SIGHUP), and run this again.";
            ("failed", vec![reason.to_owned()], Some(remedy.to_owned()))
        }
    };
    if json {
        page.json(&Row {
            database: &database.name,
            kind: "agent",
            rest: OutOfSync {
                tenant: key.tenant.as_deref(),
                slug: key.slug,
                outcome: word,
                reasons,
                remedy,
            },
        });
        return;
    }
    page.line(format_args!(
        "{RED}{word:<8}{RED:#}  {BOLD}{}{BOLD:#}{}",
        shorten(&quoted(key.slug), LONGEST_SHOWN),
        of_tenant(key)
    ));
    for reason in reasons {
        page.line(indented("          ", &reason, WIDTH));
    }
    if let Some(remedy) = remedy {
        page.line(indented("          try: ", &remedy, WIDTH));
    }
}
