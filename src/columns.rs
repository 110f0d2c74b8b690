//! The mapped columns, written once (M1): the columns of `agents` that agent-sync reads, the
//! columns of `agent_configurations` that it writes, and one value for each of them.
//!
//! Authority: every other list of these columns in the code is computed from [`AgentColumn`] and
//! [`Column`]. [docs/how-to.md](../docs/how-to.md) lists the few places that name a column.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Index, IndexMut};

use serde::{Deserialize, Deserializer, de::Error as _};

/// The content of a column: it decides how values are compared, weighed and shown, and whether an
/// empty text is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A name or an identifier. An empty text counts as not set.
    Name,
    /// A prompt. Its text is never shown.
    Prompt,
    /// An address. The part after a question mark may be a signature and is never shown.
    Address,
    /// A number.
    Number,
    /// A JSON object.
    Json,
}

/// The origin of a value that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A copy of a column of the agent.
    Copied(AgentColumn),
    /// A copy of the value that the agent's `voice_settings` have under the name of the column.
    Setting(Content),
    /// The sections that the rules compute from the agent's `voice_settings`.
    Sections,
}

/// A mapped column of one of the two tables.
pub trait MappedColumn: Copy + PartialEq + 'static {
    /// The name of the table in the settings.
    const TABLE: &'static str;

    /// Every mapped column of the table, by index.
    const ALL: &'static [Self];

    /// The position in [`Self::ALL`].
    fn index(self) -> usize;

    /// The name in the contract (T1, M1), which is also the settings key and the default name in
    /// the database.
    fn name(self) -> &'static str;

    /// The content.
    fn content(self) -> Content;

    /// Whether a database without the column is refused (T3).
    fn is_required(self) -> bool;

    /// Whether the column holds JSON.
    fn is_json(self) -> bool {
        self.content() == Content::Json
    }
}

/// The columns of `agents` that the mapping reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentColumn {
    /// `name`
    Name,
    /// `system_prompt`
    SystemPrompt,
    /// The address of the picture of the agent.
    AgentImage,
    /// `voice_settings`
    VoiceSettings,
}

/// The columns of `agent_configurations` that agent-sync writes, in the order of the parameters of
/// the statements that write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// `agent_name`
    AgentName,
    /// `system_prompt`
    SystemPrompt,
    /// The address of the picture of the agent.
    AgentImage,
    /// `voice_id`
    VoiceId,
    /// `temperature`
    Temperature,
    /// `provider_config`
    ProviderConfig,
    /// `voice_settings`
    VoiceSettings,
}

impl AgentColumn {
    /// Every column, in the order of the declaration.
    pub const ALL: [Self; 4] = [
        Self::Name,
        Self::SystemPrompt,
        Self::AgentImage,
        Self::VoiceSettings,
    ];

    const fn facts(self) -> (&'static str, Content) {
        match self {
            Self::Name => ("name", Content::Name),
            Self::SystemPrompt => ("system_prompt", Content::Prompt),
            Self::AgentImage => ("agent_image", Content::Address),
            Self::VoiceSettings => ("voice_settings", Content::Json),
        }
    }
}

impl MappedColumn for AgentColumn {
    const TABLE: &'static str = "agents";
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.facts().0
    }

    fn content(self) -> Content {
        self.facts().1
    }

    fn is_required(self) -> bool {
        self == Self::VoiceSettings
    }
}

impl Column {
    /// Every column, in the order of the declaration.
    pub const ALL: [Self; 7] = [
        Self::AgentName,
        Self::SystemPrompt,
        Self::AgentImage,
        Self::VoiceId,
        Self::Temperature,
        Self::ProviderConfig,
        Self::VoiceSettings,
    ];

