//! Every query of the daemon on the tables and the catalog, typed. The SQL of the session itself is
//! in `session`: its settings, LISTEN and the session check.
//!
//! A [`Store`] belongs to one session: it has prepared its statements there and sends them nowhere
//! else.
//!
//! Invariants:
//! - A batch is one transaction and two round trips (`transaction`): statements are sent together,
//!   and the server executes them in that order. It has more round trips if it is heavy or fails,
//!   if no agent or no configuration is found for a slug, for much to write, and for the suspect,
//!   which is noted and forgotten. The fast path is two statements (`fast_path`).
//! - Nothing here decides the values to write. `mapping` does, and `sync` connects the two. A claim
//!   only leaves out a copied text that the configuration has already, and a copy of settings that
//!   says something else.

pub mod audited;
pub mod awaited;
pub mod backlog;
mod batch;
mod capture;
pub mod checks;
mod claim;
pub mod enqueue;
mod fast_path;
pub mod finding;
mod foreign_code;
mod index_check;
mod index_walk;
mod layout;
mod leader;
mod lookups;
mod near;
mod noted_mapping;
pub mod path;
pub mod pause;
mod positions;
mod privileges;
mod problems;
pub mod queries;
mod queue;
mod reading;
mod record;
mod remedy;
pub mod report;
mod rivals;
pub mod slugs;
mod statements;
pub mod surveyed;
mod suspect;
mod taken;
pub mod tenants;
mod transaction;
mod trust;

use tokio::sync::OnceCell;
use tokio_postgres::Statement;

pub use audited::Audited;
pub use batch::{Claimed, Group, Lossy, NotText, Outcome, Pair, Versions};
pub use capture::{CaptureFault, FaultKind, Seal, broken_triggers, is_unsealed};
pub use claim::{Claim, LockWait, Part};
pub use finding::Finding;
pub use foreign_code::ForeignCode;
pub use index_walk::avoid_wrong_index;
pub use layout::{Layout, LayoutError};
pub use leader::Leader;
pub use lookups::Lookups;
pub use near::NearLookups;
pub use noted_mapping::{Mapping, mapping, noted_mapping};
pub use pause::LeadAttempt;
pub use privileges::reads_only;
pub use problems::{NO_CONFIGURATION, NO_TENANT, Problem, ProblemKind, too_heavy, too_many};
pub use queries::{HEAVIEST, LONGEST_SLUG, LOST_ON_THE_WAY, MOST_CONFIGURATIONS, too_long};
pub use reading::MayRead;
pub use record::Installed;
pub use remedy::Remedies;
pub use suspect::Suspect;
pub use taken::Taken;
pub use transaction::{Begun, Finished, IDLE};
pub use trust::{Owners, Parts, of_others, owners};

use self::capture::{Triggers, expected_triggers};
use self::statements::{Claims, Writes};
use crate::pg::{AnswerLimit, Db, QueryError};

/// The action on the idle lock before a claim (C6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdleLockAction {
    /// None.
    Keep,
    /// Release the lock: the daemon has more work, or may hold the lock without knowing it.
    Release,
    /// Take the lock, unless a writer blocks it.
    Try,
}

/// The queries of one session, prepared.
#[derive(Debug)]
pub struct Store {
    db: Db,
    layout: Layout,
    triggers: Triggers,
    /// The identity of the server, asked for once.
    server: OnceCell<Option<String>>,
    usual_settings: String,
    claims: Claims,
    writes: Writes,
    keep_lead: Statement,
    is_same: Statement,
    try_idle_lock: Statement,
    release_idle_lock: Statement,
    fast_path: Option<fast_path::Statements>,
}

impl Store {
    /// Prepares the frequent queries on a connection. `usual_settings` are the statements that
    /// restore the settings of the session after code of others has run in it.
    pub async fn prepare(
        db: Db,
        layout: Layout,
        capture_configurations: bool,
        history: bool,
        usual_settings: String,
        parts: &Parts,
    ) -> Result<Self, QueryError> {
        let triggers = expected_triggers(&db, &layout, capture_configurations);
        let (keep_lead, is_same) = (parts.held(queries::KEEP_LEAD), parts.held("true"));
        let prepared = async {
            tokio::try_join!(
                Claims::prepare(&db, &layout),
                db.prepare(&keep_lead, &[]),
                db.prepare(&is_same, &[]),
                Writes::prepare(&db, &layout, history),
                db.prepare(queries::TRY_IDLE_LOCK, &[]),
                db.prepare(queries::RELEASE_IDLE_LOCK, &[]),
                fast_path::Statements::prepare(&db, &layout, history, parts),
            )
        };
        let (claims, keep_lead, is_same, writes, try_idle_lock, release_idle_lock, fast_path) =
            Box::pin(prepared).await?;
        Ok(Self {
            db,
            layout,
            triggers,
            server: OnceCell::new(),
            usual_settings,
            claims,
            writes,
            keep_lead,
            is_same,
            try_idle_lock,
            release_idle_lock,
            fast_path,
        })
    }

    /// The most memory for one answer of this connection.
    pub fn answer_limit(&self) -> &AnswerLimit {
        self.db.answer_limit()
    }

    /// The layout of the tables.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Fails, as if a table were missing, if the names of the tables of agent-sync mean other
    /// tables than those of this store (S5).
    pub async fn verify_parts(&self) -> Result<(), QueryError> {
        let _: bool = self.db.value_prepared(&self.is_same).await?;
        Ok(())
    }

    /// Whether the tables are still those that the statements of this connection were made for.
    pub async fn is_current(&self) -> Result<bool, QueryError> {
        let layout = &self.layout;
        let (agents, configurations) = (&layout.agents.table, &layout.configurations.table);
        let version = layout::version(&self.db, agents, configurations).await?;
        Ok(version == layout.version)
    }
}
