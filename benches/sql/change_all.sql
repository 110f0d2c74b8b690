-- Changes every agent in one statement: another voice and other models, so that provider_config,
-- voice_settings and voice_id of every configuration differ. $1 is the number of the change; equal
-- numbers give equal results.
UPDATE agents SET
    voice_settings = voice_settings || jsonb_build_object(
        'voice_id', 'voice-' || $1::int4::text || '-' || substr(md5(slug), 1, 12),
        'model', 'model-' || $1::int4::text,
        'llm_model', 'llm-' || $1::int4::text),
    updated_at = now()
