//! The metrics reference, the alert rules and the dashboard name existing metrics (I8).

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{path, read};
use crate::support::http::{address, command, get, metric_becomes};
use crate::support::platform::EXAMPLE;
use crate::support::{Daemon, Platform};

const RULES: &str = "packaging/prometheus/agent-sync.rules.yaml";
const DASHBOARD: &str = "packaging/grafana/agent-sync.json";

/// The names of metrics in a text; the series of a histogram count as its name.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let names = words.filter(|word| {
        ["agent_sync_", "process_"]
            .iter()
            .any(|start| word.starts_with(start))
    });
    names
        .map(|name| {
            let part = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part));
            part.unwrap_or(name).to_owned()
        })
        .collect()
}

/// Every query of the dashboard.
fn queries(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields
                .get("expr")
                .and_then(Value::as_str)
                .map(str::to_owned);
            own.into_iter()
                .chain(fields.values().flat_map(queries))
                .collect()
        }
        Value::Array(items) => items.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// Every metric of the alerts, the dashboard and the reference exists in a real scrape.
#[tokio::test]
async fn every_named_metric_exists_in_a_real_scrape() {
    let platform = Platform::installed().await;
    let rules = tempfile::tempdir().unwrap();
    let file = rules.path().join("rules.toml");
    std::fs::write(&file, read("config/providers.toml")).unwrap();
    let mut command = command(&platform);
    command.env("AGENT_SYNC__RULES__FILE", &file);
    let daemon = Daemon::start(command);
    let address = address(&daemon).await;
    daemon.logged("caught up").await;
    platform.configure("a").await;
    platform.save("a", EXAMPLE).await;
    metric_becomes(
        address,
        "agent_sync_agents_total{database=\"default\",result=\"synced\"}",
        1.0,
    )
    .await;
    // The drift metrics exist after a change of the rules.
    std::fs::write(
        &file,
        read("config/providers.toml").replace("nova-2", "nova-3"),
    )
    .unwrap();
    daemon.signal("HUP");
    metric_becomes(address, "agent_sync_drifted{database=\"default\"}", 1.0).await;
    // The outbox metrics exist after the first reading of the backlog.
    metric_becomes(address, "agent_sync_outbox_rows{database=\"default\"}", 0.0).await;
    let scrape = get(address, "/metrics").await.1;
    let samples: String = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    let scraped = named(&samples);
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    // In the rules, a name in a sentence has to exist as well.
    for (file, names) in [
        (DASHBOARD, named(&queries(&dashboard).join("\n"))),
        (RULES, named(&read(RULES))),
        ("docs/metrics.md", named(&read("docs/metrics.md"))),
    ] {
        assert!(names.len() > 5, "{file}: {names:?}");
        let tables = ["agent_sync_problem".to_owned()];
        let unknown: Vec<_> = names
            .difference(&scraped)
            .filter(|name| !tables.contains(name))
            .collect();
        assert!(
            unknown.is_empty(),
            "{file} names what no daemon tells: {unknown:?}"
        );
    }
    let told = |line: &&str| {
        named(line)
            .iter()
            .next()
            .is_some_and(|name| scraped.contains(name))
    };
    let types: Vec<_> = scrape
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    assert_eq!(
        types.iter().filter(|line| !told(line)).collect::<Vec<_>>(),
        Vec::<&&str>::new()
    );
    let Some(output) = promtool(&["check", "metrics"], &scrape) else {
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The alerts fire under their conditions, and the queries of the dashboard are valid.
#[test]
fn the_alerts_fire_and_the_dashboard_queries_are_valid() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 15);
    // Grafana fills in its variables; promtool can only check recording rules.
    let rules: Vec<_> = queries
        .iter()
        .map(|query| {
            query
                .replace("$__rate_interval", "5m")
                .replace("$database", ".*")
        })
        .map(|query| format!("      - {{ record: x, expr: {} }}\n", Value::from(query)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("dashboard.yaml");
    std::fs::write(
        &file,
        format!(
            "groups:\n  - name: dashboard\n    rules:\n{}",
            rules.concat()
        ),
    )
    .unwrap();
    let (rules, tests) = (
        path(RULES),
        path("packaging/prometheus/agent-sync.rules.test.yaml"),
    );
    for (words, file) in [
        (["check", "rules"], &rules),
        (["test", "rules"], &tests),
        (["check", "rules"], &file),
    ] {
        let Some(output) = promtool(&[words[0], words[1], file.to_str().unwrap()], "") else {
            return;
        };
        let text = [output.stdout, output.stderr]
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .concat();
        // Equal names of the recording rules cause a remark and no error.
        let remark = text.contains("duplicate rule(s) found") && !text.contains("FAILED");
        assert!(
            output.status.success() || remark,
            "{words:?} {}: {text}",
            file.display()
        );
    }
}

/// Runs promtool; `None` if it is not installed.
fn promtool(arguments: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!(
                "skipped: promtool cannot be run ({error}); on Debian it is in the package \
                prometheus"
            );
            return None;
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    Some(child.wait_with_output().unwrap())
}
