-- agent-sync: what the role of the daemon may do, and nothing beyond (G4).
--
-- Run after attach.sql, in the same transaction; see 0001_schema.sql. It can be run again at any
-- time: it works out what is granted already, and where nothing is missing it executes no GRANT.
--
-- Set agent_sync.role first, to the name of the role:
--
--     SELECT set_config('agent_sync.role', 'agent_sync_daemon', true);
--
-- A role that does not exist is created, with LOGIN and without a password; give it one with
-- \password or ALTER ROLE. What was granted is noted in agent_sync.granted, as data: the statements
-- are made here and in uninstall.sql, and nothing of a table is run.
--
-- The role is noted in agent_sync.role, so without the setting this file looks after the roles
-- named before; with none it does nothing. More than one role can be named, one a run.
--
-- The role can then SELECT the columns of the agents that are mapped; SELECT the columns of the
-- configurations that are compared, and of their primary key; UPDATE those that are written; and
-- use the tables in the schema agent_sync. The places and versions of the rows (ctid, tableoid,
-- xmin) need a grant like columns do. It can use the schemas of all these, and of the types of the
-- columns that are written. Other columns, API keys among them, it cannot read. What the role could
-- do before is left alone.
--
-- Row-level security is not touched: see docs/operating.md for the policies that the role needs
-- where it is enabled.

DO $grant$
DECLARE
    made_by_us CONSTANT text := 'agent-sync: the role of the daemon; made by "agent-sync install --role".';
    given    CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    chosen   text := NULLIF(pg_catalog.current_setting('agent_sync.role', true), '');
    agents   CONSTANT regclass := pg_catalog.current_setting('agent_sync.agents');
    configs  CONSTANT regclass := pg_catalog.current_setting('agent_sync.configurations');
    read_agents    text[];
    read_configs   text[];
    write_configs  text[];
    member   record;
    need     record;
    acting   CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
    home     pg_catalog.pg_namespace;
    keeper   text; -- The role that owns the schema, as set_config('role') takes it; or what acting is, where it is the same.
    wanted   jsonb[];
    held     boolean;
    statement text;
