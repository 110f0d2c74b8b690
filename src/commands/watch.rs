//! Watches the files of the settings for `run` (`reload.watch`).
//!
//! The kernel reports changes of a folder, so files that are replaced by a rename are seen, and so
//! are those behind a symbolic link that is swapped, as Kubernetes does. A report is a hint: after
//! it, the files are compared with their state before. Nothing is read here.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::warn;

use crate::settings::drop_in_directory;

/// A change counts when nothing further has changed for this time.
const QUIET: Duration = Duration::from_millis(500);

/// The longest wait for that.
const LONGEST: Duration = Duration::from_secs(5);

/// The files that are read on a reload.
#[derive(Debug, Clone, Default)]
pub(super) struct Files {
    /// The settings file; `databases.d` is beside it.
    pub(super) main: Option<PathBuf>,
    /// The files that settings name.
    pub(super) named: Vec<PathBuf>,
}

/// Which version of a file there is: device, inode, size and time of the last change; None for
/// none.
type Version = Option<(u64, u64, u64, i64, i64)>;

/// The versions of the files, and of those in `databases.d`.
type Versions = Vec<(PathBuf, Version)>;

/// The running watch.
pub(super) struct Watch {
    files: Files,
    versions: Versions,
    /// The watcher of the folders; None while the setting is off, or without a watcher.
    watcher: Option<RecommendedWatcher>,
    hints: mpsc::Receiver<()>,
    hint: mpsc::Sender<()>,
    /// When the first hint came of those that have not been followed yet.
    due_since: Option<Instant>,
}

impl Watch {
    /// Watches these files, if `on`.
    pub(super) fn start(files: Files, on: bool) -> Self {
        // One hint stands for any number of changes.
        let (hint, hints) = mpsc::channel(1);
        let mut watch = Self {
            files: Files::default(),
            versions: Vec::new(),
            watcher: None,
            hints,
            hint,
            due_since: None,
        };
        watch.follow(files, on);
        watch.versions = watch.files.versions();
        watch
    }

    /// Watches these files from now on, if `on`. A file that has changed since the last look,
    /// perhaps while it was being read, is found by the next one.
    pub(super) fn follow(&mut self, files: Files, on: bool) {
        self.files = files;
        self.watcher = None;
        if !on {
            return;
        }
        let hint = self.hint.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if !event.is_ok_and(|event| is_reading(event.kind)) {
                let _ = hint.try_send(());
            }
        });
        let told = "the files of the settings cannot be watched";
        let remedy = "Reload with SIGHUP (`systemctl reload agent-sync`) after a change.";
        match watcher {
            Ok(mut watcher) => {
                for folder in self.files.folders() {
                    if let Err(cause) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
                        warn!(folder = %folder.display(), %cause, remedy, "{told}");
                    }
                }
                self.watcher = Some(watcher);
            }
            Err(cause) => warn!(%cause, remedy, "{told}"),
        }
        // What has changed before the watch began has given no hint.
        self.due_since = Some(Instant::now());
    }

    /// Waits until a file has changed. May be dropped and called again at any time.
    pub(super) async fn changed(&mut self) {
        loop {
            let since = if let Some(since) = self.due_since {
                since
            } else {
                // The watch holds a sender itself, so the channel never closes.
                let _ = self.hints.recv().await;
                *self.due_since.insert(Instant::now())
            };
            // The start outlasts this call, which the daemon drops more often than that.
            while since.elapsed() < LONGEST && timeout(QUIET, self.hints.recv()).await.is_ok() {}
            let files = self.files.clone();
            // On a blocking thread, because a slow disk must not hold up the databases.
            let versions = tokio::task::spawn_blocking(move || files.versions()).await;
            self.due_since = None;
            if let Ok(versions) = versions
                && versions != self.versions
            {
                self.versions = versions;
                return;
            }
        }
    }
}

/// Whether somebody has only read, as others may do without end.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

impl Files {
    fn drop_ins(&self) -> Option<PathBuf> {
        self.main.as_deref().map(drop_in_directory)
    }

    /// The folders of the files. A missing `databases.d` appears in the folder of the settings
    /// file.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let files = self.main.iter().chain(&self.named);
        let folders = files.filter_map(|file| file.parent()).map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        });
        let drop_ins = self.drop_ins().filter(|folder| folder.is_dir());
        folders.map(Path::to_owned).chain(drop_ins).collect()
    }

    fn versions(&self) -> Versions {
        let mut paths: Vec<PathBuf> = self.main.iter().chain(&self.named).cloned().collect();
        if let Some(folder) = self.drop_ins() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut drop_ins: Vec<_> = entries.map(|entry| entry.path()).collect();
            drop_ins.sort();
            paths.extend(drop_ins);
            // A folder that has just been made is to be watched, although it is empty.
            paths.push(folder);
        }
        let versioned = paths.into_iter().map(|path| {
            let version = version(&path);
            (path, version)
        });
        versioned.collect()
    }
}

/// The version of the file behind all symbolic links.
fn version(path: &Path) -> Version {
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.size(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}
