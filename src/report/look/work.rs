//! The queries of a look about the work: who leads, what is pending and what has a problem.

use std::time::SystemTime;

use postgres_types::Type;
use tokio_postgres::Row;

use super::asking::{Asking, Over};
use super::words::{Transaction, in_trouble, other_groups, pending, who_leads};
use super::{Counted, Daemon, Group, OVERDUE, Outbox};
use crate::key::Keys;
use crate::pg::identifier::plain;
use crate::pg::sqlstate::Class;
use crate::pg::{List, Parameter, QueryError, told};
use crate::report::note::Note;
use crate::store::{Lossy, report};
use crate::time;

/// The largest number of rows that is counted; a higher count costs more than it is worth.
const COUNTED: i64 = 100_000;

/// The most kinds of problems that are listed. A trigger can raise any SQLSTATE.
const GROUPS: i64 = 50;

/// The remedy where the problems are not read in time.
const SLOW_PROBLEMS: &str = "This check reads at most 100,000 rows of agent_sync.problem. See in \
    pg_stat_activity what else the server is busy with, and remove dead rows: VACUUM \
    agent_sync.problem; or raise sync.statement_timeout.";

impl Asking<'_> {
    pub(super) async fn daemons(&mut self) -> Result<(), Over> {
        match self.list(&report::daemons(), daemon).await {
            Ok(daemons) => {
                self.look.daemons = daemons;
                let note = who_leads(&self.look);
                self.note(note);
                Ok(())
            }
            Err(error) => self.failed("daemon", &error),
        }
    }

    pub(super) async fn outbox(&mut self) -> Result<(), Over> {
        match self.read_outbox().await {
            Ok((outbox, holder)) => {
                let note = pending(&self.look, &outbox, holder.as_ref());
                self.note(note);
                self.look.outbox = Some(outbox);
                Ok(())
            }
            Err(error) => self.failed("outbox", &error),
        }
    }

    /// The outbox, and the table and the transaction that may keep an overdue change waiting.
    async fn read_outbox(&self) -> Result<(Outbox, Option<(String, Transaction)>), QueryError> {
        let limit = COUNTED + 1;
        let outbox = report::outbox(self.database.agents.columns.keys());
        let row = self.db.one(&outbox, &[(&limit, Type::INT8)]).await?;
        let counted: i64 = row.try_get(0)?;
        let outbox = Outbox {
            rows: counted.min(COUNTED),
            slugs: row.try_get(1)?,
            more: counted > COUNTED,
            oldest: row.try_get::<_, Option<SystemTime>>(2)?.map(time::rfc3339),
            oldest_seconds: row.try_get(3)?,
        };
        let overdue = outbox.oldest_seconds.is_some_and(|age| age >= OVERDUE);
        let Some(layout) = self.look.layout.as_ref().filter(|_| overdue) else {
            return Ok((outbox, None));
        };
        let table = [(&layout.configurations.table as _, Type::TEXT)];
        let row = self.db.opt(report::ROW_HOLDER, &table).await?;
        let holder = row.as_ref().map(Transaction::of).transpose()?;
        let named = &self.database.configurations;
        let table = format!("{}.{}", plain(&named.schema), plain(&named.table));
        Ok((outbox, holder.map(|holder| (table, holder))))
    }

    pub(super) async fn last_sync(&mut self) -> Result<(), Over> {
        let asked = async {
            let row = self.db.one(report::LAST_SYNC, &[]).await?;
            let at: Option<SystemTime> = row.try_get(0)?;
            Ok::<_, QueryError>((at, row.try_get(1)?))
        };
        match asked.await {
            Ok((at, seconds)) => {
                self.look.last_sync = at.map(time::rfc3339).zip(seconds);
                Ok(())
            }
            Err(error) => self.failed("last sync", &error),
        }
    }

    pub(super) async fn agents(&mut self) -> Result<(), Over> {
        let (Some(layout), Some(may_read)) = (&self.look.layout, self.may_read) else {
            return Ok(());
        };
        let query = report::count_agents(layout, may_read);
        let (db, limit) = (self.db, COUNTED + 1);
        let asked = async {
            let counted: i64 = db.value(&query, &[(&limit, Type::INT8)]).await?;
            if counted <= COUNTED {
                return Ok(Counted {
                    number: counted,
                    exact: true,
                });
            }
            let table = &layout.agents.table;
            let about: i64 = db.value(report::ESTIMATE, &[(table, Type::TEXT)]).await?;
            Ok(Counted {
                number: about.max(counted),
                exact: false,
            })
        };
        match asked.await {
            Ok(agents) => {
                self.look.agents = Some(agents);
                Ok(())
            }
            Err(error) => self.failed("agents", &error),
        }
    }

    pub(super) async fn problems(&mut self) -> Result<(), Over> {
        let keys = self.database.agents.columns.keys();
        match self.read_problems(keys).await {
            Ok((mut groups, are_more)) => {
                if groups.is_empty() {
                    self.note(Note::pass("agents", "no agent has a problem"));
                }
                for group in &mut groups {
                    let first = group.some.first().cloned().unwrap_or_default();
                    for key in &mut group.some {
                        *key = keys.parts(key).plain().into_owned();
                    }
                    let note = in_trouble(self.database, group, &keys.parts(&first));
                    self.note(note);
                }
                if are_more {
                    self.note(other_groups());
                }
                self.look.problems = Some(groups);
                Ok(())
            }
            Err(error) => {
                let is_slow = error.class() == Some(Class::Slow);
                let failed = self.failed("agents", &error);
                if let Some(note) = self.look.notes.last_mut().filter(|_| is_slow) {
                    note.remedy = Some(SLOW_PROBLEMS.to_owned());
                }
                failed
            }
        }
    }

    /// The problems in groups, and whether there are more groups.
    async fn read_problems(&self, keys: Keys) -> Result<(Vec<Group>, bool), QueryError> {
        let most: [Parameter<'_>; 2] = [(&COUNTED, Type::INT8), (&GROUPS, Type::INT8)];
        let rows = self.db.all(&report::problems(keys), &most).await?;
        let are_more = rows.first().map(|row| row.try_get(8)).transpose()?;
        let groups = rows.iter().map(group).collect::<Result<_, _>>()?;
        Ok((groups, are_more.unwrap_or(false)))
    }

    async fn list<T>(
        &self,
        query: &str,
        read: fn(&Row) -> Result<T, tokio_postgres::Error>,
    ) -> Result<Vec<T>, QueryError> {
        let rows = self.db.all(query, &[]).await?;
        Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
    }
}

