-- An independent mapping (M1 to M7), written from the contract and not from the program, and its
-- consequences for every row: storm.discrepancies() is empty if and only if every row is correct.

-- The keys of a section that a rule writes.
CREATE FUNCTION storm.owned(section text) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE section
        WHEN 'llm' THEN ARRAY['provider', 'model', 'temperature']
        WHEN 'stt' THEN ARRAY['provider', 'model']
        WHEN 'tts' THEN ARRAY['provider', 'voice', 'voice_id', 'model', 'stability', 'similarity_boost', 'output_format',
                              'speechify_voice_id', 'speechify_model', 'speechify_loudness_normalization',
                              'speechify_text_normalization'] END
$$;

-- The object in a column after all decoding (T4); JSON null for an unset value; an error for
-- anything else.
CREATE FUNCTION storm.decoded(value jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    FOR layer IN 0..3 LOOP
        IF value IS NULL OR value = 'null' THEN RETURN 'null'; END IF;
        IF jsonb_typeof(value) <> 'string' THEN RETURN value; END IF;
        IF value #>> '{}' ~ '^\s*$' THEN RETURN 'null'; END IF;
        BEGIN
            value := (value #>> '{}')::jsonb;
        EXCEPTION WHEN invalid_text_representation THEN RETURN value;
        END;
    END LOOP;
    RETURN '"too often"';
END $$;

-- The foreign parts of a provider_config.
CREATE FUNCTION storm.rest(config jsonb) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    object jsonb := storm.decoded(config);
    name text;
BEGIN
    IF object = 'null' THEN RETURN '{}'; END IF;
    IF jsonb_typeof(object) <> 'object' THEN RETURN object; END IF;
    FOREACH name IN ARRAY ARRAY['llm', 'tts', 'stt'] LOOP
        IF jsonb_typeof(object -> name) = 'object' THEN
            object := object || jsonb_build_object(name, (object -> name) - storm.owned(name));
            IF object -> name = '{}' THEN object := object - name; END IF;
        END IF;
    END LOOP;
    RETURN object;
END $$;

-- A setting in its type, null if unset or invalid. Mistakes are added to the list (M4, M6).
CREATE FUNCTION storm.setting(settings jsonb, name text, INOUT mistakes text[], OUT value jsonb) LANGUAGE plpgsql STABLE AS $$
DECLARE
    most numeric;
    word text := settings ->> name;
BEGIN
    value := settings -> name;
    IF value IS NULL OR value IN ('null', '""') THEN value := NULL; RETURN; END IF;
    IF name IN ('temperature', 'stability', 'similarity_boost') THEN
        most := CASE name WHEN 'temperature' THEN 2 WHEN 'stability' THEN (SELECT most_stability FROM storm.rules) ELSE 1 END;
        value := CASE WHEN jsonb_typeof(value) IN ('number', 'string')
                           AND word ~ '^\s*-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?\s*$' THEN btrim(word)::jsonb END;
        IF value IS NULL OR NOT value::numeric BETWEEN 0 AND most THEN value := NULL; END IF;
    ELSIF name IN ('loudness_normalization', 'text_normalization') THEN
        value := CASE WHEN jsonb_typeof(value) IN ('boolean', 'string') AND btrim(word) IN ('true', 'false')
                 THEN btrim(word)::jsonb END;
    ELSIF jsonb_typeof(value) <> 'string' THEN
        value := NULL;
    END IF;
    IF value IS NULL THEN mistakes := mistakes || ('voice_settings.' || name); END IF;
END $$;

-- The expected configuration for an agent and the present one, or the paths of all mistakes (M7).
CREATE FUNCTION storm.expected(agent agents, now agent_configurations, OUT wanted agent_configurations, OUT mistakes text[])
LANGUAGE plpgsql STABLE AS $$
DECLARE
    settings jsonb := storm.decoded(agent.voice_settings);
    config jsonb := storm.decoded(now.provider_config);
    rules storm.rules;
    section text;
    source text;
    provider jsonb;
    value jsonb;
    fields text[];
    part jsonb;
    changed boolean := false;
BEGIN
    SELECT * INTO rules FROM storm.rules;
    wanted := now;
    mistakes := '{}';
    IF agent.name <> '' THEN wanted.agent_name := agent.name; END IF;
    IF agent.system_prompt IS NOT NULL THEN wanted.system_prompt := agent.system_prompt; END IF;
    IF agent.agent_image IS NOT NULL THEN wanted.agent_image := agent.agent_image; END IF;
    IF jsonb_typeof(config) NOT IN ('object', 'null') THEN
        mistakes := mistakes || 'provider_config'::text;
    END IF;
    IF jsonb_typeof(config) <> 'object' THEN config := '{}'; END IF;
    IF settings = 'null' THEN RETURN; END IF;
    IF jsonb_typeof(settings) <> 'object' THEN
        mistakes := mistakes || 'voice_settings'::text;
        RETURN;
    END IF;

    SELECT s.mistakes, s.value INTO mistakes, value FROM storm.setting(settings, 'voice_id', mistakes) s;
    IF value IS NOT NULL THEN wanted.voice_id := value #>> '{}'; END IF;
    SELECT s.mistakes, s.value INTO mistakes, value FROM storm.setting(settings, 'temperature', mistakes) s;
    IF value IS NOT NULL THEN wanted.temperature := value::float8; END IF;
    IF settings <> '{}' AND storm.decoded(now.voice_settings) <> settings THEN wanted.voice_settings := settings; END IF;

    FOREACH section IN ARRAY ARRAY['llm', 'tts', 'stt'] LOOP
        source := CASE section WHEN 'llm' THEN 'llm_provider' WHEN 'stt' THEN 'stt_provider'
            ELSE CASE WHEN coalesce(settings -> 'provider', 'null') IN ('null', '""') THEN 'tts_provider' ELSE 'provider' END END;
        SELECT s.mistakes, s.value INTO mistakes, provider FROM storm.setting(settings, source, mistakes) s;
        CONTINUE WHEN provider IS NULL;
        -- Field, setting, default.
        fields := CASE section
            WHEN 'llm' THEN ARRAY[['model', 'llm_model', ''], ['temperature', 'temperature', '']]
            WHEN 'stt' THEN ARRAY[['model', 'stt_model', CASE provider #>> '{}'
                WHEN 'deepgram' THEN rules.deepgram WHEN 'groq' THEN rules.groq ELSE '' END]]
            ELSE CASE provider #>> '{}'
                WHEN 'openai' THEN ARRAY[['voice', 'voice_id', ''], ['model', 'model', '']]
                WHEN 'elevenlabs' THEN ARRAY[['voice_id', 'voice_id', ''], ['model', 'model', ''],
                    ['stability', 'stability', ''], ['similarity_boost', 'similarity_boost', '']]
                WHEN 'cartesia' THEN ARRAY[['voice_id', 'voice_id', ''], ['model', 'model', ''],
                    ['output_format', 'output_format', '']]
                WHEN 'speechify' THEN ARRAY[['speechify_voice_id', 'voice_id', ''], ['speechify_model', 'model', ''],
                    ['speechify_loudness_normalization', 'loudness_normalization', ''],
                    ['speechify_text_normalization', 'text_normalization', '']]
                WHEN 'livekit' THEN '{}' WHEN 'deepgram' THEN '{}'
                ELSE ARRAY[['voice_id', 'voice_id', ''], ['model', 'model', '']] END END;
        part := CASE WHEN coalesce(config -> section, 'null') IN ('null', '""') THEN '{}' ELSE config -> section END;
        IF jsonb_typeof(part) = 'object' AND part -> 'provider' IS DISTINCT FROM provider THEN
            part := part - storm.owned(section);
        END IF;
        FOR place IN 1..coalesce(array_length(fields, 1), 0) LOOP
            SELECT s.mistakes, s.value INTO mistakes, value FROM storm.setting(settings, fields[place][2], mistakes) s;
            IF value IS NULL AND fields[place][3] <> '' THEN value := to_jsonb(fields[place][3]); END IF;
            IF value IS NOT NULL AND jsonb_typeof(part) = 'object' THEN
                part := part || jsonb_build_object(fields[place][1], value);
            END IF;
        END LOOP;
        IF jsonb_typeof(part) <> 'object' THEN
            mistakes := mistakes || ('provider_config.' || section);
            CONTINUE;
        END IF;
        part := part || jsonb_build_object('provider', provider);
        IF config -> section IS DISTINCT FROM part THEN
            config := config || jsonb_build_object(section, part);
            changed := true;
        END IF;
    END LOOP;
    IF changed THEN wanted.provider_config := config; END IF;
END $$;

-- The fields of another provider under this one (M4). Writers put the provider in front of every
-- text and its number into the first digit of the temperature.
CREATE FUNCTION storm.leftovers(config jsonb) RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('%s.%s is %s under %s', s.name, f.key, f.value, s.provider)
    FROM (SELECT n.name, d.object -> n.name AS part, d.object -> n.name ->> 'provider' AS provider
          FROM (SELECT storm.decoded(config) AS object) d, unnest(ARRAY['llm', 'tts', 'stt']) AS n (name)
          WHERE jsonb_typeof(d.object) = 'object' AND jsonb_typeof(d.object -> n.name) = 'object') s,
         jsonb_each(s.part) f
    WHERE f.key = ANY (storm.owned(s.name)) AND f.key <> 'provider'
      AND CASE jsonb_typeof(f.value)
          WHEN 'string' THEN f.value #>> '{}' NOT LIKE s.provider || '-%'
              AND NOT (s.name = 'stt' AND (s.provider, f.value #>> '{}') IN
                       (('deepgram', 'nova-2'), ('deepgram', 'nova-3'), ('groq', 'whisper-large-v3'), ('groq', 'whisper-large-v4')))
          WHEN 'number' THEN s.name = 'llm' AND floor(f.value::numeric * 10) IS DISTINCT FROM
              array_position(ARRAY['groq', 'openai', 'anthropic'], s.provider)::numeric
          ELSE false END
$$;

-- The tables of agent-sync with the names of the agents in the place of their keys.
CREATE FUNCTION storm.problem() RETURNS TABLE (slug text, kind text, detail text, sqlstate text) LANGUAGE sql STABLE AS $$
    SELECT storm.name(p.tenant, p.slug), p.kind, p.detail, p.sqlstate FROM agent_sync.problem p
$$;
CREATE FUNCTION storm.outbox() RETURNS TABLE (slug text) LANGUAGE sql STABLE AS $$
    SELECT storm.name(o.tenant, o.slug) FROM agent_sync.outbox o
$$;
-- The view has a column with the tenant only where tenants are set.
CREATE FUNCTION storm.state() RETURNS TABLE (slug text, pending boolean, problem text) LANGUAGE sql STABLE AS $$
    SELECT storm.name(to_jsonb(s) ->> 'tenant', s.slug), s.pending, s.problem FROM agent_sync.state s
$$;

-- All discrepancies as text, first the damage that no waiting repairs.
CREATE FUNCTION storm.discrepancies() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    WITH pair AS MATERIALIZED (
        SELECT a.slug, a AS agent, c AS now, (e.wanted) AS wanted, e.mistakes, c.id,
               e.mistakes = '{}' AND (e.wanted).agent_name LIKE 'refused%' AS refused
        FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug, LATERAL storm.expected(a, c) e
    ), due AS (
        SELECT a.slug, CASE WHEN count(p.id) = 0 THEN 'missing_configuration'
                            WHEN bool_or(p.refused) THEN 'failed'
                            WHEN bool_or(p.mistakes <> '{}') THEN 'rejected' END AS kind
        FROM agents a LEFT JOIN pair p ON p.slug = a.slug GROUP BY a.slug
    )
    SELECT format('damage: a configuration came or went by itself: %s', coalesce(c.id, l.id))
    FROM agent_configurations c FULL JOIN storm.ledger l ON l.id = c.id WHERE c.id IS NULL OR l.id IS NULL
    UNION ALL
    SELECT format('damage: what is not agent-sync''s has changed: expected %s, found %s', l, c)
    FROM agent_configurations c JOIN storm.ledger l ON l.id = c.id
    WHERE storm.rest(c.provider_config)::text <> storm.rest(l.rest)::text OR c.notes <> l.notes OR c.openai_api_key <> l.key
        OR c.elevenlabs_api_key <> 'el-test' OR c.cartesia_api_key <> 'ca-test' OR c.created_at <> '2020-01-01'
        OR c.updated_at <> c.last_updated
    UNION ALL
    SELECT format('damage: %s keeps a setting of another provider: %s', c.agent_slug, o)
    FROM agent_configurations c, LATERAL storm.leftovers(c.provider_config) o
    UNION ALL
    SELECT 'damage: ' || v.what FROM storm.violation v
    UNION ALL
    SELECT format('%s is not in sync: expected %s, found %s, agent %s', p.slug, p.wanted, p.now, p.agent)
    FROM pair p WHERE p.mistakes = '{}' AND NOT p.refused AND p.wanted IS DISTINCT FROM p.now
    UNION ALL
    SELECT format('%s is rejected (%s), and its settings are in the configuration: %s', p.slug, p.mistakes, p.now)
    FROM pair p WHERE storm.decoded((p.now).voice_settings) = storm.decoded((p.agent).voice_settings)
        AND EXISTS (SELECT FROM unnest(p.mistakes) m WHERE m LIKE 'voice_settings.%' AND m <> 'voice_settings.stability')
    UNION ALL
    SELECT format('%s has the problem %s, expected %s: %s; agent %s, configurations %s', d.slug, coalesce(p.kind, 'none'),
                  coalesce(d.kind, 'none'), p.detail, (SELECT a FROM agents a WHERE a.slug = d.slug),
                  ARRAY(SELECT c FROM agent_configurations c WHERE c.agent_slug = d.slug))
    FROM due d LEFT JOIN storm.problem() p ON p.slug = d.slug WHERE d.kind IS DISTINCT FROM p.kind
    UNION ALL
    SELECT format('%s has a problem, and no agent has this slug or lost it otherwise than by DELETE', p.slug)
    FROM storm.problem() p WHERE NOT EXISTS (SELECT FROM agents a WHERE a.slug = p.slug)
        AND NOT EXISTS (SELECT FROM storm.deleted d WHERE d.slug = p.slug)
    UNION ALL
    SELECT format('%s failed with SQLSTATE %s, expected 23514', p.slug, p.sqlstate)
    FROM storm.problem() p WHERE (p.kind = 'failed') IS DISTINCT FROM (p.sqlstate = '23514') AND p.sqlstate IS NOT NULL
    UNION ALL
    SELECT format('%s is rejected for "%s", expected mistakes in one of %s', p.slug, p.detail, array_agg(pair.mistakes::text))
    FROM storm.problem() p JOIN pair ON pair.slug = p.slug WHERE p.kind = 'rejected'
    GROUP BY p.slug, p.detail HAVING NOT bool_or(
        ARRAY(SELECT DISTINCT m FROM unnest(pair.mistakes) m ORDER BY 1)
        = ARRAY(SELECT split_part(line, ': ', 1) FROM regexp_split_to_table(p.detail, '\n') line ORDER BY 1))
    UNION ALL
    SELECT format('%s rows are left in the outbox, the first of %s', count(*), min(o.slug)) FROM storm.outbox() o HAVING count(*) > 0
    UNION ALL
    SELECT format('agent_sync.state says of %s: pending %s, problem %s; expected %s', s.slug, s.pending, s.problem, d.kind)
    FROM storm.state() s FULL JOIN due d ON d.slug = s.slug
    WHERE s.pending IS DISTINCT FROM false OR s.problem IS DISTINCT FROM d.kind
$$;

CREATE TRIGGER storm_witness AFTER UPDATE ON agent_configurations FOR EACH ROW
    WHEN (current_setting('application_name') LIKE 'agent-sync/%') EXECUTE FUNCTION storm.witness();
CREATE TRIGGER storm_lead AFTER UPDATE ON agent_configurations FOR EACH STATEMENT
    WHEN (current_setting('application_name') LIKE 'agent-sync/%') EXECUTE FUNCTION storm.lead();
CREATE FUNCTION storm.delay() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM storm.slow s WHERE s.part = abs(hashtext(NEW.agent_slug)) % 8) THEN PERFORM pg_sleep(0.7); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER storm_delay BEFORE UPDATE ON agent_configurations FOR EACH ROW
    WHEN (current_setting('application_name') LIKE 'agent-sync/%') EXECUTE FUNCTION storm.delay();
GRANT USAGE ON SCHEMA storm TO storm_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON agents, agent_configurations, storm.ledger, storm.deleted TO storm_writer;
