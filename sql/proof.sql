-- agent-sync: checks that an install made the objects that have the names of an install. Run after
-- names.sql, in the same transaction, by the install and before uninstall.sql, which refuses to run
-- without it. The whole install by hand is
--
--     cd sql && psql -1 -v ON_ERROR_STOP=1 -f prefix.sql -f names.sql -f proof.sql -f guard.sql \
--         -f mend.sql -f 0001_schema.sql -f mend.sql -f capture.sql -f tables.sql -f attach.sql \
--         -f grant.sql "$DATABASE_URL"
--
-- Proof is the comment that the install gives to each object. Without comments, as after pg_dump
-- --no-comments, it is the exact structure: the kind, the columns and their types. An object with
-- neither belongs to others: the error names it, and nothing is changed. An empty schema agent_sync
-- proves nothing and does no harm: the install uses it, and the uninstall leaves it.
--
-- The proof concerns the schema that has the name at this moment. guard.sql and uninstall.sql
-- refuse another one. Where there is none, guard.sql creates it, or fails if another session has
-- done so.
--
-- A comment can be forged, so the owners count as well. The schema and every object in it must
-- belong to the caller, to the owner of one of the two tables, or to a role that can act as that
-- owner. Where a superuser runs this file, they must belong to superusers: the owner of an object
-- can run code in the session of its user, and SET ROLE does not stop such code, because it can
-- return to the role that has logged in. That role counts, and each that it is a member of, and not
-- the present one, which can be a setting of the database. So the error tells a superuser to run
-- the install as the other role.
--
-- The tables of agent-sync must have no trigger, rule, child table or expression of others. Where
-- the caller is not the owner of the schema, the tables are locked until the end of the
-- transaction, so that none is added. Reads and writes continue, those of the daemon included.
--
-- This file reads the catalog alone, which runs no code of others. It changes two things: the owner
-- of the schema regains lost privileges on its objects, and a renamed table of the install regains
-- its name.

