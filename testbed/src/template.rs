//! The data directory of a new cluster, kept for the next one: a copy takes less time than initdb.
//! It is in the build directory (`target/tmp`), one for each server and user. Where the user of the
//! server cannot read that directory, initdb runs for every cluster.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the data directory for these server programs is kept. The name has all that it depends on.
/// None outside of a build directory.
pub(crate) fn path(binaries: &Path, user: Option<(u32, u32)>) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())?;
    let server = binaries.join("postgres").metadata().ok()?;
    let (bytes, time) = (server.len(), server.mtime());
    let user = user.map_or_else(|| "own".to_owned(), |(uid, _)| uid.to_string());
    let programs = binaries.to_str()?.replace('/', "-");
    let name = format!("initdb{programs}-{bytes}-{time}-{user}");
    Some(target.join("tmp").join(name))
}

/// Keeps a copy of a data directory as the template. It is made beside its place and renamed, so
/// that no other process sees a part of it. An error only means that the next cluster runs initdb.
pub(crate) fn keep(data: &Path, template: &Path) {
    let beside = template.with_extension(std::process::id().to_string());
    let parent = template.parent().map(fs::create_dir_all);
    if !matches!(parent, Some(Ok(()))) || !copy_folder(data, &beside) {
        let _ = fs::remove_dir_all(&beside);
    } else if fs::rename(&beside, template).is_err() {
        let _ = fs::remove_dir_all(&beside); // Another process was first.
    }
}

fn copy_folder(from: &Path, to: &Path) -> bool {
    let mut cp = Command::new("cp");
    cp.arg("-a").arg(from).arg(to);
    cp.stdin(Stdio::null());
    cp.stdout(Stdio::null());
    cp.stderr(Stdio::null());
    cp.status().is_ok_and(|status| status.success())
}
