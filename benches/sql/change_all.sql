-- One statement that changes every agent: another voice and other models, so that provider_config, voice_settings and
-- voice_id of every configuration differ afterwards. $1 is the number of the change; the same number gives the same result.
UPDATE agents SET
    voice_settings = voice_settings || jsonb_build_object(
        'voice_id', 'voice-' || $1::int4::text || '-' || substr(md5(slug), 1, 12),
        'model', 'model-' || $1::int4::text,
        'llm_model', 'llm-' || $1::int4::text),
    updated_at = now()
