//! Searches for faults: random ones, one at every point, and the inputs of the fuzzers.

mod cancellation;
mod corpora;
mod storm;
