//! Whether the objects of the schema `agent_sync` may be used, and which they are.
//!
//! Invariant: a session runs no code of a role that is neither a superuser nor an owner of the
//! tables (S5). A view, a default, a policy or a trigger runs with the rights of the role that uses
//! the table. So the catalog says who owns the objects, after it has said that they are there and
//! before they are used: reading the catalog runs no code. What a trusted role owns, only a trusted
//! role can replace.
//!
//! The two tables of the platform are checked as well: where any role may create tables in their
//! schema, it can take the name of a table that was renamed or dropped. A table of the install has
//! the triggers, which nobody without EXECUTE on the capture functions can make, or an owner that
//! can act as the owner of its capture function.
//!
//! A daemon uses the objects for long. It remembers their OIDs ([`Parts`]), and its statements hold
//! the names to them.

use postgres_types::Type;

use super::queries::{IS_WITHIN_REACH, OWN_FUNCTIONS, OWN_RELATIONS};
use super::{Finding, finding};
use crate::pg::identifier::{Literal, Quoted};
use crate::pg::{Db, List, Parameter, QueryError, told};
use crate::settings::Database;

/// The objects in the schema `agent_sync`, and the schema, that belong neither to a superuser nor
/// to a role that can act as the owner of one of the tables `$1.$2` and `$3.$4`; null where there
/// is none. Without these tables, only superusers are told: others get no further. Then those of
/// these tables that have no trigger of the capture, and belong neither to a superuser nor to a
/// role that can act as the owner of the capture function or of the schema. And the OIDs of the
/// tables, 0 where there is none.
fn query_of_owners() -> String {
    format!(
        "
    WITH served (relation, owner, captured_by) AS (
        SELECT c.oid, c.relowner, CASE WHEN n.nspname = $1::text AND c.relname = $2::text
          THEN 'capture_agent' ELSE 'capture_configuration' END
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = $2::text OR n.nspname = $3::text
          AND c.relname = $4::text
    ), object (what, owner) AS (
        SELECT 'the schema agent_sync', n.nspowner FROM pg_namespace n
          WHERE n.nspname = 'agent_sync'
        UNION ALL
        SELECT pg_describe_object('pg_class'::regclass, c.oid, 0), c.relowner
        FROM pg_class c WHERE c.oid = ANY ({OWN_RELATIONS}) AND c.relkind NOT IN ('i', 'I', 't')
        UNION ALL
        SELECT pg_describe_object('pg_proc'::regclass, f.oid, 0), f.proowner
        FROM pg_proc f
        WHERE f.oid = ANY ({OWN_FUNCTIONS})
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
           (SELECT string_agg(format('%s (%I)', pg_describe_object('pg_class'::regclass, s.relation,
              0), pg_get_userbyid(s.owner)), ', ')
            FROM served s JOIN pg_roles r ON r.oid = s.owner
            JOIN pg_namespace n ON n.nspname = 'agent_sync'
            JOIN pg_proc f ON f.pronamespace = n.oid AND f.proname = s.captured_by
              AND f.proargtypes = ''
            WHERE NOT (r.rolsuper OR pg_has_role(r.oid, f.proowner, 'MEMBER')
                       OR pg_has_role(r.oid, n.nspowner, 'MEMBER')
                       OR EXISTS (SELECT FROM pg_trigger t
                                  WHERE t.tgrelid = s.relation AND t.tgfoid = f.oid))),
           ARRAY(SELECT coalesce(c.oid, 0)
                 FROM unnest(ARRAY['agent_sync', 'agent_sync', 'agent_sync', 'agent_sync',
                   $1::text, $3::text], ARRAY['outbox', 'problem', 'install', 'history', $2::text,
                   $4::text]) WITH ORDINALITY AS part (schema, name, place)
                 LEFT JOIN pg_namespace n ON n.nspname = part.schema
                 LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = part.name
                 ORDER BY part.place)"
    )
}

/// The owners of the schema `agent_sync` and of its objects, as quoted names, that cannot act as a
/// superuser, and have not logged in here; the role that has; and the greatest of the rights that
/// it has and such an owner has not. No row where there is none. A capture function runs with the
/// rights of its owner.
fn query_of_others() -> String {
    format!(
        "
    WITH object (owner) AS (
        SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'agent_sync'
        UNION
        SELECT c.relowner FROM pg_class c WHERE c.oid = ANY ({OWN_RELATIONS})
        UNION
        SELECT f.proowner FROM pg_proc f
          WHERE f.oid = ANY ({OWN_FUNCTIONS})
            AND NOT (f.proname IN ('capture_agent', 'capture_configuration') AND f.pronargs = 0)
    ), power (owner, name, rank) AS (
        SELECT o.rolname,
               CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolcreaterole THEN 'CREATEROLE'
                    WHEN r.rolreplication THEN 'REPLICATION' ELSE quote_ident(r.rolname) END,
               CASE WHEN r.rolsuper THEN 0 WHEN r.rolcreaterole THEN 1
                    WHEN r.rolreplication THEN 2 ELSE 3 END
        FROM object JOIN pg_roles o ON o.oid = object.owner, pg_roles r
        WHERE o.rolname <> session_user
          AND NOT EXISTS (SELECT FROM pg_roles s
                          WHERE s.rolsuper AND pg_has_role(o.oid, s.oid, 'MEMBER'))
          AND {IS_WITHIN_REACH} AND NOT pg_has_role(o.oid, r.oid, 'MEMBER')
          AND (r.rolsuper OR r.rolcreaterole OR r.rolreplication
            -- These only tell of the server, and monitoring needs them.
            OR r.rolname NOT IN (session_user, current_user, 'pg_monitor', 'pg_read_all_settings',
              'pg_read_all_stats', 'pg_stat_scan_tables'))
    )
    SELECT (SELECT string_agg(DISTINCT quote_ident(o.owner), ', ') FROM power o),
           quote_ident(session_user), p.name
    FROM power p ORDER BY p.rank, p.name LIMIT 1"
    )
}

/// The tables of an install that is trusted: outbox, problem, install and history, and the two
/// tables that it serves. Each has its name, as SQL, and its OID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts(Vec<(String, u32)>);

impl Parts {
    /// Whether the names mean these tables, as a condition without columns: PostgreSQL evaluates it
    /// before it reads a table.
    pub(super) fn condition(&self) -> String {
        let is = |(name, oid): &(String, u32)| {
            format!(
                "coalesce(pg_catalog.to_regclass({})::pg_catalog.oid, 0) OPERATOR(pg_catalog.=) \
                {oid}::pg_catalog.oid",
                Literal(name)
            )
        };
        self.0.iter().map(is).collect::<Vec<_>>().join(" AND ")
    }

    /// A query that gives what `query` does, or fails as if a table were missing where the names
    /// mean other tables.
    pub(super) fn held(&self, query: &str) -> String {
        let condition = self.condition();
        // The cast fails, because no relation has this name, and PostgreSQL evaluates it only in
        // this branch. Nobody but a superuser can create a relation in pg_catalog.
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
    let row = db.one(&query_of_owners(), &tables).await?;
    let untrusted: Option<String> = told(&row, 0)?;
    let taken: Option<String> = told(&row, 1)?;
    let List(oids): List<u32> = row.try_get(2)?;
    let own = ["outbox", "problem", "install", "history"].map(|name| format!("agent_sync.{name}"));
    let served = [
        (&agents.schema, &agents.table),
        (&configurations.schema, &configurations.table),
    ];
    let served = served.map(|(schema, table)| format!("{}.{}", Quoted(schema), Quoted(table)));
    let names = own.into_iter().chain(served);
    let untrusted = match (untrusted, taken) {
        (Some(objects), _) => Some(finding::Rights::Untrusted(objects)),
        (None, Some(tables)) => Some(finding::Rights::TablesOfStranger(tables)),
        (None, None) => None,
    };
    Ok(Owners {
        parts: Parts(names.zip(oids).collect()),
        untrusted: untrusted.map(Finding::from),
    })
}

/// The install, if it belongs to a role that is no superuser, and this session has rights that this
/// role does not have, such as those of a superuser: a query on its tables would run code of that
/// role with these rights (S27).
pub async fn of_others(db: &Db) -> Result<Option<Finding>, QueryError> {
    let Some(row) = db.opt(&query_of_others(), &[]).await? else {
        return Ok(None);
    };
    let of_others = finding::Rights::OfOthers {
        owners: told(&row, 0)?,
        role: told(&row, 1)?,
        rights: told(&row, 2)?,
    };
    Ok(Some(of_others.into()))
}
