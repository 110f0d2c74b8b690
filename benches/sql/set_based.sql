-- The baseline of a bulk change: the same mapping (M1-M4) for the same providers, written by hand
-- as one statement over sets.
--
-- It writes the columns that the daemon writes, and only those that differ: `wanted` is the
-- required content of the sections, so a configuration that contains it, with equal other columns,
-- is in sync. It neither validates (M6, M7) nor reads double-encoded JSON (T4), which the daemon
-- has to do.
UPDATE agent_configurations c SET
    agent_name      = coalesce(nullif(a.name, ''), c.agent_name),
    -- An equal prompt is kept in its stored form; PostgreSQL would compress the other copy again.
    system_prompt   = CASE WHEN a.system_prompt IS NULL OR a.system_prompt = c.system_prompt THEN c.system_prompt
                           ELSE a.system_prompt END,
    agent_image     = coalesce(a.agent_image, c.agent_image),
    voice_id        = coalesce(a.voice_id, c.voice_id),
    temperature     = coalesce(a.temperature, c.temperature),
    voice_settings  = a.settings,
    provider_config = coalesce(c.provider_config, '{}')
        || CASE WHEN a.llm IS NULL THEN '{}' ELSE jsonb_build_object('llm',
               CASE WHEN c.provider_config #>> '{llm,provider}' = a.llm ->> 'provider' THEN c.provider_config -> 'llm'
                    ELSE coalesce(c.provider_config -> 'llm', '{}') - '{provider,model,temperature}'::text[]
               END || a.llm) END
        || CASE WHEN a.tts IS NULL THEN '{}' ELSE jsonb_build_object('tts',
               CASE WHEN c.provider_config #>> '{tts,provider}' = a.tts ->> 'provider' THEN c.provider_config -> 'tts'
                    ELSE coalesce(c.provider_config -> 'tts', '{}') - '{provider,voice,voice_id,model,stability,
                        similarity_boost,output_format,speechify_voice_id,speechify_model,
                        speechify_loudness_normalization,speechify_text_normalization}'::text[]
               END || a.tts) END
        || CASE WHEN a.stt IS NULL THEN '{}' ELSE jsonb_build_object('stt',
               CASE WHEN c.provider_config #>> '{stt,provider}' = a.stt ->> 'provider' THEN c.provider_config -> 'stt'
                    ELSE coalesce(c.provider_config -> 'stt', '{}') - '{provider,model}'::text[]
               END || a.stt) END,
    updated_at      = now(),
    last_updated    = now()
FROM (
    SELECT slug, name, system_prompt, agent_image, settings, voice_id, (settings ->> 'temperature')::float8 AS temperature,
           llm, tts, stt, jsonb_strip_nulls(jsonb_build_object('llm', llm, 'tts', tts, 'stt', stt)) AS wanted
    FROM agents
    CROSS JOIN LATERAL (SELECT
        voice_settings AS settings,
        nullif(voice_settings ->> 'voice_id', '') AS voice_id,
        nullif(voice_settings ->> 'model', '') AS model,
        nullif(voice_settings ->> 'llm_provider', '') AS llm_provider,
        nullif(voice_settings ->> 'stt_provider', '') AS stt_provider,
        nullif(voice_settings ->> 'stt_model', '') AS stt_model,
        coalesce(nullif(voice_settings ->> 'provider', ''), nullif(voice_settings ->> 'tts_provider', '')) AS provider
    ) s
    CROSS JOIN LATERAL (SELECT
        CASE WHEN llm_provider IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
            'provider', llm_provider, 'model', nullif(settings ->> 'llm_model', ''),
            'temperature', settings -> 'temperature')) END AS llm,
        CASE provider WHEN 'openai' THEN jsonb_strip_nulls(jsonb_build_object(
                'provider', provider, 'voice', voice_id, 'model', model))
            WHEN 'elevenlabs' THEN jsonb_strip_nulls(jsonb_build_object(
                'provider', provider, 'voice_id', voice_id, 'model', model,
                'stability', settings -> 'stability', 'similarity_boost', settings -> 'similarity_boost'))
            WHEN 'cartesia' THEN jsonb_strip_nulls(jsonb_build_object(
                'provider', provider, 'voice_id', voice_id, 'model', model,
                'output_format', nullif(settings ->> 'output_format', '')))
            WHEN 'speechify' THEN jsonb_strip_nulls(jsonb_build_object(
                'provider', provider, 'speechify_voice_id', voice_id, 'speechify_model', model,
                'speechify_loudness_normalization', settings -> 'loudness_normalization',
                'speechify_text_normalization', settings -> 'text_normalization'))
            WHEN 'livekit' THEN jsonb_build_object('provider', provider)
            WHEN 'deepgram' THEN jsonb_build_object('provider', provider)
            ELSE jsonb_strip_nulls(jsonb_build_object('provider', provider, 'voice_id', voice_id, 'model', model))
        END AS tts,
        CASE WHEN stt_provider IS NOT NULL THEN jsonb_strip_nulls(jsonb_build_object(
            'provider', stt_provider,
            'model', coalesce(stt_model, CASE stt_provider WHEN 'deepgram' THEN 'nova-2'
                                                           WHEN 'groq' THEN 'whisper-large-v3' END))) END AS stt
    ) sections
) a
WHERE c.agent_slug = a.slug
  AND (NOT coalesce(c.provider_config, '{}') @> a.wanted
       OR c.voice_settings IS DISTINCT FROM a.settings
       OR c.voice_id IS DISTINCT FROM coalesce(a.voice_id, c.voice_id)
       OR c.temperature IS DISTINCT FROM coalesce(a.temperature, c.temperature)
       OR c.agent_name IS DISTINCT FROM coalesce(nullif(a.name, ''), c.agent_name)
       OR c.agent_image IS DISTINCT FROM coalesce(a.agent_image, c.agent_image)
       OR c.system_prompt IS DISTINCT FROM coalesce(a.system_prompt, c.system_prompt))
