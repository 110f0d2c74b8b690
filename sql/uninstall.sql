-- agent-sync: takes out everything that the install made, and nothing else.
--
--     psql -1 -v ON_ERROR_STOP=1 -f sql/uninstall.sql "$DATABASE_URL"
--
-- `agent-sync uninstall` does the same. Where nothing is installed it changes nothing. An object of somebody else's
-- that depends on the schema agent_sync stops it with an error, and then nothing is removed.
--
-- Locks: DROP TRIGGER takes ACCESS EXCLUSIVE on the two tables. It is waited for no longer than lock_timeout (2 s),
-- and held for milliseconds.

DO $uninstall$
DECLARE
    made record;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

    IF to_regnamespace('agent_sync') IS NULL THEN
        RETURN;
    END IF;

    FOR made IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', made.tgname, made.relation);
    END LOOP;

    DROP VIEW IF EXISTS agent_sync.state;
    DROP FUNCTION IF EXISTS agent_sync.capture_agent();
    DROP FUNCTION IF EXISTS agent_sync.capture_configuration();
    DROP SEQUENCE IF EXISTS agent_sync.uncaptured;
    DROP TABLE IF EXISTS agent_sync.problem;
    DROP TABLE IF EXISTS agent_sync.outbox;
    DROP TABLE IF EXISTS agent_sync.install;
    DROP SCHEMA agent_sync;
END
$uninstall$;
