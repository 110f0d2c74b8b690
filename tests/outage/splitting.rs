//! A proxy that has a standby answer what only reads (G10): the answer does not show what was
//! missed on the primary, so it is refused.

use agent_sync_testbed::Cluster;

use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::splitting::SplittingProxy;
use crate::support::{Daemon, Platform, Said, eventually};

/// A platform with a standby and a proxy in front of both, with one agent; `None` where no standby
/// can be made.
async fn behind_a_proxy() -> Option<(Cluster, Cluster, Platform, SplittingProxy)> {
    let (primary, platform) = Platform::on_own_server("").await;
    let standby = crate::support::standby(&primary)?;
    platform.install();
    platform.save("a", EXAMPLE).await;
    platform.configure("a").await;
    let proxy = SplittingProxy::start(&primary, &standby).await;
    let url = standby.url(platform.name());
    eventually("the standby has the agent", async || {
        let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await
        else {
            return false;
        };
        tokio::spawn(connection);
        client.query_one("SELECT 1 FROM agents", &[]).await.is_ok()
    })
    .await;
    Some((primary, standby, platform, proxy))
}

/// A command through the proxy.
async fn says(platform: &Platform, proxy: &SplittingProxy, arguments: &[&str]) -> Said {
    let mut command = platform.command(arguments);
    command.env("DATABASE_URL", proxy.url(platform.name()));
    Said::of(command).await
}

/// A daemon through the proxy, which tries again at once and sweeps often.
fn daemon(platform: &Platform, proxy: &SplittingProxy) -> Daemon {
    let mut command = platform.command(&["run"]);
    command
        .env("DATABASE_URL", proxy.url(platform.name()))
        .env("AGENT_SYNC__SYNC__SWEEP_INTERVAL", "1s")
        .env("AGENT_SYNC__RECONNECT__MAX_DELAY", "200ms");
    Daemon::start(command)
}

#[tokio::test]
async fn g10_a_proxy_that_splits_reads_is_refused_at_once() {
    let Some((_primary, _standby, platform, proxy)) = behind_a_proxy().await else {
        return;
    };
    proxy.split();
    let daemon = daemon(&platform, &proxy);
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    let (cause, remedy) = (line["cause"].to_string(), line["remedy"].to_string());
    assert!(cause.contains("every answer from the primary"), "{cause}");
    assert!(remedy.contains("address of the primary"), "{remedy}");
    for arguments in [
        &["status"][..],
        &["doctor"],
        &["check"],
        &["wait", "--timeout", "5s"],
        &["reconcile", "--all", "--yes"],
        &["pause"],
        &["why", "a"],
    ] {
        let said = says(&platform, &proxy, arguments).await;
        let told = format!("{}{}", said.out, said.err);
        assert_ne!(said.code, 0, "{arguments:?}: {told}");
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            told.contains("every answer from the primary"),
            "{arguments:?}: {told}"
        );
    }
    assert!(daemon.lines("connected and leading").is_empty());
}

#[tokio::test]
async fn g10_a_proxy_that_begins_to_split_is_refused_by_the_sweep() {
    let Some((_primary, _standby, platform, proxy)) = behind_a_proxy().await else {
        return;
    };
    let daemon = daemon(&platform, &proxy);
    daemon.logged("caught up").await;
    platform.becomes("a", EXPECTED).await;
    proxy.split();
    let line = daemon
        .logged("the daemon cannot work in the database")
        .await;
    let cause = line["cause"].to_string();
    assert!(cause.contains("every answer from the primary"), "{line}");
}
