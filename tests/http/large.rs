//! The page of a large agent (G12, G5): the daemon needs little memory for it, and answers its
//! probes meanwhile.

use std::net::SocketAddr;

use serde_json::Value;

use crate::support::http::{get, raw, serving};
use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

/// The most memory of a daemon with one small database and a page, in KiB.
const MOST_KIB: u64 = 96 * 1024;

/// The most bytes of a page. A character that must not reach a terminal takes six.
const LONGEST: usize = 6 * 1024 * 1024;

/// A daemon that serves pages and applies nothing, so that its memory is that of the pages.
async fn paused() -> (Platform, Daemon, SocketAddr) {
    let platform = Platform::installed().await;
    let (daemon, address) = serving(&platform).await;
    platform.drained().await;
    let said = platform.says(&["pause"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    (platform, daemon, address)
}

async fn page(address: SocketAddr, slug: &str) -> Value {
    let (status, body) = get(address, &format!("/agents/default/{slug}")).await;
    assert_eq!(status, 200, "{slug}: {body:.300}");
    assert!(body.len() < LONGEST, "{slug}: {} bytes", body.len());
    let page: Value = serde_json::from_str(&body).unwrap();
    page["agents"][0].clone()
}

/// What the sentences on the left out parts say.
fn left_out(agent: &Value) -> String {
    agent["left_out"].to_string()
}

/// GIVEN agents that weigh more than a page reads, by any column and with any number of
/// configurations, WHEN a client asks for their pages, THEN each says so, and the daemon needs
/// little memory.
#[tokio::test]
async fn g12_an_agent_that_is_too_large_for_a_page_is_not_read() {
    let (platform, daemon, address) = paused().await;
    let settings = "jsonb_build_object('provider', 'openai', 'llm_model', ";
    for (slug, columns, values, configurations, their) in [
        (
            "escaped",
            "voice_settings",
            format!("{settings}repeat(chr(133), 7900000))"),
            1,
            "NULL",
        ),
        (
            "control",
            "voice_settings",
            format!("{settings}repeat(chr(1), 2700000))"),
            1,
            "NULL",
        ),
        (
            "keys",
            "voice_settings",
            "(SELECT jsonb_object_agg('k' || i, 1) FROM generate_series(1, 240000) i)".to_owned(),
            1,
            "NULL",
        ),
        (
            "texts",
            "name, system_prompt, agent_image",
            "repeat('n', 16000000), repeat('p', 16000000), repeat('i', 16000000)".to_owned(),
            1,
            "NULL",
        ),
        (
            "many",
            "voice_settings",
            format!("{settings}repeat('x', 12000000))"),
            32,
            "NULL",
        ),
        (
            "theirs",
            "name",
            "'n'".to_owned(),
            32,
            "jsonb_build_object('theirs', repeat('x', 16000000))",
        ),
        (
            "name",
            "name",
            "repeat('postgres://', 100000)".to_owned(),
            1,
            "NULL",
        ),
    ] {
        platform
            .run(&format!(
                "INSERT INTO agents (slug, {columns}) SELECT '{slug}', {values};
                 INSERT INTO agent_configurations (agent_slug, provider_config)
                   SELECT '{slug}', {their} FROM generate_series(1, {configurations})"
            ))
            .await;
        let agent = page(address, slug).await;
        assert_eq!(agent["configured"], configurations, "{slug}: {agent}");
        let (said, conclusion) = (left_out(&agent), agent["conclusion"].to_string());
        assert!(said.contains("the values of the agent"), "{slug}: {said}");
        if slug == "texts" {
            assert_eq!(agent["verdict"], "rejected", "{agent}");
            assert!(
                conclusion.contains("expected at most 16777216 bytes"),
                "{conclusion}"
            );
            continue;
        }
        assert_eq!(agent["verdict"], Value::Null, "{slug}: {agent}");
        assert!(
            conclusion.contains("too large to be compared"),
            "{slug}: {conclusion}"
        );
        let (remedy, command) = (
            agent["remedy"].to_string(),
            format!("agent-sync why {slug}"),
        );
        assert!(remedy.contains(&command), "{remedy}");
    }
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
    // A command reads more.
    let said = platform.says(&["why", "--json", "many"]).await;
    assert_eq!(said.object()["verdict"], "pending", "{:.2000}", said.out);
}

/// GIVEN agents that a page reads, with long values, many settings, many configurations and large
/// writes in the history, WHEN a client asks for their pages, THEN each value and each list is cut,
/// and says what is left out.
#[tokio::test]
async fn g12_the_lists_and_values_of_a_page_are_bounded() {
    let (platform, daemon, address) = paused().await;
    platform
        .run(
            "INSERT INTO agents (slug, name, voice_settings) VALUES
               ('keys', 'n', (SELECT jsonb_object_agg('k' || i, 1) FROM generate_series(1, 30000) i)),
               ('long', repeat(chr(133), 200000), jsonb_build_object('provider', 'openai',
                 repeat('k', 90000), 1)),
               ('urls', repeat('postgres://', 40000), '{}'), ('copies', 'n', '{}');
             INSERT INTO agent_configurations (agent_slug, provider_config) VALUES
               ('keys', (SELECT jsonb_object_agg('k' || i, 1) FROM generate_series(1, 10000) i)),
               ('long', '{}'), ('urls', '{}');
             INSERT INTO agent_configurations (agent_slug, voice_id)
               SELECT 'copies', 'v' || i FROM generate_series(1, 2000) i;
             INSERT INTO agent_sync.history (slug, columns, before, after)
               SELECT 'copies', '{provider_config}', jsonb_build_object('x', repeat('x', 16000000)), '{}'
               FROM generate_series(1, 5)",
        )
        .await;
    let agent = page(address, "keys").await;
    assert_eq!(agent["verdict"], "pending", "{:.500}", agent["conclusion"]);
    let said = left_out(&agent);
    for part in ["fields of the agent", "fields of configuration 1"] {
        assert!(said.contains(part), "{said}");
    }
    let agent = page(address, "long").await;
    assert_eq!(agent["verdict"], "pending", "{agent:.500}");
    let name = agent["agent"]["name"].as_str().unwrap();
    assert!(
        name.ends_with("bytes left out)") && name.len() < 4096,
        "{name:.100}"
    );
    let fields = agent["agent"].as_object().unwrap();
    assert!(fields.keys().all(|path| path.len() < 4096));
    let agent = page(address, "urls").await;
    assert!(
        agent["agent"]["name"]
            .as_str()
            .unwrap()
            .starts_with("postgres://postgres://")
    );
    let agent = page(address, "copies").await;
    assert_eq!(agent["verdict"], "pending", "{agent:.500}");
    assert_eq!(agent["differing"].as_array().unwrap().len(), 2000);
    assert_eq!(agent["configurations"].as_array().unwrap().len(), 4);
    let said = left_out(&agent);
    for part in ["1996 more configurations", "which are too large"] {
        assert!(said.replace(',', "").contains(part), "{said:.2000}");
    }
    let peak = daemon.peak_memory_kib();
    assert!(peak < MOST_KIB, "{peak} KiB");
}

/// A browser says that another web site has made a request. It gets neither the page nor its data.
#[tokio::test]
async fn s26_another_web_site_gets_no_page_of_an_agent() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    platform.save("a", EXAMPLE).await;
    for (site, status) in [
        ("none", "200"),
        ("same-origin", "200"),
        ("same-site", "403"),
        ("cross-site", "403"),
    ] {
        for accept in ["text/html", "image/avif,*/*;q=0.8"] {
            let request = format!(
                "GET /agents/default/a HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\
                Sec-Fetch-Site: {site}\r\nConnection: close\r\n\r\n"
            );
            let answer = raw(address, &request).await;
            let head = format!("HTTP/1.1 {status}");
            assert!(answer.starts_with(&head), "{site} {accept}: {answer:.300}");
        }
    }
}
