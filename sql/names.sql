-- agent-sync: completes the names of the tables and columns, and the three flags of the capture and
-- the history. Run after prefix.sql and before all other files, in the same transaction.
--
-- The setting agent_sync.tables is a JSON object with the names and flags that differ from the
-- usual ones:
--
--     SELECT set_config('agent_sync.tables', '{"agents": {"table": "voice_agents"}}', true);
--
-- The other files of the install read the completed object, and the two tables as qualified and
-- quoted names in agent_sync.agents and agent_sync.configurations. For the privileges that several
-- installs in one database share (T6), grant.sql and uninstall.sql read agent_sync.other_outboxes,
-- the outboxes of the other installs, and agent_sync.needed_elsewhere, the objects that these use.

-- Before any name of a type or a function is looked up, here and in the files that follow.
SET LOCAL search_path = pg_catalog, pg_temp;
-- Otherwise format('%I') quotes every name, and the definitions would differ from those of before.
SET LOCAL quote_all_identifiers = off;

DO $names$
DECLARE
    tables jsonb := '{
        "agents": {
            "schema": "public",
            "table": "agents",
            "columns": {
                "slug": "slug",
                "name": "name",
                "system_prompt": "system_prompt",
                "agent_image": "agent_image",
                "voice_settings": "voice_settings"
            }
        },
        "configurations": {
            "schema": "public",
            "table": "agent_configurations",
            "columns": {
                "agent_slug": "agent_slug",
                "agent_name": "agent_name",
                "system_prompt": "system_prompt",
                "agent_image": "agent_image",
                "voice_id": "voice_id",
                "temperature": "temperature",
                "provider_config": "provider_config",
                "voice_settings": "voice_settings",
                "updated_at": "updated_at",
                "last_updated": "last_updated"
            }
        },
        "capture_configurations": true,
        "notify": true,
        "history": false
    }';
    given  CONSTANT jsonb := jsonb_strip_nulls(
        coalesce(nullif(current_setting('agent_sync.tables', true), ''), '{}')::jsonb);
    name   text;
    trusted oid[]; -- The roles whose schemas may be other installs, as guard.sql has them.
    needed jsonb; -- The objects that other installs use: kind, schema, name.
BEGIN
    FOREACH name IN ARRAY ARRAY['agents', 'configurations'] LOOP
        tables := jsonb_set(tables, ARRAY[name], tables -> name
            || coalesce(given -> name, '{}') - 'columns'
            || jsonb_build_object('columns', tables #> ARRAY[name, 'columns']
                || coalesce(given #> ARRAY[name, 'columns'], '{}')));
        PERFORM set_config('agent_sync.' || name,
            format('%I.%I', tables #>> ARRAY[name, 'schema'], tables #>> ARRAY[name, 'table']),
            true);
    END LOOP;
    tables := tables || (given - 'agents' - 'configurations');
    IF NOT (jsonb_typeof(tables -> 'capture_configurations') = 'boolean'
            AND jsonb_typeof(tables -> 'notify') = 'boolean'
            AND jsonb_typeof(tables -> 'history') = 'boolean')
    THEN
        RAISE EXCEPTION 'agent_sync.tables: expected true or false for capture_configurations, '
                        'notify and history, found %', given
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Correct the object that set_config gave to agent_sync.tables.';
    END IF;
    PERFORM set_config('agent_sync.tables', tables::text, true);

    trusted := ARRAY(
        SELECT r.oid FROM pg_roles r
        WHERE r.rolsuper
           OR r.oid = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'agent_sync')
           -- Not to_regclass(), which needs USAGE on the schema.
           OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE (n.nspname, c.relname) IN (
                              (tables #>> '{agents,schema}', tables #>> '{agents,table}'),
                              (tables #>> '{configurations,schema}',
                               tables #>> '{configurations,table}'))
                        AND pg_has_role(r.oid, c.relowner, 'MEMBER')));
    PERFORM set_config('agent_sync.other_outboxes', ARRAY(
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = 'outbox' AND c.relkind = 'r' AND n.nspname <> 'agent_sync'
          AND n.nspname !~ '^pg_' AND n.nspowner = ANY (trusted) AND c.relowner = ANY (trusted)
          AND starts_with(obj_description(n.oid, 'pg_namespace'), 'agent-sync: '))::text, true);
    WITH RECURSIVE served AS (
        SELECT c.oid, n.nspname AS schema, c.relname AS name
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.oid IN (
                SELECT t.tgrelid FROM pg_trigger t
                JOIN pg_proc f ON f.oid = t.tgfoid
                JOIN pg_namespace h ON h.oid = f.pronamespace
                WHERE f.proname IN ('capture_agent', 'capture_configuration')
                  AND h.nspname <> 'agent_sync' AND h.nspname !~ '^pg_'
                  AND h.nspowner = ANY (trusted))
           -- Without capture.configurations, an install has no trigger on the configurations.
           OR EXISTS (SELECT FROM pg_class i
                      JOIN pg_namespace h ON h.oid = i.relnamespace
                      JOIN pg_attribute a ON a.attrelid = i.oid AND a.attname = 'tables'
                      CROSS JOIN LATERAL format(' and %I.%I.', n.nspname, c.relname) AS ending
                      WHERE i.relname = 'install' AND i.relkind = 'r' AND h.nspname <> 'agent_sync'
                        AND h.nspname !~ '^pg_' AND h.nspowner = ANY (trusted)
                        AND i.relowner = ANY (trusted)
                        AND right(col_description(i.oid, a.attnum), length(ending)) = ending)
    ), used (type) AS (
        SELECT a.atttypid FROM served s
        JOIN pg_attribute a ON a.attrelid = s.oid AND NOT a.attisdropped
        UNION
        SELECT y.typbasetype FROM used u JOIN pg_type y ON y.oid = u.type AND y.typtype = 'd'
    ), needed (object) AS (
        SELECT jsonb_build_array('database', '', '')
        UNION SELECT jsonb_build_array('relation', s.schema, s.name) FROM served s
        UNION SELECT jsonb_build_array('schema', s.schema, '') FROM served s
        UNION SELECT jsonb_build_array('schema', n.nspname, '')
              FROM used u
              JOIN pg_type y ON y.oid = u.type
              JOIN pg_namespace n ON n.oid = y.typnamespace
    )
    SELECT coalesce(jsonb_agg(n.object), '[]') INTO needed FROM needed n;
    PERFORM set_config('agent_sync.needed_elsewhere', needed::text, true);
END
$names$;
