-- agent-sync: makes the capture (C1-C6), the view agent_sync.state and its function
-- agent_sync.slugs() for one pair of tables.
--
-- Run after capture.sql and tables.sql, in the same transaction. It can be run again at any time:
-- it works out what should be there, and where that exists, it executes no DDL and takes no lock on
-- the tables.
--
-- Owners. The capture functions are SECURITY DEFINER and belong to the owners of the tables that
-- they serve. The owner of a table decides what the names in the body of such a function mean (a
-- column, its type, the casts of that type), and so gains no rights but its own. This owner gets
-- USAGE on the schema, INSERT on the outbox with SELECT of its ctid, and USAGE of the sequence:
-- INSERT of the slug alone would not do, because LOCK TABLE needs it for the table. The owner of
-- the schema makes all objects of the schema. It also makes the triggers and functions,
-- where it can act as the owners of the tables; otherwise the role that runs this file makes them.
-- Making them runs no code of others.
--
-- Locks. CREATE TRIGGER and ALTER TABLE ... ENABLE ALWAYS TRIGGER take SHARE ROW EXCLUSIVE, which
-- blocks writers of the table; DROP TRIGGER takes ACCESS EXCLUSIVE. The wait for each lock is at
-- most 200 ms. If one is not available, all of them are released for 200 ms, and then tried again;
-- the fifth attempt is the last. So a long transaction on one table blocks writers of the other for
-- at most 200 ms at a time.

