//! The check of the server.

use crate::pg::{Db, QueryError, told};
use crate::store::finding::{self, Finding};
use crate::store::queries;

/// The oldest server that has all that is needed, as `server_version_num` puts it.
const OLDEST: i32 = 140_000;

/// The findings about the server. This check comes first, because the other checks need a server
/// of version 14 or later.
pub async fn server(db: &Db) -> Result<Vec<Finding>, QueryError> {
    let row = db.one(&queries::server(), &[]).await?;
    Ok(judge_server(
        told(&row, "version")?,
        row.try_get("number")?,
        row.try_get("is_standby")?,
        row.try_get("is_read_only")?,
    ))
}

fn judge_server(version: String, number: i32, standby: bool, read_only: bool) -> Vec<Finding> {
    let too_old = (number < OLDEST).then_some(finding::Server::TooOld(version).into());
    let unwritable = match (standby, read_only) {
        (true, _) => Some(finding::Server::Standby.into()),
        (false, true) => Some(finding::Server::ReadOnly.into()),
        (false, false) => None,
    };
    too_old.into_iter().chain(unwritable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_older_than_14_is_told_apart_from_one_that_will_do() {
        let old = judge_server("13.18".to_owned(), 130_018, false, false);
        assert_eq!(old, [finding::Server::TooOld("13.18".to_owned()).into()]);
        assert!(old[0].is_fatal() && old[0].to_string().contains("13.18"));
        assert_eq!(judge_server("14.0".to_owned(), 140_000, false, false), []);
    }

    #[test]
    fn a_standby_is_told_apart_from_a_primary_that_is_read_only() {
        assert_eq!(
            judge_server("16.1".to_owned(), 160_001, true, true),
            [finding::Server::Standby.into()]
        );
        assert_eq!(
            judge_server("16.1".to_owned(), 160_001, false, true),
            [finding::Server::ReadOnly.into()]
        );
    }
}
