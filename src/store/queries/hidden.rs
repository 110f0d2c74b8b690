//! Whether row-level security may hide rows of a table from the role of this session.

/// An SQL expression: true where row-level security is active for this role on the quoted table,
/// and no policy plainly lets the role at every row. A policy that lets it at some rows may hide
/// others, and nothing but its author knows.
pub(super) fn rows_may_be_hidden(table: &str) -> String {
    let table = format!("to_regclass('{}')", table.replace('\'', "''"));
    format!(
        "(SELECT row_security_active({table}) AND (
              NOT coalesce(bool_or(p.polpermissive AND p.is_open), false)
                OR coalesce(bool_or(NOT p.polpermissive AND NOT p.is_open), false))
          FROM (SELECT p.polpermissive, pg_get_expr(p.polqual, p.polrelid) IS NOT DISTINCT
            FROM 'true' AS is_open
                FROM pg_policy p
                WHERE p.polrelid = {table} AND p.polcmd IN ('r', '*')
                  AND (0 = ANY (p.polroles)
                       OR EXISTS (SELECT FROM unnest(p.polroles) AS member (role)
                         WHERE pg_has_role(member.role, 'USAGE')))) AS p)"
    )
}
