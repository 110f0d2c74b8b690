//! `reload.watch`: the daemon reloads when a file of its settings changes (I4).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fleet::{File, table};
use crate::support::Platform;

const ON: &str = "[reload]\nwatch = true\n";

/// Writes a file beside its place, and renames it.
fn put(path: &Path, text: &str) {
    let beside = path.with_file_name(".half-written");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

/// A folder of drop-ins appears, and then drop-ins come and go; no signal is sent.
#[tokio::test]
async fn i4_the_fleet_follows_its_folder() {
    let [first, second] = [Platform::installed().await, Platform::installed().await];
    let file = File::new(&(ON.to_owned() + &table("first", &first)));
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    let folder = file.folder.path().join("databases.d");
    fs::create_dir(&folder).unwrap();
    daemon.logged("settings reloaded").await;
    put(&folder.join("second.toml"), &table("second", &second));
    let reloaded = daemon.logged_times("settings reloaded", 2).await.remove(1);
    assert_eq!(reloaded["added"], "second");
    daemon.logged_times("caught up", 2).await;
    fs::remove_file(folder.join("second.toml")).unwrap();
    let reloaded = daemon.logged_times("settings reloaded", 3).await.remove(2);
    assert_eq!(reloaded["removed"], "second");
}

/// A folder whose contents are behind a symbolic link, which is swapped, as in Kubernetes.
#[tokio::test]
async fn i4_a_swapped_link_is_a_change() {
    let [first, second] = [Platform::installed().await, Platform::installed().await];
    let file = File::new("");
    let folder = file.folder.path();
    let text = ON.to_owned() + &table("first", &first);
    for (version, text) in [
        ("..1", text.clone()),
        ("..2", text + &table("second", &second)),
    ] {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("agent-sync.toml"), text).unwrap();
    }
    fs::remove_file(file.path()).unwrap();
    symlink("..1", folder.join("..data")).unwrap();
    symlink("..data/agent-sync.toml", file.path()).unwrap();
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    symlink("..2", folder.join("..tmp")).unwrap();
    fs::rename(folder.join("..tmp"), folder.join("..data")).unwrap();
    let reloaded = daemon.logged("settings reloaded").await;
    assert_eq!(reloaded["added"], "second");
}

/// GIVEN something in the folder changes again and again, and others read the folder, THEN a change
/// of the settings is seen all the same.
#[tokio::test]
async fn i4_a_busy_folder_keeps_no_change_away() {
    let [first, second] = [Platform::installed().await, Platform::installed().await];
    let file = File::new(&(ON.to_owned() + &table("first", &first)));
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    let (folder, busy) = (
        file.folder.path().to_owned(),
        Arc::new(AtomicBool::new(true)),
    );
    let goes_on = Arc::clone(&busy);
    let thread = std::thread::spawn(move || {
        while goes_on.load(Ordering::Relaxed) {
            fs::write(folder.join("notes"), "x").unwrap();
            assert!(fs::read_dir(&folder).unwrap().count() > 0);
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    put(
        &file.path(),
        &(ON.to_owned() + &table("first", &first) + &table("second", &second)),
    );
    let reloaded = daemon.logged("settings reloaded").await;
    assert_eq!(reloaded["added"], "second");
    busy.store(false, Ordering::Relaxed);
    thread.join().unwrap();
}

/// A file with a mistake changes nothing, and is told once; its correction is taken up. A file that
/// a setting names counts as well.
#[tokio::test]
async fn i4_a_file_with_a_mistake_changes_nothing() {
    let platform = Platform::installed().await;
    let rules = "[settings]\ntemperature = { type = \"number\" }\n[llm]\nprovider_from = \
        [\"llm_provider\"]\n[llm.other]\nfields = { model = \"llm_model\" }\n";
    let text = table("main", &platform) + "[rules]\nfile = 'rules.toml'\n";
    let file = File::new(&(ON.to_owned() + &text));
    let rules_file = file.folder.path().join("rules.toml");
    fs::write(&rules_file, rules).unwrap();
    let daemon = file.daemon();
    daemon.logged("caught up").await;
    put(&file.path(), &(ON.to_owned() + &text + "nonsense = 1\n"));
    let refused = daemon.logged("reload refused").await;
    assert!(
        refused["reason"].as_str().unwrap().contains("nonsense"),
        "{refused}"
    );
    put(&file.path(), &(ON.to_owned() + &text));
    daemon.logged("settings reloaded").await;
    assert_eq!(daemon.lines("reload refused").len(), 1);
    put(&rules_file, &rules.replace("llm_model", "model"));
    let reloaded = daemon.logged_times("settings reloaded", 2).await.remove(1);
    assert_eq!(reloaded["rules_changed"], true);
}
