//! What is looked up about the server, the install and the role: in the catalog, so that looking
//! changes nothing.

/// The state of the install: its version, and how many saves could not be captured and up to which
/// that is mended. A sequence that was set back gives its next number without moving `last_value`;
/// until then it has a number of its own here, below that of "never yet". Last, whether the count
/// stands where a recovery of the server leaves it: the log of a sequence runs ahead of it, so it
/// jumps.
pub const INSTALL: &str = "
    SELECT i.version, i.uncaptured_seen,
           CASE WHEN u.is_called THEN u.last_value ELSE -2 - u.last_value END AS uncaptured,
           u.log_cnt = 0 AS may_have_jumped
    FROM agent_sync.install i CROSS JOIN agent_sync.uncaptured u";

/// The comment on a large object that `sql/capture.sql` makes for a save that could be neither noted
/// nor counted.
pub const LOST_SAVE: &str = "agent-sync: a save could be neither noted nor counted";

/// The triggers that the capture needs, `$2` on `$1`, and that are missing or disabled, or whose
/// function is not what makes it safe and able (SECURITY DEFINER, a fixed `search_path`, an owner
/// with the privileges, whom no row-level security refuses, and who may call what the function
/// calls); or that do not watch one of the quoted columns `$3` of the first table; or that look at
/// what statements set (`UPDATE OF`) where a BEFORE trigger may change more, which `sql/attach.sql`
/// sees to unless the other trigger came later. And the partitions and children of these tables
/// without such a trigger: PostgreSQL copies triggers to partitions and not to children, and a save
/// in a child fires none of its parent.
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
                      'enabled for replication alone (ENABLE REPLICA TRIGGER), so it sees no ordinary save'
                    -- AFTER, for each row: INSERT, DELETE, or UPDATE.
                    WHEN t.tgtype <> CASE need.name WHEN 'agent_sync_insert' THEN 5
                                       WHEN 'agent_sync_delete' THEN 9 ELSE 17 END
                        OR f.pronamespace <> 'agent_sync'::regnamespace
                          THEN 'not the one that the install has made'
                    WHEN NOT f.prosecdef THEN
                      'SECURITY INVOKER, so it may do no more than whoever saves'
                    WHEN NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (f.proconfig), false)
                        THEN 'without its fixed search_path, so whoever saves can lead it astray'
                    WHEN cardinality(f.proconfig) <> 1
                      THEN
                      'of a function with settings that the install has not made (ALTER FUNCTION ... SET)'
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
    SELECT own.name, own.fault, CASE own.fault WHEN 'enabled but not ALWAYS' THEN 'sleeps'
      ELSE 'broken' END, NULL::text
    FROM own WHERE own.fault IS NOT NULL
    UNION ALL
    SELECT DISTINCT 'agent_sync.' || f.proname || '()', 'not allowed to call ' ||
      c.oid::regprocedure || ', so changes are not noticed, or saves fail', 'broken',
           format('GRANT EXECUTE ON FUNCTION %s TO %s;', c.oid::regprocedure, f.proowner::regrole)
    FROM pg_proc f CROSS JOIN LATERAL regexp_matches(f.prosrc, 'pg_catalog[.]([a-z_]+)[(]', 'g')
      AS called (name)
    JOIN pg_proc c ON c.pronamespace = 'pg_catalog'::regnamespace AND c.proname = called.name[1]
    WHERE f.pronamespace = 'agent_sync'::regnamespace
      AND f.proname IN ('capture_agent', 'capture_configuration')
      AND NOT has_function_privilege(f.proowner, c.oid, 'EXECUTE')
    UNION ALL
    SELECT 'agent_sync.capture_agent() or agent_sync.capture_configuration()',
      'not the function that the install has made', 'broken', NULL
    FROM agent_sync.install i
    WHERE split_part(i.fingerprint, ' ', 2) <> '' AND NOT EXISTS (SELECT FROM own
      WHERE own.fault IS NOT NULL)
      AND split_part(i.fingerprint, ' ', 2) IS DISTINCT FROM (
          SELECT md5(string_agg(f.prosrc, E'\\n' ORDER BY f.proname)) FROM pg_proc f
          WHERE f.pronamespace = 'agent_sync'::regnamespace
            AND f.proname IN ('capture_agent', 'capture_configuration'))
    UNION ALL
    SELECT 'agent_sync_insert or agent_sync_update',
      'not defined as the install has made it, or a column that it names has another name now',
      'broken', NULL
    FROM agent_sync.install i
    WHERE NOT EXISTS (SELECT FROM own WHERE own.fault IS NOT NULL)
      AND split_part(i.fingerprint, ' ', 3) = (current_setting('server_version_num')::integer /
        10000)::text
      AND split_part(i.fingerprint, ' ', 4) IS DISTINCT FROM (
          SELECT md5(string_agg(replace(pg_get_triggerdef(t.oid), 'agent_sync.', ''), E'\\n'
            ORDER BY pg_get_triggerdef(t.oid) COLLATE \"C\"))
          FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
          WHERE f.pronamespace = 'agent_sync'::regnamespace AND t.tgparentid = 0
            AND t.tgname IN ('agent_sync_insert', 'agent_sync_update', 'agent_sync_delete'))
    UNION ALL
    SELECT format('%I.%I.%I', n.nspname, c.relname, coalesce(t.tgname, need.name)),
           CASE WHEN t.oid IS NULL THEN 'missing' WHEN t.tgenabled = 'D' THEN 'disabled'
             ELSE 'enabled but not ALWAYS' END,
           CASE WHEN t.oid IS NULL OR t.tgenabled = 'D' THEN 'child' ELSE 'sleeps' END,
           CASE WHEN t.oid IS NULL
                THEN
                  format('Make %I.%I a partition, or have its rows saved in %s itself, to have them in sync at once.',
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
    SELECT ($1::text[])[3] || '.' || t.tgname, 'blind to the column ' || $4::text ||
      ', which it was not made for', 'broken', NULL
    FROM pg_trigger t
    JOIN pg_attribute a ON a.attrelid = t.tgrelid
      AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = $4::text
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
      AND c.relname NOT IN ('problem_pkey', 'problem_slug_is_unique', 'install_pkey',
        'history_pkey')
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
           'CHECK ((kind = ANY (ARRAY[''missing_configuration''::text, ''rejected''::text, ''failed''::text, ''ambiguous''::text])))'))
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
        ('install', 'last_tried', 'text'), ('install', 'tries', 'integer NOT NULL DEFAULT 0'),
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
      'is a sequence with other parameters than the install has made, so it may not count every save', 'outbox',
           'ALTER SEQUENCE agent_sync.uncaptured INCREMENT 1 NO CYCLE CACHE 1 NO MAXVALUE;'
    FROM pg_sequence s
    WHERE s.seqrelid = to_regclass('agent_sync.uncaptured')
      AND (s.seqincrement <> 1 OR s.seqcache <> 1 OR s.seqcycle OR s.seqmax <> 9223372036854775807)
    UNION ALL
    SELECT 'agent_sync.' || c.relname, 'is UNLOGGED, so a crash of the server empties it',
      'outbox', NULL
    FROM pg_class c WHERE c.relnamespace = 'agent_sync'::regnamespace AND c.relkind = 'r'
      AND c.relpersistence = 'u'
    ORDER BY 1, 2";

/// Which of the quoted tables `$1` and `$2`, their partitions and children a crash of the server
/// empties.
pub const UNLOGGED: &str = "
    WITH RECURSIVE relation (oid) AS (
        SELECT o.oid FROM (VALUES (to_regclass($1::text)::oid), (to_regclass($2::text)::oid)) AS
          o (oid)
        UNION
        SELECT i.inhrelid FROM relation r JOIN pg_inherits i ON i.inhparent = r.oid
    )
    SELECT c.oid::regclass::text FROM relation r JOIN pg_class c ON c.oid = r.oid
      WHERE c.relpersistence = 'u' ORDER BY 1";

/// The tables that are published without a replica identity, so that PostgreSQL refuses what the
/// daemon does in them: updates of the configurations, the quoted table `$1` with its partitions,
/// and deletes and updates in tables of ours. The table, and whether it is ours.
pub const UNPUBLISHABLE: &str = "
    WITH RECURSIVE written (relation) AS (
        SELECT to_regclass($1::text)::oid
        UNION
        SELECT i.inhrelid FROM written w JOIN pg_inherits i ON i.inhparent = w.relation
    )
    SELECT DISTINCT c.oid::regclass::text, c.relnamespace = to_regnamespace('agent_sync')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename = c.relname
    JOIN pg_publication p ON p.pubname = t.pubname AND (p.pubupdate OR p.pubdelete
      AND n.nspname = 'agent_sync')
    WHERE (c.oid IN (SELECT w.relation FROM written w) OR n.nspname = 'agent_sync')
      AND c.relkind = 'r'
      AND NOT CASE c.relreplident
          WHEN 'f' THEN true
          WHEN 'd' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
          WHEN 'i' THEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid
            AND i.indisreplident)
          ELSE false END
    ORDER BY 1";

