-- agent-sync: refuses to install over a later version, over an install for other tables, and over
-- triggers of others. Run after proof.sql, in the same transaction. It also creates the schema.
--
-- The setting agent_sync.version is the schema version of the program. Without it, the version is
-- not checked:
--
--     SELECT set_config('agent_sync.version', '1', true);
--
-- The setting agent_sync.move lets the install take other tables in place of those that it serves:
--
--     SELECT set_config('agent_sync.move', 'true', true);

DO $guard$
DECLARE
    acting    CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    program   integer := nullif(pg_catalog.current_setting('agent_sync.version', true), '');
    given     CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    asked     CONSTANT text[] := ARRAY[pg_catalog.current_setting('agent_sync.agents'),
                                       pg_catalog.current_setting('agent_sync.configurations')];
    moves     CONSTANT boolean := coalesce(
        nullif(pg_catalog.current_setting('agent_sync.move', true), '')::boolean, false);
    served    text[];
    installed record;
    trusted   oid[]; -- The roles whose schemas may be other installs.
    found     record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);

    IF current_setting('agent_sync.proven', true) IS DISTINCT FROM
        concat(coalesce(to_regnamespace('agent_sync')::oid, 0), ' ', now())
    THEN
        RAISE EXCEPTION 'this transaction has no proof that an install of agent-sync made the '
                        'schema agent_sync'
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'If sql/proof.sql ran just before, in the same transaction, another session has '
                   'created or replaced the schema since then: find that session, and run this '
                   'again. Otherwise run sql/proof.sql first.';
    END IF;
    -- Before any name is looked up in it. No other session can create a schema of this name now.
    IF to_regnamespace('agent_sync') IS NULL THEN
        CREATE SCHEMA agent_sync;
        REVOKE ALL ON SCHEMA agent_sync FROM PUBLIC;
        COMMENT ON SCHEMA agent_sync IS
            'agent-sync: keeps the agent configurations in step with the agents. '
            'Remove it with "agent-sync uninstall".';
    END IF;

    -- CREATE OR REPLACE TRIGGER would replace a trigger of others, and the uninstall would drop it.
    FOR found IN
        SELECT t.tgname AS name, t.tgrelid::regclass AS relation, t.tgfoid::regprocedure AS calls
        FROM pg_trigger t
        JOIN pg_class c ON c.oid = t.tgrelid
        JOIN pg_proc f ON f.oid = t.tgfoid
        JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE (t.tgrelid = to_regclass(asked[1])
                   AND t.tgname IN ('agent_sync_insert', 'agent_sync_update')
               OR t.tgrelid = to_regclass(asked[2])
                   AND (given -> 'capture_configurations')::boolean
                   AND (t.tgname IN ('agent_sync_insert', 'agent_sync_update')
                        OR t.tgname = 'agent_sync_delete' AND c.relkind = 'p'))
          AND NOT (n.nspname = 'agent_sync'
                   AND f.proname IN ('capture_agent', 'capture_configuration'))
        ORDER BY 2, 1
    LOOP
        RAISE EXCEPTION 'the table % has a trigger % that was not made by an install of '
                        'agent-sync: it calls %',
            found.relation, quote_ident(found.name), found.calls
            USING ERRCODE = 'duplicate_object',
            HINT = format('The install makes a trigger of this name. Rename the other one (ALTER '
                          'TRIGGER %I ON %s RENAME TO ...), or drop it. Then run the install '
                          'again.',
                          found.name, found.relation);
    END LOOP;

    -- T6: two installs would write the same configurations, or take each other's locks. The lock of
    -- proof.sql admits one install in a database at a time, whatever its schema. The daemon asks
    -- the same (store::queries::rivals). Any role can make a function or a table of such a name. So
    -- one counts only where its owner, or that of the schema of an install around it, is a
    -- superuser, the owner of this install, or a role that can act as the owner of one of the two
    -- tables; and one that is temporary never.
    trusted := ARRAY(
        SELECT r.oid FROM pg_roles r
        WHERE r.rolsuper
           OR r.oid = (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'agent_sync')
           OR EXISTS (SELECT FROM pg_class c
                      WHERE c.oid IN (to_regclass(asked[1]), to_regclass(asked[2]))
                        AND pg_has_role(r.oid, c.relowner, 'MEMBER')));
    FOR found IN
        WITH RECURSIVE tree (relation) AS (
            SELECT to_regclass(asked[2])::oid
            UNION
            SELECT CASE WHEN i.inhparent = t.relation THEN i.inhrelid ELSE i.inhparent END
            FROM tree t JOIN pg_inherits i ON t.relation IN (i.inhparent, i.inhrelid)
        )
        SELECT n.nspname AS schema,
               (SELECT string_agg(format('DROP TRIGGER %I ON %s;', t.tgname, t.tgrelid::regclass),
                                  ' ' ORDER BY t.tgrelid::regclass::text, t.tgname)
                FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                WHERE f.pronamespace = n.oid AND t.tgparentid = 0
                  AND (t.tgrelid = to_regclass(asked[1])
                       OR t.tgrelid IN (SELECT tree.relation FROM tree))) AS drops,
               EXISTS (SELECT FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                       WHERE f.pronamespace = n.oid AND f.proname = 'capture_configuration'
                         AND f.proargtypes = ''
                         AND (ours.is_trusted OR f.proowner = ANY (trusted))
                         AND t.tgrelid IN (SELECT tree.relation FROM tree))
               OR EXISTS (SELECT FROM pg_class i
                          JOIN pg_attribute a ON a.attrelid = i.oid AND a.attname = 'tables'
                          CROSS JOIN LATERAL concat(' and ', asked[2], '.') AS ending
                          WHERE i.relnamespace = n.oid AND i.relname = 'install'
                            AND (ours.is_trusted OR i.relowner = ANY (trusted))
                            AND right(col_description(i.oid, a.attnum), length(ending)) = ending)
                   AS serves,
               EXISTS (SELECT FROM pg_proc f
                       WHERE f.pronamespace = n.oid AND f.proname = 'capture_agent'
                         AND f.proargtypes = '' -- With all of it, an index finds one row (S30).
                         AND (ours.is_trusted OR f.proowner = ANY (trusted))
                         AND strpos(f.prosrc, '(1634169721, 2)') > 0) AS locks
        FROM pg_namespace n
        CROSS JOIN LATERAL (SELECT n.nspowner = ANY (trusted) AND coalesce(starts_with(
            obj_description(n.oid, 'pg_namespace'), 'agent-sync: '), false)) AS ours (is_trusted)
        WHERE n.nspname <> 'agent_sync' AND n.nspname !~ '^pg_'
        ORDER BY 1
    LOOP
        IF found.serves THEN
            RAISE EXCEPTION 'the install in the schema "%" serves % already', found.schema, asked[2]
                USING ERRCODE = 'object_in_use',
                HINT = format('One install serves a table of configurations. Set install.schema = '
                              '"%s" for this database; or, if this install takes the place of that '
                              'one, run "agent-sync uninstall" with the settings of that one '
                              'first.%s', found.schema,
                              ' Or, if the tables are copies of those that it serves: '
                              || found.drops);
        END IF;
        IF found.locks THEN
            RAISE EXCEPTION 'the advisory locks of the schema agent_sync have the key of those of '
                            'the install in the schema %', found.schema
                USING ERRCODE = 'duplicate_object',
                HINT = 'Choose another install.schema for this database.';
        END IF;
    END LOOP;

    -- The owner of the schema may have revoked its own privileges.
    FOR found IN
        SELECT n.nspowner::regrole AS owner FROM pg_namespace n
        WHERE n.nspname = 'agent_sync'
          AND NOT (has_schema_privilege(n.nspowner, n.oid, 'USAGE')
                   AND has_schema_privilege(n.nspowner, n.oid, 'CREATE'))
    LOOP
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA agent_sync TO %s', found.owner);
    END LOOP;
    PERFORM set_config('role', pg_get_userbyid(n.nspowner), true)
        FROM pg_namespace n
        WHERE n.nspname = 'agent_sync' AND pg_get_userbyid(n.nspowner) <> current_user;
    IF to_regclass('agent_sync.install') IS NULL THEN
        PERFORM set_config('role', acting, true);
        RETURN;
    END IF;
    SELECT i.version, i.tables INTO installed FROM agent_sync.install i;
    PERFORM set_config('role', acting, true);
    IF installed.version > program THEN
        RAISE EXCEPTION 'the installed schema has version %, and this program works with version %',
            installed.version, program
            USING HINT = 'Run the install of the version of agent-sync that installed it, or of a '
                         'later one.';
    END IF;

    -- T6: one install has one outbox, so it serves one pair of tables. The settings may name other
    -- tables once those of the install have been renamed or dropped. While a table with its old
    -- name has a trigger of the install, the install serves another pair.
    served := ARRAY[
        format('%I.%I', coalesce(installed.tables #>> '{agents,schema}', 'public'),
                        coalesce(installed.tables #>> '{agents,table}', 'agents')),
        format('%I.%I', coalesce(installed.tables #>> '{configurations,schema}', 'public'),
                        coalesce(installed.tables #>> '{configurations,table}',
                                 'agent_configurations'))];
    IF served <> asked AND NOT moves AND EXISTS (
        SELECT FROM pg_trigger t
        JOIN pg_proc f ON f.oid = t.tgfoid
        JOIN pg_namespace n ON n.oid = f.pronamespace
        WHERE n.nspname = 'agent_sync' AND f.proname IN ('capture_agent', 'capture_configuration')
          AND t.tgparentid = 0
          AND t.tgrelid IN (to_regclass(served[1]), to_regclass(served[2]))
          AND t.tgrelid IS DISTINCT FROM to_regclass(asked[1])
          AND t.tgrelid IS DISTINCT FROM to_regclass(asked[2]))
    THEN
        RAISE EXCEPTION 'the install in this database serves % and %, and this one was asked for % '
                        'and %',
            served[1], served[2], asked[1], asked[2]
            USING ERRCODE = 'object_in_use',
            HINT = 'One install serves one pair of tables. Give a further pair an install of its '
                   'own: set install.schema for this database, such as "agent_sync_b". Or, if '
                   'these tables take the place of the others, run "agent-sync install --move".';
    END IF;
END
$guard$;
