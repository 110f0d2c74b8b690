//! The plan of one agent: every column of M1 that has to change, or every reason why none may.

use std::borrow::Cow;
use std::str::FromStr;

use super::decimal::Decimal;
use super::decode::{Decoded, decode};
use super::json::{self, Object};
use super::reasons::{Mistakes, Rejection, Warning};
use super::rules::Rules;
use super::same::same;
use super::section;
use super::voice_settings::VoiceSettings;

/// What M1 reads of a row of `agents`. A null column and a column that does not exist (T3) are
/// `None` alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Agent<'a> {
    /// `name`
    pub name: Option<&'a str>,
    /// `system_prompt`
    pub system_prompt: Option<&'a str>,
    /// `agent_image`
    pub agent_image: Option<&'a str>,
    /// The JSON text of `voice_settings`.
    pub voice_settings: Option<&'a str>,
}

/// What M1 writes of a row of `agent_configurations`, as it is now: the text of each column, `None`
/// for null.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Configuration<'a> {
    /// `agent_name`
    pub agent_name: Option<&'a str>,
    /// `system_prompt`
    pub system_prompt: Option<&'a str>,
    /// `agent_image`
    pub agent_image: Option<&'a str>,
    /// `voice_id`
    pub voice_id: Option<&'a str>,
    /// The text of the number in `temperature`, as `PostgreSQL` prints it.
    pub temperature: Option<&'a str>,
    /// The JSON text of `provider_config`.
    pub provider_config: Option<&'a str>,
    /// The JSON text of `voice_settings`.
    pub voice_settings: Option<&'a str>,
}

impl<'a> From<[Option<&'a str>; 4]> for Agent<'a> {
    /// The columns in the order of the fields.
    fn from(columns: [Option<&'a str>; 4]) -> Self {
        let [name, system_prompt, agent_image, voice_settings] = columns;
        Self {
            name,
            system_prompt,
            agent_image,
            voice_settings,
        }
    }
}

impl<'a> From<[Option<&'a str>; 7]> for Configuration<'a> {
    /// The columns in the order of the fields.
    fn from(columns: [Option<&'a str>; 7]) -> Self {
        let [
            agent_name,
            system_prompt,
            agent_image,
            voice_id,
            temperature,
            provider_config,
            voice_settings,
        ] = columns;
        Self {
            agent_name,
            system_prompt,
            agent_image,
            voice_id,
            temperature,
            provider_config,
            voice_settings,
        }
    }
}

/// Which target columns exist (T3); a column that does not is never changed. `provider_config`
/// always exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
// Each is a fact of the catalog, and they do not exclude each other.
#[allow(clippy::struct_excessive_bools)]
pub struct Targets {
    /// `agent_name`
    pub agent_name: bool,
    /// `system_prompt`
    pub system_prompt: bool,
    /// `agent_image`
    pub agent_image: bool,
    /// `voice_settings`
    pub voice_settings: bool,
    /// `voice_id`
    pub voice_id: bool,
    /// `temperature`, and how it compares numbers.
    pub temperature: Option<NumberColumn>,
}

impl Targets {
    /// Every column of M1, with `temperature` in double precision.
    pub fn all() -> Self {
        Self {
            agent_name: true,
            system_prompt: true,
            agent_image: true,
            voice_settings: true,
            voice_id: true,
            temperature: Some(NumberColumn::Float8),
        }
    }
}

/// The type of a column of numbers: what it keeps of a number decides whether the number is there
/// already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberColumn {
    /// `numeric`, and the scale if it has one.
    Numeric {
        /// The digits after the decimal point.
        scale: Option<i32>,
    },
    /// `real`
    Float4,
    /// `double precision`
    Float8,
}

impl NumberColumn {
    /// Whether a column that prints `current` would still do so after `wanted` was written to it.
    fn holds(self, current: &str, wanted: &str) -> bool {
        match self {
            Self::Numeric { scale } => {
                let round =
                    |number: Decimal| scale.map_or(number.clone(), |scale| number.round(scale));
                Decimal::parse(current)
                    .is_some_and(|now| Decimal::parse(wanted).map(round) == Some(now))
            }
            Self::Float4 => equal::<f32>(current, wanted),
            Self::Float8 => equal::<f64>(current, wanted),
        }
    }
}

/// Whether two numbers are one to a type that reads both; NaN and what is no number are none to
/// anybody.
fn equal<T: FromStr + PartialEq>(current: &str, wanted: &str) -> bool {
    matches!((current.parse::<T>(), wanted.parse::<T>()), (Ok(current), Ok(wanted)) if current == wanted)
}

