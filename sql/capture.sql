-- agent-sync: the trigger function of the capture (C1-C6).
--
-- attach.sql makes agent_sync.capture_agent() and agent_sync.capture_configuration() from the
-- statement below, with these replacements:
--   /* function */  the name after it
--   /* slug */      the name after it, by the slug column of the table
--   /* renamed */   the value after it, by the condition that the row had another key before
--   /* notify */    the value after it, by that of capture.notify
--   /* filter */    the comment itself, by a statement or by nothing. Agents: a return if no mapped
--                   column has changed; nothing where the trigger has a WHEN clause.
--                   Configurations: take the former slug if the row has none any more. Both:
--                   where tenants are set, also the assignment of new_tenant. So the mark stands
--                   before each append.
--   /* key */       where tenants are set, the text beside it, by one with the tenant (key_parts in
--                   attach.sql); otherwise the comment itself, by nothing
-- A marked text is this comment and the text beside it. attach.sql raises an exception if one of
-- its texts does not occur here, and if there is another mark or an append without one: so change a
-- marked text in both files.
--
-- The function has no `SET search_path`, which PostgreSQL would set anew for every row. Instead,
-- nothing in it is looked up by the path of the session that saves: functions, types, collations
-- and tables are named with their schema, operators are written OPERATOR(schema.name), and there is
-- no IS DISTINCT FROM, IN, BETWEEN, LIKE, NULLIF or CASE x WHEN, which look an operator up.
--
-- This file runs nothing. It passes the text to attach.sql.

