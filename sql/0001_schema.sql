-- agent-sync, schema version 1: what the capture writes and what the daemon keeps.
--
-- Part of the install: proof.sql has the whole of it, and guard.sql makes the schema.
-- `agent-sync install` does the same, and `agent-sync install --print` prints it for a migration
-- tool or an SQL editor. Once released, this file is never edited: a later schema version is a
-- further numbered file. Running it again changes nothing, but for making what has been dropped
-- since.
--
-- Everything is in the schema agent_sync, closed to PUBLIC, and owned by whoever installed first:
-- each file acts as the owner of the schema (SET LOCAL ROLE) and goes back to the role that it was
-- run as. The capture functions belong to the owners of the tables: see attach.sql.

DO $schema$
DECLARE
    acting CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
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

    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n WHERE n.nspname = 'agent_sync'
          AND pg_get_userbyid(n.nspowner) <> current_user;

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
        COMMENT ON COLUMN agent_sync.install.tables IS
          'The tables and columns that the triggers were made for.';
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
        -- The outbox has no index on purpose: an append costs its writer one heap insert, and the
        -- daemon reads it from front to back. It is vacuumed early and often, because every row in
        -- it is soon dead, and never truncated by vacuum, because that takes a lock which a save
        -- would meet.
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
        COMMENT ON COLUMN agent_sync.outbox.at IS
          'When the change was noted, by the clock of the server.';
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
            CONSTRAINT problem_kind_is_known CHECK (kind IN ('missing_configuration', 'rejected',
              'failed'))
        );
        COMMENT ON TABLE agent_sync.problem IS
            'Agents that could not be brought in sync, and why. A row goes away when its cause is gone.';
        COMMENT ON COLUMN agent_sync.problem.slug IS 'The slug of the agent.';
        COMMENT ON COLUMN agent_sync.problem.kind IS
            'missing_configuration: no configuration row has this slug; rejected: the agent''s settings cannot be mapped; '
            'failed: PostgreSQL refused the write.';
        COMMENT ON COLUMN agent_sync.problem.detail IS 'The reason, without prompts and keys.';
        COMMENT ON COLUMN agent_sync.problem.sqlstate IS 'The SQLSTATE of a failed write.';
        COMMENT ON COLUMN agent_sync.problem.since IS
          'When this kind of problem began for this slug.';
        COMMENT ON COLUMN agent_sync.problem.last_seen IS 'When it was last met.';
        COMMENT ON COLUMN agent_sync.problem.attempts IS 'How often it has been met.';
        COMMENT ON COLUMN agent_sync.problem.next_attempt IS
            'When the daemon tries again by itself; null: when the agent or its configuration changes.';
        mended := true;
    END IF;

    IF pg_catalog.to_regclass('agent_sync.role') IS NULL THEN
        CREATE TABLE agent_sync.role (
            name  text  NOT NULL,
            CONSTRAINT role_pkey PRIMARY KEY (name)
        );
        COMMENT ON TABLE agent_sync.role IS
          'The roles that daemons connect with, as grant.sql was told.';
        COMMENT ON COLUMN agent_sync.role.name IS 'The name of the role.';
    END IF;

    IF pg_catalog.to_regclass('agent_sync.granted') IS NULL THEN
        -- Data, and no text of SQL: who reads it builds the statement, and nothing that stands here
        -- is ever run.
        CREATE TABLE agent_sync.granted (
            role       text  NOT NULL,
            privilege  text  NOT NULL,
            kind       text  NOT NULL,
            schema     text  NOT NULL DEFAULT '',
            object     text  NOT NULL DEFAULT '',
            "column"   text  NOT NULL DEFAULT '',
            CONSTRAINT granted_pkey PRIMARY KEY (role, kind, schema, object, "column", privilege),
            CONSTRAINT granted_privilege_is_known
                CHECK (privilege IN ('CONNECT', 'USAGE', 'SELECT', 'INSERT', 'UPDATE', 'DELETE')),
            CONSTRAINT granted_kind_is_known CHECK (kind IN ('database', 'schema', 'relation'))
        );
        COMMENT ON TABLE agent_sync.granted IS
            'What grant.sql has granted to the roles of agent_sync.role, and uninstall revokes; not what they had before.';
        COMMENT ON COLUMN agent_sync.granted.role IS 'The role.';
        COMMENT ON COLUMN agent_sync.granted.privilege IS 'The privilege, such as SELECT.';
        COMMENT ON COLUMN agent_sync.granted.kind IS
            'What it is a privilege on: this database, a schema, or a relation (a table, view or sequence).';
        COMMENT ON COLUMN agent_sync.granted.schema IS
          'The schema, or that of the relation; empty for the database.';
        COMMENT ON COLUMN agent_sync.granted.object IS 'The relation; empty for another kind.';
        COMMENT ON COLUMN agent_sync.granted."column" IS
          'The column of the relation; empty for all of it, and for another kind.';
    END IF;

    IF pg_catalog.to_regclass('agent_sync.uncaptured') IS NULL THEN
        CREATE SEQUENCE agent_sync.uncaptured AS bigint MINVALUE 0 START 0;
        COMMENT ON SEQUENCE agent_sync.uncaptured IS
            'Counts saves whose change could not be noted in the outbox. A sequence, because it outlives a rollback and '
            'needs no more than USAGE; when it has moved, the daemon brings every agent in sync.';
        PERFORM pg_catalog.nextval('agent_sync.uncaptured');
        mended := true;
    END IF;

    -- What was saved while a part was missing could not be noted, so the daemon starts with every
    -- agent.
    IF mended THEN
        UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1;
    END IF;
    PERFORM set_config('role', acting, true);
END
$schema$;
