//! The totals of batches.

/// The totals of batches: `written` and `unchanged` count configurations, the others count slugs.
/// An agent counts once for each batch that looks at it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Configurations that were written.
    pub written: u64,
    /// Configurations that were in sync already.
    pub unchanged: u64,
    /// Slugs without a configuration.
    pub missing: u64,
    /// Slugs with a problem `rejected` or `ambiguous`.
    pub rejected: u64,
    /// Slugs with a write that PostgreSQL refused.
    pub failed: u64,
    /// Slugs without an agent: deleted or renamed.
    pub gone: u64,
    /// Slugs that were left in the outbox (glossary: left).
    pub left: u64,
}

impl Totals {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.missing += other.missing;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.gone += other.gone;
        self.left += other.left;
    }
}
