//! Sets `AGENT_SYNC_VERSION`: the version, and the commit of the build if it is known.
//!
//! The commit is `AGENT_SYNC_COMMIT` if that is set, as in an image or a package; otherwise a
//! release build asks git. Other builds do not, because then every commit would rebuild everything;
//! they name themselves a debug build.
#![allow(clippy::print_stdout, reason = "the interface of a build script")]

use std::process::Command;

/// The number of digits that identify a commit.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=AGENT_SYNC_COMMIT");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_release = variable("PROFILE").as_deref() == Some("release");
    let commit = variable("AGENT_SYNC_COMMIT").or_else(|| is_release.then(of_git).flatten());
    let version = variable("CARGO_PKG_VERSION").unwrap_or_default();
    let version = match commit {
        Some(commit) => format!(
            "{version} ({})",
            commit.chars().take(DIGITS).collect::<String>()
        ),
        None if is_release => version,
        None => format!("{version} (debug build)"),
    };
    println!("cargo::rustc-env=AGENT_SYNC_VERSION={version}");
}

/// The commit of the checkout; `None` outside of a checkout or with uncommitted changes.
fn of_git() -> Option<String> {
    for file in ["HEAD", "logs/HEAD"] {
        // The log of HEAD changes with every commit, wherever git stores the branch.
        println!(
            "cargo::rerun-if-changed={}",
            git(&["rev-parse", "--git-path", file])?
        );
    }
    let commit = git(&["rev-parse", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    // A build with uncommitted changes is not a build of the commit.
    is_clean.then_some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