    const fn facts(self) -> (&'static str, Source) {
        use Source::{Copied, Sections, Setting};
        match self {
            Self::AgentName => ("agent_name", Copied(AgentColumn::Name)),
            Self::SystemPrompt => ("system_prompt", Copied(AgentColumn::SystemPrompt)),
            Self::AgentImage => ("agent_image", Copied(AgentColumn::AgentImage)),
            Self::VoiceId => ("voice_id", Setting(Content::Name)),
            Self::Temperature => ("temperature", Setting(Content::Number)),
            Self::ProviderConfig => ("provider_config", Sections),
            Self::VoiceSettings => ("voice_settings", Copied(AgentColumn::VoiceSettings)),
        }
    }

    /// The column of the agent that is copied; `None` for a column that comes from the settings.
    pub fn source(self) -> Option<AgentColumn> {
        match self.facts().1 {
            Source::Copied(from) => Some(from),
            Source::Setting(_) | Source::Sections => None,
        }
    }

    /// The columns that are copied as text where they differ, each with its source.
    pub fn copied_texts() -> impl Iterator<Item = (Self, AgentColumn)> {
        let copied = Self::ALL
            .into_iter()
            .filter_map(|column| Some((column, column.source()?)));
        copied.filter(|(column, _)| !column.is_json())
    }

    /// The columns that take one value of the agent's `voice_settings`, each with its key there.
    pub fn from_settings() -> impl Iterator<Item = (Self, &'static str)> {
        let taken = Self::ALL
            .into_iter()
            .filter(|column| matches!(column.facts().1, Source::Setting(_)));
        taken.map(|column| (column, column.name()))
    }

    /// The columns that the mapping compares itself: all but the copied texts, which the server
    /// compares.
    pub fn compared_by_mapping() -> impl Iterator<Item = Self> {
        let is_copied_text = |column: Self| column.source().is_some() && !column.is_json();
        Self::ALL
            .into_iter()
            .filter(move |column| !is_copied_text(*column))
    }

    /// Every column in the order of reports: first the copied columns, then the others.
    pub fn in_reports() -> impl Iterator<Item = Self> {
        let copied = Self::ALL
            .into_iter()
            .filter(|column| column.source().is_some());
        let others = Self::ALL
            .into_iter()
            .filter(|column| column.source().is_none());
        copied.chain(others)
    }
}

impl MappedColumn for Column {
    const TABLE: &'static str = "configurations";
    const ALL: &'static [Self] = &Self::ALL;

    fn index(self) -> usize {
        self as usize
    }

    fn name(self) -> &'static str {
        self.facts().0
    }

    fn content(self) -> Content {
        match self.facts().1 {
            Source::Copied(from) => from.content(),
            Source::Setting(content) => content,
            Source::Sections => Content::Json,
        }
    }

    fn is_required(self) -> bool {
        self == Self::ProviderConfig
    }
}

/// One value for each mapped column of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Per<C, T, const N: usize> {
    values: [T; N],
    columns: PhantomData<C>,
}

/// One value for each column of `agents` that the mapping reads.
pub type PerAgentColumn<T> = Per<AgentColumn, T, { AgentColumn::ALL.len() }>;

/// One value for each column of `agent_configurations` that agent-sync writes.
pub type PerColumn<T> = Per<Column, T, { Column::ALL.len() }>;

impl<C: MappedColumn, T, const N: usize> Per<C, T, N> {
    /// The value of each column, from a function of the column.
    pub fn from_fn(mut value: impl FnMut(C) -> T) -> Self {
        Self {
            values: std::array::from_fn(|index| value(C::ALL[index])),
            columns: PhantomData,
        }
    }

    /// The same values, except for one column.
    #[must_use]
    pub fn with(mut self, column: C, value: T) -> Self {
        self[column] = value;
        self
    }

    /// The columns with their values.
    pub fn iter(&self) -> impl Iterator<Item = (C, &T)> {
        C::ALL.iter().copied().zip(&self.values)
    }

    /// The values, in the order of the columns.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// A function of each value.
    pub fn map<U>(self, value: impl FnMut(T) -> U) -> Per<C, U, N> {
        Per {
            values: self.values.map(value),
            columns: PhantomData,
        }
    }

    /// A reference to each value.
    pub fn as_ref(&self) -> Per<C, &T, N> {
        Per {
            values: self.values.each_ref(),
            columns: PhantomData,
        }
    }
}

