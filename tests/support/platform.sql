-- The platform's tables as they are met in production (T1, T2).
CREATE TABLE agents (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug            text UNIQUE NOT NULL,
    name            text,
    description     text,
    system_prompt   text,
    agent_image     text,
    voice_settings  jsonb,
    enabled         boolean NOT NULL DEFAULT true,
    webhooks        jsonb,
    tools_config    jsonb,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE agent_configurations (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_slug          text,
    agent_name          text,
    system_prompt       text,
    agent_image         text,
    voice_id            text,
    temperature         double precision,
    provider_config     jsonb,
    voice_settings      jsonb,
    openai_api_key      text DEFAULT 'sk-test-openai',
    elevenlabs_api_key  text DEFAULT 'el-test',
    cartesia_api_key    text DEFAULT 'ca-test',
    notes               text DEFAULT 'kept by people',
    created_at          timestamptz NOT NULL DEFAULT '2020-01-01',
    updated_at          timestamptz NOT NULL DEFAULT '2020-01-01',
    last_updated        timestamptz NOT NULL DEFAULT '2020-01-01'
);
CREATE INDEX ON agent_configurations (agent_slug);
