//! The explanation of one agent, as text and as JSON, for `why`.

use super::page::Page;
use crate::key::Key;
use crate::mapping::{Difference, Fields, Value};
use crate::report::problem::of_tenant;
use crate::report::{Conclusion, Level, Look, Note, Story};
use crate::settings::Database;
use crate::show::{
    BOLD, CYAN, Clean, DIM, GREEN, RED, WIDTH, YELLOW, age, columns, count, diff_lines, indented,
    padded, quoted, shorten,
};
use crate::survey::Verdict;

/// Prints the explanation. The settings may say that writes are noted.
pub(super) fn print(
    page: &mut Page,
    (database, is_noted): (&Database, bool),
    look: &Look,
    story: &Story,
    conclusion: &Conclusion,
    key: &Key<'_>,
) {
    page.line(format_args!(
        "{BOLD}{}{BOLD:#}{} in {}",
        quoted(key.slug),
        of_tenant(key),
        database.name
    ));
    let agents = story.findings.as_ref().map_or(1, |found| found.agents);
    for (index, fields) in story.agents.iter().enumerate() {
        let of = numbered(index, agents);
        section(page, &format!("the agent{of} as saved"), fields);
    }
    let all = i64::try_from(story.configurations.len()).unwrap_or(i64::MAX);
    for (index, fields) in story.configurations.iter().enumerate() {
        let of = numbered(index, all);
        section(page, &format!("its configuration{of} as it is"), fields);
    }
    expected(page, story);
    state(page, look, story, conclusion);
    history(page, story, is_noted);
    page.line("");
    page.line(indented("", &conclusion.conclusion, WIDTH));
    if let Some(remedy) = &conclusion.remedy {
        page.line(indented("  try: ", remedy, WIDTH));
    }
}

/// The number of one of several.
fn numbered(index: usize, all: i64) -> String {
    if all > 1 {
        format!(" ({} of {})", index + 1, count(all))
    } else {
        String::new()
    }
}

fn heading(page: &mut Page, text: &str) {
    page.line(format_args!("  {CYAN}{text}{CYAN:#}"));
}

fn section(page: &mut Page, title: &str, fields: &[(String, Value)]) {
    heading(page, title);
    let fields: Vec<_> = fields
        .iter()
        .map(|(path, value)| (Clean::line(path).to_string(), value))
        .collect();
    let widest = fields
        .iter()
        .map(|(path, _)| columns(path))
        .max()
        .unwrap_or(0);
    for (path, value) in &fields {
        let value = shorten(&value.to_string(), WIDTH.saturating_sub(widest + 6).max(16));
        page.line(format_args!("    {}  {value}", padded(path, widest)));
    }
    if fields.is_empty() {
        page.line(format_args!("    {DIM}nothing is set{DIM:#}"));
    }
}

/// Prints the mistakes and the differences that the mapping finds.
fn expected(page: &mut Page, story: &Story) {
    let Some(findings) = &story.findings else {
        return;
    };
    heading(page, "result of the mapping");
    for mistake in &findings.mistakes {
        page.line(indented("    ✗ ", mistake, WIDTH));
    }
    for listed in &findings.differing.listed {
        if findings.configurations > 1 {
            let number = listed.configuration;
            page.line(format_args!("    {DIM}configuration {number}:{DIM:#}"));
        }
        let differences: Vec<_> = listed
            .differences
            .iter()
            .map(|difference| (difference.path(), difference))
            .collect();
        for line in diff_lines(&differences, WIDTH - 4) {
            page.line(format_args!("    {line}"));
        }
    }
    let remarks = findings.remarks.iter().chain(&story.unmapped);
    for remark in remarks.chain(&story.left_out) {
        page.line(indented("    ", remark, WIDTH));
    }
    if findings.mistakes.is_empty() && findings.differing.number == 0 {
        let text = if findings.configurations == 0 {
            "there is nothing to write to"
        } else {
            "nothing to write"
        };
        page.line(format_args!("    {GREEN}{text}{GREEN:#}"));
    }
}

