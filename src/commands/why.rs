//! `why SLUG`: explains the state of one agent in every database that has it.

use std::path::Path;

use postgres_types::Type;
use serde_json::json;
use serde_json::value::to_raw_value;

use super::named::named;
use super::page::Page;
use super::tenant::{Search, hint};
use crate::cli::Why;
use crate::exit::{Exit, Fault};
use crate::key::Key;
use crate::mapping::{Difference, Fields, Rules, Value};
use crate::pg::Parameter;
use crate::report::problem::of_tenant;
use crate::report::{Conclusion, Level, Look, Story, conclude, look, story};
use crate::settings::{Database, Settings};
use crate::show::{
    BOLD, CYAN, Clean, DIM, GREEN, RED, WIDTH, YELLOW, age, columns, diff_lines, indented, padded,
    quoted, shorten,
};
use crate::store::report;

/// Prints the explanation for every database with the slug. Fails if neither table of any database
/// has it.
pub fn why(config: Option<&Path>, args: &Why) -> anyhow::Result<Exit> {
    let settings = super::settings(config)?;
    let rules = super::rules(&settings)?;
    let databases = super::select(&settings, &args.reporting.databases.names)?;
    super::block_on(async {
        let mut page = Page::new();
        let (mut found, mut exits) = (false, Vec::new());
        let mut sought = Search::of(args.tenant.tenant.as_deref());
        for database in databases {
            match Box::pin(find_out(database, &settings, &rules, args, &mut sought)).await {
                Ok((look, told)) => {
                    let keys = database.agents.columns.keys();
                    for (key, story) in &told.stories {
                        let key = keys.parts(key);
                        found = true;
                        let conclusion = conclude(database, &look, story, &key);
                        if args.reporting.json {
                            page.json(&object(database, &look, story, &conclusion, &key));
                        } else {
                            print(&mut page, database, &look, story, &conclusion, &key);
                        }
                    }
                    if told.more {
                        page.note(format_args!(
                            "database {}: more than {MOST} tenants have this slug; name one with \
                            --tenant",
                            database.name
                        ));
                    }
                }
                Err(error) => {
                    page.flush();
                    exits.push(super::output::report(&error));
                }
            }
        }
        page.flush();
        if !found && exits.is_empty() {
            let names: Vec<_> = databases_of(&settings, &args.reporting.databases.names);
            let what = format!(
                "neither an agent nor a configuration has the slug {}{}",
                super::typed(&args.slug),
                args.tenant
                    .tenant
                    .as_deref()
                    .map(|tenant| format!(" of tenant {}", super::typed(tenant)))
                    .unwrap_or_default()
            );
            let of_tenant = match sought.near() {
                Some(near) => format!("; there, nothing has this tenant{}", hint(&near)),
                None => String::new(),
            };
            let remedy = format!("looked in: {}{of_tenant}", names.join(", "));
            let fault = Fault::new(Exit::Failed, what).remedy(remedy);
            exits.push(super::output::report(&fault.into()));
        }
        page.end(super::worst(exits))
    })
}

fn databases_of<'a>(settings: &'a Settings, names: &'a [String]) -> Vec<&'a str> {
    let all = settings.databases.keys().map(String::as_str);
    if names.is_empty() {
        all.collect()
    } else {
        names.iter().map(String::as_str).collect()
    }
}

/// The most tenants whose agents of one slug are explained.
const MOST: usize = 20;

/// What a database says about a slug.
struct Told {
    /// Each agent, or configuration without agent, by its key.
    stories: Vec<(String, Story)>,
    /// Whether there are more of them.
    more: bool,
}

