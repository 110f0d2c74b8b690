//! The record of the audits in `agent_sync.install`: the last result, the last changes that were
//! never noticed, and the position of a running audit. It outlives the daemon, so another one goes
//! on where it was, and commands read it.
//!
//! The times are those of the server. A part that is not as a daemon writes it counts as missing.

use std::sync::Arc;
use std::time::SystemTime;

use postgres_types::Type;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::queries;
use crate::observe::compared::{Compared, Counts, Unnoticed};
use crate::pg::{Db, Parameter, QueryError};

/// The record.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Audited {
    /// The last complete audit, and how many seconds ago it was; none if it is superseded.
    pub last: Option<(Compared, f64)>,
    /// Whether the last audit compared under another mapping than the one under which the
    /// configurations were last in sync.
    pub is_superseded: bool,
    /// The last changes that were never noticed, and how many seconds ago they were found.
    pub unnoticed: Option<(Unnoticed, f64)>,
    /// The position of the running one, as its daemon has noted it.
    pub running: Option<String>,
}

/// Changes that were never noticed, without their time.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    agents: u64,
    some: Vec<String>,
}

impl Audited {
    /// Reads the record.
    pub async fn read(db: &Db) -> Result<Self, QueryError> {
        let Some(row) = db.opt(queries::AUDIT, &[]).await? else {
            return Ok(Self::default());
        };
        let text = |name| row.try_get::<_, Option<String>>(name);
        let time = |at, seconds| {
            let at = row.try_get::<_, Option<SystemTime>>(at)?;
            let seconds = row.try_get::<_, Option<f64>>(seconds)?;
            Ok::<_, tokio_postgres::Error>(at.zip(seconds))
        };
        let last = parsed::<Counts>(text("last")?).zip(time("last_at", "last_seconds")?);
        let is_superseded: bool = row.try_get("is_superseded")?;
        let last = last.filter(|_| !is_superseded);
        let unnoticed = parsed::<Found>(text("unnoticed")?);
        let unnoticed = unnoticed.zip(time("unnoticed_at", "unnoticed_seconds")?);
        Ok(Self {
            last: last.map(|(counts, (at, ago))| (Compared { at, counts }, ago)),
            is_superseded,
            unnoticed: unnoticed.map(|(Found { agents, some }, (at, ago))| {
                let some = Arc::from(some);
                (Unnoticed { at, agents, some }, ago)
            }),
            running: text("running")?,
        })
    }
}

fn parsed<T: DeserializeOwned>(text: Option<String>) -> Option<T> {
    serde_json::from_str(&text?).ok()
}

/// Notes a complete audit under the mapping with this [text](super::Layout::mapping_text), with the
/// slugs of some of the agents whose changes were never noticed.
pub async fn note_audit(
    db: &Db,
    mapping: &str,
    counts: &Counts,
    some: &[String],
) -> Result<(), QueryError> {
    let found = Found {
        agents: counts.unnoticed,
        some: some.to_vec(),
    };
    let unnoticed = (found.agents > 0).then(|| json(&found));
    let noted: [Parameter<'_>; 3] = [
        (&json(counts), Type::TEXT),
        (&unnoticed, Type::TEXT),
        (&mapping, Type::TEXT),
    ];
    db.run(queries::NOTE_AUDIT, &noted).await
}

/// Notes the position of a running audit.
pub async fn note_position(db: &Db, running: &impl Serialize) -> Result<(), QueryError> {
    let running = json(running);
    db.run(queries::NOTE_POSITION, &[(&running, Type::TEXT)])
        .await
}

/// Serialization cannot fail: all keys of maps are texts.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
