-- agent-sync: removes everything that the install made, and nothing else.
--
--     cd sql && psql -1 -v ON_ERROR_STOP=1 \
--         -f names.sql -f proof.sql -f uninstall.sql "$DATABASE_URL"
--
-- `agent-sync uninstall` does the same. Where nothing is installed it changes nothing. An object of
-- others that has one of the names, or depends on the schema agent_sync, is an error, and then
-- nothing is removed. The file acts as the owner of the schema where it can, and runs no text of a
-- table.
--
-- The privileges that grant.sql granted are revoked, except those that the role needs for another
-- install in this database. A role that grant.sql created, of a daemon or to monitor, is dropped,
-- unless something else depends on it: another database that uses it (the last uninstall drops it),
-- or a privilege from others.
--
-- Locks: DROP TRIGGER takes ACCESS EXCLUSIVE on the two tables. Each lock is awaited for 200 ms at
-- most. When one is not available, all of them are released for 200 ms, and then tried again, five
-- times.

DO $uninstall$
DECLARE
    created_roles CONSTANT text[] := ARRAY[
        'agent-sync: the role of the daemon; made by "agent-sync install --role".',
        'agent-sync: a monitoring role; made by "agent-sync install --monitor".'];
    lost_save CONSTANT text := 'agent_sync: a save could be neither noted nor counted';
    found   record;
    others  CONSTANT oid[] := pg_catalog.current_setting('agent_sync.other_outboxes');
    elsewhere CONSTANT jsonb := pg_catalog.current_setting('agent_sync.needed_elsewhere');
    lost    oid[];
    -- Roles as set_config('role') takes them.
    acting  CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    schema_owner_role text; -- The owner of the schema, or "acting" where it is the same role.
    granted jsonb := '[]';
    known   jsonb := '{}'; -- The noted roles: the noted name of each, and its present one.
    roles   text[] := '{}';
    name    text;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

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
    IF to_regnamespace('agent_sync') IS NULL THEN
        RETURN;
    END IF;
    -- A schema of this name that is empty and was not made by an install.
    IF NOT starts_with(
            coalesce(obj_description(to_regnamespace('agent_sync'), 'pg_namespace'), ''),
            'agent-sync: ')
        AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.refclassid = 'pg_namespace'::regclass
                          AND d.refobjid = to_regnamespace('agent_sync') AND d.deptype = 'n')
    THEN
        RETURN;
    END IF;

    -- agent_sync.granted is data of the owner of the schema, so its privileges are revoked with the
    -- rights of that role. A role that an install created has a comment that says so, which no
    -- table can forge: its privileges are revoked with the rights of the caller.
    SELECT CASE WHEN pg_get_userbyid(n.nspowner) = current_user THEN acting
                ELSE pg_get_userbyid(n.nspowner)::text END
        INTO schema_owner_role FROM pg_namespace n WHERE n.nspname = 'agent_sync';
    PERFORM set_config('role', schema_owner_role, true);
    IF to_regclass('agent_sync.role') IS NOT NULL THEN
        -- sql/grant.sql recognises a role alike. An earlier install has noted no OID.
        SELECT coalesce(jsonb_object_agg(r.name, p.rolname), '{}') INTO known
            FROM (SELECT r.name, (to_jsonb(r) ->> 'oid')::oid AS oid,
                         (to_jsonb(r) ->> 'reads_only')::boolean AS reads_only
                  FROM agent_sync.role r) AS r
            CROSS JOIN LATERAL (
                SELECT p.oid, p.rolname::text FROM pg_roles p
                WHERE (p.oid = r.oid OR p.rolname = r.name)
                  AND (p.oid = r.oid AND p.rolname = r.name
                       OR has_table_privilege(p.oid, to_regclass('agent_sync.outbox'),
                              CASE WHEN r.reads_only THEN 'SELECT' ELSE 'DELETE' END))
                ORDER BY p.oid = r.oid DESC NULLS LAST LIMIT 1) AS p;
        roles := ARRAY(SELECT DISTINCT k.value FROM jsonb_each_text(known) AS k ORDER BY 1);
    END IF;
    IF to_regclass('agent_sync.granted') IS NOT NULL THEN
        SELECT coalesce(jsonb_agg(to_jsonb(g) || jsonb_build_object('role', known ->> g.role)),
                        '[]')
            INTO granted FROM agent_sync.granted g WHERE known ? g.role;
    END IF;
    FOR found IN
        SELECT g.*,
               coalesce(shobj_description(p.oid, 'pg_authid'), '') = ANY (created_roles) AS ours
        FROM jsonb_to_recordset(granted) AS g (role text, privilege text, kind text, schema text,
                                               object text, "column" text)
        JOIN pg_roles p ON p.rolname = g.role
        -- A keyword cannot be quoted as a name.
        WHERE g.privilege IN ('CONNECT', 'USAGE', 'SELECT', 'INSERT', 'UPDATE', 'DELETE')
          AND g.schema <> 'agent_sync' -- Such a privilege goes with its object.
          -- grant.sql decides alike.
          AND NOT (EXISTS (SELECT FROM unnest(others) AS o (outbox)
                           WHERE has_table_privilege(p.oid, o.outbox, 'SELECT'))
                   AND elsewhere @> jsonb_build_array(
                       jsonb_build_array(g.kind, g.schema, g.object)))
    LOOP
        PERFORM set_config('role', CASE WHEN found.ours THEN acting ELSE schema_owner_role END,
                           true);
        BEGIN
            EXECUTE format('REVOKE %s%s ON %s FROM %I', found.privilege,
                CASE WHEN found."column" = '' THEN '' ELSE format(' (%I)', found."column") END,
                CASE found.kind WHEN 'database' THEN format('DATABASE %I', current_database())
                               WHEN 'schema' THEN format('SCHEMA %I', found.schema)
                               ELSE format('%I.%I', found.schema, found.object) END, found.role);
        EXCEPTION
            WHEN undefined_table OR undefined_column OR invalid_schema_name OR undefined_object THEN
                NULL; -- The privilege has gone with its object.
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'agent-sync leaves the role % a privilege that % cannot revoke: %',
                    found.role, current_user, SQLERRM;
        END;
    END LOOP;
    PERFORM set_config('role', acting, true);

    -- The large objects of the capture, one for each save that could be neither noted nor counted.
    -- Each takes a lock to the end of the transaction.
    lost := ARRAY(
        SELECT m.oid FROM pg_largeobject_metadata m
        JOIN pg_description d ON d.objoid = m.oid AND d.classoid = 'pg_largeobject'::regclass
        WHERE d.description = lost_save
          AND pg_has_role(m.lomowner, 'USAGE')
          -- An array costs one scan. A join may cost one for each large object, and any role can
          -- make as many as it likes.
          AND m.lomowner = ANY (ARRAY(
              SELECT f.proowner FROM pg_proc f WHERE f.pronamespace = 'agent_sync'::regnamespace
              UNION
              SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'agent_sync')));
    IF cardinality(lost) > 2000 THEN
        RAISE EXCEPTION 'more than 2000 large objects remain of saves that could be neither noted '
                        'nor counted'
            USING ERRCODE = 'program_limit_exceeded',
            HINT = format('Remove them in portions, as their owner, until none is left: SELECT '
                          'count(lo_unlink(m.oid)) FROM (SELECT m.oid FROM pg_largeobject_metadata '
                          'm JOIN pg_description d ON d.objoid = m.oid AND d.classoid = '
                          '''pg_largeobject''::regclass WHERE d.description = %L AND '
                          'pg_has_role(m.lomowner, ''USAGE'') LIMIT 1000) AS m; then run the '
                          'uninstall again.', lost_save);
    END IF;
    PERFORM lo_unlink(l.oid) FROM unnest(lost) AS l (oid);

    PERFORM set_config('lock_timeout', '200ms', true);
    FOR attempt IN 1 .. 5 LOOP
        BEGIN
            -- First the objects that no save needs.
            PERFORM set_config('role', schema_owner_role, true);
            DROP VIEW IF EXISTS agent_sync.state;
            DROP FUNCTION IF EXISTS agent_sync.slugs();
            DROP FUNCTION IF EXISTS agent_sync.sent(text);
            DROP FUNCTION IF EXISTS agent_sync.in_sync(text, text);
            DROP TABLE IF EXISTS agent_sync.problem;
            DROP TABLE IF EXISTS agent_sync.history;
            DROP TABLE IF EXISTS agent_sync.role;
            DROP TABLE IF EXISTS agent_sync.granted;
            DROP TABLE IF EXISTS agent_sync.install;
            PERFORM set_config('role', acting, true);
            FOR found IN
                SELECT t.tgname, t.tgrelid::regclass AS relation
                FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
                  AND f.proname IN ('capture_agent', 'capture_configuration')
                  AND (t.tgname IN ('agent_sync_insert', 'agent_sync_update', 'agent_sync_delete')
                       OR starts_with(coalesce(obj_description(t.oid, 'pg_trigger'), ''),
                                      'agent-sync: notes '))
            LOOP
                EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relation);
            END LOOP;
            PERFORM set_config('role', schema_owner_role, true);
            DROP FUNCTION IF EXISTS agent_sync.capture_agent();
            DROP FUNCTION IF EXISTS agent_sync.capture_configuration();
            DROP SEQUENCE IF EXISTS agent_sync.uncaptured;
            DROP TABLE IF EXISTS agent_sync.outbox;
            DROP SCHEMA agent_sync;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            -- The locks of this attempt are released, and writers get in between.
            IF attempt = 5 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    PERFORM set_config('role', acting, true);

    FOREACH name IN ARRAY roles LOOP
        IF EXISTS (SELECT FROM pg_roles r
                   WHERE r.rolname = name
                     AND shobj_description(r.oid, 'pg_authid') = ANY (created_roles))
        THEN
            BEGIN
                EXECUTE format('DROP ROLE %I', name);
            EXCEPTION
                WHEN dependent_objects_still_exist OR object_in_use OR insufficient_privilege THEN
                    RAISE NOTICE 'agent-sync leaves the role %, which it made: %', name, SQLERRM;
            END;
        END IF;
    END LOOP;
END
$uninstall$;