BEGIN
    -- attach.sql may have locked the two tables in this transaction.
    PERFORM pg_catalog.set_config('lock_timeout', '200ms', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);
    SELECT n.* INTO home FROM pg_namespace n WHERE n.nspname = 'agent_sync';
    keeper := CASE WHEN pg_get_userbyid(home.nspowner) = current_user THEN acting
      ELSE pg_get_userbyid(home.nspowner)::text END;

    IF chosen IS NOT NULL THEN
        -- PostgreSQL would cut the name off, and grant to nobody.
        IF octet_length(chosen) > 63 THEN
            RAISE EXCEPTION 'the name of the role has % bytes, and PostgreSQL keeps 63: %',
              octet_length(chosen), left(chosen, 100)
                USING ERRCODE = 'name_too_long', HINT =
                  'Give the role of the daemon a shorter name.';
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = chosen) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', chosen);
                -- Roles belong to the whole cluster: uninstall knows by this comment that it may
                -- drop the role.
                EXECUTE format('COMMENT ON ROLE %I IS %L', chosen, made_by_us);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- An install in another database has just made it.
            END;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = chosen) THEN
            RAISE EXCEPTION 'the role % was to be made, and is not there', chosen
              USING ERRCODE = 'undefined_object',
                HINT =
                  'See whether an event trigger or an extension renames roles, and make the role by hand: CREATE ROLE.';
        END IF;
    END IF;
    PERFORM set_config('role', keeper, true);
    IF chosen IS NOT NULL THEN
        INSERT INTO agent_sync.role (name)
            SELECT chosen WHERE NOT EXISTS (SELECT FROM agent_sync.role r WHERE r.name = chosen);
    END IF;

    PERFORM set_config('role', acting, true);
    read_agents := ARRAY(SELECT c.value FROM jsonb_each_text(given #> '{agents,columns}') c);
    write_configs := ARRAY(SELECT c.value FROM jsonb_each_text(given #> '{configurations,columns}') c
                           WHERE c.key NOT IN ('agent_slug', 'updated_at', 'last_updated'));
    -- What PostgreSQL computes itself is not written, and so not compared.
    write_configs := ARRAY(
        SELECT w.name FROM unnest(write_configs) AS w (name)
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = configs
          AND a.attname = w.name AND a.attgenerated <> ''));
    read_configs := write_configs || (given #>> '{configurations,columns,agent_slug}')
        || ARRAY['ctid', 'tableoid', 'xmin'];
    -- The primary key, for the history.
    SELECT read_configs || COALESCE(array_agg(a.attname::text), '{}') INTO read_configs
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = configs AND i.indisprimary;
    -- The clocks are written and not read; only timestamps are.
    SELECT write_configs || array_agg(a.attname::text) INTO write_configs
        FROM pg_attribute a
        WHERE a.attrelid = configs AND NOT a.attisdropped AND a.attgenerated = ''
          AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype)
          AND a.attname IN (given #>> '{configurations,columns,updated_at}',
                            given #>> '{configurations,columns,last_updated}');

    -- What the owner of the schema may grant, it grants. For the role that was named here and now,
    -- whoever runs this stands in where that one may not; for roles that are only noted, nobody
    -- does.
    FOR member IN
        SELECT p.rolname AS name, p.oid FROM pg_roles p
        WHERE p.oid = ANY (ARRAY(SELECT q.oid FROM agent_sync.role r JOIN pg_roles q
          ON q.rolname = r.name))
        ORDER BY p.rolname
    LOOP
        PERFORM set_config('role', keeper, true);
        wanted := '{}';
        FOR need IN
            SELECT 'CONNECT' AS privilege, 'database' AS kind, '' AS schema, '' AS object, '' AS
              col, d.oid AS place, 0::int2 AS number
            FROM pg_database d WHERE d.datname = current_database()
            UNION ALL
            SELECT 'USAGE', 'schema', n.nspname, '', '', n.oid, 0
            FROM pg_namespace n
            WHERE n.nspname = 'agent_sync' OR n.oid IN (SELECT c.relnamespace FROM pg_class c
              WHERE c.oid IN (agents, configs))
               -- A value is cast to the type of its column, or the type under its domain, by name.
               OR n.oid IN (
                  WITH RECURSIVE stored (type) AS (
                      SELECT a.atttypid FROM pg_attribute a
                      WHERE a.attrelid = configs AND a.attname = ANY (write_configs)
                        AND NOT a.attisdropped
                      UNION
                      SELECT t.typbasetype FROM stored s JOIN pg_type t ON t.oid = s.type
                        AND t.typtype = 'd')
                  SELECT t.typnamespace FROM stored s JOIN pg_type t ON t.oid = s.type
                    AND t.typtype <> 'd'
                  WHERE t.typnamespace <> 'pg_catalog'::regnamespace)
            UNION ALL
            SELECT o.privilege, 'relation', n.nspname, c.relname, '', c.oid, 0
            FROM (VALUES ('outbox', 'SELECT'), ('outbox', 'INSERT'), ('outbox', 'DELETE'),
                         ('problem', 'SELECT'), ('problem', 'INSERT'), ('problem', 'UPDATE'),
                           ('problem', 'DELETE'),
                         ('history', 'SELECT'), ('history', 'INSERT'), ('history', 'DELETE'),
                         ('install', 'SELECT'), ('state', 'SELECT'), ('uncaptured', 'SELECT')) AS o
                           (name, privilege)
            JOIN pg_class c ON c.relname = o.name JOIN pg_namespace n ON n.oid = c.relnamespace
              AND n.nspname = 'agent_sync'
            UNION ALL
            SELECT o.privilege, 'relation', n.nspname, c.relname, a.attname, c.oid, a.attnum
            FROM (VALUES ('SELECT', agents, read_agents),
                         ('SELECT', configs, read_configs),
                         ('UPDATE', configs, write_configs),
                         ('UPDATE', 'agent_sync.install'::regclass, ARRAY['uncaptured_seen', 'seal',
                           'last_sync', 'last_tried', 'tries', 'mapping'])) AS o (privilege,
                           relation, columns)
            JOIN pg_class c ON c.oid = o.relation JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_attribute a ON a.attrelid = o.relation AND a.attname = ANY (o.columns)
            WHERE NOT a.attisdropped
        LOOP
            wanted := wanted || jsonb_build_object('privilege', need.privilege, 'kind', need.kind,
              'schema', need.schema,
                                                   'object', need.object, 'column', need.col);
            FOR attempt IN 1 .. 3 LOOP
                held := CASE need.kind
                    WHEN 'database' THEN has_database_privilege(member.oid, need.place,
                      need.privilege)
                    WHEN 'schema' THEN has_schema_privilege(member.oid, need.place, need.privilege)
                    ELSE CASE WHEN need.number = 0
                      THEN has_table_privilege(member.oid, need.place, need.privilege)
                              ELSE has_column_privilege(member.oid, need.place, need.number::int2,
                                need.privilege) END END;
                EXIT WHEN held OR attempt = 3 OR attempt = 2 AND member.name IS DISTINCT
                  FROM chosen;
                statement := format('%s%s ON %s', need.privilege, CASE WHEN need.col = '' THEN ''
                  ELSE format(' (%I)', need.col) END,
                    CASE need.kind WHEN 'database' THEN format('DATABASE %I', current_database())
                                   WHEN 'schema' THEN format('SCHEMA %I', need.schema)
                                   ELSE format('%I.%I', need.schema, need.object) END);
                PERFORM set_config('role', CASE attempt WHEN 1 THEN keeper ELSE acting END, true);
                BEGIN
                    EXECUTE format('GRANT %s TO %I', statement, member.name);
                EXCEPTION WHEN insufficient_privilege THEN
                    NULL; -- Of some grants PostgreSQL only warns. What is held is looked at in any case.
                END;
                PERFORM set_config('role', keeper, true);
                INSERT INTO agent_sync.granted (role, privilege, kind, schema, object, "column")
                    VALUES (member.name, need.privilege, need.kind, need.schema, need.object,
                      need.col)
                    ON CONFLICT DO NOTHING;
            END LOOP;
            IF NOT held THEN
                RAISE EXCEPTION
                  'the role % cannot be given what the daemon needs: expected that % may grant %, and it may not', member.name,
                    CASE WHEN member.name = chosen THEN current_user::text
                      ELSE pg_get_userbyid(home.nspowner)::text END, statement
                    USING ERRCODE = 'insufficient_privilege',
                    HINT = format('GRANT %s TO %I; as the owner of that object or a superuser. Or run "agent-sync install --role %s" as one.',
                                  statement, member.name, member.name);
            END IF;
        END LOOP;

        -- What was granted once and is not needed any more: the settings name other tables or
        -- columns. It is data of the owner of the schema, and so is taken away with the rights of
        -- that role alone.
        FOR need IN
            SELECT g.* FROM agent_sync.granted g
            WHERE g.role = member.name
              AND NOT jsonb_build_object('privilege', g.privilege, 'kind', g.kind, 'schema',
                g.schema, 'object', g.object,
                                         'column', g."column") = ANY (wanted)
        LOOP
            BEGIN
                EXECUTE format('REVOKE %s%s ON %s FROM %I', need.privilege,
                    CASE WHEN need."column" = '' THEN '' ELSE format(' (%I)', need."column") END,
                    CASE need.kind WHEN 'database' THEN format('DATABASE %I', current_database())
                                   WHEN 'schema' THEN format('SCHEMA %I', need.schema)
                                   ELSE format('%I.%I', need.schema, need.object) END, member.name);
            EXCEPTION
                WHEN undefined_table OR undefined_column OR invalid_schema_name OR undefined_object
                  THEN
                    NULL; -- It went with its object.
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'agent-sync leaves the role % a privilege that % cannot revoke: %',
                      need.role, current_user, SQLERRM;
            END;
            DELETE FROM agent_sync.granted g
                WHERE (g.role, g.privilege, g.kind, g.schema, g.object, g."column")
                    = (need.role, need.privilege, need.kind, need.schema, need.object,
                      need."column");
        END LOOP;
    END LOOP;
    PERFORM set_config('role', acting, true);
END
$grant$;
