//! The mapping under which the configurations were last in sync, as `agent_sync.install` notes it.

use postgres_types::Type;

use super::{Store, queries};
use crate::mapping::Rules;
use crate::pg::{Db, QueryError};

/// The mapping under which the configurations were last in sync, compared with another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// It is the same.
    Same,
    /// It is another one.
    Other,
    /// The mappings are mixed: some may be in sync under one, and some under another.
    Mixed,
    /// None is noted, or every agent is about to be checked.
    Unknown,
}

/// Compares the noted mapping with that of this [text](super::Layout::mapping_text).
pub async fn mapping(db: &Db, text: &str) -> Result<Mapping, QueryError> {
    let Some(row) = db.opt(queries::MAPPING, &[(&text, Type::TEXT)]).await? else {
        return Ok(Mapping::Unknown);
    };
    Ok(match (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?) {
        (_, true, _) => Mapping::Same,
        (true, ..) => Mapping::Unknown,
        (_, _, true) => Mapping::Mixed,
        _ => Mapping::Other,
    })
}

/// The noted mapping; none if there is no record.
pub async fn noted_mapping(db: &Db) -> Result<Option<String>, QueryError> {
    db.opt_value(queries::NOTED_MAPPING, &[]).await
}

/// Notes that every configuration is in sync under the mapping with this
/// [text](super::Layout::mapping_text), unless another than `before` is noted.
async fn note_mapping(db: &Db, text: &str, before: Option<&str>) -> Result<(), QueryError> {
    db.run(
        queries::NOTE_MAPPING,
        &[(&text, Type::TEXT), (&before, Type::TEXT)],
    )
    .await
}

impl Store {
    /// Notes this mapping before the first write under it, or that the mappings are mixed from now
    /// on, if another one is noted. Returns whether every configuration is in sync under this
    /// mapping, or will be.
    pub async fn note_mapping_to_write(&self, rules: &Rules) -> Result<bool, QueryError> {
        let text = self.layout.mapping_text(rules);
        match mapping(&self.db, &text).await? {
            Mapping::Same => return Ok(true),
            Mapping::Unknown => note_mapping(&self.db, &text, None).await?,
            Mapping::Other | Mapping::Mixed => {
                self.db.run(queries::MIX_MAPPINGS, &[]).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes that every configuration is in sync under this mapping, if it was noted as `before`
    /// until now. Returns whether it is noted. Only the session that leads may call it.
    pub async fn note_in_sync(&self, text: &str, before: &str) -> Result<bool, QueryError> {
        note_mapping(&self.db, text, Some(before)).await?;
        Ok(mapping(&self.db, text).await? == Mapping::Same)
    }

    /// Compares the noted mapping with this one.
    pub async fn mapping(&self, rules: &Rules) -> Result<Mapping, QueryError> {
        mapping(&self.db, &self.layout.mapping_text(rules)).await
    }
}
