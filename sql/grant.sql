-- agent-sync: the privileges of the daemon's role and of a monitoring role, and no others (G4); and
-- the end of those that other roles have on the schema (S5).
--
-- Run after attach.sql, in the same transaction. It can be run again at any time: where no
-- privilege is missing, it executes no GRANT. The settings agent_sync.role and agent_sync.monitor
-- name the role of the daemon and the monitoring role:
--
--     SELECT set_config('agent_sync.role', 'agent_sync_daemon', true);
--
-- A role that does not exist is created, with LOGIN and without a password; give it one with
-- \password or ALTER ROLE. One run takes one role of each kind. Its name and OID are kept in
-- agent_sync.role, and a run without the setting sees to the roles that are noted there.
--
-- Such a role is recognised by its OID and its name. A role with one of them alone must have a
-- privilege that only such roles have, DELETE on the outbox, or SELECT for a monitoring role: so a
-- role that was renamed is followed, and a dump that was restored into another cluster, where OIDs
-- differ, names its roles. Any other role of a noted name gets nothing and is forgotten, with a
-- NOTICE and in agent_sync.strangers.
--
-- Both roles can CONNECT to the database, and use the schema agent_sync and those of both tables.
--
-- The monitoring role can SELECT the keys of both tables, and the tables, the view and the sequence
-- uncaptured in the schema agent_sync, except agent_sync.granted, and of agent_sync.history the
-- columns id and at alone. It can write nothing.
--
-- The role of the daemon can SELECT the keys of both tables, the mapped columns of the agents and
-- xmin, and the compared columns of the configurations and their primary key. It can UPDATE the
-- columns that are written. The system columns ctid, tableoid and xmin of the configurations need a
-- grant as well. It can use the tables in the schema agent_sync, except agent_sync.granted, and
-- UPDATE listed columns of agent_sync.install alone. It can use the schemas of the types of the
-- written columns. It cannot read other columns, such as API keys. Earlier privileges of the role
-- stay.
--
-- Any other role loses its privileges in the schema, which it may have from ALTER DEFAULT
-- PRIVILEGES. A role that writes to the outbox can lose changes, and one that writes to
-- agent_sync.role gets the privileges of the daemon from the next install. The owners keep theirs:
-- of the schema, of the tables, of the capture functions. Each role keeps USAGE on the schema, and
-- SELECT on the view state and the table problem, which hold no secret and which docs/operating.md
-- shows to readers. The names of the roles that lose privileges are in a NOTICE and in
-- agent_sync.closed.
--
-- Each privilege that was granted is kept in agent_sync.granted, as data: the statements are built
-- here and in uninstall.sql, and no text of a table is run.
--
-- Row-level security stays as it is: docs/operating.md has the policies that the role needs where
-- it is enabled.

DO $grant$
DECLARE
    created_roles CONSTANT text[] := ARRAY[
        'agent-sync: the role of the daemon; made by "agent-sync install --role".',
        'agent-sync: a monitoring role; made by "agent-sync install --monitor".'];
    given    CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    chosen   CONSTANT text := nullif(pg_catalog.current_setting('agent_sync.role', true), '');
    monitor  CONSTANT text := nullif(pg_catalog.current_setting('agent_sync.monitor', true), '');
    named    CONSTANT text[] := pg_catalog.array_remove(ARRAY[chosen, monitor], NULL);
    agents   CONSTANT regclass := pg_catalog.current_setting('agent_sync.agents');
    configs  CONSTANT regclass := pg_catalog.current_setting('agent_sync.configurations');
    agent_key      text[];
    configured_key text[];
    read_agents    text[];
    read_configs   text[];
    write_configs  text[];
    -- Roles as set_config('role') takes them.
    acting   CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    owner    text; -- Of the schema.
    schema_owner_role text; -- The owner of the schema, or "acting" where it is the same role.
    known    jsonb; -- The noted roles, each with its former name; no name: another role has it.
    member   record;
    need     record;
    noted    jsonb; -- The rows of agent_sync.granted under the names that the roles have now.
    wanted   jsonb[]; -- The privileges that the role needs, as in agent_sync.granted; with the
                      -- object.
    held     boolean;
    others   CONSTANT oid[] := pg_catalog.current_setting('agent_sync.other_outboxes');
    elsewhere CONSTANT jsonb := pg_catalog.current_setting('agent_sync.needed_elsewhere');
    is_shared boolean; -- Whether the role serves another install as well.
    other    record;
    part     jsonb;
    noted_elsewhere jsonb := '[]'; -- The rows of agent_sync.granted of other installs.
    target   text; -- "PRIVILEGE (column) ON object".
    entitled oid[]; -- The roles that keep their privileges in the schema.
    readers  oid[]; -- The monitoring roles, which keep SELECT.
    closed   text[] := '{}'; -- The roles that lose privileges.
