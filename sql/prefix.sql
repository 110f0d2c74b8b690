-- agent-sync: refuses a schema whose name begins the settings of an extension of the server. The
-- settings of agent-sync begin with it as well, and PostgreSQL 15 and later refuse such a setting
-- of others. Run before any of them is set.

DO $prefix$
DECLARE
    of_others CONSTANT pg_catalog.text := (
        SELECT pg_catalog.min(s.name) FROM pg_catalog.pg_settings s
        WHERE pg_catalog.starts_with(s.name, 'agent_sync.'));
BEGIN
    IF of_others IS NOT NULL THEN
        RAISE EXCEPTION 'the setting % belongs to an extension of the server, and the settings of '
                        'agent-sync would begin with the name of the schema agent_sync as well',
            of_others
            USING ERRCODE = 'duplicate_object',
            HINT = 'Choose another install.schema for this database.';
    END IF;
END
$prefix$;
