//! The state of the capture: the faults of its triggers, and the seal, which shows a change of what
//! it depends on.

use std::borrow::Cow;
use std::fmt::{self, Display};

use postgres_types::Type;
use tokio_postgres::{Error, Row};

use super::{Layout, Store, queries};
use crate::pg::{Db, Parameter, QueryError, told};

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
    NotAlways,
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
            FaultKind::NotAlways => write!(
                out,
                "the trigger {trigger} is {fault}: saves made with session_replication_role = \
                replica, as in restores and logical replication, are not noticed; all other \
                saves are"
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
    fn of(row: &Row) -> Result<Self, Error> {
        let kind = match row.try_get(2)? {
            "not always" => FaultKind::NotAlways,
            "child" => FaultKind::Child,
            "outbox" => FaultKind::Outbox,
            _ => FaultKind::Broken,
        };
        Ok(Self {
            trigger: told(row, 0)?,
            fault: told(row, 1)?,
            kind,
            special: told(row, 3)?,
        })
    }

    /// The remedy.
    pub fn remedy(&self) -> &str {
        self.special
            .as_deref()
            .unwrap_or("Run `agent-sync install` for this database.")
    }
}

/// The comparison of the noted seal with the present one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    /// It is the same.
    Unchanged,
    /// None was noted before.
    First,
    /// It is another one.
    Changed,
}

/// The triggers of an install.
#[derive(Debug)]
pub(super) struct Triggers {
    tables: Vec<String>,
    names: Vec<String>,
}

impl Store {
    /// Notes the seal: a hash over the catalog rows that the capture depends on. Unless it is
    /// unchanged, every agent has to be checked.
    pub async fn seal(&self) -> Result<Seal, QueryError> {
        let server = self.server.get_or_try_init(|| system_identifier(&self.db));
        let server = server.await?;
        let [agents, configurations] = self.layout.tables();
        let of = [agents, configurations, (server, Type::TEXT)];
        let had_seal = self.db.opt_value(&queries::seal(), &of).await?;
        Ok(match had_seal {
            None => Seal::Unchanged,
            Some(false) => Seal::First,
            Some(true) => Seal::Changed,
        })
    }

    /// The faults of the triggers.
    pub async fn capture_faults(&self) -> Result<Vec<CaptureFault>, QueryError> {
        capture_faults(&self.db, &self.layout, &self.triggers).await
    }
}

/// The identity of the server, where this role may ask for it.
pub(super) async fn system_identifier(db: &Db) -> Result<Option<String>, QueryError> {
    if db.value(queries::KNOWS_SYSTEM_IDENTIFIER, &[]).await? {
        return db.value(queries::SYSTEM_IDENTIFIER, &[]).await;
    }
    Ok(None)
}

/// Whether the capture is not as the daemon has last seen it, so that changes may have been missed
/// and the daemon has yet to check every agent. `None`: this role cannot know it.
pub async fn is_unsealed(db: &Db, layout: &Layout) -> Result<Option<bool>, QueryError> {
    let server = system_identifier(db).await?;
    let [agents, configurations] = layout.tables();
    let of = [agents, configurations, (&server as _, Type::TEXT)];
    db.value(&queries::is_unsealed(), &of).await
}

/// The triggers that `sql/attach.sql` makes: their tables, and their names.
pub(super) fn expected_triggers(db: &Db, layout: &Layout, configurations: bool) -> Triggers {
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
    let names = names.into_iter().map(|name| db.schema().localize(name));
    Triggers {
        tables,
        names: names.map(Cow::into_owned).collect(),
    }
}

/// The faults of the expected triggers.
async fn capture_faults(
    db: &Db,
    layout: &Layout,
    triggers: &Triggers,
) -> Result<Vec<CaptureFault>, QueryError> {
    let agents = &layout.agents;
    let mapped = agents.columns.present().map(|(_, column)| column);
    let tenant = agents.tenant.as_ref().map(|tenant| &*tenant.column.name);
    let agent_tenant = layout.configurations.tenant.as_ref();
    let agent_tenant = agent_tenant.map(|tenant| &*tenant.column.name);
    let own: Vec<&str> = std::iter::once(&*layout.configurations.agent_slug.name)
        .chain(agent_tenant)
        .collect();
    let watched: Vec<&str> = std::iter::once(&agents.slug)
        .chain(mapped)
        .map(|column| column.name.as_str())
        .chain(tenant)
        .collect();
    let served = vec![&*agents.table, &*layout.configurations.table];
    let parameters: &[Parameter<'_>] = &[
        (&triggers.tables, Type::TEXT_ARRAY),
        (&triggers.names, Type::TEXT_ARRAY),
        (&watched, Type::TEXT_ARRAY),
        (&layout.configurations.agent_slug.name, Type::TEXT),
        (&agents.slug.name, Type::TEXT),
        (&queries::CALLED, Type::TEXT_ARRAY),
        (&own, Type::TEXT_ARRAY),
        (&served, Type::TEXT_ARRAY),
    ];
    let mut rows = db.all(queries::CAPTURE_FAULTS, parameters).await?;
    if !rows.is_empty() {
        // An install that is committed just now is seen in halves: PostgreSQL describes triggers
        // and functions as they are, and reads the record of the install as it was when the
        // statement began.
        rows = db.all(queries::CAPTURE_FAULTS, parameters).await?;
    }
    Ok(rows
        .iter()
        .map(CaptureFault::of)
        .collect::<Result<_, _>>()?)
}

/// The faults of the triggers that `agent-sync install` makes.
pub async fn broken_triggers(
    db: &Db,
    layout: &Layout,
    capture_configurations: bool,
) -> Result<Vec<CaptureFault>, QueryError> {
    let triggers = expected_triggers(db, layout, capture_configurations);
    capture_faults(db, layout, &triggers).await
}
