-- agent-sync: the capture (C1-C6) and the view agent_sync.state, made for one pair of tables.
--
-- Run after 0001_schema.sql, in the same transaction; see there. It can be run again at any time:
-- it works out what should be there, and where that is what is there, it executes no DDL and takes
-- no lock on the tables.
--
-- Without further ado it is about public.agents and public.agent_configurations with the usual
-- column names. For others, set agent_sync.tables first, to a JSON object of what differs:
--
--     SELECT set_config('agent_sync.tables', '{"agents": {"table": "voice_agents"}}', true);
--
-- The keys: agents {schema, table, columns {slug, name, system_prompt, agent_image,
-- voice_settings}}, configurations {schema, table, columns {agent_slug}}, capture_configurations
-- (true or false).
--
-- The capture functions are SECURITY DEFINER, and belong to the owners of the tables that they
-- serve: whoever owns a table decides what the names in a function's body mean there (a column of
-- that name, its type, the casts of that type), and so gets no rights but its own. Such an owner is
-- given USAGE on the schema, INSERT on the outbox with SELECT of its ctid, and USAGE of the count,
-- and no more.
--
-- What is in the schema is made as the owner of the schema. The triggers and functions are as well,
-- where that role can act as the owners of the tables; else they are made as the role that runs
-- this, which has to be able to. Making them runs nobody's code.
--
-- Locks: CREATE TRIGGER and ALTER TABLE ... ENABLE ALWAYS TRIGGER take SHARE ROW EXCLUSIVE, which
-- holds up writers of the table. It is waited for no longer than lock_timeout (2 s), and held for
-- milliseconds.

