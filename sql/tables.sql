-- agent-sync: checks that the two tables can be served (T2, T3, T6, T7). Run before attach.sql, in
-- the same transaction. It changes nothing; each error names the table and the setting.

DO $tables$
DECLARE
    given      CONSTANT jsonb := pg_catalog.current_setting('agent_sync.tables');
    agents     CONSTANT regclass := pg_catalog.to_regclass(
        pg_catalog.current_setting('agent_sync.agents'));
    configs    CONSTANT regclass := pg_catalog.to_regclass(
        pg_catalog.current_setting('agent_sync.configurations'));
    slug       CONSTANT text := given #>> '{agents,columns,slug}';
    agent_slug CONSTANT text := given #>> '{configurations,columns,agent_slug}';
    mapped     text[]; -- The columns of the agents that are read.
    written    text[]; -- The columns of the configurations that are read or written.
    wrong      record;
BEGIN
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
    mapped := ARRAY(SELECT c.value FROM jsonb_each_text(given #> '{agents,columns}') c);
    written := ARRAY(SELECT c.value FROM jsonb_each_text(given #> '{configurations,columns}') c);

    FOR wrong IN
        SELECT current_setting('agent_sync.' || o.setting) AS name, o.setting
        FROM (VALUES (agents, 'agents'), (configs, 'configurations')) AS o (relation, setting)
        WHERE o.relation IS NULL
    LOOP
        RAISE EXCEPTION 'agent-sync expected the table %, and this database has none', wrong.name
            USING ERRCODE = 'undefined_table',
            HINT = format('Name the table of the %1$s in the settings of this database '
                          '(%1$s.schema, %1$s.table).', wrong.setting);
    END LOOP;

    FOR wrong IN
        SELECT current_setting('agent_sync.' || o.setting) AS name, o.setting,
               CASE c.relkind WHEN 'v' THEN 'a view' WHEN 'f' THEN 'a foreign table'
                   ELSE 'a materialized view' END AS kind
        FROM (VALUES (agents, 'agents'), (configs, 'configurations')) AS o (relation, setting)
        JOIN pg_class c ON c.oid = o.relation
        WHERE c.relkind IN ('v', 'm', 'f')
    LOOP
        RAISE EXCEPTION 'agent-sync expected a table %, and it is %', wrong.name, wrong.kind
            USING ERRCODE = 'feature_not_supported',
            HINT = format('Triggers see changes of tables only: name the table behind it in the '
                          'settings of this database (%1$s.schema, %1$s.table).', wrong.setting);
    END LOOP;

    -- T3: the required columns, all that are missing at once.
    FOR wrong IN
        SELECT CASE count(*)
                   WHEN 1 THEN string_agg(format('a column %s in the table %s, and it has none',
                                                 quote_ident(need.col), need.relation), '')
                   ELSE 'columns that the tables do not have: '
                        || string_agg(format('%s.%s', need.relation, quote_ident(need.col)), ', ')
               END AS what
        FROM (VALUES (agents, slug), (agents, given #>> '{agents,columns,voice_settings}'),
                     (configs, agent_slug),
                     (configs, given #>> '{configurations,columns,provider_config}'),
                     (agents, given #>> '{agents,columns,tenant}'),
                     (configs, given #>> '{configurations,columns,tenant}'))
             AS need (relation, col)
        WHERE need.col IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = need.relation AND a.attname = need.col
                            AND a.attnum > 0 AND NOT a.attisdropped)
        HAVING count(*) > 0
    LOOP
        RAISE EXCEPTION 'agent-sync expected %', wrong.what
            USING ERRCODE = 'undefined_column',
            HINT = 'Name the column in the settings of this database (agents.columns, '
                   'configurations.columns).';
    END LOOP;

    IF (given #> '{agents,columns,tenant}') IS NULL
        <> ((given #> '{configurations,columns,tenant}') IS NULL)
    THEN
        RAISE EXCEPTION 'expected a column with the tenant in both tables or in neither, found it '
                        'in one of the settings agents.columns.tenant and '
                        'configurations.columns.tenant'
            USING ERRCODE = 'invalid_parameter_value',
            HINT = 'Set both, or leave both out.';
    END IF;

    FOR wrong IN
        SELECT a.attrelid::regclass AS relation, quote_ident(a.attname) AS col
        FROM pg_attribute a
        WHERE a.attrelid = configs AND a.attgenerated <> ''
          AND a.attname = given #>> '{configurations,columns,provider_config}'
    LOOP
        RAISE EXCEPTION 'the column %.% is GENERATED, so PostgreSQL refuses every write of it',
            wrong.relation, wrong.col
            USING ERRCODE = 'generated_always',
            HINT = format('Name another column in the settings of this database, or make it an '
                          'ordinary one: ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION.',
                          wrong.relation, wrong.col);
    END LOOP;

    -- T7: the daemon compares slugs and tenants as text; store::layout has the same types. The text
    -- of others depends on settings of the session (bytea_output, DateStyle), so that the capture
    -- would note another key than the row has, or equal values have several texts.
    FOR wrong IN
        SELECT a.attrelid::regclass AS relation, quote_ident(a.attname) AS col,
               format_type(a.atttypid, a.atttypmod) AS type, o.part, o.setting
        FROM (VALUES (agents, 'slug', slug, 'agents.columns.slug'),
                     (configs, 'slug', agent_slug, 'configurations.columns.agent_slug'),
                     (agents, 'tenant', given #>> '{agents,columns,tenant}',
                      'agents.columns.tenant'),
                     (configs, 'tenant', given #>> '{configurations,columns,tenant}',
                      'configurations.columns.tenant'))
             AS o (relation, part, name, setting)
        JOIN pg_attribute a ON a.attrelid = o.relation AND a.attname = o.name
        WHERE NOT EXISTS (
            WITH RECURSIVE base (type) AS (
                SELECT a.atttypid
                UNION ALL
                SELECT t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type
                WHERE t.typtype = 'd')
            SELECT FROM base b JOIN pg_type t ON t.oid = b.type
            WHERE t.oid IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype,
                            'uuid'::regtype, 'int2'::regtype, 'int4'::regtype, 'int8'::regtype)
               OR t.typname = 'citext' AND t.typtype = 'b' OR t.typtype = 'e')
    LOOP
        RAISE EXCEPTION 'the % column %.% has the type %; agent-sync needs text, varchar, char, '
                        'citext, uuid, an integer, an enum or a domain over one of them',
            wrong.part, wrong.relation, wrong.col, wrong.type
            USING ERRCODE = 'datatype_mismatch',
            HINT = format('Name a column of such a type in the settings of this database (%s), or '
                          'change its type: ALTER TABLE %s ALTER COLUMN %s TYPE text.',
                          wrong.setting, wrong.relation, wrong.col);
    END LOOP;

    -- The owner of a type can add a cast to text or a constraint of a domain at any time. The
    -- capture would call it with the rights of the owner of the table, and the daemon with its own.
    -- store::queries::foreign_types asks the same.
    FOR wrong IN
        WITH RECURSIVE mapped_columns (relation, col, owner, type) AS (
            SELECT a.attrelid, a.attname, c.relowner, a.atttypid
            FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
            WHERE (a.attrelid = agents AND a.attname = ANY (mapped)
                   OR a.attrelid = configs AND a.attname = ANY (written))
              AND a.attnum > 0 AND NOT a.attisdropped
        ), used (relation, col, owner, type) AS (
            SELECT m.* FROM mapped_columns m
            UNION
            SELECT u.relation, u.col, u.owner, part.type
            FROM used u JOIN pg_type t ON t.oid = u.type CROSS JOIN LATERAL (
                SELECT t.typbasetype
                UNION ALL SELECT t.typelem
                UNION ALL SELECT r.rngsubtype FROM pg_range r
                          WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
                UNION ALL SELECT a.atttypid FROM pg_attribute a
                          WHERE a.attrelid = t.typrelid AND a.attnum > 0) AS part (type)
        )
        SELECT u.relation::regclass AS relation, quote_ident(u.col) AS col, t.oid::regtype AS type,
               t.typowner::regrole AS type_owner, u.owner::regrole AS owner
        FROM used u JOIN pg_type t ON t.oid = u.type JOIN pg_roles r ON r.oid = t.typowner
        WHERE NOT r.rolsuper AND NOT pg_has_role(t.typowner, u.owner, 'MEMBER')
        ORDER BY u.relation, u.col
    LOOP
        RAISE EXCEPTION 'the column %.% has the type % of the role %: expected a type of a '
                        'superuser or of the owner of the table, %, because code of the owner of a '
                        'type runs where the column is read',
            wrong.relation, wrong.col, wrong.type, wrong.type_owner, wrong.owner
            USING ERRCODE = 'insufficient_privilege',
            HINT = format('ALTER TYPE %s OWNER TO %s; or change the type of the column, or name '
                          'another one in the settings of this database.', wrong.type, wrong.owner);
    END LOOP;

    -- PostgreSQL 18 has columns that are computed when they are read. For these a trigger gets
    -- null, so it would miss a change.
    FOR wrong IN
        SELECT a.attrelid::regclass AS relation, a.attname AS col
        FROM pg_attribute a
        WHERE a.attgenerated = 'v' AND NOT a.attisdropped
          AND (a.attrelid = agents AND a.attname = ANY (mapped)
               OR a.attrelid = configs
                  AND a.attname IN (agent_slug, given #>> '{configurations,columns,tenant}')
                  AND (given -> 'capture_configurations')::boolean)
    LOOP
        RAISE EXCEPTION 'the column % of the table % is VIRTUAL, and PostgreSQL does not tell '
                        'triggers the value of such a column',
            quote_ident(wrong.col), wrong.relation
            USING ERRCODE = 'feature_not_supported',
            HINT = 'Make it GENERATED ALWAYS AS (...) STORED, or name another column in the '
                   'settings of this database.';
    END LOOP;
END
$tables$;
