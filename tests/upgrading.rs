//! Programs and schemas of different versions (I6): each says what to do, nothing is lost, and what can heal heals by itself.
//!
//! The numbered files of `sql/` are the versions that there have been. Where there is but one, what is older than it has the
//! number 0 and is otherwise the same.

use std::path::Path;

use agent_sync::install::VERSION;

use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// A platform with the schema of the version before this one.
async fn with_the_version_before() -> Platform {
    let platform = Platform::new().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql");
    let mut steps: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    steps.retain(|path| path.file_name().unwrap().as_encoded_bytes()[0].is_ascii_digit());
    steps.sort();
    assert_eq!(steps.len(), usize::try_from(VERSION).unwrap(), "every version has its file");
    steps.truncate((steps.len() - 1).max(1));
    steps.push(folder.join("attach.sql"));
    for step in steps {
        platform.run(&std::fs::read_to_string(step).unwrap()).await;
    }
    if VERSION == 1 {
        set_version(&platform, 0).await;
    }
    platform
}

/// What `agent-sync install` of this version does to it.
async fn upgrade(platform: &Platform) {
    platform.install();
    if VERSION == 1 {
        set_version(platform, 1).await;
    }
}

async fn set_version(platform: &Platform, version: i32) {
    platform.run(&format!("UPDATE agent_sync.install SET version = {version}")).await;
}

/// A daemon that sweeps often, so that it soon sees what is installed.
fn watchful(platform: &Platform) -> Daemon {
    let mut command = platform.command(&["run"]);
    command.env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s").env("AGENT_SYNC__RECONNECT__MAX_DELAY", "1s");
    Daemon::start(command)
}

async fn synced(platform: &Platform, slug: &str) {
    platform
        .holds(&format!(
            "SELECT provider_config <> '{{}}' FROM agent_configurations WHERE agent_slug = '{slug}'"
        ))
        .await;
}

fn told(line: &serde_json::Value) -> [&str; 2] {
    ["cause", "remedy"].map(|field| line[field].as_str().unwrap())
}

#[tokio::test]
async fn i6_a_daemon_that_meets_an_older_schema_says_so_and_goes_on_once_it_is_upgraded() {
    let platform = with_the_version_before().await;
    platform.configure("before").await;
    platform.save("before", EXAMPLE).await;
    let daemon = watchful(&platform);
    let lost = daemon.logged("database unavailable").await;
    let found = VERSION - 1;
    assert_eq!(
        told(&lost),
        [
            &*format!(
                "the installed schema has version {found}, and this program works with version {VERSION}"
            ),
            "Run `agent-sync install` of this program's version for this database."
        ]
    );
    platform.configure("meanwhile").await;
    platform.save("meanwhile", EXAMPLE).await;
    upgrade(&platform).await;
    synced(&platform, "before").await;
    synced(&platform, "meanwhile").await;
    assert_eq!(daemon.lines("agent-sync starts").len(), 1);
    assert_eq!(platform.value::<i32>("SELECT version FROM agent_sync.install").await, VERSION);
}

#[tokio::test]
async fn i6_a_running_daemon_that_meets_a_newer_schema_says_so_lets_go_and_goes_on_when_it_fits_again() {
    let platform = Platform::installed().await;
    let daemon = watchful(&platform);
    daemon.logged("caught up").await;
    set_version(&platform, VERSION + 1).await;
    let lost = daemon.logged("database unavailable").await;
    let found = VERSION + 1;
    assert_eq!(
        told(&lost),
        [
            &*format!(
                "the installed schema has version {found}, and this program works with version {VERSION}"
            ),
            "Run the version of agent-sync that installed it, or a later one."
        ]
    );
    // A daemon of the newer version can lead: nobody holds the lock.
    let free = "SELECT pg_try_advisory_xact_lock(1634169721, 1)";
    crate::support::eventually("it lets go", async || platform.value::<bool>(free).await).await;
    platform.configure("meanwhile").await;
    platform.save("meanwhile", EXAMPLE).await;
    set_version(&platform, VERSION).await;
    synced(&platform, "meanwhile").await;
    daemon.logged("database available again").await;
    assert_eq!(daemon.lines("agent-sync starts").len(), 1);
}

#[tokio::test]
async fn i6_an_older_program_does_not_install_over_a_newer_schema() {
    let platform = Platform::installed().await;
    set_version(&platform, VERSION + 1).await;
    // What a later attach.sql has made, and this one would make anew.
    platform.run("DROP TRIGGER agent_sync_update ON agents").await;
    let said = platform.says(&["install"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let found = VERSION + 1;
    let reason =
        format!("the installed schema has version {found}, and this program works with version {VERSION}");
    assert!(said.err.contains(&reason) && said.err.contains("nothing was changed"), "{said:?}");
    assert!(
        said.err.contains("try: Run the install of the version of agent-sync that installed it"),
        "{said:?}"
    );
    let made = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'agents'::regclass AND tgname = 'agent_sync_update')";
    assert!(!platform.value::<bool>(made).await, "nothing was changed");
    let printed = platform.says(&["install", "--print"]).await.out;
    let error = platform.client.batch_execute(&printed).await.unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains(&reason), "{error:?}");
}
