//! The status page in a real browser (I8, G11). Without a browser, the test prints that and passes.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::http::{address, command, get, metric_becomes, serving, status};
use crate::support::platform::{EXAMPLE, EXPECTED};
use crate::support::{Daemon, Platform, Said, eventually};

/// The page at this path in a browser after a few seconds, and the browser's errors.
fn browse(address: SocketAddr, path: &str) -> Option<(String, String)> {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}{path}"))
        .stdin(Stdio::null());
    match command.output() {
        Ok(output) => {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let complaints = text(&output.stderr)
                .lines()
                .filter(|line| line.contains("CONSOLE"))
                .collect();
            Some((text(&output.stdout), complaints))
        }
        Err(error) => {
            eprintln!(
                "skipped: no browser can be run ({error}); on Debian it is in the package chromium"
            );
            None
        }
    }
}

/// Like [`browse`], without errors of the browser and without the places where a name may be broken.
async fn page(address: SocketAddr, path: &'static str) -> Option<String> {
    let browsed = tokio::task::spawn_blocking(move || browse(address, path));
    let (page, complaints) = browsed.await.unwrap()?;
    assert_eq!(
        complaints, "",
        "the policy lets the page do all that it does"
    );
    Some(page.replace("<wbr>", ""))
}

/// The markup inside of an element, up to its end.
fn inside<'a>(page: &'a str, id: &str) -> &'a str {
    let at = page
        .find(&format!("id=\"{id}\""))
        .unwrap_or_else(|| panic!("no {id} in {page}"));
    let tag = &page[page[..at].rfind('<').unwrap() + 1..];
    let tag = tag.split_once(' ').unwrap().0;
    let (_, rest) = page[at..].split_once('>').unwrap();
    let mut depth = 1;
    for (place, _) in rest.match_indices('<') {
        let found = &rest[place + 1..];
        let (ends, name) = match found.strip_prefix('/') {
            Some(name) => (true, name),
            None => (false, found),
        };
        let is_same = name
            .strip_prefix(tag)
            .is_some_and(|after| after.starts_with([' ', '>']));
        depth += match (is_same, ends) {
            (true, false) => 1,
            (true, true) => -1,
            (false, _) => 0,
        };
        if depth == 0 {
            return &rest[..place];
        }
    }
    panic!("no end of {id} in {page}")
}

/// The page shows the agents out of sync and runs no code in a slug.
#[tokio::test]
async fn the_page_runs_nothing_that_a_slug_holds() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.configure("reception").await;
    platform.save("reception", EXAMPLE).await;
    let problems = |kind: &str, count| {
        (
            format!("agent_sync_problems{{database=\"default\",kind=\"{kind}\"}}"),
            count,
        )
    };
    platform
        .save("<img src=x onerror=document.title='owned'>", EXAMPLE)
        .await;
    platform.configure("bad").await;
    platform.save("bad", r#"{"temperature": 9}"#).await;
    for (series, count) in [
        problems("missing_configuration", 1.0),
        problems("rejected", 1.0),
    ] {
        metric_becomes(address, &series, count).await;
    }
    eventually("nothing is pending", async || {
        get(address, "/readyz").await.1 == "default: ready (ok)\n"
    })
    .await;
    let Some(page) = page(address, "/").await else {
        return;
    };
    assert_eq!(inside(&page, "verdict"), "2 agents are not in sync.");
    let databases = inside(&page, "databases");
    assert!(
        databases.contains(">ok, but 2 agents not in sync<"),
        "{databases}"
    );
    let problems = inside(&page, "problems");
    for text in [
        "&lt;img src=x onerror=document.title='owned'&gt;",
        "No configuration has this slug",
        "Rejected: voice_settings.temperature: expected a number from 0 to 2",
        "Correct the values that the reason names.",
        "<code>INSERT INTO public.agent_configurations (agent_slug, provider_config) VALUES (",
    ] {
        assert!(problems.contains(text), "{text} in {problems}");
    }
    let changes = inside(&page, "changes");
    assert!(
        changes.contains("reception") && changes.contains("provider_config"),
        "{changes}"
    );
    assert!(page.contains("<title>• agent-sync</title>"), "{page}");
    for text in [
        "aria-label=\"Agents since the daemon began: ",
        ">Since the daemon began, at most ",
        "aria-label=\"From a save to its configuration since the daemon began: half within",
        "<title>before the daemon began</title>",
    ] {
        assert!(databases.contains(text), "{text} in {databases}");
    }
    for text in ["Last hour", "last hour"] {
        assert!(!databases.contains(text), "{text} in {databases}");
    }
    assert!(
        !page.contains("test-voice-123"),
        "no value of a row is shown"
    );
}

