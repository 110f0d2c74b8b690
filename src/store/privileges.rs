//! The privileges that the role of the daemon needs.

use postgres_types::Type;

use super::{Finding, Layout, finding, queries};
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::Database;

/// The finding with every privilege that the role lacks.
pub(super) async fn missing_privileges(
    db: &Db,
    database: &Database,
    layout: &Layout,
) -> Result<Option<Finding>, QueryError> {
    let needs = needs(database, layout);
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
            role: first.try_get(2)?,
            missing: rows
                .iter()
                .map(|row| row.try_get(0))
                .collect::<Result<_, _>>()?,
            grants: rows
                .iter()
                .map(|row| row.try_get(1))
                .collect::<Result<_, _>>()?,
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

/// The privileges of `sql/grant.sql` that the daemon needs.
fn needs(database: &Database, layout: &Layout) -> Vec<Need> {
    let (agents, configurations) = (&layout.agents, &layout.configurations);
    let mut needs = Vec::new();
    for schema in [
        "agent_sync",
        &database.agents.schema,
        &database.configurations.schema,
    ] {
        needs.push(Need {
            schema: schema.to_owned(),
            relation: None,
            column: None,
            privilege: "USAGE",
        });
    }
    for (relation, privileges) in [
        ("outbox", &["SELECT", "INSERT", "DELETE"][..]),
        ("problem", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        ("history", &["SELECT", "INSERT", "DELETE"]),
        ("install", &["SELECT"]),
        ("uncaptured", &["SELECT"]),
    ] {
        needs.extend(privileges.iter().map(|privilege| Need {
            schema: "agent_sync".to_owned(),
            relation: Some(relation.to_owned()),
            column: None,
            privilege,
        }));
    }
    let mut on = |schema: &str, relation: &str, privilege, columns: Vec<&str>| {
        needs.extend(columns.into_iter().map(|column| Need {
            schema: schema.to_owned(),
            relation: Some(relation.to_owned()),
            column: Some(column.to_owned()),
            privilege,
        }));
    };
    let noted = [
        "\"uncaptured_seen\"",
        "\"seal\"",
        "\"last_sync\"",
        "\"last_tried\"",
        "\"tries\"",
        "\"mapping\"",
    ];
    on("agent_sync", "install", "UPDATE", noted.to_vec());

    let mapped = agents.columns.present().map(|(_, column)| column);
    let read = std::iter::once(&agents.slug).chain(mapped);
    let read = read.map(|column| column.name.as_str()).collect();
    on(
        &database.agents.schema,
        &database.agents.table,
        "SELECT",
        read,
    );

    let mapped = configurations.columns.present();
    let written: Vec<&str> = mapped.map(|(_, column)| column.name.as_str()).collect();
    let place = [
        "\"ctid\"",
        "\"tableoid\"",
        "\"xmin\"",
        &configurations.agent_slug.name,
    ];
    let (schema, table) = (
        &database.configurations.schema,
        &database.configurations.table,
    );
    on(
        schema,
        table,
        "SELECT",
        place.into_iter().chain(written.iter().copied()).collect(),
    );
    let clocks = configurations
        .clocks
        .iter()
        .map(|column| column.name.as_str());
    on(
        schema,
        table,
        "UPDATE",
        written.into_iter().chain(clocks).collect(),
    );
    needs
}
