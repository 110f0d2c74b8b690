-- agent-sync, schema version 1: the tables that the capture writes and the daemon keeps.
--
-- Run after guard.sql, which makes the schema, and before attach.sql, in the same transaction.
-- Running it again makes and repairs what has been dropped or altered, renews comments, and sets or
-- drops the defaults that depend on "history" (below). It keeps the rows. Once released, this file
-- is never edited: a later version of the schema is a further numbered file.
--
-- Everything is in the schema agent_sync, closed to PUBLIC, and belongs to the role that installed
-- first. Each file acts as the owner of the schema (SET LOCAL ROLE) and goes back to the role of
-- the caller. The capture functions belong to the owners of the tables: see attach.sql.
--
-- The setting "history" in agent_sync.tables decides whether the outbox notes the transaction that
-- made a change.
--
-- Locks. A repaired column or default of the outbox takes ACCESS EXCLUSIVE on it. A save that meets
-- the lock continues with a WARNING and a count, and the daemon then checks every agent (C4, G1).
-- The wait for this lock is at most 200 ms, for others at most 2 s.

DO $schema$
DECLARE
    acting   CONSTANT text := pg_catalog.current_setting('role'); -- The role of the caller.
    history  CONSTANT boolean :=
        pg_catalog.current_setting('agent_sync.tables')::pg_catalog.jsonb -> 'history';
    repaired boolean := false; -- Whether saves may have been missed until now.
    -- The two errors: no equal in UTF-8, and none of the result in the encoding of the database.
    sent_body CONSTANT text := $body$-- The key of an agent, as the daemon reads it.
BEGIN
    RETURN CASE WHEN pg_catalog.convert_from(pg_catalog.convert_to(key, 'UTF8'), 'UTF8')
                COLLATE pg_catalog."C" OPERATOR(pg_catalog.=) key THEN key END;
EXCEPTION WHEN untranslatable_character OR character_not_in_repertoire THEN
    RETURN NULL;
