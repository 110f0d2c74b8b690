//! Every runtime query, typed: the one place with SQL for the daemon.
//!
//! A [`Store`] belongs to one session: it has prepared its statements there and sends them nowhere
//! else.
//!
//! Invariants:
//! - A batch is one transaction and two round trips (`transaction`): statements are sent together,
//!   and the server executes them in that order. The fast path is two statements (`fast_path`).
//! - Nothing here decides the values to write. `mapping` does, and `sync` connects the two.

mod attempt;
pub mod backlog;
mod batch;
pub mod checks;
mod fast_path;
pub mod finding;
mod layout;
pub mod path;
pub mod queries;
mod remedy;
pub mod report;
mod transaction;
mod trust;

use std::fmt::{self, Display};
use std::time::Duration;

use postgres_types::Type;
use tokio_postgres::Statement;

pub use attempt::{ForeignCode, Tried};
pub use batch::{
    Claimed, Group, Lossy, NotText, Outcome, Pair, Problem, ProblemKind, Taken, Versions,
    too_heavy, too_many,
};
pub use finding::Finding;
pub use layout::{Layout, LayoutError};
pub use queries::{HEAVIEST, LONGEST_SLUG, MOST_CONFIGURATIONS};
pub use remedy::Remedies;
pub use transaction::{Begun, Claim, Part};
pub use trust::{Owners, Parts, owners};

use crate::columns::Column;
use crate::mapping::Rules;
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::History;

/// The action on the idle lock before a claim (C6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IdleLockAction {
    /// None.
    Keep,
    /// Release the lock: the daemon has more work.
    Release,
    /// Take the lock, unless a writer blocks it.
    Try,
}

/// The counts of missed changes, from `agent_sync.install` and its sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// The missed changes up to which every agent has been checked.
    pub uncaptured_seen: i64,
    /// The missed changes so far.
    pub uncaptured: i64,
    /// Whether a crash of the server may have moved that number.
    pub may_have_jumped: bool,
}

/// The holder of the leader lock, and whether it applies changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The process on the server; nothing if nobody holds the lock.
    pub pid: Option<i32>,
    /// Its role, as far as the server tells.
    pub role: Option<String>,
    /// Whether that role has the privileges of a daemon.
    pub is_able: bool,
    /// The prepared transaction that holds the lock, and its role: no daemon prepares one.
    pub prepared: Option<(String, String)>,
    /// For how long the oldest change has been waiting.
    pub oldest: Option<Duration>,
    /// The idle time of its session; none if that is hidden from this role.
    pub quiet: Option<Duration>,
    /// How many changes have been taken so far.
    pub taken: i64,
}

/// A fault of a trigger of the capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureFault {
    /// `schema.table.trigger`
    pub trigger: String,
    /// The fault.
    pub fault: String,
    /// The consequence.
    pub kind: FaultKind,
    /// The remedy, where `agent-sync install` does not repair it.
    special: Option<String>,
}

/// The consequence of a fault of the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Changes are missed.
    Broken,
    /// Changes with `session_replication_role = replica` are missed.
    Sleeps,
    /// Changes in one partition or child are missed.
    Child,
    /// The outbox may lose changes.
    Outbox,
}

impl Display for CaptureFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trigger,
            fault,
            kind,
            ..
        } = self;
        match kind {
            FaultKind::Broken => write!(out, "the trigger {trigger} is {fault}"),
            FaultKind::Outbox => write!(out, "{trigger} {fault}"),
            FaultKind::Sleeps => write!(
                out,
                "the trigger {trigger} is {fault}: saves made with session_replication_role = \
                replica, as in restores and logical replication, are not noticed; all others are"
            ),
            FaultKind::Child => write!(
                out,
                "the trigger {trigger} is {fault}: saves in this partition or child are not \
                noticed, and each sweep checks every agent"
            ),
        }
    }
}

