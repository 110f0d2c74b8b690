-- agent-sync: keeps an install from being run over a later one. Run before the other files, in the same transaction.
--
-- The program says which version of the schema it works with:
--
--     SELECT set_config('agent_sync.version', '1', true);
--
-- Where nobody has said so, nothing is checked.

DO $guard$
DECLARE
    program   integer := nullif(pg_catalog.current_setting('agent_sync.version', true), '');
    installed integer;
BEGIN
    IF pg_catalog.to_regclass('agent_sync.install') IS NULL THEN
        RETURN;
    END IF;
    SELECT i.version INTO installed FROM agent_sync.install i;
    IF installed > program THEN
        RAISE EXCEPTION 'the installed schema has version %, and this program works with version %', installed, program
            USING HINT = 'Run the install of the version of agent-sync that installed it, or of a later one.';
    END IF;
END
$guard$;