impl<C: MappedColumn, T, const N: usize> Per<C, Option<T>, N> {
    /// Whether no column has a value.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(Option::is_none)
    }

    /// The columns that have a value, with the value.
    pub fn present(&self) -> impl Iterator<Item = (C, &T)> {
        self.iter()
            .filter_map(|(column, value)| Some((column, value.as_ref()?)))
    }

    /// The borrowed form of each value.
    pub fn as_deref(&self) -> Per<C, Option<&T::Target>, N>
    where
        T: Deref,
    {
        self.as_ref().map(Option::as_deref)
    }
}

impl<C: MappedColumn, T, const N: usize> From<[T; N]> for Per<C, T, N> {
    /// The values in the order of the columns.
    fn from(values: [T; N]) -> Self {
        Self {
            values,
            columns: PhantomData,
        }
    }
}

impl<C: MappedColumn, T: Default, const N: usize> Default for Per<C, T, N> {
    fn default() -> Self {
        Self::from_fn(|_| T::default())
    }
}

impl<'de, C, T, const N: usize> Deserialize<'de> for Per<C, T, N>
where
    C: MappedColumn,
    T: Default + Deserialize<'de>,
{
    /// The values by the names of their columns.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut named = BTreeMap::<String, T>::deserialize(deserializer)?;
        let mut per = Self::default();
        for column in C::ALL.iter().copied() {
            let value = named.remove(column.name());
            per[column] = value.ok_or_else(|| D::Error::missing_field(column.name()))?;
        }
        Ok(per)
    }
}

impl<C: MappedColumn, T, const N: usize> Index<C> for Per<C, T, N> {
    type Output = T;

    fn index(&self, column: C) -> &T {
        &self.values[column.index()]
    }
}

impl<C: MappedColumn, T, const N: usize> IndexMut<C> for Per<C, T, N> {
    fn index_mut(&mut self, column: C) -> &mut T {
        &mut self.values[column.index()]
    }
}

impl<C: MappedColumn, T: fmt::Debug, const N: usize> fmt::Debug for Per<C, T, N> {
    /// The values by the names of their columns.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.iter().map(|(column, value)| (column.name(), value));
        out.debug_map().entries(values).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_listed_once_at_its_index() {
        fn check<C: MappedColumn>() {
            let indexes: Vec<_> = C::ALL.iter().map(|column| column.index()).collect();
            assert_eq!(indexes, (0..C::ALL.len()).collect::<Vec<_>>());
        }
        check::<AgentColumn>();
        check::<Column>();
    }

    #[test]
    fn copied_text_is_every_copied_column_but_the_json() {
        let copied: Vec<_> = Column::copied_texts().collect();
        let expected = [
            (Column::AgentName, AgentColumn::Name),
            (Column::SystemPrompt, AgentColumn::SystemPrompt),
            (Column::AgentImage, AgentColumn::AgentImage),
        ];
        assert_eq!(copied, expected);
    }

    #[test]
    fn reports_begin_with_the_copied_columns() {
        let columns: Vec<_> = Column::in_reports().collect();
        let expected = [
            Column::AgentName,
            Column::SystemPrompt,
            Column::AgentImage,
            Column::VoiceSettings,
            Column::VoiceId,
            Column::Temperature,
            Column::ProviderConfig,
        ];
        assert_eq!(columns, expected);
    }

    #[test]
    fn a_set_of_values_is_read_by_column() {
        let values = PerColumn::default().with(Column::VoiceId, Some("v".to_owned()));
        assert_eq!(values.as_deref()[Column::VoiceId], Some("v"));
        let present: Vec<_> = values.present().map(|(column, _)| column).collect();
        assert_eq!(present, [Column::VoiceId]);
        assert!(!values.is_empty());
        assert!(PerColumn::<Option<String>>::default().is_empty());
        assert_eq!(
            format!("{:?}", values.map(|value| value.is_some()))
                .matches("true")
                .count(),
            1
        );
    }
}
