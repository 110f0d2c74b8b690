//! The cases of `tests/cases/mapping`: agent and configuration as a database gives them, and what
//! is written.

use agent_sync::mapping::{
    Agent, Changes, Configuration, NumberColumn, Plan, Rules, Targets, check, plan,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The target columns that exist (T3), for the cases that do not say; all, if the file does not
    /// say.
    columns: Option<Vec<String>>,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    contract: String,
    columns: Option<Vec<String>>,
    /// The type of the column `temperature`; double precision if it does not say.
    temperature: Option<String>,
    /// A rules file; the embedded one if it does not say.
    rules: Option<String>,
    #[serde(default)]
    agent: AgentText,
    #[serde(default)]
    configuration: ConfigurationText,
    #[serde(default)]
    changes: ConfigurationText,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    rejected: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AgentText {
    name: Option<String>,
    system_prompt: Option<String>,
    agent_image: Option<String>,
    voice_settings: Option<String>,
}

#[derive(Deserialize, Default, Debug, Clone, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigurationText {
    pub(super) agent_name: Option<String>,
    pub(super) system_prompt: Option<String>,
    pub(super) agent_image: Option<String>,
    pub(super) voice_settings: Option<String>,
    pub(super) voice_id: Option<String>,
    pub(super) temperature: Option<String>,
    pub(super) provider_config: Option<String>,
}

impl ConfigurationText {
    pub(super) fn row(&self) -> Configuration<'_> {
        Configuration {
            agent_name: self.agent_name.as_deref(),
            system_prompt: self.system_prompt.as_deref(),
            agent_image: self.agent_image.as_deref(),
            voice_id: self.voice_id.as_deref(),
            temperature: self.temperature.as_deref(),
            provider_config: self.provider_config.as_deref(),
            voice_settings: self.voice_settings.as_deref(),
        }
    }

    fn of(changes: &Changes<'_>) -> Self {
        let mut none = Self::default();
        none.apply(changes);
        none
    }

    /// What an UPDATE would do.
    pub(super) fn apply(&mut self, changes: &Changes<'_>) {
        fn set(column: &mut Option<String>, change: Option<&str>) {
            if let Some(change) = change {
                *column = Some(change.to_owned());
            }
        }
        set(&mut self.agent_name, changes.agent_name);
        set(&mut self.system_prompt, changes.system_prompt);
        set(&mut self.agent_image, changes.agent_image);
        set(&mut self.voice_settings, changes.voice_settings.as_deref());
        set(&mut self.voice_id, changes.voice_id.as_deref());
        set(&mut self.temperature, changes.temperature.as_deref());
        set(
            &mut self.provider_config,
            changes.provider_config.as_deref(),
        );
    }
}

impl Case {
    fn agent(&self) -> Agent<'_> {
        Agent {
            name: self.agent.name.as_deref(),
            system_prompt: self.agent.system_prompt.as_deref(),
            agent_image: self.agent.agent_image.as_deref(),
            voice_settings: self.agent.voice_settings.as_deref(),
        }
    }

    fn targets(&self, of_file: Option<&Vec<String>>) -> Targets {
        let Some(columns) = self.columns.as_ref().or(of_file) else {
            return Targets::all();
        };
        let known = [
            "agent_name",
            "system_prompt",
            "agent_image",
            "voice_settings",
            "voice_id",
            "temperature",
        ];
        assert!(
            columns.iter().all(|column| known.contains(&&**column)),
            "{}: {columns:?}",
            self.name
        );
        let has = |name: &str| columns.iter().any(|column| column == name);
        Targets {
            agent_name: has("agent_name"),
            system_prompt: has("system_prompt"),
            agent_image: has("agent_image"),
            voice_settings: has("voice_settings"),
            voice_id: has("voice_id"),
            temperature: has("temperature").then(|| match self.temperature.as_deref() {
                None | Some("float8") => NumberColumn::Float8,
                Some("float4") => NumberColumn::Float4,
                Some("numeric") => NumberColumn::Numeric { scale: None },
                Some("numeric(3,1)") => NumberColumn::Numeric { scale: Some(1) },
                Some(other) => panic!("{}: no such type: {other}", self.name),
            }),
        }
    }

    /// What is wrong with the answer, if anything.
    fn fault(&self, targets: &Targets) -> Option<String> {
        let own = self
            .rules
            .as_deref()
            .map(|text| Rules::parse(text).unwrap());
        let rules = own.as_ref().unwrap_or_else(|| Rules::embedded());
        let agent = self.agent();
        let (changes, warnings, rejected) =
            match plan(rules, targets, &agent, &self.configuration.row()) {
                Ok(Plan { changes, warnings }) => {
                    (ConfigurationText::of(&changes), warnings, Vec::new())
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
            after.apply(
                &plan(rules, targets, &agent, &self.configuration.row())
                    .unwrap()
                    .changes,
            );
            if self.temperature.as_deref() == Some("numeric(3,1)") {
                after.temperature = after
                    .temperature
                    .map(|text| format!("{:.1}", text.parse::<f64>().unwrap()));
            }
            let again = plan(rules, targets, &agent, &after.row()).unwrap();
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
        let agent = Agent {
            voice_settings: Some(settings),
            ..Agent::default()
        };
        let row = Configuration {
            provider_config: Some(config),
            ..Configuration::default()
        };
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

#[test]
fn a_value_is_not_written_so_deep_that_it_could_not_be_read_again() {
    let rules = "settings.temperature.type = 'number'\nsettings.deep.type = 'json'\n\
        x.provider_from = ['p']\nx.other.fields.y = 'deep'";
    let rules = Rules::parse(rules).unwrap();
    let map = |depth: usize| {
        let settings = format!("{{\"p\":\"q\",\"deep\":{}}}", nested("a", depth));
        let agent = Agent {
            voice_settings: Some(&settings),
            ..Agent::default()
        };
        let mut row = ConfigurationText::default();
        row.apply(&plan(&rules, &Targets::all(), &agent, &row.clone().row())?.changes);
        plan(&rules, &Targets::all(), &agent, &row.row()).map(|plan| plan.changes.is_empty())
    };
    assert_eq!(map(125), Ok(true));
    let expected =
        "voice_settings.deep: expected JSON nested at most 125 levels deep, found 126 levels";
    assert_eq!(map(126).unwrap_err().to_string(), expected);
}

#[test]
fn an_agent_without_a_configuration_is_checked_all_the_same() {
    let check = |settings| {
        let agent = Agent {
            voice_settings: Some(settings),
            ..Agent::default()
        };
        check(Rules::embedded(), &Targets::all(), &agent).map(|warnings| warnings.len())
    };
    assert_eq!(check(r#"{"provider":"acme"}"#), Ok(1));
    let rejection = check(r#"{"provider":"openai","voice_id":1}"#).unwrap_err();
    assert_eq!(
        rejection.to_string(),
        "voice_settings.voice_id: expected text, found the number 1"
    );
}
