//! The privileges that the role of the daemon needs, and those of a monitoring role.

use postgres_types::Type;

use super::{Finding, Layout, finding, queries};
use crate::pg::{Db, Parameter, QueryError, told};
use crate::settings::Database;

/// Whether the role of this session is a monitoring role: one that an install has granted what it
/// may read, and nothing that writes. Objects of others are ruled out before.
pub async fn reads_only(db: &Db) -> Result<bool, QueryError> {
    Ok(db.value::<bool>(queries::KNOWS_ROLES, &[]).await?
        && db.value::<bool>(queries::READS_ONLY, &[]).await?)
}

/// The finding with every privilege that the role of a daemon lacks, or a monitoring role.
pub(super) async fn missing_privileges(
    db: &Db,
    database: &Database,
    layout: &Layout,
    reads_only: bool,
) -> Result<Option<Finding>, QueryError> {
    let needs = if reads_only {
        needs_to_monitor(database, layout)
    } else {
        needs(database, layout)
    };
    let schemas: Vec<_> = needs.iter().map(|need| need.schema.as_str()).collect();
    let relations: Vec<_> = needs.iter().map(|need| need.relation.as_deref()).collect();
    let columns: Vec<_> = needs.iter().map(|need| need.column.as_deref()).collect();
    let privileges: Vec<_> = needs.iter().map(|need| need.privilege).collect();
    let parameters: [Parameter<'_>; 4] = [
        (&schemas, Type::TEXT_ARRAY),
        (&relations, Type::TEXT_ARRAY),
        (&columns, Type::TEXT_ARRAY),
        (&privileges, Type::TEXT_ARRAY),
    ];
    let rows = db.all(queries::MISSING_PRIVILEGES, &parameters).await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(
        finding::Rights::Unprivileged {
            role: told(first, 2)?,
            missing: rows
                .iter()
                .map(|row| told(row, 0))
                .collect::<Result<_, _>>()?,
            grants: rows
                .iter()
                .map(|row| told(row, 1))
                .collect::<Result<_, _>>()?,
            reads_only,
        }
        .into(),
    ))
}

/// One privilege that the role must have: on a schema, on a relation in it, or on one of its
/// columns.
struct Need {
    schema: String,
    relation: Option<String>,
    /// Quoted, as the layout has it.
    column: Option<String>,
    privilege: &'static str,
}

impl Need {
    fn new(
        schema: &str,
        relation: Option<&str>,
        column: Option<&str>,
        privilege: &'static str,
    ) -> Self {
        Self {
            schema: schema.to_owned(),
            relation: relation.map(str::to_owned),
            column: column.map(str::to_owned),
            privilege,
        }
    }
}

