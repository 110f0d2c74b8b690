-- agent-sync: repairs owners, row-level security and persistence of existing tables. Run before the
-- first numbered file and after the last, in the same transaction. Without a fault it changes
-- nothing.
--
-- Locks: another owner, and row-level security that is switched off, take ACCESS EXCLUSIVE on the
-- table. A save that meets it on the outbox continues with a WARNING and a count (C4). The wait is
-- at most 200 ms.

DO $mend$
DECLARE
    acting       CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    lock_timeout CONSTANT text := pg_catalog.current_setting('lock_timeout');
    fault        record;
    kind         text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);

    PERFORM set_config('lock_timeout', '200ms', true);

    -- Every object belongs to the owner of the schema, except the capture functions (attach.sql).
    -- proof.sql has checked that the present owners are trusted.
    FOR fault IN
        SELECT format('ALTER %s agent_sync.%I OWNER TO %s',
                      CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE'
                          ELSE 'TABLE' END,
                      c.relname, n.nspowner::regrole) AS statement
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'agent_sync' AND c.relowner <> n.nspowner
          AND c.relname IN ('outbox', 'problem', 'install', 'history', 'role', 'granted',
                            'uncaptured', 'state')
          AND c.relkind IN ('r', 'v', 'S')
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO %s', f.oid::regprocedure, n.nspowner::regrole)
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE f.oid IN (to_regprocedure('agent_sync.slugs()'),
                        to_regprocedure('agent_sync.sent(text)'),
                        to_regprocedure('agent_sync.in_sync(text, text)'))
          AND f.proowner <> n.nspowner
        ORDER BY 1
    LOOP
        EXECUTE fault.statement;
    END LOOP;
    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n
        WHERE n.nspname = 'agent_sync' AND pg_get_userbyid(n.nspowner) <> current_user;

    -- Row-level security may have been enabled by hand, or by an event trigger for every new table.
    -- Privileges close these tables to PUBLIC, so policies would only hide rows from the daemon.
    FOR fault IN
        SELECT c.oid::regclass AS relation, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind = 'r'
          AND c.relname IN ('outbox', 'problem', 'install', 'history', 'role', 'granted')
          AND (c.relrowsecurity OR c.relforcerowsecurity)
    LOOP
        IF fault.relrowsecurity THEN
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', fault.relation);
        END IF;
        IF fault.relforcerowsecurity THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', fault.relation);
        END IF;
    END LOOP;
    PERFORM set_config('lock_timeout', lock_timeout, true);

    -- A crash of the server empties an UNLOGGED table and resets such a sequence (PostgreSQL 15).
    -- A table takes the sequence of its column along, so the tables come first.
    FOR kind IN VALUES ('r'), ('S') LOOP
        FOR fault IN
            SELECT c.oid::regclass AS relation FROM pg_class c
            WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind::text = kind
              AND c.relpersistence = 'u'
        LOOP
            EXECUTE format('ALTER %s %s SET LOGGED', CASE kind WHEN 'S' THEN 'SEQUENCE'
                                                               ELSE 'TABLE' END, fault.relation);
        END LOOP;
    END LOOP;

    -- A dump of the schema alone, or a TRUNCATE of every table, leaves the table without its row.
    -- Earlier saves may not be in the outbox, so the daemon checks every agent (-1).
    IF to_regclass('agent_sync.install') IS NOT NULL THEN
        INSERT INTO agent_sync.install (version, uncaptured_seen)
            SELECT 1, -1 WHERE NOT EXISTS (SELECT FROM agent_sync.install);
    END IF;
    PERFORM set_config('role', acting, true);
END
$mend$;
