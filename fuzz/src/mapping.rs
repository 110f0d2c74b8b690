//! The mapping: agent × configuration × rules.
//!
//! An input is text in parts, separated by lines with `%` alone. The first part has one letter for
//! each column that is missing or has another type (see [`targets`]). The others are, in this
//! order: the agent's voice settings, the `provider_config`, the configuration's voice settings,
//! the agent's name and prompt, the configuration's temperature, voice id and name, and the rules.
//! A missing part is a null; missing rules are those of the program.
//!
//! Promises: the mapping does not panic; it returns a plan, or reasons that quote no text (M7); an
//! applied plan leaves nothing to do, whether the columns store JSON as text or as `jsonb` (M8);
//! fields without a rule are returned unchanged and in order (M5); and no field of the old provider
//! remains under a new one (M4).

use std::collections::{BTreeMap, BTreeSet};

use agent_sync::columns::{AgentColumn, Column, MappedColumn as _, PerColumn};
use agent_sync::mapping::{Agent, Changes, NumberColumn, Rules, Targets, check, plan};
use toml::de::{DeTable, DeValue};

use super::document;

/// A parsed input.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// The agent's side: voice settings, name, prompt.
    pub settings: Option<String>,
    pub name: Option<String>,
    pub prompt: Option<String>,
    /// The configuration's side.
    pub row: Row,
    /// The letters of [`targets`].
    pub columns: String,
    /// The text of a rules file.
    pub rules: Option<String>,
}

/// The columns of a configuration.
pub type Row = PerColumn<Option<String>>;

/// The target.
pub fn mapping(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        holds(&Input::read(text));
    }
}

impl Input {
    fn read(text: &str) -> Self {
        let mut parts = text.split("\n%\n").map(str::to_owned);
        let columns = parts.next().unwrap_or_default();
        let [
            settings,
            provider_config,
            voice_settings,
            name,
            prompt,
            temperature,
            voice_id,
            agent_name,
            rules,
        ] = std::array::from_fn(|_| parts.next());
        let row = Row::default()
            .with(Column::AgentName, agent_name)
            .with(Column::VoiceId, voice_id)
            .with(Column::Temperature, temperature)
            .with(Column::ProviderConfig, provider_config)
            .with(Column::VoiceSettings, voice_settings);
        Self {
            settings,
            name,
            prompt,
            row,
            columns,
            rules,
        }
    }

    fn agent(&self) -> Agent<'_> {
        Agent::default()
            .with(AgentColumn::Name, self.name.as_deref())
            .with(AgentColumn::SystemPrompt, self.prompt.as_deref())
            .with(AgentColumn::AgentImage, self.prompt.as_deref())
            .with(AgentColumn::VoiceSettings, self.settings.as_deref())
    }
}

/// The existing columns: `n`, `p`, `i`, `v`, `d` and `t` stand for missing ones. `4`: the
/// temperature is a `real`; `N`: a `numeric`; `1`: a `numeric` with one decimal digit.
fn targets(letters: &str) -> Targets {
    let has = |letter: char| letters.contains(letter);
    Targets {
        exist: PerColumn::from_fn(|column| !match column {
            Column::AgentName => has('n'),
            Column::SystemPrompt => has('p'),
            Column::AgentImage => has('i'),
            Column::VoiceSettings => has('v'),
            Column::VoiceId => has('d'),
            Column::Temperature => has('t'),
            Column::ProviderConfig => false,
        }),
        temperature: match () {
            () if has('4') => NumberColumn::Float4,
            () if has('N') => NumberColumn::Numeric { scale: None },
            () if has('1') => NumberColumn::Numeric { scale: Some(1) },
            () => NumberColumn::Float8,
        },
    }
}

