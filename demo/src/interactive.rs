//! The interactive part after the steps: the daemon keeps running and its log is shown, until
//! Ctrl-C.

use std::time::Duration;

use agent_sync_testbed::Cluster;
use tokio::signal::unix::Signal;

use crate::platform::{DATABASE, TIMEOUT};
use crate::show::Screen;
use crate::story::Story;

/// The interval of reading the log.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const OWN: &str = "\
export DATABASE_URL='postgres://user:password@host:5432/database'
agent-sync install    # as the owner of the two tables
agent-sync doctor     # checks everything, with a remedy for each fault
agent-sync run";

const CHANGE: &str = "\
UPDATE agents SET name = 'Antonio', voice_settings = voice_settings
  || '{\"temperature\": 0.2, \"voice_id\": \"my-voice\"}'
  WHERE slug = 'pizzeria-da-nino';";

const QUERY: &str = "\
SELECT agent_name, voice_id, jsonb_pretty(provider_config)
  FROM agent_configurations WHERE agent_slug = 'pizzeria-da-nino';
SELECT * FROM agent_sync.state WHERE pending OR problem IS NOT NULL;";

/// Shows commands to try, and then the log, until Ctrl-C or the end of the daemon.
pub(crate) async fn interactive(
    story: &mut Story,
    cluster: &Cluster,
    interrupt: &mut Signal,
) -> anyhow::Result<()> {
    let screen = &mut story.screen;
    let Some(daemon) = &mut story.daemon else {
        return Ok(());
    };
    let page = daemon.page(TIMEOUT).await;
    invite(screen, cluster, page.as_deref());
    daemon.forget();
    let mut interval = tokio::time::interval(POLL_INTERVAL);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                screen.line("");
                return Ok(());
            }
            _ = interval.tick() => {}
        }
        for line in daemon.forget() {
            screen.told(&line);
        }
        anyhow::ensure!(!daemon.has_ended(), "the daemon has ended unexpectedly");
    }
}

fn invite(screen: &mut Screen, cluster: &Cluster, page: Option<&str>) {
    screen.say("With a database of your own (PostgreSQL 14 or later):");
    screen.line("");
    for line in OWN.lines() {
        screen.verbatim(line);
    }
    screen.line("");
    if let Some(page) = page {
        screen.say(&format!(
            "The daemon keeps running. Its status page, with a page for each agent: {page}"
        ));
        screen.line("");
    }
    let folder = cluster.folder().display();
    screen.say("Connect from another terminal:");
    screen.line("");
    screen.verbatim(&format!(
        "psql -h {folder} -p {} -U postgres {DATABASE}",
        cluster.port()
    ));
    screen.line("");
    // Two snippets: pasted together, the query would run before the daemon is done.
    for (what, code) in [
        ("Save an agent, for instance:", CHANGE),
        ("A moment later, read its configuration:", QUERY),
    ] {
        screen.say(what);
        screen.line("");
        for line in code.lines() {
            screen.verbatim(line);
        }
        screen.line("");
    }
    screen.say("Ctrl-C ends the demo. Until then, the log of the daemon:");
    screen.line("");
}
