//! How a query finds the parts of the install, and the tables that it serves, in the catalog.
//!
//! Invariant: how many objects other roles make does not decide how long a query takes (S30). With
//! TEMPORARY on the database, which PUBLIC has by default, a role makes functions, types and tables
//! without bound, also of the names of ours. No index of `pg_proc` or `pg_class` begins with the
//! schema. So a function is found by its name, all its arguments and its schema, a relation by its
//! name and schema, and anything else by the OIDs that an array or a dependency gives. A join could
//! read the whole catalog: PostgreSQL decides that by statistics, which others change as well.

/// The OIDs of the functions in the schema `agent_sync`, an array. Only a role with CREATE on the
/// schema makes it longer.
pub(in crate::store) const OWN_FUNCTIONS: &str = "ARRAY(SELECT own.objid FROM pg_depend own
        WHERE own.refclassid = 'pg_namespace'::regclass
          AND own.refobjid = to_regnamespace('agent_sync')
          AND own.classid = 'pg_proc'::regclass)";

/// The OIDs of the relations in the schema `agent_sync`, but for the indexes, an array. A composite
/// type depends on the schema by its type alone.
pub(in crate::store) const OWN_RELATIONS: &str = "ARRAY(SELECT own.objid FROM pg_depend own
        WHERE own.refclassid = 'pg_namespace'::regclass
          AND own.refobjid = to_regnamespace('agent_sync')
          AND own.classid = 'pg_class'::regclass
        UNION
        SELECT made.typrelid FROM pg_depend own JOIN pg_type made ON made.oid = own.objid
        WHERE own.refclassid = 'pg_namespace'::regclass
          AND own.refobjid = to_regnamespace('agent_sync')
          AND own.classid = 'pg_type'::regclass AND made.typrelid <> 0)";

/// The condition that the table `c` in the schema `n` has the quoted name in this parameter, which
/// `pg::identifier::Quoted` writes. Not `to_regclass()`, which looks up no name in a schema that
/// the role may not use.
pub(super) fn is_named(parameter: &str) -> String {
    format!(
        "(n.nspname = (parse_ident({parameter}::text))[1]
          AND c.relname = (parse_ident({parameter}::text))[2])"
    )
}
