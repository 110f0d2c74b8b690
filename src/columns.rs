//! The mapped columns, written once (M1): the columns of `agents` that the mapping reads, the
//! columns of `agent_configurations` that it computes, and one value for each of them. The slug
//! columns, the tenant columns and the time columns are not among them.
//!
//! Authority: the queries, the mapping, the privileges and the reports are computed from
//! [`AgentColumn`] and [`Column`]. `settings::columns`, `sql/names.sql` and `sql/attach.sql` have
//! lists of their own: see [docs/how-to.md](../docs/how-to.md).

mod per;

pub use per::{Per, PerAgentColumn, PerColumn};

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

/// The columns of `agent_configurations` that the mapping computes, in the order of the parameters
/// of the statements that write them.
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
}
