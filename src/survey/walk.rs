//! A walk over the agents in the order of their keys: range after range, each in a transaction of
//! its own. The position is a key, so a walk can go on over another connection.

use std::ops::ControlFlow;
use std::time::Instant;

use postgres_types::Type;
use serde::{Deserialize, Serialize};

use super::{Comparison, Ended, LONGEST, ROWS, Scope, survey_range};
use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::Layout;
use crate::store::surveyed;

/// The number of agents in a range after an unreadable agent was found: at first, and at most.
const NARROWED: (i64, i64) = (512, 4096);

/// The number of unreadable agents after which the walk fails, because single rows are no longer
/// the cause.
const UNREADABLE: u32 = 100;

/// The failures by time of an agent in a portion of its own after which it is passed over.
const SLOW: u32 = 3;

/// The position of a walk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// The last key that was passed on and can be sent; `None` at the beginning.
    after: Option<String>,
    /// The number of agents in the next range; `None` means all that are left.
    number: Option<i64>,
    /// The number of agents in a portion, where the walk is one in portions.
    portion: Option<i64>,
    unreadable: u32,
    /// The most rows at a time, where they are fewer than usual: after a failure the rows may have
    /// been too large together.
    #[serde(default)]
    rows: Option<usize>,
    /// The failures by time of the next agent in a portion of its own.
    #[serde(default)]
    slow: u32,
}

/// The end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There may be more agents.
    More,
    /// Every agent was passed on.
    Over,
    /// The callback stopped it.
    Stopped,
}

impl Walk {
    /// All agents in one transaction, as far as that is possible.
    pub fn whole() -> Self {
        Self::default()
    }

    /// All agents in portions of so many, each in a transaction of its own.
    pub fn in_portions(portion: i64) -> Self {
        Self {
            number: Some(portion),
            portion: Some(portion),
            ..Self::default()
        }
    }

    /// Makes the next portion smaller, after one that has failed: half as large, or an eighth if it
    /// took too long. Portions that are quick grow again.
    pub fn shorten(&mut self, took_too_long: bool) {
        self.slow += u32::from(took_too_long && self.number == Some(1));
        let part = if took_too_long { 8 } else { 2 };
        self.number = self.number.map(|number| (number / part).max(1));
        self.rows = Some((self.rows.unwrap_or(ROWS.0) / 4).max(1));
        self.unreadable = 0;
    }

    /// Lets the next portion be larger again, after a complete one.
    fn lengthen(&mut self, is_quick: bool) {
        let most = self.portion.unwrap_or(NARROWED.1);
        if is_quick {
            self.number = self.number.map(|number| most.min(number * 2));
        }
        self.rows = self.rows.map(|rows| rows * 2);
        self.rows = self.rows.filter(|rows| *rows < ROWS.0);
        self.slow = 0;
    }

    /// Passes the agents of the next range to `visit`. After an error, the agents that were passed
    /// on before it may be passed on again.
    pub async fn step(
        &mut self,
        db: &Db,
        layout: &Layout,
        rules: &Rules,
        scope: Scope<'_>,
        visit: &mut impl FnMut(&Comparison) -> ControlFlow<()>,
    ) -> Result<Step, QueryError> {
        let Some(upto) = self.next(db, layout).await? else {
            return Ok(Step::Over);
        };
        let (began, within) = (Instant::now(), scope.within.unwrap_or(LONGEST));
        if let Some(key) = upto.as_ref().filter(|_| self.slow >= SLOW) {
            let error = QueryError::Silent(within);
            return Ok(self.pass_over(key.clone(), layout, &error, visit));
        }
        let scope = Scope {
            rows: self.rows,
            ..scope
        };
        let (mut visited, mut stops) = (None, false);
        let range = (self.after.as_deref(), upto.as_deref());
        let outcome = survey_range(db, layout, rules, scope, range, |comparison| {
            if comparison.is_sent {
                visited = Some(comparison.key.clone());
            }
            let flow = visit(comparison);
            stops |= flow.is_break();
            flow
        });
        let (error, narrower) = match outcome.await {
            Ok(_) if stops => {
                self.after = visited.or(self.after.take());
                return Ok(Step::Stopped);
            }
            Ok(Ended::Yielded) => {
                self.after = visited.or(self.after.take());
                return Ok(Step::More);
            }
            Ok(Ended::Complete) => {
                self.lengthen(began.elapsed() < within / 4);
                self.after = upto;
                let is_over = self.after.is_none();
                return Ok(if is_over { Step::Over } else { Step::More });
            }
            Err(error) if !error.is_of_a_row() || self.unreadable >= UNREADABLE => {
                return Err(error);
            }
            // A range without a last key cannot be left behind.
            Err(error) if self.number == Some(1) && upto.is_none() => return Err(error),
            Err(error) => (error, self.number.map_or(NARROWED.0, |number| number / 2)),
        };
        self.after = visited.or(self.after.take());
        self.number = Some(narrower.max(1));
        if let Some(key) = upto.filter(|_| narrower == 0) {
            self.unreadable += 1;
            return Ok(self.pass_over(key, layout, &error, visit));
        }
        Ok(Step::More)
    }

    /// The last key of the next range, without one where the range has no end; `None` if there are
    /// no more agents.
    async fn next(&self, db: &Db, layout: &Layout) -> Result<Option<Option<String>>, QueryError> {
        match self.number {
            None => Ok(Some(None)),
            Some(number) => next(db, layout, self.after.as_deref(), number).await,
        }
    }

    /// Passes over the next agent, which cannot be read.
    fn pass_over(
        &mut self,
        key: String,
        layout: &Layout,
        error: &QueryError,
        visit: &mut impl FnMut(&Comparison) -> ControlFlow<()>,
    ) -> Step {
        let flow = visit(&Comparison::unreadable(layout.keys(), &key, error));
        (self.after, self.slow) = (Some(key), 0);
        if flow.is_break() {
            Step::Stopped
        } else {
            Step::More
        }
    }
}

/// The last of the next `number` keys after `after`; `None` if there are no more agents, and no key
/// where none of those that are left can be sent.
async fn next(
    db: &Db,
    layout: &Layout,
    after: Option<&str>,
    number: i64,
) -> Result<Option<Option<String>>, QueryError> {
    let range: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&number, Type::INT8)];
    let row = db.one(&surveyed::next_keys(layout), &range).await?;
    let is_any: bool = row.try_get(1)?;
    let last: Option<String> = row.try_get(0)?;
    Ok(is_any.then_some(last))
}
