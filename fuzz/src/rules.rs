//! The rules file (M9): any text.
//!
//! Promises: it is accepted, or refused with every mistake at an existing position. Accepted rules
//! map some agents like any rules (see `mapping`).

use agent_sync::columns::Column;
use agent_sync::mapping::Rules;

use super::mapping::{Input, Row, holds};

/// Agents, each with a configuration that has every kind of field.
const AGENTS: &[&str] = &[
    r#"{"provider":"cartesia","voice_id":"v","model":"m","temperature":0.9,"llm_provider":"groq","llm_model":"l",
        "stt_provider":"deepgram","output_format":"pcm"}"#,
    r#"{"provider":"elevenlabs","stability":"0.5","similarity_boost":1,"tts_provider":"x","a":"b"}"#,
    r#"{"provider":"acme","llm_provider":"","stt_provider":null,"loudness_normalization":"true"}"#,
];

const CONFIG: &str = r#"{"a":1.00,"tts":{"provider":"openai","voice":"v","x":null},"llm":{"provider":"groq"},"stt":null}"#;

/// The target.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Err(error) = Rules::parse(text) {
        assert!(!error.mistakes.is_empty(), "refused for no reason");
        let lines: Vec<_> = text.split('\n').collect();
        for mistake in &error.mistakes {
            let line = mistake
                .line
                .checked_sub(1)
                .and_then(|index| lines.get(index));
            let columns = line.map(|line| line.chars().count() + 1);
            let is_there = columns.is_some_and(|columns| (1..=columns).contains(&mistake.column));
            assert!(is_there, "no such place: {mistake}");
            assert!(
                !mistake.to_string().chars().any(char::is_control),
                "{mistake:?}"
            );
        }
        return;
    }
    for agent in AGENTS {
        let row = Row::default().with(Column::ProviderConfig, Some(CONFIG.to_owned()));
        let (settings, rules) = (Some((*agent).to_owned()), Some(text.to_owned()));
        holds(&Input {
            settings,
            row,
            rules,
            ..Input::default()
        });
    }
}
