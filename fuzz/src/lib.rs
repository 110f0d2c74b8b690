//! What the fuzz targets do: bytes in, a panic where a promise is broken.
//!
//! Each target is a function of this module. `fuzz/targets/` feeds it from a fuzzer, and
//! `tests/chaos/corpora.rs` from the corpora in `fuzz/corpus/`, so that every input that was ever
//! worth keeping is tried by every run of the tests.
//!
//! Inputs are text that people can read and write, wherever that is possible: see the header of
//! each file.

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

/// What is done with an input.
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

/// What stands for a secret in the inputs: where it is one, it must not be told.
pub const SECRET: &str = "hunter2";
