//! The cases of `tests/cases/mapping`: an agent and a configuration as a database returns them, and
//! the expected write.

use std::collections::BTreeMap;

use agent_sync::columns::{AgentColumn, Column, MappedColumn, Per, PerAgentColumn, PerColumn};
use agent_sync::mapping::{
    Agent, Changes, Configuration, NumberColumn, Plan, Rules, Targets, check, plan,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The existing target columns (T3) of the cases without their own; all columns if absent.
    columns: Option<Vec<String>>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    contract: String,
    columns: Option<Vec<String>>,
    /// The type of the column `temperature`; double precision if absent.
    temperature: Option<String>,
    /// A rules file, or `extended` for the second one of agent-sync; the embedded one if absent.
    rules: Option<String>,
    #[serde(default, deserialize_with = "columns")]
    agent: AgentText,
    #[serde(default, deserialize_with = "columns")]
    configuration: ConfigurationText,
    #[serde(default, deserialize_with = "columns")]
    changes: ConfigurationText,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    rejected: Vec<String>,
    /// The settings that nothing reads; not compared if absent.
    unmapped: Option<Vec<String>>,
}

/// The columns of an agent, as text.
type AgentText = PerAgentColumn<Option<String>>;

/// The columns of a configuration, as text.
pub(super) type ConfigurationText = PerColumn<Option<String>>;

/// Reads columns by their names.
fn columns<'de, D, C, const N: usize>(from: D) -> Result<Per<C, Option<String>, N>, D::Error>
where
    D: Deserializer<'de>,
    C: MappedColumn,
{
    let mut given = BTreeMap::<String, String>::deserialize(from)?;
    let columns = Per::from_fn(|column: C| given.remove(column.name()));
    match given.keys().next() {
        Some(unknown) => Err(D::Error::custom(format!("no such column: {unknown}"))),
        None => Ok(columns),
    }
}

/// Applies the changes like an UPDATE.
pub(super) fn apply(row: &mut ConfigurationText, changes: &Changes<'_>) {
    for (column, text) in changes.present() {
        row[column] = Some(text.to_string());
    }
}

impl Case {
    fn targets(&self, of_file: Option<&Vec<String>>) -> Targets {
        let Some(columns) = self.columns.as_ref().or(of_file) else {
            return Targets::all();
        };
        let known = |name: &String| {
            let mut optional = Column::ALL.iter().filter(|column| !column.is_required());
            optional.any(|column| column.name() == name)
        };
        assert!(columns.iter().all(known), "{}: {columns:?}", self.name);
        Targets {
            exist: PerColumn::from_fn(|column: Column| {
                column.is_required() || columns.iter().any(|name| name == column.name())
            }),
            temperature: match self.temperature.as_deref() {
                None | Some("float8") => NumberColumn::Float8,
                Some("float4") => NumberColumn::Float4,
                Some("numeric") => NumberColumn::Numeric { scale: None },
                Some("numeric(3,1)") => NumberColumn::Numeric { scale: Some(1) },
                Some(other) => panic!("{}: no such type: {other}", self.name),
            },
        }
    }

    /// The difference from the expected result, if there is one.
    fn fault(&self, targets: &Targets) -> Option<String> {
        let own = self.rules.as_deref().map(|text| match text {
            "extended" => Rules::parse(Rules::EXTENDED).unwrap(),
            text => Rules::parse(text).unwrap_or_else(|error| panic!("{}: {error}", self.name)),
        });
        let rules = own.as_ref().unwrap_or_else(|| Rules::embedded());
        let agent = self.agent.as_deref();
        let planned = plan(rules, targets, &agent, &self.configuration.as_deref());
        let unmapped = planned
            .as_ref()
            .map_or(&[][..], |plan| &plan.unmapped.settings);
        if let Some(expected) = self.unmapped.as_ref().filter(|own| **own != *unmapped) {
            return Some(format!(
                "expected unmapped {expected:?}, found {unmapped:?}"
            ));
        }
        let (changes, warnings, rejected) = match planned {
            Ok(Plan {
                changes, warnings, ..
            }) => {
                let mut written = ConfigurationText::default();
                apply(&mut written, &changes);
                (written, warnings, Vec::new())
            }
            Err(rejection) => (ConfigurationText::default(), Vec::new(), rejection.mistakes),
        };
        let warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let rejected: Vec<_> = rejected.iter().map(ToString::to_string).collect();
        if (&changes, &warnings, &rejected) != (&self.changes, &self.warnings, &self.rejected) {
            return Some(format!(
                "expected {:#?}\nwarnings {:#?}\nrejected {:#?}\n\nfound {changes:#?}\nwarnings \
                {warnings:#?}\nrejected {rejected:#?}",
                self.changes, self.warnings, self.rejected
            ));
        }
        // Every case is a case of M8, too.
        if rejected.is_empty() {
            let mut after = self.configuration.clone();
            apply(
                &mut after,
                &plan(rules, targets, &agent, &self.configuration.as_deref())
                    .unwrap()
                    .changes,
            );
            if self.temperature.as_deref() == Some("numeric(3,1)") {
                after[Column::Temperature] = after[Column::Temperature]
                    .take()
                    .map(|text| format!("{:.1}", text.parse::<f64>().unwrap()));
            }
            let again = plan(rules, targets, &agent, &after.as_deref()).unwrap();
            if !again.changes.is_empty() {
                return Some(format!(
                    "it is not in sync after it was written: {:#?}",
                    again.changes
                ));
            }
        }
        None
    }
}

