//! The comparison of one agent, whose rows the caller sees.
//!
//! Memory is bounded by the limits of the caller: the server weighs each row before it sends it.

use std::time::{Duration, Instant};

use postgres_types::Type;

use super::{Comparison, Ended, IDLE, Keep, ROWS, TimeSlice, YIELD, begin, fetch, next_portion};
use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::queries::NAMED_ROWS;
use crate::store::surveyed::{self, Extent, Named, Surveyed};
use crate::store::{Layout, MOST_CONFIGURATIONS, enqueue};

/// The limits of a comparison of one agent.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Whether the outbox and the problems are read; they exist only after the install.
    pub can_read_notes: bool,
    /// The most that the agent and one configuration weigh together, in bytes. What is heavier
    /// comes without contents and is not compared.
    pub weight: u32,
    /// The most rows at a time.
    pub rows: usize,
    /// The time limit of the server for a statement.
    pub time: Duration,
}

/// Compares the agent with this key. `visit` gets the number of each row, the row, and the
/// comparison as far as this row; a number of 0 is a new beginning.
///
/// The comparison ends at the first row that is too heavy, and lighter than any that is rejected
/// for it: the result is not known then. `None` if there is no agent with the key.
pub async fn compare(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    key: &str,
    reading: Reading,
    mut visit: impl FnMut(usize, &Surveyed<'_>, &mut Comparison),
) -> Result<Option<Comparison>, QueryError> {
    let db = &db.with_time_limit(reading.time + IDLE);
    loop {
        let mut found = None;
        db.batch(&begin(reading.time, NAMED_ROWS)).await?;
        let outcome = read(db, layout, rules, key, reading, &mut found, &mut visit).await;
        let ended = db.batch("ROLLBACK").await;
        match outcome {
            Ok(outcome) => {
                ended?;
                if let Ended::Complete = outcome {
                    return Ok(found);
                }
            }
            Err(error) if error.is_of_a_row() => {
                ended?;
                return Ok(Some(Comparison::unreadable(layout.keys(), key, &error)));
            }
            Err(error) => return Err(error),
        }
    }
}

async fn read(
    db: &Db,
    layout: &Layout,
    rules: &Rules,
    key: &str,
    reading: Reading,
    found: &mut Option<Comparison>,
    visit: &mut impl FnMut(usize, &Surveyed<'_>, &mut Comparison),
) -> Result<Ended, QueryError> {
    let extent = Extent {
        can_read_notes: reading.can_read_notes,
        versions: false,
        most: Some(reading.weight),
    };
    let survey = surveyed::survey(layout, extent, Named::Keys);
    let (keys, no_bound) = ([key], None::<&str>);
    let scope: [Parameter<'_>; 3] = [
        (&&keys[..], Type::TEXT_ARRAY),
        (&no_bound, Type::TEXT),
        (&no_bound, Type::TEXT),
    ];
    let agents = format!("DECLARE agents NO SCROLL CURSOR FOR {survey}");
    db.run(&agents, &scope).await?;
    let (mut rows_at_a_time, mut number, began) = (ROWS.1, 0, Instant::now());
    let mut slice = TimeSlice::begin();
    loop {
        let rows = fetch(db, rows_at_a_time).await?;
        for row in &rows {
            slice.give_way().await;
            let row = Surveyed::of(row)?;
            let comparison = if let Some(comparison) = found {
                comparison.add((rules, None), &layout.targets, &row);
                comparison
            } else {
                let (way, rules) = ((layout.keys(), Keep::Lists), (rules, None));
                found.insert(Comparison::of(way, rules, &layout.targets, &row))
            };
            visit(number, &row, comparison);
            number += 1;
            // Of more rows, nothing is computed.
            if row.is_unread() || number > MOST_CONFIGURATIONS as usize {
                return Ok(Ended::Complete);
            }
        }
        if rows.len() < rows_at_a_time {
            return Ok(Ended::Complete);
        }
        if began.elapsed() > YIELD && db.value(enqueue::BLOCKS, &[]).await? {
            return Ok(Ended::Yielded);
        }
        rows_at_a_time = next_portion(&rows, rows_at_a_time, reading.rows);
    }
}