DO $attach$
DECLARE
    -- The existing triggers and functions, as PostgreSQL prints them. Of partitions, only the
    -- triggers that are not ALWAYS.
    existing_definitions CONSTANT text := $sql$
        SELECT coalesce(string_agg(part.described, E'\n' ORDER BY part.described COLLATE "C"), '')
        FROM (
            SELECT pg_get_triggerdef(t.oid) || t.tgenabled::text
            FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
            WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
            UNION ALL
            SELECT format('%s on %s %s', t.tgname, t.tgrelid::regclass, t.tgenabled)
            FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
            WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid <> 0
              AND t.tgenabled <> 'A'
            UNION ALL
            SELECT pg_get_functiondef(f.oid)
                   || has_function_privilege('public', f.oid, 'EXECUTE')::text
            FROM pg_proc f
            WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
                            to_regprocedure('agent_sync.capture_configuration()'),
                            to_regprocedure('agent_sync.slugs()'))
        ) AS part (described)
    $sql$;
    -- The daemon compares the same sums (store::queries::CAPTURE_FAULTS).
    function_sum CONSTANT text := $sql$
        SELECT md5(string_agg(f.prosrc, E'\n' ORDER BY f.proname)) FROM pg_proc f
        WHERE f.pronamespace = 'agent_sync'::regnamespace
          AND f.proname IN ('capture_agent', 'capture_configuration') AND f.proargtypes = ''
    $sql$;
    -- PostgreSQL 14 to 18 describe these triggers alike, so the sum survives an upgrade.
    trigger_sum CONSTANT text := $sql$
        SELECT md5(string_agg(replace(pg_get_triggerdef(t.oid), 'agent_sync.', ''), E'\n'
                              ORDER BY pg_get_triggerdef(t.oid) COLLATE "C"))
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
          AND t.tgname IN ('agent_sync_insert', 'agent_sync_update', 'agent_sync_delete')
    $sql$;
    -- The functions, each with its owner and the owner of its table ($1: agents, $2:
    -- configurations).
    functions CONSTANT text := $sql$
        SELECT f.oid, f.oid::regprocedure AS name, f.proowner AS owner, c.relowner AS due,
               c.oid::regclass AS relation
        FROM pg_proc f
        JOIN pg_class c ON c.oid = CASE f.proname WHEN 'capture_agent' THEN $1 ELSE $2 END
        WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
                        to_regprocedure('agent_sync.capture_configuration()'))
    $sql$;
    misplaced CONSTANT text := pg_catalog.format(
        'SELECT s.* FROM (%s) AS s WHERE s.owner <> s.due', functions);
    -- The functions whose owner lacks a privilege to append, to read the ctid of the new row, or to
    -- count a failure.
    unable CONSTANT text := pg_catalog.format($sql$
        SELECT s.* FROM (%s) AS s
        WHERE NOT (has_schema_privilege(s.owner, 'agent_sync', 'USAGE')
                   AND has_table_privilege(s.owner, 'agent_sync.outbox', 'INSERT')
                   AND has_column_privilege(s.owner, 'agent_sync.outbox', 'ctid', 'SELECT')
                   AND has_sequence_privilege(s.owner, 'agent_sync.uncaptured', 'USAGE'))
    $sql$, functions);
    -- The functions of PostgreSQL that the capture calls to note a change (store::queries::CALLED).
    called CONSTANT text[] := ARRAY[
        'pg_catalog.current_setting(text)', 'pg_catalog.current_setting(text,boolean)',
        'pg_catalog.extract(text,timestamptz)', 'pg_catalog.has_schema_privilege(text,text)',
        'pg_catalog.has_table_privilege(oid,text)', 'pg_catalog.pg_current_xact_id()',
        'pg_catalog.pg_notification_queue_usage()', 'pg_catalog.pg_notify(text,text)',
        'pg_catalog.pg_relation_is_updatable(regclass,boolean)',
        'pg_catalog.pg_try_advisory_xact_lock_shared(integer,integer)',
        'pg_catalog.set_config(text,text,boolean)', 'pg_catalog.split_part(text,text,integer)',
        'pg_catalog.to_regclass(text)', 'pg_catalog.transaction_timestamp()'];
    -- Those that it calls only for a change that it could not note, where no error fails the save.
    called_after_a_failure CONSTANT text[] := ARRAY[
        'pg_catalog.format(text,"any")', 'pg_catalog.lo_create(oid)',
        'pg_catalog.nextval(regclass)', 'pg_catalog.octet_length(text)',
        'pg_catalog.unnest(anyarray)'];
    -- Those of $1 that the owner of the capture may not execute, as on a hardened server.
    forbidden CONSTANT text := $sql$
        SELECT f.proowner::regrole AS owner,
               string_agg(DISTINCT c.oid::regprocedure::text, ', ') AS functions
        FROM pg_proc f
        CROSS JOIN unnest($1) AS called (signature)
        JOIN pg_proc c ON c.oid = to_regprocedure(called.signature)
        WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
                        to_regprocedure('agent_sync.capture_configuration()'))
          AND NOT has_function_privilege(f.proowner, c.oid, 'EXECUTE')
        GROUP BY 1
    $sql$;

    given          CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    agents         CONSTANT regclass := pg_catalog.current_setting('agent_sync.agents');
    configs        CONSTANT regclass := pg_catalog.current_setting('agent_sync.configurations');
    slug           CONSTANT text := given #>> '{agents,columns,slug}';
    agent_slug     CONSTANT text := given #>> '{configurations,columns,agent_slug}';
    -- The columns with the tenant; null where no tenants are set.
    tenant         CONSTANT text := given #>> '{agents,columns,tenant}';
    agent_tenant   CONSTANT text := given #>> '{configurations,columns,tenant}';
    with_configs   CONSTANT boolean := (given -> 'capture_configurations')::boolean;
    -- The columns of the agents that the trigger watches: the slug, the mapped columns, and the
    -- tenant where one is set. The second one is voice_settings (same_settings).
    mapped         CONSTANT text[] := ARRAY[
        slug,
        given #>> '{agents,columns,voice_settings}',
        given #>> '{agents,columns,name}',
        given #>> '{agents,columns,system_prompt}',
        given #>> '{agents,columns,agent_image}',
        tenant];
    -- The key as one text (store::queries::key), of a row "r" with the columns tenant and slug.
    key            CONSTANT text := 'COALESCE(pg_catalog.replace(pg_catalog.replace(r.tenant, '
        '''%'', ''%25''), ''/'', ''%2F''), ''%'') OPERATOR(pg_catalog.||) ''/'' '
        'OPERATOR(pg_catalog.||) r.slug';
    -- The digest of the text %s: the same as in 0001_schema.sql, whose indexes have it.
    digest         CONSTANT text := $sql$pg_catalog.sha256(pg_catalog.decode(
        pg_catalog.replace(%s COLLATE pg_catalog."C", E'\\', E'\\\\'), 'escape'))$sql$;
    -- The parts of the statement that capture.sql marks, beside key_parts.
    marked_parts   CONSTANT text[] := ARRAY['/* function */capture_agent', '/* slug */slug',
        '/* renamed */false', '/* notify */true', '/* filter */'];
    -- Where tenants are set: the parts of the trigger function that hold the slug alone, each with
    -- the text that holds the tenant as well; %I is the column of the tenant.
    key_parts      CONSTANT text[] := ARRAY[
        ['/* key */(slug) VALUES (new_slug)', '(slug, tenant) VALUES (new_slug, new_tenant)'],
        ['/* key */(slug) VALUES (OLD./* slug */slug)',
            '(slug, tenant) VALUES (OLD./* slug */slug, OLD.%I::pg_catalog.text)'],
        ['/* key */(slug) VALUES (old_slug)',
            '(slug, tenant) VALUES (old_slug, OLD.%I::pg_catalog.text)'],
        ['/* key */a.attname OPERATOR(pg_catalog.=) ''slug''',
            'EXISTS (SELECT FROM pg_catalog.pg_attribute t '
            'WHERE t.attrelid OPERATOR(pg_catalog.=) c.oid '
            'AND t.attname OPERATOR(pg_catalog.=) ''tenant'' '
            'AND t.atttypid OPERATOR(pg_catalog.=) ''pg_catalog.text''::pg_catalog.regtype) '
            'AND a.attname OPERATOR(pg_catalog.=) ''slug'''],
        ['old_slug     pg_catalog.text;/* key */',
            E'old_slug     pg_catalog.text;\n    new_tenant   pg_catalog.text;']];
    -- Whether the row had another slug before, and whether it had another key. Without a row
    -- before, as in an insert, neither is true.
    other_slug     CONSTANT text := 'OLD.%1$I::pg_catalog.text COLLATE pg_catalog."C" '
        'OPERATOR(pg_catalog.<>) new_slug';
    other_key      CONSTANT text := other_slug || ' OR OLD.%1$I IS NOT NULL AND COALESCE('
        'OLD.%2$I::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.<>) new_tenant, '
        '(OLD.%2$I IS NULL) OPERATOR(pg_catalog.<>) (new_tenant IS NULL))';
    mapped_list    text; -- Those that exist, as a column list.
    differs        text; -- A condition: the row has changed in one of them.
    same           text; -- The opposite, without a name that the search path decides.
    same_settings  text; -- The same for the voice settings, which change most often.
    configuration_differs text;
    slug_collation text; -- A COLLATE clause for the view, or nothing.
    column_list    boolean; -- Whether the update trigger can have a column list.
    agent_event    text;
    agent_filter   text;
    function_statements text[] := '{}';
    trigger_statements  text[] := '{}';
    view_statements     text[]; -- For the view and its function.
    view_grants         text[]; -- The GRANTs of a view that is made anew; null: it is not.
    triggers       text[] := '{}'; -- "table.trigger" of each trigger that is wanted.
    -- Roles as set_config('role') takes them.
    acting         CONSTANT text := pg_catalog.current_setting('role'); -- Of the caller.
    schema_owner_role  text; -- The owner of the schema, or "acting" where it is the same role.
    trigger_owner_role text; -- The role that makes triggers and functions, likewise.
    former_owners      oid[] := '{}'; -- Of the functions.
    -- PostgreSQL 16 and later keep these options for each membership, and a bare GRANT leaves those
    -- of an existing one.
    membership     CONSTANT text :=
        CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000
             THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END;
    existing       text;
    existing_functions text;
    existing_triggers  text;
    incomplete     boolean;
    wanted         text;
    found          record;
    template       text; -- The statement of capture.sql, with its marks.
    remainder      text; -- The same without the marked texts.
    marked         text;
    definition     text;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- Otherwise PostgreSQL quotes every name in the definitions that are compared below.
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

    -- When a column counts as changed. Everything is compared byte by byte, because json has no
    -- equality, and citext and some collations treat different texts as equal. A jsonb is compared
    -- as it is stored: its text may be too long for the server. Its own equality takes 1.0 for
    -- 1.00, which are the same voice settings (M5), and different texts in another column.
    SELECT string_agg(c.differs, ' OR ' ORDER BY c.position),
           string_agg(c.same, ' AND ' ORDER BY c.position),
           max(c.same) FILTER (WHERE c.position = 2),
           string_agg(format('%I', c.name), ', ' ORDER BY c.position)
        INTO differs, same, same_settings, mapped_list
        FROM (
            SELECT v.name, v.position,
                   CASE WHEN v.as_stored
                       THEN format('pg_catalog.record_image_ne(ROW(OLD.%1$I), ROW(NEW.%1$I))',
                                   v.name)
                       ELSE format('OLD.%1$I%2$s IS DISTINCT FROM NEW.%1$I%2$s', v.name, v.bytes)
                   END AS differs,
                   CASE WHEN v.as_stored
                       THEN format('pg_catalog.record_image_eq(ROW(OLD.%1$I), ROW(NEW.%1$I))',
                                   v.name)
                       ELSE format('COALESCE(OLD.%1$I%2$s OPERATOR(pg_catalog.=) NEW.%1$I%2$s, '
                                   'OLD.%1$I IS NULL AND NEW.%1$I IS NULL)', v.name, v.bytes)
                   END AS same
            FROM (
                SELECT a.attname AS name, array_position(mapped, a.attname::text) AS position,
                       kind.is_jsonb AND a.attname <> mapped[2] AS as_stored,
                       CASE WHEN kind.is_jsonb THEN ''
                            ELSE '::pg_catalog.text COLLATE pg_catalog."C"' END AS bytes
                FROM pg_attribute a
                CROSS JOIN LATERAL (
                    SELECT 'jsonb'::regtype = ANY (ARRAY(
                        WITH RECURSIVE base (type) AS (
                            SELECT a.atttypid
                            UNION ALL
                            SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type
                            WHERE t.typtype = 'd')
                        SELECT b.type FROM base b))
                ) AS kind (is_jsonb)
                WHERE a.attrelid = agents AND a.attname = ANY (mapped)
                  AND a.attnum > 0 AND NOT a.attisdropped
            ) AS v
        ) AS c;
    SELECT string_agg(format('OLD.%1$I::text COLLATE "C" IS DISTINCT FROM NEW.%1$I::text '
                             'COLLATE "C"', c.name), ' OR ')
        INTO configuration_differs
        FROM unnest(ARRAY[agent_slug, agent_tenant]) AS c (name) WHERE c.name IS NOT NULL;

    -- A WHEN clause costs a save of one row a good part of its time, because PostgreSQL prepares it
    -- for every statement. A column list costs nothing, but it looks at the columns that the
    -- statement sets and so misses a change by a BEFORE trigger. Without BEFORE triggers and
    -- children, the trigger has the column list, and the function compares the row. Otherwise it
    -- has the WHEN clause. The daemon checks that the choice still fits (CAPTURE_FAULTS).
    -- PostgreSQL has no BEFORE trigger of its own; before version 15 it marks the trigger that a
    -- partition has from its parent as internal.
    column_list := NOT EXISTS (SELECT FROM pg_trigger t
                               WHERE t.tgrelid = agents AND t.tgtype & 19 = 19)
        AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                        WHERE i.inhparent = agents AND c.relpersistence <> 't');
    IF column_list THEN
        agent_event := format('UPDATE OF %s ON %s FOR EACH ROW', mapped_list, agents);
        -- Each expression is prepared once a transaction, so the long one is rare.
        agent_filter := format(
            'IF new_slug IS NULL OR %s THEN IF new_slug IS NULL OR %s THEN RETURN NULL; END IF; '
            'END IF;', COALESCE(same_settings, 'true'), same);
    ELSE
        agent_event := format('UPDATE ON %s FOR EACH ROW WHEN (NEW.%I IS NOT NULL AND (%s))',
                              agents, slug, differs);
        agent_filter := '';
    END IF;

    -- A replacement that finds nothing would make a function without the tenant, or without a
    -- condition. So each marked text has to occur, and nothing else that looks like one.
    template := current_setting('agent_sync.capture');
    remainder := template;
    -- First those that have another mark inside.
    FOREACH marked IN ARRAY ARRAY(
        SELECT key_parts[part][1] FROM generate_series(1, array_length(key_parts, 1)) AS part)
        || marked_parts
    LOOP
        IF strpos(template, marked) = 0 THEN
            RAISE EXCEPTION 'sql/capture.sql lacks the text "%"', marked
                USING HINT = 'sql/attach.sql replaces it: change a marked text in both files';
        END IF;
        remainder := replace(remainder, marked, '');
    END LOOP;
    IF remainder ~ '/[*]|[(]slug[)] VALUES' THEN
        RAISE EXCEPTION 'sql/capture.sql has a text that sql/attach.sql does not replace: "%"',
            substring(remainder FROM '[^\n]*(?:/[*]|[(]slug[)] VALUES)[^\n]*')
            USING HINT = 'mark it, and change a marked text in both files';
    END IF;

    FOR found IN
        SELECT * FROM (VALUES
            ('capture_agent', agents, slug, tenant,
             concat_ws(' ', agent_filter, CASE WHEN tenant IS NOT NULL THEN
                 format('new_tenant := NEW.%I::pg_catalog.text;', tenant) END), agent_event,
             'Notes a changed agent', 'new agents', 'agents whose mapped columns changed', true),
            ('capture_configuration', configs, agent_slug, agent_tenant,
             -- A configuration that loses its slug changes the agent that it belonged to.
             concat_ws(' ', CASE WHEN agent_tenant IS NOT NULL THEN
                           format('new_tenant := CASE WHEN new_slug IS NULL THEN OLD.%1$I '
                                  'ELSE NEW.%1$I END::pg_catalog.text;', agent_tenant) END,
                       format('new_slug := COALESCE(new_slug, OLD.%I::pg_catalog.text);',
                              agent_slug)),
             format('UPDATE ON %s FOR EACH ROW WHEN (%s)', configs, configuration_differs),
             'Notes a new configuration', 'new configurations',
             'configurations given to another agent', with_configs))
            AS f (name, relation, slug, tenant, filter, event, purpose, inserts, updates,
                  is_wanted)
        WHERE f.is_wanted
    LOOP
        definition := split_part(template, '$capture$', 2);
        IF found.tenant IS NULL THEN
            definition := replace(definition, '/* key */', '');
        ELSE
            FOR part IN 1 .. array_length(key_parts, 1) LOOP
                definition := replace(definition, key_parts[part][1],
                                      format(key_parts[part][2], found.tenant));
            END LOOP;
        END IF;
        definition := replace(replace(definition, '/* notify */true', given ->> 'notify'),
                              '/* slug */slug', quote_ident(found.slug));
        definition := replace(definition, '/* renamed */false', format(
            CASE WHEN found.tenant IS NULL THEN other_slug ELSE other_key END,
            found.slug, found.tenant));
        function_statements := function_statements || ARRAY[
            -- The body as a literal of its own: a name of a column may contain any quote.
            replace(split_part(template, '$capture$', 1),
                    '/* function */capture_agent', found.name)
                || quote_literal(replace(definition, '/* filter */', found.filter)),
            format('REVOKE ALL ON FUNCTION agent_sync.%I() FROM PUBLIC', found.name),
            -- PostgreSQL copies the triggers to a new partition on behalf of the owner of the
            -- table, which needs EXECUTE.
            format('GRANT EXECUTE ON FUNCTION agent_sync.%I() TO %s', found.name,
                   (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = found.relation)),
            format('COMMENT ON FUNCTION agent_sync.%I() IS %L', found.name,
                   found.purpose || ' in agent_sync.outbox; never fails a save.')];
        trigger_statements := trigger_statements || ARRAY[
            format('CREATE OR REPLACE TRIGGER agent_sync_insert AFTER INSERT ON %s FOR EACH ROW '
                   'WHEN (NEW.%I IS NOT NULL) EXECUTE FUNCTION agent_sync.%I()',
                   found.relation, found.slug, found.name),
            format('CREATE OR REPLACE TRIGGER agent_sync_update AFTER %s '
                   'EXECUTE FUNCTION agent_sync.%I()', found.event, found.name),
            -- ALWAYS: restores and logical replication run with session_replication_role = replica.
            format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_insert', found.relation),
            format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_update', found.relation),
            format('COMMENT ON TRIGGER agent_sync_insert ON %s IS %L', found.relation,
                   format('agent-sync: notes %s.', found.inserts)),
            format('COMMENT ON TRIGGER agent_sync_update ON %s IS %L', found.relation,
                   format('agent-sync: notes %s.', found.updates))];
        triggers := triggers || ARRAY[format('%s.agent_sync_insert', found.relation),
                                      format('%s.agent_sync_update', found.relation)];
    END LOOP;

    -- An update that moves a row to another partition fires the triggers of a delete and an insert,
    -- so the former slug is noted with the delete.
    IF with_configs AND (SELECT c.relkind = 'p' FROM pg_class c WHERE c.oid = configs) THEN
        trigger_statements := trigger_statements || ARRAY[
            format('CREATE OR REPLACE TRIGGER agent_sync_delete AFTER DELETE ON %s FOR EACH ROW '
                   'WHEN (OLD.%I IS NOT NULL) EXECUTE FUNCTION agent_sync.capture_configuration()',
                   configs, agent_slug),
            format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_delete', configs),
            format('COMMENT ON TRIGGER agent_sync_delete ON %s IS %L', configs,
                   'agent-sync: notes configurations that leave a partition or are deleted.')];
        triggers := triggers || format('%s.agent_sync_delete', configs);
    END IF;

    SELECT CASE WHEN a.attcollation NOT IN (0, 'pg_catalog."default"'::regcollation)
                THEN format(' COLLATE %s', a.attcollation::regcollation) ELSE '' END
        INTO slug_collation FROM pg_attribute a WHERE a.attrelid = agents AND a.attname = slug;
    view_statements := ARRAY[
        -- A view that reads the table would keep the platform from dropping or altering it.
        -- PostgreSQL tracks no dependency of the text of a function. It inlines this one, because
        -- it is neither SECURITY DEFINER nor has settings.
        format('CREATE OR REPLACE FUNCTION agent_sync.slugs() RETURNS SETOF text '
               'LANGUAGE sql STABLE AS %L',
               CASE WHEN tenant IS NULL
                   THEN format(E'-- The slugs of the agents, for the view agent_sync.state.\n'
                               'SELECT a.%I::pg_catalog.text FROM %s a', slug,
                               current_setting('agent_sync.agents'))
                   ELSE format(E'-- The slugs of the agents, for the view agent_sync.state: each '
                               'behind its tenant and "/".\n'
                               'SELECT %s FROM (SELECT '
                               'a.%I::pg_catalog.text COLLATE pg_catalog."C" AS tenant, '
                               'a.%I::pg_catalog.text AS slug FROM %s a) r', key, tenant, slug,
                               current_setting('agent_sync.agents')) END),
        'GRANT EXECUTE ON FUNCTION agent_sync.slugs() TO PUBLIC',
        'COMMENT ON FUNCTION agent_sync.slugs() IS ''The slugs of the agents, for the view '
        'agent_sync.state.''',
        CASE WHEN tenant IS NULL THEN format($view$
            CREATE OR REPLACE VIEW agent_sync.state AS
            SELECT a.slug%1$s AS slug,
                   waiting.slug IS NOT NULL AS pending,
                   p.kind AS problem,
                   COALESCE(waiting.since, p.since) AS since
            FROM agent_sync.slugs() AS a (slug)
            LEFT JOIN (SELECT o.slug,
                              pg_catalog.min(o.at) FILTER (WHERE pg_catalog.isfinite(o.at)) AS since
                       FROM agent_sync.outbox o GROUP BY o.slug) waiting
                ON waiting.slug = a.slug
            LEFT JOIN agent_sync.problem p ON %2$s = %3$s
            $view$, slug_collation, format(digest, 'p.slug'), format(digest, 'a.slug'))
        -- An outbox row without tenant is about every tenant's agent with its slug.
        ELSE format($view$
            CREATE OR REPLACE VIEW agent_sync.state AS
            SELECT a.slug%1$s AS slug,
                   waiting.key IS NOT NULL OR loose.slug IS NOT NULL AS pending,
                   p.kind AS problem,
                   COALESCE(LEAST(waiting.since, loose.since), p.since) AS since,
                   a.tenant
            FROM (SELECT k.key, pg_catalog.substr(k.key, pg_catalog.strpos(k.key, '/') + 1) AS slug,
                         CASE WHEN k.key NOT LIKE '\%%/%%' THEN
                             pg_catalog.replace(pg_catalog.replace(
                                 pg_catalog.split_part(k.key, '/', 1), '%%2F', '/'), '%%25', '%%')
                         END AS tenant
                  FROM agent_sync.slugs() AS k (key)) a
            LEFT JOIN (SELECT %2$s AS key,
                              pg_catalog.min(r.at) FILTER (WHERE pg_catalog.isfinite(r.at)) AS since
                       FROM agent_sync.outbox r GROUP BY 1) waiting
                ON waiting.key = a.key
            LEFT JOIN (SELECT r.slug,
                              pg_catalog.min(r.at) FILTER (WHERE pg_catalog.isfinite(r.at)) AS since
                       FROM agent_sync.outbox r WHERE r.tenant IS NULL GROUP BY r.slug) loose
                ON loose.slug = a.slug
            LEFT JOIN (SELECT %3$s AS digest, r.kind, r.since FROM agent_sync.problem r) p
                ON p.digest = %4$s
            $view$, slug_collation, key, format(digest, format('(%s)', key)),
            format(digest, 'a.key')) END,
        -- By this comment other installs know which configurations this one writes (guard.sql).
        format('COMMENT ON COLUMN agent_sync.install.tables IS %L',
               format('The tables and columns that the triggers were made for: %s and %s.',
                      current_setting('agent_sync.agents'),
                      current_setting('agent_sync.configurations'))),
        'COMMENT ON VIEW agent_sync.state IS ''One row per agent: whether a change is pending or a '
        'problem exists, and since when.''',
        'COMMENT ON COLUMN agent_sync.state.slug IS ''The slug of the agent.''',
        'COMMENT ON COLUMN agent_sync.state.pending IS ''Whether the daemon has yet to apply a '
        'noted change.''',
        'COMMENT ON COLUMN agent_sync.state.problem IS ''The kind of problem that keeps the agent '
        'from being in sync, or null.''',
        'COMMENT ON COLUMN agent_sync.state.since IS ''Since when the change is pending or the '
        'problem exists; null: in sync as far as is known.''']
        || CASE WHEN tenant IS NULL THEN '{}' ELSE ARRAY['COMMENT ON COLUMN '
            'agent_sync.state.tenant IS ''The tenant of the agent.'''] END;

    SELECT CASE WHEN pg_get_userbyid(n.nspowner) = current_user THEN acting
                ELSE pg_get_userbyid(n.nspowner)::text END,
           CASE WHEN pg_has_role(n.nspowner, a.relowner, 'USAGE')
                     AND pg_has_role(n.nspowner, c.relowner, 'USAGE')
                     AND pg_get_userbyid(n.nspowner) <> current_user
                THEN pg_get_userbyid(n.nspowner)::text ELSE acting END
        INTO schema_owner_role, trigger_owner_role
        FROM pg_namespace n, pg_class a, pg_class c
        WHERE n.nspname = 'agent_sync' AND a.oid = agents AND c.oid = configs;

    -- Nothing to do: the same statements were run last time, what exists is their result, and the
    -- functions can work.
    PERFORM set_config('role', schema_owner_role, true);
    wanted := array_to_string(function_statements || trigger_statements || view_statements, E'\n');
    EXECUTE existing_definitions INTO existing;
    EXECUTE format('SELECT EXISTS (%s) OR EXISTS (%s)', misplaced, unable)
        INTO incomplete USING agents, configs;
    EXECUTE format('SELECT $2 OR EXISTS (%s)', forbidden) INTO incomplete USING called, incomplete;
    EXECUTE function_sum INTO existing_functions;
    EXECUTE trigger_sum INTO existing_triggers;
    IF EXISTS (SELECT FROM agent_sync.install i
               WHERE i.fingerprint = concat_ws(' ', md5(wanted || existing), existing_functions,
                                               existing_triggers))
        AND to_regclass('agent_sync.state') IS NOT NULL
        AND NOT incomplete
    THEN
        PERFORM set_config('role', acting, true);
        RETURN;
    END IF;

    -- PostgreSQL changes the collation of a column of a view, and takes a column out, only by
    -- dropping the view. The privileges of others are given again.
    SELECT ARRAY(SELECT format('GRANT %s ON agent_sync.state TO %s%s', g.privilege_type,
                               CASE g.grantee WHEN 0 THEN 'PUBLIC'
                                              ELSE g.grantee::regrole::text END,
                               CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                 FROM aclexplode(v.relacl) AS g WHERE g.grantee <> v.relowner)
        INTO view_grants
        FROM pg_class v
        JOIN pg_attribute shown ON shown.attrelid = v.oid AND shown.attname = 'slug'
        JOIN pg_attribute a ON a.attrelid = agents AND a.attname = slug
        WHERE v.oid = to_regclass('agent_sync.state')
          AND (shown.attcollation <> coalesce(nullif(a.attcollation, 0),
                                              'pg_catalog."default"'::regcollation)
               OR tenant IS NULL AND EXISTS (SELECT FROM pg_attribute t
                                             WHERE t.attrelid = v.oid AND t.attname = 'tenant'));
    IF view_grants IS NOT NULL THEN
        BEGIN
            DROP VIEW agent_sync.state;
        EXCEPTION WHEN dependent_objects_still_exist THEN
            GET STACKED DIAGNOSTICS definition = PG_EXCEPTION_DETAIL;
            RAISE EXCEPTION 'the view agent_sync.state has to be made anew, because the slugs of % '
                            'have another collation now, or no tenants any more, and other objects '
                            'depend on it: %',
                agents, definition
                USING ERRCODE = 'object_in_use',
                HINT = 'Drop these objects, run the install, and create them again.';
        END;
    END IF;
    FOREACH definition IN ARRAY view_statements || coalesce(view_grants, '{}') LOOP
        EXECUTE definition;
    END LOOP;

    -- The two tables are locked from here on, so no wait is longer than this. In a deadlock with a
    -- save, the wait of the install ends first.
    PERFORM set_config('lock_timeout', greatest(1, least(200, s.setting::integer / 2))::text, true)
        FROM pg_settings s WHERE s.name = 'deadlock_timeout';
    FOR attempt IN 1 .. 5 LOOP
        BEGIN
            former_owners := '{}';
            -- Triggers of an earlier install that are no longer wanted, for instance on a table
            -- that was renamed in the settings. A trigger of others that calls one of the functions
            -- stays.
            FOR found IN
                SELECT t.tgname, t.tgrelid::regclass AS relation
                FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
                WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
                  AND f.proname IN ('capture_agent', 'capture_configuration')
                  AND (t.tgname IN ('agent_sync_insert', 'agent_sync_update', 'agent_sync_delete')
                       OR starts_with(coalesce(obj_description(t.oid, 'pg_trigger'), ''),
                                      'agent-sync: notes '))
                  AND NOT format('%s.%I', t.tgrelid::regclass, t.tgname) = ANY (triggers)
            LOOP
                -- As the caller: the table may be neither of the two.
                PERFORM set_config('role', acting, true);
                EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.relation);
            END LOOP;
            PERFORM set_config('role', schema_owner_role, true);
            IF NOT with_configs
                AND to_regprocedure('agent_sync.capture_configuration()') IS NOT NULL
            THEN
                former_owners := ARRAY(
                    SELECT f.proowner FROM pg_proc f
                    WHERE f.oid = to_regprocedure('agent_sync.capture_configuration()'));
                DROP FUNCTION agent_sync.capture_configuration();
            END IF;

            -- A function of another owner is made anew. Its former owner may have granted it to
            -- others or may have triggers that call it, and these would run with the rights of the
            -- new owner.
            PERFORM set_config('role', acting, true);
            FOR found IN EXECUTE misplaced USING agents, configs LOOP
                former_owners := former_owners || found.owner;
                SELECT string_agg(format('%I on %s', t.tgname, t.tgrelid::regclass), ', ')
                INTO definition
                    FROM pg_trigger t
                    WHERE t.tgfoid = found.oid AND t.tgrelid <> found.relation AND t.tgparentid = 0;
                IF definition IS NOT NULL THEN
                    RAISE EXCEPTION 'the function % is to get another owner, %, and triggers that '
                                    'no install has made call it: %',
                        found.name, found.due::regrole, definition
                        USING ERRCODE = 'object_in_use',
                        HINT = 'These triggers would run with the rights of the new owner. Drop '
                               'them, and run the install again.';
                END IF;
                BEGIN
                    EXECUTE format('DROP FUNCTION %s CASCADE', found.name);
                EXCEPTION WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the function % has to belong to the owner of the table %, %, '
                                    'and the role % cannot give it from % to that role: %',
                        found.name, found.relation, found.due::regrole, current_user,
                        found.owner::regrole, SQLERRM
                        USING ERRCODE = 'insufficient_privilege',
                        HINT = format('Run the install as a superuser, or as a role that can act '
                                      'as both: GRANT %s TO %I%s.',
                                      found.due::regrole, current_user, membership);
                END;
            END LOOP;
            PERFORM set_config('role', trigger_owner_role, true);
            FOREACH definition IN ARRAY function_statements LOOP
                EXECUTE definition;
            END LOOP;
            FOR found IN EXECUTE misplaced USING agents, configs LOOP
                -- ALTER FUNCTION ... OWNER needs CREATE on the schema for the new owner, for this
                -- moment.
                PERFORM set_config('role', schema_owner_role, true);
                incomplete := NOT has_schema_privilege(found.due, 'agent_sync', 'CREATE');
                IF incomplete THEN
                    EXECUTE format('GRANT CREATE ON SCHEMA agent_sync TO %s', found.due::regrole);
                END IF;
                PERFORM set_config('role', trigger_owner_role, true);
                BEGIN
                    EXECUTE format('ALTER FUNCTION %s OWNER TO %s', found.name, found.due::regrole);
                EXCEPTION WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the function % has to belong to the owner of the table %, %, '
                                    'and the role % cannot give it from % to that role: %',
                        found.name, found.relation, found.due::regrole, current_user,
                        found.owner::regrole, SQLERRM
                        USING ERRCODE = 'insufficient_privilege',
                        HINT = format('Run the install as a superuser, or as a role that can act '
                                      'as both: GRANT %s TO %I%s.',
                                      found.due::regrole, current_user, membership);
                END;
                IF incomplete THEN
                    PERFORM set_config('role', schema_owner_role, true);
                    EXECUTE format('REVOKE CREATE ON SCHEMA agent_sync FROM %s',
                                   found.due::regrole);
                END IF;
            END LOOP;

            PERFORM set_config('role', schema_owner_role, true);
            FOR found IN EXECUTE unable USING agents, configs LOOP
                EXECUTE format('GRANT USAGE ON SCHEMA agent_sync TO %s', found.owner::regrole);
                -- The owner of the schema regains the privilege on the whole table.
                EXECUTE format('GRANT SELECT %s, INSERT ON agent_sync.outbox TO %s',
                               CASE WHEN pg_get_userbyid(found.owner) = current_user THEN ''
                                    ELSE '(ctid)' END, found.owner::regrole);
                EXECUTE format('GRANT USAGE ON SEQUENCE agent_sync.uncaptured TO %s',
                               found.owner::regrole);
            END LOOP;
            -- A GRANT by a role without the grant option is only a warning.
            FOR found IN EXECUTE unable USING agents, configs LOOP
                RAISE EXCEPTION 'the role % cannot get the privileges that the capture needs '
                                'on agent_sync.outbox',
                    found.owner::regrole
                    USING ERRCODE = 'insufficient_privilege',
                    HINT = 'Run the install as the owner of every object in the schema '
                           'agent_sync, or as a superuser.';
            END LOOP;
            -- A former owner of a function keeps none of these privileges. grant.sql sees to the
            -- role of a daemon.
            FOR found IN
                SELECT DISTINCT r.role::regrole AS owner
                FROM unnest(former_owners) AS r (role) JOIN pg_roles p ON p.oid = r.role
                WHERE NOT EXISTS (SELECT FROM pg_proc f
                                  WHERE f.pronamespace = 'agent_sync'::regnamespace
                                    AND f.proowner = r.role)
                  AND NOT EXISTS (SELECT FROM pg_namespace n
                                  WHERE n.nspname = 'agent_sync' AND n.nspowner = r.role)
                  AND NOT EXISTS (SELECT FROM agent_sync.role d
                                  WHERE d.name = p.rolname OR d.oid = p.oid)
            LOOP
                EXECUTE format('REVOKE INSERT, SELECT (ctid) ON agent_sync.outbox FROM %s',
                               found.owner);
                EXECUTE format('REVOKE USAGE ON SEQUENCE agent_sync.uncaptured FROM %s',
                               found.owner);
                EXECUTE format('REVOKE USAGE ON SCHEMA agent_sync FROM %s', found.owner);
            END LOOP;

            PERFORM set_config('role', trigger_owner_role, true);
            BEGIN
                FOREACH definition IN ARRAY trigger_statements LOOP
                    EXECUTE definition;
                END LOOP;
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % cannot make the triggers on % and %, which belong to % '
                                'and %: %',
                    current_user, agents, configs,
                    (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = agents),
                    (SELECT c.relowner::regrole FROM pg_class c WHERE c.oid = configs), SQLERRM
                    USING ERRCODE = 'insufficient_privilege',
                    HINT = (SELECT format('Run the install as a superuser, or as a role with the '
                                          'rights of both: %s%s',
                                          string_agg(DISTINCT format('GRANT %s TO %I%s;',
                                              c.relowner::regrole, current_user, membership), ' '),
                                          CASE WHEN membership = ''
                                               THEN format(' ALTER ROLE %I INHERIT;', current_user)
                                               ELSE '' END)
                            FROM pg_class c WHERE c.oid IN (agents, configs));
            END;
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            -- The locks of this attempt are released.
            IF attempt = 5 THEN
                RAISE;
            END IF;
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    PERFORM set_config('role', schema_owner_role, true);

    FOR found IN EXECUTE forbidden USING called LOOP
        RAISE EXCEPTION 'the role % may not execute %, which the capture calls: saves of agents '
                        'would fail, or could not be noted',
            found.owner, found.functions
            USING ERRCODE = 'insufficient_privilege',
            HINT = format('GRANT EXECUTE ON FUNCTION %s TO %s;', found.functions, found.owner);
    END LOOP;
    FOR found IN EXECUTE forbidden USING called_after_a_failure LOOP
        RAISE WARNING 'the role % may not execute %: a save that the capture cannot note may leave '
                      'no trace',
            found.owner, found.functions
            USING HINT = format('GRANT EXECUTE ON FUNCTION %s TO %s;', found.functions,
                                found.owner);
    END LOOP;

    EXECUTE existing_definitions INTO existing;
    EXECUTE function_sum INTO existing_functions;
    EXECUTE trigger_sum INTO existing_triggers;
    -- A problem or an outbox row without tenant is about every tenant's agent with its slug. The
    -- daemon resolves it.
    IF tenant IS NULL THEN
        -- The row below, if no daemon has taken it.
        DELETE FROM agent_sync.outbox o WHERE o.tenant = '' AND o.slug = '';
        DELETE FROM agent_sync.problem p WHERE p.tenant = '' AND p.slug = '';
        EXECUTE format('DELETE FROM agent_sync.problem p USING agent_sync.problem o '
                       'WHERE p.tenant IS NOT NULL AND %s = %s '
                       'AND (o.tenant IS NULL OR o.tenant < p.tenant COLLATE "C")',
                       format(digest, 'o.slug'), format(digest, 'p.slug'));
        UPDATE agent_sync.problem p SET tenant = NULL WHERE p.tenant IS NOT NULL;
    ELSE
        INSERT INTO agent_sync.outbox (slug)
            SELECT p.slug FROM agent_sync.problem p WHERE p.tenant IS NULL;
        -- A daemon without tenants stops at a row with one. This row is about no agent, and wakes
        -- it.
        IF EXISTS (SELECT FROM agent_sync.install i
                   WHERE i.tables #>> '{agents,columns,tenant}' IS DISTINCT FROM tenant)
        THEN
            INSERT INTO agent_sync.outbox (slug, tenant) VALUES ('', '');
            IF (given -> 'notify')::boolean THEN
                PERFORM pg_notify('agent_sync', '');
            END IF;
        END IF;
    END IF;
    -- -1: earlier saves are not in the outbox, so the daemon checks every agent.
    UPDATE agent_sync.install i
        SET tables = given, uncaptured_seen = -1, seal = '',
            fingerprint = concat_ws(' ', md5(wanted || existing), existing_functions,
                                    existing_triggers);
    PERFORM set_config('role', acting, true);
END
$attach$;
