//! The rights of the role and of the owners: privileges, row-level security, types and functions.

use super::own::{OWN_FUNCTIONS, is_named};

/// Of the privileges `$4` on schemas `$1`, relations `$2` and quoted columns `$3`, those that the
/// role lacks: in words, as the statement that grants them, and the role; one row for each object,
/// the schemas first. A value is cast to the type of its column, or the type under its domain,
/// by name, so USAGE on the schemas of these types belongs to them where the column is updated.
pub const MISSING_PRIVILEGES: &str = "
    WITH RECURSIVE named AS (
        SELECT DISTINCT n.oid AS schema, c.oid AS relation, c.relkind, a.attnum, a.attname,
          u.privilege,
               CASE WHEN u.relation IS NULL THEN format('SCHEMA %I', u.schema)
                    ELSE CASE WHEN c.relkind = 'S' THEN 'SEQUENCE '
                      ELSE '' END || format('%I.%I', u.schema, u.relation)
               END AS object
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (schema, relation,
          attribute, privilege)
        JOIN pg_namespace n ON n.nspname = u.schema
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.relation
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = u.attribute
        WHERE (u.relation IS NULL) = (c.oid IS NULL) AND (u.attribute IS NULL) = (a.attnum IS NULL)
    ), stored (type) AS (
        SELECT a.atttypid FROM named n JOIN pg_attribute a ON a.attrelid = n.relation
          AND a.attnum = n.attnum
        WHERE n.privilege = 'UPDATE'
        UNION
        SELECT t.typbasetype FROM stored s JOIN pg_type t ON t.oid = s.type AND t.typtype = 'd'
    ), need AS (
        SELECT * FROM named
        UNION
        SELECT n.oid, NULL, NULL, NULL, NULL, 'USAGE', format('SCHEMA %I', n.nspname)
        FROM stored s JOIN pg_type t ON t.oid = s.type AND t.typtype <> 'd'
        JOIN pg_namespace n ON n.oid = t.typnamespace
    ), lacking AS (
        SELECT object, privilege, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM need
        WHERE NOT CASE
            WHEN relation IS NULL THEN has_schema_privilege(schema, privilege)
            WHEN attnum IS NULL AND relkind = 'S' THEN has_sequence_privilege(relation, privilege)
            WHEN attnum IS NULL THEN has_table_privilege(relation, privilege)
            ELSE has_column_privilege(relation, attnum, privilege) END
        GROUP BY object, privilege
    ), told AS (
        SELECT object, privilege || coalesce(' (' || columns || ')', '') AS privilege FROM lacking
    )
    SELECT string_agg(privilege, ', ' ORDER BY privilege) || ' ON ' || object,
           format('GRANT %s ON %s TO %I;', string_agg(privilege, ', ' ORDER BY privilege), object,
             current_user), current_user::text
      FROM told GROUP BY object ORDER BY object COLLATE \"C\"";

