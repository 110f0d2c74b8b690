//! The demo: a short story in which agent-sync does its job on a real PostgreSQL, told on the
//! terminal.
//!
//! Nothing is staged. The server is a throwaway one, the daemon is this very program as a process
//! of its own, every change is a plain statement of somebody who knows nothing of agent-sync, and
//! what a step claims is compared with what is in the tables. A step that does not come true is
//! shown as such, and the demo fails.
//!
//! Invariant: nothing is left behind, however the demo ends. The keeper of the cluster and the
//! guard of the daemon each hold a pipe of this process, and clean up when it closes.

mod daemon;
mod encore;
mod platform;
mod show;
mod steps;

use tokio::signal::unix::{SignalKind, signal};
use tokio_postgres::Client;

use self::daemon::{Daemon, Program};
use self::platform::{PATIENCE, Platform, Saved, diff};
use self::show::Screen;
use crate::show::{count, time};
use crate::throwaway::{Cluster, Options, ThrowawayError};

/// The throwaway server of a demo, and where the demo is shown.
pub struct Stage {
    cluster: Cluster,
    screen: Screen,
}

impl Stage {
    /// Starts the server. It blocks, so it is done before there is an event loop.
    pub fn set() -> Result<Self, ThrowawayError> {
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
    pub async fn play(self) -> anyhow::Result<bool> {
        let Self { cluster, screen } = self;
        let platform = Platform::create(&cluster).await?;
        let program = Program::new(cluster.folder(), &cluster.url(platform::DATABASE))?;
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
struct Story {
    screen: Screen,
    platform: Platform,
    program: Program,
    daemon: Option<Daemon>,
}

/// Who writes.
#[derive(Debug, Clone, Copy)]
enum Writer {
    /// The web UI, whose role may save agents and nothing else.
    Ui,
    /// Anybody else: psql, a migration, another service.
    Operator(&'static str),
}

/// A change of one agent, and what is to come of it.
struct Scene<'a> {
    slug: &'a str,
    writer: Writer,
    sql: &'a str,
    /// A query that says true when it has come true.
    outcome: &'a str,
}

impl Story {
    /// Plays a scene: shows the change, makes it, waits for the outcome, and shows what became of
    /// the configuration.
    async fn play(&mut self, scene: &Scene<'_>) -> anyhow::Result<()> {
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
    async fn change(&mut self, writer: Writer, sql: &str, outcome: &str) -> anyhow::Result<Saved> {
        let (who, client): (_, &Client) = match writer {
            Writer::Ui => ("The web UI saves", &self.platform.ui),
            Writer::Operator(who) => (who, &self.platform.operator),
        };
        self.screen.sql(who, sql);
        self.platform.save(client, sql, outcome).await
    }

    /// Compares a value in the database with what it should be.
    async fn compare(&mut self, claim: &str, query: &str, expected: &str) -> anyhow::Result<()> {
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
    async fn start_daemon(&mut self) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        let daemon = self.daemon.insert(Daemon::start(&self.program)?);
        let line = daemon.logged("caught up", None, PATIENCE).await;
        let took = time(begun.elapsed());
        let Some(line) = line else {
            for line in daemon.everything() {
                self.screen.log(line);
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
    async fn stop_daemon(&mut self) {
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
    async fn logged(&mut self, message: &str, slug: &str) {
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
    fn forget_log(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            daemon.forget();
        }
    }
}

/// How many in how long, and how many a second that is.
fn rate(number: i64, took: std::time::Duration) -> String {
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