/// Prints the pending change, the problem, and the notes about the daemon and the database: a fault
/// with its remedy, unless the conclusion has that.
fn state(page: &mut Page, look: &Look, story: &Story, conclusion: &Conclusion) {
    heading(page, "known state");
    match &story.pending {
        Some(pending) => {
            page.line(format_args!(
                "    {YELLOW}pending{YELLOW:#}  since {} ({})",
                pending.since,
                age(pending.seconds)
            ));
        }
        None if look.installed => page.line(format_args!("    pending  {DIM}no{DIM:#}")),
        None => {}
    }
    match &story.problem {
        Some(problem) => {
            let times = if problem.attempts == 1 {
                "once".to_owned()
            } else {
                format!("{} times", count(problem.attempts))
            };
            let text = format!(
                "{} since {} ({}), met {times}",
                problem.kind,
                problem.since.since,
                age(problem.since.seconds)
            );
            let text = indented("    problem  ", &text, WIDTH);
            page.line(text.replacen("problem", &format!("{RED}problem{RED:#}"), 1));
            for line in problem.detail.lines() {
                page.line(indented("             ", line, WIDTH));
            }
        }
        None if look.installed => page.line(format_args!("    problem  {DIM}none is noted{DIM:#}")),
        None => {}
    }
    let about_all = look.notes.iter().filter(|note| {
        note.topic == "daemon" || note.level > Level::Pass && !is_about_others(note)
    });
    for note in about_all {
        let lead = if note.topic == "daemon" {
            "    daemon   "
        } else {
            "    database "
        };
        page.line(indented(lead, &note.text, WIDTH));
        let remedy = note.remedy.as_ref().filter(|_| note.level == Level::Fail);
        if let Some(remedy) = remedy.filter(|_| note.remedy != conclusion.remedy) {
            page.line(indented("      try: ", remedy, WIDTH));
        }
    }
}

/// Whether a note is about other agents, or about what slows all of them down. The text leaves it
/// out, and JSON what is about other agents alone.
fn is_about_others(note: &Note) -> bool {
    ["agents", "outbox", "index", "two-phase"].contains(&note.topic)
}

/// Prints the latest writes with the application and the role that caused each.
fn history(page: &mut Page, story: &Story, is_noted: bool) {
    heading(page, "writes, the latest first");
    if story.history.is_empty() {
        page.line(if is_noted {
            "    none is noted"
        } else {
            "    nothing is noted; history.enabled = true notes it"
        });
    }
    for write in &story.history {
        let by = write
            .application_name
            .as_deref()
            .filter(|name| !name.is_empty())
            .map(|name| format!(" by {}", quoted(name)));
        let role = write
            .role
            .as_deref()
            .map(|role| format!(" as {}", quoted(role)));
        let text = format!(
            "{} ago{}{}: {}",
            age(write.since.seconds),
            by.unwrap_or_default(),
            role.unwrap_or_default(),
            write.columns.join(", ")
        );
        page.line(indented("    ", &text, WIDTH));
        let differences: Vec<_> = write
            .differences
            .iter()
            .map(|difference| (difference.path(), difference))
            .collect();
        for line in diff_lines(&differences, WIDTH - 6) {
            page.line(format_args!("      {line}"));
        }
    }
}

/// The explanation as a JSON object. The settings may say that writes are noted.
pub(super) fn object<'a>(
    (database, is_noted): (&'a Database, bool),
    look: &'a Look,
    story: &'a Story,
    conclusion: &'a Conclusion,
    key: &'a Key<'_>,
) -> impl serde::Serialize + use<'a> {
    let (findings, configurations) = (story.findings.as_ref(), story.configurations.iter());
    let differing = findings.map_or(&[][..], |findings| &findings.differing.listed);
    Object {
        database: &database.name,
        tenant: key.tenant.as_deref(),
        slug: key.slug,
        agent: story.agents.first().map(|fields| Fields(fields)),
        agents: findings.map_or(0, |findings| findings.agents),
        configurations: configurations.map(|fields| Fields(fields)).collect(),
        configured: story.rows,
        verdict: story.verdict().map(Verdict::name),
        differing: differing
            .iter()
            .map(|listed| &*listed.differences)
            .collect(),
        reasons: findings.map_or(&[], |findings| &findings.mistakes),
        remarks: findings.map_or(&[], |findings| &findings.remarks),
        unmapped: &story.unmapped,
        left_out: &story.left_out,
        pending: &story.pending,
        problem: &story.problem,
        history: &story.history,
        history_enabled: is_noted,
        leader: look.leader(),
        trouble: look
            .trouble()
            .into_iter()
            .filter(|note| note.topic != "agents")
            .collect(),
        conclusion,
    }
}

#[derive(serde::Serialize)]
struct Object<'a> {
    database: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    slug: &'a str,
    agent: Option<Fields<'a>>,
    agents: i64,
    configurations: Vec<Fields<'a>>,
    /// The number of configurations, also of those that are left out.
    configured: i64,
    verdict: Option<&'static str>,
    differing: Vec<&'a [Difference]>,
    reasons: &'a [String],
    remarks: &'a [String],
    unmapped: &'a [String],
    /// A sentence on each part that is left out because of its size.
    left_out: &'a [String],
    pending: &'a Option<crate::report::Since>,
    problem: &'a Option<crate::report::Problem>,
    history: &'a [crate::report::Write],
    /// Whether the settings have each write noted.
    history_enabled: bool,
    leader: Option<&'a crate::report::Daemon>,
    trouble: Vec<&'a Note>,
    #[serde(flatten)]
    conclusion: &'a Conclusion,
}
