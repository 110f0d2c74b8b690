//! The configurations of an agent that differ. Pure.
//!
//! Memory is bounded (G12): each difference is folded into numbers, or kept as one of the first
//! that have room. The list of all differences of a configuration is there only while it is made.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::columns::{Column, MappedColumn as _};
use crate::mapping::{Changes, Configuration, Difference, Rules, Value, diff};

use super::verdict::changed;

/// The most bytes of the listed differences: of one configuration, and of an agent.
const LISTED: (usize, usize) = (256 * 1024, 1024 * 1024);

/// The bytes that a difference takes beside its texts.
const BESIDE: usize = 128;

/// What a survey keeps of the configurations that differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keep {
    /// Their number and [`Differing::expected`].
    #[default]
    Numbers,
    /// Their number and the first differences.
    Lists,
}

/// The configurations of an agent that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differing {
    /// Their number.
    pub number: usize,
    /// The values that they are to get, as a hash, in whatever order the configurations come; 0
    /// with [`Keep::Lists`].
    pub expected: u64,
    /// Each of them, with the first of its differences; empty with [`Keep::Numbers`].
    pub listed: Vec<Listed>,
    keep: Keep,
    /// The bytes of the listed differences.
    bytes: usize,
}

/// A configuration that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Its number among those of the agent, from 1 on.
    pub configuration: usize,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// The number of the differences that are left out.
    pub left: usize,
}

impl Differing {
    pub(super) fn keeping(keep: Keep) -> Self {
        Self {
            keep,
            ..Self::default()
        }
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        *self = Self::keeping(self.keep);
    }

    /// Adds the configuration with this number, which is to get these changes.
    pub(super) fn add(
        &mut self,
        configuration: usize,
        rules: &Rules,
        current: &Configuration<'_>,
        changes: &Changes<'_>,
    ) {
        self.number += 1;
        match self.keep {
            Keep::Numbers => {
                let expected = expected(rules, current, changes);
                self.expected = self.expected.wrapping_add(expected);
            }
            Keep::Lists => {
                let all = diff(rules, current, &changed(current, changes)).differences;
                self.list(configuration, all);
            }
        }
    }

    /// Lists the differences that have room, and counts the others.
    fn list(&mut self, configuration: usize, all: Vec<Difference>) {
        let number = all.len();
        let mut room = LISTED.0.min(LISTED.1 - self.bytes);
        let mut differences = Vec::new();
        for difference in all {
            if let Some(less) = room.checked_sub(size(&difference)) {
                self.bytes += room - less;
                room = less;
                differences.push(difference);
            }
        }
        self.listed.push(Listed {
            configuration,
            left: number - differences.len(),
            differences,
        });
    }

    /// The number of the differences that are left out, and of the configurations that have them.
    pub fn left(&self) -> (usize, usize) {
        let left = self.listed.iter().map(|one| one.left);
        let number = left.clone().filter(|left| *left > 0).count();
        (left.sum(), number)
    }
}

/// The values that a configuration is to get, as a hash. It is the same where a write was in vain,
/// whatever else the configuration holds: of `provider_config`, only the fields that differ count.
fn expected(rules: &Rules, current: &Configuration<'_>, changes: &Changes<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (column, value) in changes.iter() {
        let Some(value) = value.as_deref() else {
            continue;
        };
        column.name().hash(&mut hasher);
        if column == Column::ProviderConfig {
            let [current, value] = [current[column], Some(value)]
                .map(|text| Configuration::default().with(column, text));
            for field in diff(rules, &current, &value).differences {
                (field.inside, field.expected).hash(&mut hasher);
            }
        } else {
            value.hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The memory of a difference, in bytes.
fn size(difference: &Difference) -> usize {
    let values = [&difference.current, &difference.expected];
    let values = values.into_iter().flatten().map(|value| match value {
        Value::Json(text) | Value::Described(text) => text.len(),
        Value::Length(_) => 0,
    });
    BESIDE + difference.inside.as_ref().map_or(0, String::len) + values.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn add(differing: &mut Differing, configuration: usize, current: &str, settings: &str) {
        let current = Configuration::default()
            .with(Column::AgentName, Some("old"))
            .with(Column::ProviderConfig, Some(current));
        let changes = Changes::default()
            .with(Column::VoiceSettings, Some(Cow::Borrowed(settings)))
            .with(
                Column::ProviderConfig,
                Some(Cow::Borrowed(r#"{"llm":{"model":"m"},"theirs":1}"#)),
            );
        differing.add(configuration, Rules::embedded(), &current, &changes);
    }

    /// G12: of any number of differences, a bounded part is listed, and the rest is counted.
    #[test]
    fn g12_the_listed_differences_are_bounded() {
        let settings: Vec<_> = (0..10_000)
            .map(|key| format!("\"key-{key}\":true"))
            .collect();
        let settings = format!("{{{}}}", settings.join(","));
        let mut differing = Differing::keeping(Keep::Lists);
        (1..=10).for_each(|number| add(&mut differing, number, "{}", &settings));
        let listed: usize = differing
            .listed
            .iter()
            .map(|one| one.differences.len())
            .sum();
        // Of each configuration the settings, and the model and `theirs`.
        let (left, configurations) = differing.left();
        assert_eq!((listed + left, configurations), (10 * 10_002, 10));
        assert_eq!((differing.number, differing.listed.len()), (10, 10));
        assert!((1000..LISTED.1 / BESIDE).contains(&listed), "{listed}");
        assert!(differing.listed[9].differences.is_empty());
        // A difference without room hides no other.
        let long = format!("{{\"a\":\"{}\",\"b\":true}}", "x".repeat(LISTED.0));
        let mut differing = Differing::keeping(Keep::Lists);
        add(
            &mut differing,
            1,
            "{}",
            &long.replace("\"a\"", "\"voice_id\""),
        );
        assert_eq!((differing.left(), differing.listed[0].left), ((1, 1), 1));
    }

    /// The hash follows from the values to be written, and from nothing else.
    #[test]
    fn g17_the_hash_of_the_expected_values_has_no_order() {
        let sum = |configurations: &[(&str, &str)]| {
            let mut differing = Differing::default();
            for (number, (current, settings)) in configurations.iter().enumerate() {
                add(&mut differing, number + 1, current, settings);
            }
            assert!(differing.listed.is_empty());
            differing.expected
        };
        let (one, two) = (("{}", "{}"), (r#"{"theirs":1}"#, r#"{"a":1}"#));
        assert_eq!(sum(&[one, two]), sum(&[two, one]));
        assert_ne!(sum(&[one, two]), sum(&[one, one]));
        let other = (r#"{"theirs":1,"llm":{"model":"other"}}"#, r#"{"a":1}"#);
        assert_eq!(sum(&[two]), sum(&[other]));
    }
}