DO $store$
BEGIN
    PERFORM pg_catalog.set_config('agent_sync.capture', $text$
CREATE OR REPLACE FUNCTION agent_sync./* function */capture_agent() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS
$capture$
-- Notes the slug of the changed row in the outbox, and wakes the daemon if it sleeps.
--
-- C4: a save never fails and never waits because of this function. An append that fails is a
-- WARNING and adds one to agent_sync.uncaptured, which makes the daemon check every agent. The
-- outbox is locked with NOWAIT.
--
-- Exception blocks. Each is a subtransaction, and PostgreSQL keeps track of 64 of them cheaply. So
-- a block guards each of the first 50 appends of a transaction. After that the outbox is known to
-- work, and the lock of this transaction keeps others from dropping or renaming it, so a check of
-- the privileges is enough. This holds only while the outbox is as the install made it: a
-- constraint, index or trigger of others may refuse one row and accept another. Reads stay in a
-- block, because this transaction may have renamed a column. Such a block writes nothing, so its
-- subtransaction gets no number and is none of the 64.
--
-- C6: NOTIFY serializes commits, so it is called only while the daemon sleeps, that is, while the
-- daemon holds the idle lock (1634169721, 2). Otherwise this transaction takes the lock as shared
-- and keeps it to its end, so the daemon cannot sleep before it has seen these rows. The first
-- append of a transaction sends the ctid of its row, which saves the daemon a scan. A further
-- guarded append, or a change of the slug, sends an empty notification, which asks for a scan.
-- Where the install was made with capture.notify = false, the function does not try the lock, so no
-- session can make a save notify.
--
-- agent_sync.daemon is on in the daemon's own session. That session holds the idle lock itself, so
-- there the lock is always free; a trigger of the platform on the configurations may save an agent
-- in that session. So such a transaction always notifies. In other sessions the setting causes one
-- superfluous notification, which asks for a scan.
--
-- agent_sync.appended, local to the (sub)transaction, counts the guarded appends. It begins with
-- the number of the transaction and the microsecond of its beginning, so a value of an earlier
-- transaction or of the session counts as nothing. Any session can predict the number, also for
-- another client of a pooler, and none can predict the time.
--
-- Cost. PostgreSQL prepares every expression once a transaction, and that is most of the cost of a
-- save of one row. So rare work has a branch of its own, and functions are called by assignment,
-- which costs less than PERFORM.
--
-- Limits (docs/reliability.md has the figures). After the first 50 appends of a transaction, an
-- append that fails for want of disk, memory or a lock slot fails its statement: a block for every
-- row would make bulk statements a third slower. A BEFORE trigger that a transaction makes and
-- drops again may change columns that no trigger of the capture watches, and leaves no trace in the
-- catalog. A save that notifies waits for other notifying commits of the whole cluster.
DECLARE
    noted        pg_catalog.text := pg_catalog.current_setting('agent_sync.appended', true);
    new_slug     pg_catalog.text;
    old_slug     pg_catalog.text;/* key */
    outbox_ctid  pg_catalog.tid; -- Of the appended row, if the daemon needs a notification.
    mark         pg_catalog.text; -- The number and the time of this transaction.
    appended     pg_catalog.text; -- How many guarded appends it has had; null: none.
    safe         pg_catalog.bool; -- Whether the checks below found no reason for an append to fail.
    lock_timeout pg_catalog.text;
    warned       pg_catalog.text;
    warns        pg_catalog.bool; -- Whether this is the first failure of the transaction.
BEGIN
    IF noted OPERATOR(pg_catalog.<>) '' THEN
        mark := pg_catalog.pg_current_xact_id()::pg_catalog.text OPERATOR(pg_catalog.||) ':'
            OPERATOR(pg_catalog.||) pg_catalog.extract(
                'epoch', pg_catalog.transaction_timestamp())::pg_catalog.text;
        appended := CASE
            WHEN pg_catalog.split_part(noted, ' ', 1) OPERATOR(pg_catalog.=) mark
            THEN pg_catalog.split_part(noted, ' ', 2) END;
        IF appended OPERATOR(pg_catalog.=) '50' THEN
            BEGIN
                new_slug := NEW./* slug */slug;
                /* filter */
                -- This call comes first, because it opens the relation and so reads what others
                -- have committed. Otherwise the checks would read an older state, and the append,
                -- which PostgreSQL plans again after such a change, would fail.
                safe := pg_catalog.pg_relation_is_updatable(
                        'agent_sync.outbox'::pg_catalog.regclass, false)
                        OPERATOR(pg_catalog.&) 8 OPERATOR(pg_catalog.=) 8
                    AND pg_catalog.has_schema_privilege('agent_sync', 'USAGE')
                    AND pg_catalog.has_table_privilege(
                        'agent_sync.outbox'::pg_catalog.regclass, 'INSERT');
            EXCEPTION WHEN OTHERS THEN
                NULL; -- The guarded append below meets the same error and reports it.
            END;
            IF safe THEN
                INSERT INTO agent_sync.outbox /* key */(slug) VALUES (new_slug);
                IF /* renamed */false THEN
                    INSERT INTO agent_sync.outbox /* key */(slug) VALUES (OLD./* slug */slug);
                END IF;
                RETURN NULL;
            END IF;
        END IF;
    END IF;

    BEGIN
        -- Inside the block, because reading the row fails if a column has been renamed.
        new_slug := NEW./* slug */slug;
        /* filter */
        LOCK TABLE agent_sync.outbox IN ROW EXCLUSIVE MODE NOWAIT;
        IF NOT /* notify */true
            OR pg_catalog.pg_try_advisory_xact_lock_shared(1634169721, 2)
               AND (pg_catalog.current_setting('agent_sync.daemon', true)
                    OPERATOR(pg_catalog.=) 'on') IS NOT TRUE
        THEN
            INSERT INTO agent_sync.outbox /* key */(slug) VALUES (new_slug);
            IF NOT FOUND THEN
                RAISE EXCEPTION 'another trigger keeps rows from agent_sync.outbox';
            END IF;
        ELSE
            INSERT INTO agent_sync.outbox /* key */(slug) VALUES (new_slug)
                RETURNING ctid INTO outbox_ctid;
            IF outbox_ctid IS NULL THEN
                RAISE EXCEPTION 'another trigger keeps rows from agent_sync.outbox';
            END IF;
            -- A full notification queue would fail the commit, so none is sent from half full on.
            -- The scan after the daemon's next timed wake-up or sweep finds the row.
            IF pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5 THEN
                IF appended IS NULL
                    AND (/* renamed */false) IS NOT TRUE
                    AND (pg_catalog.current_setting('agent_sync.daemon', true)
                         OPERATOR(pg_catalog.=) 'on') IS NOT TRUE
                    -- The apply worker of logical replication forgets agent_sync.appended after
                    -- each row, and would send a notification for each.
                    AND pg_catalog.current_setting('session_replication_role')
                        OPERATOR(pg_catalog.<>) 'replica'
                THEN
                    PERFORM pg_catalog.pg_notify(
                        'agent_sync_change', outbox_ctid::pg_catalog.text);
                ELSE
                    PERFORM pg_catalog.pg_notify('agent_sync', '');
                END IF;
            END IF;
        END IF;
        IF /* renamed */false THEN
            old_slug := OLD./* slug */slug;
            INSERT INTO agent_sync.outbox /* key */(slug) VALUES (old_slug);
        END IF;
        IF appended IS NULL THEN
            appended := pg_catalog.set_config('agent_sync.appended',
                pg_catalog.pg_current_xact_id()::pg_catalog.text OPERATOR(pg_catalog.||) ':'
                OPERATOR(pg_catalog.||) pg_catalog.extract(
                    'epoch', pg_catalog.transaction_timestamp())::pg_catalog.text
                OPERATOR(pg_catalog.||) ' 1', true);
        ELSIF appended OPERATOR(pg_catalog.=) '49' THEN
            IF EXISTS (
                SELECT FROM pg_catalog.pg_class c
                JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
                WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('agent_sync.outbox')
                  AND c.relkind OPERATOR(pg_catalog.=) 'r'
                  AND c.relchecks OPERATOR(pg_catalog.=) 0
                  AND NOT (c.relhasindex OR c.relhastriggers OR c.relhasrules OR c.relrowsecurity)
                  AND /* key */a.attname OPERATOR(pg_catalog.=) 'slug'
                  AND a.atttypid OPERATOR(pg_catalog.=) 'pg_catalog.text'::pg_catalog.regtype)
            THEN
                appended := pg_catalog.set_config('agent_sync.appended',
                    mark OPERATOR(pg_catalog.||) ' 50', true);
            END IF;
        ELSE
            appended := pg_catalog.set_config('agent_sync.appended',
                mark OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) CASE
                    WHEN appended OPERATOR(pg_catalog.~) '^([0-9]|[1-3][0-9]|4[0-8])$'
                    THEN (appended::pg_catalog.int4 OPERATOR(pg_catalog.+) 1)::pg_catalog.text
                    ELSE '1' END, true);
        END IF;
    EXCEPTION WHEN OTHERS THEN
        -- In a block of its own: PostgreSQL prepares the expressions here for the first time, which
        -- may fail as well, for want of a lock slot.
        BEGIN
            -- Bound to the transaction, as agent_sync.appended is.
            mark := pg_catalog.pg_current_xact_id()::pg_catalog.text OPERATOR(pg_catalog.||) ':'
                OPERATOR(pg_catalog.||) pg_catalog.extract(
                    'epoch', pg_catalog.transaction_timestamp())::pg_catalog.text;
            warned := COALESCE(pg_catalog.current_setting('agent_sync.warned', true), '');
            warns := warned OPERATOR(pg_catalog.<>) (mark OPERATOR(pg_catalog.||) ' counted')
                AND warned OPERATOR(pg_catalog.<>) (mark OPERATOR(pg_catalog.||) ' uncounted');
            -- The setting agent_sync.warned saves repeated warnings. It does not save a count,
            -- because any session can set it. Once a count has failed, the transaction tries no
            -- further one.
            IF warned OPERATOR(pg_catalog.<>) (mark OPERATOR(pg_catalog.||) ' uncounted') THEN
                BEGIN
                    -- NOWAIT does not exist for a sequence, which is locked only while it is
                    -- altered or dropped.
                    lock_timeout := pg_catalog.current_setting('lock_timeout');
                    PERFORM pg_catalog.set_config('lock_timeout', '1ms', true);
                    PERFORM pg_catalog.nextval('agent_sync.uncaptured');
                    PERFORM pg_catalog.set_config('lock_timeout', lock_timeout, true);
                    warned := pg_catalog.set_config('agent_sync.warned',
                        mark OPERATOR(pg_catalog.||) ' counted', true);
                EXCEPTION WHEN OTHERS THEN
                    warned := mark OPERATOR(pg_catalog.||) ' uncounted';
                    -- All objects of the schema may be locked, for instance by a REASSIGN OWNED
                    -- that is rolled back and leaves no trace. A large object is not part of the
                    -- schema, and its creation is committed with the save. The seal
                    -- (store::queries::seal) covers large objects with this comment and the owner
                    -- of this function, so the daemon checks every agent. The uninstall removes it.
                    BEGIN
                        EXECUTE pg_catalog.format('COMMENT ON LARGE OBJECT %s IS %L',
                            pg_catalog.lo_create(0),
                            'agent_sync: a save could be neither noted nor counted');
                    EXCEPTION WHEN OTHERS THEN
                        NULL; -- The notification below remains.
                    END;
                    BEGIN
                        PERFORM pg_catalog.set_config('agent_sync.warned', warned, true);
                    EXCEPTION WHEN OTHERS THEN
                        NULL; -- Another row of the transaction warns again.
                    END;
                END;
            END IF;
            -- Neither noted nor counted: the schema itself is broken. A notification asks a
            -- listening daemon for the slug (I7), even if the damage is repaired before the next
            -- sweep. A transaction that may be prepared must not notify, and a nearly full queue
            -- would fail the commit.
            IF warned OPERATOR(pg_catalog.=) (mark OPERATOR(pg_catalog.||) ' uncounted')
                AND /* notify */true
                AND pg_catalog.current_setting('max_prepared_transactions')
                    OPERATOR(pg_catalog.=) '0'
                AND pg_catalog.pg_notification_queue_usage() OPERATOR(pg_catalog.<) 0.5
            THEN
                BEGIN
                    PERFORM pg_catalog.pg_notify('agent_sync', slug)
                        FROM pg_catalog.unnest(ARRAY[new_slug, old_slug]) AS slug
                        WHERE pg_catalog.octet_length(slug) OPERATOR(pg_catalog.<) 8000;
                EXCEPTION WHEN OTHERS THEN
                    NULL; -- C4: the sweep finds the damage.
                END;
            END IF;
            -- Last, because the client may have no encoding for a character of the text.
            IF warns THEN
                BEGIN
                    RAISE WARNING 'agent-sync could not note a change of "%": %', new_slug, SQLERRM
                        USING ERRCODE = SQLSTATE,
                        HINT = 'The row is saved. Run "agent-sync install" to repair the capture; '
                               'the daemon then checks every agent.';
                EXCEPTION WHEN OTHERS THEN
                    BEGIN
                        RAISE WARNING 'agent-sync could not note a change'
                            USING HINT = 'The row is saved, and the daemon checks every agent.';
                    EXCEPTION WHEN OTHERS THEN
                        NULL; -- It is counted.
                    END;
                END;
            END IF;
        EXCEPTION WHEN OTHERS THEN
            NULL; -- C4: the sweep finds the damage.
        END;
    END;
    RETURN NULL;
END
$capture$;
$text$, true);
END
$store$;
