//! The faults of the capture: of its triggers, its functions and the tables that it writes to.

use super::own::OWN_FUNCTIONS;

/// The comment on a large object that `sql/capture.sql` makes for a save that could be neither
/// noted nor counted.
pub const LOST_SAVE: &str = "agent_sync: a save could be neither noted nor counted";

/// The large objects `m` that the capture has made, which have the rights of its owner, and not
/// those of others: the FROM clause and its condition.
pub fn lost_saves() -> String {
    // An array costs one scan. A join may cost one for each large object, and any role can make as
    // many as it likes.
    format!(
        "pg_largeobject_metadata m
         JOIN pg_description d ON d.objoid = m.oid AND d.classoid = 'pg_largeobject'::regclass
             AND d.description = '{LOST_SAVE}'
         WHERE m.lomowner = ANY (ARRAY(SELECT f.proowner FROM pg_proc f
           WHERE f.oid = ANY ({OWN_FUNCTIONS})))"
    )
}

/// The functions of PostgreSQL that the capture calls to note a change: without one of them saves
/// fail, or no change is noted. `sql/attach.sql` has the same list.
pub const CALLED: &[&str] = &[
    "pg_catalog.current_setting(text)",
    "pg_catalog.current_setting(text,boolean)",
    "pg_catalog.extract(text,timestamptz)",
    "pg_catalog.has_schema_privilege(text,text)",
    "pg_catalog.has_table_privilege(oid,text)",
    "pg_catalog.pg_current_xact_id()",
    "pg_catalog.pg_notification_queue_usage()",
    "pg_catalog.pg_notify(text,text)",
    "pg_catalog.pg_relation_is_updatable(regclass,boolean)",
    "pg_catalog.pg_try_advisory_xact_lock_shared(integer,integer)",
    "pg_catalog.set_config(text,text,boolean)",
    "pg_catalog.split_part(text,text,integer)",
    "pg_catalog.to_regclass(text)",
    "pg_catalog.transaction_timestamp()",
];

/// The functions that the capture calls only for a change that it could not note, where no error
/// fails the save.
pub const CALLED_AFTER_A_FAILURE: &[&str] = &[
    r#"pg_catalog.format(text,"any")"#,
    "pg_catalog.lo_create(oid)",
    "pg_catalog.nextval(regclass)",
    "pg_catalog.octet_length(text)",
    "pg_catalog.unnest(anyarray)",
];

