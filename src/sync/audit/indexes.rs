//! The comparison of the indexes of the slugs with their tables, before a connection of an audit
//! reads (G17).

use std::time::{Duration, Instant};

use super::pass::LONGEST;
use super::reports::Reports;
use crate::pg::{Db, QueryError};
use crate::store::{Layout, avoid_wrong_index};
use crate::sync::context::Context;

/// Compares each index with its table, and reports those that lie. Returns whether the session now
/// reads past all indexes, and how long the comparisons have taken.
pub(super) async fn look_at_indexes(
    context: &Context,
    reports: &mut Reports,
    db: &Db,
    layout: &Layout,
) -> Result<(bool, Duration), QueryError> {
    let (mut lies, mut worked) = (Vec::new(), Duration::ZERO);
    for index in layout.slug_indexes() {
        let _turn = context.turns.comparisons.wait().await;
        let began = Instant::now();
        lies.extend(avoid_wrong_index(db, &index, LONGEST).await?);
        worked += began.elapsed();
    }
    reports.indexes(&context.observer, &lies);
    Ok((!lies.is_empty(), worked))
}
