//! The documentation agrees with the code and the tests.

mod code;
mod reliability;
mod statements;
mod states;

pub use code::sources;