impl CaptureFault {
    /// Of a row of [`queries::CAPTURE_FAULTS`].
    fn of(row: &tokio_postgres::Row) -> Result<Self, tokio_postgres::Error> {
        let kind = match row.try_get(2)? {
            "sleeps" => FaultKind::Sleeps,
            "child" => FaultKind::Child,
            "outbox" => FaultKind::Outbox,
            _ => FaultKind::Broken,
        };
        Ok(Self {
            trigger: row.try_get(0)?,
            fault: row.try_get(1)?,
            kind,
            special: row.try_get(3)?,
        })
    }

    /// What the operator can do.
    pub fn remedy(&self) -> &str {
        self.special
            .as_deref()
            .unwrap_or("Run `agent-sync install` for this database.")
    }
}

/// The queries of one session, prepared.
#[derive(Debug)]
pub struct Store {
    db: Db,
    layout: Layout,
    triggers: [Vec<String>; 2],
    usual_settings: String,
    claim: Statement,
    claim_first: Statement,
    claim_slug: Statement,
    claim_page: Statement,
    keep_lead: Statement,
    is_same: Statement,
    write: Statement,
    take: Statement,
    note_problems: Statement,
    clear_problems: Statement,
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
        let triggers = expected_triggers(&layout, capture_configurations);
        let (claim, slug) = (queries::claim(&layout), queries::claim_slug(&layout));
        let (first, page) = (queries::claim_first(&layout), queries::claim_page(&layout));
        let (write, take) = (queries::write(&layout, history), queries::take());
        let (note, clear) = (queries::note_problems(), queries::clear_problems());
        let mut write_types = vec![
            Type::TID_ARRAY,
            Type::OID_ARRAY,
            Type::TEXT_ARRAY,
            Type::TID_ARRAY,
            Type::XID_ARRAY,
            Type::TEXT_ARRAY,
        ];
        write_types.extend(Column::ALL.map(|_| Type::TEXT_ARRAY));
        let (keep_lead, is_same) = (parts.held(queries::KEEP_LEAD), parts.held("true"));
        let prepared = async {
            tokio::try_join!(
                db.prepare(&claim, &[Type::TID, Type::INT8, Type::FLOAT8]),
                db.prepare(&first, &[Type::FLOAT8]),
                db.prepare(&slug, &[Type::TEXT, Type::FLOAT8]),
                db.prepare(&page, &[Type::TEXT, Type::TID_ARRAY, Type::OID_ARRAY]),
                db.prepare(&keep_lead, &[]),
                db.prepare(&is_same, &[]),
                db.prepare(&write, &write_types),
                db.prepare(&take, &[Type::TID_ARRAY, Type::XID_ARRAY, Type::TEXT_ARRAY]),
                db.prepare(&note, &[]),
                db.prepare(&clear, &[]),
                db.prepare(queries::TRY_IDLE_LOCK, &[]),
                db.prepare(queries::RELEASE_IDLE_LOCK, &[]),
                fast_path::Statements::prepare(&db, &layout, history, parts),
            )
        };
        let (
            claim,
            claim_first,
            claim_slug,
            claim_page,
            keep_lead,
            is_same,
            write,
            take,
            note_problems,
            clear_problems,
            try_idle_lock,
            release_idle_lock,
            fast_path,
        ) = Box::pin(prepared).await?;
        Ok(Self {
            db,
            layout,
            triggers,
            usual_settings,
            claim,
            claim_first,
            claim_slug,
            claim_page,
            keep_lead,
            is_same,
            write,
            take,
            note_problems,
            clear_problems,
            try_idle_lock,
            release_idle_lock,
            fast_path,
        })
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

    /// Tries to take the leader lock.
    pub async fn try_lead(&self) -> Result<bool, QueryError> {
        self.db.value(queries::TRY_LEAD, &[]).await
    }