/// Maps an input, and panics if the mapping breaks a promise.
pub fn holds(input: &Input) {
    let own = match input.rules.as_deref().map(Rules::parse) {
        Some(Err(_)) => return,
        Some(Ok(rules)) => Some(rules),
        None => None,
    };
    let rules = own.as_ref().unwrap_or_else(|| Rules::embedded());
    let (targets, agent) = (targets(&input.columns), input.agent());
    let checked = check(rules, &targets, &agent);
    let first = match plan(rules, &targets, &agent, &input.row.as_deref()) {
        Ok(first) => first,
        Err(rejection) => {
            assert!(!rejection.mistakes.is_empty(), "rejected for no reason");
            return tells_no_text(input, &rejection.to_string());
        }
    };
    // A rejection of the agent does not depend on its configuration.
    assert_eq!(
        checked.as_ref().ok(),
        Some(&first.warnings),
        "the agent alone is judged differently"
    );
    for jsonb in [false, true] {
        let mut after = input.row.clone();
        if !apply(&mut after, &first.changes, &targets, jsonb) {
            continue;
        }
        match plan(rules, &targets, &agent, &after.as_deref()) {
            Ok(second) => {
                assert!(
                    second.changes.is_empty(),
                    "M8: {:?} after {:?}",
                    second.changes,
                    first.changes
                );
                assert_eq!(first.warnings, second.warnings);
            }
            Err(rejection) => panic!("M8: {after:?} was written, and is refused: {rejection}"),
        }
    }
    if let Some(written) = &first.changes[Column::ProviderConfig] {
        keeps_what_is_foreign(&Owned::of(input.rules.as_deref()), input, written);
    }
}

/// The reasons may name keys and quote numbers, but no text of the agent or the configuration (M7).
fn tells_no_text(input: &Input, reasons: &str) {
    let columns = [
        &input.settings,
        &input.row[Column::ProviderConfig],
        &input.row[Column::VoiceSettings],
    ];
    let mut texts = Vec::new();
    for column in columns.into_iter().flatten() {
        document::strings(column, &mut texts);
    }
    // In a key, in the rules or in invalid JSON, it is no text of a value.
    let printed = texts.iter().any(|text| text.contains(super::SECRET));
    let count = |text: &str| text.matches(super::SECRET).count();
    let all: usize = columns
        .into_iter()
        .flatten()
        .chain(&input.rules)
        .map(|text| count(text))
        .sum();
    if printed && all == texts.iter().map(|text| count(text)).sum::<usize>() {
        assert!(
            !reasons.contains(super::SECRET),
            "M7: a text is quoted: {reasons}"
        );
    }
}

/// The places that the rules own, parsed independently from their text, by section.
struct Owned(BTreeMap<String, Section>);

struct Section {
    /// The fields of each provider.
    providers: BTreeMap<String, Fields>,
    /// The provider of each name and alias, in lower case.
    names: BTreeMap<String, String>,
    /// The fields of any other provider.
    other: Fields,
}

/// Places, as the keys that lead to them.
type Fields = BTreeSet<Vec<String>>;

/// The keys of a field in the notation of the rules.
fn keys(name: &str) -> Vec<String> {
    if !name.contains('.') {
        return vec![name.to_owned()];
    }
    let (mut keys, mut rest) = (Vec::new(), Some(name));
    while let Some(text) = rest {
        let quoted = text.strip_prefix('"').and_then(|text| {
            let (key, after) = text.split_once('"')?;
            (after.is_empty() || after.starts_with('.')).then_some((key, after))
        });
        let (key, after) = quoted.unwrap_or_else(|| match text.find('.') {
            Some(dot) => text.split_at(dot),
            None => (text, ""),
        });
        keys.push(key.to_owned());
        rest = after.strip_prefix('.');
    }
    keys
}

