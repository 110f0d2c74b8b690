//! The files that are shipped beside the program agree with it.
//!
//! - `metrics`: the alert rules and the dashboard; `reference`: the metrics reference.
//! - `kubernetes`: the manifests, against the schemas of Kubernetes.
//! - `units`: the unit files, the image and the package, against each other and the program.

mod kubernetes;
mod metrics;
mod reference;
mod units;

use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
