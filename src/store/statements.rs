//! The prepared statements of a batch.

use postgres_types::Type;
use tokio_postgres::Statement;

use super::{Layout, queries};
use crate::columns::Column;
use crate::pg::{Db, QueryError};

/// The claims.
#[derive(Debug)]
pub(super) struct Claims {
    /// Rows from a position on.
    pub(super) part: Statement,
    /// The suspect of the connection.
    pub(super) suspect: Statement,
    /// One slug.
    pub(super) slug: Statement,
    /// Some configurations of a slug.
    pub(super) page: Statement,
}

impl Claims {
    pub(super) async fn prepare(db: &Db, layout: &Layout) -> Result<Self, QueryError> {
        let (part, suspect) = (queries::claim(layout), queries::claim_suspect(layout));
        let (slug, page) = (queries::claim_slug(layout), queries::claim_page(layout));
        let (part, suspect, slug, page) = tokio::try_join!(
            db.prepare(
                &part,
                &[Type::TID, Type::INT8, Type::FLOAT8, Type::TEXT_ARRAY],
            ),
            db.prepare(&suspect, &[Type::FLOAT8]),
            db.prepare(&slug, &[Type::TEXT, Type::FLOAT8]),
            db.prepare(&page, &[Type::TEXT, Type::TID_ARRAY, Type::OID_ARRAY]),
        )?;
        Ok(Self {
            part,
            suspect,
            slug,
            page,
        })
    }
}

/// The statements that end a batch.
#[derive(Debug)]
pub(super) struct Writes {
    pub(super) write: Statement,
    pub(super) take: Statement,
    pub(super) note_problems: Statement,
    pub(super) clear_problems: Statement,
}

impl Writes {
    pub(super) async fn prepare(
        db: &Db,
        layout: &Layout,
        history: bool,
    ) -> Result<Self, QueryError> {
        let mut types = vec![
            Type::TID_ARRAY,
            Type::OID_ARRAY,
            Type::TEXT_ARRAY,
            Type::TID_ARRAY,
            Type::XID_ARRAY,
            Type::INT4_ARRAY,
            Type::TEXT_ARRAY,
        ];
        let taken = types[3..].to_vec();
        types.extend(Column::ALL.map(|_| Type::TEXT_ARRAY));
        let keys = layout.keys();
        let (write, take) = (queries::write(layout, history), queries::take(keys));
        let (note, clear) = (queries::note_problems(keys), queries::clear_problems(keys));
        let (write, take, note_problems, clear_problems) = tokio::try_join!(
            db.prepare(&write, &types),
            db.prepare(&take, &taken),
            db.prepare(&note, &[]),
            db.prepare(&clear, &[]),
        )?;
        Ok(Self {
            write,
            take,
            note_problems,
            clear_problems,
        })
    }
}