async fn find_out(
    database: &Database,
    settings: &Settings,
    rules: &Rules,
    args: &Why,
    sought: &mut Search,
) -> anyhow::Result<(Look, Told)> {
    let session = super::open_or_fault("why", database, settings).await?;
    let look = look(session.db(), database, settings, Some(rules)).await;
    let Some(layout) = &look.layout else {
        let note = look
            .trouble()
            .into_iter()
            .find(|note| note.topic == "tables");
        let what = format!("database {}: its tables cannot be used", database.name);
        let fault = Fault::new(Exit::Failed, what);
        return Err(match note {
            Some(note) => anyhow::anyhow!("{}", note.text)
                .context(fault.remedy(note.remedy.clone().unwrap_or_default())),
            None => fault.into(),
        });
    };
    let (db, unanswered) = (session.db(), |error| super::unanswered(database, error));
    let tenant = args.tenant.tenant.as_deref();
    let mut keys: Vec<String> = if tenant.is_none() && layout.keys().have_tenants() {
        let limit = i64::try_from(MOST).unwrap_or(i64::MAX).saturating_add(1);
        let slug: [Parameter<'_>; 2] = [(&args.slug, Type::TEXT), (&limit, Type::INT8)];
        let keys = db.column(&report::keys_of_slug(layout), &slug).await;
        keys.map_err(unanswered)?
    } else {
        named(database, layout, &[&args.slug], tenant)?.1
    };
    sought.look(db, layout).await.map_err(unanswered)?;
    let more = keys.len() > MOST;
    keys.truncate(MOST);
    let mut stories = Vec::with_capacity(keys.len());
    for key in keys {
        let story = Box::pin(story(db, rules, layout, look.installed, &key)).await;
        let story = story.map_err(unanswered)?;
        // A database without the key prints nothing.
        if story.agent.is_some() || story.rows > 0 {
            stories.push((key, story));
        }
    }
    Ok((look, Told { stories, more }))
}

fn print(
    page: &mut Page,
    database: &Database,
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
    if let Some(agent) = &story.agent {
        section(page, "the agent as saved", agent);
    }
    for (index, fields) in story.configurations.iter().enumerate() {
        let of = match story.configurations.len() {
            1 => String::new(),
            all => format!(" ({} of {all})", index + 1),
        };
        section(page, &format!("its configuration{of} as it is"), fields);
    }
    expected(page, story);
    state(page, look, story);
    history(page, story);
    page.line("");
    page.line(indented("", &conclusion.conclusion, WIDTH));
    if let Some(remedy) = &conclusion.remedy {
        page.line(indented("  try: ", remedy, WIDTH));
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
    for (number, diff) in &findings.differing {
        if findings.configurations > 1 {
            page.line(format_args!("    {DIM}configuration {number}:{DIM:#}"));
        }
        let differences: Vec<_> = diff
            .differences
            .iter()
            .map(|difference| (difference.path(), difference))
            .collect();
        for line in diff_lines(&differences, WIDTH - 4) {
            page.line(format_args!("    {line}"));
        }
    }
    for remark in findings.remarks.iter().chain(&story.unmapped) {
        page.line(indented("    ", remark, WIDTH));
    }
    if findings.mistakes.is_empty() && findings.differing.is_empty() {
        let text = if findings.configurations == 0 {
            "there is nothing to write to"
        } else {
            "nothing to write"
        };
        page.line(format_args!("    {GREEN}{text}{GREEN:#}"));
    }
}

/// Prints the pending change, the problem, and the notes about the daemon and the database.
fn state(page: &mut Page, look: &Look, story: &Story) {
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
                format!("{} times", problem.attempts)
            };
            page.line(format_args!(
                "    {RED}problem{RED:#}  {} since {} ({}), met {times}",
                problem.kind,
                problem.since.since,
                age(problem.since.seconds)
            ));
            for line in problem.detail.lines() {
                page.line(indented("             ", line, WIDTH));
            }
        }
        None if look.installed => page.line(format_args!("    problem  {DIM}none is noted{DIM:#}")),
        None => {}
    }
    let about_all = look.notes.iter().filter(|note| {
        note.topic == "daemon"
            || (note.level > Level::Pass
                && !["agents", "outbox", "index", "two-phase"].contains(&note.topic))
    });
    for note in about_all {
        let lead = if note.topic == "daemon" {
            "    daemon   "
        } else {
            "    database "
        };
        page.line(indented(lead, &note.text, WIDTH));
    }
}

/// Prints the latest writes with the application and the role that caused each.
fn history(page: &mut Page, story: &Story) {
    heading(page, "writes, the latest first");
    if story.history.is_empty() {
        page.line("    nothing is noted; history.enabled = true notes it");
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

/// The explanation as a JSON object.
fn object(
    database: &Database,
    look: &Look,
    story: &Story,
    conclusion: &Conclusion,
    key: &Key<'_>,
) -> impl serde::Serialize {
    #[derive(serde::Serialize)]
    struct Object<'a> {
        database: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        tenant: Option<&'a str>,
        slug: &'a str,
        agent: Option<Fields<'a>>,
        configurations: Vec<Fields<'a>>,
        verdict: Option<&'static str>,
        differing: Vec<&'a [Difference]>,
        reasons: &'a [String],
        remarks: &'a [String],
        unmapped: &'a [String],
        pending: &'a Option<crate::report::Since>,
        problem: &'a Option<crate::report::Problem>,
        history: &'a [crate::report::Write],
        leader: Option<&'a crate::report::Daemon>,
        trouble: serde_json::Value,
        #[serde(flatten)]
        conclusion: &'a Conclusion,
    }
    let (findings, configurations) = (story.findings.as_ref(), story.configurations.iter());
    to_raw_value(&Object {
        database: &database.name,
        tenant: key.tenant.as_deref(),
        slug: key.slug,
        agent: story.agent.as_deref().map(Fields),
        configurations: configurations.map(|fields| Fields(fields)).collect(),
        verdict: findings.map(|findings| findings.verdict().name()),
        differing: findings
            .map(|findings| {
                findings
                    .differing
                    .iter()
                    .map(|(_, diff)| &*diff.differences)
                    .collect()
            })
            .unwrap_or_default(),
        reasons: findings.map_or(&[], |findings| &findings.mistakes),
        remarks: findings.map_or(&[], |findings| &findings.remarks),
        unmapped: &story.unmapped,
        pending: &story.pending,
        problem: &story.problem,
        history: &story.history,
        leader: look.leader(),
        trouble: json!(look.trouble()),
        conclusion,
    })
    .unwrap_or_default()
}