END$body$;
    agents   CONSTANT regclass := pg_catalog.to_regclass(
        pg_catalog.current_setting('agent_sync.agents'));
    -- The digest of the text %s (store::queries::key): of its bytes, whatever they are. A doubled
    -- backslash is one byte of the result, and every other byte stays.
    digest   CONSTANT text := $sql$pg_catalog.sha256(pg_catalog.decode(
        pg_catalog.replace(%s COLLATE pg_catalog."C", E'\\', E'\\\\'), 'escape'))$sql$;
    in_sync_body text := pg_catalog.format(
        $body$-- Whether an agent and its configuration are in sync, as far as is known.
SELECT CASE WHEN $1 IS NOT NULL THEN
    NOT EXISTS (SELECT FROM agent_sync.outbox o
                WHERE o.slug OPERATOR(pg_catalog.=) given.slug
                  AND (o.tenant IS NULL OR given.tenant IS NULL
                       OR o.tenant OPERATOR(pg_catalog.=) given.tenant))
    AND NOT EXISTS (SELECT FROM agent_sync.problem p
                    WHERE %1$s OPERATOR(pg_catalog.=) %2$s
                      -- A problem without tenant is one of the agent without tenant, while such a
                      -- row of the outbox may be about any.
                      AND (given.tenant IS NULL
                           OR p.tenant OPERATOR(pg_catalog.=) given.tenant))
    -- A save that could not be noted may be of any agent. A standby does not know their number,
    -- because the write-ahead log of a sequence is ahead of its use.
    AND (pg_catalog.pg_is_in_recovery()
         OR EXISTS (SELECT FROM agent_sync.install i CROSS JOIN agent_sync.uncaptured u
                    WHERE u.is_called
                      AND i.uncaptured_seen OPERATOR(pg_catalog.=) u.last_value))
END
FROM (SELECT /* slug */$1 AS slug, /* tenant */$2 AS tenant) AS given$body$,
        pg_catalog.format(digest, 'p.slug'), pg_catalog.format(digest, 'given.slug'));
    -- A part of the key as the server writes a value of the type, and so as the outbox has it; %1$s
    -- is the parameter. store::layout::lookup does the same.
    as_uuid  CONSTANT text := $sql$CASE
        WHEN pg_catalog.translate(pg_catalog.lower(%1$s COLLATE pg_catalog."C"), '-{}', '')
            OPERATOR(pg_catalog.~) '^[0-9a-f]{32}$'
        THEN pg_catalog.translate(%1$s, '-{}', '')::pg_catalog.uuid::pg_catalog.text
        ELSE %1$s END$sql$;
    as_integer CONSTANT text := $sql$CASE
        WHEN %1$s OPERATOR(pg_catalog.~) '^[[:space:]]*[+-]?[0-9]+[[:space:]]*$'
        THEN pg_catalog.concat(
            CASE WHEN %1$s OPERATOR(pg_catalog.~) '^[[:space:]]*-0*[1-9]' THEN '-' END,
            pg_catalog.substring(%1$s, '^[[:space:]]*[+-]?0*([0-9]+)[[:space:]]*$'))
        ELSE %1$s END$sql$;
    -- A char(n) without the blanks at its end, which a client reads.
    as_padded CONSTANT text := $sql$pg_catalog.rtrim(%1$s, ' ')$sql$;
    part     record;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);

    IF current_setting('server_version_num')::integer < 140000 THEN
        RAISE EXCEPTION 'agent-sync needs PostgreSQL 14 or later, and this server is %',
            current_setting('server_version')
            USING HINT = 'Upgrade the server.';
    END IF;

    -- One install at a time: the second waits, at most lock_timeout.
    PERFORM pg_advisory_xact_lock(1634169721, 3);

    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n
        WHERE n.nspname = 'agent_sync' AND pg_get_userbyid(n.nspowner) <> current_user;

    IF to_regclass('agent_sync.install') IS NULL THEN
        CREATE TABLE agent_sync.install (
            only_row         boolean     NOT NULL DEFAULT true,
            version          integer     NOT NULL,
            tables           jsonb       NOT NULL DEFAULT '{}',
            fingerprint      text        NOT NULL DEFAULT '',
            uncaptured_seen  bigint      NOT NULL DEFAULT -1,
            seal             text        NOT NULL DEFAULT '',
            installed_at     timestamptz NOT NULL DEFAULT now(),
            last_sync        timestamptz,
            last_tried       text,
            tries            integer     NOT NULL DEFAULT 0,
            mapping          text        NOT NULL DEFAULT '',
            audit            jsonb,
            paused_since     timestamptz,
            paused_until     timestamptz,
            paused_by        text,
            pause_reason     text,
            pause_releases   boolean     NOT NULL DEFAULT false,
            CONSTRAINT install_pkey PRIMARY KEY (only_row),
            CONSTRAINT install_has_one_row CHECK (only_row)
        );
        COMMENT ON TABLE agent_sync.install IS 'What is installed: one row.';
        COMMENT ON COLUMN agent_sync.install.only_row IS 'Always true: there is one row.';
        COMMENT ON COLUMN agent_sync.install.version IS 'The version of this schema.';
        COMMENT ON COLUMN agent_sync.install.fingerprint IS
            'Three MD5 sums: of the statements of attach.sql and their result; of the bodies of '
            'the capture functions; and of the definitions of the triggers.';
        COMMENT ON COLUMN agent_sync.install.uncaptured_seen IS
            'The value of agent_sync.uncaptured up to which every agent has been checked; -1: '
            'every agent is to be checked.';
        COMMENT ON COLUMN agent_sync.install.seal IS
            'A sum of what the capture depends on (tables, columns, triggers, functions, policies '
            'and others) as the daemon last saw it; when it finds another, changes may have been '
            'missed.';
        COMMENT ON COLUMN agent_sync.install.installed_at IS 'When the schema was created.';
        INSERT INTO agent_sync.install (version) VALUES (1);
    END IF;
    FOR part IN
        SELECT c.name, c.definition
        FROM (VALUES ('last_sync', 'timestamptz'), ('last_tried', 'text'),
                     ('tries', 'integer NOT NULL DEFAULT 0'),
                     ('mapping', 'text NOT NULL DEFAULT '''''), ('audit', 'jsonb'),
                     ('paused_since', 'timestamptz'), ('paused_until', 'timestamptz'),
                     ('paused_by', 'text'), ('pause_reason', 'text'),
                     ('pause_releases', 'boolean NOT NULL DEFAULT false'))
              AS c (name, definition)
        WHERE NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = 'agent_sync.install'::regclass AND a.attname = c.name
                            AND NOT a.attisdropped)
    LOOP
        EXECUTE format('ALTER TABLE agent_sync.install ADD COLUMN %I %s', part.name,
                       part.definition);
    END LOOP;
    FOR part IN
        SELECT c.name, c.comment
        FROM (VALUES
            ('last_sync', 'When the daemon last wrote a configuration, as of its last sweep or its '
                          'end.'),
            ('last_tried', 'The key that a connection tries alone, noted before its batch: the '
                           'slug, or tenant/slug; null once that batch is over.'),
            ('tries', 'How often the batch of last_tried has been tried.'),
            ('mapping', 'The MD5 sum of the rules and columns of the mapping under which every '
                        'configuration was last in sync; or that mappings are mixed, and since '
                        'which transaction.'),
            ('audit', 'The last comparison of every agent with its configurations (last), the last '
                      'changes that were never noticed (unnoticed), and how far the present '
                      'comparison is (running).'),
            ('paused_since', 'When the database was paused; null while it is not. A daemon writes '
                             'no configuration while this is set and paused_until is not over.'),
            ('paused_until', 'When the pause ends by itself; null: when agent-sync resume ends '
                             'it.'),
            ('paused_by', 'Who paused the database.'),
            ('pause_reason', 'Why.'),
            ('pause_releases', 'Whether daemons close their connections for the pause.'))
            AS c (name, comment)
        JOIN pg_attribute a ON a.attrelid = 'agent_sync.install'::regclass AND a.attname = c.name
        WHERE col_description(a.attrelid, a.attnum) IS DISTINCT FROM c.comment
    LOOP
        EXECUTE format('COMMENT ON COLUMN agent_sync.install.%I IS %L', part.name, part.comment);
    END LOOP;

    IF to_regclass('agent_sync.outbox') IS NULL THEN
        -- No index: an append costs its writer one heap insert, and the daemon reads the table from
        -- front to back. Every row is soon dead, so vacuum runs early and often. It never
        -- truncates, because that takes a lock which a save would meet.
        CREATE TABLE agent_sync.outbox (
            slug  text        NOT NULL,
            at    timestamptz NOT NULL DEFAULT clock_timestamp(),
            application_name  text,
            role              text,
            tenant            text
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
            'Slugs whose agent or configuration changed and which the daemon has not brought in '
            'sync yet.';
        COMMENT ON COLUMN agent_sync.outbox.slug IS 'The slug; it can have several rows.';
        COMMENT ON COLUMN agent_sync.outbox.at IS
            'When the change was noted, by the clock of the server.';
        repaired := true;
    END IF;
    FOR part IN
        SELECT c.name, c.value, c.comment, a.attnum IS NULL AS missing,
               coalesce(a.atthasdef, false) AS has_default
        FROM (VALUES
            ('application_name', 'current_setting(''application_name'')',
             'The application_name of the transaction that made the change; null where no history '
             'is kept.'),
            ('role', 'coalesce(nullif(current_setting(''role''), ''none''), session_user::text)',
             'The role of that transaction: that of SET ROLE, else that of the login.'),
            ('tenant', NULL,
             'The tenant of the agent; null where no tenants are set. Where they are, a row '
             'without tenant is about the agents of every tenant with this slug.'))
            AS c (name, value, comment)
        LEFT JOIN pg_attribute a ON a.attrelid = 'agent_sync.outbox'::regclass
            AND a.attname = c.name AND NOT a.attisdropped
    LOOP
        -- In a deadlock with a save, this statement ends and not the save.
        PERFORM set_config('lock_timeout', greatest(1, least(200, s.setting::integer / 2))::text,
                           true)
            FROM pg_settings s WHERE s.name = 'deadlock_timeout';
        IF part.missing THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ADD COLUMN %I text', part.name);
        END IF;
        IF (SELECT col_description(a.attrelid, a.attnum) IS DISTINCT FROM part.comment
            FROM pg_attribute a
            WHERE a.attrelid = 'agent_sync.outbox'::regclass AND a.attname = part.name)
        THEN
            EXECUTE format('COMMENT ON COLUMN agent_sync.outbox.%I IS %L', part.name, part.comment);
        END IF;
        IF history AND part.value IS NOT NULL AND NOT part.has_default THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ALTER COLUMN %I SET DEFAULT %s',
                           part.name, part.value);
        ELSIF part.has_default AND (part.value IS NULL OR NOT history) THEN
            EXECUTE format('ALTER TABLE agent_sync.outbox ALTER COLUMN %I DROP DEFAULT', part.name);
        END IF;
        PERFORM set_config('lock_timeout', '2s', true);
    END LOOP;

    IF to_regclass('agent_sync.problem') IS NULL THEN
        CREATE TABLE agent_sync.problem (
            slug          text        NOT NULL,
            kind          text        NOT NULL,
            detail        text        NOT NULL,
            sqlstate      text,
            since         timestamptz NOT NULL DEFAULT now(),
            last_seen     timestamptz NOT NULL DEFAULT now(),
            attempts      integer     NOT NULL DEFAULT 1,
            next_attempt  timestamptz,
            tenant        text,
            CONSTRAINT problem_kind_is_known
                CHECK (kind IN ('missing_configuration', 'rejected', 'failed', 'ambiguous'))
        );
        COMMENT ON TABLE agent_sync.problem IS
            'Agents that could not be brought in sync, and why. The daemon deletes a row when its '
            'cause is gone.';
        COMMENT ON COLUMN agent_sync.problem.slug IS 'The slug of the agent.';
        COMMENT ON COLUMN agent_sync.problem.kind IS
            'missing_configuration: no configuration row has this slug; rejected: the agent cannot '
            'be mapped; failed: the agent could not be brought in sync; ambiguous: more than one '
            'agent has this slug, so nothing is written for it. Where tenants are set, each is '
            'about one tenant.';
        COMMENT ON COLUMN agent_sync.problem.detail IS 'The reason, without prompts and keys.';
        COMMENT ON COLUMN agent_sync.problem.sqlstate IS
            'The SQLSTATE of the failure, if it has one.';
        COMMENT ON COLUMN agent_sync.problem.since IS
            'When this kind of problem began for this slug.';
        COMMENT ON COLUMN agent_sync.problem.last_seen IS 'When it was last met.';
        COMMENT ON COLUMN agent_sync.problem.attempts IS 'How often it has been met.';
        COMMENT ON COLUMN agent_sync.problem.next_attempt IS
            'When the daemon tries again; null: when the agent or its configuration changes.';
        repaired := true;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint c
                   WHERE c.conrelid = 'agent_sync.problem'::regclass
                     AND c.conname = 'problem_kind_is_known'
                     AND pg_get_constraintdef(c.oid) LIKE '%ambiguous%')
    THEN
        ALTER TABLE agent_sync.problem DROP CONSTRAINT IF EXISTS problem_kind_is_known;
        ALTER TABLE agent_sync.problem ADD CONSTRAINT problem_kind_is_known
            CHECK (kind IN ('missing_configuration', 'rejected', 'failed', 'ambiguous'));
    END IF;
    -- Without a key, a publication FOR ALL TABLES would keep the daemon from updating and deleting.
    IF EXISTS (SELECT FROM pg_class c
               WHERE c.oid = 'agent_sync.problem'::regclass AND c.relreplident <> 'f')
    THEN
        ALTER TABLE agent_sync.problem REPLICA IDENTITY FULL;
    END IF;

    IF to_regclass('agent_sync.history') IS NULL THEN
        -- The key has the order of the writes, so reading the latest rows and deleting the oldest
        -- both follow it, and an append costs little. There is no other index.
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
            tenant            text,
            CONSTRAINT history_pkey PRIMARY KEY (id)
        );
        COMMENT ON TABLE agent_sync.history IS
            'The latest writes of the daemon, without prompts; bounded by history.keep and '
            'history.max_rows.';
        COMMENT ON SEQUENCE agent_sync.history_id_seq IS 'Counts the writes.';
        COMMENT ON COLUMN agent_sync.history.id IS 'In the order of the writes.';
        COMMENT ON COLUMN agent_sync.history.at IS
            'When the transaction of the write began, by the clock of the server.';
        COMMENT ON COLUMN agent_sync.history.slug IS 'The slug of the agent.';
        COMMENT ON COLUMN agent_sync.history.configuration IS
            'The primary key of the configuration; null where there is none, or the daemon may not '
            'read it.';
        COMMENT ON COLUMN agent_sync.history.columns IS
            'The written columns; the clocks are always written.';
        COMMENT ON COLUMN agent_sync.history.before IS
            'provider_config before the write; null where it was not written.';
        COMMENT ON COLUMN agent_sync.history.after IS
            'provider_config after the write; null where it was not written.';
        COMMENT ON COLUMN agent_sync.history.application_name IS
            'The application_name of the transaction that caused the write; agent-sync/... for a '
            'retry of the daemon, a check of every agent, and a slug asked for by NOTIFY.';
        COMMENT ON COLUMN agent_sync.history.role IS
            'The role of that transaction: that of SET ROLE, else that of the login.';
    END IF;
    FOR part IN
        SELECT c.relation, c.comment, a.attnum IS NULL AS missing
        FROM (VALUES
            ('problem', 'The tenant of the agent; null where no tenants are set, and for an agent '
                        'without one.'),
            ('history', 'The tenant of the agent; null where no tenants are set.'))
            AS c (relation, comment)
        LEFT JOIN pg_attribute a ON a.attrelid = to_regclass('agent_sync.' || c.relation)
            AND a.attname = 'tenant' AND NOT a.attisdropped
        WHERE a.attnum IS NULL OR col_description(a.attrelid, a.attnum) IS DISTINCT FROM c.comment
    LOOP
        IF part.missing THEN
            EXECUTE format('ALTER TABLE agent_sync.%I ADD COLUMN tenant text', part.relation);
        END IF;
        EXECUTE format('COMMENT ON COLUMN agent_sync.%I.tenant IS %L', part.relation, part.comment);
    END LOOP;
    -- Hash indexes of a former state of this file: a writer chooses the hash values of the slugs,
    -- and each look-up reads every row with the same value.
    FOR part IN
        SELECT c.conname FROM pg_constraint c
        WHERE c.conrelid = 'agent_sync.problem'::regclass
          AND c.conname IN ('problem_key_is_unique', 'problem_slug_is_unique')
    LOOP
        EXECUTE format('ALTER TABLE agent_sync.problem DROP CONSTRAINT %I', part.conname);
    END LOOP;
    IF to_regclass('agent_sync.problem_slug') IS NOT NULL THEN
        DROP INDEX agent_sync.problem_slug;
    END IF;
    -- A btree holds no value over 2,704 bytes, so an agent with a long slug would fail its batch.
    -- It holds any digest, and nobody makes two texts with the same one. The text is the key
    -- (store::queries::key). An escaped tenant has no "/", and "%" only before "25" or "2F", so "%"
    -- alone is no tenant, and no two keys have the same text.
    IF to_regclass('agent_sync.problem_key_is_unique') IS NULL THEN
        EXECUTE format('CREATE UNIQUE INDEX problem_key_is_unique ON agent_sync.problem (%s)',
                       format(digest, $sql$(coalesce(replace(replace(tenant, '%', '%25'),
                           '/', '%2F'), '%') || '/' || slug)$sql$));
    END IF;
    -- The same for look-ups by the slug alone.
    IF to_regclass('agent_sync.problem_slug_digest') IS NULL THEN
        EXECUTE format('CREATE INDEX problem_slug_digest ON agent_sync.problem (%s)',
                       format(digest, 'slug'));
    END IF;

    -- A sequence that was set back, or restored without its value, would give numbers that the
    -- history already has.
    IF coalesce(pg_sequence_last_value('agent_sync.history_id_seq'), 0)
        < (SELECT coalesce(max(h.id), 0) FROM agent_sync.history h)
    THEN
        PERFORM setval('agent_sync.history_id_seq', (SELECT max(h.id) FROM agent_sync.history h));
    END IF;

    IF to_regclass('agent_sync.role') IS NULL THEN
        CREATE TABLE agent_sync.role (
            name  text  NOT NULL,
            CONSTRAINT role_pkey PRIMARY KEY (name)
        );
        COMMENT ON TABLE agent_sync.role IS
            'The roles of daemons and monitors, as named to grant.sql.';
        COMMENT ON COLUMN agent_sync.role.name IS 'The name of the role.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.role'::regclass AND a.attname = 'oid'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.role ADD COLUMN oid oid;
        COMMENT ON COLUMN agent_sync.role.oid IS
            'Its OID, by which another role of this name is told from it; null: not known.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.role'::regclass AND a.attname = 'reads_only'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.role ADD COLUMN reads_only boolean NOT NULL DEFAULT false;
        COMMENT ON COLUMN agent_sync.role.reads_only IS
            'Whether it is a monitoring role, which reads and is no role of a daemon.';
    END IF;

    IF to_regclass('agent_sync.granted') IS NULL THEN
        -- Data and not SQL: each reader builds its statement, and no text of this table is run.
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
            'The privileges that grant.sql has granted to the roles of agent_sync.role, and '
            'uninstall revokes.';
        COMMENT ON COLUMN agent_sync.granted.role IS 'The role.';
        COMMENT ON COLUMN agent_sync.granted.privilege IS 'The privilege, such as SELECT.';
        COMMENT ON COLUMN agent_sync.granted.kind IS
            'The kind of object: this database, a schema, or a relation (a table, view or '
            'sequence).';
        COMMENT ON COLUMN agent_sync.granted.schema IS
            'The schema, or that of the relation; empty for the database.';
        COMMENT ON COLUMN agent_sync.granted.object IS 'The relation; empty for another kind.';
        COMMENT ON COLUMN agent_sync.granted."column" IS
            'The column of the relation; empty for the whole relation and for another kind.';
    END IF;

    IF to_regclass('agent_sync.uncaptured') IS NULL THEN
        CREATE SEQUENCE agent_sync.uncaptured AS bigint MINVALUE 0 START 0;
        PERFORM nextval('agent_sync.uncaptured');
        repaired := true;
    END IF;
    IF strpos(coalesce(obj_description('agent_sync.uncaptured'::regclass, 'pg_class'), ''),
              'log_cnt') = 0
    THEN
        COMMENT ON SEQUENCE agent_sync.uncaptured IS
            'Counts saves whose change could not be noted in the outbox. A sequence, because it '
            'outlives a rollback and needs no more than USAGE; when it has moved, the daemon '
            'brings every agent in sync. A crash of the server moves it as well, by what '
            'PostgreSQL had reserved (up to 32): then log_cnt is 0.';
    END IF;

    -- Where the server converts text for the daemon, a character without an equal in UTF-8 would
    -- end the statement that sends it, and one that comes back as another would not be found again.
    IF getdatabaseencoding() NOT IN ('UTF8', 'SQL_ASCII')
        AND NOT EXISTS (SELECT FROM pg_proc f
                        WHERE f.oid = to_regprocedure('agent_sync.sent(text)')
                          AND f.prosrc = sent_body)
    THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION agent_sync.sent(key text) RETURNS text '
                       'LANGUAGE plpgsql STABLE STRICT AS %L', sent_body);
        COMMENT ON FUNCTION agent_sync.sent(text) IS
            'The text, if it is the same after the way to UTF-8 and back; else null.';
    END IF;
    IF to_regprocedure('agent_sync.sent(text)') IS NOT NULL
        AND NOT has_function_privilege('public', 'agent_sync.sent(text)', 'EXECUTE')
    THEN
        GRANT EXECUTE ON FUNCTION agent_sync.sent(text) TO PUBLIC;
    END IF;

    -- With the rights of its owner, because no other role may read the outbox. To call it, a role
    -- needs USAGE on the schema. A column of the key changes its type only without the triggers, so
    -- an install follows.
    FOR part IN
        WITH RECURSIVE base (name, type) AS (
            SELECT k.name, a.atttypid
            FROM (VALUES ('slug'), ('tenant')) AS k (name)
            JOIN pg_attribute a ON a.attrelid = agents
                AND a.attname = pg_catalog.current_setting('agent_sync.tables')::jsonb
                    #>> ARRAY['agents', 'columns', k.name]
            UNION ALL
            SELECT b.name, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type
            WHERE t.typtype = 'd'
        ), typed (name, written) AS (
            SELECT b.name, CASE
                WHEN b.type = 'uuid'::regtype THEN as_uuid
                WHEN b.type IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN as_integer
                WHEN b.type = 'bpchar'::regtype THEN as_padded
                END
            FROM base b)
        SELECT placed.place, format(t.written, placed.parameter) AS written
        FROM typed t
        JOIN (VALUES ('slug', '/* slug */$1', '$1'), ('tenant', '/* tenant */$2', '$2'))
            AS placed (name, place, parameter) ON placed.name = t.name
        WHERE t.written IS NOT NULL
    LOOP
        in_sync_body := replace(in_sync_body, part.place, part.written);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_proc f
                   WHERE f.oid = to_regprocedure('agent_sync.in_sync(text, text)')
                     AND f.prosrc = in_sync_body AND f.prosecdef
                     AND f.proconfig = '{"search_path=pg_catalog, pg_temp"}')
    THEN
        EXECUTE format('CREATE OR REPLACE FUNCTION agent_sync.in_sync(slug text, tenant text '
                       'DEFAULT NULL) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER '
                       'SET search_path = pg_catalog, pg_temp AS %L', in_sync_body);
        COMMENT ON FUNCTION agent_sync.in_sync(text, text) IS
            'Whether the agent with this slug has no pending change and no problem: every change '
            'that was saved before is applied. It reads the whole outbox: a SERIALIZABLE '
            'transaction that calls it can make others that save fail with 40001.';
    END IF;
    IF NOT has_function_privilege('public', 'agent_sync.in_sync(text, text)', 'EXECUTE') THEN
        GRANT EXECUTE ON FUNCTION agent_sync.in_sync(text, text) TO PUBLIC;
    END IF;

    -- -1: what was saved while a part was missing could not be noted, so the daemon checks every
    -- agent.
    IF repaired THEN
        UPDATE agent_sync.install SET uncaptured_seen = -1 WHERE uncaptured_seen <> -1;
    END IF;
    UPDATE agent_sync.install SET version = 1 WHERE version < 1;
    PERFORM set_config('role', acting, true);
END
$schema$;