/// The tables of agent-sync whose rows row-level security keeps from the role, and the role. A
/// policy that lets it at every row, for every command, keeps it from none.
pub const OWN_ROWS_HIDDEN: &str = "
    SELECT 'agent_sync.' || c.relname, current_user::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'agent_sync' AND c.relname IN ('history', 'install', 'outbox', 'problem')
      AND c.relkind = 'r'
      AND row_security_active(c.oid)
      AND NOT (
          EXISTS (SELECT FROM pg_policy p
                  WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*'
                    AND pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true'
                    AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                    AND EXISTS (SELECT FROM unnest(p.polroles) AS member (role)
                                WHERE member.role = 0 OR pg_has_role(member.role, 'USAGE')))
          AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
    ORDER BY 1";

/// The rows that row-level security may keep from the role: `$1` the agents, to read, and `$2` the
/// configurations, to read and to write; the restrictive policies that keep it; and the name of a
/// policy that would let the role at every row, null where there is one. It is harmless where a
/// policy lets the role at every row and no restrictive policy takes that back; a policy that lets
/// it at some rows may hide others, and nothing but its author knows.
pub const HIDDEN_ROWS: &str = "
    WITH need (relation, command, name) AS (
        SELECT to_regclass($1::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'w', 'UPDATE'
    ), policy AS (
        SELECT need.relation, need.command, p.polname, p.polpermissive,
               pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true'
               AND (need.command = 'r' OR coalesce(pg_get_expr(p.polwithcheck, p.polrelid),
                 'true') = 'true') AS open
        FROM need
        JOIN pg_policy p ON p.polrelid = need.relation AND p.polcmd::text IN (need.command, '*')
        WHERE 0 = ANY (p.polroles)
           OR EXISTS (SELECT FROM unnest(p.polroles) AS member (role)
             WHERE pg_has_role(member.role, 'USAGE'))
    )
    SELECT format('%I.%I', n.nspname, c.relname), need.name, current_user::text, restrictive.names,
           CASE WHEN NOT open.is_any THEN 'agent_sync_' || lower(need.name) || open.suffix END
    FROM need
    JOIN pg_class c ON c.oid = need.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    CROSS JOIN LATERAL (
        SELECT ARRAY(SELECT quote_ident(p.polname) FROM policy p
                     WHERE p.relation = need.relation AND p.command = need.command
                       AND NOT p.polpermissive AND NOT p.open
                     ORDER BY p.polname LIMIT 5) AS names
    ) AS restrictive
    CROSS JOIN LATERAL (
        SELECT EXISTS (SELECT FROM policy p
                       WHERE p.relation = need.relation AND p.command = need.command
                         AND p.polpermissive AND p.open) AS is_any,
               -- A policy of the name may let another role.
               CASE WHEN EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = need.relation
                                   AND p.polname = 'agent_sync_' || lower(need.name))
                    THEN '_2' ELSE '' END AS suffix
    ) AS open
    WHERE row_security_active(need.relation)
      AND (NOT open.is_any OR restrictive.names <> '{}')
    ORDER BY 1, 2";

/// The capture functions that belong to another role than the table that each serves, `$1` of the
/// agents and `$2` of the configurations. What the names in a function mean is decided by the owner
/// of the table, who so can act as the owner of the function. Not told is where that owner may do
/// so anyhow. The columns: the function, its owner with what it is, the table and its owner.
pub const LENDS_RIGHTS: &str = "
    SELECT f.oid::regprocedure::text, CASE WHEN o.rolsuper THEN 'the superuser '
      ELSE 'the role ' END || quote_ident(o.rolname),
           c.oid::regclass::text, c.relowner::regrole::text
    FROM (VALUES ('capture_agent', to_regclass($1::text)), ('capture_configuration',
      to_regclass($2::text))) AS s (name, relation)
    JOIN pg_proc f ON f.pronamespace = to_regnamespace('agent_sync') AND f.proname = s.name
      AND f.proargtypes = ''
    JOIN pg_class c ON c.oid = s.relation JOIN pg_roles o ON o.oid = f.proowner
    WHERE NOT pg_has_role(c.relowner, f.proowner, 'MEMBER')
    ORDER BY 1";

/// The condition that code in this session can act as the role `r`. `SET ROLE` is no bound for it:
/// the role of a session may be a setting of the database, made by its owner, and code returns from
/// it to the role that has logged in, and goes on to each role that this one is a member of.
pub(in crate::store) const IS_WITHIN_REACH: &str = "(pg_has_role(session_user, r.oid, 'MEMBER')
          OR pg_has_role(current_user, r.oid, 'MEMBER'))";

/// Whether a query on the quoted tables `$1` and `$2` gives their owners no rights: each of them,
/// of their partitions and children, and of their schemas, which can put another table in their
/// place, is a superuser, or has logged in here, or can act as each role that this session can. The
/// roles of the session itself do not count where they have no rights over others.
pub fn may_read() -> String {
    format!(
        "
    WITH RECURSIVE relation (oid) AS (
        SELECT t.oid FROM (VALUES (to_regclass($1::text)::oid), (to_regclass($2::text)::oid)) AS
          t (oid)
        UNION
        SELECT i.inhrelid FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid
    ), owner (role) AS (
        SELECT c.relowner FROM relation r JOIN pg_class c ON c.oid = r.oid
        UNION
        -- A member of pg_database_owner is the owner of the database alone.
        SELECT CASE o.rolname WHEN 'pg_database_owner' THEN d.datdba ELSE n.nspowner END
        FROM relation r JOIN pg_class c ON c.oid = r.oid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_roles o ON o.oid = n.nspowner
        JOIN pg_database d ON d.datname = current_database()
    )
    SELECT NOT EXISTS (
        SELECT FROM owner w JOIN pg_roles o ON o.oid = w.role
        WHERE NOT o.rolsuper AND o.rolname <> session_user
          AND EXISTS (SELECT FROM pg_roles r
                      WHERE {IS_WITHIN_REACH} AND NOT pg_has_role(o.oid, r.oid, 'MEMBER')
                        AND (r.rolname NOT IN (session_user, current_user) OR r.rolsuper
                          OR r.rolcreaterole OR r.rolreplication)))"
    )
}