impl Section {
    fn of(section: &DeValue) -> Self {
        let fields = |rule: Option<&DeValue>| -> Fields {
            let fields = rule
                .and_then(|rule| rule.get("fields"))
                .and_then(|fields| fields.get_ref().as_table());
            let names = fields.into_iter().flat_map(|fields| fields.keys());
            names.map(|name| keys(name.get_ref())).collect()
        };
        let providers = section
            .get("providers")
            .and_then(|providers| providers.get_ref().as_table());
        let (mut by_name, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (name, rule) in providers.into_iter().flatten() {
            let name = name.get_ref().to_string();
            let aliases = rule.get_ref().get("aliases");
            let aliases = aliases.and_then(|aliases| aliases.get_ref().as_array());
            let aliases = aliases.into_iter().flat_map(|aliases| aliases.iter());
            let aliases = aliases.filter_map(|alias| alias.get_ref().as_str());
            for alias in aliases.chain([&*name]) {
                names.insert(alias.trim().to_lowercase(), name.clone());
            }
            by_name.insert(name, fields(Some(rule.get_ref())));
        }
        Self {
            providers: by_name,
            names,
            other: fields(section.get("other").map(toml::Spanned::get_ref)),
        }
    }

    fn owned(&self) -> impl Iterator<Item = &Vec<String>> {
        self.providers.values().chain([&self.other]).flatten()
    }

    /// The members that no rule writes: those inside of objects around owned places included, of
    /// which empty ones and the earlier of duplicates do not count.
    fn foreign(&self, members: &[(String, String)], outer: &[String]) -> Vec<(String, String)> {
        let mut kept = Vec::new();
        for (index, (key, value)) in members.iter().enumerate() {
            let place = [outer, std::slice::from_ref(key)].concat();
            if outer.is_empty() && key == "provider" || self.owned().any(|own| *own == place) {
                continue;
            }
            if !self.owned().any(|own| own.starts_with(&place)) {
                kept.push((key.clone(), value.clone()));
                continue;
            }
            let is_last = members[index + 1..].iter().all(|(other, _)| other != key);
            let inner = document::members(value).unwrap_or_default();
            let inner = self.foreign(&inner, &place);
            if is_last && !inner.is_empty() {
                kept.push((key.clone(), format!("{inner:?}")));
            }
        }
        kept
    }

    /// The form in which names of providers are compared.
    fn canonical(&self, name: &str) -> String {
        let form = name.trim().to_lowercase();
        let name = self.names.get(&form);
        name.map_or(form, |name| name.trim().to_lowercase())
    }

    /// The fields that the rule of one provider writes.
    fn rule(&self, provider: &str) -> &Fields {
        self.providers.get(provider).unwrap_or(&self.other)
    }
}

impl Owned {
    fn of(rules: Option<&str>) -> Self {
        const EMBEDDED: &str = include_str!("../../config/providers.toml");
        let text = rules.unwrap_or(EMBEDDED);
        // As written: a bound may have more digits than any numeric type.
        let table = DeTable::parse(text).expect("the rules have been read");
        let sections = table
            .get_ref()
            .iter()
            .filter(|(name, _)| name.get_ref() != "settings");
        let sections = sections
            .map(|(name, table)| (name.get_ref().to_string(), Section::of(table.get_ref())));
        Self(sections.collect())
    }
}

/// The value at a place; of duplicate keys the last.
fn at(members: &[(String, String)], place: &[String]) -> Option<String> {
    let (key, rest) = place.split_first()?;
    let value = document::get(members, key)?;
    if rest.is_empty() {
        return Some(value.to_owned());
    }
    at(&document::members(value)?, rest)
}

fn keeps_what_is_foreign(owned: &Owned, input: &Input, written: &str) {
    let after = document::members(written).unwrap_or_default();
    assert!(
        written.starts_with('{'),
        "what is written is no object: {written}"
    );
    let Some(before) = document::object(input.row[Column::ProviderConfig].as_deref()) else {
        return;
    };
    if !document::is_text(written) {
        return;
    }
    let foreign = |members: &[(String, String)]| {
        let mut foreign = members.to_vec();
        foreign.retain(|(key, _)| !owned.0.contains_key(key));
        foreign
    };
    assert_eq!(foreign(&before), foreign(&after), "M5");
    for (name, section) in &owned.0 {
        let (Some(before), Some(after)) =
            (document::get(&before, name), document::get(&after, name))
        else {
            continue;
        };
        if before == after {
            continue;
        }
        let after = document::members(after).expect("a section that was written is an object");
        let provider =
            document::get(&after, "provider").expect("a section that was written has a provider");
        let Some(before) = document::members(before) else {
            continue;
        };
        assert_eq!(
            section.foreign(&before, &[]),
            section.foreign(&after, &[]),
            "M5 in {name}"
        );
        let provider: String = serde_json::from_str(provider).expect("a provider is text");
        assert_eq!(provider.trim(), provider, "M9: blanks around a provider");
        let former = document::get(&before, "provider")
            .and_then(|raw| serde_json::from_str::<String>(raw).ok());
        let former = former.map(|name| section.canonical(&name));
        if former != Some(section.canonical(&provider)) {
            let rule = section.rule(&provider);
            let left = section.owned().find(|place| {
                let writes = rule
                    .iter()
                    .any(|own| own.starts_with(place) || place.starts_with(own));
                !writes && at(&after, place).is_some()
            });
            assert_eq!(left, None, "M4: a field of {former:?} under {provider:?}");
        }
    }
}

/// Applies the changes like an UPDATE. Returns whether the result is predictable: a number that the
/// column refuses is not, nor is a `jsonb` with invalid strings.
fn apply(row: &mut Row, changes: &Changes<'_>, targets: &Targets, jsonb: bool) -> bool {
    for (column, text) in changes.present() {
        let mut stored = Some(text.to_string());
        if jsonb && column.is_json() {
            if !document::is_text(text) {
                return false;
            }
            stored = Some(document::jsonb(text));
        }
        if column == Column::Temperature {
            stored = number(targets.temperature, text);
            if stored.is_none() {
                return false;
            }
        }
        row[column] = stored;
    }
    true
}

/// The text of a column after a write of this number, if it is certain.
fn number(column: NumberColumn, number: &str) -> Option<String> {
    // PostgreSQL refuses a nonzero number that becomes zero, or infinite.
    let kept = |is_zero: bool, is_finite: bool| {
        let digits = number.split(['e', 'E']).next().unwrap_or_default();
        is_finite && (!is_zero || digits.bytes().all(|byte| !(b'1'..=b'9').contains(&byte)))
    };
    match column {
        NumberColumn::Float8 => {
            let value: f64 = number.parse().ok()?;
            kept(value == 0.0, value.is_finite()).then(|| value.to_string())
        }
        NumberColumn::Float4 => {
            let value: f32 = number.parse().ok()?;
            kept(value == 0.0, value.is_finite()).then(|| value.to_string())
        }
        NumberColumn::Numeric { scale: None } => Some(number.to_owned()),
        NumberColumn::Numeric { scale: Some(scale) } => {
            rounded(number, usize::try_from(scale).ok()?)
        }
    }
}

/// A number without an exponent, rounded half away from zero.
fn rounded(number: &str, scale: usize) -> Option<String> {
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains(['e', 'E']) || integer.contains(['e', 'E']) || integer.len() > 15 {
        return None;
    }
    let (sign, integer) = integer
        .strip_prefix('-')
        .map_or(("", integer), |integer| ("-", integer));
    let mut digits: Vec<u8> = fraction
        .bytes()
        .chain(std::iter::repeat(b'0'))
        .take(scale + 1)
        .collect();
    let up = digits.pop()? >= b'5';
    let units: i64 = format!("{integer}{}", String::from_utf8(digits).ok()?)
        .parse()
        .ok()?;
    let units = format!("{:0>width$}", units + i64::from(up), width = scale + 1);
    let (integer, fraction) = units.split_at(units.len() - scale);
    Some(format!("{sign}{integer}.{fraction}"))
}
