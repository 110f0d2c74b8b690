//! One agent of `check` and `reconcile`, as text and as JSON.

use crate::show::{BOLD, DIM, GREEN, RED, WIDTH, YELLOW, diff_lines, indented, quoted, shorten};
use crate::survey::{Findings, Verdict};

/// The largest number of characters of a slug in the text output; JSON has the complete slug.
const LONGEST_SLUG_SHOWN: usize = 400;

/// The lines of text for one agent.
pub(super) fn lines(findings: &Findings) -> Vec<String> {
    let verdict = findings.verdict();
    let (word, colour) = match verdict {
        Verdict::InSync => ("in sync", GREEN),
        Verdict::Pending => ("pending", YELLOW),
        Verdict::Drifted => ("drifted", RED),
        Verdict::Missing => ("missing", RED),
        Verdict::Rejected => ("rejected", RED),
        Verdict::Ambiguous => ("ambiguous", RED),
    };
    let slug = shorten(&quoted(&findings.slug), LONGEST_SLUG_SHOWN);
    let more = match verdict {
        Verdict::Missing => "  no configuration has this slug",
        Verdict::Pending => "  saved, and the daemon has yet to look at it",
        _ => "",
    };
    let mut lines = vec![format!(
        "{colour}{word:<8}{colour:#}  {BOLD}{slug}{BOLD:#}{DIM}{more}{DIM:#}"
    )];
    for mistake in &findings.mistakes {
        lines.push(indented("          ", mistake, WIDTH));
    }
    for (number, diff) in &findings.differing {
        if findings.configurations > 1 {
            lines.push(format!(
                "          {DIM}configuration {number} of {}{DIM:#}",
                findings.configurations
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
    for remark in &findings.remarks {
        lines.push(indented("          ", remark, WIDTH));
    }
    if let Some(noted) = findings.refused() {
        lines.push(indented(
            "          ",
            &format!("the last write failed: {}", noted.detail),
            WIDTH,
        ));
    }
    lines
}

/// The JSON object for one agent.
pub(super) fn object(database: &str, findings: &Findings) -> impl serde::Serialize {
    #[derive(serde::Serialize)]
    struct Differing<'a> {
        configuration: usize,
        differences: &'a [crate::mapping::Difference],
    }
    #[derive(serde::Serialize)]
    struct Object<'a> {
        database: &'a str,
        slug: &'a str,
        verdict: &'static str,
        pending: bool,
        configurations: usize,
        differing: Vec<Differing<'a>>,
        reasons: &'a [String],
        remarks: &'a [String],
        last_failure: Option<&'a str>,
    }
    let differing = findings
        .differing
        .iter()
        .map(|(configuration, diff)| Differing {
            configuration: *configuration,
            differences: &diff.differences,
        });
    serde_json::value::to_raw_value(&Object {
        database,
        slug: &findings.slug,
        verdict: findings.verdict().name(),
        pending: findings.pending,
        configurations: findings.configurations,
        differing: differing.collect(),
        reasons: &findings.mistakes,
        remarks: &findings.remarks,
        last_failure: findings.refused().map(|noted| noted.detail.as_str()),
    })
    .unwrap_or_default()
}
