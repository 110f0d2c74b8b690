//! The demo: a sequence of steps in which agent-sync does its job on a real PostgreSQL, printed on
//! the terminal.
//!
//! Nothing is simulated. The server is a throwaway one, the daemon is the real program in its own
//! process, every change is an ordinary statement, and each claim is compared with the tables. A
//! failed claim is shown as such, and the demo fails.
//!
//! Invariant: nothing is left behind when the demo ends for any reason. The keeper of the cluster
//! and the guard of the daemon each hold a pipe of this process and clean up when it closes.

use std::path::PathBuf;

use agent_sync::show::{count, time};
use agent_sync_testbed::cluster::{Cluster, ClusterError, Options};
use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Client;

use crate::daemon::{Daemon, Program};
use crate::platform::{self, Platform, Saved, TIMEOUT, diff};
use crate::show::Screen;
use crate::{interactive, steps};

const OPENING: &str = "People edit voice agents in a web UI, which saves the table agents. The agents \
    run by another table, agent_configurations, with the settings of each provider (LLM, TTS, STT). \
    agent-sync keeps the second table in step with the first: each step changes an agent, and shows \
    what the daemon makes of it.";

const PICTURE: &str = "\
web UI ──saves──► agents ──trigger──► outbox
                                        │
voice agent ◄──reads── agent_configurations ◄──writes── agent-sync run";

/// The throwaway server of the demo, and its output.
pub(crate) struct Stage {
    cluster: Cluster,
    screen: Screen,
}

impl Stage {
    /// Starts the server. This blocks, so it runs before the event loop.
    pub(crate) fn set(fast: bool) -> Result<Self, ClusterError> {
        let mut screen = Screen::new(fast);
        screen.heading("agent-sync demo: agents are saved, and their configurations follow");
        screen.say(OPENING);
        screen.line("");
        for line in PICTURE.lines() {
            screen.verbatim(line);
        }
        screen.line("");
        let cluster = Cluster::start(Options::default())?;
        screen.say(
            "A throwaway PostgreSQL is running. It is removed at the end of the demo, with all \
            its data.",
        );
        Ok(Self { cluster, screen })
    }

    /// Runs the steps, and on a terminal the interactive part until Ctrl-C. Returns whether every
    /// claim was true.
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
        story.print_result();
        if Screen::is_terminal() {
            interactive::interactive(&mut story, &cluster, &mut interrupt).await?;
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

/// The context of every step.
pub(crate) struct Story {
    pub(crate) screen: Screen,
    pub(crate) platform: Platform,
    pub(crate) program: Program,
    pub(crate) daemon: Option<Daemon>,
}

/// The writer of a change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Writer {
    /// The web UI, whose role may save agents and nothing else.
    Ui,
    /// Another writer: psql, a migration, another service.
    Operator(&'static str),
}

/// A change of one agent and its expected outcome.
pub(crate) struct Scene<'a> {
    pub(crate) slug: &'a str,
    pub(crate) writer: Writer,
    pub(crate) sql: &'a str,
    /// A query that returns true when the outcome has happened.
    pub(crate) outcome: &'a str,
}

impl Story {
    /// Shows a change, makes it, waits for the outcome, and shows the differences of the
    /// configuration.
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
                .verdict(claim, Err(format!("not within {}", time(TIMEOUT)))),
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

    /// Compares a value in the database with the expected one.
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

    /// Starts the daemon, waits until it has caught up, and shows its log line about that.
    pub(crate) async fn start_daemon(&mut self) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        let daemon = self.daemon.insert(Daemon::start(&self.program));
        let line = daemon.logged("caught up", None, TIMEOUT).await;
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

    /// Stops the daemon, if it runs.
    pub(crate) async fn stop_daemon(&mut self) {
        let Some(mut daemon) = self.daemon.take() else {
            return;
        };
        let begun = std::time::Instant::now();
        let ended = daemon.terminate(TIMEOUT).await;
        let took = time(begun.elapsed());
        let found = match ended {
            Some(status) if status.success() => {
                let claim = format!("SIGTERM: the daemon has ended {took} later, with exit code 0");
                return self.screen.verdict(&claim, Ok(()));
            }
            Some(status) => status.to_string(),
            None => format!("it still runs after {took}"),
        };
        self.screen
            .verdict("the daemon ends at SIGTERM, with exit code 0", Err(found));
    }

    /// Prints the overall result.
    fn print_result(&mut self) {
        match self.screen.failures() {
            0 => self.screen.heading("Every claim is true."),
            1 => self.screen.heading("One claim is false."),
            many => self.screen.heading(&format!("{many} claims are false.")),
        }
    }

    /// Shows what the daemon logs about an agent.
    pub(crate) async fn logged(&mut self, message: &str, slug: &str) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        let claim = format!("the daemon warns about {slug}");
        match daemon.logged(message, Some(slug), TIMEOUT).await {
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

    /// Skips the lines logged so far.
    pub(crate) fn forget_log(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.forget();
        }
    }
}

/// A number, a duration, and the rate per second, as text.
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
