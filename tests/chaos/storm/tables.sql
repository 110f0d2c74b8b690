-- The storm's additional tables: a ledger of the foreign parts, which the writers maintain in the
-- transaction of each edit, a witness of every write of a daemon, and the functions of the writers.
--
-- Roles: storm_owner owns the tables and installs, storm_writer saves, storm_daemon is the daemon.
-- None is a superuser.

ALTER TABLE agent_configurations ADD CONSTRAINT nobody_is_refused CHECK (agent_name NOT LIKE 'refused%');

-- Row-level security, while it is enabled, hides the rows from the daemon alone.
CREATE POLICY writers ON agents TO storm_writer, storm_owner USING (true) WITH CHECK (true);
CREATE POLICY writers ON agent_configurations TO storm_writer, storm_owner
    USING (true) WITH CHECK (true);

CREATE SCHEMA storm;
-- The foreign parts of every configuration: the rest of provider_config, and columns that only
-- people write.
CREATE TABLE storm.ledger (id uuid PRIMARY KEY, rest jsonb NOT NULL, notes text NOT NULL, key text NOT NULL);
-- Deleted agents: the next sweep clears their problems.
CREATE TABLE storm.deleted (slug text NOT NULL);
-- The forbidden writes that the witness has seen.
CREATE TABLE storm.violation (at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL);
-- The number of rows written by daemons. A sequence also counts batches that were rolled back.
CREATE SEQUENCE storm.written;
-- The configurations that take long to write: an eighth of them, by the hash of their slugs.
CREATE TABLE storm.slow (part int NOT NULL);
-- The values that differ between the variants of the rules.
CREATE TABLE storm.rules (deepgram text NOT NULL, groq text NOT NULL, most_stability numeric NOT NULL);
INSERT INTO storm.rules VALUES ('nova-2', 'whisper-large-v3', 1);

