//! After the story: the stage belongs to whoever watches, until Ctrl-C. The daemon runs on, and its
//! log is shown.

use std::time::Duration;

use agent_sync_testbed::Cluster;
use tokio::signal::unix::Signal;

use crate::platform::DATABASE;
use crate::show::Screen;
use crate::story::Story;

/// How often the log is looked at.
const GLANCE: Duration = Duration::from_millis(50);

const CHANGE: &str = "\
UPDATE agents SET name = 'Antonio', voice_settings = voice_settings
  || '{\"temperature\": 0.2, \"voice_id\": \"my-voice\"}'
  WHERE slug = 'pizzeria-da-nino';";

const LOOK: &str = "\
SELECT agent_name, voice_id, jsonb_pretty(provider_config)
  FROM agent_configurations WHERE agent_slug = 'pizzeria-da-nino';
SELECT * FROM agent_sync.state WHERE pending OR problem IS NOT NULL;";

/// Shows how to join in, and then the log, until Ctrl-C or until the daemon is gone.
pub(crate) async fn encore(
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
    let mut glance = tokio::time::interval(GLANCE);
    loop {
        tokio::select! {
            biased;
            _ = interrupt.recv() => {
                screen.line("");
                return Ok(());
            }
            _ = glance.tick() => {}
        }
        for line in daemon.forget() {
            screen.log(&line);
        }
        anyhow::ensure!(
            !daemon.has_ended(),
            "the daemon has ended, though nobody told it to"
        );
    }
}

fn invite(screen: &mut Screen, cluster: &Cluster) {
    let folder = cluster.folder().display();
    screen.say("The daemon goes on. Join in from another terminal:");
    screen.line("");
    screen.verbatim(&format!(
        "psql -h {folder} -p {} -U postgres {DATABASE}",
        cluster.port()
    ));
    screen.line("");
    // Two pieces: pasted as one, the second would be quicker than any daemon.
    for (what, code) in [
        ("Save an agent, for instance:", CHANGE),
        ("A moment later, look:", LOOK),
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