    /// The leader, and whether it works.
    pub async fn leader(&self) -> Result<Leader, QueryError> {
        let row = self.db.one(queries::LEADER, &[]).await?;
        let age =
            |seconds: Option<f64>| seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        Ok(Leader {
            pid: row.try_get(0)?,
            role: row.try_get(1)?,
            is_able: row.try_get(2)?,
            oldest: age(row.try_get(3)?),
            quiet: age(row.try_get(4)?),
            taken: row.try_get(5)?,
            prepared: match row.try_get(6)? {
                Some(gid) => Some((
                    gid,
                    row.try_get::<_, Option<String>>(7)?
                        .unwrap_or_else(|| "?".to_owned()),
                )),
                None => None,
            },
        })
    }

    /// Puts requested slugs into the outbox, if they have an agent or a problem (I7).
    pub async fn enqueue_known(&self, slugs: &[String]) -> Result<(), QueryError> {
        self.db
            .run(
                &queries::enqueue_known(&self.layout),
                &[(&slugs, Type::TEXT_ARRAY)],
            )
            .await
    }

    /// Puts every agent into the outbox.
    pub async fn enqueue_all(&self) -> Result<(), QueryError> {
        self.db.run(&queries::enqueue_all(&self.layout), &[]).await
    }

    /// Puts every agent into the outbox that is not there yet.
    pub async fn enqueue_absent(&self) -> Result<(), QueryError> {
        self.db
            .run(&queries::enqueue_absent(&self.layout), &[])
            .await
    }

    /// Puts every agent into the outbox because of `uncaptured` missed changes, and notes in
    /// `agent_sync.install` that they are settled. The caller has waited for the end of all their
    /// [savers](Store::savers).
    pub async fn enqueue_uncaptured(&self, uncaptured: i64) -> Result<(), QueryError> {
        self.db
            .run(
                &queries::enqueue_uncaptured(&self.layout),
                &[(&uncaptured, Type::INT8)],
            )
            .await
    }

    /// The open transactions of others that may have saved: see [`queries::SAVERS`].
    pub async fn savers(&self) -> Result<Vec<String>, QueryError> {
        let tables = self.layout.tables();
        self.db.column(queries::SAVERS, &tables).await
    }

    /// Puts the problems that a new check may clear into the outbox.
    pub async fn sweep_problems(&self) -> Result<(), QueryError> {
        self.db
            .run(&queries::enqueue_orphans(&self.layout), &[])
            .await?;
        self.db
            .run(&queries::enqueue_unambiguous(&self.layout), &[])
            .await?;
        self.db
            .run(&queries::enqueue_found(&self.layout), &[])
            .await
    }

