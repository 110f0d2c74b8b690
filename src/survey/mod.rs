//! Compares every agent with its configurations by the mapping of the daemon, and writes nothing.
//!
//! Usually one read-only transaction with one snapshot covers all agents, so the counts are
//! consistent. An unreadable agent splits it into several, and a [`Walk`] in portions has one for
//! each portion. A save waits behind DDL that waits for a lock of the transaction, so the
//! transaction ends when DDL waits, and another one continues (G3).
//! The rows arrive through a cursor, a bounded number of bytes at a time, ordered by key: memory
//! does not depend on the number of agents (G12).
//!
//! On failure, the caller gets the error after the results that were already passed on. The
//! callback must not wait: the server ends a transaction that is idle for five seconds, because it
//! holds back vacuum and blocks migrations.

mod differing;
mod one;
mod planned;
mod time_slice;
mod unmatched;
mod verdict;
mod walk;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use postgres_types::Type;
use tokio_postgres::Row;

pub use differing::{Differing, Keep, Listed};
pub use one::{Reading, compare};
pub use planned::Planned;
pub use time_slice::TimeSlice;
pub use unmatched::{Unmatched, unmatched};
pub use verdict::{Comparison, Tally, Verdict};
pub use walk::{Step, Walk};

use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::queries::{NAMED_ROWS, WHOLE_TABLES};
use crate::store::surveyed::{self, Extent, Named, Surveyed};
use crate::store::{Layout, enqueue};

/// The time limit of the server for sorting the rows, before the first one arrives.
pub const LONGEST: Duration = Duration::from_secs(600);

/// The time limit of the callback for a portion of rows; the server then ends the transaction.
const IDLE: Duration = Duration::from_secs(5);

/// The size of a portion in bytes, as PostgreSQL sends it; a single row may be larger.
const BYTES: usize = 2 * 1024 * 1024;

/// The largest and the first number of rows in a portion.
const ROWS: (usize, usize) = (32, 1);

/// The interval between two checks for sessions that wait for a lock of the transaction.
const YIELD: Duration = Duration::from_secs(1);

/// The end of a transaction.
enum Ended {
    /// After the last agent, or because the callback stopped it.
    Complete,
    /// Early, because another session waits for its locks.
    Yielded,
}

/// The agents to compare.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// Their slugs or keys; `None` means all.
    pub named: Option<(Named, &'a [&'a str])>,
    /// Whether the outbox and the problems are read; they exist only after the install.
    pub can_read_notes: bool,
    /// Whether the versions of the rows are compared; the role needs their `xmin` for it.
    pub versions: bool,
    /// Rules whose effect is planned beside those in force.
    pub planned: Option<&'a Rules>,
    /// What is kept of the differences.
    pub keep: Keep,
    /// The most rows at a time, if they are fewer than usual.
    pub rows: Option<usize>,
    /// The time limit of a statement of the server, if it is shorter than [`LONGEST`].
    pub within: Option<Duration>,
}

impl Scope<'_> {
    /// Every agent, with lists of what differs.
    pub fn with_lists() -> Self {
        Self {
            keep: Keep::Lists,
            ..Self::default()
        }
    }

    fn extent(self) -> Extent {
        Extent {
            can_read_notes: self.can_read_notes,
            versions: self.versions,
            most: None,
        }
    }
}

/// Passes each agent of the scope to `visit`, until `visit` stops it.
///
/// An agent that PostgreSQL cannot read, such as a row with damaged storage, ends the transaction.
/// The rest is compared in ranges of keys, each in its own transaction, which narrow down to that
/// agent. It is passed on as rejected.
pub async fn survey(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    mut visit: impl FnMut(&Comparison) -> ControlFlow<()>,
) -> Result<(), QueryError> {
    let mut walk = Walk::whole();
    while let Step::More = walk.step(db, layout, rules, scope, &mut visit).await? {}
    Ok(())
}

