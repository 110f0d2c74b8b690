-- agent-sync: makes whole what the numbered files leave alone once their tables are there. Run
-- before the first of them, and again after the last, in the same transaction. It changes nothing
-- where nothing is wrong.
--
-- Locks: switching row-level security off, and another owner, take ACCESS EXCLUSIVE on the table. A
-- save that meets it on the outbox goes on, with a WARNING and a count (C4). It is waited for no
-- longer than 200 ms.

DO $mend$
DECLARE
    acting   CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
    patience text;
    hidden   record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);

    -- All of it belongs to the owner of the schema, whom the rest of the install acts as. proof.sql
    -- has seen that the owners of the moment are trusted. The capture functions are the business of
    -- attach.sql.
    FOR hidden IN
        SELECT format('ALTER %s agent_sync.%I OWNER TO %s', CASE c.relkind WHEN 'v' THEN 'VIEW'
          WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                      c.relname, n.nspowner::regrole) AS statement
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'agent_sync' AND c.relowner <> n.nspowner
          AND c.relname IN ('outbox', 'problem', 'install', 'history', 'role', 'granted',
            'uncaptured', 'state') AND c.relkind IN ('r', 'v', 'S')
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO %s', f.oid::regprocedure, n.nspowner::regrole)
        FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE f.oid = to_regprocedure('agent_sync.slugs()') AND f.proowner <> n.nspowner
        ORDER BY 1
    LOOP
        patience := current_setting('lock_timeout');
        PERFORM set_config('lock_timeout', '200ms', true);
        EXECUTE hidden.statement;
        PERFORM set_config('lock_timeout', patience, true);
    END LOOP;
    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n WHERE n.nspname = 'agent_sync'
          AND pg_get_userbyid(n.nspowner) <> current_user;

    -- An event trigger may enable row-level security on every new table, or somebody did it by
    -- hand. The tables of agent-sync are closed to PUBLIC by privileges. Policies would add nothing
    -- to that, and hide rows from the daemon.
    FOR hidden IN
        SELECT c.oid::regclass AS relation, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind = 'r'
          AND c.relname IN ('outbox', 'problem', 'install', 'history', 'role', 'granted')
            AND (c.relrowsecurity OR c.relforcerowsecurity)
    LOOP
        patience := current_setting('lock_timeout');
        PERFORM set_config('lock_timeout', '200ms', true);
        IF hidden.relrowsecurity THEN
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', hidden.relation);
        END IF;
        IF hidden.relforcerowsecurity THEN
            EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', hidden.relation);
        END IF;
        PERFORM set_config('lock_timeout', patience, true);
    END LOOP;

    -- A crash of the server empties a table that is UNLOGGED, and the changes in it are gone.
    FOR hidden IN
        SELECT c.oid::regclass AS relation FROM pg_class c
        WHERE c.relnamespace = to_regnamespace('agent_sync') AND c.relkind = 'r'
          AND c.relpersistence = 'u'
    LOOP
        EXECUTE format('ALTER TABLE %s SET LOGGED', hidden.relation);
    END LOOP;

    -- A dump of the schema alone, or a TRUNCATE of every table, leaves the table without its row.
    -- What was saved meanwhile may not be in the outbox, so the daemon starts with every agent
    -- (-1). The numbered files that follow raise the version.
    IF to_regclass('agent_sync.install') IS NOT NULL THEN
        INSERT INTO agent_sync.install (version, uncaptured_seen)
            SELECT 1, -1 WHERE NOT EXISTS (SELECT FROM agent_sync.install);
    END IF;
    PERFORM set_config('role', acting, true);
END
$mend$;
