-- The platform's two tables as they are in production (T1, T2).

CREATE TABLE agents (
    id              uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug            text NOT NULL UNIQUE,
    name            text NOT NULL,
    description     text,
    system_prompt   text,
    agent_image     text,
    voice_settings  jsonb,
    webhooks        jsonb NOT NULL DEFAULT '{}',
    tools_config    jsonb NOT NULL DEFAULT '{}',
    enabled         boolean NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE agent_configurations (
    id                  uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    agent_slug          text NOT NULL,
    agent_name          text,
    system_prompt       text,
    agent_image         text,
    voice_id            text,
    temperature         double precision,
    provider_config     jsonb,
    voice_settings      jsonb,
    openai_api_key      text,
    groq_api_key        text,
    deepgram_api_key    text,
    elevenlabs_api_key  text,
    cartesia_api_key    text,
    speechify_api_key   text,
    max_call_seconds    integer NOT NULL DEFAULT 900,
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    last_updated        timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON agent_configurations (agent_slug);
