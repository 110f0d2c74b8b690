//! The verbs of the command line (I1), one short file each: settings in, work done, exit code out.

pub mod config;
