//! Whether the objects of the schema `agent_sync` may be used.
//!
//! Invariant: a session runs no code of a role that is neither a superuser nor an owner of the tables (S5). A view, a default or a trigger
//! runs with the rights of the role that uses the table. So before a session uses a table of agent-sync, and again in each sweep, the
//! catalog says who owns it: reading the catalog runs no code.

use postgres_types::{ToSql, Type};

use super::{Session, SessionError};
use crate::settings::Database;
use crate::store::within;

/// The objects in the schema `agent_sync`, and the schema, that belong neither to a superuser nor to a role that can act as the owner of
/// one of the tables `$1.$2` and `$3.$4`; null where there is none. Without these tables, only superusers are told: others get no further.
const STRANGERS: &str = "
    WITH served (owner) AS (
        SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1::text AND c.relname = $2::text OR n.nspname = $3::text AND c.relname = $4::text
    )
    SELECT string_agg(format('%s (%I)', o.what, pg_get_userbyid(o.owner)), ', ' ORDER BY o.what)
    FROM (
        SELECT 'the schema agent_sync' AS what, n.nspowner AS owner FROM pg_namespace n WHERE n.nspname = 'agent_sync'
        UNION ALL
        SELECT pg_describe_object('pg_class'::regclass, c.oid, 0), c.relowner
        FROM pg_class c WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind NOT IN ('i', 'I', 't')
        UNION ALL
        SELECT pg_describe_object('pg_proc'::regclass, f.oid, 0), f.proowner
        FROM pg_proc f
        WHERE f.pronamespace = to_regnamespace('agent_sync')
          -- Only a save runs these, with the rights of their owner.
          AND NOT (f.proname IN ('capture_agent', 'capture_configuration') AND f.pronargs = 0)
    ) AS o
    WHERE ((SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user)
           OR EXISTS (SELECT FROM served))
      AND NOT EXISTS (
          SELECT FROM pg_roles r
          WHERE r.oid = o.owner
            AND (r.rolsuper OR EXISTS (SELECT FROM served s WHERE pg_has_role(r.oid, s.owner, 'MEMBER'))))";

/// What the operator can do.
pub(super) const REMEDY: &str = "See who made it. If it is nobody's install, drop it: DROP SCHEMA agent_sync CASCADE. If it is an install of \
     your own, give what is named to the owner of the tables: ALTER SCHEMA agent_sync OWNER TO …; ALTER TABLE … OWNER TO …;";

impl Session {
    /// The session, unless it would use objects of the schema `agent_sync` that somebody else may have prepared.
    pub async fn trusted(self, database: &Database) -> Result<Self, SessionError> {
        self.verify_owners(database).await?;
        Ok(self)
    }

    /// Fails where the session would use objects of the schema `agent_sync` that somebody else may have prepared.
    pub async fn verify_owners(&self, database: &Database) -> Result<(), SessionError> {
        let (agents, configurations) = (&database.agents, &database.configurations);
        let tables: [(&(dyn ToSql + Sync), Type); 4] = [
            (&agents.schema, Type::TEXT),
            (&agents.table, Type::TEXT),
            (&configurations.schema, Type::TEXT),
            (&configurations.table, Type::TEXT),
        ];
        let row = within(database.connect_timeout, self.client.query_typed_one(STRANGERS, &tables)).await?;
        match row.try_get::<_, Option<String>>(0).map_err(SessionError::Postgres)? {
            Some(objects) => Err(SessionError::Untrusted(objects)),
            None => Ok(()),
        }
    }
}