DO $attach$
DECLARE
    -- The sleeping-consumer protocol and why the first appends are guarded: see capture_body below.
    -- tests/model checks the protocol in every order of its steps, of which these are Save (the
    -- append) and Look (the lock, and which notification is called for: the place of a
    -- transaction's only row so far, or that there is more).
    capture_body CONSTANT text := $body$
        -- Notes the slug of the changed row in the outbox, and wakes the daemon if it sleeps.
        --
        -- Never in the way (C4): an append that fails is a WARNING and a count in
        -- agent_sync.uncaptured, which makes the daemon bring every agent in sync; and the table
        -- lock is taken with NOWAIT, so nothing is waited for.
        --
        -- An exception block is a subtransaction, and PostgreSQL keeps track of 64 of them cheaply.
        -- So a transaction's first 50 appends are guarded by one each; after that the outbox has
        -- been seen to work, it cannot be dropped or renamed, because this transaction holds a lock
        -- on it, and a look at the privileges is guard enough. But only while it is as it was made:
        -- somebody's constraint, index or trigger on it may refuse one row and not another. What
        -- stays in an exception block is all that is only read, because a subtransaction that
        -- writes nothing is given no number: this transaction itself may have renamed a column
        -- since.
        --
        -- Quiet while busy (C6): NOTIFY serializes commits, so it is called only when the daemon
        -- sleeps, that is, when it holds the advisory lock "idle" (1634169721, 2). Otherwise this
        -- transaction keeps the shared lock to its end, and the daemon cannot go to sleep before it
        -- has seen what this transaction appended. A transaction's first append tells the place of
        -- its row, so that a daemon that has nothing else to do need not look for it; any further
        -- one tells that there is more.
        --
        -- What this cannot keep (docs/reliability.md has the figures). An append that fails after a
        -- transaction's first 50 for want of disk, memory or a lock's slot fails that statement: a
        -- block for every row would make bulk statements a third slower, and each block is a
        -- subtransaction. A BEFORE trigger that a transaction makes and drops again may change
        -- columns that no trigger of ours watches, and leaves no trace in the catalog. A save that
        -- notifies waits for other notifying commits of the whole cluster.
        --
        -- In the daemon's own session (agent_sync.daemon is on) the lock is always free, because
        -- the session holds it itself: a trigger of the platform on the configurations may save
        -- another agent there. So a transaction of that session always notifies. Anybody else who
        -- sets it does no harm: the transaction sends one notification more, which names no place.
        --
        -- agent_sync.appended, local to the (sub)transaction, counts the guarded appends. It begins
        -- with the number of the transaction: what was set for a session, or left over, counts as
        -- nothing. Every expression below has to be made ready once a transaction, which is most of
        -- what a save of one row pays: so what is seldom needed stands in a branch of its own, and
        -- functions are called by assignment, which is cheaper than PERFORM.
        DECLARE
            appended text := pg_catalog.current_setting('agent_sync.appended', true);
            changed  text; -- The slug of the row, and the one that it had before.
            former   text;
            place    pg_catalog.tid; -- Where the row stands in the outbox, if the daemon has to be told.
            settled  boolean; -- Whether nothing can keep the append from working.
            patience text;
            warned   text;
        BEGIN
            IF appended <> '' THEN
                appended := CASE WHEN pg_catalog.split_part(appended, ' ', 1) =
                  pg_catalog.pg_current_xact_id()::pg_catalog.text
                    THEN pg_catalog.split_part(appended, ' ', 2) ELSE '' END;
                IF appended = '50' THEN
                    BEGIN
                        changed := NEW.%1$I;
                        %2$s
                        -- The first opens the relation, and so learns of what others have
                        -- committed; without it the look would be at what was known before, and the
                        -- append, which is planned anew when that changes, would fail.
                        settled :=
                          pg_catalog.pg_relation_is_updatable('agent_sync.outbox'::pg_catalog.regclass, false) & 8 = 8
                            AND pg_catalog.has_schema_privilege('agent_sync', 'USAGE')
                            AND
                              pg_catalog.has_table_privilege('agent_sync.outbox'::pg_catalog.regclass, 'INSERT');
                    EXCEPTION WHEN OTHERS THEN
                        NULL; -- The same is tried again below, and told.
                    END;
                    IF settled THEN
                        INSERT INTO agent_sync.outbox (slug) VALUES (changed);
                        IF OLD.%1$I IS DISTINCT FROM changed AND OLD.%1$I IS NOT NULL THEN
                            INSERT INTO agent_sync.outbox (slug) VALUES (OLD.%1$I);
                        END IF;
                        RETURN NULL;
                    END IF;
                END IF;
            END IF;

            BEGIN
                -- The row is read in here: that fails if a column has been renamed.
                changed := NEW.%1$I;
                %2$s
                LOCK TABLE agent_sync.outbox IN ROW EXCLUSIVE MODE NOWAIT;
                IF pg_catalog.pg_try_advisory_xact_lock_shared(1634169721, 2)
                    AND pg_catalog.current_setting('agent_sync.daemon', true) IS DISTINCT FROM 'on'
                THEN
                    INSERT INTO agent_sync.outbox (slug) VALUES (changed);
                    IF NOT FOUND THEN
                        RAISE EXCEPTION 'another trigger keeps rows from agent_sync.outbox';
                    END IF;
                ELSE
                    INSERT INTO agent_sync.outbox (slug) VALUES (changed) RETURNING ctid INTO place;
                    IF place IS NULL THEN
                        RAISE EXCEPTION 'another trigger keeps rows from agent_sync.outbox';
                    END IF;
                    -- A queue of notifications that is nearly full would fail the writer's commit:
                    -- the sweep will do.
                    IF pg_catalog.pg_notification_queue_usage() < 0.5 THEN
                        IF COALESCE(appended, '') = '' AND NOT (OLD.%1$I IS DISTINCT FROM changed
                          AND OLD.%1$I IS NOT NULL)
                            AND pg_catalog.current_setting('agent_sync.daemon', true) IS DISTINCT
                              FROM 'on'
                        THEN
                            PERFORM pg_catalog.pg_notify('agent_sync_change', place::text);
                        ELSE
                            PERFORM pg_catalog.pg_notify('agent_sync', '');
                        END IF;
                    END IF;
                END IF;
                IF OLD.%1$I IS DISTINCT FROM changed AND OLD.%1$I IS NOT NULL THEN
                    former := OLD.%1$I;
                    INSERT INTO agent_sync.outbox (slug) VALUES (former);
                END IF;
                IF COALESCE(appended, '') = '' THEN
                    appended := pg_catalog.set_config('agent_sync.appended',
                        pg_catalog.pg_current_xact_id()::pg_catalog.text || ' 1', true);
                ELSIF appended = '49' THEN
                    IF EXISTS (
                        SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a
                          ON a.attrelid = c.oid
                        WHERE c.oid = pg_catalog.to_regclass('agent_sync.outbox')
                          AND c.relkind = 'r' AND c.relchecks = 0
                            AND NOT (c.relhasindex OR c.relhastriggers OR c.relhasrules
                              OR c.relrowsecurity)
                            AND a.attname = 'slug'
                              AND a.atttypid = 'pg_catalog.text'::pg_catalog.regtype)
                    THEN
                        appended := pg_catalog.set_config('agent_sync.appended',
                            pg_catalog.pg_current_xact_id()::pg_catalog.text || ' 50', true);
                    END IF;
                ELSE
                    appended := pg_catalog.set_config('agent_sync.appended',
                      pg_catalog.pg_current_xact_id()::pg_catalog.text || ' ' || CASE
                        WHEN appended ~ '^([0-9]|[1-3][0-9]|4[0-8])$'
                          THEN (appended::integer + 1)::text
                        ELSE '1' END, true);
                END IF;
            EXCEPTION WHEN OTHERS THEN
                -- In a block of its own: an expression here is made ready for the first time, which
                -- may fail as well, for want of a lock's slot.
                BEGIN
                    -- Bound to the transaction, as agent_sync.appended is.
                    warned := COALESCE(pg_catalog.current_setting('agent_sync.warned', true), '');
                    IF warned NOT IN (pg_catalog.pg_current_xact_id()::pg_catalog.text ||
                      ' counted',
                                      pg_catalog.pg_current_xact_id()::pg_catalog.text ||
                                        ' uncounted')
                    THEN
                        RAISE WARNING 'agent-sync could not note a change of "%%": %%', changed,
                          SQLERRM
                            USING ERRCODE = SQLSTATE,
                            HINT =
                              'The row is saved. Run "agent-sync install" to mend the capture; every agent is then brought in sync.';
                    END IF;
                    -- It is told once a transaction, and counted each time, whatever
                    -- agent_sync.warned says of that.
                    IF warned <> pg_catalog.pg_current_xact_id()::pg_catalog.text || ' uncounted'
                      THEN
                        BEGIN
                            -- A sequence cannot be locked with NOWAIT; it is locked only while it
                            -- is altered or dropped.
                            patience := pg_catalog.current_setting('lock_timeout');
                            PERFORM pg_catalog.set_config('lock_timeout', '1ms', true);
                            PERFORM pg_catalog.nextval('agent_sync.uncaptured');
                            PERFORM pg_catalog.set_config('lock_timeout', patience, true);
                            warned := pg_catalog.set_config('agent_sync.warned',
                                pg_catalog.pg_current_xact_id()::pg_catalog.text || ' counted',
                                  true);
                        EXCEPTION WHEN OTHERS THEN
                            warned := pg_catalog.set_config('agent_sync.warned',
                                pg_catalog.pg_current_xact_id()::pg_catalog.text || ' uncounted',
                                  true);
                            -- All that is ours may be locked, for instance by REASSIGN OWNED, which
                            -- may be undone and leave no trace. A large object is none of it, and
                            -- is committed with the save: the seal (store::queries::seal) moves
                            -- with one that has this comment and the owner of this function, and
                            -- every agent is looked at. The uninstall removes it.
                            BEGIN
                                EXECUTE pg_catalog.format('COMMENT ON LARGE OBJECT %%s IS %%L',
                                  pg_catalog.lo_create(0),
                                    'agent-sync: a save could be neither noted nor counted');
                            EXCEPTION WHEN OTHERS THEN
                                NULL; -- The notification below is left.
                            END;
                        END;
                    END IF;
                    -- Neither noted nor counted: the schema itself is broken. A daemon that listens
                    -- is asked for the slug (I7), and so learns of it even if the damage is mended
                    -- before it looks. A transaction that may be prepared must not notify, and a
                    -- queue that is nearly full would fail the commit.
                    IF warned = pg_catalog.pg_current_xact_id()::pg_catalog.text || ' uncounted'
                        AND pg_catalog.current_setting('max_prepared_transactions') = '0'
                        AND pg_catalog.pg_notification_queue_usage() < 0.5
                    THEN
                        BEGIN
                            PERFORM pg_catalog.pg_notify('agent_sync', slug)
                                FROM pg_catalog.unnest(ARRAY[changed, former]) AS slug
                                WHERE pg_catalog.octet_length(slug) < 8000;
                        EXCEPTION WHEN OTHERS THEN
                            NULL; -- Never in the way: the sweep sees the damage.
                        END;
                    END IF;
                EXCEPTION WHEN OTHERS THEN
                    NULL; -- Never in the way: the sweep sees the damage.
                END;
            END;
            RETURN NULL;
        END
    $body$;

    -- What is there, as PostgreSQL describes it: the triggers, and the functions, which nobody but
    -- they may call.
    there CONSTANT text := $there$
        SELECT COALESCE(string_agg(part.described, E'\n' ORDER BY part.described COLLATE "C"), '')
          FROM (
            SELECT pg_get_triggerdef(t.oid) || t.tgenabled::text
            FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
            WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
            UNION ALL
            SELECT pg_get_functiondef(f.oid) || has_function_privilege('public', f.oid,
              'EXECUTE')::text
            FROM pg_proc f
            WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
              to_regprocedure('agent_sync.capture_configuration()'))
        ) AS part (described)
    $there$;
    -- The same for the daemon, which looks whether it is still what was made
    -- (store::queries::CAPTURE_FAULTS has the same expressions).
    bodies CONSTANT text := $bodies$
        SELECT md5(string_agg(f.prosrc, E'\n' ORDER BY f.proname)) FROM pg_proc f
        WHERE f.pronamespace = 'agent_sync'::regnamespace
          AND f.proname IN ('capture_agent', 'capture_configuration')
    $bodies$;
    shapes CONSTANT text := $shapes$
        SELECT current_setting('server_version_num')::integer / 10000 || ' '
               || md5(string_agg(replace(pg_get_triggerdef(t.oid), 'agent_sync.', ''), E'\n'
                 ORDER BY pg_get_triggerdef(t.oid) COLLATE "C"))
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
          AND t.tgname IN ('agent_sync_insert', 'agent_sync_update')
    $shapes$;
    -- The functions, each with its owner and that of its table, $1 or $2.
    served CONSTANT text := $served$
        SELECT f.oid, f.oid::regprocedure AS name, f.proowner AS owner, c.relowner AS due,
          c.oid::regclass AS relation
        FROM pg_proc f JOIN pg_class c ON c.oid = CASE f.proname WHEN 'capture_agent' THEN $1
          ELSE $2 END
        WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
          to_regprocedure('agent_sync.capture_configuration()'))
    $served$;
    -- Those that belong to another role, and those whose owner cannot do their work: append, tell
    -- the place of the row, and count what could not be noted.
    misplaced CONSTANT text := pg_catalog.format('SELECT s.* FROM (%s) AS s WHERE s.owner <> s.due',
      served);
    unable CONSTANT text := pg_catalog.format($unable$
        SELECT s.* FROM (%s) AS s
        WHERE NOT (has_schema_privilege(s.owner, 'agent_sync', 'USAGE')
                   AND has_table_privilege(s.owner, 'agent_sync.outbox', 'INSERT')
                   AND has_column_privilege(s.owner, 'agent_sync.outbox', 'ctid', 'SELECT')
                   AND has_sequence_privilege(s.owner, 'agent_sync.uncaptured', 'USAGE'))
    $unable$, served);
    -- The functions of PostgreSQL that they call and their owner may not: a server that was
    -- hardened. Then every save would fail.
    forbidden CONSTANT text := $forbidden$
        SELECT f.proowner::regrole AS owner, string_agg(DISTINCT c.oid::regprocedure::text, ', ') AS
          functions
        FROM pg_proc f CROSS JOIN LATERAL regexp_matches(f.prosrc, 'pg_catalog[.]([a-z_]+)[(]', 'g')
          AS called (name)
        JOIN pg_proc c ON c.pronamespace = 'pg_catalog'::regnamespace AND c.proname = called.name[1]
        WHERE f.oid IN (to_regprocedure('agent_sync.capture_agent()'),
          to_regprocedure('agent_sync.capture_configuration()'))
          AND NOT has_function_privilege(f.proowner, c.oid, 'EXECUTE')
        GROUP BY 1
    $forbidden$;

    given          jsonb := COALESCE(NULLIF(pg_catalog.current_setting('agent_sync.tables', true),
      ''), '{}')::jsonb;
    agents_name    text := pg_catalog.format('%I.%I', COALESCE(given #>> '{agents,schema}',
      'public'),
                                                      COALESCE(given #>> '{agents,table}',
                                                        'agents'));
    configs_name   text := pg_catalog.format('%I.%I', COALESCE(given #>> '{configurations,schema}',
      'public'),
                                                      COALESCE(given #>> '{configurations,table}',
                                                        'agent_configurations'));
    agents         regclass := pg_catalog.to_regclass(agents_name);
    configs        regclass := pg_catalog.to_regclass(configs_name);
    slug           text := COALESCE(given #>> '{agents,columns,slug}', 'slug');
    agent_slug     text := COALESCE(given #>> '{configurations,columns,agent_slug}', 'agent_slug');
    settings       text := COALESCE(given #>> '{agents,columns,voice_settings}', 'voice_settings');
    relevant       text[] := ARRAY[
        slug,
        settings,
        COALESCE(given #>> '{agents,columns,name}', 'name'),
        COALESCE(given #>> '{agents,columns,system_prompt}', 'system_prompt'),
        COALESCE(given #>> '{agents,columns,agent_image}', 'agent_image')];
    written        text[] := ARRAY(
        SELECT COALESCE(given #>> ARRAY['configurations', 'columns', name], name)
        FROM pg_catalog.unnest(ARRAY['agent_slug', 'agent_name', 'system_prompt', 'agent_image',
          'voice_id', 'temperature', 'provider_config',
                                     'voice_settings', 'updated_at', 'last_updated']) AS name);
    with_configs   boolean := COALESCE((given ->> 'capture_configurations')::boolean, true);
    watched        text; -- The columns that exist of them.
    changed        text; -- Whether a row has changed in one of them: in the columns that change most, and in any.
    changed_most   text;
    configuration_changed text;
    narrow         boolean;
    agent_watch    text;
    agent_filter   text;
    definitions    text[] := '{}'; -- The functions, then the triggers, then the view.
    fastened       text[] := '{}';
    shown          text[];
    triggers       text[] := '{}';
    acting         CONSTANT text := pg_catalog.current_setting('role'); -- What SET ROLE says, to go back to.
    keeper         text; -- The role that owns the schema, as set_config('role') takes it; or what acting is, where it is the same.
    maker          text; -- The role that makes triggers and functions, likewise.
    retired        oid[] := '{}'; -- Who has owned a function.
    made           text; -- What is there.
    body_sum       text;
    shape_sum      text;
    incapable      boolean;
    wanted         text;
    stale          record;
    definition     text;
BEGIN
    PERFORM pg_catalog.set_config('lock_timeout', '2s', true);
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    -- It quotes every name in what PostgreSQL says of a trigger or a function, which is compared
    -- with what was made.
    PERFORM pg_catalog.set_config('quote_all_identifiers', 'off', true);
    PERFORM pg_catalog.pg_advisory_xact_lock(1634169721, 3);

    IF agents IS NULL THEN
        RAISE EXCEPTION 'agent-sync expected the table %, and this database has none', agents_name
            USING ERRCODE = 'undefined_table', HINT =
              'Name the table of the agents in the settings of this database (agents.schema, agents.table).';
    END IF;
    IF configs IS NULL THEN
        RAISE EXCEPTION 'agent-sync expected the table %, and this database has none', configs_name
            USING ERRCODE = 'undefined_table', HINT =
              'Name the table of the configurations in the settings of this database (configurations.schema, configurations.table).';
    END IF;

    FOR stale IN
        SELECT o.shown, o.setting, CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'f'
          THEN 'a foreign table' ELSE 'a materialized view' END AS kind
        FROM (VALUES (agents, agents_name, 'agents'), (configs, configs_name, 'configurations')) AS
          o (relation, shown, setting)
        JOIN pg_class c ON c.oid = o.relation
        WHERE c.relkind IN ('v', 'm', 'f')
    LOOP
        RAISE EXCEPTION 'agent-sync expected a table %, and it is %', stale.shown, stale.kind
            USING ERRCODE = 'feature_not_supported',
            HINT =
              format('Triggers see changes of tables only: name the table behind it in the settings of this database (%1$s.schema, %1$s.table).', stale.setting);
    END LOOP;

    -- The required columns (T3).
    FOR stale IN
        SELECT need.relation, need.col
        FROM (VALUES (agents, slug), (agents, settings), (configs, agent_slug),
                     (configs, COALESCE(given #>> '{configurations,columns,provider_config}',
                       'provider_config')))
             AS need (relation, col)
        WHERE NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = need.relation AND a.attname = need.col AND a.attnum > 0
                            AND NOT a.attisdropped)
    LOOP
        RAISE EXCEPTION 'agent-sync expected a column % in the table %, and it has none',
          pg_catalog.quote_ident(stale.col), stale.relation
            USING ERRCODE = 'undefined_column', HINT =
              'Name the column in the settings of this database (agents.columns, configurations.columns).';
    END LOOP;

    -- The daemon compares slugs as text (T7); store::layout has the same types.
    FOR stale IN
        SELECT a.attrelid::regclass AS relation, quote_ident(a.attname) AS col,
          format_type(a.atttypid, a.atttypmod) AS type, o.setting
        FROM (VALUES (agents, slug, 'agents.columns.slug'), (configs, agent_slug,
          'configurations.columns.agent_slug')) AS o (relation, name, setting)
        JOIN pg_attribute a ON a.attrelid = o.relation AND a.attname = o.name
        WHERE NOT EXISTS (
            WITH RECURSIVE base (type) AS (
                SELECT a.atttypid UNION ALL SELECT t.typbasetype FROM base b JOIN pg_type t
                  ON t.oid = b.type WHERE t.typtype = 'd')
            SELECT FROM base b JOIN pg_type t ON t.oid = b.type
            WHERE t.oid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype)
              OR t.typname = 'citext' AND t.typtype = 'b')
    LOOP
        RAISE EXCEPTION
          'the slug column %.% has the type %; agent-sync needs text, varchar, char, citext or a domain over one of them',
            stale.relation, stale.col, stale.type
            USING ERRCODE = 'datatype_mismatch',
            HINT =
              format('Name a column of such a type in the settings of this database (%s), or change its type: ALTER TABLE %s ALTER COLUMN %s TYPE text.',
                          stale.setting, stale.relation, stale.col);
    END LOOP;

    -- The owner of a type can make a cast of it to text, or a constraint of a domain, at any time.
    -- The capture would call it with the rights of the owner of the table, and the daemon with its
    -- own. store::queries::foreign_types asks the same.
    FOR stale IN
        WITH RECURSIVE mapped (relation, col, owner, type) AS (
            SELECT a.attrelid, a.attname, c.relowner, a.atttypid
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE (a.attrelid = agents AND a.attname = ANY (relevant) OR a.attrelid = configs
              AND a.attname = ANY (written))
              AND a.attnum > 0 AND NOT a.attisdropped
        ), used (relation, col, owner, type) AS (
            SELECT m.* FROM mapped m
            UNION
            SELECT u.relation, u.col, u.owner, within.type
            FROM used u JOIN pg_type t ON t.oid = u.type CROSS JOIN LATERAL (
                SELECT t.typbasetype UNION ALL SELECT t.typelem
                UNION ALL SELECT r.rngsubtype FROM pg_range r
                  WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
                UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid
                  AND a.attnum > 0) AS within (type)
        )
        SELECT u.relation::regclass AS relation, quote_ident(u.col) AS col, t.oid::regtype AS type,
          t.typowner::regrole AS type_owner,
               u.owner::regrole AS owner
        FROM used u JOIN pg_type t ON t.oid = u.type JOIN pg_roles r ON r.oid = t.typowner
        WHERE NOT r.rolsuper AND NOT pg_has_role(t.typowner, u.owner, 'MEMBER')
        ORDER BY u.relation, u.col
    LOOP
        RAISE EXCEPTION
          'the column %.% has the type % of the role %: expected a type of a superuser or of the owner of the table, %, because code of the owner of a type runs where the column is read',
            stale.relation, stale.col, stale.type, stale.type_owner, stale.owner
            USING ERRCODE = 'insufficient_privilege',
            HINT =
              format('ALTER TYPE %s OWNER TO %s; or change the type of the column, or name another one in the settings of this database.', stale.type, stale.owner);
    END LOOP;

    -- PostgreSQL 18 has columns that are computed when they are read. A trigger is told null for
    -- them, so a change would be missed.
    FOR stale IN
        SELECT a.attrelid::regclass AS relation, a.attname AS col
        FROM pg_attribute a
        WHERE a.attgenerated = 'v' AND NOT a.attisdropped
          AND (a.attrelid = agents AND a.attname = ANY (relevant) OR a.attrelid = configs
            AND a.attname = agent_slug AND with_configs)
    LOOP
        RAISE EXCEPTION
          'the column % of the table % is VIRTUAL, and PostgreSQL does not tell triggers the value of such a column',
            pg_catalog.quote_ident(stale.col), stale.relation
            USING ERRCODE = 'feature_not_supported', HINT =
              'Make it GENERATED ALWAYS AS (...) STORED, or name another column in the settings of this database.';
    END LOOP;

    -- What "changed" means, column by column: jsonb by its own equality; everything else byte for
    -- byte, because json has no equality, and citext and some collations call different text equal.
    SELECT string_agg(c.differs, ' OR ' ORDER BY c.place),
           string_agg(c.differs, ' OR ' ORDER BY c.place) FILTER (WHERE c.place <= 2),
           string_agg(format('%I', c.name), ', ' ORDER BY c.place)
        INTO changed, changed_most, watched
        FROM (
            SELECT a.attname AS name, array_position(relevant, a.attname::text) AS place,
                   CASE WHEN 'jsonb'::regtype = ANY (ARRAY(
                       WITH RECURSIVE base (type) AS (
                           SELECT a.atttypid UNION ALL SELECT t.typbasetype FROM base b
                             JOIN pg_type t ON t.oid = b.type WHERE t.typtype = 'd')
                       SELECT b.type FROM base b))
                       THEN format('OLD.%1$I IS DISTINCT FROM NEW.%1$I', a.attname)
                       ELSE
                         format('OLD.%1$I::text COLLATE "C" IS DISTINCT FROM NEW.%1$I::text COLLATE "C"', a.attname)
                   END AS differs
            FROM pg_attribute a
            WHERE a.attrelid = agents AND a.attname = ANY (relevant) AND a.attnum > 0
              AND NOT a.attisdropped) c;
    configuration_changed :=
      format('OLD.%1$I::text COLLATE "C" IS DISTINCT FROM NEW.%1$I::text COLLATE "C"', agent_slug);

    -- PostgreSQL reads a WHEN clause anew for every statement, which a save of one row pays as a
    -- good part of its time; a list of columns costs nothing, also where none of them is set. But
    -- it looks at what the statement sets, and misses what a BEFORE trigger changes. So: the list,
    -- and the comparison in the function, where no BEFORE trigger can be in the way, and WHEN where
    -- one can. The daemon looks whether that is still so (store::queries::CAPTURE_FAULTS).
    narrow := NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = agents AND t.tgtype & 19 = 19
      AND NOT t.tgisinternal)
          AND NOT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                          WHERE i.inhparent = agents AND c.relpersistence <> 't');
    IF narrow THEN
        agent_watch := 'AFTER UPDATE OF ' || watched || format(' ON %s FOR EACH ROW', agents);
        agent_filter := format(E'IF changed IS NULL OR NOT (%s) THEN\n'
            '                    IF changed IS NULL OR NOT (%s) THEN RETURN NULL; END IF;\n                END IF;', changed_most, changed);
    ELSE
        agent_watch := format('AFTER UPDATE ON %s FOR EACH ROW WHEN (NEW.%I IS NOT NULL AND (%s))',
          agents, slug, changed);
        agent_filter := '';
    END IF;

    definitions := ARRAY[
        format('CREATE OR REPLACE FUNCTION agent_sync.capture_agent() RETURNS trigger LANGUAGE plpgsql '
               'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', format(capture_body,
                 slug, agent_filter)),
        'REVOKE ALL ON FUNCTION agent_sync.capture_agent() FROM PUBLIC',
        -- PostgreSQL copies the triggers to a new partition on behalf of the owner of the table,
        -- who must be allowed their function.
        format('GRANT EXECUTE ON FUNCTION agent_sync.capture_agent() TO %s', (SELECT
          c.relowner::regrole FROM pg_class c WHERE c.oid = agents)),
        'COMMENT ON FUNCTION agent_sync.capture_agent() IS ''Notes a changed agent in agent_sync.outbox; never fails a save.'''];
    fastened := ARRAY[
        format('CREATE OR REPLACE TRIGGER agent_sync_insert AFTER INSERT ON %s FOR EACH ROW WHEN (NEW.%I IS NOT NULL) '
               'EXECUTE FUNCTION agent_sync.capture_agent()', agents, slug),
        format('CREATE OR REPLACE TRIGGER agent_sync_update %s EXECUTE FUNCTION agent_sync.capture_agent()', agent_watch),
        -- ALWAYS: also for restores and logical replication, which run with
        -- session_replication_role = replica.
        format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_insert', agents),
        format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_update', agents),
        format('COMMENT ON TRIGGER agent_sync_insert ON %s IS ''agent-sync: notes new agents.''',
          agents),
        format('COMMENT ON TRIGGER agent_sync_update ON %s IS ''agent-sync: notes agents whose mapped columns changed.''', agents)];
    triggers := ARRAY[format('%s.agent_sync_insert', agents), format('%s.agent_sync_update',
      agents)];

    IF with_configs THEN
        definitions := definitions || ARRAY[
            format('CREATE OR REPLACE FUNCTION agent_sync.capture_configuration() RETURNS trigger LANGUAGE plpgsql '
                   'SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L',
                   -- A configuration without a slug is taken from the agent that it had.
                   format(capture_body, agent_slug, format('changed := COALESCE(changed, OLD.%I);',
                     agent_slug))),
            'REVOKE ALL ON FUNCTION agent_sync.capture_configuration() FROM PUBLIC',
            format('GRANT EXECUTE ON FUNCTION agent_sync.capture_configuration() TO %s', (SELECT
              c.relowner::regrole FROM pg_class c WHERE c.oid = configs)),
            'COMMENT ON FUNCTION agent_sync.capture_configuration() IS ''Notes a new configuration in agent_sync.outbox; never fails a save.'''];
        fastened := fastened || ARRAY[
            format('CREATE OR REPLACE TRIGGER agent_sync_insert AFTER INSERT ON %s FOR EACH ROW WHEN (NEW.%I IS NOT NULL) '
                   'EXECUTE FUNCTION agent_sync.capture_configuration()', configs, agent_slug),
            format('CREATE OR REPLACE TRIGGER agent_sync_update AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) '
                   'EXECUTE FUNCTION agent_sync.capture_configuration()', configs,
                     configuration_changed),
            format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_insert', configs),
            format('ALTER TABLE %s ENABLE ALWAYS TRIGGER agent_sync_update', configs),
            format('COMMENT ON TRIGGER agent_sync_insert ON %s IS ''agent-sync: notes new configurations.''', configs),
            format('COMMENT ON TRIGGER agent_sync_update ON %s IS ''agent-sync: notes configurations given to another agent.''', configs)];
        triggers := triggers || ARRAY[format('%s.agent_sync_insert', configs),
          format('%s.agent_sync_update', configs)];
    END IF;

    shown := ARRAY[
        format($view$
            CREATE OR REPLACE VIEW agent_sync.state AS
            SELECT a.%1$I::text AS slug,
                   waiting.since IS NOT NULL AS pending,
                   p.kind AS problem,
                   COALESCE(waiting.since, p.since) AS since
            FROM %2$s a
            LEFT JOIN (SELECT o.slug, pg_catalog.min(o.at) AS since FROM agent_sync.outbox o
              GROUP BY o.slug) waiting
                ON waiting.slug = a.%1$I
            LEFT JOIN agent_sync.problem p ON p.slug = a.%1$I
            $view$, slug, agents),
        'COMMENT ON VIEW agent_sync.state IS ''One row per agent: whether a change of it is pending, or a problem stands, and since when.''',
        'COMMENT ON COLUMN agent_sync.state.slug IS ''The slug of the agent.''',
        'COMMENT ON COLUMN agent_sync.state.pending IS ''Whether a change has been noted that the daemon has not applied yet.''',
        'COMMENT ON COLUMN agent_sync.state.problem IS ''The kind of problem that keeps it from being in sync, or null.''',
        'COMMENT ON COLUMN agent_sync.state.since IS ''Since when it has been pending, or has had the problem; null: in sync as far as is known.'''];

    -- Nothing to do: what should be there is what was made last time, what is there is what came of
    -- it, and it can work.
    SELECT CASE WHEN pg_get_userbyid(n.nspowner) = current_user THEN acting
      ELSE pg_get_userbyid(n.nspowner)::text END,
           CASE WHEN pg_has_role(n.nspowner, a.relowner, 'USAGE')
             AND pg_has_role(n.nspowner, c.relowner, 'USAGE')
                    AND pg_get_userbyid(n.nspowner) <> current_user
               THEN pg_get_userbyid(n.nspowner)::text ELSE acting END
        INTO keeper, maker
        FROM pg_namespace n, pg_class a, pg_class c
        WHERE n.nspname = 'agent_sync' AND a.oid = agents AND c.oid = configs;
    PERFORM set_config('role', keeper, true);
    wanted := array_to_string(definitions || fastened || shown, E'\n');
    EXECUTE there INTO made;
    EXECUTE format('SELECT EXISTS (%s) OR EXISTS (%s) OR EXISTS (%s)', misplaced, unable, forbidden)
      INTO incapable USING agents, configs;
    EXECUTE bodies INTO body_sum;
    EXECUTE shapes INTO shape_sum;
    IF EXISTS (SELECT FROM agent_sync.install i
               WHERE i.fingerprint = concat_ws(' ', md5(wanted || made), body_sum, shape_sum))
        AND to_regclass('agent_sync.state') IS NOT NULL
        AND NOT incapable
    THEN
        PERFORM set_config('role', acting, true);
        RETURN;
    END IF;

    -- Triggers of an earlier install that are no longer wanted, for instance on a table that was
    -- renamed in the settings. A trigger of somebody else that calls one of our functions is left
    -- alone.
    FOR stale IN
        SELECT t.tgname, t.tgrelid::regclass AS relation
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
          AND f.proname IN ('capture_agent', 'capture_configuration')
          AND (t.tgname IN ('agent_sync_insert', 'agent_sync_update')
               OR starts_with(coalesce(obj_description(t.oid, 'pg_trigger'), ''),
                 'agent-sync: notes '))
          AND NOT format('%s.%I', t.tgrelid::regclass, t.tgname) = ANY (triggers)
    LOOP
        -- The table may be none of the two.
        PERFORM set_config('role', acting, true);
        EXECUTE format('DROP TRIGGER %I ON %s', stale.tgname, stale.relation);
    END LOOP;
    PERFORM set_config('role', keeper, true);
    IF NOT with_configs AND to_regprocedure('agent_sync.capture_configuration()') IS NOT NULL THEN
        retired := ARRAY(SELECT f.proowner FROM pg_proc f
          WHERE f.oid = to_regprocedure('agent_sync.capture_configuration()'));
        DROP FUNCTION agent_sync.capture_configuration();
    END IF;

    -- First those that are there, then those that have been made. Whoever gives a function away
    -- must be able to act as the new owner, and that one must be allowed to create in the schema,
    -- for this moment.
    FOR round IN 1 .. 2 LOOP
        IF round = 2 THEN
            PERFORM set_config('role', maker, true);
            FOREACH definition IN ARRAY definitions LOOP
                EXECUTE definition;
            END LOOP;
        END IF;
        FOR stale IN EXECUTE misplaced USING agents, configs LOOP
            PERFORM set_config('role', keeper, true);
            retired := retired || stale.owner;
            incapable := NOT has_schema_privilege(stale.due, 'agent_sync', 'CREATE');
            IF incapable THEN
                EXECUTE format('GRANT CREATE ON SCHEMA agent_sync TO %s', stale.due::regrole);
            END IF;
            PERFORM set_config('role', CASE round WHEN 1 THEN acting ELSE maker END, true);
            BEGIN
                EXECUTE format('ALTER FUNCTION %s OWNER TO %s', stale.name, stale.due::regrole);
            EXCEPTION WHEN insufficient_privilege THEN
                RAISE EXCEPTION
                  'the function % has to belong to the owner of the table %, %, and the role % cannot give it from % to that role: %',
                    stale.name, stale.relation, stale.due::regrole, current_user,
                      stale.owner::regrole, SQLERRM
                    USING ERRCODE = 'insufficient_privilege',
                    HINT =
                      format('Run the install as a superuser, or as a role that can act as both: GRANT %1$s TO %2$I.', stale.due::regrole, current_user);
            END;
            IF incapable THEN
                PERFORM set_config('role', keeper, true);
                EXECUTE format('REVOKE CREATE ON SCHEMA agent_sync FROM %s', stale.due::regrole);
            END IF;
        END LOOP;
    END LOOP;
    PERFORM set_config('role', keeper, true);
    FOR stale IN EXECUTE unable USING agents, configs LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA agent_sync TO %s', stale.owner::regrole);
        -- The owner of the schema has back what it had.
        EXECUTE format('GRANT SELECT %s, INSERT ON agent_sync.outbox TO %s',
                       CASE WHEN pg_get_userbyid(stale.owner) = current_user THEN ''
                         ELSE '(ctid)' END, stale.owner::regrole);
        EXECUTE format('GRANT USAGE ON SEQUENCE agent_sync.uncaptured TO %s', stale.owner::regrole);
    END LOOP;
    -- PostgreSQL only warns of a GRANT by a role that may not give it.
    FOR stale IN EXECUTE unable USING agents, configs LOOP
        RAISE EXCEPTION
          'the role % cannot be given what the capture needs to write to agent_sync.outbox',
          stale.owner::regrole
            USING ERRCODE = 'insufficient_privilege', HINT =
              'Run the install as the owner of all that is in the schema agent_sync, or as a superuser.';
    END LOOP;
    -- Who has owned a function and does no longer keeps nothing of it. What the role of a daemon
    -- needs, grant.sql sees to.
    FOR stale IN
        SELECT DISTINCT r.role::regrole AS owner FROM unnest(retired) AS r (role) JOIN pg_roles p
          ON p.oid = r.role
        WHERE NOT EXISTS (SELECT FROM pg_proc f WHERE f.pronamespace = 'agent_sync'::regnamespace
          AND f.proowner = r.role)
          AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'agent_sync'
            AND n.nspowner = r.role)
          AND NOT EXISTS (SELECT FROM agent_sync.role d WHERE d.name = p.rolname)
    LOOP
        EXECUTE format('REVOKE INSERT, SELECT (ctid) ON agent_sync.outbox FROM %s', stale.owner);
        EXECUTE format('REVOKE USAGE ON SEQUENCE agent_sync.uncaptured FROM %s', stale.owner);
        EXECUTE format('REVOKE USAGE ON SCHEMA agent_sync FROM %s', stale.owner);
    END LOOP;

    PERFORM set_config('role', maker, true);
    FOREACH definition IN ARRAY fastened LOOP
        EXECUTE definition;
    END LOOP;
    PERFORM set_config('role', keeper, true);
    FOREACH definition IN ARRAY shown LOOP
        EXECUTE definition;
    END LOOP;

    FOR stale IN EXECUTE forbidden LOOP
        RAISE EXCEPTION
          'the role % may not execute %, which the capture calls: every save of an agent would fail', stale.owner, stale.functions
            USING ERRCODE = 'insufficient_privilege', HINT =
              format('GRANT EXECUTE ON FUNCTION %s TO %s;', stale.functions, stale.owner);
    END LOOP;

    EXECUTE there INTO made;
    EXECUTE bodies INTO body_sum;
    EXECUTE shapes INTO shape_sum;
    -- -1: what was saved before these triggers were there is not in the outbox, so the daemon
    -- starts with every agent.
    UPDATE agent_sync.install i
        SET tables = given, fingerprint = concat_ws(' ', md5(wanted || made), body_sum, shape_sum),
            uncaptured_seen = -1, seal = '';
    PERFORM set_config('role', acting, true);
END
$attach$;
