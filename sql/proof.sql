-- agent-sync: proves that what stands under the names of an install was made by one. Run first, in the same transaction, by the install
-- and before uninstall.sql, which refuses to run without it. The whole install by hand is
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/proof.sql -f sql/guard.sql -f sql/mend.sql -f sql/0001_schema.sql -f sql/0002_history.sql \
--         -f sql/0003_whole.sql -f sql/mend.sql -f sql/attach.sql -f sql/grant.sql "$DATABASE_URL"
--
-- Proof is the comment that the install gives to each object. Where comments were stripped, as by pg_dump --no-comments, it is the
-- exact structure: the kind, the columns and their types. What has neither belongs to somebody else: the error names it, and nothing
-- is changed.
--
-- A schema agent_sync without anything in it proves nothing and is in nobody's way: the install uses it, and the uninstall leaves it.

DO $proof$
DECLARE
    home    oid := pg_catalog.to_regnamespace('agent_sync');
    strange record;
    whole   boolean := false; -- Whether the table agent_sync.install is ours.
    held    text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);

    FOR strange IN
        WITH part (name, kind, kind_name, says, needed, later) AS (VALUES
            ('install', 'r', 'table', 'What is installed: one row.',
             ARRAY['only_row boolean', 'version integer', 'tables jsonb', 'fingerprint text', 'uncaptured_seen bigint', 'seal text',
                   'installed_at timestamp with time zone'],
             ARRAY['last_sync timestamp with time zone', 'last_tried text', 'tries integer', 'mapping text']),
            ('outbox', 'r', 'table', 'Slugs whose agent or configuration changed',
             ARRAY['slug text', 'at timestamp with time zone'],
             ARRAY['application_name text', 'role text']),
            ('problem', 'r', 'table', 'Agents that could not be brought in sync',
             ARRAY['slug text', 'kind text', 'detail text', 'sqlstate text', 'since timestamp with time zone',
                   'last_seen timestamp with time zone', 'attempts integer', 'next_attempt timestamp with time zone'],
             '{}'),
            ('role', 'r', 'table', 'The roles that daemons connect with',
             ARRAY['name text', 'granted text[]'],
             '{}'),
            ('history', 'r', 'table', 'What the daemon has written lately',
             ARRAY['id bigint', 'at timestamp with time zone', 'slug text', 'configuration text', 'columns text[]', 'before text',
                   'after text', 'application_name text', 'role text'],
             '{}'),
            ('uncaptured', 'S', 'sequence', 'Counts saves whose change could not be noted',
             ARRAY['last_value bigint', 'log_cnt bigint', 'is_called boolean', 'minimum 0'],
             '{}'),
            ('state', 'v', 'view', 'One row per agent',
             ARRAY['slug text', 'pending boolean', 'problem text', 'since timestamp with time zone'],
             '{}')
        ), met AS (
            SELECT p.*, c.relkind::text AS found, coalesce(obj_description(c.oid, 'pg_class'), '') AS comment,
                   ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         UNION ALL SELECT 'minimum ' || s.seqmin FROM pg_sequence s WHERE s.seqrelid = c.oid) AS has
            FROM part p JOIN pg_class c ON c.relnamespace = home AND c.relname = p.name
        )
        SELECT m.name, m.kind_name, m.found = m.kind AS fits,
               array_to_string(ARRAY(SELECT n FROM unnest(m.needed) AS n WHERE n <> ALL (m.has)), ', ') AS lacking,
               array_to_string(ARRAY(SELECT h FROM unnest(m.has) AS h WHERE h <> ALL (m.needed || m.later)), ', ') AS further,
               m.found = m.kind AND m.needed <@ m.has AND (starts_with(m.comment, m.says) OR m.has <@ (m.needed || m.later)) AS ours
        FROM met m ORDER BY m.name
    LOOP
        IF strange.ours THEN
            whole := whole OR strange.name = 'install';
        ELSE
            RAISE EXCEPTION 'agent_sync.% was not made by an install of agent-sync: expected %, found %', strange.name,
                CASE WHEN NOT strange.fits THEN 'a ' || strange.kind_name
                     WHEN strange.lacking <> '' THEN format('the columns %s', strange.lacking)
                     ELSE format('the comment of an install, or no column but its own') END,
                CASE WHEN NOT strange.fits THEN 'something else'
                     WHEN strange.lacking <> '' THEN format('a %s without them', strange.kind_name)
                     ELSE format('neither, and the columns %s', strange.further) END
                USING ERRCODE = 'duplicate_object',
                HINT = 'If it is somebody else''s, rename it or move it into another schema. If it is a part of agent-sync that was changed, undo the change, or drop it. Then run this again.';
        END IF;
    END LOOP;

    FOR strange IN
        SELECT f.oid::regprocedure AS name
        FROM pg_proc f
        JOIN (VALUES ('capture_agent', 'Notes a changed agent in agent_sync.outbox'),
                     ('capture_configuration', 'Notes a new configuration in agent_sync.outbox')) AS part (name, says)
            ON part.name = f.proname
        WHERE f.pronamespace = home AND f.pronargs = 0
          AND NOT starts_with(coalesce(obj_description(f.oid, 'pg_proc'), ''), part.says)
          AND strpos(f.prosrc, '-- Notes the slug of the changed row in the outbox, and wakes the daemon if it sleeps.') = 0
    LOOP
        RAISE EXCEPTION 'the function % was not made by an install of agent-sync: expected the comment or the body of an install, found neither',
            strange.name
            USING ERRCODE = 'duplicate_object',
            HINT = 'If it is somebody else''s, rename it or move it into another schema. If it is a part of agent-sync that was changed, drop it with CASCADE. Then run this again.';
    END LOOP;

    IF home IS NOT NULL AND NOT whole AND NOT starts_with(coalesce(obj_description(home, 'pg_namespace'), ''), 'agent-sync: ') THEN
        SELECT string_agg(told.what, ', ') INTO held FROM (
            SELECT pg_describe_object(d.classid, d.objid, 0) AS what FROM pg_depend d
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.deptype = 'n'
            ORDER BY 1 LIMIT 3) AS told;
        IF held IS NOT NULL THEN
            RAISE EXCEPTION 'the schema agent_sync was not made by an install of agent-sync: expected its comment or its table agent_sync.install, found neither, but %', held
                USING ERRCODE = 'duplicate_object',
                HINT = 'agent-sync keeps its tables in a schema of this name: rename that schema, or move what is in it into another one. Then run this again.';
        END IF;
    END IF;

    -- For uninstall.sql: this transaction has the proof.
    PERFORM set_config('agent_sync.proven', now()::text, true);
END
$proof$;
