//! The page of one agent (I8): what `why` says, over HTTP.

use crate::support::Platform;
use crate::support::http::{get, raw, serving};
use crate::support::platform::EXAMPLE;
use serde_json::Value;

/// The page as JSON is what `why --json` says, without prompts and keys, for slugs of any
/// characters.
#[tokio::test]
async fn i8_the_page_of_an_agent_is_what_why_says() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    for (slug, path) in [
        ("reception", "reception"),
        ("a/b ?#ä", "a%2Fb%20%3F%23%C3%A4"),
        ("<b>", "%3Cb%3E"),
    ] {
        platform.configure(slug).await;
        platform.save(slug, EXAMPLE).await;
        platform
            .run(&format!(
                "UPDATE agents SET system_prompt = 'secret prompt' WHERE slug = '{slug}'"
            ))
            .await;
        platform.drained().await;
        let (status, body) = get(address, &format!("/agents/default/{path}")).await;
        assert_eq!(status, 200, "{body}");
        assert!(!body.contains("secret prompt"), "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        let agent = &page["agents"][0];
        assert_eq!(agent["slug"], slug);
        assert_eq!(agent["verdict"], "in_sync");
        assert_eq!(agent["history_enabled"], false, "{body}");
        let said = platform.says(&["why", "--json", "--", slug]).await;
        let told = said.object();
        for member in [
            "agent",
            "configurations",
            "differing",
            "conclusion",
            "problem",
            "history_enabled",
        ] {
            assert_eq!(agent[member], told[member], "{member}");
        }
    }
}

/// An agent, a database or an address that is not there has a status of its own, and a sentence.
#[tokio::test]
async fn i8_what_has_no_page_says_why() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    for (path, status, text) in [
        ("/agents/default/nobody", 404, "has the slug nobody"),
        ("/agents/nowhere/a", 404, "It serves: default"),
        ("/agents/default", 400, "expected /agents/DATABASE/SLUG"),
        (
            "/agents/default/a?tenant=1",
            503,
            "names a tenant, and none are set",
        ),
    ] {
        let (found, body) = get(address, path).await;
        assert_eq!(found, status, "{path}: {body}");
        assert!(body.contains(text), "{path}: {body}");
    }
    platform.run("DROP TABLE agent_configurations").await;
    let (found, body) = get(address, "/agents/default/a").await;
    assert_eq!(found, 503, "{body}");
    assert!(body.contains("try: "), "{body}");
}

/// With tenants, the page has the agent of every tenant, or of the one that is asked for.
#[tokio::test]
async fn i8_a_slug_of_several_tenants_has_one_page() {
    let platform = Platform::with_tenants("integer").await;
    platform.install();
    let (_daemon, address) = serving(&platform).await;
    platform
        .run("INSERT INTO agents (client_id, slug, name) VALUES (1, 'a', 'x'), (2, 'a', 'y')")
        .await;
    let count = async |path: &str| {
        let (status, body) = get(address, path).await;
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).unwrap();
        page["agents"].as_array().unwrap().len()
    };
    assert_eq!(count("/agents/default/a").await, 2);
    assert_eq!(count("/agents/default/a?tenant=2").await, 1);
}

/// A locked table holds the page for its time limit, and the probes not at all.
#[tokio::test]
async fn i8_a_page_that_waits_holds_nothing_else() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let locked = platform.connect().await;
    locked
        .batch_execute("BEGIN; LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let page = tokio::spawn(get_owned(address, "/agents/default/a"));
    platform
        .holds(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND \
            application_name LIKE 'agent-sync why%')",
        )
        .await;
    assert_eq!(get(address, "/livez").await.0, 200);
    assert!(!page.is_finished());
    locked.batch_execute("ROLLBACK").await.unwrap();
    let (status, body) = page.await.unwrap();
    assert!([404, 503].contains(&status), "{status} {body}");
}

async fn get_owned(address: std::net::SocketAddr, path: &'static str) -> (u16, String) {
    get(address, path).await
}

/// A browser gets a document that loads nothing but itself.
#[tokio::test]
async fn i8_a_browser_gets_a_document() {
    let platform = Platform::installed().await;
    let (_daemon, address) = serving(&platform).await;
    let request = "GET /agents/default/<b> HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\
        Connection: close\r\n\r\n";
    let answer = raw(address, &request.replace("<b>", "%3Cb%3E")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("content-security-policy: default-src 'none'"),
        "{answer}"
    );
}
