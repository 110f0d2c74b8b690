//! The documentation agrees with the code and the tests.

mod code;
mod reliability;
mod statements;

pub use code::sources;
