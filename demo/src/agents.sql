-- The platform of the demo: ten realistic agents in the tables of testbed/tables.sql.
--
-- One agent for each TTS provider, a new one without a voice, one with settings that are stored
-- double-encoded as a JSON string, one with settings that cannot be mapped, and one without a
-- configuration. The role web_ui is the web UI; it may save agents and nothing else. The keys are
-- fictitious.

CREATE ROLE web_ui LOGIN;

GRANT SELECT, INSERT, UPDATE ON agents TO web_ui;

INSERT INTO agents (slug, name, description, system_prompt, agent_image, voice_settings, tools_config) VALUES
('pizzeria-da-nino', 'Nino', 'Takes orders for a pizzeria',
 'You are Nino, who answers the phone of a family-run pizzeria. Take the order, repeat it, and give the pick-up time.',
 'https://cdn.example.com/agents/nino.webp', '{}', '{"orders": {"enabled": true}}'),
('dr-weber-reception', 'Clara', 'Receptionist of a medical practice',
 'You are Clara, the receptionist of Dr. Weber''s practice. Offer appointments, never medical advice. In an emergency, tell the caller to dial 112.',
 'https://cdn.example.com/agents/clara.webp',
 '{"provider": "elevenlabs", "voice_id": "21m00Tcm4TlvDq8ikWAM", "model": "eleven_turbo_v2_5", "stability": 0.55,
   "similarity_boost": 0.8, "temperature": 0.3, "llm_provider": "openai", "llm_model": "gpt-4o-mini",
   "stt_provider": "deepgram"}', '{"calendar": {"enabled": true}}'),
('city-library', 'Iris', 'Answers questions about loans',
 'You are Iris of the city library. You know the opening hours and how to renew a loan.',
 NULL,
 '{"provider": "openai", "voice_id": "nova", "model": "tts-1", "temperature": 0.5, "llm_provider": "openai",
   "llm_model": "gpt-4o", "stt_provider": "groq"}', '{}'),
('peak-fitness', 'Max', 'Sells memberships of a gym',
 'You are Max from Peak Fitness. Be upbeat and brief, and book trial sessions.',
 'https://cdn.example.com/agents/max.webp',
 '{"provider": "speechify", "voice_id": "henry", "model": "simba-english", "loudness_normalization": "true",
   "text_normalization": false, "temperature": "0.8", "llm_provider": "groq", "llm_model": "llama-3.3-70b-versatile",
   "stt_provider": "deepgram", "stt_model": "nova-3"}', '{}'),
('hotel-aurora', 'Aurora', 'Front desk of a hotel',
 'You are the front desk of Hotel Aurora. Answer in the language of the guest.',
 'https://cdn.example.com/agents/aurora.webp',
 '{"provider": "livekit", "temperature": 0.6, "llm_provider": "openai", "llm_model": "gpt-4o", "stt_provider": "deepgram"}',
 '{}'),
('school-hotline', 'Mr. Finch', 'Reports pupils as ill',
 'You are Mr. Finch, the school''s answering machine. Note the name of the pupil and the reason, then say goodbye.',
 NULL,
 '{"provider": "deepgram", "temperature": 0.2, "llm_provider": "groq", "llm_model": "llama-3.1-8b-instant",
   "stt_provider": "deepgram"}', '{}'),
('newsroom-tips', 'Vera', 'Takes tips for a newsroom',
 'You are Vera. Listen, ask for sources, and never promise publication.',
 NULL,
 '{"provider": "cartesia", "voice_id": "a0e99841-438c-4a64-b679", "model": "sonic-2", "output_format": "pcm_16000",
   "temperature": 0.4, "llm_provider": "groq", "llm_model": "mixtral-8x7b-32768", "stt_provider": "groq"}', '{}'),
('haas-law-office', 'Mrs. Brand', 'Screens calls of a law office',
 'You are Mrs. Brand of Haas & Partner. Note names and numbers; never discuss a case.',
 NULL,
 to_jsonb('{"provider": "openai", "voice_id": "shimmer", "model": "tts-1-hd", "temperature": 0.1, "llm_provider": "openai", "llm_model": "gpt-4o", "stt_provider": "deepgram"}'::text),
 '{}'),
('plumber-24h', 'Joe', 'Emergency line of a plumber',
 'You are Joe, the night shift of a plumber. Ask where the water comes from and where the tap is.',
 NULL,
 '{"provider": "elevenlabs", "voice_id": "ErXwobaYiN019PkySvjV", "temperature": "warm", "llm_provider": "openai",
   "llm_model": "gpt-4o-mini"}', '{}'),
('florist-bloom', 'Lily', 'Takes orders for a florist',
 'You are Lily. Suggest a bouquet for the occasion and take the address.',
 NULL,
 '{"provider": "openai", "voice_id": "coral", "model": "gpt-4o-mini-tts", "temperature": 0.7, "llm_provider": "openai",
   "llm_model": "gpt-4o-mini", "stt_provider": "deepgram"}', '{}');

-- Every agent but florist-bloom has a configuration, and each configuration is out of date.
INSERT INTO agent_configurations (agent_slug, agent_name, provider_config, max_call_seconds,
    openai_api_key, groq_api_key, deepgram_api_key, elevenlabs_api_key, cartesia_api_key, speechify_api_key)
