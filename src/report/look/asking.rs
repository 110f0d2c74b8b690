//! The queries of a look, in their order. A failed one does not stop the others.

use std::time::Duration;

use super::Look;
use super::words::{Transaction, locked, missed, same_mapping, unknown, unsealed};
use crate::install;
use crate::mapping::Rules;
use crate::observe::Pause;
use crate::pg::identifier::plain;
use crate::pg::{Db, QueryError};
use crate::report::note::{Note, is_over};
use crate::settings::{Database, Settings};
use crate::store::finding::{Finding, Rights};
use crate::store::{
    FaultKind, Installed, Layout, MayRead, broken_triggers, checks, is_unsealed, mapping, pause,
    queries, reads_only, report,
};

/// The connection is lost, and a note tells of it: no error of a query ends a look without one.
pub(super) struct Over(());

/// Runs the queries and collects the result.
pub(super) struct Asking<'a> {
    pub(super) db: &'a Db,
    pub(super) database: &'a Database,
    pub(super) settings: &'a Settings,
    pub(super) rules: Option<&'a Rules>,
    pub(super) may_read: Option<MayRead>,
    pub(super) look: Look,
}

impl Asking<'_> {
    /// Runs all queries and returns what they found before the connection was lost, if it was.
    pub(super) async fn all(mut self) -> Look {
        // The note says what was lost.
        let _ = self.one_by_one().await;
        self.look
    }

    async fn one_by_one(&mut self) -> Result<(), Over> {
        self.server().await?;
        self.tables().await?;
        self.install().await?;
        if self.look.installed {
            self.capture().await?;
            self.mapping().await?;
            self.pause().await?;
        }
        self.cautions().await?;
        self.daemons().await?;
        if self.look.installed {
            self.outbox().await?;
            self.locks().await?;
            self.last_sync().await?;
            self.audit().await?;
            self.agents().await?;
            self.problems().await?;
        }
        Ok(())
    }

    pub(super) fn note(&mut self, note: Note) {
        self.look.notes.push(note);
    }

    /// Adds the error to the notes. Says if further queries are useless.
    pub(super) fn failed(&mut self, topic: &'static str, error: &QueryError) -> Result<(), Over> {
        self.note(Note::unanswered(topic, error));
        if is_over(error) {
            Err(Over(()))
        } else {
            Ok(())
        }
    }

    async fn server(&mut self) -> Result<(), Over> {
        let asked = async {
            let findings = checks::server(self.db).await?;
            let version: String = self.db.value(&queries::server(), &[]).await?;
            Ok::<_, QueryError>((findings, version))
        };
        match asked.await {
            Ok((findings, version)) if findings.is_empty() => {
                self.note(Note::pass(
                    "server",
                    format!("PostgreSQL {version}, a primary that takes writes"),
                ));
            }
            Ok((findings, _)) => self.look.notes.extend(findings.iter().map(Note::finding)),
            Err(error) => return self.failed("server", &error),
        }
        Ok(())
    }

    async fn tables(&mut self) -> Result<(), Over> {
        let (agents, configurations) = (&self.database.agents, &self.database.configurations);
        match Layout::read(self.db, self.database).await {
            Ok(layout) => {
                let name =
                    |schema: &str, table: &str| format!("{}.{}", plain(schema), plain(table));
                let to = name(&configurations.schema, &configurations.table);
                let mut text = format!("{} and {to}", name(&agents.schema, &agents.table));
                if !layout.missing.is_empty() {
                    text = format!(
                        "{text}; left out, because they do not exist: {}",
                        layout.missing.join(", ")
                    );
                }
                self.note(Note::pass("tables", text));
                self.look.layout = Some(layout);
                Ok(())
            }
            Err(error) => {
                self.note(Note::no_layout(&error));
                match error {
                    crate::store::LayoutError::Store(cause) if is_over(&cause) => Err(Over(())),
                    _ => Ok(()),
                }
            }
        }
    }

    async fn install(&mut self) -> Result<(), Over> {
        let Some(layout) = &self.look.layout else {
            return Ok(());
        };
        let reads_only = match reads_only(self.db).await {
            Ok(reads_only) => reads_only,
            Err(error) => return self.failed("install", &error),
        };
        self.look.reads_only = reads_only;
        let version = install::VERSION;
        match checks::install(self.db, self.database, layout, version, reads_only).await {
            Ok(findings) if findings.is_empty() => {
                self.look.installed = true;
                self.note(Note::pass("install", format!("whole, version {version}")));
                let text = if reads_only {
                    "this is a monitoring role, and has every privilege to read"
                } else {
                    "the role has every privilege that the daemon needs"
                };
                self.note(Note::pass("privileges", text));
                Ok(())
            }
            Ok(findings) => {
                self.look.notes.extend(findings.iter().map(Note::finding));
                Ok(())
            }
            Err(error) => self.failed("install", &error),
        }
    }

    /// Checks whether changes are captured (G1).
    async fn capture(&mut self) -> Result<(), Over> {
        let Some(layout) = &self.look.layout else {
            return Ok(());
        };
        let configurations = self.settings.capture.configurations;
        match broken_triggers(self.db, layout, configurations).await {
            Ok(faults) if faults.is_empty() => {
                self.note(Note::pass(
                    "capture",
                    "the triggers are there, enabled, and can write the outbox",
                ));
            }
            Ok(faults) => self.look.notes.extend(faults.iter().map(|fault| {
                let text = match fault.kind {
                    FaultKind::Broken | FaultKind::Outbox => {
                        format!("capture broken: changes are missed, because {fault}")
                    }
                    FaultKind::NotAlways | FaultKind::Child => fault.to_string(),
                };
                Note::fail("capture", text, fault.remedy())
            })),
            Err(error) => return self.failed("capture", &error),
        }
        let installed = match Installed::read(self.db).await {
            Ok(Some(installed)) => installed,
            Ok(None) => return Ok(()),
            Err(error) => return self.failed("missed", &error),
        };
        match self.missed(&installed).await {
            Ok(note) => {
                self.note(note);
                Ok(())
            }
            Err(error) => self.failed("missed", &error),
        }
    }

    /// Checks whether changes may have been missed, and every agent is still to be checked.
    async fn missed(&mut self, installed: &Installed) -> Result<Note, QueryError> {
        let owes = installed.owes_check();
        // Only a question of the catalog tells that a trigger was switched off for a while.
        let is_unsealed = match &self.look.layout {
            Some(layout) if !owes => is_unsealed(self.db, layout).await?,
            _ => Some(false),
        };
        self.look.unsure = owes || is_unsealed == Some(true);
        let saver = if owes { self.saver().await? } else { None };
        Ok(match self.locked_record().await? {
            Some(locked) => locked,
            None if is_unsealed == Some(true) => unsealed(),
            None if is_unsealed.is_none() => unknown(),
            None => missed(installed, saver.as_ref()),
        })
    }

    /// That another session keeps the row of the install locked, which each sweep writes. The
    /// daemon itself locks it for moments.
    async fn locked_record(&self) -> Result<Option<Note>, QueryError> {
        for pause in [100, 200, 400] {
            match self.db.all(report::UNLOCKED_RECORD, &[]).await {
                Ok(rows) if rows.is_empty() => {}
                // Also where this role may not lock it.
                Ok(_) | Err(QueryError::Postgres(_)) => return Ok(None),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let holder = self.db.opt(report::RECORD_HOLDER, &[]).await?;
        let holder = holder.map(|row| row.try_get(0)).transpose()?;
        Ok(Some(locked(holder)))
    }

    /// The transaction of another session whose end the daemon awaits before a full check.
    async fn saver(&self) -> Result<Option<Transaction>, QueryError> {
        let Some(layout) = &self.look.layout else {
            return Ok(None);
        };
        let row = self.db.opt(&report::saver(), &layout.tables()).await?;
        Ok(row.as_ref().map(Transaction::of).transpose()?)
    }

    /// Checks whether the configurations were last in sync under the rules and columns of these
    /// settings (G14).
    async fn mapping(&mut self) -> Result<(), Over> {
        let (Some(layout), Some(rules)) = (&self.look.layout, self.rules) else {
            return Ok(());
        };
        match mapping(self.db, &layout.mapping_text(rules)).await {
            Ok(noted) => {
                self.look.notes.extend(same_mapping(noted));
                Ok(())
            }
            Err(error) => self.failed("mapping", &error),
        }
    }

    async fn pause(&mut self) -> Result<(), Over> {
        match pause::in_force(self.db).await {
            Ok(pause) => {
                if let Some(pause) = &pause {
                    let text = format!("{pause}; changes are noted and not applied");
                    self.note(Note::warn("pause", text, Pause::REMEDY));
                }
                self.look.pause = pause;
                Ok(())
            }
            Err(error) => self.failed("pause", &error),
        }
    }

    async fn cautions(&mut self) -> Result<(), Over> {
        let Some(layout) = &self.look.layout else {
            return Ok(());
        };
        let (notify, history) = (self.settings.capture.notify, self.settings.history.enabled);
        match checks::cautions(self.db, layout, (notify, history), self.may_read).await {
            Ok(findings) => {
                let (agents, configurations) =
                    (&self.database.agents, &self.database.configurations);
                self.look.hidden = (
                    hidden(&findings, &agents.schema, &agents.table),
                    hidden(&findings, &configurations.schema, &configurations.table),
                );
                let reads_only = self.look.reads_only;
                let caution = |finding| caution(finding, reads_only);
                let found: Vec<_> = findings.iter().filter_map(caution).collect();
                for pass in passes(history, reads_only) {
                    let mut known = found.iter().chain(&self.look.notes);
                    if known.all(|note| note.topic != pass.topic) {
                        self.note(pass);
                    }
                }
                self.look.notes.extend(found);
                Ok(())
            }
            Err(error) => self.failed("row security", &error),
        }
    }
}

/// The cautions that do not apply.
fn passes(history: bool, reads_only: bool) -> [Note; 8] {
    let role = if reads_only {
        Note::skip("role", "not examined: this is no role of a daemon")
    } else {
        Note::pass("role", "the role of the daemon is no superuser")
    };
    [
        Note::pass("index", "an index finds a slug in each of the two tables"),
        Note::pass("key", "a unique index keeps the slugs of agents apart"),
        Note::pass(
            "row security",
            "no policy hides rows of the two tables from the role",
        ),
        Note::pass(
            "publication",
            "no publication keeps the daemon from deleting or updating",
        ),
        role,
        Note::pass(
            "owners",
            "the capture functions belong to the owners of the tables that they serve",
        ),
        Note::pass(
            "two-phase",
            "no prepared transaction can meet a notification of agent-sync",
        ),
        Note::pass(
            "history",
            if history {
                "the cause of each write is noted"
            } else {
                "none is kept (history.enabled)"
            },
        ),
    ]
}

/// The note for a caution. The policies for a monitoring role say nothing about the daemon.
fn caution(finding: &Finding, reads_only: bool) -> Option<Note> {
    let note = Note::finding(finding);
    match finding {
        Finding::Rights(Rights::RowsMayBeHidden { table, command, .. }) if reads_only => {
            let text = format!(
                "row-level security of {table} may hide rows from this monitoring role; the role \
                of the daemon can tell what it hides from the daemon"
            );
            let remedy = note.remedy.unwrap_or_default();
            (command == "SELECT").then(|| Note::warn(note.topic, text, remedy))
        }
        _ => Some(note),
    }
}

/// The finding that row-level security may hide rows of this table from the role.
fn hidden(findings: &[Finding], schema: &str, name: &str) -> Option<Note> {
    let named = format!("{}.{}", plain(schema), plain(name));
    let may_hide = |finding: &&Finding| match finding {
        Finding::Rights(Rights::RowsMayBeHidden { table, command, .. }) => {
            *table == named && command == "SELECT"
        }
        _ => false,
    };
    findings.iter().find(may_hide).map(Note::finding)
}
