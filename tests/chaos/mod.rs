//! Faults that a search finds: random, at every point, and from the fuzzers.

mod cancellation;
mod corpora;
mod storm;