-- With tenants, the tenant of an agent is the last letter of its name, and its slug is the rest: so
-- the slug "agent-1" is that of ten tenants. Tenants are text, the number of the letter, or a UUID
-- that ends in that number. This is the name for a tenant and a slug.
CREATE FUNCTION storm.name(tenant text, slug text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT slug || CASE WHEN tenant IS NULL THEN '' WHEN length(tenant) = 1 THEN tenant
        WHEN length(tenant) = 36 THEN chr(('x' || right(tenant, 8))::bit(32)::int) ELSE chr(tenant::int) END
$$;

-- The number in a name of the agent that a writer counts up; null in any other.
CREATE FUNCTION storm.count(name text) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT substring(name FROM '^counted ([0-9]+)$')::bigint
$$;

-- Adds a value to an object, at a path of one or two keys.
CREATE FUNCTION storm.put(object jsonb, path text[], value jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN cardinality(path) = 1 THEN object || jsonb_build_object(path[1], value)
                ELSE object || jsonb_build_object(path[1],
                    CASE WHEN jsonb_typeof(object -> path[1]) = 'object' THEN object -> path[1] ELSE '{}' END
                    || jsonb_build_object(path[2], value)) END
$$;

-- Merges two objects, section by section.
CREATE FUNCTION storm.joined(one jsonb, other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT one || coalesce((SELECT jsonb_object_agg(o.key, coalesce(one -> o.key, '{}') || o.value)
                            FROM jsonb_each(other) o), '{}')
$$;

-- Saves an agent, so that it is processed. The agent is created if it does not exist, because
-- another transaction may be giving it this slug.
CREATE FUNCTION storm.touch(of text, stamp text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO agents (slug, name) VALUES (of, 'name ' || stamp) ON CONFLICT (slug) DO UPDATE SET name = excluded.name
$$;

-- Adds a configuration, unless the agent has many.
CREATE FUNCTION storm.configure(slug text, rest jsonb, owned jsonb, stamp text) RETURNS void LANGUAGE sql AS $$
    WITH made AS (
        INSERT INTO agent_configurations (agent_slug, provider_config, notes, openai_api_key)
        SELECT slug, storm.joined(rest, owned), 'notes ' || stamp, 'sk-' || stamp
        WHERE (SELECT count(*) FROM agent_configurations c WHERE c.agent_slug = slug) < 3
        RETURNING id)
    INSERT INTO storm.ledger SELECT id, rest, 'notes ' || stamp, 'sk-' || stamp FROM made
$$;

-- Edits a foreign key and a foreign column.
CREATE FUNCTION storm.edit(of text, path text[], value jsonb, stamp text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found uuid;
    config jsonb;
BEGIN
    SELECT c.id, storm.decoded(c.provider_config) INTO found, config FROM agent_configurations c
        WHERE c.agent_slug = of ORDER BY c.id LIMIT 1 FOR UPDATE;
    IF config = 'null' THEN config := '{}'; END IF;
    IF jsonb_typeof(config) = 'object'
        AND (cardinality(path) = 1 OR jsonb_typeof(coalesce(config -> path[1], '{}')) = 'object')
    THEN
        UPDATE agent_configurations c SET provider_config = storm.put(config, path, value), notes = 'notes ' || stamp
            WHERE c.id = found;
        UPDATE storm.ledger l SET rest = storm.put(l.rest, path, value), notes = 'notes ' || stamp WHERE l.id = found;
    END IF;
END $$;

-- Overwrites the whole provider_config, and saves the agent, so that it is processed.
CREATE FUNCTION storm.overwrite(of text, rest jsonb, owned jsonb, stamp text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found uuid;
BEGIN
    SELECT c.id INTO found FROM agent_configurations c WHERE c.agent_slug = of ORDER BY c.id LIMIT 1 FOR UPDATE;
    UPDATE agent_configurations c SET agent_name = NULL, voice_id = NULL,
        provider_config = CASE WHEN owned IS NULL THEN rest ELSE storm.joined(rest, owned) END WHERE c.id = found;
    UPDATE storm.ledger l SET rest = overwrite.rest WHERE l.id = found;
    PERFORM storm.touch(of, stamp);
END $$;

-- Stores the JSON text as a JSON string (T4), like an older writer, and saves the agent.
CREATE FUNCTION storm.encode(of text, stamp text) RETURNS void LANGUAGE sql AS $$
    UPDATE agent_configurations c SET provider_config = to_jsonb(c.provider_config::text)
        WHERE c.agent_slug = of AND jsonb_typeof(c.provider_config) = 'object';
    SELECT storm.touch(of, stamp)
$$;

-- Deletes a configuration, and saves the agent, so that it is noticed.
CREATE FUNCTION storm.unconfigure(of text, stamp text) RETURNS void LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM agent_configurations WHERE id = (
            SELECT c.id FROM agent_configurations c WHERE c.agent_slug = of ORDER BY c.id LIMIT 1)
        RETURNING id)
    DELETE FROM storm.ledger l USING gone WHERE l.id = gone.id;
    SELECT storm.touch(of, stamp)
$$;

-- Checks every write of a daemon, even if it is rolled back later: it may change the columns of
-- agent-sync and all clocks, nothing else, and it has to change something (M8, G4). The agent `counted` is
-- saved under increasing numbers, and no write goes back to a lower one (G2).
CREATE FUNCTION storm.witness() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    clocks CONSTANT text[] := ARRAY['updated_at', 'last_updated'];
    mapped CONSTANT text[] := ARRAY['agent_name', 'system_prompt', 'agent_image', 'voice_id', 'temperature',
                                    'provider_config', 'voice_settings'];
    was jsonb := to_jsonb(OLD);
    is_now jsonb := to_jsonb(NEW);
    what text;
BEGIN
    PERFORM nextval('storm.written');
    what := CASE
        WHEN was - mapped - clocks <> is_now - mapped - clocks THEN 'a column that is not mapped'
        WHEN storm.rest(OLD.provider_config)::text <> storm.rest(NEW.provider_config)::text THEN 'a key that no rule owns'
        WHEN NEW.agent_name LIKE 'ping %' AND NEW.agent_slug <> 'ping'
          OR NEW.agent_name LIKE 'counted %' AND NEW.agent_slug <> 'counted' THEN 'the configuration of another agent'
        WHEN storm.count(NEW.agent_name) < storm.count(OLD.agent_name) THEN 'a newer value to an older one'
        WHEN was - clocks = is_now - clocks THEN 'nothing, but wrote'
        WHEN NEW.updated_at = OLD.updated_at OR NEW.updated_at <> NEW.last_updated THEN 'not the clocks' END;
    IF what IS NOT NULL THEN
        INSERT INTO storm.violation (what)
            VALUES (format('a daemon changed %s of %s: from %s to %s', what, NEW.agent_slug, was, is_now));
    END IF;
    RETURN NULL;
END $$;

-- Checks that a session of a daemon that writes holds the leader lock (G2).
CREATE FUNCTION storm.lead() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory'
        AND l.classid = 1634169721 AND l.objid = 1 AND l.objsubid = 2 AND l.mode = 'ExclusiveLock' AND l.granted)
    THEN
        INSERT INTO storm.violation (what) VALUES ('a daemon wrote without the leader lock');
    END IF;
    RETURN NULL;
END $$;
