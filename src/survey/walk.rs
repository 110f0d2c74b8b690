//! A walk over the agents in the order of their keys: range after range, each in a transaction of
//! its own. The position is a key, so a walk can go on over another connection.

use std::ops::ControlFlow;

use postgres_types::Type;
use serde::{Deserialize, Serialize};

use super::{Comparison, Ended, Scope, survey_range};
use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::store::Layout;
use crate::store::surveyed;

/// The number of agents in a range after an unreadable agent was found: at first, and at most.
const NARROWED: (i64, i64) = (512, 4096);

/// The number of unreadable agents after which the walk fails, because single rows are no longer
/// the cause.
const UNREADABLE: u32 = 100;

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

    /// Halves the portions, after one that has failed.
    pub fn halve(&mut self) {
        self.portion = self.portion.map(|portion| (portion / 2).max(1));
        self.number = self.portion;
        self.unreadable = 0;
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
        let upto = match self.number {
            None => None,
            Some(number) => match next(db, layout, self.after.as_deref(), number).await? {
                None => return Ok(Step::Over),
                Some(upto) => upto,
            },
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
                let most = self.portion.unwrap_or(NARROWED.1);
                self.number = self.number.map(|number| most.min(number * 2));
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
            let flow = visit(&Comparison::unreadable(layout.keys(), &key, &error));
            self.after = Some(key);
            if flow.is_break() {
                return Ok(Step::Stopped);
            }
        }
        Ok(Step::More)
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