/// The columns to write, in the order of M1. What is `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes<'a> {
    /// `agent_name`
    pub agent_name: Option<&'a str>,
    /// `system_prompt`
    pub system_prompt: Option<&'a str>,
    /// `agent_image`
    pub agent_image: Option<&'a str>,
    /// The JSON text of `voice_settings`: always an object.
    pub voice_settings: Option<Cow<'a, str>>,
    /// `voice_id`
    pub voice_id: Option<String>,
    /// `temperature`, as the text of a JSON number.
    pub temperature: Option<String>,
    /// The JSON text of `provider_config`: always an object.
    pub provider_config: Option<String>,
}

impl Changes<'_> {
    /// Whether the configuration is in sync: nothing is written, not even a timestamp (M8).
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// What is to be done for one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The columns to write.
    pub changes: Changes<'a>,
    /// What somebody should know, whether or not there is something to write.
    pub warnings: Vec<Warning>,
}

/// Computes what has to be written for `configuration` to follow `agent`, or every reason why it
/// cannot.
pub fn plan<'a>(
    rules: &Rules,
    targets: &Targets,
    agent: &Agent<'a>,
    configuration: &Configuration<'_>,
) -> Result<Plan<'a>, Rejection> {
    let mut mistakes = Mistakes::default();
    let mut plan = Plan::default();
    let changes = &mut plan.changes;

    let name = agent.name.filter(|name| !name.is_empty());
    changes.agent_name = column(
        targets.agent_name,
        "name",
        name,
        configuration.agent_name,
        &mut mistakes,
    );
    changes.system_prompt = column(
        targets.system_prompt,
        "system_prompt",
        agent.system_prompt,
        configuration.system_prompt,
        &mut mistakes,
    );
    changes.agent_image = column(
        targets.agent_image,
        "agent_image",
        agent.agent_image,
        configuration.agent_image,
        &mut mistakes,
    );

    let source = decode("voice_settings", agent.voice_settings, &mut mistakes);
    let current = decode(
        "provider_config",
        configuration.provider_config,
        &mut mistakes,
    );
    if let Decoded::Object(source) = source {
        let settings = VoiceSettings::new(rules, &source);
        if targets.voice_id
            && let Some(voice_id) = settings.read("voice_id", &mut mistakes)
        {
            let voice_id = json::text(&voice_id);
            changes.voice_id = voice_id
                .filter(|id| configuration.voice_id != Some(&**id))
                .map(Cow::into_owned);
        }
        if let Some(column) = targets.temperature
            && let Some(wanted) = settings.read("temperature", &mut mistakes)
            && !configuration
                .temperature
                .is_some_and(|now| column.holds(now, &wanted))
        {
            changes.temperature = Some(wanted.into_owned());
        }
        changes.provider_config = sections(
            rules,
            &settings,
            &current,
            &mut mistakes,
            &mut plan.warnings,
        );
        if targets.voice_settings && !settings.is_empty() {
            settings.check_storable(&mut mistakes);
            if !holds(configuration.voice_settings, &source) {
                changes.voice_settings = Some(source.clone());
            }
        }
    }
    mistakes.into_result().map(|()| plan)
}

/// The agent's side alone, for an agent that has no configuration: what would be rejected, and the
/// warnings.
pub fn check(
    rules: &Rules,
    targets: &Targets,
    agent: &Agent<'_>,
) -> Result<Vec<Warning>, Rejection> {
    plan(rules, targets, agent, &Configuration::default()).map(|plan| plan.warnings)
}

/// A column that is copied as it is, when it is there and differs.
fn column<'a>(
    exists: bool,
    path: &str,
    source: Option<&'a str>,
    current: Option<&str>,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let source = source.filter(|_| exists)?;
    // Whether an agent can be mapped does not depend on what its configuration has.
    if source.contains('\0') {
        mistakes.add(path, "text that PostgreSQL can store", "the character NUL");
    }
    (current != Some(source)).then_some(source)
}

/// The text of `provider_config` with every wanted section in it; `None` if they are all there
/// already.
fn sections(
    rules: &Rules,
    settings: &VoiceSettings<'_>,
    current: &Decoded<'_>,
    mistakes: &mut Mistakes,
    warnings: &mut Vec<Warning>,
) -> Option<String> {
    let mut object = match current {
        Decoded::Object(current) => Object::of(current),
        Decoded::NotSet | Decoded::Mistake => Object::default(),
    };
    let mut changed = false;
    for section in &rules.sections {
        let Some(wanted) = section::wanted(section, settings, mistakes, warnings) else {
            continue;
        };
        if let Some(merged) = section::merge(section, wanted, object.get(&section.name), mistakes) {
            object.set(&section.name, merged);
            changed = true;
        }
    }
    changed.then(|| object.to_string())
}

/// Whether the `voice_settings` of a configuration say what `wanted` says. What is not readable
/// there does not.
fn holds(current: Option<&str>, wanted: &str) -> bool {
    if current == Some(wanted) {
        return true;
    }
    let mut unread = Mistakes::default();
    match decode("voice_settings", current, &mut unread) {
        Decoded::Object(current) => same(&current, wanted),
        Decoded::NotSet | Decoded::Mistake => false,
    }
}
