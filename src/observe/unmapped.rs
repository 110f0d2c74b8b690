//! The voice settings that no rule reads, as far as batches have met them (M10): a log line for
//! each, once for each database, and a list for HTTP.
//!
//! Bound: the first [`SETTINGS`] are listed, the first 20 of these logged, and one line says that
//! there are others. Other rules begin a new list.

use std::sync::Arc;
use std::time::SystemTime;

use crate::key::Key;
use crate::show::brief;

/// The most settings that are listed.
pub const SETTINGS: usize = 50;

/// The most settings with a log line of their own.
const LOGGED: usize = 20;

/// The limit of each text, in bytes.
const TEXT: usize = 160;

/// One setting that no rule reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmappedSetting {
    /// Its place in the voice settings.
    pub setting: Arc<str>,
    /// The sentence on it.
    pub remark: Arc<str>,
    /// The tenant of the first agent that was met with it, if tenants are set.
    pub tenant: Option<Arc<str>>,
    /// Its slug.
    pub slug: Arc<str>,
    /// The time of that.
    pub since: SystemTime,
}

/// The settings that no rule reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnmappedSettings {
    /// The first of them, in the order of their first agents.
    pub listed: Arc<Vec<UnmappedSetting>>,
    /// Whether there are others.
    pub more: bool,
}

/// How a setting is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Novelty {
    /// It is known, or one of the others.
    Known,
    /// It gets a line.
    New,
    /// A line says that there are others.
    FirstOfOthers,
}

impl UnmappedSettings {
    /// Their number; one more than [`SETTINGS`] if there are others.
    pub fn number(&self) -> usize {
        self.listed.len() + usize::from(self.more)
    }

    /// Notes a setting that an agent has. The sentence is made only if the setting is listed.
    pub(super) fn note(
        &mut self,
        setting: &str,
        key: &Key<'_>,
        remark: impl FnOnce() -> String,
    ) -> Novelty {
        let limit = |text: &str| Arc::from(brief(text, TEXT));
        let setting = brief(setting, TEXT);
        if self.listed.iter().any(|known| *known.setting == *setting) {
            return Novelty::Known;
        }
        let number = self.listed.len();
        if number == SETTINGS {
            self.more = true;
            return Novelty::Known;
        }
        Arc::make_mut(&mut self.listed).push(UnmappedSetting {
            setting: setting.into(),
            remark: limit(&remark()),
            tenant: key.tenant.as_deref().map(limit),
            slug: limit(key.slug),
            since: SystemTime::now(),
        });
        match number {
            _ if number < LOGGED => Novelty::New,
            LOGGED => Novelty::FirstOfOthers,
            _ => Novelty::Known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Keys;

    #[test]
    fn m10_a_setting_is_told_once_and_the_list_is_bounded() {
        let mut settings = UnmappedSettings::default();
        let mut note = |number: usize| {
            let setting = format!("setting_{number:03}");
            settings.note(&setting, &Keys::Slugs.parts("agent"), || {
                format!("{setting}: no rule reads it")
            })
        };
        for number in 0..300 {
            let novelty = note(number);
            let expected = match number {
                0..20 => Novelty::New,
                20 => Novelty::FirstOfOthers,
                _ => Novelty::Known,
            };
            assert_eq!(novelty, expected, "{number}");
        }
        assert_eq!(note(0), Novelty::Known);
        assert_eq!((settings.listed.len(), settings.more), (SETTINGS, true));
        assert_eq!(settings.number(), SETTINGS + 1);
    }
}
