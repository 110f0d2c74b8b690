//! The planner's settings of a session, one set for each kind of statement.
//!
//! The statements of a batch are planned once and run for any number of rows, often on tables that
//! were never analysed, so they are given one plan: by index, with hash joins. For the catalog that
//! plan would read all of it, which takes minutes where there are thousands of tables. So a sweep
//! and a session without batches have the usual freedom. All other queries of a leading daemon run
//! between batches under the settings of batches: none of them may read much of the catalog.

/// For the statements that take and write the rows of a batch.
pub(super) const FOR_BATCHES: &str = "
    SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off;
    SET enable_nestloop = off;
    SET enable_mergejoin = off";

/// For everything else: the defaults of PostgreSQL, and not the settings of the role or database.
pub(super) const USUAL: &str = "
    SET plan_cache_mode = auto;
    SET enable_seqscan = on;
    SET enable_nestloop = on;
    SET enable_mergejoin = on";
