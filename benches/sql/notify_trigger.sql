-- The usual solution: a row trigger that notifies with the key of the row.
CREATE FUNCTION bench_notify() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('bench', NEW.slug);
    RETURN NULL;
END
$$;
CREATE TRIGGER bench_notify AFTER INSERT OR UPDATE ON agents FOR EACH ROW EXECUTE FUNCTION bench_notify();
