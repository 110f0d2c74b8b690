//! One agent of `check` and `reconcile`, as text and as JSON.

use crate::report::problem::{LONGEST_SHOWN, of_tenant};
use crate::show::{
    BOLD, DIM, GREEN, RED, WIDTH, YELLOW, columns, diff_lines, indented, plural, quoted, shorten,
};
use crate::survey::{Comparison, Differing, Verdict};

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
    differing(comparison, &mut lines);
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

/// Adds the lines of the configurations that differ.
fn differing(comparison: &Comparison, lines: &mut Vec<String>) {
    for listed in &comparison.differing.listed {
        if listed.differences.is_empty() {
            continue;
        }
        if comparison.configurations > 1 {
            lines.push(format!(
                "          {DIM}configuration {} of {}{DIM:#}",
                listed.configuration, comparison.configurations
            ));
        }
        let differences: Vec<_> = listed
            .differences
            .iter()
            .map(|difference| (difference.path(), difference))
            .collect();
        let own = diff_lines(&differences, WIDTH - 10);
        lines.extend(own.iter().map(|line| format!("          {line}")));
    }
    if let Some(left_out) = left_out(&comparison.differing) {
        lines.push(indented("          ", &left_out, WIDTH));
    }
}

/// A sentence on the differences that are left out of the lists.
fn left_out(differing: &Differing) -> Option<String> {
    let (differences, configurations) = differing.left();
    let number = |number| i64::try_from(number).unwrap_or(i64::MAX);
    (differences > 0).then(|| {
        format!(
            "Not shown: {} of {}.",
            plural(number(differences), "more difference"),
            plural(number(configurations), "configuration")
        )
    })
}

/// The JSON object for one agent.
pub(super) fn object(database: &str, comparison: &Comparison) -> impl serde::Serialize {
    #[derive(serde::Serialize)]
    struct Configuration<'a> {
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
        differing: Vec<Configuration<'a>>,
        reasons: &'a [String],
        remarks: &'a [String],
        last_failure: Option<&'a str>,
        /// Where a list is cut.
        #[serde(skip_serializing_if = "Option::is_none")]
        left_out: Option<[String; 1]>,
    }
    let listed = comparison.differing.listed.iter();
    let differing = listed.map(|listed| Configuration {
        configuration: listed.configuration,
        differences: &listed.differences,
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
        left_out: left_out(&comparison.differing).map(|sentence| [sentence]),
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
