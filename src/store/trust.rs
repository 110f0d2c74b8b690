//! Whether the objects of the schema `agent_sync` may be used, and which they are.
//!
//! Invariant: a session runs no code of a role that is neither a superuser nor an owner of the
//! tables (S5). A view, a default, a policy or a trigger runs with the rights of the role that uses
//! the table. So the catalog says who owns the objects, after it has said that they are there and
//! before they are used: reading the catalog runs no code. What a trusted role owns, only a trusted
//! role can replace.
//!
//! A daemon uses them for long. It remembers their OIDs ([`Parts`]), and its statements hold the
//! names to them.

use postgres_types::Type;

use super::{Finding, finding};
use crate::pg::{Db, Parameter, QueryError};
use crate::settings::Database;

/// The objects in the schema `agent_sync`, and the schema, that belong neither to a superuser nor
/// to a role that can act as the owner of one of the tables `$1.$2` and `$3.$4`; null where there
/// is none. Without these tables, only superusers are told: others get no further. And the OIDs of
/// the tables, 0 where there is none.
const OWNERS: &str = "
    WITH served (owner) AS (
        SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = $2::text OR n.nspname = $3::text
          AND c.relname = $4::text
    ), object (what, owner) AS (
        SELECT 'the schema agent_sync', n.nspowner FROM pg_namespace n
          WHERE n.nspname = 'agent_sync'
        UNION ALL
        SELECT pg_describe_object('pg_class'::regclass, c.oid, 0), c.relowner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'agent_sync' AND c.relkind NOT IN ('i', 'I', 't')
        UNION ALL
        SELECT pg_describe_object('pg_proc'::regclass, f.oid, 0), f.proowner
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE n.nspname = 'agent_sync'
          -- Only a save runs these, with the rights of their owner.
          AND NOT (f.proname IN ('capture_agent', 'capture_configuration') AND f.pronargs = 0)
    )
    SELECT (SELECT string_agg(format('%s (%I)', o.what, pg_get_userbyid(o.owner)), ', '
      ORDER BY o.what)
            FROM object o
            WHERE ((SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
              OR EXISTS (SELECT FROM served))
              AND NOT EXISTS (
                  SELECT FROM pg_roles r
                  WHERE r.oid = o.owner
                    AND (r.rolsuper OR EXISTS (SELECT FROM served s
                      WHERE pg_has_role(r.oid, s.owner, 'MEMBER'))))),
           ARRAY(SELECT coalesce(c.oid, 0)
                 FROM unnest(ARRAY['outbox', 'problem', 'install', 'history']) WITH ORDINALITY AS
                   part (name, place)
                 LEFT JOIN pg_namespace n ON n.nspname = 'agent_sync'
                 LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = part.name
                 ORDER BY part.place)";

/// The tables of an install that is trusted: outbox, problem, install and history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts([u32; 4]);

impl Parts {
    /// Whether the names mean these tables, as a condition without columns: PostgreSQL evaluates it
    /// before it reads a table.
    pub(super) fn condition(&self) -> String {
        let [outbox, problem, install, history] = self.0;
        let is = |name: &str, oid: u32| {
            format!(
                "coalesce(pg_catalog.to_regclass('agent_sync.{name}')::pg_catalog.oid, 0) \
                OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid"
            )
        };
        [
            is("outbox", outbox),
            is("problem", problem),
            is("install", install),
            is("history", history),
        ]
        .join(" AND ")
    }

    /// A query that gives what `query` does, or fails as if a table were missing where the names
    /// mean other tables.
    pub(super) fn held(&self, query: &str) -> String {
        let condition = self.condition();
        // A name that PostgreSQL looks up when it gets there, in a schema where nobody makes
        // anything.
        format!(
            "SELECT CASE WHEN {condition} THEN {query}
                         ELSE concat('pg_catalog.agent_sync_was_replaced_',
                           pg_backend_pid())::regclass IS NULL END"
        )
    }
}

/// The owners of the objects.
#[derive(Debug)]
pub struct Owners {
    /// The tables.
    pub parts: Parts,
    /// The objects of others, if there are any.
    pub untrusted: Option<Finding>,
}

/// Asks the catalog.
pub async fn owners(db: &Db, database: &Database) -> Result<Owners, QueryError> {
    let (agents, configurations) = (&database.agents, &database.configurations);
    let tables: [Parameter<'_>; 4] = [
        (&agents.schema, Type::TEXT),
        (&agents.table, Type::TEXT),
        (&configurations.schema, Type::TEXT),
        (&configurations.table, Type::TEXT),
    ];
    let row = db.one(OWNERS, &tables).await?;
    let untrusted: Option<String> = row.try_get(0)?;
    let parts: Vec<u32> = row.try_get(1)?;
    let parts = Parts(parts.try_into().unwrap_or_default());
    Ok(Owners {
        parts,
        untrusted: untrusted.map(|objects| finding::Rights::Untrusted { objects }.into()),
    })
}
