//! The two search paths of a session.
//!
//! Every statement runs under [`OURS`], in which only a superuser can create anything. So a
//! function or operator of another role with a name of `pg_catalog` and a better match is never
//! called. The temporary schema is named last, because by default it comes first.
//!
//! Code of others that runs with a write of a configuration counts on the path of the role, so such
//! a write runs under `OF_THE_ROLE`. It names the schema of everything that it looks up
//! (`queries::write`, `queries::write_change`).

/// The path of the session.
pub const OURS: &str = "SET search_path = pg_catalog, pg_temp";

/// The path that the role, the database or the connection string has set. The settings of the
/// session, [`OURS`] first, come after the write, before anything else.
pub(super) const OF_THE_ROLE: &str = "SET search_path TO DEFAULT";