DO $proof$
DECLARE
    acting  CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    home    oid;
    owner   name; -- Of the schema.
    given   CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    rooted  boolean; -- Whether code in this session can act as a superuser.
    roots   oid[]; -- The superusers, and the roles that can act as one.
    asked   text[]; -- The two tables: schema, name, schema, name.
    named   oid[]; -- The caller, and the owners of the tables.
    trusted oid[]; -- The roles that may own objects in the schema: these and their equals.
    renamed jsonb; -- The renamed tables of agent-sync: the OID, and the original name.
    mine    oid[]; -- The tables of agent-sync.
    wanted  record; -- A lock.
    strange record;
    extensions record; -- Those in the schema, and what moves them out.
    whole   boolean := false; -- Whether an install made the table agent_sync.install.
    held    text;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    -- The longest wait for a lock. The first advisory lock admits one install into a schema at a
    -- time, and the second one into a database (T6): guard.sql looks for other installs.
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    FOR wanted IN SELECT * FROM (VALUES (1634169721, 3), (1634169722, 1)) AS l (class, key) LOOP
        BEGIN
            PERFORM pg_catalog.pg_advisory_xact_lock(wanted.class, wanted.key);
        EXCEPTION WHEN lock_not_available THEN
            SELECT format('process %s (role %s, application %s)', l.pid, coalesce(s.usename, '?'),
                          coalesce(quote_literal(nullif(s.application_name, '')),
                            'without a name')) AS holder,
                   format('SELECT pg_terminate_backend(%s);', l.pid) AS remedy
                INTO strange
                FROM pg_locks l LEFT JOIN pg_stat_activity s ON s.pid = l.pid
                WHERE l.locktype = 'advisory' AND l.classid = wanted.class AND l.objid = wanted.key
                  AND l.objsubid = 2 AND l.granted AND l.pid IS NOT NULL
                  AND l.database = (SELECT d.oid FROM pg_database d
                    WHERE d.datname = current_database())
                LIMIT 1;
            RAISE EXCEPTION
              'the lock of an install (advisory, %, %) is held in this database by %',
              wanted.class, wanted.key,
                  coalesce(strange.holder,
                    'a session that has just ended, or a prepared transaction')
                USING ERRCODE = 'lock_not_available',
                HINT =
                  concat('Another install or uninstall may be under way: run this again when it is '
                         'done. If that session is none, end it first',
                         coalesce(': ' || strange.remedy,
                           '; a prepared transaction: SELECT * FROM pg_prepared_xacts;'));
        END;
    END LOOP;

    SELECT n.oid, pg_get_userbyid(n.nspowner) INTO home, owner FROM pg_namespace n
      WHERE n.nspname = 'agent_sync';
    rooted := EXISTS (SELECT FROM pg_roles r
                      WHERE r.rolsuper AND (pg_has_role(session_user, r.oid, 'MEMBER')
                        OR pg_has_role(current_user, r.oid, 'MEMBER')));
    roots := ARRAY(SELECT r.oid FROM pg_roles r
                   WHERE EXISTS (SELECT FROM pg_roles s
                                 WHERE s.rolsuper AND pg_has_role(r.oid, s.oid, 'MEMBER')));
    asked := ARRAY[given #>> '{agents,schema}', given #>> '{agents,table}',
                   given #>> '{configurations,schema}', given #>> '{configurations,table}'];
    -- The index of a constraint keeps its name when its table is renamed, and keeps another table
    -- of that kind from being made.
    SELECT coalesce(jsonb_object_agg(i.indrelid::text, split_part(x.relname, '_', 1)), '{}')
        INTO renamed
        FROM pg_class x
        JOIN pg_index i ON i.indexrelid = x.oid
        JOIN pg_class t ON t.oid = i.indrelid
        WHERE x.relnamespace = home AND t.relkind = 'r'
          AND x.relname IN ('install_pkey', 'problem_pkey', 'problem_slug_is_unique',
            'problem_key_is_unique', 'role_pkey', 'granted_pkey', 'history_pkey')
          AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = home
            AND c.relname = split_part(x.relname, '_', 1));
    mine := ARRAY(SELECT c.oid FROM pg_class c
                  WHERE c.relnamespace = home AND c.relkind = 'r'
                    AND (c.relname IN ('install', 'outbox', 'problem', 'role', 'granted', 'history')
                         OR renamed ? c.oid::text));
    named := ARRAY(
        SELECT r.oid FROM pg_roles r WHERE r.rolname IN (current_user, session_user)
        UNION
        SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE (n.nspname, c.relname) IN ((asked[1], asked[2]), (asked[3], asked[4])));
    IF rooted AND EXISTS (SELECT FROM pg_roles r JOIN unnest(named) AS n (oid)
          ON pg_has_role(r.oid, n.oid, 'MEMBER') WHERE r.rolname = owner AND r.oid <> ALL (roots))
    THEN
        RAISE EXCEPTION
          'the schema agent_sync belongs to the role %, and %, which can act as a superuser, runs '
          'this: expected that role, because code of it would run with the rights of the superuser',
            owner, session_user
            USING ERRCODE = 'insufficient_privilege',
            HINT =
              format('Nothing of it was run. Connect as the role %1$I (the user in the URL), and '
                     'run this again. To take agent-sync out by hand: DROP SCHEMA agent_sync '
                     'CASCADE;', owner);
    END IF;
    -- A role that can act as the owner of a table could have made the same objects.
    trusted := CASE WHEN rooted THEN roots ELSE named END || ARRAY(
        SELECT r.oid FROM pg_roles r
        WHERE NOT rooted AND NOT r.rolsuper
          AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE (n.nspname, c.relname) IN ((asked[1], asked[2]), (asked[3], asked[4]))
                        AND pg_has_role(r.oid, c.relowner, 'MEMBER')));

    -- The capture functions may belong to any role: attach.sql makes them anew for the owners of
    -- the tables, and nothing calls them here.
    SELECT string_agg(format('%s (%I)', o.what, pg_get_userbyid(o.owner)), ', '
      ORDER BY o.place, o.what) AS found
        INTO strange
        FROM (
            SELECT 1 AS place, 'the schema agent_sync' AS what, n.nspowner AS owner
              FROM pg_namespace n WHERE n.oid = home
            UNION ALL
            SELECT 2, pg_describe_object('pg_class'::regclass, c.oid, 0), c.relowner
            FROM pg_class c WHERE c.relnamespace = home AND c.relkind NOT IN ('i', 'I', 't')
            UNION ALL
            SELECT 2, pg_describe_object('pg_proc'::regclass, f.oid, 0), f.proowner
            FROM pg_proc f
            WHERE f.pronamespace = home AND NOT (f.proname IN ('capture_agent',
              'capture_configuration') AND f.pronargs = 0)
            UNION ALL
            SELECT 2, pg_describe_object(d.classid, d.objid, 0), s.refobjid
            FROM pg_depend d
            JOIN pg_shdepend s ON s.classid = d.classid AND s.objid = d.objid AND s.objsubid = 0
              AND s.deptype = 'o'
            JOIN pg_database b ON b.oid = s.dbid AND b.datname = current_database()
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.deptype = 'n'
              AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass)
        ) AS o
        WHERE o.owner <> ALL (trusted);
    IF strange.found IS NOT NULL THEN
        -- CREATE on the database lets a role put a trusted extension into any schema.
        SELECT string_agg(format('%I (%I)', e.extname, pg_get_userbyid(e.extowner)), ', '
                 ORDER BY e.extname) AS found,
               string_agg(format('ALTER EXTENSION %1$I SET SCHEMA ...; or, if it is not needed: '
                                 'DROP EXTENSION %1$I;', e.extname), ' ' ORDER BY e.extname)
                 AS moves
            INTO extensions
            FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
            WHERE n.oid = home AND n.nspowner = ANY (trusted)
              AND (e.extowner <> ALL (trusted) OR NOT rooted);
        IF extensions.found IS NOT NULL THEN
            RAISE EXCEPTION
              'the schema agent_sync has an extension, whose objects this role does not trust: '
              'expected none, found %', extensions.found
                USING ERRCODE = 'insufficient_privilege',
                HINT = concat('Nothing of it was run. As the owner of the extension or as a '
                              'superuser: ', extensions.moves, ' Then run this again.');
        END IF;
        RAISE EXCEPTION
          'the schema agent_sync has objects that this role does not trust: expected it and every '
          'object in it to belong to %, found %',
            CASE WHEN rooted THEN 'a superuser'
                 ELSE (SELECT string_agg(quote_ident(r.rolname), ', ' ORDER BY r.rolname)
                   FROM pg_roles r WHERE r.oid = ANY (named)) END,
            strange.found
            USING ERRCODE = 'insufficient_privilege',
            HINT =
              format('Nothing of it was run. Find its owner. If it is not needed: DROP SCHEMA '
                     'agent_sync CASCADE; or, if it is an install of your own, as where the '
                     'tables have another owner since, give each named object to %1$I, as '
                     'a superuser: ALTER SCHEMA agent_sync OWNER TO %1$I; ALTER TABLE '
                     'agent_sync.outbox OWNER TO %1$I; and so on. If a superuser installed it, run '
                     'this as a superuser. Then run this again.',
                          coalesce((SELECT pg_get_userbyid(c.relowner) FROM pg_class c
                            JOIN pg_namespace n ON n.oid = c.relnamespace
                                    WHERE n.nspname = asked[1]
                                      AND c.relname = asked[2]), current_user));
    END IF;
    IF owner <> current_user THEN
        -- From PostgreSQL 16 on, a member may be one that cannot SET ROLE.
        IF NOT pg_has_role(owner, CASE WHEN current_setting('server_version_num')::integer < 160000
          THEN 'MEMBER' ELSE 'SET' END) THEN
            RAISE EXCEPTION
              'the schema agent_sync belongs to the role %, and the role % that runs this cannot '
              'act as it', owner, current_user
                USING ERRCODE = 'insufficient_privilege',
                HINT =
                  format('Run it as %1$I or as a superuser, or let this role act as it: GRANT %1$I '
                         'TO %2$I.', owner, current_user);
        END IF;
        IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            PERFORM set_config('role', owner, true);
        END IF;
        FOR strange IN
            SELECT c.relname AS name FROM pg_class c
            WHERE c.oid = ANY (mine) AND c.relname NOT IN ('outbox', 'problem')
            ORDER BY c.relname
        LOOP
            EXECUTE format('LOCK TABLE agent_sync.%I IN SHARE UPDATE EXCLUSIVE MODE', strange.name);
        END LOOP;
        PERFORM set_config('role', acting, true);
        -- PostgreSQL looks the names up again after it has waited for a lock.
        SELECT string_agg(c.relname, ', ' ORDER BY c.relname) AS found INTO strange
            FROM pg_class c
            WHERE (c.relnamespace = home AND c.relkind = 'r'
                   AND c.relname IN ('install', 'role', 'granted', 'history')
                   OR renamed ? c.oid::text)
              AND NOT EXISTS (SELECT FROM pg_locks l
                              WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
                                AND l.relation = c.oid
                                AND l.database = (SELECT d.oid FROM pg_database d
                                  WHERE d.datname = current_database())
                                AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted);
        IF strange.found IS NOT NULL OR to_regnamespace('agent_sync')::oid IS DISTINCT FROM home
          THEN
            RAISE EXCEPTION
              'another session has replaced the schema agent_sync or its tables meanwhile'
                USING ERRCODE = 'object_in_use', HINT =
                  'Nothing of it was run. See who changes this schema, and run this again.';
        END IF;
    END IF;

    -- An owner may have lost its own privileges on the schema and what is in it, and can give them
    -- to itself again.
    IF owner = current_user AND NOT (has_schema_privilege(home, 'USAGE')
      AND has_schema_privilege(home, 'CREATE')) THEN
        EXECUTE format('GRANT USAGE, CREATE ON SCHEMA agent_sync TO %I', owner);
    END IF;
    FOR strange IN
        SELECT c.relname AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind
        FROM pg_class c
        WHERE c.relnamespace = home AND c.relkind IN ('r', 'S')
          AND pg_get_userbyid(c.relowner) = current_user
          AND NOT CASE c.relkind
              WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE')
                AND has_sequence_privilege(c.oid, 'SELECT')
                            AND has_sequence_privilege(c.oid, 'UPDATE')
              ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                   AND has_table_privilege(c.oid, 'UPDATE')
                     AND has_table_privilege(c.oid, 'DELETE') END
    LOOP
        EXECUTE format('GRANT ALL ON %s agent_sync.%I TO %I', strange.kind, strange.name, owner);
    END LOOP;

    -- The objects of PostgreSQL itself are pinned, and pg_depend has no row for them. So each row
    -- is about an object of others.
    WITH part (class, oid) AS (
        SELECT 'pg_class'::regclass, m.oid FROM unnest(mine) AS m (oid)
        UNION ALL SELECT 'pg_class'::regclass, i.indexrelid FROM pg_index i
          WHERE i.indrelid = ANY (mine)
        UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
          WHERE c.conrelid = ANY (mine)
        UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d
          WHERE d.adrelid = ANY (mine)
        UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p WHERE p.polrelid = ANY (mine)
        UNION ALL SELECT 'pg_statistic_ext'::regclass, e.oid FROM pg_statistic_ext e
          WHERE e.stxrelid = ANY (mine)
    ), foreign_code (what) AS (
        SELECT pg_describe_object('pg_trigger'::regclass, t.oid, 0) FROM pg_trigger t
          WHERE t.tgrelid = ANY (mine) AND NOT t.tgisinternal
        UNION SELECT pg_describe_object('pg_rewrite'::regclass, r.oid, 0) FROM pg_rewrite r
          WHERE r.ev_class = ANY (mine)
        UNION SELECT format('%s, a child of %s', i.inhrelid::regclass, i.inhparent::regclass)
          FROM pg_inherits i WHERE i.inhparent = ANY (mine)
        UNION
        SELECT format('%s of %s', pg_describe_object(d.refclassid, d.refobjid, 0),
          pg_describe_object(d.classid, d.objid, d.objsubid))
        FROM part p JOIN pg_depend d ON d.classid = p.class AND d.objid = p.oid
        WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass, 'pg_opclass'::regclass,
          'pg_type'::regclass)
    )
    SELECT string_agg(f.what, ', ' ORDER BY f.what) AS found INTO strange FROM foreign_code f;
    IF strange.found IS NOT NULL THEN
        RAISE EXCEPTION
          'code on the tables of agent-sync would run with the rights of this role: expected none '
          'but that of an install, found %',
            strange.found
            USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT =
              'Nothing of it was run. Drop it (DROP TRIGGER, DROP RULE, DROP POLICY, ALTER TABLE '
              '... NO INHERIT, DROP COLUMN), and run this again.';
    END IF;

    FOR strange IN
        WITH part (name, kind, kind_name, says, needed, later) AS (VALUES
            ('install', 'r', 'table', 'What is installed: one row.',
             ARRAY['only_row boolean', 'version integer', 'tables jsonb', 'fingerprint text',
               'uncaptured_seen bigint', 'seal text',
                   'installed_at timestamp with time zone'],
             ARRAY['last_sync timestamp with time zone', 'last_tried text', 'tries integer',
               'mapping text', 'audit jsonb', 'paused_since timestamp with time zone',
               'paused_until timestamp with time zone', 'paused_by text', 'pause_reason text',
               'pause_releases boolean']),
            ('outbox', 'r', 'table', 'Slugs whose agent or configuration changed',
             ARRAY['slug text', 'at timestamp with time zone'],
             ARRAY['application_name text', 'role text', 'tenant text']),
            ('problem', 'r', 'table', 'Agents that could not be brought in sync',
             ARRAY['slug text', 'kind text', 'detail text', 'sqlstate text',
               'since timestamp with time zone',
                   'last_seen timestamp with time zone', 'attempts integer',
                     'next_attempt timestamp with time zone'],
             ARRAY['tenant text']),
            ('role', 'r', 'table', 'The roles of daemons',
             ARRAY['name text'],
             ARRAY['oid oid', 'reads_only boolean']),
            ('granted', 'r', 'table', 'The privileges that grant.sql has granted',
             ARRAY['role text', 'privilege text', 'kind text', 'schema text', 'object text',
               'column text'],
             '{}'),
            ('history', 'r', 'table', 'The latest writes of the daemon',
             ARRAY['id bigint', 'at timestamp with time zone', 'slug text', 'configuration text',
               'columns text[]', 'before text',
                   'after text', 'application_name text', 'role text'],
             ARRAY['tenant text']),
            ('uncaptured', 'S', 'sequence', 'Counts saves whose change could not be noted',
             ARRAY['last_value bigint', 'log_cnt bigint', 'is_called boolean', 'minimum 0'],
             '{}'),
            ('state', 'v', 'view', 'One row per agent',
             ARRAY['slug text', 'pending boolean', 'problem text',
               'since timestamp with time zone'],
             ARRAY['tenant text'])
        ), met AS (
            SELECT p.*, c.relkind::text AS found, coalesce(obj_description(c.oid, 'pg_class'), '')
              AS comment,
                   ARRAY(SELECT a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                     FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                         UNION ALL SELECT 'minimum ' || s.seqmin FROM pg_sequence s
                           WHERE s.seqrelid = c.oid) AS has
            FROM part p JOIN pg_class c ON c.relnamespace = home
              AND coalesce(renamed ->> c.oid::text, c.relname) = p.name
        )
        SELECT m.name, m.kind_name, m.found = m.kind AS fits,
               array_to_string(ARRAY(SELECT n FROM unnest(m.needed) AS n
                 WHERE n <> ALL (m.has)), ', ') AS lacking,
               array_to_string(ARRAY(SELECT h FROM unnest(m.has) AS h
                 WHERE h <> ALL (m.needed || m.later)), ', ') AS further,
               m.found = m.kind AND m.needed <@ m.has AND (starts_with(m.comment, m.says)
                 OR m.has <@ (m.needed || m.later)) AS ours
        FROM met m ORDER BY m.name
    LOOP
        IF strange.ours THEN
            whole := whole OR strange.name = 'install';
        ELSE
            RAISE EXCEPTION
              'agent_sync.% was not made by an install of agent-sync: expected %, found %',
              strange.name,
                CASE WHEN NOT strange.fits THEN 'a ' || strange.kind_name
                     WHEN strange.lacking <> '' THEN format('the columns %s', strange.lacking)
                     ELSE format('the comment of an install, or no column but its own') END,
                CASE WHEN NOT strange.fits THEN 'something else'
                     WHEN strange.lacking <> '' THEN format('a %s without them', strange.kind_name)
                     ELSE format('neither, and the columns %s', strange.further) END
                USING ERRCODE = 'duplicate_object',
                HINT =
                  'If it has another purpose, rename it or move it into another schema. If it is a '
                  'part of agent-sync that was changed, undo the change, or drop it. Then run this '
                  'again.';
        END IF;
    END LOOP;

    FOR strange IN
        SELECT f.oid::regprocedure AS name
        FROM pg_proc f
        JOIN (VALUES ('capture_agent', 'Notes a changed agent in agent_sync.outbox',
                '-- Notes the slug of the changed row in the outbox, and wakes the daemon if it '
                'sleeps.'),
            ('capture_configuration', 'Notes a new configuration in agent_sync.outbox',
                '-- Notes the slug of the changed row in the outbox, and wakes the daemon if it '
                'sleeps.'),
            ('slugs', 'The slugs of the agents', '-- The slugs of the agents'),
            ('sent', 'The text, if it is the same', '-- The key of an agent'),
            ('in_sync', 'Whether the agent with this slug',
                '-- Whether an agent and its configuration are in sync')) AS
                part (name, says, body)
            ON part.name = f.proname
        WHERE f.pronamespace = home
          AND f.pronargs = CASE part.name WHEN 'sent' THEN 1 WHEN 'in_sync' THEN 2 ELSE 0 END
          AND NOT starts_with(coalesce(obj_description(f.oid, 'pg_proc'), ''), part.says)
          AND strpos(f.prosrc, part.body) = 0
    LOOP
        RAISE EXCEPTION
          'the function % was not made by an install of agent-sync: expected the comment or the '
          'body of an install, found neither',
            strange.name
            USING ERRCODE = 'duplicate_object',
            HINT =
              'If it has another purpose, rename it or move it into another schema. If it is a '
              'part of agent-sync that was changed, drop it with CASCADE. Then run this again.';
    END LOOP;

    IF home IS NOT NULL AND NOT whole AND NOT starts_with(coalesce(obj_description(home,
      'pg_namespace'), ''), 'agent-sync: ') THEN
        SELECT string_agg(told.what, ', ') INTO held FROM (
            SELECT pg_describe_object(d.classid, d.objid, 0) AS what FROM pg_depend d
            WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = home AND d.deptype = 'n'
            ORDER BY 1 LIMIT 3) AS told;
        IF held IS NOT NULL THEN
            RAISE EXCEPTION
              'the schema agent_sync was not made by an install of agent-sync: expected its '
              'comment or its table agent_sync.install, found neither, but %', held
                USING ERRCODE = 'duplicate_object',
                HINT =
                  'agent-sync keeps its tables in a schema of this name: rename that schema, or '
                  'move what is in it into another one. Then run this again.';
        END IF;
    END IF;

    FOR strange IN
        SELECT c.oid::regclass AS relation, renamed ->> c.oid::text AS name FROM pg_class c
        WHERE renamed ? c.oid::text
    LOOP
        PERFORM set_config('role', owner, true)
            WHERE owner <> current_user;
        EXECUTE format('ALTER TABLE %s RENAME TO %I', strange.relation, strange.name);
        PERFORM set_config('role', acting, true);
    END LOOP;

    -- The subject of the proof: the schema, or 0 where there is none, and this transaction.
    PERFORM set_config('agent_sync.proven', concat(coalesce(home, 0), ' ', now()), true);
END
$proof$;
