-- agent-sync: what the role of the daemon may do, and nothing beyond (G4).
--
-- Run after attach.sql, in the same transaction; see 0001_schema.sql. It can be run again at any time: it works out
-- what is granted already, and where nothing is missing it executes no GRANT.
--
-- Set agent_sync.role first, to the name of the role; agent_sync.tables is that of attach.sql:
--
--     SELECT set_config('agent_sync.role', 'agent_sync_daemon', true);
--
-- A role that does not exist is created, with LOGIN and without a password; give it one with \password or ALTER ROLE.
-- The role is noted in agent_sync.role, so without the setting this file looks after the roles named before; with none
-- it does nothing. More than one role can be named, one a run.
--
-- The role can then SELECT the columns of the agents that are mapped; SELECT the columns of the configurations that
-- are compared, and of their primary key; UPDATE those that are written; and use the tables in the schema agent_sync. The
-- places and versions of the rows (ctid, tableoid, xmin) need a grant like columns do. Other columns, API keys among them, it
-- cannot read.
-- What the role could do before is left alone.
--
-- Row-level security is not touched: see docs/operating.md for the policies that the role needs where it is enabled.

DO $grant$
DECLARE
    made_by_us CONSTANT text := 'agent-sync: the role of the daemon; made by "agent-sync install --role".';
    given    jsonb;
    chosen   text := NULLIF(pg_catalog.current_setting('agent_sync.role', true), '');
    agents   regclass;
    configs  regclass;
    read_agents    text[];
    read_configs   text[];
    write_configs  text[];
    member   record;
    need     record;
    kept     text[];
    wanted   text[];
    item     text;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

    IF chosen IS NOT NULL THEN
        -- PostgreSQL would cut the name off, and grant to nobody.
        IF octet_length(chosen) > 63 THEN
            RAISE EXCEPTION 'the name of the role has % bytes, and PostgreSQL keeps 63: %', octet_length(chosen), left(chosen, 100)
                USING ERRCODE = 'name_too_long', HINT = 'Give the role of the daemon a shorter name.';
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = chosen) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I LOGIN', chosen);
                -- Roles belong to the whole cluster: uninstall knows by this comment that it may drop the role.
                EXECUTE format('COMMENT ON ROLE %I IS %L', chosen, made_by_us);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- An install in another database has just made it.
            END;
        END IF;
        IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = chosen) THEN
            RAISE EXCEPTION 'the role % was to be made, and is not there', chosen USING ERRCODE = 'undefined_object',
                HINT = 'See whether an event trigger or an extension renames roles, and make the role by hand: CREATE ROLE.';
        END IF;
        INSERT INTO agent_sync.role (name)
            SELECT chosen WHERE NOT EXISTS (SELECT FROM agent_sync.role r WHERE r.name = chosen);
    END IF;

    SELECT COALESCE(NULLIF(current_setting('agent_sync.tables', true), ''), i.tables::text)::jsonb
        INTO given FROM agent_sync.install i;
    agents := to_regclass(format('%I.%I', COALESCE(given #>> '{agents,schema}', 'public'),
                                          COALESCE(given #>> '{agents,table}', 'agents')));
    configs := to_regclass(format('%I.%I', COALESCE(given #>> '{configurations,schema}', 'public'),
                                           COALESCE(given #>> '{configurations,table}', 'agent_configurations')));
    SELECT array_agg(COALESCE(given #>> ARRAY['agents', 'columns', name], name)) INTO read_agents
        FROM unnest(ARRAY['slug', 'name', 'system_prompt', 'agent_image', 'voice_settings']) AS name;
    SELECT array_agg(COALESCE(given #>> ARRAY['configurations', 'columns', name], name)) INTO write_configs
        FROM unnest(ARRAY['agent_name', 'system_prompt', 'agent_image', 'voice_id', 'temperature', 'provider_config',
                          'voice_settings']) AS name;
    -- What PostgreSQL computes itself is not written, and so not compared.
    write_configs := ARRAY(
        SELECT w.name FROM unnest(write_configs) AS w (name)
        WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = configs AND a.attname = w.name AND a.attgenerated <> ''));
    read_configs := write_configs || COALESCE(given #>> '{configurations,columns,agent_slug}', 'agent_slug')
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
          AND a.attname IN (COALESCE(given #>> '{configurations,columns,updated_at}', 'updated_at'),
                            COALESCE(given #>> '{configurations,columns,last_updated}', 'last_updated'));

    FOR member IN
        SELECT r.name, r.granted, p.oid FROM agent_sync.role r JOIN pg_roles p ON p.rolname = r.name
    LOOP
        kept := member.granted;
        wanted := '{}';
        FOR need IN
            SELECT format('CONNECT ON DATABASE %I', current_database()) AS privilege,
                   has_database_privilege(member.oid, current_database(), 'CONNECT') AS held
            UNION ALL
            SELECT format('USAGE ON SCHEMA %I', n.nspname), has_schema_privilege(member.oid, n.oid, 'USAGE')
            FROM pg_namespace n
            WHERE n.nspname = 'agent_sync' OR n.oid IN (SELECT c.relnamespace FROM pg_class c WHERE c.oid IN (agents, configs))
            UNION ALL
            SELECT format('%s ON agent_sync.%I', o.privilege, o.name),
                   has_table_privilege(member.oid, format('agent_sync.%I', o.name), o.privilege)
            FROM (VALUES ('outbox', 'SELECT'), ('outbox', 'INSERT'), ('outbox', 'DELETE'),
                         ('problem', 'SELECT'), ('problem', 'INSERT'), ('problem', 'UPDATE'), ('problem', 'DELETE'),
                         ('history', 'SELECT'), ('history', 'INSERT'), ('history', 'DELETE'),
                         ('install', 'SELECT'), ('state', 'SELECT'), ('uncaptured', 'SELECT')) AS o (name, privilege)
            UNION ALL
            SELECT format('%s (%I) ON %s', o.privilege, a.attname, a.attrelid::regclass),
                   has_column_privilege(member.oid, a.attrelid, a.attnum, o.privilege)
            FROM (VALUES ('SELECT', agents, read_agents),
                         ('SELECT', configs, read_configs),
                         ('UPDATE', configs, write_configs),
                         ('UPDATE', 'agent_sync.install'::regclass, ARRAY['uncaptured_seen', 'seal', 'last_sync', 'last_tried', 'tries', 'mapping'])) AS o (privilege, relation, columns)
            JOIN pg_attribute a ON a.attrelid = o.relation AND a.attname = ANY (o.columns)
            WHERE NOT a.attisdropped
        LOOP
            wanted := wanted || need.privilege;
            IF NOT need.held THEN
                EXECUTE format('GRANT %s TO %I', need.privilege, member.name);
                IF NOT need.privilege = ANY (kept) THEN
                    kept := kept || need.privilege;
                END IF;
            END IF;
        END LOOP;

        -- What was granted once and is not needed any more: the settings name other tables or columns.
        FOREACH item IN ARRAY kept LOOP
            IF NOT item = ANY (wanted) THEN
                BEGIN
                    EXECUTE format('REVOKE %s FROM %I', item, member.name);
                EXCEPTION WHEN undefined_table OR undefined_column OR invalid_schema_name OR undefined_object THEN
                    NULL; -- It went with its object.
                END;
                kept := array_remove(kept, item);
            END IF;
        END LOOP;
        UPDATE agent_sync.role r SET granted = kept WHERE r.name = member.name AND r.granted <> kept;
    END LOOP;
END
$grant$;
