-- agent-sync, schema version 2: when was last written, and, if wanted, what, and on whose account.
--
-- Run after 0001_schema.sql and before attach.sql, in the same transaction; see there. Running it
-- again changes nothing, but for making what has been dropped since, and for what "history" in
-- agent_sync.tables says: true lets the outbox note whose transaction made a change, false (or
-- nothing said) does not.
--
-- Locks: the columns of the outbox, and their defaults, take ACCESS EXCLUSIVE on the outbox, once.
-- A save that meets it goes on, with a WARNING and a count, and the daemon then looks at every
-- agent (C4, G1). It is waited for no longer than 200 ms.

DO $history$
DECLARE
    acting   CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
    wanted   boolean;
    patience text;
    attribute record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n WHERE n.nspname = 'agent_sync'
          AND pg_get_userbyid(n.nspowner) <> current_user;

    IF pg_catalog.to_regclass('agent_sync.history') IS NULL THEN
        -- The key is in the order of the writes, so reading the latest and deleting the oldest are
        -- both a walk along it, and an append to it costs little. Nothing else is indexed.
        CREATE TABLE agent_sync.history (
            id                bigint      GENERATED ALWAYS AS IDENTITY,
            at                timestamptz NOT NULL DEFAULT now(),
            slug              text        NOT NULL,
            configuration     text,
            columns           text[]      NOT NULL,
            before            text,
            after             text,
            application_name  text,
            role              text,
            CONSTRAINT history_pkey PRIMARY KEY (id)
        );
        COMMENT ON TABLE agent_sync.history IS
            'What the daemon has written lately, without prompts; bounded by history.keep and history.max_rows.';
        COMMENT ON SEQUENCE agent_sync.history_id_seq IS 'Counts the writes.';
        COMMENT ON COLUMN agent_sync.history.id IS 'In the order of the writes.';
        COMMENT ON COLUMN agent_sync.history.at IS
          'When the transaction that wrote began, by the clock of the server.';
        COMMENT ON COLUMN agent_sync.history.slug IS 'The slug of the agent.';
        COMMENT ON COLUMN agent_sync.history.configuration IS
            'The primary key of the configuration; null where there is none, or the daemon may not read it.';
        COMMENT ON COLUMN agent_sync.history.columns IS
          'Which columns were written; the clocks always are.';
        COMMENT ON COLUMN agent_sync.history.before IS
          'provider_config before the write; null where that was not written.';
        COMMENT ON COLUMN agent_sync.history.after IS
          'provider_config after the write; null where that was not written.';
        COMMENT ON COLUMN agent_sync.history.application_name IS
            'The application_name of the transaction that caused it; agent-sync/... for the daemon''s own retries and looks at '
            'every agent, and for a slug asked for by NOTIFY.';
        COMMENT ON COLUMN agent_sync.history.role IS
          'The role of that transaction: as SET ROLE says, else as it logged in.';
    END IF;

    -- A sequence that was set back, or restored without its value, would give numbers that the
    -- history has.
    IF coalesce(pg_sequence_last_value('agent_sync.history_id_seq'), 0) < (SELECT
      coalesce(max(h.id), 0) FROM agent_sync.history h)
    THEN
        PERFORM setval('agent_sync.history_id_seq', (SELECT max(h.id) FROM agent_sync.history h));
    END IF;

    SELECT coalesce((coalesce(nullif(current_setting('agent_sync.tables', true), ''),
      i.tables::text)::jsonb
                     ->> 'history')::boolean, false)
        INTO wanted FROM agent_sync.install i;
    FOR attribute IN
        SELECT o.name, o.value, o.says, a.attnum IS NOT NULL AS there, coalesce(a.atthasdef, false)
          AS has_default
        FROM (VALUES ('application_name', 'current_setting(''application_name'')',
                      'The application_name of the transaction that made the change; null where no history is kept.'),
                     ('role',
                       'coalesce(nullif(current_setting(''role''), ''none''), session_user::text)',
                      'The role of that transaction: as SET ROLE says, else as it logged in.')) AS o
                        (name, value, says)
        LEFT JOIN pg_attribute a ON a.attrelid = 'agent_sync.outbox'::regclass
          AND a.attname = o.name AND NOT a.attisdropped
    LOOP
        patience := current_setting('lock_timeout');
        PERFORM set_config('lock_timeout', '200ms', true);
        IF NOT attribute.there THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ADD COLUMN %I text', attribute.name);
            EXECUTE format('COMMENT ON COLUMN agent_sync.outbox.%I IS %L', attribute.name,
              attribute.says);
        END IF;
        IF wanted AND NOT attribute.has_default THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ALTER COLUMN %I SET DEFAULT %s',
              attribute.name, attribute.value);
        ELSIF attribute.has_default AND NOT wanted THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ALTER COLUMN %I DROP DEFAULT',
              attribute.name);
        END IF;
        PERFORM set_config('lock_timeout', patience, true);
    END LOOP;

    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.install'::regclass AND a.attname = 'last_sync'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.install ADD COLUMN last_sync timestamptz;
        COMMENT ON COLUMN agent_sync.install.last_sync IS
            'When the daemon last wrote a configuration, as of its last sweep or its end.';
    END IF;

    UPDATE agent_sync.install SET version = 2 WHERE version < 2;
    PERFORM set_config('role', acting, true);
END
$history$;