    /// Puts the failed writes that are due into the outbox. Returns the time until the next one.
    pub async fn enqueue_retries(&self) -> Result<Option<Duration>, QueryError> {
        self.db.run(queries::ENQUEUE_RETRIES, &[]).await?;
        let seconds: Option<f64> = self.db.value(queries::NEXT_RETRY, &[]).await?;
        Ok(seconds.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.01, 3600.0))))
    }

    /// Notes in `agent_sync.install` when a configuration was last written.
    pub async fn note_last_sync(&self, ago: Duration) -> Result<(), QueryError> {
        self.db
            .run(
                queries::NOTE_LAST_SYNC,
                &[(&ago.as_secs_f64(), Type::FLOAT8)],
            )
            .await
    }

    /// Deletes one portion of the expired history. Returns whether there may be more.
    pub async fn prune_history(&self, history: &History) -> Result<bool, QueryError> {
        const PORTION: i64 = 2000;
        let (keep, most) = (history.keep.as_secs_f64(), i64::from(history.max_rows));
        let limits: [Parameter<'_>; 3] = [
            (&keep, Type::FLOAT8),
            (&most, Type::INT8),
            (&PORTION, Type::INT8),
        ];
        let pruned = self.db.run_counted(queries::PRUNE_HISTORY, &limits).await?;
        Ok(pruned >= PORTION.unsigned_abs())
    }

    /// The counts of missed changes; none if the install has no record.
    pub async fn installed(&self) -> Result<Option<Installed>, QueryError> {
        let row = self.db.opt(queries::INSTALL, &[]).await?;
        let installed = row.map(|row| {
            Ok::<_, QueryError>(Installed {
                uncaptured_seen: row.try_get(1)?,
                uncaptured: row.try_get(2)?,
                may_have_jumped: row.try_get(3)?,
            })
        });
        installed.transpose()
    }

    /// Notes in `agent_sync.install` that changes may have been missed: see [`queries::DISTRUST`].
    pub async fn distrust(&self) -> Result<(), QueryError> {
        self.db.run(queries::DISTRUST, &[]).await
    }

    /// The findings that do not stop the daemon.
    pub async fn cautions(&self, notify: bool, history: bool) -> Result<Vec<Finding>, QueryError> {
        checks::cautions(&self.db, &self.layout, notify, history).await
    }

    /// Whether every configuration is in sync under this mapping, or will be, as far as is noted.
    /// Notes the latter, or that the mappings are mixed from now on. So it precedes the first
    /// write.
    pub async fn knows_mapping(&self, rules: &Rules) -> Result<bool, QueryError> {
        let key = self.layout.mapping_key(rules);
        match mapping(&self.db, &key).await? {
            Mapping::Same => return Ok(true),
            Mapping::Unknown => note_mapping(&self.db, &key, None).await?,
            Mapping::Other | Mapping::Mixed => {
                self.db.run(queries::MIX_MAPPINGS, &[]).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Compares the noted mapping with this one.
    pub async fn mapping(&self, rules: &Rules) -> Result<Mapping, QueryError> {
        mapping(&self.db, &self.layout.mapping_key(rules)).await
    }

    /// Whether the tables are still those that the statements of this connection were made for.
    pub async fn is_current(&self) -> Result<bool, QueryError> {
        let layout = &self.layout;
        let (agents, configurations) = (&layout.agents.table, &layout.configurations.table);
        let version = layout::version(&self.db, agents, configurations).await?;
        Ok(version == layout.version)
    }

    /// Notes the seal: a hash over the catalog rows that the capture depends on. Some if it has
    /// changed, so that every agent has to be checked; with whether there was an earlier seal.
    pub async fn seal(&self) -> Result<Option<bool>, QueryError> {
        let tables = self.layout.tables();
        self.db.opt_value(&queries::seal(), &tables).await
    }

    /// The faults of the triggers.
    pub async fn capture_faults(&self) -> Result<Vec<CaptureFault>, QueryError> {
        report::capture_faults(&self.db, &self.layout, &self.triggers).await
    }
}

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

/// Compares the noted mapping with that of this [key](Layout::mapping_key).
pub async fn mapping(db: &Db, key: &str) -> Result<Mapping, QueryError> {
    let Some(row) = db.opt(queries::MAPPING, &[(&key, Type::TEXT)]).await? else {
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
/// [key](Layout::mapping_key), unless another than `before` is noted.
pub async fn note_mapping(db: &Db, key: &str, before: Option<&str>) -> Result<(), QueryError> {
    db.run(
        queries::NOTE_MAPPING,
        &[(&key, Type::TEXT), (&before, Type::TEXT)],
    )
    .await
}

/// The triggers that `sql/attach.sql` makes: their tables, and their names.
fn expected_triggers(layout: &Layout, configurations: bool) -> [Vec<String>; 2] {
    let mut tables = vec![layout.agents.table.clone(); 2];
    let mut names = vec!["agent_sync_insert", "agent_sync_update"];
    if configurations {
        tables.extend(vec![layout.configurations.table.clone(); 2]);
        names.extend(["agent_sync_insert", "agent_sync_update"]);
        if layout.configurations.is_partitioned {
            tables.push(layout.configurations.table.clone());
            names.push("agent_sync_delete");
        }
    }
    [tables, names.into_iter().map(str::to_owned).collect()]
}
