//! The check for a lock on a whole table, behind which every write of the daemon waits.

use postgres_types::Type;
use tokio_postgres::Row;

use super::OVERDUE;
use super::asking::{Asking, Over};
use crate::pg::{QueryError, told};
use crate::report::note::Note;
use crate::show::age;
use crate::store::report;

/// The age of such a lock that is told, in seconds. An install and VACUUM take one for less.
const LONG: f64 = 5.0;

/// A lock that no write passes, or a request of one: the server lets no write past it either.
struct Lock {
    table: String,
    mode: String,
    /// The process, or none where the transaction is prepared.
    pid: Option<i32>,
    /// The process that it waits for. None where it is granted.
    holder: Option<i32>,
    /// The lock that the holder has.
    held: Option<String>,
    is_granted: bool,
    seconds: f64,
    /// Whether the server hides from this role how old the transaction is that holds it.
    is_age_hidden: bool,
}

impl Lock {
    fn of(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            table: told(row, 0)?,
            mode: told(row, 1)?,
            pid: row.try_get(2)?,
            is_granted: row.try_get(3)?,
            holder: row.try_get(4)?,
            held: told(row, 5)?,
            seconds: row.try_get(6)?,
            is_age_hidden: row.try_get(7)?,
        })
    }

    fn note(&self) -> Note {
        let (table, mode) = (&self.table, &self.mode);
        let who = |pid: Option<i32>| {
            pid.map_or_else(
                || "a prepared transaction".to_owned(),
                |pid| format!("process {pid}"),
            )
        };
        let first = who(self.pid);
        let what = if self.is_granted {
            format!("{first} holds {mode}")
        } else {
            let held = self.held.as_deref().unwrap_or("a lock");
            format!(
                "{first} waits for {mode}, behind {} that holds {held}",
                who(self.holder)
            )
        };
        let text = format!(
            "every write in {table} waits for a lock on it, for {}: {what}",
            age(self.seconds)
        );
        let ends: Vec<String> = [self.holder, self.pid]
            .into_iter()
            .flatten()
            .map(|pid| format!("SELECT pg_terminate_backend({pid});"))
            .collect();
        let remedy = if ends.is_empty() {
            "End the prepared transaction: SELECT * FROM pg_prepared_xacts ORDER BY prepared;"
                .to_owned()
        } else {
            format!(
                "No restart of the daemon helps. See what these sessions do (SELECT * FROM \
                pg_stat_activity), and wait for their end, or end them: {}",
                ends.join(" ")
            )
        };
        if self.seconds >= OVERDUE {
            Note::fail("locks", text, remedy)
        } else {
            Note::warn("locks", text, remedy)
        }
    }
}

impl Asking<'_> {
    /// Checks for locks on whole tables (G14, G16). Any role that may connect can cause one: a
    /// statement takes the lock before PostgreSQL looks at the privileges.
    pub(super) async fn locks(&mut self) -> Result<(), Over> {
        let Some(layout) = &self.look.layout else {
            return Ok(());
        };
        let table = [(&layout.configurations.table as _, Type::TEXT)];
        let asked = async {
            let row = self.db.opt(report::TABLE_LOCK, &table).await?;
            Ok::<_, QueryError>(row.as_ref().map(Lock::of).transpose()?)
        };
        // A lock whose age is hidden is taken to be as old as the oldest change that waits: the
        // daemon itself never waits for long at a time.
        let outbox = self.look.outbox.as_ref();
        let waiting = outbox.and_then(|outbox| outbox.oldest_seconds);
        let asked = asked.await.map(|lock| {
            lock.map(|lock| match waiting {
                Some(waiting) if lock.is_age_hidden => Lock {
                    seconds: lock.seconds.max(waiting),
                    ..lock
                },
                _ => lock,
            })
        });
        let note = match asked {
            Ok(Some(lock)) if lock.seconds >= LONG => lock.note(),
            Ok(_) => Note::pass("locks", "no lock on a table keeps the daemon from writing"),
            Err(error) => return self.failed("locks", &error),
        };
        self.note(note);
        Ok(())
    }
}
