//! The plan of one agent: every column of M1 that has to change, or every reason why none may.

use std::borrow::Cow;
use std::str::FromStr;

use super::decimal::Decimal;
use super::decode::{Decoded, decode};
use super::json::{self, Object};
use super::path::Path;
use super::reasons::{Mistakes, Rejection, Warning};
use super::rules::{Rule, Rules};
use super::same::same;
use super::section;
use super::unmapped::{Unmapped, unmapped};
use super::voice_settings::VoiceSettings;
use crate::columns::{AgentColumn, Column, Content, MappedColumn as _, PerAgentColumn, PerColumn};

/// The mapped columns of a row of `agents`, as text. `None` means that the column is null, does not
/// exist (T3), or is a copied text that the configuration has already: a claim leaves such a text
/// out.
pub type Agent<'a> = PerAgentColumn<Option<&'a str>>;

/// The mapped columns of a row of `agent_configurations` before the write, as text. `None` means
/// that the column is null or does not exist, that it is a copied text, which a claim compares and
/// does not read, or that it is a copy of settings which a claim has found to say something else. A
/// number is the text that `PostgreSQL` prints.
pub type Configuration<'a> = PerColumn<Option<&'a str>>;

/// The columns to write, as text. A column that is `None` keeps its value. The text of a JSON
/// column is an object, and that of a number is a JSON number.
pub type Changes<'a> = PerColumn<Option<Cow<'a, str>>>;

/// The target columns of a database (T3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Targets {
    /// Whether each column exists. A column that does not exist is never changed.
    pub exist: PerColumn<bool>,
    /// The type of `temperature`, where the column exists.
    pub temperature: NumberColumn,
}

impl Targets {
    /// Every column of M1, with `temperature` in double precision.
    pub fn all() -> Self {
        Self {
            exist: PerColumn::from_fn(|_| true),
            temperature: NumberColumn::Float8,
        }
    }
}

/// The type of a number column. It rounds a written number, so the comparison with the present
/// number depends on it.
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

/// Whether two texts are the same number in this type. NaN, and a text that is no number, equal
/// nothing.
fn equal<T: FromStr + PartialEq>(current: &str, wanted: &str) -> bool {
    matches!(
        (current.parse::<T>(), wanted.parse::<T>()),
        (Ok(current), Ok(wanted)) if current == wanted
    )
}

/// The plan for one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// The columns to write.
    pub changes: Changes<'a>,
    /// The warnings for the operator, also where nothing has to be written.
    pub warnings: Vec<Warning>,
    /// The settings of the agent that nothing reads (M10).
    pub unmapped: Unmapped,
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

    for (column, source) in Column::copied_texts() {
        let value = agent[source].filter(|_| targets.exist[column]);
        let value = value.filter(|text| column.content() != Content::Name || !text.is_empty());
        changes[column] = copy(source, value, configuration[column], &mut mistakes);
    }

    let source = decode(
        AgentColumn::VoiceSettings.name(),
        agent[AgentColumn::VoiceSettings],
        &mut mistakes,
    );
    let current = decode(
        Column::ProviderConfig.name(),
        configuration[Column::ProviderConfig],
        &mut mistakes,
    );
    if let Decoded::Object(source) = source {
        let settings = VoiceSettings::new(rules, &source);
        setting_columns(&settings, targets, configuration, changes, &mut mistakes);
        let mut in_force = Vec::with_capacity(rules.sections.len());
        changes[Column::ProviderConfig] = sections(
            rules,
            (&settings, &mut in_force),
            &current,
            &mut mistakes,
            &mut plan.warnings,
        )
        .map(Cow::Owned);
        plan.unmapped = unmapped(rules, &settings, &in_force);
        if targets.exist[Column::VoiceSettings] && !settings.is_empty() {
            settings.check_storable(&mut mistakes);
            if !holds(configuration[Column::VoiceSettings], &source) {
                changes[Column::VoiceSettings] = Some(source.clone());
            }
        }
    }
    mistakes.into_result().map(|()| plan)
}

/// Computes the columns that take a setting of M1: `voice_id` and `temperature`.
fn setting_columns(
    settings: &VoiceSettings<'_>,
    targets: &Targets,
    configuration: &Configuration<'_>,
    changes: &mut Changes<'_>,
    mistakes: &mut Mistakes,
) {
    let mut read = |column: Column| {
        let wanted = targets.exist[column].then(|| Path::of(column.name()));
        wanted.and_then(|path| settings.read(&path, None, mistakes))
    };
    if let Some(voice_id) = read(Column::VoiceId) {
        let voice_id = json::text(&voice_id);
        changes[Column::VoiceId] = voice_id
            .filter(|id| configuration[Column::VoiceId] != Some(&**id))
            .map(|id| Cow::Owned(id.into_owned()));
    }
    if let Some(wanted) = read(Column::Temperature)
        && !configuration[Column::Temperature]
            .is_some_and(|now| targets.temperature.holds(now, &wanted))
    {
        changes[Column::Temperature] = Some(Cow::Owned(wanted.into_owned()));
    }
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

/// The text to write to a column that is copied: none where the source is not set or the column
/// holds it already.
fn copy<'a>(
    source: AgentColumn,
    value: Option<&'a str>,
    current: Option<&str>,
    mistakes: &mut Mistakes,
) -> Option<Cow<'a, str>> {
    let value = value?;
    // The check ignores the current value: whether an agent is valid depends on the agent alone.
    if value.contains('\0') {
        let expected = "text that PostgreSQL can store";
        mistakes.add(source.name(), expected, "the character NUL");
    }
    (current != Some(value)).then_some(Cow::Borrowed(value))
}

/// The text of `provider_config` with every wanted section in it; `None` if they are all there
/// already. Adds the rules of the providers in force.
fn sections<'a>(
    rules: &'a Rules,
    (settings, in_force): (&'a VoiceSettings<'_>, &mut Vec<&'a Rule>),
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
        in_force.push(wanted.rule);
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
    match decode(Column::VoiceSettings.name(), current, &mut unread) {
        Decoded::Object(current) => same(&current, wanted),
        Decoded::NotSet | Decoded::Mistake => false,
    }
}
