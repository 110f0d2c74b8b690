//! Looking at every agent without touching anything: what the daemon would write, by the same
//! mapping.
//!
//! Unless an agent cannot be read, or DDL waits for a lock of the transaction, all of it is one
//! read-only transaction with one snapshot, so what is counted together belongs together. A save
//! waits behind DDL that waits, so the transaction ends then, and another one goes on (G3). The rows
//! come through a cursor, a bounded number of bytes at a time, in the order of the slugs: memory does
//! not depend on how many agents there are (G12).
//!
//! Behaviour on failure: what was told before stands; the caller gets the error. Who is told must
//! not wait for anything: a transaction that is kept waiting for longer than five seconds is ended,
//! for it holds back vacuum, and migrations wait for its locks.

mod verdict;

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use postgres_types::Type;

pub use verdict::{Findings, Tally, Verdict};

use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::Layout;
use crate::store::report::{self, Surveyed};

/// How long the server may take to put the rows in order, before the first comes.
const LONGEST: Duration = Duration::from_secs(600);

/// How long who is told may take over it.
const IDLE: Duration = Duration::from_secs(5);

/// What is in memory at a time, as PostgreSQL sends it; a single row may be larger.
const BYTES: usize = 2 * 1024 * 1024;

/// The most rows at a time, and how many are asked for first.
const ROWS: (usize, usize) = (32, 1);

/// How often the transaction looks whether DDL waits for it.
const YIELD: Duration = Duration::from_secs(1);

/// How a transaction has ended.
enum Ended {
    /// With the last agent, or because nothing more is wanted.
    Complete,
    /// Early, because another session waits for its locks.
    Yielded,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Of these slugs alone.
    pub slugs: Option<&'a [&'a str]>,
    /// Whether the outbox and the noted problems are looked at as well: they are not there before
    /// the install.
    pub noted: bool,
}

/// How many agents are looked at in one go after one could not be read: first, and at most.
const NARROWED: (i64, i64) = (512, 4096);

/// How many agents may be unreadable before it is no matter of single rows.
const UNREADABLE: u32 = 100;

/// Tells of every agent in the scope, until it is told to stop.
///
/// One that PostgreSQL cannot read, such as a row with damaged storage, ends the transaction. The
/// rest is then looked at in ranges of slugs, each in a transaction of its own, which narrow down
/// to that agent; it is told as rejected.
pub async fn survey(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    mut tell: impl FnMut(&Findings) -> ControlFlow<()>,
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
        let (mut told, mut ends) = (None, upto.is_none());
        let range = (after.as_deref(), upto.as_deref());
        let outcome = look(db, layout, rules, scope, range, |findings| {
            told = Some(findings.slug.clone());
            let flow = tell(findings);
            ends |= flow.is_break();
            flow
        });
        let (error, narrower) = match outcome.await {
            Ok(Ended::Yielded) => {
                after = told.or(after);
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
        after = told.or(after);
        number = Some(narrower.max(1));
        if let Some(slug) = upto.filter(|_| narrower == 0) {
            unreadable += 1;
            if tell(&Findings::unreadable(&slug, &error)).is_break() {
                return Ok(());
            }
            after = Some(slug);
        }
    }
}

/// The last of the next so many slugs.
async fn next(
    db: &Db,
    layout: &Layout,
    after: Option<&str>,
    number: i64,
) -> Result<Option<String>, QueryError> {
    let range: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&number, Type::INT8)];
    db.value(&report::next_slugs(layout), &range).await
}

/// Tells of every agent in the scope whose slug is after the first and up to the second of the
/// range.
async fn look(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    range: (Option<&str>, Option<&str>),
    tell: impl FnMut(&Findings) -> ControlFlow<()>,
) -> Result<Ended, QueryError> {
    db.batch(&begin()).await?;
    let outcome = read(db, layout, rules, scope, range, tell).await;
    // What is told may wait for a reader at once, and then nothing is sent to the server. After an
    // error, the error is what counts.
    let ended = db.batch("ROLLBACK").await;
    outcome.and_then(|outcome| ended.map(|()| outcome))
}

/// The statements that begin the transaction, without the limits that are made for small batches.
/// All rows are read, so the planner must not favour the first of them, as it does for a cursor.
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

/// The same within a transaction.
async fn read(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    scope: Scope<'_>,
    (after, upto): (Option<&str>, Option<&str>),
    mut tell: impl FnMut(&Findings) -> ControlFlow<()>,
) -> Result<Ended, QueryError> {
    let agents = format!(
        "DECLARE agents NO SCROLL CURSOR FOR {}",
        report::survey(layout, scope.noted)
    );
    let bounds: [Parameter<'_>; 3] = [
        (&scope.slugs, Type::TEXT_ARRAY),
        (&after, Type::TEXT),
        (&upto, Type::TEXT),
    ];
    db.run(&agents, &bounds).await?;

    let mut rows_at_a_time = ROWS.1;
    let mut looked = Instant::now();
    let mut one: Option<Findings> = None;
    loop {
        let fetch = format!("FETCH {rows_at_a_time} FROM agents");
        let rows = db.all(&fetch, &[]).await?;
        for row in &rows {
            let row = Surveyed::of(row)?;
            match &mut one {
                Some(findings) if findings.slug == row.slug => {
                    findings.add(rules, &layout.targets, &row);
                }
                _ => {
                    let next = Findings::of(rules, &layout.targets, &row);
                    if let Some(findings) = one.replace(next)
                        && tell(&findings).is_break()
                    {
                        return Ok(Ended::Complete);
                    }
                }
            }
        }
        if rows.len() < rows_at_a_time {
            if let Some(findings) = one {
                let _ = tell(&findings);
            }
            return Ok(Ended::Complete);
        }
        if looked.elapsed() > YIELD {
            looked = Instant::now();
            if db.value(report::BLOCKS, &[]).await? {
                return Ok(Ended::Yielded);
            }
        }
        let bytes: usize = rows.iter().map(tokio_postgres::Row::raw_size_bytes).sum();
        let fitting = BYTES / (bytes / rows.len().max(1)).max(1);
        rows_at_a_time = fitting.clamp(1, ROWS.0).min(rows_at_a_time * 2);
    }
}
