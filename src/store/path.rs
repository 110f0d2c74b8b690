//! The two search paths of a session.
//!
//! Every statement runs under [`OURS`], in which nobody but a superuser can create anything: so a
//! function or operator of somebody else's that has a name of `pg_catalog`, and fits better, is
//! never called. The temporary schema comes last, or it would come first.
//!
//! Code of others that runs with a write of a configuration counts on the path of the role, so such
//! a write runs under `OF_THE_ROLE`. It names the schema of everything that it looks up
//! (`queries::write`, `queries::write_change`).

/// The path of the session.
pub const OURS: &str = "SET search_path = pg_catalog, pg_temp";

/// The path that the role, the database or the connection string has set. The settings of the
/// session, [`OURS`] first, come after the write, before anything else.
pub(super) const OF_THE_ROLE: &str = "SET search_path TO DEFAULT";