fn daemon(row: &Row) -> Result<Daemon, tokio_postgres::Error> {
    Ok(Daemon {
        // 0 is a prepared transaction; `program` is its name.
        pid: row.try_get("pid")?,
        host: told(row, "host")?,
        knows_host: row.try_get("told_where")?,
        user: told(row, "role")?,
        program: told::<Option<String>>(row, "program")?.unwrap_or_default(),
        connected_since: row
            .try_get::<_, Option<SystemTime>>("connected_since")?
            .map(time::rfc3339),
        connected_seconds: row.try_get("connected_seconds")?,
        leads: row.try_get("leads")?,
        sleeps: row.try_get("sleeps")?,
        is_intruder: row.try_get("is_intruder")?,
        quiet_seconds: row.try_get("quiet_seconds")?,
        is_others: row.try_get("is_others")?,
    })
}

fn group(row: &Row) -> Result<Group, tokio_postgres::Error> {
    Ok(Group {
        kind: row.try_get(0)?,
        sqlstate: row.try_get(1)?,
        agents: row.try_get(2)?,
        more: row.try_get(7)?,
        some: row
            .try_get::<_, List<Lossy>>(3)?
            .0
            .into_iter()
            .map(|slug| slug.0)
            .collect(),
        since: row.try_get::<_, Option<SystemTime>>(4)?.map(time::rfc3339),
        seconds: row.try_get(5)?,
        detail: row.try_get(6)?,
    })
}
