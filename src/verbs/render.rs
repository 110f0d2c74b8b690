//! `render`: the mapping on one agent, without a database (I5).
//!
//! Standard input is `{"agent":{…},"configuration":{…}}`: the rows as JSON objects with the column
//! names of the tables. Columns that the mapping does not read are ignored, JSON columns may be
//! objects or strings, and a missing configuration is an empty one. Standard output is the columns
//! that would be written, as one JSON object: `{}` if the configuration is in sync. The timestamps
//! are not among them: the clock of the database sets them.

use std::io::{self, IsTerminal as _, Read};
use std::path::Path;

use anyhow::Context;

use crate::exit::{Exit, Fault};
use crate::mapping::json::{self, Object};
use crate::mapping::{self, Agent, Changes, Configuration, Mistake, Rules, Targets, Warning};
use crate::show::Clean;

/// The most that is read from standard input.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

const SHAPE: &str =
    r#"give {"agent": {…}, "configuration": {…}}, with the columns of one row of each table"#;

/// What `render` has to say.
#[derive(Debug)]
pub struct Rendered {
    /// The columns that would be written: one JSON object, numbers digit for digit.
    pub columns: String,
    /// What goes to standard error besides.
    pub warnings: Vec<Warning>,
}

/// Runs the mapping on standard input.
pub fn render(config: Option<&Path>) -> anyhow::Result<Exit> {
    let rules = super::rules(&super::load(config)?.settings)?;
    let rendered = render_with(&rules, &read(io::stdin().lock())?)?;
    for warning in &rendered.warnings {
        super::output::say_aside(&Clean::lines(&format!("agent-sync: warning: {warning}\n")));
    }
    super::output::say(json::print(&rendered.columns, io::stdout().is_terminal()))?;
    Ok(Exit::Done)
}

/// Runs the mapping on one input: a [`Fault`] says whether the input was malformed or the agent
/// rejected.
pub fn render_with(rules: &Rules, input: &str) -> anyhow::Result<Rendered> {
    let input = Input::parse(input)?;
    let (agent, configuration) = (input.agent(), input.configuration());
    let plan =
        mapping::plan(rules, &Targets::all(), &agent, &configuration).context(Fault::new(
            Exit::Failed,
            "the agent is rejected, nothing would be written",
        ))?;
    Ok(Rendered {
        columns: columns(&plan.changes),
        warnings: plan.warnings,
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

/// The columns to write, in the order of M1.
fn columns(changes: &Changes<'_>) -> String {
    let text = |text: &str| json::quote(text);
    let columns = [
        ("agent_name", changes.agent_name.map(text)),
        ("system_prompt", changes.system_prompt.map(text)),
        ("agent_image", changes.agent_image.map(text)),
        (
            "voice_settings",
            changes.voice_settings.as_deref().map(str::to_owned),
        ),
        ("voice_id", changes.voice_id.as_deref().map(text)),
        ("temperature", changes.temperature.clone()),
        ("provider_config", changes.provider_config.clone()),
    ];
    let members = columns
        .into_iter()
        .filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The input, every column as the text that a database would give.
#[derive(Debug, Default)]
struct Input {
    agent: [Option<String>; 4],
    configuration: [Option<String>; 7],
}

/// How a column is given in the input.
#[derive(Debug, Clone, Copy)]
enum Column {
    Text,
    Number,
    Json,
}

const AGENT: [(&str, Column); 4] = [
    ("name", Column::Text),
    ("system_prompt", Column::Text),
    ("agent_image", Column::Text),
    ("voice_settings", Column::Json),
];

const CONFIGURATION: [(&str, Column); 7] = [
    ("agent_name", Column::Text),
    ("system_prompt", Column::Text),
    ("agent_image", Column::Text),
    ("voice_id", Column::Text),
    ("temperature", Column::Number),
    ("provider_config", Column::Json),
    ("voice_settings", Column::Json),
];

impl Input {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let raw = json::validate(text).context(
            Fault::usage("standard input: expected JSON, found something else").remedy(SHAPE),
        )?;
        let mut mistakes = Vec::new();
        let mut input = Self::default();
        if raw.starts_with('{') {
            let rows = Object::of(raw);
            match rows.get("agent") {
                Some(agent) => input.agent = row("agent", agent, AGENT, &mut mistakes),
                None => mistakes.push(mistake("agent", "an object", "nothing")),
            }
            if let Some(configuration) = rows.get("configuration").filter(|&raw| raw != "null") {
                input.configuration =
                    row("configuration", configuration, CONFIGURATION, &mut mistakes);
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

    fn agent(&self) -> Agent<'_> {
        self.agent.each_ref().map(Option::as_deref).into()
    }

    fn configuration(&self) -> Configuration<'_> {
        self.configuration.each_ref().map(Option::as_deref).into()
    }
}

/// The columns of a row; what is wrong with them is noted.
fn row<const N: usize>(
    name: &str,
    raw: &str,
    columns: [(&str, Column); N],
    mistakes: &mut Vec<Mistake>,
) -> [Option<String>; N] {
    if !raw.starts_with('{') {
        mistakes.push(mistake(name, "an object", mapping::describe(raw)));
    }
    let row = Object::of(raw);
    columns.map(|(column, kind)| {
        let raw = row.get(column).filter(|&raw| raw != "null")?;
        let text = json::text(raw).map(std::borrow::Cow::into_owned);
        let (value, expected) = match kind {
            Column::Text => (text, "text or null"),
            Column::Number if raw.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                (Some(raw.to_owned()), "")
            }
            Column::Number => (text, "a number or null"),
            // A string is taken as it is: the mapping reads JSON in either form.
            Column::Json => (Some(raw.to_owned()), ""),
        };
        if value.is_none() {
            mistakes.push(mistake(
                &format!("{name}.{column}"),
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