/// The privileges on the relations of agent-sync.
const ON_OURS: [(&str, &[&str]); 5] = [
    ("outbox", &["SELECT", "INSERT", "DELETE"]),
    ("problem", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("history", &["SELECT", "INSERT", "DELETE"]),
    ("install", &["SELECT"]),
    ("uncaptured", &["SELECT"]),
];

/// The columns of `agent_sync.install` that the daemon, `pause` and `resume` update.
const NOTED: [&str; 12] = [
    "\"uncaptured_seen\"",
    "\"seal\"",
    "\"last_sync\"",
    "\"last_tried\"",
    "\"tries\"",
    "\"mapping\"",
    "\"audit\"",
    "\"paused_since\"",
    "\"paused_until\"",
    "\"paused_by\"",
    "\"pause_reason\"",
    "\"pause_releases\"",
];

/// The relations of agent-sync that a monitoring role reads, and the columns of a further one.
const READ_BY_A_MONITOR: [&str; 6] = [
    "outbox",
    "problem",
    "install",
    "role",
    "state",
    "uncaptured",
];
const READ_OF_THE_HISTORY: [&str; 2] = ["\"id\"", "\"at\""];

/// The privileges of `sql/grant.sql` that a monitoring role needs.
fn needs_to_monitor(database: &Database, layout: &Layout) -> Vec<Need> {
    let (agents, configurations) = (&database.agents, &database.configurations);
    let ours = database.install.schema.name();
    let schemas = [ours, &agents.schema, &configurations.schema];
    let mut needs = Vec::from(schemas.map(|schema| Need::new(schema, None, None, "USAGE")));
    let on_ours = |relation: &str| Need::new(ours, Some(relation), None, "SELECT");
    needs.extend(READ_BY_A_MONITOR.map(on_ours));
    let mut read = |schema: &str, relation: &str, column: &str| {
        needs.push(Need::new(schema, Some(relation), Some(column), "SELECT"));
    };
    for column in READ_OF_THE_HISTORY {
        read(ours, "history", column);
    }
    let (from, to) = (&layout.agents, &layout.configurations);
    let keys = [
        (&agents.schema, &agents.table, &from.slug, &from.tenant),
        (
            &configurations.schema,
            &configurations.table,
            &to.agent_slug,
            &to.tenant,
        ),
    ];
    for (schema, table, slug, tenant) in keys {
        read(schema, table, &slug.name);
        if let Some(tenant) = tenant {
            read(schema, table, &tenant.column.name);
        }
    }
    needs
}

/// The privileges of `sql/grant.sql` that the daemon needs.
fn needs(database: &Database, layout: &Layout) -> Vec<Need> {
    let (agents, configurations) = (&database.agents, &database.configurations);
    let (from, to) = (&layout.agents, &layout.configurations);
    let ours = database.install.schema.name();
    let schemas = [ours, &agents.schema, &configurations.schema];
    let mut needs = Vec::from(schemas.map(|schema| Need::new(schema, None, None, "USAGE")));
    for (relation, privileges) in ON_OURS {
        let on = |privilege: &&'static str| Need::new(ours, Some(relation), None, privilege);
        needs.extend(privileges.iter().map(on));
    }
    let mut on = |schema: &str, relation: &str, privilege, columns: &[&str]| {
        let on = |column: &&str| Need::new(schema, Some(relation), Some(column), privilege);
        needs.extend(columns.iter().map(on));
    };
    on(ours, "install", "UPDATE", &NOTED);

    let mapped = from.columns.present().map(|(_, column)| column);
    let tenant = from.tenant.as_ref().map(|tenant| &tenant.column);
    let read: Vec<&str> = std::iter::once(&from.slug)
        .chain(tenant)
        .chain(mapped)
        .map(|column| &*column.name)
        .chain(["\"xmin\""])
        .collect();
    on(&agents.schema, &agents.table, "SELECT", &read);

    let mapped = to.columns.present().map(|(_, column)| &*column.name);
    let written: Vec<&str> = mapped.collect();
    let clocks: Vec<&str> = to.clocks.iter().map(|column| &*column.name).collect();
    let place = ["\"ctid\"", "\"tableoid\"", "\"xmin\"", &to.agent_slug.name];
    let (schema, table) = (&configurations.schema, &configurations.table);
    on(schema, table, "SELECT", &place);
    let tenant = to.tenant.as_ref().map(|tenant| &*tenant.column.name);
    on(schema, table, "SELECT", tenant.as_slice());
    on(schema, table, "SELECT", &written);
    on(schema, table, "UPDATE", &written);
    on(schema, table, "UPDATE", &clocks);
    needs
}

/// The roles that may write to tables of agent-sync and are neither owners nor roles of daemons. It
/// is unknown, and no finding, where this role may not read which roles are those of daemons.
pub(super) async fn others_may_write(db: &Db, layout: &Layout) -> Result<Vec<Finding>, QueryError> {
    let rows = db
        .all(&queries::grants_to_others(), &layout.tables())
        .await?;
    if rows.is_empty() || !db.value::<bool>(queries::KNOWS_ROLES, &[]).await? {
        return Ok(Vec::new());
    }
    let noted: Vec<u32> = db.column(queries::NOTED_ROLES, &[]).await?;
    let mut findings = Vec::new();
    for row in rows {
        if noted.contains(&row.try_get(1)?) {
            continue;
        }
        let (role, tables, revokes) = (told(&row, 0)?, told(&row, 2)?, told(&row, 3)?);
        findings.push(
            finding::Rights::OthersMayWrite {
                role,
                tables,
                revokes,
            }
            .into(),
        );
    }
    Ok(findings)
}
