//! The documentation agrees with the code and the tests.

mod code;
mod order;
mod reliability;
mod statements;
mod states;

pub use code::sources;
