//! The totals of batches.

/// The totals of batches: slugs, except `written`.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Configurations that were written.
    pub written: u64,
    /// Configurations that were in sync already.
    pub unchanged: u64,
    /// Slugs without a configuration.
    pub missing: u64,
    /// Agents that cannot be mapped.
    pub rejected: u64,
    /// Slugs without an agent: deleted or renamed.
    pub gone: u64,
    /// Slugs whose configuration another session has locked; they stay in the outbox.
    pub busy: u64,
}

impl Totals {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.missing += other.missing;
        self.rejected += other.rejected;
        self.gone += other.gone;
        self.busy += other.busy;
    }
}
