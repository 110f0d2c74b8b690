//! The step with tenants: two clinics in one pair of tables, each with an agent of the same slug.
//!
//! The pair is in a schema of its own, with an install and a daemon of its own, so the other steps are
//! not concerned.

use agent_sync::show::time;
use agent_sync_testbed::TABLES;

use crate::daemon::Daemon;
use crate::platform::TIMEOUT;
use crate::story::{Story, Writer};

/// The settings of the pair.
const SETTINGS: &str = r#"install.schema = "clinics_sync"
agents.schema = "clinics"
agents.columns.tenant = "clinic"
configurations.schema = "clinics"
configurations.columns.tenant = "clinic""#;

/// In place of a unique slug, a slug that is unique for each clinic; and a configuration of each.
const CLINICS: &str = "
    ALTER TABLE clinics.agents DROP CONSTRAINT agents_slug_key, ADD COLUMN clinic text NOT NULL,
      ADD UNIQUE (clinic, slug);
    ALTER TABLE clinics.agent_configurations ADD COLUMN clinic text NOT NULL;
    CREATE INDEX ON clinics.agent_configurations (clinic, agent_slug);
    INSERT INTO clinics.agent_configurations (clinic, agent_slug)
      VALUES ('north', 'reception'), ('south', 'reception')";

/// The values of both configurations.
const VALUES: &str =
    "SELECT string_agg(format('%s: %s, voice %s', c.clinic, c.agent_name, c.voice_id),
    '; ' ORDER BY c.clinic) FROM clinics.agent_configurations c";

const OPERATOR: Writer = Writer::Operator("The clinics save");

pub(crate) async fn equal_slugs(story: &mut Story) -> anyhow::Result<()> {
    let title = "Two clinics have an agent with the same slug, and each gets its own values";
    story.screen.step(title).await;
    let tables = format!(
        "CREATE SCHEMA clinics; SET search_path = clinics; {TABLES}; RESET search_path; {CLINICS}"
    );
    story.platform.operator.batch_execute(&tables).await?;
    story
        .screen
        .say("Both are in one table, and the settings name the column that tells them apart:");
    for line in SETTINGS.lines() {
        story.screen.verbatim(line);
    }
    let program = story.program.with_entry("clinics", SETTINGS)?;
    program.run("install")?;
    let mut daemon = Daemon::start(&program);
    let caught_up = daemon.logged("caught up", None, TIMEOUT).await;
    let found = caught_up.map(|_| ()).ok_or_else(|| "none".to_owned());
    story.screen.verdict("a daemon serves them", found);
    let both = "INSERT INTO clinics.agents (clinic, slug, name, voice_settings) VALUES
  ('north', 'reception', 'Nora', '{\"voice_id\": \"alloy\"}'),
  ('south', 'reception', 'Sami', '{\"voice_id\": \"coral\"}')";
    let one = "UPDATE clinics.agents SET name = 'Nils' WHERE clinic = 'north'";
    for (sql, expected) in [
        (both, "north: Nora, voice alloy; south: Sami, voice coral"),
        (one, "north: Nils, voice alloy; south: Sami, voice coral"),
    ] {
        let outcome = format!("SELECT ({VALUES}) = '{expected}'");
        let saved = story.change(OPERATOR, sql, &outcome).await?;
        match saved.visible {
            Some(visible) => {
                let claim = format!("{expected}, {} after the commit", time(visible));
                story.screen.verdict(&claim, Ok(()));
            }
            None => {
                story
                    .compare("each has its own values", VALUES, expected)
                    .await?;
            }
        }
    }
    if daemon.terminate(TIMEOUT).await.is_none() {
        let found = Err("it still runs".to_owned());
        story
            .screen
            .verdict("the daemon of the clinics ends", found);
    }
    Ok(())
}
