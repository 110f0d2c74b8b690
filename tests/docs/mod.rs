//! The documentation agrees with the code and the tests.

mod code;
mod reliability;

pub use code::sources;
