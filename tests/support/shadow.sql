-- A foreign schema, first in the search path. It has an operator and a function for every name that
-- the statements of agent-sync may look up, with argument types that match exactly where those of
-- pg_catalog do not. Each one raises an error and counts its calls in a sequence, which a rollback
-- does not undo.
--
-- shadow.names: the names of the functions, separated by blanks.

CREATE SCHEMA shadow;
CREATE SEQUENCE shadow.calls;
GRANT USAGE ON SCHEMA shadow TO PUBLIC;
GRANT ALL ON SEQUENCE shadow.calls TO PUBLIC;

DO $shadow$
DECLARE
    body     CONSTANT text := $body$ BEGIN
        PERFORM pg_catalog.nextval('shadow.calls');
        RAISE EXCEPTION 'a name of somebody else was looked up by: %', pg_catalog.current_query();
    END $body$;
    types    CONSTANT text[] := ARRAY['bool', 'int2', 'int4', 'int8', 'float8', 'numeric', 'text', 'varchar', 'name', '"char"', 'oid',
        'regclass', 'regnamespace', 'xid', 'tid', 'timestamptz', 'interval', 'jsonb', 'json', 'text[]', 'name[]', 'oid[]', 'tid[]', 'xid[]',
        'int2vector', 'oidvector'];
    few      CONSTANT text[] := ARRAY['int4', 'int8', 'text', 'varchar', 'name', 'oid', 'regclass', 'text[]', 'int2[]', 'tid[]'];
    trap     integer := 0;
    operator record;
    pair     record;
    made     record;
BEGIN
    PERFORM set_config('search_path', 'pg_catalog', true);
    FOR pair IN SELECT l.type AS lefts, r.type AS rights FROM unnest(types) AS l (type), unnest(types) AS r (type) LOOP
        FOR operator IN
            SELECT o.result, array_agg(o.name) AS names
            FROM (VALUES ('=', 'bool'), ('<>', 'bool'), ('<', 'bool'), ('<=', 'bool'), ('>', 'bool'), ('>=', 'bool'), ('~~', 'bool'),
                         ('@>', 'bool'), ('+', pair.lefts), ('-', pair.lefts), ('*', pair.lefts), ('/', pair.lefts), ('||', pair.lefts),
                         ('&', pair.lefts), ('->', pair.lefts), ('->>', 'text'), ('#>>', 'text')) AS o (name, result)
            WHERE NOT EXISTS (SELECT FROM pg_operator p
                              WHERE p.oprname = o.name AND p.oprleft = pair.lefts::regtype AND p.oprright = pair.rights::regtype)
            GROUP BY o.result
        LOOP
            trap := trap + 1;
            EXECUTE format('CREATE FUNCTION shadow.trap_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
                           trap, pair.lefts, pair.rights, operator.result, body);
            FOR made IN SELECT unnest(operator.names) AS name LOOP
                EXECUTE format('CREATE OPERATOR shadow.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = shadow.trap_%s)',
                               made.name, pair.lefts, pair.rights, trap);
            END LOOP;
        END LOOP;
    END LOOP;

    FOR made IN
        WITH function AS (
            SELECT DISTINCT f.proname AS name, f.pronargs AS arity, f.provariadic <> 0 AS variadic
            FROM pg_proc f WHERE f.pronamespace = 'pg_catalog'::regnamespace
              AND f.proname = ANY (string_to_array(current_setting('shadow.names'), ' '))
        ), call (name, arguments) AS (
            SELECT f.name, a.type FROM function f, unnest(types) AS a (type) WHERE f.arity = 1 OR f.variadic
            UNION
            SELECT f.name, a.type || ', ' || b.type FROM function f, unnest(few) AS a (type), unnest(few) AS b (type)
            WHERE f.arity = 2 OR f.variadic
            UNION
            SELECT f.name, a.type || ', ' || b.type || ', ' || c.type
            FROM function f, unnest(few[3:6]) AS a (type), unnest(few[3:5]) AS b (type), unnest(few[3:5]) AS c (type)
            WHERE f.arity = 3 OR f.variadic
        )
        SELECT c.name, c.arguments FROM call c
        WHERE to_regprocedure(format('pg_catalog.%I(%s)', c.name, c.arguments)) IS NULL
    LOOP
        EXECUTE format('CREATE FUNCTION shadow.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', made.name, made.arguments, body);
    END LOOP;
END
$shadow$;