/// G17: configurations that an audit found to differ are in the headline, beside no problem.
#[tokio::test]
async fn g17_the_page_is_not_green_while_configurations_differ() {
    let platform = Platform::installed().await;
    for slug in ["a", "b", "c"] {
        platform.configure(slug).await;
        platform.save(slug, EXAMPLE).await;
    }
    let mut command = command(&platform);
    command.env("AGENT_SYNC__AUDIT__INTERVAL", "1s");
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    daemon.logged("caught up").await;
    platform.becomes("c", EXPECTED).await;
    platform.drained().await;
    platform
        .run(
            "UPDATE agent_configurations SET provider_config = jsonb_set(provider_config, \
             '{llm,model}', '\"other\"') WHERE agent_slug <> 'a'",
        )
        .await;
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 2.0).await;
    let Some(page) = page(address, "/").await else {
        return;
    };
    let verdict = inside(&page, "verdict");
    assert_eq!(verdict, "2 configurations differ from their agents.");
    assert!(page.contains("<title>• agent-sync</title>"), "{page}");
    let databases = inside(&page, "databases");
    for text in [
        "ok, but 2 configurations differ<",
        "<span class=\"fair\">2</span><small>not in sync</small>",
    ] {
        assert!(databases.contains(text), "{text} in {databases}");
    }
    let none = inside(&page, "problems-none");
    assert!(
        none.starts_with("No agent has a problem. 2 configurations differ by the last audit: <"),
        "{none}"
    );
}

/// A daemon that has just begun tells nothing about the time before.
#[tokio::test]
async fn a_page_of_a_new_daemon_tells_since_when_nothing_was_saved() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let Some(page) = page(address, "/").await else {
        return;
    };
    let databases = inside(&page, "databases");
    assert!(
        databases.contains("This daemon has met no save since it began."),
        "{databases}"
    );
    assert_eq!(
        inside(&page, "changes-none"),
        "This daemon has written nothing since it began."
    );
}

/// A daemon that stands by tells nothing about saves, which the leader knows; nor does one whose
/// database is paused.
#[tokio::test]
async fn a_page_without_lead_says_nothing_of_saves() {
    let platform = Platform::installed().await;
    let (_leader, _) = serving(&platform).await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    platform.becomes("a", EXPECTED).await;
    let standby = Daemon::start(command(&platform));
    standby.logged("another daemon leads").await;
    let address = address(&standby).await;
    eventually("it has looked at the leader", async || {
        status(address).await["led_by"].is_object()
    })
    .await;
    let Some(page_of_standby) = page(address, "/").await else {
        return;
    };
    let said = platform.says(&["pause"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    eventually("the pause is seen", async || {
        get(address, "/readyz").await.1 == "default: ready (paused)\n"
    })
    .await;
    let shown = inside(&page_of_standby, "databases");
    assert!(
        shown.contains("<dt>Led by</dt><dd>local/") && shown.contains("<dt>State</dt><dd>standby "),
        "{shown}"
    );
    let page_of_pause = page(address, "/").await.unwrap();
    for (page, sentence, others) in [
        (
            page_of_standby,
            "What was saved is known to the daemon that leads.",
            " A daemon that leads lists its changes on its own page.",
        ),
        (
            page_of_pause,
            "Saves are noted, and applied after the pause.",
            "",
        ),
    ] {
        let databases = inside(&page, "databases");
        assert!(databases.contains(sentence), "{databases}");
        for claim in ["Nothing was saved", "no save"] {
            assert!(!databases.contains(claim), "{claim} in {databases}");
        }
        let none = inside(&page, "changes-none");
        let written = "This daemon has written nothing since it began.";
        assert_eq!(none, format!("{written}{others}"));
    }
}

/// The page of an agent asks for the history only where it is off.
#[tokio::test]
async fn i8_the_page_of_an_agent_says_whether_writes_are_noted() {
    let platform = Platform::new().await;
    platform.save("lonely", EXAMPLE).await;
    for (enabled, sentence) in [
        (true, "No write is noted.</p>"),
        (
            false,
            "No write is noted. The setting history.enabled = true notes each one, with its \
            cause.</p>",
        ),
    ] {
        let with = |mut command: Command| {
            command.env("AGENT_SYNC__HISTORY__ENABLED", enabled.to_string());
            command
        };
        let said = Said::of(with(platform.command(&["install"]))).await;
        assert_eq!(said.code, 0, "{said:?}");
        let daemon = Daemon::start(with(command(&platform)));
        let address = address(&daemon).await;
        daemon.logged("caught up").await;
        let (_, body) = get(address, "/agents/default/lonely").await;
        let told: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(told["agents"][0]["history_enabled"], enabled, "{body}");
        let Some(page) = page(address, "/agents/default/lonely").await else {
            return;
        };
        let agent = inside(&page, "agents");
        assert!(agent.contains(sentence), "{agent}");
        assert!(daemon.terminate().await.success());
    }
}
