-- A digest of all configurations; databases with equal configurations have equal digests.
SELECT md5(string_agg(md5(concat_ws('|', c.agent_slug, c.agent_name, c.system_prompt, c.agent_image, c.voice_id,
    c.temperature, c.provider_config, c.voice_settings)), '' ORDER BY c.agent_slug))
FROM agent_configurations c