#[test]
fn every_case_is_mapped_as_its_file_says() {
    let mut faults = Vec::new();
    let mut count = 0;
    for (
        file,
        File {
            columns,
            case: cases,
        },
    ) in super::files::<File>("mapping")
    {
        assert!(!cases.is_empty(), "no cases in {file}");
        for case in cases {
            count += 1;
            if let Some(fault) = case.fault(&case.targets(columns.as_ref())) {
                faults.push(format!(
                    "--- {file}: {} ({})\n{fault}\n",
                    case.name, case.contract
                ));
            }
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count} cases failed\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// `{"a":{"a":…{}…}}`, `depth` objects deep.
fn nested(key: &str, depth: usize) -> String {
    format!(
        "{}{{}}{}",
        format!("{{\"{key}\":").repeat(depth - 1),
        "}".repeat(depth - 1)
    )
}

#[test]
fn nesting_is_read_down_to_a_limit_on_both_sides() {
    let map = |settings: &str, config: &str| {
        let agent = Agent::default().with(AgentColumn::VoiceSettings, Some(settings));
        let row = Configuration::default().with(Column::ProviderConfig, Some(config));
        plan(Rules::embedded(), &Targets::all(), &agent, &row)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert_eq!(map(&nested("a", 127), &nested("a", 127)), Ok(()));
    let expected = "voice_settings: expected nesting of at most 127 levels, found 128 levels\n\
        provider_config: expected nesting of at most 127 levels, found 100000 levels";
    assert_eq!(
        map(&nested("a", 128), &nested("a", 100_000)),
        Err(expected.to_owned())
    );
}

/// A value is not written deeper than the reader's limit.
#[test]
fn a_value_is_not_written_too_deep_to_be_read_again() {
    let rules = "settings.temperature.type = 'number'\nsettings.deep.type = 'json'\n\
        x.provider_from = ['p']\nx.other.fields.y = 'deep'";
    let rules = Rules::parse(rules).unwrap();
    let map = |depth: usize| {
        let settings = format!("{{\"p\":\"q\",\"deep\":{}}}", nested("a", depth));
        let agent = Agent::default().with(AgentColumn::VoiceSettings, Some(&settings));
        let mut row = ConfigurationText::default();
        let before = row.clone();
        apply(
            &mut row,
            &plan(&rules, &Targets::all(), &agent, &before.as_deref())?.changes,
        );
        plan(&rules, &Targets::all(), &agent, &row.as_deref()).map(|plan| plan.changes.is_empty())
    };
    assert_eq!(map(125), Ok(true));
    let expected =
        "voice_settings.deep: expected JSON nested at most 125 levels deep, found 126 levels";
    assert_eq!(map(126).unwrap_err().to_string(), expected);
}

#[test]
fn an_agent_without_a_configuration_is_checked_all_the_same() {
    let check = |settings| {
        let agent = Agent::default().with(AgentColumn::VoiceSettings, Some(settings));
        check(Rules::embedded(), &Targets::all(), &agent).map(|warnings| warnings.len())
    };
    assert_eq!(check(r#"{"provider":"acme"}"#), Ok(1));
    let rejection = check(r#"{"provider":"openai","voice_id":1}"#).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "voice_settings.voice_id: expected text, found the number 1"
    );
}
