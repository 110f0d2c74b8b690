//! `render`: applies the mapping to one agent, without a database (I5).
//!
//! Standard input is `{"agent":{…},"configuration":{…}}`: the rows as JSON objects with the column
//! names of the tables. The mapping ignores columns that it does not know. JSON columns may be
//! objects or strings, and a missing configuration is an empty one. Standard output is one JSON
//! object of the columns that would be written, `{}` if the configuration is in sync. It has no
//! timestamps, because the clock of the database sets them.

use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context;

use crate::columns::{AgentColumn, Column, Content, MappedColumn, Per, PerAgentColumn, PerColumn};
use crate::exit::{Exit, Fault};
use crate::mapping::json::{self, Object};
use crate::mapping::{self, Changes, Mistake, Rules, Targets};
use crate::show::quoted;
use crate::similar::{distance, nearest};

/// The limit of standard input, in bytes.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

const SHAPE: &str =
    r#"give {"agent": {…}, "configuration": {…}}, with the columns of one row of each table"#;

/// The result of `render`.
#[derive(Debug)]
pub struct Rendered {
    /// The columns that would be written: one JSON object, numbers digit for digit.
    pub columns: String,
    /// The warnings, and the settings that no rule reads, for standard error.
    pub warnings: Vec<String>,
}

/// Runs the mapping on standard input and prints the result.
pub fn render(config: Option<&Path>) -> anyhow::Result<Exit> {
    let rules = super::rules(&super::load(config)?.settings)?;
    if io::stdin().is_terminal() {
        super::output::note(format_args!(
            "reads the terminal up to an end of file (Ctrl-D): {SHAPE}"
        ));
    }
    let rendered = render_with(&rules, &read(io::stdin().lock())?)?;
    for warning in &rendered.warnings {
        super::output::note(format_args!("warning: {warning}"));
    }
    super::output::say_result(&json::print(&rendered.columns, io::stdout().is_terminal()))?;
    Ok(Exit::Done)
}

/// Runs the mapping on one input. Fails with a [`Fault`] of exit code 64 if the input is malformed,
/// and of exit code 1 if the agent is rejected.
pub fn render_with(rules: &Rules, input: &str) -> anyhow::Result<Rendered> {
    let input = Input::parse(input)?;
    let (agent, configuration) = (input.agent.as_deref(), input.configuration.as_deref());
    let plan =
        mapping::plan(rules, &Targets::all(), &agent, &configuration).context(Fault::new(
            Exit::Failed,
            "the agent is rejected, nothing would be written",
        ))?;
    let warnings = plan.warnings.iter().map(ToString::to_string);
    let warnings = input.unknown.into_iter().chain(warnings);
    Ok(Rendered {
        columns: columns(&plan.changes),
        warnings: warnings.chain(plan.unmapped.remarks(rules)).collect(),
    })
}

fn read(stdin: impl Read) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    stdin
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .context(Fault::new(Exit::Failed, "standard input cannot be read"))?;
    if bytes.len() as u64 > MAX_INPUT {
        let what = format!("standard input: expected at most {MAX_INPUT} bytes, found more");
        return Err(Fault::usage(what)
            .remedy("give one agent and one configuration")
            .into());
    }
    String::from_utf8(bytes).context(Fault::usage("standard input: expected UTF-8").remedy(SHAPE))
}

/// The columns to write, as one JSON object.
fn columns(changes: &Changes<'_>) -> String {
    let mut members = Vec::new();
    for column in Column::in_reports() {
        if let Some(text) = &changes[column] {
            let value = match column.content() {
                Content::Number | Content::Json => text.to_string(),
                Content::Name | Content::Prompt | Content::Address => json::quote(text),
            };
            members.push(format!("\"{}\":{value}", column.name()));
        }
    }
    format!("{{{}}}", members.join(","))
}

/// The input, with every column as the text that a database would return.
#[derive(Debug, Default)]
struct Input {
    agent: PerAgentColumn<Option<String>>,
    configuration: PerColumn<Option<String>>,
    /// The remarks on keys that are read by nothing and may be mistyped.
    unknown: Vec<String>,
}

