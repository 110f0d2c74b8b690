//! The slugs that are no text for this program: too long, not UTF-8, or not the same after the way
//! to UTF-8 and back. The server sets them aside by the place and the version of their rows.

use tokio_postgres::Error;

use super::batch_plan::BatchPlan;
use crate::store::Group;

impl BatchPlan<'_> {
    /// Whether it takes the rows of any slug that is no text.
    pub(super) fn sets_aside(&self) -> bool {
        let outcome = &self.outcome;
        !outcome.not_text.0.is_empty() || !outcome.gone_not_text.0.is_empty()
    }

    /// Takes the rows of a slug that is no text.
    pub(super) fn set_aside(&mut self, group: Group<'_>) -> Result<(), Error> {
        let is_gone =
            group.has_problem()? && !group.is_found()? && !group.may_be_hidden()?.unwrap_or(false);
        let (rows, total) = if is_gone {
            (&mut self.outcome.gone_not_text, &mut self.totals.gone)
        } else {
            (&mut self.outcome.not_text, &mut self.totals.rejected)
        };
        rows.0.extend(group.places()?);
        rows.1.extend(group.versions()?);
        *total += 1;
        self.slugs += 1;
        Ok(())
    }
}