BEGIN
    -- attach.sql may have locked the two tables in this transaction.
    PERFORM pg_catalog.set_config('lock_timeout', '200ms', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);
    SELECT pg_get_userbyid(n.nspowner) INTO owner FROM pg_namespace n
        WHERE n.nspname = 'agent_sync';
    schema_owner_role := CASE WHEN owner = current_user THEN acting ELSE owner END;

    FOR member IN
        SELECT n.name, n.comment
        FROM unnest(ARRAY[chosen, monitor], created_roles) AS n (name, comment)
        WHERE n.name IS NOT NULL
    LOOP
        -- PostgreSQL would cut the name off, and grant to another role.
        IF octet_length(member.name) > 63 THEN
            RAISE EXCEPTION 'the name of the role has % bytes, and PostgreSQL keeps 63: %',
                octet_length(member.name), left(member.name, 100)
                USING ERRCODE = 'name_too_long',
                HINT = 'Give the role a shorter name.';
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = member.name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', member.name);
                -- Roles belong to the cluster: by this comment uninstall knows that it may drop the
                -- role.
                EXECUTE format('COMMENT ON ROLE %I IS %L', member.name, member.comment);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- An install in another database has just created it.
            END;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = member.name) THEN
            RAISE EXCEPTION 'the role % was created, and does not exist', member.name
                USING ERRCODE = 'undefined_object',
                HINT = 'Check whether an event trigger or an extension renames roles, and create '
                       'the role by hand: CREATE ROLE.';
        END IF;
    END LOOP;
    PERFORM set_config('role', schema_owner_role, true);
    -- sql/uninstall.sql and install::ROLES recognise a role alike. What is no role any more stays.
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'former', r.name,
               'name', CASE WHEN p.oid IS NOT NULL THEN p.rolname
                            WHEN NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname = r.name)
                            THEN r.name END,
               'oid', coalesce(p.oid, r.oid),
               'reads_only', r.reads_only)), '[]')
        INTO known
        FROM agent_sync.role r
        LEFT JOIN LATERAL (
            SELECT p.oid, p.rolname::text FROM pg_roles p
            WHERE (p.oid = r.oid OR p.rolname = r.name)
              AND (p.oid = r.oid AND p.rolname = r.name
                   OR has_table_privilege(p.oid, to_regclass('agent_sync.outbox'),
                                          CASE WHEN r.reads_only THEN 'SELECT' ELSE 'DELETE' END))
            ORDER BY p.oid = r.oid DESC NULLS LAST LIMIT 1) AS p ON true;
    IF EXISTS (SELECT FROM jsonb_to_recordset(known) AS k (former text, name text, oid oid)
               WHERE NOT EXISTS (SELECT FROM agent_sync.role r
                                 WHERE r.name = k.name AND r.oid IS NOT DISTINCT FROM k.oid))
    THEN
        -- Names may have been exchanged, so all rows are replaced.
        DELETE FROM agent_sync.role;
        INSERT INTO agent_sync.role (name, oid, reads_only)
            SELECT DISTINCT ON (k.name) k.name, k.oid, k.reads_only
            FROM jsonb_to_recordset(known)
                AS k (former text, name text, oid oid, reads_only boolean)
            WHERE k.name IS NOT NULL
            ORDER BY k.name, k.former = k.name;
        SELECT jsonb_agg(to_jsonb(g) || jsonb_build_object('role', k.name)) INTO noted
            FROM agent_sync.granted g
            JOIN jsonb_to_recordset(known) AS k (former text, name text, oid oid)
                ON k.former = g.role AND k.name IS NOT NULL;
        DELETE FROM agent_sync.granted;
        INSERT INTO agent_sync.granted (role, privilege, kind, schema, object, "column")
            SELECT g.role, g.privilege, g.kind, g.schema, g.object, g."column"
            FROM jsonb_populate_recordset(null::agent_sync.granted, noted) AS g
            ON CONFLICT DO NOTHING;
    END IF;
    PERFORM set_config('agent_sync.strangers', ARRAY(
        SELECT k.former FROM jsonb_to_recordset(known) AS k (former text, name text, oid oid)
        JOIN pg_roles p ON p.rolname = k.former
        WHERE k.former <> ALL (named)
          AND NOT EXISTS (SELECT FROM agent_sync.role r WHERE r.name = k.former)
        ORDER BY 1)::text, true);
    FOR member IN
        SELECT s.name FROM unnest(current_setting('agent_sync.strangers')::text[]) AS s (name)
    LOOP
        RAISE NOTICE 'agent-sync grants nothing to the role %: it is not the role of that name '
                     'that an earlier install has noted. If it is for the daemon, run "agent-sync '
                     'install --role %"', member.name, member.name;
    END LOOP;
    INSERT INTO agent_sync.role (name, oid, reads_only)
        SELECT p.rolname, p.oid, p.rolname IS NOT DISTINCT FROM monitor FROM pg_roles p
        WHERE p.rolname = ANY (named)
          AND NOT EXISTS (SELECT FROM agent_sync.role r
                          WHERE r.name = p.rolname AND r.oid IS NOT DISTINCT FROM p.oid
                            AND r.reads_only = (p.rolname IS NOT DISTINCT FROM monitor))
        ON CONFLICT (name) DO UPDATE SET oid = excluded.oid, reads_only = excluded.reads_only;
    -- Of those of the same owner alone, and with its rights: the data belongs to that role.
    FOR other IN
        SELECT n.nspname AS schema
        FROM pg_namespace own
        JOIN pg_class g ON g.relname = 'granted' AND g.relkind = 'r' AND g.relowner = own.nspowner
        JOIN pg_namespace n ON n.oid = g.relnamespace AND n.nspowner = own.nspowner
        JOIN pg_class o ON o.relnamespace = n.oid AND o.oid = ANY (others)
        WHERE own.nspname = 'agent_sync'
          AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(g.oid, 'SELECT')
    LOOP
        EXECUTE format('SELECT coalesce(jsonb_agg(to_jsonb(g)), ''[]'') FROM %I.granted g',
                       other.schema) INTO part;
        noted_elsewhere := noted_elsewhere || part;
    END LOOP;

    -- A grant of another role than the owner goes with that of this role (CASCADE).
    entitled := ARRAY(
        SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'agent_sync'
        UNION
        SELECT f.proowner FROM pg_proc f WHERE f.pronamespace = 'agent_sync'::regnamespace
        UNION
        SELECT c.relowner FROM pg_class c WHERE c.oid IN (agents, configs)
        UNION
        SELECT p.oid FROM pg_roles p
        JOIN agent_sync.role r ON r.name = p.rolname AND r.oid = p.oid AND NOT r.reads_only);
    readers := ARRAY(
        SELECT p.oid FROM pg_roles p
        JOIN agent_sync.role r ON r.name = p.rolname AND r.oid = p.oid AND r.reads_only);
    FOR need IN
        SELECT o.is_function, o.name, coalesce(p.rolname::text, 'PUBLIC') AS role,
               format('REVOKE %s ON %s FROM %s CASCADE',
                      string_agg(DISTINCT g.privilege_type, ', '), o.name,
                      coalesce(quote_ident(p.rolname), 'PUBLIC')) AS statement
        FROM (
            SELECT false AS is_function, format('SCHEMA %I', n.nspname) AS name,
                   n.nspowner AS owner, n.nspacl AS acl, ARRAY['USAGE'] AS kept
            FROM pg_namespace n WHERE n.nspname = 'agent_sync'
            UNION ALL
            SELECT false, format('%s agent_sync.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE'
                                                                    ELSE 'TABLE' END, c.relname),
                   c.relowner, l.acl,
                   CASE WHEN c.relname IN ('state', 'problem') THEN ARRAY['SELECT']
                        ELSE '{}' END
            FROM pg_class c
            CROSS JOIN LATERAL (
                SELECT c.relacl
                UNION ALL
                SELECT a.attacl FROM pg_attribute a
                WHERE a.attrelid = c.oid AND NOT a.attisdropped) AS l (acl)
            WHERE c.relnamespace = 'agent_sync'::regnamespace
              AND c.relname IN ('outbox', 'problem', 'install', 'history', 'role', 'granted',
                                'uncaptured', 'history_id_seq', 'state')
              AND c.relkind IN ('r', 'v', 'S')
            UNION ALL
            SELECT true, format('FUNCTION agent_sync.%I()', f.proname), f.proowner,
                   coalesce(f.proacl, acldefault('f', f.proowner)), '{}'
            FROM pg_proc f
            WHERE f.pronamespace = 'agent_sync'::regnamespace AND f.proargtypes = ''
              AND f.proname IN ('capture_agent', 'capture_configuration')) AS o
        CROSS JOIN LATERAL aclexplode(o.acl) AS g
        LEFT JOIN pg_roles p ON p.oid = g.grantee
        WHERE g.grantor = o.owner AND g.grantee <> o.owner AND g.grantee <> ALL (entitled)
          AND g.privilege_type <> ALL (o.kept)
          AND NOT (g.grantee = ANY (readers) AND g.privilege_type = 'SELECT')
        GROUP BY o.is_function, o.name, p.rolname
        ORDER BY o.name, p.rolname
    LOOP
        -- A capture function may belong to another owner, as whom the caller can act.
        PERFORM set_config('role', CASE WHEN need.is_function THEN acting
                                        ELSE schema_owner_role END, true);
        BEGIN
            EXECUTE need.statement;
            RAISE NOTICE 'agent-sync revokes the privileges of % on %', need.role, need.name;
            IF need.role <> ALL (closed) THEN
                closed := closed || need.role;
            END IF;
        EXCEPTION WHEN insufficient_privilege THEN
            RAISE NOTICE 'agent-sync leaves % a privilege that % cannot revoke: %', need.role,
                current_user, SQLERRM;
        END;
    END LOOP;
    PERFORM set_config('agent_sync.closed', closed::text, true);
    PERFORM set_config('role', acting, true);

    agent_key := ARRAY[given #>> '{agents,columns,slug}', given #>> '{agents,columns,tenant}'];
    configured_key := ARRAY[given #>> '{configurations,columns,agent_slug}',
                            given #>> '{configurations,columns,tenant}'];
    read_agents := ARRAY(SELECT c.value FROM jsonb_each_text(given #> '{agents,columns}') c)
        -- The version of the row, for the audit.
        || ARRAY['xmin'];
    -- PostgreSQL computes generated columns, so they are neither written nor compared.
    write_configs := ARRAY(
        SELECT c.value FROM jsonb_each_text(given #> '{configurations,columns}') c
        WHERE c.key NOT IN ('agent_slug', 'tenant', 'updated_at', 'last_updated')
          AND NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = configs AND a.attname = c.value
                            AND a.attgenerated <> ''));
    read_configs := write_configs || configured_key
        || ARRAY['ctid', 'tableoid', 'xmin']
        -- The primary key, for the history.
        || ARRAY(SELECT a.attname::text FROM pg_index i
                 JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = configs AND i.indisprimary);
    -- The clocks are written and not read, and only timestamps are.
    write_configs := write_configs
        || ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = configs AND NOT a.attisdropped AND a.attgenerated = ''
                   AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
                   AND a.attname IN (given #>> '{configurations,columns,updated_at}',
                                     given #>> '{configurations,columns,last_updated}'));

    FOR member IN
        SELECT p.rolname AS name, p.oid, r.reads_only FROM pg_roles p
        JOIN agent_sync.role r ON r.name = p.rolname AND r.oid = p.oid
        ORDER BY p.rolname
    LOOP
        PERFORM set_config('role', schema_owner_role, true);
        is_shared := EXISTS (SELECT FROM unnest(others) AS o (outbox)
                             WHERE has_table_privilege(member.oid, o.outbox, 'SELECT'));
        wanted := ARRAY(SELECT to_jsonb(n) FROM (
            SELECT 'CONNECT' AS privilege, 'database' AS kind, '' AS schema, '' AS object,
                   '' AS "column", d.oid AS oid, 0::int2 AS attnum
            FROM pg_database d WHERE d.datname = current_database()
            UNION ALL
            SELECT 'USAGE', 'schema', n.nspname, '', '', n.oid, 0
            FROM pg_namespace n
            WHERE n.nspname = 'agent_sync'
               OR n.oid IN (SELECT c.relnamespace FROM pg_class c WHERE c.oid IN (agents, configs))
               -- A value is cast to the type of its column, or the type under its domain, by name.
               OR NOT member.reads_only AND n.oid IN (
                  WITH RECURSIVE stored (type) AS (
                      SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = configs AND a.attname = ANY (write_configs)
                        AND NOT a.attisdropped
                      UNION
                      SELECT t.typbasetype FROM stored s
                      JOIN pg_type t ON t.oid = s.type AND t.typtype = 'd')
                  SELECT t.typnamespace FROM stored s
                  JOIN pg_type t ON t.oid = s.type AND t.typtype <> 'd'
                  WHERE t.typnamespace <> 'pg_catalog'::regnamespace)
            UNION ALL
            SELECT p.privilege, 'relation', n.nspname, c.relname, '', c.oid, 0
            FROM (VALUES ('outbox', ARRAY['SELECT', 'INSERT', 'DELETE']),
                         ('problem', ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']),
                         ('history', ARRAY['SELECT', 'INSERT', 'DELETE']),
                         ('install', ARRAY['SELECT']),
                         -- To tell the roles of daemons from others that may write.
                         ('role', ARRAY['SELECT']),
                         ('state', ARRAY['SELECT']),
                         ('uncaptured', ARRAY['SELECT'])) AS o (name, privileges)
            CROSS JOIN unnest(o.privileges) AS p (privilege)
            JOIN pg_class c ON c.relname = o.name
            JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'agent_sync'
            -- The values in the history are no matter of a monitor.
            WHERE NOT member.reads_only OR p.privilege = 'SELECT' AND o.name <> 'history'
            UNION ALL
            SELECT o.privilege, 'relation', n.nspname, c.relname, a.attname, c.oid, a.attnum
            FROM (VALUES (true, 'SELECT', agents, agent_key),
                         (true, 'SELECT', configs, configured_key),
                         (true, 'SELECT', 'agent_sync.history'::regclass, ARRAY['id', 'at']),
                         (false, 'SELECT', agents, read_agents),
                         (false, 'SELECT', configs, read_configs),
                         (false, 'UPDATE', configs, write_configs),
                         (false, 'UPDATE', 'agent_sync.install'::regclass,
                          ARRAY['uncaptured_seen', 'seal', 'last_sync', 'last_tried', 'tries',
                                'mapping', 'audit', 'paused_since', 'paused_until', 'paused_by',
                                'pause_reason', 'pause_releases']))
                 AS o (reads_only, privilege, relation, columns)
            JOIN pg_class c ON c.oid = o.relation
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = o.relation AND a.attname = ANY (o.columns)
            WHERE NOT a.attisdropped AND o.reads_only = member.reads_only
        ) AS n);

        -- An earlier grant that is not needed any more, because the settings name other tables or
        -- columns, or the role has become a monitoring role. It is revoked with the rights of the
        -- owner of the schema alone, because the data belongs to that role. And it is revoked
        -- before others are granted: the end of a privilege on a table ends it on each column.
        FOR need IN
            SELECT g.* FROM agent_sync.granted g
            WHERE g.role = member.name
              AND NOT EXISTS (
                  SELECT FROM unnest(wanted) AS w (need)
                  WHERE w.need @> to_jsonb(g) - 'role')
              AND NOT (is_shared AND elsewhere @> jsonb_build_array(
                  jsonb_build_array(g.kind, g.schema, g.object)))
        LOOP
            BEGIN
                EXECUTE format('REVOKE %s%s ON %s FROM %I', need.privilege,
                    CASE WHEN need."column" <> '' THEN format(' (%I)', need."column") ELSE '' END,
                    CASE need.kind WHEN 'database' THEN format('DATABASE %I', current_database())
                                   WHEN 'schema' THEN format('SCHEMA %I', need.schema)
                                   ELSE format('%I.%I', need.schema, need.object) END,
                    member.name);
            EXCEPTION
                WHEN undefined_table OR undefined_column OR invalid_schema_name
                    OR undefined_object THEN
                    NULL; -- The privilege has gone with its object.
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'agent-sync leaves the role % a privilege that % cannot revoke: %',
                        need.role, current_user, SQLERRM;
            END;
            DELETE FROM agent_sync.granted g
                WHERE (g.role, g.privilege, g.kind, g.schema, g.object, g."column")
                    = (need.role, need.privilege, need.kind, need.schema, need.object,
                       need."column");
        END LOOP;

        FOR need IN
            SELECT w.* FROM jsonb_to_recordset(to_jsonb(wanted))
                AS w (privilege text, kind text, schema text, object text, "column" text, oid oid,
                      attnum int2)
        LOOP
            target := format('%s%s ON %s', need.privilege,
                CASE WHEN need."column" <> '' THEN format(' (%I)', need."column") ELSE '' END,
                CASE need.kind WHEN 'database' THEN format('DATABASE %I', current_database())
                               WHEN 'schema' THEN format('SCHEMA %I', need.schema)
                               ELSE format('%I.%I', need.schema, need.object) END);
            -- A role that an install made has its privileges from installs, and another role those
            -- that an install has noted. The last one that is removed revokes those that they
            -- share.
            IF is_shared AND need.schema <> 'agent_sync'
                AND (coalesce(shobj_description(member.oid, 'pg_authid'), '') = ANY (created_roles)
                     OR noted_elsewhere @> jsonb_build_array(jsonb_build_object(
                         'role', member.name, 'privilege', need.privilege, 'kind', need.kind,
                         'schema', need.schema, 'object', need.object, 'column', need."column")))
                AND NOT EXISTS (
                    SELECT FROM agent_sync.granted g
                    WHERE (g.role, g.privilege, g.kind, g.schema, g.object, g."column")
                        = (member.name::text, need.privilege, need.kind, need.schema::text,
                           need.object::text, need."column"::text))
            THEN
                INSERT INTO agent_sync.granted (role, privilege, kind, schema, object, "column")
                    VALUES (member.name, need.privilege, need.kind, need.schema, need.object,
                            need."column");
            END IF;
            -- First the owner of the schema grants. For a role that this run names, the caller
            -- grants what that owner may not; for the other roles it does not.
            FOR attempt IN 1 .. 3 LOOP
                held := CASE
                    WHEN need.kind = 'database'
                        THEN has_database_privilege(member.oid, need.oid, need.privilege)
                    WHEN need.kind = 'schema'
                        THEN has_schema_privilege(member.oid, need.oid, need.privilege)
                    WHEN need.attnum = 0
                        THEN has_table_privilege(member.oid, need.oid, need.privilege)
                    ELSE has_column_privilege(member.oid, need.oid, need.attnum::int2,
                                              need.privilege)
                    END;
                EXIT WHEN held OR attempt = 3
                    OR attempt = 2 AND member.name <> ALL (named);
                PERFORM set_config('role', CASE attempt WHEN 1 THEN schema_owner_role
                                                        ELSE acting END, true);
                BEGIN
                    EXECUTE format('GRANT %s TO %I', target, member.name);
                EXCEPTION WHEN insufficient_privilege THEN
                    -- Some grants are only a warning, so the privilege is checked in any case.
                    NULL;
                END;
                PERFORM set_config('role', schema_owner_role, true);
                INSERT INTO agent_sync.granted (role, privilege, kind, schema, object, "column")
                    VALUES (member.name, need.privilege, need.kind, need.schema, need.object,
                            need."column")
                    ON CONFLICT DO NOTHING;
            END LOOP;
            IF NOT held THEN
                RAISE EXCEPTION 'the role % cannot get the privileges of %: expected that % may '
                                'grant %, and it may not',
                    member.name,
                    CASE WHEN member.reads_only THEN 'a monitoring role' ELSE 'the daemon' END,
                    CASE WHEN member.name = ANY (named) THEN current_user::text ELSE owner END,
                    target
                    USING ERRCODE = 'insufficient_privilege',
                    HINT = format('GRANT %s TO %I; as the owner of that object or a superuser. Or '
                                  'run "agent-sync install --%s %s" as one.',
                                  target, member.name,
                                  CASE WHEN member.reads_only THEN 'monitor' ELSE 'role' END,
                                  member.name);
            END IF;
        END LOOP;
    END LOOP;
    PERFORM set_config('role', acting, true);
END
$grant$;
