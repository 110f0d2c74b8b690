//! The reasons of problems that the plan of a batch notes.

/// The reason of a problem of that kind (T5).
pub(super) const AMBIGUOUS: &str =
    "more than one agent has this slug, so nothing is written for it";

/// The reasons of a problem with a row that was not found, or is that of another slug.
pub(super) const MISSED_BY_INDEX: &str = "an agent has this slug, and the index of the agents' \
    slugs does not find it: the index is damaged, or in the order of another version of its \
    collation";
pub(super) const MISSED_CONFIGURATION: &str = "the index of the configurations' slugs does not \
    find the configuration of this slug: the index is damaged, or in the order of another version \
    of its collation";
pub(super) const LED_ASTRAY: &str = "the index of the agents' slugs leads to an agent with another \
    slug: the index is damaged, or of another moment than the table";
pub(super) const HIDDEN_AGENT: &str =
    "no agent with this slug is visible, and row-level security may hide it";
pub(super) const HIDDEN_CONFIGURATION: &str =
    "no configuration with this slug is visible, and row-level security may hide it";
