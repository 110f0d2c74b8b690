//! The comparison of the indexes of the slugs with their tables, before every agent is compared.

use std::time::Duration;

use super::Checker;
use crate::commands::hidden;
use crate::commands::page::Page;
use crate::pg::{Db, QueryError};
use crate::settings::Database;
use crate::store::{Layout, avoid_wrong_index};

/// The time limit for each index. Of one that is not compared in this time, nothing is said.
const LONGEST: Duration = Duration::from_secs(60);

impl Checker<'_> {
    /// Warns of what the comparison may not see. Returns whether row-level security may hide rows,
    /// and whether an index does not find rows that are there, if every agent is compared.
    pub(super) async fn cautions(
        &mut self,
        database: &Database,
        db: &Db,
        layout: &Layout,
    ) -> Result<(bool, bool), QueryError> {
        let (page, writes) = (&mut self.page, self.to_reconcile);
        let hidden = hidden::caution(page, database, db, layout, writes).await?;
        let is_of_all = self.slugs.is_empty() && self.tenant.is_none();
        let misses_rows = is_of_all && look_at_indexes(page, database, db, layout).await?;
        Ok((hidden, misses_rows))
    }
}

/// Warns of each index that does not find rows which are there; the session then reads past all
/// indexes. Returns whether there is one.
async fn look_at_indexes(
    page: &mut Page,
    database: &Database,
    db: &Db,
    layout: &Layout,
) -> Result<bool, QueryError> {
    let mut misses_rows = false;
    for index in layout.slug_indexes() {
        if let Some(finding) = avoid_wrong_index(db, &index, LONGEST).await? {
            misses_rows = true;
            page.note(format_args!(
                "database {}: {finding}\n  try: {}",
                database.name,
                finding.remedy()
            ));
        }
    }
    Ok(misses_rows)
}
