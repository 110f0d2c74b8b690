-- agent-sync, schema version 1: what the capture writes and what the daemon keeps.
--
-- Part of the install, which is this file, then attach.sql and grant.sql, in one transaction:
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/0001_schema.sql -f sql/attach.sql -f sql/grant.sql "$DATABASE_URL"
--
-- `agent-sync install` does the same, and `agent-sync install --print` prints it for a migration tool or an SQL
-- editor. Once released, this file is never edited: a later schema version is a further numbered file.
-- Running it again changes nothing, but for making what has been dropped since.
--
-- Everything is in the schema agent_sync, owned by whoever installs, and closed to PUBLIC.

DO $schema$
DECLARE
    mended boolean := false;
BEGIN
    -- No lock that could hold up traffic is waited for longer than this.
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

    IF pg_catalog.current_setting('server_version_num')::integer < 140000 THEN
        RAISE EXCEPTION 'agent-sync needs PostgreSQL 14 or later, and this server is %',
            pg_catalog.current_setting('server_version')
            USING HINT = 'Upgrade the server.';
    END IF;

    -- Two installs at once would trip over each other; the second waits, at most lock_timeout.
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

    IF pg_catalog.to_regnamespace('agent_sync') IS NULL THEN
        CREATE SCHEMA agent_sync;
        REVOKE ALL ON SCHEMA agent_sync FROM PUBLIC;
        COMMENT ON SCHEMA agent_sync IS
            'agent-sync: keeps the agent configurations in step with the agents. Remove it with "agent-sync uninstall".';
    END IF;

    IF pg_catalog.to_regclass('agent_sync.install') IS NULL THEN
        CREATE TABLE agent_sync.install (
            only_row         boolean     NOT NULL DEFAULT true,
            version          integer     NOT NULL,
            tables           jsonb       NOT NULL DEFAULT '{}',
            fingerprint      text        NOT NULL DEFAULT '',
            uncaptured_seen  bigint      NOT NULL DEFAULT -1,
            seal             text        NOT NULL DEFAULT '',
            installed_at     timestamptz NOT NULL DEFAULT now(),
            CONSTRAINT install_pkey PRIMARY KEY (only_row),
            CONSTRAINT install_has_one_row CHECK (only_row)
        );
        COMMENT ON TABLE agent_sync.install IS 'What is installed: one row.';
        COMMENT ON COLUMN agent_sync.install.only_row IS 'Always true: there is one row.';
        COMMENT ON COLUMN agent_sync.install.version IS 'The version of this schema.';
        COMMENT ON COLUMN agent_sync.install.tables IS 'The tables and columns that the triggers were made for.';
        COMMENT ON COLUMN agent_sync.install.fingerprint IS
            'The MD5 of the definitions that attach.sql made; while it is unchanged, install has nothing to do.';
        COMMENT ON COLUMN agent_sync.install.uncaptured_seen IS
            'The value of agent_sync.uncaptured up to which the daemon has brought every agent in sync; -1: never yet.';
        COMMENT ON COLUMN agent_sync.install.seal IS
            'The triggers and functions as the daemon knows them; when it finds others, changes may have been missed.';
        COMMENT ON COLUMN agent_sync.install.installed_at IS 'When the schema was created.';
        INSERT INTO agent_sync.install (version) VALUES (1);
    END IF;

    IF pg_catalog.to_regclass('agent_sync.outbox') IS NULL THEN
        -- The outbox has no index on purpose: an append costs its writer one heap insert, and the daemon reads it from
        -- front to back. It is vacuumed early and often, because every row in it is soon dead, and never truncated by
        -- vacuum, because that takes a lock which a save would meet.
        CREATE TABLE agent_sync.outbox (
            slug  text        NOT NULL,
            at    timestamptz NOT NULL DEFAULT clock_timestamp()
        ) WITH (
            autovacuum_vacuum_scale_factor = 0,
            autovacuum_vacuum_threshold = 2000,
            autovacuum_vacuum_insert_threshold = -1,
            autovacuum_analyze_scale_factor = 0,
            autovacuum_analyze_threshold = 2147483647,
            vacuum_truncate = false
        );
        -- Without a key, a publication FOR ALL TABLES would keep the daemon from deleting.
        ALTER TABLE agent_sync.outbox REPLICA IDENTITY FULL;
        COMMENT ON TABLE agent_sync.outbox IS
            'Slugs whose agent or configuration changed and which the daemon has not brought in sync yet.';
        COMMENT ON COLUMN agent_sync.outbox.slug IS 'The slug; it may stand here more than once.';
        COMMENT ON COLUMN agent_sync.outbox.at IS 'When the change was noted, by the clock of the server.';
        mended := true;
    END IF;

    IF pg_catalog.to_regclass('agent_sync.problem') IS NULL THEN
        CREATE TABLE agent_sync.problem (
            slug          text        NOT NULL,
            kind          text        NOT NULL,
            detail        text        NOT NULL,
            sqlstate      text,
            since         timestamptz NOT NULL DEFAULT now(),
            last_seen     timestamptz NOT NULL DEFAULT now(),
            attempts      integer     NOT NULL DEFAULT 1,
            next_attempt  timestamptz,
            CONSTRAINT problem_pkey PRIMARY KEY (slug),
            CONSTRAINT problem_kind_is_known CHECK (kind IN ('missing_configuration', 'rejected', 'failed'))
        );
        COMMENT ON TABLE agent_sync.problem IS
            'Agents that could not be brought in sync, and why. A row goes away when its cause is gone.';
        COMMENT ON COLUMN agent_sync.problem.slug IS 'The slug of the agent.';
        COMMENT ON COLUMN agent_sync.problem.kind IS
            'missing_configuration: no configuration row has this slug; rejected: the agent''s settings cannot be mapped; '
            'failed: PostgreSQL refused the write.';
        COMMENT ON COLUMN agent_sync.problem.detail IS 'The reason, without prompts and keys.';
        COMMENT ON COLUMN agent_sync.problem.sqlstate IS 'The SQLSTATE of a failed write.';
        COMMENT ON COLUMN agent_sync.problem.since IS 'When this kind of problem began for this slug.';
        COMMENT ON COLUMN agent_sync.problem.last_seen IS 'When it was last met.';
        COMMENT ON COLUMN agent_sync.problem.attempts IS 'How often it has been met.';
        COMMENT ON COLUMN agent_sync.problem.next_attempt IS
            'When the daemon tries again by itself; null: when the agent or its configuration changes.';
        mended := true;
    END IF;

    IF pg_catalog.to_regclass('agent_sync.role') IS NULL THEN
        CREATE TABLE agent_sync.role (
            name     text    NOT NULL,
            granted  text[]  NOT NULL DEFAULT '{}',
            CONSTRAINT role_pkey PRIMARY KEY (name)
        );
        COMMENT ON TABLE agent_sync.role IS 'The roles that daemons connect with, as grant.sql was told.';
        COMMENT ON COLUMN agent_sync.role.name IS 'The name of the role.';
        COMMENT ON COLUMN agent_sync.role.granted IS
            'What grant.sql has granted to it, and uninstall revokes; not what it had before.';
    END IF;

    IF pg_catalog.to_regclass('agent_sync.uncaptured') IS NULL THEN
        CREATE SEQUENCE agent_sync.uncaptured AS bigint MINVALUE 0 START 0;
        COMMENT ON SEQUENCE agent_sync.uncaptured IS
            'Counts saves whose change could not be noted in the outbox. A sequence, because it outlives a rollback and '
            'needs no more than USAGE; when it has moved, the daemon brings every agent in sync.';
        PERFORM pg_catalog.nextval('agent_sync.uncaptured');
        mended := true;
    END IF;

    -- What was saved while a part was missing could not be noted, so the daemon starts with every agent.
    IF mended THEN
        UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1;
    END IF;
END
$schema$;
