//! The documentation agrees with the code and with the tests.

mod code;
mod reliability;

pub use code::sources;