/// The grants on the tables of agent-sync that let a role write, which is no owner, no superuser
/// and not the role of this session; `$1` and `$2` are the tables of the platform. The grantee, its
/// OID, the tables, and the statements that revoke the grants; one row for each grantee.
pub fn grants_to_others() -> String {
    format!(
        "
    WITH owner (role) AS MATERIALIZED (
        SELECT t.relowner FROM pg_class t
        WHERE t.oid IN (to_regclass($1::text), to_regclass($2::text))
        UNION
        SELECT f.proowner FROM pg_proc f WHERE f.oid = ANY ({OWN_FUNCTIONS})
    ), granted AS (
        SELECT g.grantee, c.relname, coalesce(quote_ident(p.rolname), 'PUBLIC') AS role,
               format('REVOKE %s ON %s%s.%I FROM %s CASCADE;',
                      string_agg(DISTINCT g.privilege_type, ', '),
                      CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END, 'agent_sync', c.relname,
                      coalesce(quote_ident(p.rolname), 'PUBLIC')) AS statement
        FROM pg_class c
        CROSS JOIN LATERAL (
            SELECT c.relacl
            UNION ALL
            SELECT a.attacl FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
        ) AS l (acl)
        CROSS JOIN LATERAL aclexplode(l.acl) AS g
        LEFT JOIN pg_roles p ON p.oid = g.grantee
        WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind IN ('r', 'S')
          AND c.relname IN ('outbox', 'problem', 'install', 'role', 'granted', 'history',
            'uncaptured')
          AND g.privilege_type <> 'SELECT'
          AND p.rolname IS DISTINCT FROM current_user AND p.rolsuper IS NOT TRUE
          AND NOT (p.oid IS NOT NULL AND (pg_has_role(p.oid, c.relowner, 'MEMBER') OR EXISTS (
              SELECT FROM owner o WHERE pg_has_role(p.oid, o.role, 'MEMBER'))))
        GROUP BY g.grantee, p.rolname, c.relname, c.relkind
    )
    SELECT role, grantee, string_agg('agent_sync.' || relname, ', ' ORDER BY relname),
           string_agg(statement, ' ' ORDER BY relname)
    FROM granted GROUP BY role, grantee ORDER BY role"
    )
}

/// Whether this role may read the noted roles of daemons. An earlier install has not granted it.
pub const KNOWS_ROLES: &str = "
    SELECT coalesce(has_table_privilege(to_regclass('agent_sync.role'), 'SELECT'), false)";

/// The noted roles of daemons by their OIDs, recognised by OID or by name.
pub const NOTED_ROLES: &str = "
    SELECT p.oid FROM agent_sync.role r
    JOIN pg_roles p ON p.rolname = r.name OR p.oid = (to_jsonb(r) ->> 'oid')::oid
    WHERE (to_jsonb(r) ->> 'reads_only')::boolean IS NOT TRUE";

/// Whether this role is a noted monitoring role, which only reads.
pub const READS_ONLY: &str = "
    SELECT EXISTS (SELECT FROM agent_sync.role r JOIN pg_roles p ON p.rolname = current_user
                   WHERE (to_jsonb(r) ->> 'reads_only')::boolean
                     AND r.name = p.rolname AND (to_jsonb(r) ->> 'oid')::oid = p.oid)";

/// The types that the type `t` is made of: below a domain, in an array, a range or a composite.
pub(super) const PARTS_OF_A_TYPE: &str = "
            SELECT t.typbasetype UNION ALL SELECT t.typelem
            UNION ALL SELECT r.rngsubtype FROM pg_range r
              WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
            UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid
              AND a.attnum > 0";

/// Of the columns `$2` of the quoted table `$1` and `$4` of `$3`, by their names, those whose type,
/// or a part of it, belongs to a role that is neither a superuser nor can act as the owner of the
/// table: code of it would run where the column is read or written. The table, the column, the
/// type, its owner, and that of the table.
pub fn foreign_types() -> String {
    let (is_first, is_second) = (is_named("$1"), is_named("$3"));
    format!(
        "
    WITH RECURSIVE used (relation, col, owner, type) AS (
        SELECT c.oid, a.attname, c.relowner, a.atttypid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a
          ON a.attrelid = c.oid
        WHERE ({is_first} AND a.attname = ANY ($2::text[])
          OR {is_second} AND a.attname = ANY ($4::text[]))
          AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT u.relation, u.col, u.owner, within.type
        FROM used u
        CROSS JOIN LATERAL (SELECT y.* FROM pg_type y WHERE y.oid = u.type OFFSET 0) AS t
        CROSS JOIN LATERAL ({PARTS_OF_A_TYPE}) AS within (type)
    )
    SELECT u.relation::regclass::text, quote_ident(u.col), t.oid::regtype::text,
      quote_ident(r.rolname), u.owner::regrole::text
    FROM used u
    CROSS JOIN LATERAL (SELECT y.* FROM pg_type y WHERE y.oid = u.type OFFSET 0) AS t
    JOIN pg_roles r ON r.oid = t.typowner
    WHERE NOT r.rolsuper AND NOT pg_has_role(t.typowner, u.owner, 'MEMBER')
    ORDER BY 1, 2, 3"
    )
}
