-- agent-sync: completes the names of the tables and columns. Run first, in the same transaction.
--
-- The setting agent_sync.tables is a JSON object with the names that differ from the usual ones:
--
--     SELECT set_config('agent_sync.tables', '{"agents": {"table": "voice_agents"}}', true);
--
-- The other files of the install read the completed object, and the two tables as qualified and
-- quoted names in agent_sync.agents and agent_sync.configurations.

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
END
$names$;
