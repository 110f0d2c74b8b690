//! The settings of the planner for statements that join tables as a whole.
//!
//! A writer chooses the slugs, and with them the hash values: the rows of a table whose slugs have
//! one hash value are in one bucket, and each look-up there compares all of them. And the planner
//! may take a table of any size for one of a single row, after a vacuum that has found it almost
//! empty: then it has each row of another table read all of it. So these statements join by order,
//! or by an index, and sort what they group: no cost grows faster than the rows and their sorting.
//! The statements of batches join by hash, where the size of a batch is the bound.
//!
//! The settings do not govern a subquery that is hashed (`NOT IN`, `IN` with `OR`), so these
//! statements have none.

/// For joins of whole tables: by order alone.
pub const WHOLE_TABLES: &str = "
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_hashagg = off;
    SET LOCAL enable_memoize = off;
    SET LOCAL enable_mergejoin = on;
    SET LOCAL enable_sort = on;
    SET LOCAL enable_seqscan = on;
    SET LOCAL enable_material = on;
    SET LOCAL enable_nestloop = off";

/// For the rows of one table that are looked up in another, which has an index for it: one by one,
/// in a LATERAL subquery that the planner has to run for each.
pub const BY_INDEX_ALONE: &str = "
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_hashagg = off;
    SET LOCAL enable_memoize = off;
    SET LOCAL enable_sort = on;
    SET LOCAL enable_seqscan = off;
    SET LOCAL enable_material = off;
    SET LOCAL enable_nestloop = on";

/// For a few rows of one table that are named, with what others have of them: by an index, or else
/// by order.
pub const NAMED_ROWS: &str = "
    SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_hashagg = off;
    SET LOCAL enable_memoize = off;
    SET LOCAL enable_mergejoin = on;
    SET LOCAL enable_sort = on;
    SET LOCAL enable_material = off;
    SET LOCAL enable_nestloop = on";
