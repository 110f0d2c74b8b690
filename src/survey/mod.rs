//! Compares every agent with its configurations by the mapping of the daemon, and writes nothing.
//!
//! Usually one read-only transaction with one snapshot covers all agents, so the counts are
//! consistent. An unreadable agent splits it into several. A save waits behind DDL that waits for a
//! lock of the transaction, so the transaction ends when DDL waits, and another one continues (G3).
//! The rows arrive through a cursor, a bounded number of bytes at a time, ordered by key: memory
//! does not depend on the number of agents (G12).
//!
//! On failure, the caller gets the error after the results that were already passed on. The
//! callback must not wait: the server ends a transaction that is idle for five seconds, because it
//! holds back vacuum and blocks migrations.

mod planned;
mod unmatched;
mod verdict;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use postgres_types::Type;

pub use planned::Planned;
pub use unmatched::{Unmatched, unmatched};
pub use verdict::{Comparison, Tally, Verdict};

use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::surveyed::{self, Named, Surveyed};
use crate::store::{Layout, request};

/// The time limit of the server for sorting the rows, before the first one arrives.
const LONGEST: Duration = Duration::from_secs(600);

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
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Their slugs or keys; `None` means all.
    pub named: Option<(Named, &'a [&'a str])>,
    /// Whether the outbox and the problems are read; they exist only after the install.
    pub noted: bool,
    /// Rules whose effect is planned beside those in force.
    pub planned: Option<&'a Rules>,
}

/// The number of agents in a range after an unreadable agent was found: at first, and at most.
const NARROWED: (i64, i64) = (512, 4096);

/// The number of unreadable agents after which the survey fails, because single rows are no longer
/// the cause.
const UNREADABLE: u32 = 100;

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
    let db = &db.with_time_limit(LONGEST + Duration::from_secs(5));
    let (mut after, mut number, mut unreadable) = (None::<String>, None, 0);
    loop {
        let upto = match number {
            None => None,
            Some(number) => match next(db, layout, after.as_deref(), number).await? {
                None => return Ok(()),
                next => next,
            },
        };
        let (mut visited, mut ends) = (None, upto.is_none());
        let range = (after.as_deref(), upto.as_deref());
        let outcome = survey_range(db, layout, rules, scope, range, |comparison| {
            visited = Some(comparison.key.clone());
            let flow = visit(comparison);
            ends |= flow.is_break();
            flow
        });
        let (error, narrower) = match outcome.await {
            Ok(Ended::Yielded) => {
                after = visited.or(after);
                continue;
            }
            Ok(_) if ends => return Ok(()),
            Ok(_) => {
                (after, number) = (upto, number.map(|number| NARROWED.1.min(number * 2)));
                continue;
            }
            Err(error) if !error.is_of_a_row() || unreadable >= UNREADABLE => return Err(error),
            Err(error) => (error, number.map_or(NARROWED.0, |number| number / 2)),
        };
        after = visited.or(after);
        number = Some(narrower.max(1));
        if let Some(key) = upto.filter(|_| narrower == 0) {
            unreadable += 1;
            if visit(&Comparison::unreadable(layout.keys(), &key, &error)).is_break() {
                return Ok(());
            }
            after = Some(key);
        }
    }
}

/// The last of the next `number` keys after `after`; `None` if there are no more.
async fn next(
    db: &Db,
    layout: &Layout,
    after: Option<&str>,
    number: i64,
) -> Result<Option<String>, QueryError> {
    let range: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&number, Type::INT8)];
    db.value(&surveyed::next_keys(layout), &range).await
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
    db.batch(&begin()).await?;
    let outcome = read(db, layout, rules, scope, range, visit).await;
    // After an early end the callback may wait for its reader, so the transaction ends first. After
    // an error, that error counts.
    let ended = db.batch("ROLLBACK").await;
    outcome.and_then(|outcome| ended.map(|()| outcome))
}

/// The statements that begin the transaction with its own limits, because those of the session are
/// for small batches. All rows are read, so the planner must not optimize for the first ones, as it
/// does for a cursor.
fn begin() -> String {
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
         SET LOCAL statement_timeout = {};
         SET LOCAL idle_in_transaction_session_timeout = {};
         SET LOCAL cursor_tuple_fraction = 1",
        LONGEST.as_millis(),
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
    let survey = surveyed::survey(layout, scope.noted, named.unwrap_or(Named::Keys));
    let agents = format!("DECLARE agents NO SCROLL CURSOR FOR {survey}");
    let bounds: [Parameter<'_>; 3] = [
        (&given, Type::TEXT_ARRAY),
        (&after, Type::TEXT),
        (&upto, Type::TEXT),
    ];
    db.run(&agents, &bounds).await?;

    let mut rows_at_a_time = ROWS.1;
    let mut checked = Instant::now();
    let mut one: Option<Comparison> = None;
    loop {
        let fetch = format!("FETCH {rows_at_a_time} FROM agents");
        let rows = db.all(&fetch, &[]).await?;
        for row in &rows {
            let row = Surveyed::of(row)?;
            match &mut one {
                Some(comparison) if comparison.key == row.key => {
                    comparison.add((rules, scope.planned), &layout.targets, &row);
                }
                _ => {
                    let (keys, rules) = (layout.keys(), (rules, scope.planned));
                    let next = Comparison::of(keys, rules, &layout.targets, &row);
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
            if db.value(request::BLOCKS, &[]).await? {
                return Ok(Ended::Yielded);
            }
        }
        let bytes: usize = rows.iter().map(tokio_postgres::Row::raw_size_bytes).sum();
        let fitting = BYTES / (bytes / rows.len().max(1)).max(1);
        rows_at_a_time = fitting.clamp(1, ROWS.0).min(rows_at_a_time * 2);
    }
}
