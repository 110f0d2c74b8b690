//! The caution that row-level security may hide rows from the role of a command: what is hidden is
//! not compared, so nothing shows that it is in sync.

use super::page::Page;
use crate::pg::{Db, QueryError};
use crate::settings::Database;
use crate::store::finding::{Finding, Rights};
use crate::store::{Layout, MayRead, checks};

/// Warns of it, for a command that only reads or one that also writes. Returns whether rows may be
/// hidden.
pub(super) async fn caution(
    page: &mut Page,
    database: &Database,
    db: &Db,
    layout: &Layout,
    writes: bool,
) -> Result<bool, QueryError> {
    let mut may_be_hidden = false;
    let may_read = Some(MayRead::asked_for());
    for finding in checks::cautions(db, layout, (false, false), may_read).await? {
        if let Finding::Rights(Rights::RowsMayBeHidden { command, .. }) = &finding
            && (writes || command == "SELECT")
        {
            may_be_hidden = true;
            page.note(format_args!(
                "database {}: {finding}\n  try: {}",
                database.name,
                finding.remedy()
            ));
        }
    }
    Ok(may_be_hidden)
}
