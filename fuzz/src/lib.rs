//! The fuzz targets: bytes in, a panic for a broken promise.
//!
//! Each target is a function of this module. `fuzz/targets/` calls it from a fuzzer, and
//! `tests/chaos/corpora.rs` with the corpora in `fuzz/corpus/`, so every run of the tests repeats
//! every kept input.
//!
//! Inputs are readable text if possible: see the header of each file.

mod document;
mod dsn;
mod inbox;
mod mapping;
mod rules;
mod settings;
mod shaped;

pub use dsn::dsn;
pub use inbox::inbox;
pub use mapping::mapping;
pub use rules::rules;
pub use settings::settings;
pub use shaped::shaped;

/// The test of one input.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 6] = [
    ("mapping", mapping),
    ("shaped", shaped),
    ("rules", rules),
    ("settings", settings),
    ("inbox", inbox),
    ("dsn", dsn),
];

/// The secret in the inputs; it must not be printed.
pub const SECRET: &str = "hunter2";
