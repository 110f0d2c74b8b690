-- The least capture: a row trigger that appends the key of the row to an outbox, and nothing else.
CREATE TABLE bench_outbox (slug text NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE FUNCTION bench_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bench_outbox (slug) VALUES (NEW.slug);
    RETURN NULL;
END
$$;
CREATE TRIGGER bench_outbox AFTER INSERT OR UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION bench_outbox();
