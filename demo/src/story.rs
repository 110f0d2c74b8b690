//! The demo: a short story in which agent-sync does its job on a real PostgreSQL, told on the
//! terminal.
//!
//! Nothing is staged. The server is a throwaway one, the daemon is the real program as a process of
//! its own, every change is a plain statement of somebody who knows nothing of agent-sync, and
//! what a step claims is compared with what is in the tables. A step that does not come true is
//! shown as such, and the demo fails.
//!
//! Invariant: nothing is left behind, however the demo ends. The keeper of the cluster and the
//! guard of the daemon each hold a pipe of this process, and clean up when it closes.

use std::path::PathBuf;

use agent_sync::show::{count, time};
use agent_sync_testbed::cluster::{Cluster, ClusterError, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Client;

use crate::daemon::{Daemon, Program};
use crate::platform::{self, PATIENCE, Platform, Saved, diff};
use crate::show::Screen;
use crate::{encore, steps};

/// The throwaway server of a demo, and where the demo is shown.
pub(crate) struct Stage {
    cluster: Cluster,
    screen: Screen,
}

impl Stage {
    /// Starts the server. It blocks, so it is done before there is an event loop.
    pub(crate) fn set() -> Result<Self, ClusterError> {
        let mut screen = Screen::new();
        screen.heading("agent-sync demo: agents are saved, and their configurations follow");
        let cluster = Cluster::start(Options::default())?;
        screen.say(
            "A throwaway PostgreSQL is up. It goes away with this demo, and so does all that \
            is in it.",
        );
        Ok(Self { cluster, screen })
    }

    /// Plays the story. Where somebody watches, the stage is theirs afterwards, until they have had
    /// enough. Says whether everything came true.
    pub(crate) async fn play(self, program: PathBuf) -> anyhow::Result<bool> {
        let Self { cluster, screen } = self;
        let platform = Platform::create(&cluster).await?;
        let program = Program::new(program, cluster.folder(), &cluster.url(platform::DATABASE))?;
        let mut story = Story {
            screen,
            platform,
            program,
            daemon: None,
        };
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(false),
            outcome = steps::all(&mut story) => outcome?,
        }
        story.say_how_it_went();
        if Screen::is_terminal() {
            encore::encore(&mut story, &cluster, &mut interrupt).await?;
        }
        story.stop_daemon().await;
        let folder = cluster.folder().to_owned();
        drop(cluster);
        let found = if folder.exists() {
            Err(format!("{} is still there", folder.display()))
        } else {
            Ok(())
        };
        story
            .screen
            .verdict("the server is stopped, and its folder is gone", found);
        Ok(story.screen.failures() == 0)
    }
}

/// What every step works with.
pub(crate) struct Story {
    pub(crate) screen: Screen,
    pub(crate) platform: Platform,
    pub(crate) program: Program,
    pub(crate) daemon: Option<Daemon>,
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writer {
    /// The web UI, whose role may save agents and nothing else.
    Ui,
    /// Anybody else: psql, a migration, another service.
    Operator(&'static str),
}

/// A change of one agent, and what is to come of it.
pub(crate) struct Scene<'a> {
    pub(crate) slug: &'a str,
    pub(crate) writer: Writer,
    pub(crate) sql: &'a str,
    /// A query that says true when it has come true.
    pub(crate) outcome: &'a str,
}

impl Story {
    /// Plays a scene: shows the change, makes it, waits for the outcome, and shows what became of
    /// the configuration.
    pub(crate) async fn play(&mut self, scene: &Scene<'_>) -> anyhow::Result<()> {
        let before = self.platform.configuration(scene.slug).await?;
        let saved = self.change(scene.writer, scene.sql, scene.outcome).await?;
        let after = self.platform.configuration(scene.slug).await?;
        self.screen.diff(scene.slug, &diff(&before, &after));
        let claim = "the configuration follows";
        match saved.visible {
            Some(visible) => {
                self.screen.verdict(
                    &format!("{claim}: visible {} after the commit", time(visible)),
                    Ok(()),
                );
            }
            None => self
                .screen
                .verdict(claim, Err(format!("not within {}", time(PATIENCE)))),
        }
        Ok(())
    }

    /// Shows a change and makes it.
    pub(crate) async fn change(
        &mut self,
        writer: Writer,
        sql: &str,
        outcome: &str,
    ) -> anyhow::Result<Saved> {
        let (who, client): (_, &Client) = match writer {
            Writer::Ui => ("The web UI saves", &self.platform.ui),
            Writer::Operator(who) => (who, &self.platform.operator),
        };
        self.screen.sql(who, sql);
        self.platform.save(client, sql, outcome).await
    }

    /// Compares a value in the database with what it should be.
    pub(crate) async fn compare(
        &mut self,
        claim: &str,
        query: &str,
        expected: &str,
    ) -> anyhow::Result<()> {
        let found = self.platform.text(query).await?;
        self.screen.verdict(
            claim,
            if found == expected {
                Ok(())
            } else {
                Err(found)
            },
        );
        Ok(())
    }

    /// Starts the daemon and waits until it has caught up. Shows its own line about that.
    pub(crate) async fn start_daemon(&mut self) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        let daemon = self.daemon.insert(Daemon::start(&self.program));
        let line = daemon.logged("caught up", None, PATIENCE).await;
        let took = time(begun.elapsed());
        let Some(line) = line else {
            for line in daemon.log() {
                self.screen.log(&line);
            }
            self.screen.verdict(
                "the daemon catches up",
                Err(format!("it has not in {took}")),
            );
            return Ok(());
        };
        self.screen.log(&line);
        self.screen.verdict(
            &format!("the daemon has caught up {took} after its start"),
            Ok(()),
        );
        Ok(())
    }

    /// Stops the daemon, if there is one.
    pub(crate) async fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let begun = std::time::Instant::now();
        let ended = daemon.terminate(PATIENCE).await;
        let took = time(begun.elapsed());
        let found = match ended {
            Some(status) if status.success() => {
                let claim = format!("SIGTERM: the daemon has ended {took} later, with exit code 0");
                return self.screen.verdict(&claim, Ok(()));
            }
            Some(status) => status.to_string(),
            None => format!("it runs on after {took}"),
        };
        self.screen
            .verdict("the daemon ends at SIGTERM, with exit code 0", Err(found));
    }

    /// The last word on the story.
    fn say_how_it_went(&mut self) {
        match self.screen.failures() {
            0 => self.screen.heading("Everything came true."),
            1 => self
                .screen
                .heading("One thing that should have come true did not."),
            many => self.screen.heading(&format!(
                "{many} things that should have come true did not."
            )),
        }
    }

    /// Shows what the daemon logs about an agent.
    pub(crate) async fn logged(&mut self, message: &str, slug: &str) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let claim = format!("the daemon warns about {slug}");
        match daemon.logged(message, Some(slug), PATIENCE).await {
            Some(line) => {
                self.screen.say("The log of the daemon:");
                self.screen.log(&line);
                self.screen.verdict(&claim, Ok(()));
            }
            None => self
                .screen
                .verdict(&claim, Err("no such line in its log".to_owned())),
        }
    }

    /// Leaves the lines of the log behind that were there before the next change.
    pub(crate) fn forget_log(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.forget();
        }
    }
}

/// How many in how long, and how many a second that is.
pub(crate) fn rate(number: i64, took: std::time::Duration) -> String {
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a rate to read, not to reckon with"
    )]
    let a_second = (number as f64 / took.as_secs_f64()) as i64;
    format!(
        "{} in {}, which is {} a second",
        count(number),
        time(took),
        count(a_second)
    )
}