/// The quoted table `$1`, its partitions and children of which a publication has a row filter or a
/// column list that does not fit the replica identity, so that PostgreSQL refuses updates (42P10):
/// a filter reads the identity alone, and a list has all of it. The table and the publication. The
/// two columns of the catalog exist since PostgreSQL 15.
pub const PUBLISHED_IN_PART: &str = "
    WITH RECURSIVE written (relation) AS (
        SELECT to_regclass($1::text)::oid
        UNION
        SELECT i.inhrelid FROM written w JOIN pg_inherits i ON i.inhparent = w.relation
    ), part AS (
        SELECT c.oid, p.pubname, to_jsonb(r) ->> 'prqual' AS filter, to_jsonb(r) -> 'prattrs' AS list,
               c.relreplident = 'f' AS is_full,
               CASE c.relreplident
                   WHEN 'f' THEN ARRAY(SELECT a.attnum FROM pg_attribute a
                     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
                   ELSE (SELECT i.indkey::int2[] FROM pg_index i WHERE i.indrelid = c.oid
                     AND CASE c.relreplident WHEN 'd' THEN i.indisprimary
                       ELSE i.indisreplident END) END AS key
        FROM written w JOIN pg_class c ON c.oid = w.relation
        JOIN pg_publication_rel r ON r.prrelid = c.oid
        JOIN pg_publication p ON p.oid = r.prpubid AND p.pubupdate
    )
    SELECT p.oid::regclass::text, quote_ident(p.pubname)
    FROM part p
    WHERE NOT p.is_full
        AND EXISTS (SELECT FROM regexp_matches(p.filter, ':varattno (\\d+)', 'g') AS m (found)
          WHERE m.found[1]::int2 <> ALL (p.key))
       OR p.list <> 'null'
        AND EXISTS (SELECT FROM unnest(p.key) AS k (number)
          WHERE NOT p.list @> to_jsonb(k.number))
    ORDER BY 1, 2";

/// Whether the queue of notifications is so full that the triggers do not notify, how full it is in
/// percent, and the session of anybody's that has been in a transaction for longest. Asking has
/// PostgreSQL clean the queue up.
pub const NOTIFICATION_QUEUE: &str = "
    SELECT q.usage >= 0.5, round(q.usage * 100)::int4,
           (SELECT 'process ' || s.pid || coalesce(', ' || nullif(s.application_name, ''), '')
            FROM pg_stat_activity s
            WHERE q.usage >= 0.5 AND s.state LIKE 'idle in transaction%'
              AND s.pid <> pg_backend_pid()
            ORDER BY s.xact_start LIMIT 1)
    FROM (SELECT pg_notification_queue_usage() AS usage OFFSET 0) AS q";

/// The capture functions that belong to another role than the table that each serves, `$1` of the
/// agents and `$2` of the configurations. What the names in a function mean is decided by the owner
/// of the table, who so can act as the owner of the function. Not told is where that owner may do
/// so anyhow. The columns: the function, its owner with what it is, the table and its owner.
pub const LENDS_RIGHTS: &str = "
    SELECT f.oid::regprocedure::text, CASE WHEN o.rolsuper THEN 'the superuser '
      ELSE 'the role ' END || quote_ident(o.rolname),
           c.oid::regclass::text, c.relowner::regrole::text
    FROM (VALUES ('capture_agent', to_regclass($1::text)), ('capture_configuration',
      to_regclass($2::text))) AS s (name, relation)
    JOIN pg_proc f ON f.pronamespace = to_regnamespace('agent_sync') AND f.proname = s.name
      AND f.pronargs = 0
    JOIN pg_class c ON c.oid = s.relation JOIN pg_roles o ON o.oid = f.proowner
    WHERE NOT pg_has_role(c.relowner, f.proowner, 'MEMBER')
    ORDER BY 1";

/// The types that the type `t` is made of: below a domain, in an array, a range or a composite.
const PARTS_OF_A_TYPE: &str = "
            SELECT t.typbasetype UNION ALL SELECT t.typelem
            UNION ALL SELECT r.rngsubtype FROM pg_range r
              WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
            UNION ALL SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = t.typrelid
              AND a.attnum > 0";

/// Of the columns `$2` of the quoted table `$1` and `$4` of `$3`, by their names, those whose type,
/// or a part of it, belongs to a role that is neither a superuser nor can act as the owner of the
/// table: code of it would run where the column is read or written. The table, the column, the
/// type, its owner, and that of the table.
pub fn foreign_types() -> String {
    format!(
        "
    WITH RECURSIVE used (relation, col, owner, type) AS (
        SELECT c.oid, a.attname, c.relowner, a.atttypid
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a
          ON a.attrelid = c.oid
        WHERE ({QUOTED_NAME} = $1::text AND a.attname = ANY ($2::text[])
          OR {QUOTED_NAME} = $3::text AND a.attname = ANY ($4::text[]))
          AND a.attnum > 0 AND NOT a.attisdropped
        UNION
        SELECT u.relation, u.col, u.owner, within.type
        FROM used u JOIN pg_type t ON t.oid = u.type CROSS
          JOIN LATERAL ({PARTS_OF_A_TYPE}) AS within (type)
    )
    SELECT u.relation::regclass::text, quote_ident(u.col), t.oid::regtype::text,
      quote_ident(r.rolname), u.owner::regrole::text
    FROM used u JOIN pg_type t ON t.oid = u.type JOIN pg_roles r ON r.oid = t.typowner
    WHERE NOT r.rolsuper AND NOT pg_has_role(t.typowner, u.owner, 'MEMBER')
    ORDER BY 1, 2, 3"
    )
}

/// Whether the capture was installed to notify: `sql/capture.sql` begins its condition with it.
pub const INSTALLED_NOTIFY: &str = "
    SELECT NOT EXISTS (SELECT FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
                       WHERE n.nspname = 'agent_sync' AND f.proname = 'capture_agent'
                         AND f.prosrc LIKE '%IF NOT false%')";

/// Whether the outbox notes whose transaction made a change, for the history.
pub const NOTES_CAUSE: &str = "
    SELECT EXISTS (SELECT FROM pg_attribute a
                   WHERE a.attrelid = to_regclass('agent_sync.outbox') AND a.attname = 'role'
                     AND a.atthasdef)";

/// The name of the table `c` in the schema `n` as `pg::identifier::Quoted` writes it. Not
/// `to_regclass()`, which looks up no name in a schema that the role may not use.
const QUOTED_NAME: &str = "'\"' || replace(n.nspname, '\"', '\"\"') || '\".\"' || \
    replace(c.relname, '\"', '\"\"') || '\"'";

/// What the capture rests on, as `now.seal`: which version of each row of the catalog there is.
///
/// It is about the tables `$1` and `$2`, with their partitions and children: a row of `pg_class`
/// moves with TRUNCATE, a rewrite, a rename, a policy that is switched on, a privilege, and a
/// partition that comes or goes; one of `pg_attribute` with its column alone, as when it is
/// renamed; those of `pg_inherits` with a partition alone; those of `pg_type` and `pg_enum` with a
/// value that is renamed, which changes what every row says and fires no trigger. Then our triggers
/// on all of these, their functions, the policies, the tables of ours that must not be emptied, and
/// the schemas. What row-level security shows to the role of this session, because PostgreSQL plans
/// no prepared statement anew when a role gets BYPASSRLS or becomes a member of another. And the
/// large objects by which the capture says that a save could be neither noted nor counted
/// (`sql/capture.sql`). VACUUM, ANALYZE and indexes leave these rows in place. A trigger of others
/// that is made and dropped between two looks leaves no trace here.
fn sealed() -> String {
    format!(
        "
    WITH RECURSIVE root (relation) AS (
        SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE {QUOTED_NAME} IN ($1::text, $2::text)
    ), watched (relation) AS (
        SELECT root.relation FROM root
        UNION
        SELECT i.inhrelid FROM watched w JOIN pg_inherits i ON i.inhparent = w.relation
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relpersistence <> 't'
    ), type (oid) AS (
        SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid IN (SELECT w.relation
          FROM watched w) AND a.attnum > 0
        UNION
        SELECT within.oid FROM type JOIN pg_type t ON t.oid = type.oid CROSS
          JOIN LATERAL ({PARTS_OF_A_TYPE}) AS within (oid)
    ), part (version) AS (
        SELECT concat_ws(' ', 'type', t.oid, t.xmin, e.oid, e.xmin)
        FROM type JOIN pg_type t ON t.oid = type.oid LEFT JOIN pg_enum e ON e.enumtypid = t.oid
        WHERE t.typnamespace <> 'pg_catalog'::regnamespace
        UNION ALL
        SELECT concat_ws(' ', 'class', c.oid, c.xmin)
        FROM pg_class c
        WHERE c.oid IN (SELECT w.relation FROM watched w)
           OR c.relnamespace = to_regnamespace('agent_sync')
             AND c.relname IN ('install', 'outbox', 'problem', 'uncaptured')
        UNION ALL
        SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
        FROM pg_attribute a WHERE a.attrelid IN (SELECT w.relation FROM watched w) AND a.attnum > 0
        UNION ALL
        SELECT concat_ws(' ', 'inherits', i.inhparent, i.inhrelid, i.xmin)
        FROM pg_inherits i
        WHERE i.inhparent IN (SELECT w.relation FROM watched w)
          AND i.inhrelid IN (SELECT w.relation FROM watched w)
        UNION ALL
        SELECT concat_ws(' ', 'trigger', t.oid, t.xmin)
        FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE t.tgrelid IN (SELECT w.relation FROM watched w)
          AND f.pronamespace = to_regnamespace('agent_sync')
        UNION ALL
        SELECT concat_ws(' ', 'function', f.oid, f.xmin) FROM pg_proc f
          WHERE f.pronamespace = to_regnamespace('agent_sync')
        UNION ALL
        -- A privilege that is revoked and granted again leaves this trace alone.
        SELECT concat_ws(' ', 'called', c.oid, c.xmin)
        FROM pg_proc c
        WHERE c.pronamespace = 'pg_catalog'::regnamespace AND c.proname IN (
            SELECT called.name[1] FROM pg_proc f
            CROSS JOIN LATERAL regexp_matches(f.prosrc, 'pg_catalog[.]([a-z_]+)[(]', 'g')
              AS called (name)
            WHERE f.pronamespace = to_regnamespace('agent_sync')
              AND f.proname IN ('capture_agent', 'capture_configuration'))
        UNION ALL
        SELECT concat_ws(' ', 'lost', m.oid)
        FROM pg_largeobject_metadata m
        JOIN pg_description d ON d.objoid = m.oid AND d.classoid = 'pg_largeobject'::regclass
            AND d.description = '{LOST_SAVE}'
        WHERE m.lomowner IN (SELECT f.proowner FROM pg_proc f
          WHERE f.pronamespace = to_regnamespace('agent_sync'))
        UNION ALL
        SELECT concat_ws(' ', 'policy', p.oid, p.xmin)
        FROM pg_policy p WHERE p.polrelid IN (SELECT w.relation FROM watched w)
        UNION ALL
        SELECT concat_ws(' ', 'visible', w.relation, row_security_active(w.relation)) FROM watched w
        UNION ALL
        SELECT concat_ws(' ', 'member', p.oid, member.role)
        FROM pg_policy p CROSS JOIN LATERAL unnest(p.polroles) AS member (role)
        WHERE p.polrelid IN (SELECT w.relation FROM watched w) AND member.role <> 0
          AND pg_has_role(member.role, 'USAGE')
        UNION ALL
        SELECT concat_ws(' ', 'schema', n.oid, n.xmin)
        FROM pg_namespace n
        WHERE n.oid = to_regnamespace('agent_sync')
           OR n.oid IN (SELECT c.relnamespace FROM pg_class c JOIN root ON root.relation = c.oid)
    ), now (seal) AS (
        SELECT 'md5 ' || md5(coalesce(string_agg(p.version, ','
          ORDER BY p.version COLLATE \"C\"), '')) FROM part p
    )"
    )
}

/// Notes the seal in `agent_sync.install`. If it is not the one that was noted, changes may have
/// been missed, also where all has been changed back: every agent is to be looked at. One row then,
/// with whether a seal was noted before.
pub fn seal() -> String {
    let sealed = sealed();
    format!(
        "{sealed}
         UPDATE agent_sync.install i SET seal = now.seal, uncaptured_seen = -1
         FROM now
         WHERE i.seal <> now.seal
         RETURNING (SELECT o.seal LIKE 'md5 %' FROM agent_sync.install o)"
    )
}

/// What the statements of a connection are made for: the seal, and the indexes of both tables. When
/// it moves, the statements may be wrong: a column is left out that has come, an index is counted
/// on that has gone, slugs are compared in another collation.
pub fn layout_version() -> String {
    let sealed = sealed();
    format!(
        "{sealed}
         SELECT now.seal || ' ' || md5(coalesce(
                    (SELECT string_agg(concat_ws(' ', x.indexrelid, x.xmin), ','
                      ORDER BY x.indexrelid)
                     FROM pg_index x WHERE x.indrelid IN (SELECT w.relation FROM watched w)), ''))
         FROM now"
    )
}

/// What the server is: its version as text and as a number, whether it is a standby, whether it is
/// read-only, and how many transactions can be prepared; and whether the role of this session is a
/// superuser, and its name. Read-only is what sessions are made to be by default, whatever ours has
/// set: a provider does that when the disk is nearly full, and it is not for us to overrule.
pub const SERVER: &str = "
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::int4 AS number,
           pg_is_in_recovery() AS is_standby,
           current_setting('transaction_read_only')::bool OR (
               SELECT s.reset_val::bool FROM pg_settings s
                 WHERE s.name = 'default_transaction_read_only') AS is_read_only,
           current_setting('max_prepared_transactions')::int4 AS most_prepared,
           (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) AS is_superuser,
           quote_ident(current_user) AS role";

/// The relations of the install that are gone: with `$1`, those that the daemon works with, or else
/// those that only the commands read. A view in the place of a table is none of them: reading it
/// would run what its owner wrote. Read from the catalog, for names are not looked up in a schema
/// that the role may not use.
pub const MISSING_PARTS: &str = "
    SELECT 'agent_sync.' || part.name
    FROM (VALUES ('history', 'r', true), ('install', 'r', true), ('outbox', 'r', true),
      ('problem', 'r', true), ('uncaptured', 'S', true),
                 ('granted', 'r', false), ('role', 'r', false), ('state', 'v', false)) AS part
                   (name, kind, of_daemon)
    WHERE part.of_daemon = $1
      AND NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                      WHERE n.nspname = 'agent_sync' AND c.relname = part.name
                        AND c.relkind = part.kind::\"char\")
    ORDER BY 1";

/// The rules (CREATE RULE) that are in the way of what the daemon writes: on updates of the
/// configurations, the quoted table `$1`, and on tables of ours. PostgreSQL rewrites no statement
/// that writes in more than one place. The table, and the name of the rule.
pub fn rules() -> String {
    format!(
        "
    SELECT c.oid::regclass::text, quote_ident(r.rulename)
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n
      ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p')
      AND (n.nspname = 'agent_sync' AND (c.relname IN ('problem', 'install', 'history')
        OR c.relname = 'outbox' AND r.ev_type = '4')
           OR r.ev_type = '2'
              AND {QUOTED_NAME} = $1::text)
    ORDER BY 1, 2"
    )
}

/// Whether nothing is noted yet, or every agent is going to be looked at anyhow; whether every
/// configuration was last in sync under the mapping `$1`; and whether they may be in sync under
/// several.
pub const MAPPING: &str = "
    SELECT i.mapping = '' OR i.uncaptured_seen < 0, i.mapping = md5($1::text), i.mapping LIKE
      'mixed%' FROM agent_sync.install i";

/// Notes that every configuration is, or is going to be, in sync under the mapping `$1`; if `$2` is
/// not null, only while that is what was noted before.
pub const NOTE_MAPPING: &str = "
    UPDATE agent_sync.install SET mapping = md5($1::text)
    WHERE mapping <> md5($1::text) AND ($2::text IS NULL OR mapping = $2::text)";

/// Notes, before the first write under another mapping, that some configurations may come to be in
/// sync under one mapping and others under another. It is another text each time.
pub const MIX_MAPPINGS: &str = "UPDATE agent_sync.install SET mapping = 'mixed since transaction ' \
    || pg_current_xact_id()::text";

/// What is noted of the mapping.
pub const NOTED_MAPPING: &str = "SELECT i.mapping FROM agent_sync.install i";

/// The version of the schema, and the tables that the triggers were made for: schema and name of
/// the agents, and of the configurations.
pub const VERSION: &str = "
    SELECT i.version,
           coalesce(i.tables #>> '{agents,schema}', 'public'), coalesce(i.tables #>>
             '{agents,table}', 'agents'),
           coalesce(i.tables #>> '{configurations,schema}', 'public'),
           coalesce(i.tables #>> '{configurations,table}', 'agent_configurations')
    FROM agent_sync.install i";

/// The tables of agent-sync whose rows row-level security keeps from the role, and the role. A
/// policy that lets it at every row, for every command, keeps it from none.
pub const OWN_ROWS_HIDDEN: &str = "
    SELECT 'agent_sync.' || c.relname, current_user::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'agent_sync' AND c.relname IN ('history', 'install', 'outbox', 'problem')
      AND c.relkind = 'r'
      AND row_security_active(c.oid)
      AND NOT (
          EXISTS (SELECT FROM pg_policy p
                  WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd = '*'
                    AND pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true'
                    AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true'
                    AND EXISTS (SELECT FROM unnest(p.polroles) AS member (role)
                                WHERE member.role = 0 OR pg_has_role(member.role, 'USAGE')))
          AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive))
    ORDER BY 1";

/// Of the privileges `$4` on schemas `$1`, relations `$2` and quoted columns `$3`, those that the
/// role lacks: in words, as the statement that grants them, and the role; one row for each object
/// and kind of privilege. A value is cast to the type of its column, or the type under its domain,
/// by name, so USAGE on the schemas of these types belongs to them where the column is updated.
pub const MISSING_PRIVILEGES: &str = "
    WITH RECURSIVE named AS (
        SELECT DISTINCT n.oid AS schema, c.oid AS relation, c.relkind, a.attnum, a.attname,
          u.privilege,
               CASE WHEN u.relation IS NULL THEN format('SCHEMA %I', u.schema)
                    ELSE CASE WHEN c.relkind = 'S' THEN 'SEQUENCE '
                      ELSE '' END || format('%I.%I', u.schema, u.relation)
               END AS object
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (schema, relation,
          attribute, privilege)
        JOIN pg_namespace n ON n.nspname = u.schema
        LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = u.relation
        LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
            AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = u.attribute
        WHERE (u.relation IS NULL) = (c.oid IS NULL) AND (u.attribute IS NULL) = (a.attnum IS NULL)
    ), stored (type) AS (
        SELECT a.atttypid FROM named n JOIN pg_attribute a ON a.attrelid = n.relation
          AND a.attnum = n.attnum
        WHERE n.privilege = 'UPDATE'
        UNION
        SELECT t.typbasetype FROM stored s JOIN pg_type t ON t.oid = s.type AND t.typtype = 'd'
    ), need AS (
        SELECT * FROM named
        UNION
        SELECT n.oid, NULL, NULL, NULL, NULL, 'USAGE', format('SCHEMA %I', n.nspname)
        FROM stored s JOIN pg_type t ON t.oid = s.type AND t.typtype <> 'd'
        JOIN pg_namespace n ON n.oid = t.typnamespace
    ), lacking AS (
        SELECT object, privilege, string_agg(quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM need
        WHERE NOT CASE
            WHEN relation IS NULL THEN has_schema_privilege(schema, privilege)
            WHEN attnum IS NULL AND relkind = 'S' THEN has_sequence_privilege(relation, privilege)
            WHEN attnum IS NULL THEN has_table_privilege(relation, privilege)
            ELSE has_column_privilege(relation, attnum, privilege) END
        GROUP BY object, privilege
    ), told AS (
        SELECT privilege || coalesce(' (' || columns || ')', '') || ' ON ' || object AS privilege
          FROM lacking
    )
    SELECT privilege, format('GRANT %s TO %I', privilege, current_user), current_user::text
      FROM told ORDER BY 1";

/// What row-level security may keep from the role: `$1` the agents, to read, and `$2` the
/// configurations, to read and to write. It is harmless where a policy lets the role at every row
/// and no restrictive policy takes that back; a policy that lets it at some rows may hide others,
/// and nothing but its author knows.
pub const HIDDEN_ROWS: &str = "
    WITH need (relation, command, name) AS (
        SELECT to_regclass($1::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'r', 'SELECT'
        UNION ALL SELECT to_regclass($2::text), 'w', 'UPDATE'
    ), policy AS (
        SELECT need.relation, need.command, p.polpermissive,
               pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT FROM 'true'
               AND (need.command = 'r' OR coalesce(pg_get_expr(p.polwithcheck, p.polrelid),
                 'true') = 'true') AS open
        FROM need
        JOIN pg_policy p ON p.polrelid = need.relation AND p.polcmd::text IN (need.command, '*')
        WHERE 0 = ANY (p.polroles)
           OR EXISTS (SELECT FROM unnest(p.polroles) AS member (role)
             WHERE pg_has_role(member.role, 'USAGE'))
    )
    SELECT format('%I.%I', n.nspname, c.relname), need.name, current_user::text
    FROM need
    JOIN pg_class c ON c.oid = need.relation
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE row_security_active(need.relation)
      AND (NOT EXISTS (SELECT FROM policy p WHERE p.relation = need.relation
        AND p.command = need.command
                       AND p.polpermissive AND p.open)
           OR EXISTS (SELECT FROM policy p WHERE p.relation = need.relation
             AND p.command = need.command
                      AND NOT p.polpermissive AND NOT p.open))
    ORDER BY 1, 2";