SELECT slug, NULLIF(name, 'Clara'), CASE slug
    WHEN 'dr-weber-reception' THEN
        '{"llm": {"provider": "openai", "model": "gpt-3.5-turbo", "temperature": 0.9, "max_tokens": 400},
          "tts": {"provider": "elevenlabs", "voice_id": "AZnzlk1XvdvUeBnXmlld", "speaking_rate": 0.95},
          "telephony": {"number": "+49 30 5550142", "record": false, "transfer_to": null},
          "billing": {"per_minute": 0.1000000000000000000001, "account": 12345678901234567890123}}'::jsonb
    WHEN 'haas-law-office' THEN
        to_jsonb('{"llm": {"provider": "openai", "model": "gpt-4"}, "telephony": {"record": false}}'::text)
    WHEN 'plumber-24h' THEN
        '{"llm": {"provider": "openai", "model": "gpt-4o-mini", "temperature": 0.5}, "telephony": {"record": true}}'
    ELSE '{}' END,
    CASE WHEN slug = 'dr-weber-reception' THEN 300 ELSE 900 END,
    'sk-demo-' || md5(slug), 'gsk-demo-' || md5(slug || 1), 'dg-demo-' || md5(slug || 2),
    'el-demo-' || md5(slug || 3), 'ca-demo-' || md5(slug || 4), 'sp-demo-' || md5(slug || 5)
FROM agents WHERE slug <> 'florist-bloom';

-- The views that the demo reads. They are no part of the platform, and agent-sync does not know
-- them.
CREATE SCHEMA demo;

CREATE FUNCTION demo.decoded(value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE jsonb_typeof(value) WHEN 'string' THEN (value #>> '{}')::jsonb ELSE value END
$$;
COMMENT ON FUNCTION demo.decoded IS 'The JSON itself, also where it is stored as a JSON string.';

CREATE FUNCTION demo.section(config jsonb, name text, owned text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT COALESCE(config -> name, '{}') - owned
$$;
COMMENT ON FUNCTION demo.section IS 'A section of provider_config without the fields that agent-sync owns.';

CREATE VIEW demo.foreign_parts AS
SELECT c.id, c.agent_slug, (to_jsonb(c)
        - '{agent_name,system_prompt,agent_image,voice_id,temperature,provider_config,voice_settings}'::text[]
        - '{updated_at,last_updated}'::text[]
        || jsonb_build_object(
            'llm', demo.section(d.config, 'llm', '{provider,model,temperature}'),
            'stt', demo.section(d.config, 'stt', '{provider,model}'),
            'tts', demo.section(d.config, 'tts', '{provider,voice,voice_id,model,stability,similarity_boost,output_format,
                speechify_voice_id,speechify_model,speechify_loudness_normalization,speechify_text_normalization}'),
            'provider_config', d.config - '{llm,stt,tts}'::text[]))::text AS parts
FROM agent_configurations c CROSS JOIN LATERAL (SELECT demo.decoded(c.provider_config) AS config) d;
COMMENT ON VIEW demo.foreign_parts IS 'The parts of a configuration that agent-sync does not own, as text.';

CREATE VIEW demo.out_of_step AS
SELECT a.slug
FROM agents a
CROSS JOIN LATERAL (SELECT demo.decoded(a.voice_settings) AS said) s
LEFT JOIN agent_configurations c ON c.agent_slug = a.slug
WHERE c.id IS NULL
   OR c.agent_name IS DISTINCT FROM a.name
   OR c.system_prompt IS DISTINCT FROM a.system_prompt
   OR c.agent_image IS DISTINCT FROM COALESCE(a.agent_image, c.agent_image)
   OR c.voice_id IS DISTINCT FROM COALESCE(s.said ->> 'voice_id', c.voice_id)
   OR c.temperature::text IS DISTINCT FROM COALESCE(s.said ->> 'temperature', c.temperature::text)
   OR s.said <> '{}' AND c.voice_settings IS DISTINCT FROM s.said
   OR jsonb_typeof(c.provider_config) <> 'object'
   OR c.provider_config #>> '{llm,provider}' IS DISTINCT FROM s.said ->> 'llm_provider'
   OR c.provider_config #>> '{llm,model}' IS DISTINCT FROM s.said ->> 'llm_model'
   OR c.provider_config #>> '{stt,provider}' IS DISTINCT FROM s.said ->> 'stt_provider'
   OR c.provider_config #>> '{tts,provider}' IS DISTINCT FROM s.said ->> 'provider'
   OR COALESCE(c.provider_config #>> '{tts,voice}', c.provider_config #>> '{tts,voice_id}',
               c.provider_config #>> '{tts,speechify_voice_id}') IS DISTINCT FROM s.said ->> 'voice_id';
COMMENT ON VIEW demo.out_of_step IS 'Agents whose configuration differs, by a comparison of the demo''s own.';

CREATE TABLE demo.before AS SELECT * FROM demo.foreign_parts;
COMMENT ON TABLE demo.before IS 'The foreign parts of every configuration before the demo.';
