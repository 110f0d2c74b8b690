-- agent-sync, schema version 3: a problem can be noted for any slug, and a batch that ends
-- connections leaves a trace.
--
-- Run after 0002_history.sql and before attach.sql, in the same transaction; see 0001_schema.sql.
-- Running it again changes nothing, but for making what has been dropped since.
--
-- Locks: the constraints take ACCESS EXCLUSIVE on agent_sync.problem, once, and the columns on
-- agent_sync.install. A save touches neither table. They are waited for no longer than
-- lock_timeout.

DO $whole$
DECLARE
    acting  CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
    comment record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n WHERE n.nspname = 'agent_sync'
          AND pg_get_userbyid(n.nspowner) <> current_user;

    -- A btree holds no value over 2,704 bytes, so one agent with a long slug would keep its whole
    -- batch from being committed. A hash index holds the hash alone, and the constraint compares
    -- the rows that have the same.
    IF EXISTS (SELECT FROM pg_constraint c
               WHERE c.conrelid = 'agent_sync.problem'::regclass AND c.conname = 'problem_pkey')
    THEN
        ALTER TABLE agent_sync.problem DROP CONSTRAINT problem_pkey;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_constraint c
                   WHERE c.conrelid = 'agent_sync.problem'::regclass
                     AND c.conname = 'problem_slug_is_unique')
    THEN
        ALTER TABLE agent_sync.problem ADD CONSTRAINT problem_slug_is_unique EXCLUDE
          USING hash (slug WITH =);
    END IF;
    -- Without a key, a publication FOR ALL TABLES would keep the daemon from updating and deleting.
    IF EXISTS (SELECT FROM pg_class c WHERE c.oid = 'agent_sync.problem'::regclass
      AND c.relreplident <> 'f') THEN
        ALTER TABLE agent_sync.problem REPLICA IDENTITY FULL;
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

    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.install'::regclass AND a.attname = 'last_tried'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.install ADD COLUMN last_tried text;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.install'::regclass AND a.attname = 'tries'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.install ADD COLUMN tries integer NOT NULL DEFAULT 0;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = 'agent_sync.install'::regclass AND a.attname = 'mapping'
                     AND NOT a.attisdropped)
    THEN
        ALTER TABLE agent_sync.install ADD COLUMN mapping text NOT NULL DEFAULT '';
    END IF;

    FOR comment IN
        SELECT c.relation, c.col, c.says
        FROM (VALUES
            ('problem', 'kind',
             'missing_configuration: no configuration row has this slug; rejected: the agent''s settings cannot be mapped; '
             'failed: PostgreSQL refused the write; ambiguous: more than one agent has this slug, so nothing is written for it.'),
            ('install', 'last_tried',
             'The slug of the batch that the last connections ended in, noted before the batch is tried; null when the last '
             'batch was committed.'),
            ('install', 'tries', 'How often the batch of last_tried has been tried.'),
            ('install', 'fingerprint',
             'Four words: the MD5 sum of what was to be made, with what came of it; that of the bodies of the capture functions; the major '
             'version of the server; and the MD5 sum of the triggers as that version describes them.'),
            ('install', 'mapping',
             'The MD5 sum of the rules and columns of the mapping under which every configuration was last in sync.')) AS c (relation, col, says)
        JOIN pg_attribute a ON a.attrelid = format('agent_sync.%I', c.relation)::regclass
          AND a.attname = c.col
        WHERE col_description(a.attrelid, a.attnum) IS DISTINCT FROM c.says
    LOOP
        EXECUTE format('COMMENT ON COLUMN agent_sync.%I.%I IS %L', comment.relation, comment.col,
          comment.says);
    END LOOP;

    IF strpos(coalesce(obj_description('agent_sync.uncaptured'::regclass, 'pg_class'), ''),
      'log_cnt') = 0 THEN
        COMMENT ON SEQUENCE agent_sync.uncaptured IS
            'Counts saves whose change could not be noted in the outbox. A sequence, because it outlives a rollback and '
            'needs no more than USAGE; when it has moved, the daemon brings every agent in sync. A crash of the server moves it as well, '
            'by what PostgreSQL had reserved (up to 32): then log_cnt is 0.';
    END IF;

    UPDATE agent_sync.install SET version = 3 WHERE version < 3;
    PERFORM set_config('role', acting, true);
END
$whole$;