impl Input {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let raw = json::validate(text).context(
            Fault::usage("standard input: expected JSON, found something else").remedy(SHAPE),
        )?;
        let mut mistakes = Vec::new();
        let mut input = Self::default();
        if raw.starts_with('{') {
            let rows = Object::of(raw);
            input.unknown = unknown(&rows);
            match rows.get("agent") {
                Some(agent) => input.agent = row("agent", agent, &mut mistakes),
                None => mistakes.push(mistake("agent", "an object", "nothing")),
            }
            if let Some(configuration) = rows.get("configuration").filter(|&raw| raw != "null") {
                input.configuration = row("configuration", configuration, &mut mistakes);
            }
        } else {
            mistakes.push(mistake(
                "standard input",
                "an object",
                mapping::describe(raw),
            ));
        }
        if mistakes.is_empty() {
            return Ok(input);
        }
        let reasons = mapping::Rejection { mistakes, more: 0 };
        Err(reasons)
            .context(Fault::usage("standard input has not the shape of an agent").remedy(SHAPE))
    }
}

/// The most keys that are remarked on.
const REMARKS: usize = 20;

/// A remark on each key beside `agent` and `configuration`, and on each key of these two that is
/// similar to a column of the mapping. A row has any number of other columns.
fn unknown(rows: &Object<'_>) -> Vec<String> {
    const TOP: [&str; 2] = ["agent", "configuration"];
    let mut remarks = Vec::new();
    for key in keys(rows) {
        if !TOP.contains(&&*key) {
            let remark = match nearest(&key, TOP.iter().copied()) {
                Some(name) => format!("{}: nothing reads it; did you mean `{name}`?", quoted(&key)),
                None => format!(
                    "{}: nothing reads it; known here: agent, configuration",
                    quoted(&key)
                ),
            };
            remarks.push(remark);
        }
    }
    let agent: Vec<_> = AgentColumn::ALL
        .iter()
        .map(|column| column.name())
        .collect();
    let configuration: Vec<_> = Column::ALL.iter().map(|column| column.name()).collect();
    for (row, known) in TOP.into_iter().zip([agent, configuration]) {
        for key in rows.get(row).map(Object::of).iter().flat_map(keys) {
            if known.contains(&&*key) {
                continue;
            }
            let near = known.iter();
            let near = near.filter_map(|name| Some((distance(&key, name)?, name)));
            if let Some((_, name)) = near.min() {
                let key = quoted(&key);
                remarks.push(format!(
                    "{row}.{key}: nothing reads it; did you mean `{name}`?"
                ));
            }
        }
    }
    let more = remarks.len().saturating_sub(REMARKS);
    remarks.truncate(REMARKS);
    if more > 0 {
        remarks.push(format!("and {more} more keys that nothing reads"));
    }
    remarks
}

/// The keys of an object, of those that are not long.
fn keys(object: &Object<'_>) -> Vec<String> {
    let keys = object.iter().filter(|(key, _)| key.len() <= 80);
    keys.filter_map(|(key, _)| Some(json::text(key)?.into_owned()))
        .collect()
}

/// The columns of a row. Mistakes are added to the list.
fn row<C: MappedColumn, const N: usize>(
    name: &str,
    raw: &str,
    mistakes: &mut Vec<Mistake>,
) -> Per<C, Option<String>, N> {
    if !raw.starts_with('{') {
        mistakes.push(mistake(name, "an object", mapping::describe(raw)));
    }
    let row = Object::of(raw);
    Per::from_fn(|column: C| {
        let raw = row.get(column.name()).filter(|&raw| raw != "null")?;
        let text = json::text(raw).map(std::borrow::Cow::into_owned);
        let (value, expected) = match column.content() {
            Content::Name | Content::Prompt | Content::Address => (text, "text or null"),
            Content::Number if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                (Some(raw.to_owned()), "")
            }
            Content::Number => (text, "a number or null"),
            // A string stays a string: the mapping reads JSON in either form.
            Content::Json => (Some(raw.to_owned()), ""),
        };
        if value.is_none() {
            mistakes.push(mistake(
                &format!("{name}.{}", column.name()),
                expected,
                mapping::describe(raw),
            ));
        }
        value
    })
}

fn mistake(path: &str, expected: &str, found: impl Into<String>) -> Mistake {
    Mistake {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found: found.into(),
    }
}