/// Passes the agents of one range to `visit`, in one transaction. The range excludes its first key
/// and includes its second.
async fn survey_range(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    range: (Option<&str>, Option<&str>),
    visit: impl FnMut(&Comparison) -> ControlFlow<()>,
) -> Result<Ended, QueryError> {
    let within = scope.within.unwrap_or(LONGEST);
    let db = &db.with_time_limit(within + Duration::from_secs(5));
    let planned = match scope.named {
        None | Some((Named::Tenant, _)) => WHOLE_TABLES,
        Some(_) => NAMED_ROWS,
    };
    db.batch(&begin(within, planned)).await?;
    let outcome = read(db, layout, rules, scope, range, visit).await;
    // After an early end the callback may wait for its reader, so the transaction ends first. After
    // an error, that error counts.
    let ended = db.batch("ROLLBACK").await;
    outcome.and_then(|outcome| ended.map(|()| outcome))
}

/// The statements that begin the transaction with these settings of the planner and its own limits,
/// because those of the session are for small batches. All rows are read, so the planner must not
/// optimize for the first ones, as it does for a cursor.
fn begin(longest: Duration, planned: &str) -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
         SET LOCAL statement_timeout = {};
         SET LOCAL idle_in_transaction_session_timeout = {};
         SET LOCAL cursor_tuple_fraction = 1;
         {planned}",
        longest.as_millis(),
        IDLE.as_millis(),
    )
}

/// Passes the agents of one range to `visit`, within a transaction.
async fn read(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    (after, upto): (Option<&str>, Option<&str>),
    mut visit: impl FnMut(&Comparison) -> ControlFlow<()>,
) -> Result<Ended, QueryError> {
    let (named, given) = scope.named.unzip();
    let survey = surveyed::survey(layout, scope.extent(), named.unwrap_or(Named::Keys));
    let agents = format!("DECLARE agents NO SCROLL CURSOR FOR {survey}");
    let bounds: [Parameter<'_>; 3] = [
        (&given, Type::TEXT_ARRAY),
        (&after, Type::TEXT),
        (&upto, Type::TEXT),
    ];
    db.run(&agents, &bounds).await?;

    let mut rows_at_a_time = ROWS.1;
    let (mut checked, mut slice) = (Instant::now(), TimeSlice::begin());
    let mut one: Option<Comparison> = None;
    loop {
        let rows = fetch(db, rows_at_a_time).await?;
        for row in &rows {
            slice.give_way().await;
            let row = Surveyed::of(row)?;
            match &mut one {
                Some(comparison) if comparison.key == row.key => {
                    comparison.add((rules, scope.planned), &layout.targets, &row);
                }
                _ => {
                    let (way, rules) = ((layout.keys(), scope.keep), (rules, scope.planned));
                    let next = Comparison::of(way, rules, &layout.targets, &row);
                    if let Some(comparison) = one.replace(next)
                        && visit(&comparison).is_break()
                    {
                        return Ok(Ended::Complete);
                    }
                }
            }
        }
        if rows.len() < rows_at_a_time {
            if let Some(comparison) = one {
                let _ = visit(&comparison);
            }
            return Ok(Ended::Complete);
        }
        if checked.elapsed() > YIELD {
            checked = Instant::now();
            if db.value(enqueue::BLOCKS, &[]).await? {
                return Ok(Ended::Yielded);
            }
        }
        let most = scope.rows.unwrap_or(ROWS.0);
        rows_at_a_time = next_portion(&rows, rows_at_a_time, most);
    }
}

/// The next rows of the cursor.
async fn fetch(db: &Db, rows: usize) -> Result<Vec<Row>, QueryError> {
    db.at_most(rows, &format!("FETCH {rows} FROM agents")).await
}

/// The number of rows in the portion after these: as many as fit by their average size, at most
/// twice as many as before, and at most `most`.
fn next_portion(rows: &[Row], before: usize, most: usize) -> usize {
    let bytes: usize = rows.iter().map(Row::raw_size_bytes).sum();
    let fitting = BYTES / (bytes / rows.len().max(1)).max(1);
    fitting.clamp(1, most).min(before * 2)
}
