//! One agent of `check` and `reconcile`, as text and as JSON.

use crate::report::problem::{LONGEST_SHOWN, of_tenant};
use crate::show::{
    BOLD, DIM, GREEN, RED, WIDTH, YELLOW, columns, diff_lines, indented, quoted, shorten,
};
use crate::survey::{Comparison, Verdict};

/// The lines of text for one agent.
pub(super) fn lines(comparison: &Comparison) -> Vec<String> {
    let verdict = comparison.verdict();
    let (word, colour) = match verdict {
        Verdict::InSync => ("in sync", GREEN),
        Verdict::Pending => ("pending", YELLOW),
        Verdict::Drifted if comparison.refused().is_some() => ("failed", RED),
        Verdict::Drifted => ("drifted", RED),
        Verdict::Missing => ("missing", RED),
        Verdict::Rejected => ("rejected", RED),
        Verdict::Ambiguous => ("ambiguous", RED),
    };
    let key = comparison.parts();
    let slug = shorten(&quoted(key.slug), LONGEST_SHOWN);
    let tenant = of_tenant(&key);
    let more = match verdict {
        Verdict::Missing => "no configuration has this slug",
        Verdict::Pending => "saved, and the daemon has yet to look at it",
        _ => "",
    };
    let width = 10 + columns(&slug) + columns(&tenant);
    let between = between(width, more);
    let mut lines = vec![format!(
        "{colour}{word:<8}{colour:#}  {BOLD}{slug}{BOLD:#}{tenant}{DIM}{between}{more}{DIM:#}"
    )];
    for mistake in &comparison.mistakes {
        lines.push(indented("          ", mistake, WIDTH));
    }
    for (number, diff) in &comparison.differing {
        if comparison.configurations > 1 {
            lines.push(format!(
                "          {DIM}configuration {number} of {}{DIM:#}",
                comparison.configurations
            ));
        }
        let differences: Vec<_> = diff
            .differences
            .iter()
            .map(|difference| (difference.path(), difference))
            .collect();
        lines.extend(
            diff_lines(&differences, WIDTH - 10)
                .iter()
                .map(|line| format!("          {line}")),
        );
    }
    for remark in &comparison.remarks {
        lines.push(indented("          ", remark, WIDTH));
    }
    if let Some(noted) = comparison.refused() {
        lines.push(indented(
            "          ",
            &format!("the last write failed: {}", noted.detail),
            WIDTH,
        ));
    }
    lines
}

/// The JSON object for one agent.
pub(super) fn object(database: &str, comparison: &Comparison) -> impl serde::Serialize {
    #[derive(serde::Serialize)]
    struct Differing<'a> {
        configuration: usize,
        differences: &'a [crate::mapping::Difference],
    }
    #[derive(serde::Serialize)]
    struct Object<'a> {
        database: &'a str,
        #[serde(rename = "type")]
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<&'a str>,
        slug: &'a str,
        verdict: &'static str,
        pending: bool,
        configurations: usize,
        differing: Vec<Differing<'a>>,
        reasons: &'a [String],
        remarks: &'a [String],
        last_failure: Option<&'a str>,
    }
    let differing = comparison
        .differing
        .iter()
        .map(|(configuration, diff)| Differing {
            configuration: *configuration,
            differences: &diff.differences,
        });
    let key = comparison.parts();
    serde_json::value::to_raw_value(&Object {
        database,
        kind: "agent",
        tenant: key.tenant.as_deref(),
        slug: key.slug,
        verdict: comparison.verdict().name(),
        pending: comparison.pending,
        configurations: comparison.configurations,
        differing: differing.collect(),
        reasons: &comparison.mistakes,
        remarks: &comparison.remarks,
        last_failure: comparison.refused().map(|noted| noted.detail.as_str()),
    })
    .unwrap_or_default()
}

/// The text before the rest of a line of this width: a long slug has its line for itself.
fn between(width: usize, more: &str) -> &'static str {
    match more {
        "" => "",
        more if width + 2 + columns(more) <= WIDTH => "  ",
        _ => "\n          ",
    }
}
