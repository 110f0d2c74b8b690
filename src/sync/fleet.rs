//! The databases together: one task and one connection each, so that none delays another; started
//! and stopped as one, and reloaded without disturbing those that stay the same (I4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::audit::{Reported, keep_audited};
use super::context::{Context, Options, Turns};
use super::database::keep_in_sync;
use crate::mapping::Rules;
use crate::observe::{Board, pulse};
use crate::settings::Database;

/// The running tasks.
#[derive(Debug)]
pub struct Fleet {
    options: Options,
    rules: watch::Sender<Arc<Rules>>,
    board: Arc<Board>,
    turns: Turns,
    members: BTreeMap<String, Member>,
    /// Each task says which run of which member has ended.
    tasks: JoinSet<u64>,
    runs: u64,
}

/// The task of one database.
#[derive(Debug)]
struct Member {
    context: Context,
    run: u64,
    stop: watch::Sender<bool>,
    /// Closed when the task has ended.
    ended: oneshot::Receiver<()>,
}

/// The result of a reload.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// Databases that are new.
    pub added: Vec<String>,
    /// Databases that are gone.
    pub removed: Vec<String>,
    /// Databases whose settings, or those of all, have changed: they are connected to afresh.
    pub changed: Vec<String>,
    /// Whether the rules have changed.
    pub rules: bool,
}

impl Member {
    /// Whether the task can go on. One that waits out an outage begins anew where a password or a
    /// certificate comes from a file: the reload may be the answer to a wrong one, and the pause
    /// before the next attempt may be long.
    fn serves(&self, database: &Database, board: &Board) -> bool {
        self.context.database == *database
            && !(database.has_files() && board.is_lost(&database.name))
    }
}

impl Fleet {
    /// Starts a task for each database, and enters each in the status registry.
    pub fn start<'a>(
        databases: impl IntoIterator<Item = &'a Database>,
        options: Options,
        rules: Arc<Rules>,
        board: Arc<Board>,
    ) -> Self {
        let (rules, _) = watch::channel(rules);
        let (members, tasks) = (BTreeMap::new(), JoinSet::new());
        let mut fleet = Self {
            options,
            rules,
            board,
            turns: Turns::default(),
            members,
            tasks,
            runs: 0,
        };
        for database in databases {
            fleet.launch(database, None, Reported::Nothing);
        }
        fleet
    }

    /// Adds, removes and changes databases, options and rules. Databases that stay the same are not
    /// disturbed; when the rules change, the audit of each tells how many of its configurations now
    /// differ, and nothing is enqueued.
    pub fn reload<'a>(
        &mut self,
        databases: impl IntoIterator<Item = &'a Database>,
        options: Options,
        rules: Arc<Rules>,
    ) -> Reloaded {
        let mut reloaded = Reloaded {
            rules: **self.rules.borrow() != *rules,
            ..Reloaded::default()
        };
        if reloaded.rules {
            self.rules.send_replace(rules);
        }
        let other_options = self.options != options;
        self.options = options;
        let mut gone = std::mem::take(&mut self.members);
        for database in databases {
            let name = database.name.clone();
            match gone.remove(&name) {
                Some(member) if member.serves(database, &self.board) && !other_options => {
                    self.members.insert(name, member);
                }
                Some(member) => {
                    // The comparisons that went on have ended with the former task.
                    let is_reported = !reloaded.rules && self.board.is_drifting(&name);
                    self.launch(
                        database,
                        Some(member),
                        if is_reported {
                            Reported::Drift
                        } else {
                            Reported::Nothing
                        },
                    );
                    reloaded.changed.push(name);
                }
                None => {
                    self.launch(database, None, Reported::Nothing);
                    reloaded.added.push(name);
                }
            }
        }
        for (name, member) in gone {
            member.stop.send_replace(true);
            self.board.remove(&name);
            reloaded.removed.push(name);
        }
        reloaded
    }

    /// Returns when a task has ended though it was not told to: a bug, for which the process must
    /// not go on.
    pub async fn failure(&mut self) {
        loop {
            match self.tasks.join_next().await {
                // One that was told to stop: it is no member any more, or a later run is.
                Some(Ok(run)) if self.members.values().all(|member| member.run != run) => {}
                Some(_) => return,
                // There is nobody to fail while there is no database.
                None => std::future::pending().await,
            }
        }
    }

    /// Tells every task to stop after its running batch, and waits for that, for no longer than
    /// `grace`. Says whether all of them made it; a batch that did not is undone by the server.
    pub async fn stop(mut self, grace: Duration) -> bool {
        for member in self.members.values() {
            member.stop.send_replace(true);
        }
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout(grace, ended).await.is_ok()
    }

    /// Starts the task of a database, after the end of the task that it takes the place of.
    fn launch(&mut self, database: &Database, predecessor: Option<Member>, reported: Reported) {
        self.runs += 1;
        let run = self.runs;
        let (stop, stopped) = watch::channel(false);
        let (running, ended) = oneshot::channel();
        let context = self.context(database);
        let auditing = keep_audited(context.clone(), stop.subscribe(), reported);
        tokio::spawn(auditing.instrument(context.observer.span()));
        let running_in = context.clone();
        // On the heap, so that what moves through the spawn is small.
        let work = Box::pin(async move {
            if let Some(predecessor) = predecessor {
                predecessor.stop.send_replace(true);
                // Closed, whatever way it ended.
                let _ = predecessor.ended.await;
            }
            pulse::of(
                running_in.observer.clone(),
                keep_in_sync(running_in, stopped),
            )
            .await;
            drop(running);
            run
        });
        self.tasks.spawn(work.instrument(context.observer.span()));
        let member = Member {
            context,
            run,
            stop,
            ended,
        };
        self.members.insert(database.name.clone(), member);
    }

    fn context(&self, database: &Database) -> Context {
        let observer = self.board.observer(&database.name, &database.target());
        Context::new(
            database.clone(),
            self.options.clone(),
            self.rules.subscribe(),
            observer,
        )
        .with_turns(&self.turns)
    }
}
