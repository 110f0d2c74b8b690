-- The time between the two commits in milliseconds, once the change of one agent has arrived.
SELECT extract(epoch FROM pg_xact_commit_timestamp(c.xmin) - pg_xact_commit_timestamp(a.xmin))::float8 * 1000
FROM agents a JOIN agent_configurations c ON c.agent_slug = a.slug
WHERE a.slug = $1 AND c.provider_config #>> '{tts,voice_id}' = $2
