//! The interactive part after the steps: the daemon keeps running and its log is shown, until
//! Ctrl-C.

use std::time::Duration;

use agent_sync_testbed::Cluster;
use tokio::signal::unix::Signal;

use crate::platform::DATABASE;
use crate::show::Screen;
use crate::story::Story;

/// The interval of reading the log.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

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
    invite(screen, cluster);
    let Some(daemon) = &mut story.daemon else {
        return Ok(());
    };
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
            screen.log(&line);
        }
        anyhow::ensure!(!daemon.has_ended(), "the daemon has ended unexpectedly");
    }
}

fn invite(screen: &mut Screen, cluster: &Cluster) {
    let folder = cluster.folder().display();
    screen.say("The daemon keeps running. Connect from another terminal:");
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
