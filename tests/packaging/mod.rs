//! What ships beside the program keeps in step with it.
//!
//! - `metrics`: the metrics reference, the alert rules, the dashboard.
//! - `kubernetes`: the manifests, against the schemas of Kubernetes.
//! - `units`: what the unit files, the image and the package say of one another, and of the
//!   program.

mod kubernetes;
mod metrics;
mod units;

use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}
