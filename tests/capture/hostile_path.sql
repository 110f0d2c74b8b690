-- Run as the attacker: a schema of its own that comes first in the path of the session that saves.
-- It has every operator and function that the capture names, with the very types of pg_catalog, and
-- a type, a collation and a table for every other name. Each counts its calls in a sequence.

CREATE SEQUENCE hostile.calls;
GRANT ALL ON SEQUENCE hostile.calls TO PUBLIC;

DO $hostile$
DECLARE
    body CONSTANT text := $body$ BEGIN
        PERFORM pg_catalog.nextval('hostile.calls');
        RAISE EXCEPTION 'a name of somebody else was looked up';
    END $body$;
    made record;
BEGIN
    FOR made IN
        SELECT o.oid, o.oprname AS name, o.oprleft::regtype AS lefts, o.oprright::regtype AS rights,
               o.oprresult::regtype AS result
        FROM pg_operator o
        WHERE o.oprkind = 'b' AND o.oprname IN ('=', '<>', '<', '+', '&', '~', '||')
          AND 'any' NOT IN (o.oprleft::regtype::text, o.oprright::regtype::text)
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION hostile.operator_%s(%s, %s) RETURNS %s '
                           'LANGUAGE plpgsql AS %L', made.oid, made.lefts, made.rights,
                           made.result, body);
            EXECUTE format('CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, '
                           'FUNCTION = hostile.operator_%s)', made.name, made.lefts, made.rights,
                           made.oid);
        EXCEPTION WHEN feature_not_supported OR invalid_function_definition THEN
            NULL; -- PL/pgSQL has no such type, for instance "any".
        END;
    END LOOP;
    FOR made IN
        SELECT f.proname AS name, pg_get_function_identity_arguments(f.oid) AS arguments,
               pg_get_function_result(f.oid) AS result
        FROM pg_proc f
        WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.prokind = 'f'
          AND f.proname = ANY (string_to_array(current_setting('hostile.functions'), ' '))
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                           made.name, made.arguments, made.result, body);
        EXCEPTION WHEN feature_not_supported OR invalid_function_definition THEN
            NULL;
        END;
    END LOOP;
END
$hostile$;

CREATE FUNCTION hostile.is_called() RETURNS boolean LANGUAGE sql AS
    $$ SELECT pg_catalog.nextval('hostile.calls') < 0 $$;
CREATE DOMAIN hostile.text AS pg_catalog.text CHECK (hostile.is_called());
CREATE DOMAIN hostile.bool AS pg_catalog.bool CHECK (hostile.is_called());
CREATE DOMAIN hostile.int4 AS pg_catalog.int4 CHECK (hostile.is_called());
CREATE DOMAIN hostile.tid AS pg_catalog.tid CHECK (hostile.is_called());
CREATE DOMAIN hostile.regclass AS pg_catalog.regclass CHECK (hostile.is_called());
CREATE DOMAIN hostile.regtype AS pg_catalog.regtype CHECK (hostile.is_called());
CREATE COLLATION hostile."C" FROM pg_catalog."POSIX";
CREATE VIEW hostile.pg_class AS SELECT c.*, hostile.is_called() FROM pg_catalog.pg_class c;
CREATE VIEW hostile.pg_attribute AS
    SELECT a.attrelid, a.attname, a.atttypid, hostile.is_called() FROM pg_catalog.pg_attribute a;
CREATE TABLE hostile.outbox (slug pg_catalog.text CHECK (hostile.is_called()));
