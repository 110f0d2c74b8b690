-- For a database with tenants: the mark of the tenant in every name and prompt of its agents, and a
-- witness that no daemon writes the mark of one tenant into the configuration of another (G13). Run
-- before the install.
SET check_function_bodies = off;

-- The tenant of a name is its last letter.
CREATE FUNCTION storm.marked(words text, name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN words <> '' THEN regexp_replace(words, ' of .$', '') || ' of ' || right(name, 1) ELSE words END
$$;

CREATE FUNCTION storm.mark() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.name := storm.marked(NEW.name, NEW.slug);
    NEW.system_prompt := storm.marked(NEW.system_prompt, NEW.slug);
    RETURN NEW;
END $$;
CREATE TRIGGER mark BEFORE INSERT OR UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION storm.mark();

CREATE FUNCTION storm.apart() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.agent_name IS DISTINCT FROM OLD.agent_name AND right(NEW.agent_name, 1) <> right(NEW.agent_slug, 1)
        OR NEW.system_prompt IS DISTINCT FROM OLD.system_prompt
            AND right(NEW.system_prompt, 1) <> right(NEW.agent_slug, 1)
    THEN
        INSERT INTO storm.violation (what) VALUES (format('a daemon wrote a value of another tenant: from %s to %s', OLD, NEW));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER apart AFTER UPDATE ON agent_configurations FOR EACH ROW
    WHEN (current_setting('application_name') LIKE 'agent-sync/%') EXECUTE FUNCTION storm.apart();

-- The configurations with a value of another tenant: those of an agent that is not rejected.
CREATE FUNCTION storm.mixed() RETURNS SETOF text LANGUAGE sql STABLE AS $$
    SELECT format('%s of tenant %s has a value of another: %s', c.short, c.client_id, c)
    FROM agent_configurations c JOIN agents a ON a.client_id = c.client_id AND a.short = c.short
    WHERE NOT EXISTS (SELECT FROM agent_sync.problem p WHERE p.slug = a.short AND p.tenant = a.client_id::text)
      AND (a.name <> '' AND right(c.agent_name, 1) IS DISTINCT FROM right(a.slug, 1)
           OR a.system_prompt <> '' AND right(c.system_prompt, 1) IS DISTINCT FROM right(a.slug, 1))
$$;