/// The faults of the triggers that the capture needs, `$2` on `$1`:
/// - the trigger is missing or disabled;
/// - its function is not safe and able: it needs SECURITY DEFINER without settings, and an owner
///   with the privileges, whom no row-level security refuses, and who may call the functions `$6`;
/// - it does not watch one of the quoted columns `$3` of the first table, or `$7` of the
///   configurations;
/// - it looks at the columns that a statement sets (`UPDATE OF`), and a BEFORE trigger may change
///   more; `sql/attach.sql` avoids this unless the other trigger came later;
/// - it differs from the triggers that the install has made on the two tables `$8`;
/// - a partition or child of these tables has no such trigger: PostgreSQL copies triggers to
///   partitions and not to children, and a save in a child fires no trigger of its parent.
///
/// The columns: the trigger; what is wrong with it; which kind of fault that is, as `CaptureFault`
/// tells them apart; and a remedy, where it is another than `agent-sync install`.
pub const CAPTURE_FAULTS: &str = "
    WITH RECURSIVE need (relation, name, root) AS (
        SELECT u.relation, u.name, to_regclass(u.relation)::oid
          FROM unnest($1::text[], $2::text[]) AS u (relation, name)
    ), below (root, relation) AS (
        -- Only its own session sees a temporary child.
        SELECT n.root, i.inhrelid FROM need n JOIN pg_inherits i ON i.inhparent = n.root
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relpersistence <> 't'
        UNION
        SELECT b.root, i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.relation
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relpersistence <> 't'
    ), own (name, fault) AS (
        SELECT need.relation || '.' || need.name,
               CASE WHEN t.oid IS NULL THEN 'missing'
                    WHEN t.tgenabled = 'D' THEN 'disabled'
                    WHEN t.tgenabled = 'R' THEN
                      'enabled for replication alone (ENABLE REPLICA TRIGGER), '
                      'so it sees no ordinary save'
                    -- AFTER, for each row: INSERT, DELETE, or UPDATE.
                    WHEN t.tgtype <> CASE need.name WHEN 'agent_sync_insert' THEN 5
                                       WHEN 'agent_sync_delete' THEN 9 ELSE 17 END
                        OR f.pronamespace <> 'agent_sync'::regnamespace
                          THEN 'not the one that the install has made'
                    WHEN NOT f.prosecdef THEN
                      'SECURITY INVOKER, so it may do no more than whoever saves'
                    WHEN f.proconfig IS NOT NULL
                      THEN
                      'of a function with settings that the install has not made '
                      '(ALTER FUNCTION ... SET)'
                    WHEN f.provolatile <> 'v'
                      THEN 'of a function that is not VOLATILE, so it can append nothing'
                    WHEN NOT (has_schema_privilege(f.proowner, 'agent_sync', 'USAGE')
                              AND has_table_privilege(f.proowner, 'agent_sync.outbox', 'INSERT')
                              AND has_column_privilege(f.proowner, 'agent_sync.outbox', 'ctid',
                                'SELECT'))
                        OR EXISTS (SELECT FROM pg_class o JOIN pg_roles r ON r.oid = f.proowner
                                   WHERE o.oid = to_regclass('agent_sync.outbox')
                                     AND o.relrowsecurity
                                     AND NOT (r.rolsuper OR r.rolbypassrls)
                                     AND (o.relforcerowsecurity
                                       OR NOT pg_has_role(f.proowner, o.relowner, 'USAGE'))
                                     AND NOT EXISTS (SELECT FROM pg_policy p
                                       WHERE p.polrelid = o.oid AND p.polpermissive))
                        THEN 'unable to write agent_sync.outbox'
                    WHEN r.relkind = 'p' AND NOT has_function_privilege(r.relowner, f.oid,
                      'EXECUTE')
                        THEN 'not allowed to the owner of the table, who can add no partition to it'
                    WHEN t.tgenabled <> 'A' THEN 'enabled but not ALWAYS' END
        FROM need
        LEFT JOIN pg_trigger t ON t.tgrelid = need.root AND t.tgname = need.name
        LEFT JOIN pg_proc f ON f.oid = t.tgfoid
        LEFT JOIN pg_class r ON r.oid = need.root
    )
    SELECT own.name, own.fault, CASE own.fault WHEN 'enabled but not ALWAYS' THEN 'not always'
      ELSE 'broken' END, NULL::text
    FROM own WHERE own.fault IS NOT NULL
    UNION ALL
    SELECT DISTINCT 'agent_sync.' || f.proname || '()', 'not allowed to call ' ||
      c.oid::regprocedure || ', so changes are not noticed, or saves fail', 'broken',
           format('GRANT EXECUTE ON FUNCTION %s TO %s;', c.oid::regprocedure, f.proowner::regrole)
    FROM pg_proc f CROSS JOIN unnest($6::text[]) AS called (signature)
    JOIN pg_proc c ON c.oid = to_regprocedure(called.signature)
    WHERE f.pronamespace = 'agent_sync'::regnamespace
      AND f.proname IN ('capture_agent', 'capture_configuration') AND f.proargtypes = ''
      AND NOT has_function_privilege(f.proowner, c.oid, 'EXECUTE')
    UNION ALL
    SELECT 'agent_sync.capture_agent() or agent_sync.capture_configuration()',
      'not the function that the install has made', 'broken', NULL
    FROM agent_sync.install i
    WHERE NOT EXISTS (SELECT FROM own WHERE own.fault IS NOT NULL)
      AND split_part(i.fingerprint, ' ', 2) IS DISTINCT FROM (
          SELECT md5(string_agg(f.prosrc, E'\\n' ORDER BY f.proname)) FROM pg_proc f
          WHERE f.pronamespace = 'agent_sync'::regnamespace
            AND f.proname IN ('capture_agent', 'capture_configuration')
            AND f.proargtypes = '')
    UNION ALL
    SELECT 'agent_sync_insert or agent_sync_update',
      'not defined as the install has made it, or a column that it names has another name now',
      'broken', NULL
    FROM agent_sync.install i
    WHERE NOT EXISTS (SELECT FROM own WHERE own.fault IS NOT NULL)
      AND split_part(i.fingerprint, ' ', 3) IS DISTINCT FROM (
          SELECT md5(string_agg(replace(pg_get_triggerdef(t.oid), 'agent_sync.', ''), E'\\n'
            ORDER BY pg_get_triggerdef(t.oid) COLLATE \"C\"))
          FROM pg_trigger t
          WHERE t.oid = ANY (ARRAY(
                  SELECT d.objid FROM pg_proc f JOIN pg_depend d ON d.refobjid = f.oid
                  WHERE f.pronamespace = 'agent_sync'::regnamespace
                    AND f.proname IN ('capture_agent', 'capture_configuration')
                    AND f.proargtypes = ''
                    AND d.refclassid = 'pg_proc'::regclass AND d.classid = 'pg_trigger'::regclass))
            AND t.tgparentid = 0
            -- A trigger of others on a third table keeps no change from these two.
            AND t.tgrelid IN (SELECT to_regclass(served.name)
                              FROM unnest($8::text[]) AS served (name))
            AND t.tgname IN ('agent_sync_insert', 'agent_sync_update', 'agent_sync_delete'))
    UNION ALL
    SELECT format('%I.%I.%I', n.nspname, c.relname, coalesce(t.tgname, need.name)),
           CASE WHEN t.oid IS NULL THEN 'missing' WHEN t.tgenabled = 'D' THEN 'disabled'
             ELSE 'enabled but not ALWAYS' END,
           CASE WHEN t.oid IS NULL OR t.tgenabled = 'D' THEN 'child' ELSE 'not always' END,
           CASE WHEN t.oid IS NULL
                THEN
                  format('Make %I.%I a partition, or have its rows saved in %s itself, '
                         'to have them in sync at once.',
                            n.nspname, c.relname, need.relation)
                ELSE format('ALTER TABLE %I.%I ENABLE ALWAYS TRIGGER %I;', n.nspname, c.relname,
                  t.tgname) END
    FROM below
    JOIN pg_class c ON c.oid = below.relation AND c.relkind = 'r'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN need ON need.root = below.root
    JOIN pg_trigger r ON r.tgrelid = need.root AND r.tgname = need.name
    LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgfoid = r.tgfoid AND t.tgtype = r.tgtype
    WHERE t.oid IS NULL OR t.tgenabled <> 'A'
    UNION ALL
    SELECT made.relation || '.agent_sync_update',
           'made for the slugs in the column ' || quote_ident(made.slug) ||
             ', and the settings name ' || made.named, 'broken', NULL
    FROM (
        SELECT ($1::text[])[1], coalesce(i.tables #>> '{agents,columns,slug}', 'slug'), $5::text
          FROM agent_sync.install i
        UNION ALL
        SELECT ($1::text[])[3], coalesce(i.tables #>> '{configurations,columns,agent_slug}',
          'agent_slug'), $4::text
        FROM agent_sync.install i
    ) AS made (relation, slug, named)
    WHERE made.relation IS NOT NULL AND '\"' || replace(made.slug, '\"', '\"\"') || '\"' <>
      made.named
    UNION ALL
    SELECT ($1::text[])[1] || '.' || t.tgname, 'blind to the column ' || a.attname ||
      ', which it was not made for',
           'broken', NULL
    FROM pg_trigger t
    JOIN pg_attribute a ON a.attrelid = t.tgrelid
      AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = ANY ($3::text[])
    WHERE t.tgrelid = to_regclass(($1::text[])[1]) AND t.tgname = 'agent_sync_update'
      AND NOT a.attisdropped
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass
        AND d.objid = t.oid
                      AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
    UNION ALL
    SELECT ($1::text[])[1] || '.' || t.tgname, 'blind to what ' || other.what ||
      ' changes, which came after it', 'broken', NULL
    FROM pg_trigger t
    JOIN LATERAL (
        SELECT 'the trigger ' || quote_ident(b.tgname) FROM pg_trigger b
        WHERE b.tgrelid = t.tgrelid AND b.tgtype & 19 = 19
        UNION ALL
        SELECT 'a trigger of ' || i.inhrelid::regclass FROM pg_inherits i JOIN pg_class c
          ON c.oid = i.inhrelid
        WHERE i.inhparent = t.tgrelid AND c.relpersistence <> 't'
    ) AS other (what) ON t.tgattr::text <> ''
    WHERE t.tgrelid = to_regclass(($1::text[])[1]) AND t.tgname = 'agent_sync_update'
    UNION ALL
    SELECT 'the partition or child ' || c.oid::regclass,
      'is a foreign table, and what is saved on its server is not noticed', 'outbox',
           'Keep its rows in a table of this database.'
    FROM below JOIN pg_class c ON c.oid = below.relation AND c.relkind = 'f'
    UNION ALL
    SELECT ($1::text[])[3] || '.' || t.tgname, 'blind to the column \"' ||
      replace(a.attname, '\"', '\"\"') || '\", which it was not made for', 'broken', NULL
    FROM pg_trigger t
    JOIN pg_attribute a ON a.attrelid = t.tgrelid
      AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = ANY ($7::text[])
    WHERE t.tgrelid = to_regclass(($1::text[])[3]) AND t.tgname = 'agent_sync_update'
      AND NOT a.attisdropped
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_trigger'::regclass
        AND d.objid = t.oid
                      AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)
    UNION ALL
    SELECT 'agent_sync.' || c.relname, 'has the trigger ' || t.tgname ||
      ' of somebody else, which may keep changes from it', 'outbox',
           format('DROP TRIGGER %I ON agent_sync.%I;', t.tgname, c.relname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind = 'r' AND NOT t.tgisinternal
      AND c.relname IN ('granted', 'history', 'install', 'outbox', 'problem', 'role')
    UNION ALL
    SELECT 'agent_sync.outbox', 'has the rule ' || r.rulename ||
      ', which may keep changes from it', 'outbox',
           format('DROP RULE %I ON agent_sync.outbox;', r.rulename)
    FROM pg_rewrite r WHERE r.ev_class = to_regclass('agent_sync.outbox')
    UNION ALL
    SELECT i.indrelid::regclass::text,
           'has the unique index ' || c.oid::regclass ||
             ', which may refuse a row, or have a save wait for another', 'outbox',
           CASE WHEN k.oid IS NULL THEN format('DROP INDEX %s;', c.oid::regclass)
                ELSE format('ALTER TABLE %s DROP CONSTRAINT %I;', i.indrelid::regclass,
                  k.conname) END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class o ON o.oid = i.indrelid
    LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
    WHERE o.relnamespace = 'agent_sync'::regnamespace
      AND o.relname IN ('outbox', 'problem', 'install', 'history')
      AND (i.indisunique OR i.indisexclusion)
      AND c.relname NOT IN ('problem_pkey', 'problem_slug_is_unique', 'problem_key_is_unique',
        'install_pkey', 'history_pkey')
    UNION ALL
    SELECT k.conrelid::regclass::text, 'has the constraint ' || quote_ident(k.conname) ||
      ', which may keep rows from it', 'outbox',
           format('ALTER TABLE %s DROP CONSTRAINT %I;', k.conrelid::regclass, k.conname)
    FROM pg_constraint k JOIN pg_class o ON o.oid = k.conrelid
    WHERE o.relnamespace = 'agent_sync'::regnamespace
      AND o.relname IN ('outbox', 'problem', 'install', 'history')
      AND k.contype IN ('c', 'f')
      AND (k.conname, pg_get_constraintdef(k.oid)) NOT IN (
          ('install_has_one_row', 'CHECK (only_row)'),
          ('problem_kind_is_known',
           'CHECK ((kind = ANY (ARRAY[''missing_configuration''::text, '
           '''rejected''::text, ''failed''::text, ''ambiguous''::text])))'))
    UNION ALL
    SELECT 'agent_sync.' || c.relname,
           'has the column ' || quote_ident(a.attname) || ' as ' || met.form ||
             ', and agent-sync writes it '
           || CASE WHEN made.form IS NULL THEN 'not' ELSE 'as ' || made.form END,
           'outbox',
           format('ALTER TABLE agent_sync.%I ALTER COLUMN %I ', c.relname, a.attname)
           || CASE WHEN made.form IS NULL OR NOT a.attnotnull = made.form LIKE '% NOT NULL%'
                   THEN CASE WHEN a.attnotnull THEN 'DROP' ELSE 'SET' END || ' NOT NULL;'
                   WHEN NOT a.atthasdef = made.form LIKE '% DEFAULT%'
                   THEN CASE WHEN a.atthasdef THEN 'DROP DEFAULT;'
                             ELSE format('SET DEFAULT %s;', regexp_replace(made.form,
                               '^.* DEFAULT ', '')) END
                   ELSE format('TYPE %s;', regexp_replace(made.form, ' (NOT NULL|DEFAULT).*$',
                     '')) END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    CROSS JOIN LATERAL (
        SELECT format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL'
          ELSE '' END
               || CASE WHEN a.atthasdef THEN ' DEFAULT' ELSE '' END) AS met (form)
    LEFT JOIN (VALUES
        ('outbox', 'tenant', 'text'), ('problem', 'tenant', 'text'), ('history', 'tenant', 'text'),
        ('outbox', 'slug', 'text NOT NULL'), ('outbox', 'at',
          'timestamp with time zone NOT NULL DEFAULT clock_timestamp()'),
        ('problem', 'slug', 'text NOT NULL'), ('problem', 'kind', 'text NOT NULL'), ('problem',
          'detail', 'text NOT NULL'),
        ('problem', 'sqlstate', 'text'), ('problem', 'since',
          'timestamp with time zone NOT NULL DEFAULT now()'),
        ('problem', 'last_seen', 'timestamp with time zone NOT NULL DEFAULT now()'),
        ('problem', 'attempts', 'integer NOT NULL DEFAULT 1'), ('problem', 'next_attempt',
          'timestamp with time zone'),
        ('install', 'uncaptured_seen', 'bigint NOT NULL DEFAULT -1'), ('install', 'seal',
          'text NOT NULL DEFAULT '''''),
        ('install', 'mapping', 'text NOT NULL DEFAULT '''''), ('install', 'last_sync',
          'timestamp with time zone'),
        ('install', 'audit', 'jsonb'),
        ('install', 'last_tried', 'text'), ('install', 'tries', 'integer NOT NULL DEFAULT 0'),
        ('install', 'paused_since', 'timestamp with time zone'), ('install', 'paused_until',
          'timestamp with time zone'), ('install', 'paused_by', 'text'), ('install',
          'pause_reason', 'text'), ('install', 'pause_releases', 'boolean NOT NULL DEFAULT false'),
        ('history', 'at', 'timestamp with time zone NOT NULL DEFAULT now()'), ('history', 'slug',
          'text NOT NULL'),
        ('history', 'configuration', 'text'), ('history', 'columns', 'text[] NOT NULL'),
          ('history', 'before', 'text'),
        ('history', 'after', 'text'), ('history', 'application_name', 'text'), ('history',
          'role', 'text')
    ) AS made (relation, name, form) ON made.relation = c.relname AND made.name = a.attname
    WHERE c.relnamespace = 'agent_sync'::regnamespace
      AND c.relname IN ('outbox', 'problem', 'install', 'history')
      AND a.attnum > 0 AND NOT a.attisdropped
      AND CASE WHEN made.form IS NOT NULL THEN met.form <> regexp_replace(made.form,
        ' DEFAULT .*$', ' DEFAULT')
               ELSE a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
                    AND (c.relname, a.attname) NOT IN (('install', 'only_row'), ('install',
                      'version'), ('history', 'id')) END
    UNION ALL
    SELECT 'agent_sync.uncaptured',
           'is a sequence with other parameters than the install has made, '
             'so it may not count every save',
           'outbox',
           'ALTER SEQUENCE agent_sync.uncaptured INCREMENT 1 NO CYCLE CACHE 1 NO MAXVALUE;'
    FROM pg_sequence s
    WHERE s.seqrelid = to_regclass('agent_sync.uncaptured')
      AND (s.seqincrement <> 1 OR s.seqcache <> 1 OR s.seqcycle OR s.seqmax <> 9223372036854775807)
    UNION ALL
    SELECT 'agent_sync.' || c.relname, 'is UNLOGGED, so a crash of the server ' ||
      CASE c.relkind WHEN 'S' THEN 'resets' ELSE 'empties' END || ' it', 'outbox', NULL
    FROM pg_class c WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind IN ('r', 'S')
      AND c.relname IN ('granted', 'history', 'install', 'outbox', 'problem', 'role', 'uncaptured')
      AND c.relpersistence = 'u'
    ORDER BY 1, 2";
