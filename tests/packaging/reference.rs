//! `docs/metrics.md` is generated from the table of metrics. `UPDATE_DOCS=1` writes it.

use std::fmt::Write as _;

use agent_sync::admin::metrics::METRICS;
use agent_sync::observe::histogram::{LATENCY, ROWS};

use super::{path, read};

#[test]
fn the_metrics_reference_is_what_the_code_says() {
    let made = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path("docs/metrics.md"), &made).unwrap();
    }
    assert!(
        read("docs/metrics.md") == made,
        "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo test --locked --test it -- generated \
        packaging writes it"
    );
}

const HEAD: &str = "\
# Metrics

<!-- Generated from the code by `UPDATE_DOCS=1 cargo test --locked --test it -- generated packaging`. -->

The daemon serves them at `/metrics` on `admin.listen`, in the text format of Prometheus:

```yaml
scrape_configs:
  - job_name: agent-sync
    static_configs:
      - targets: [\"127.0.0.1:9878\"]
```

`database` is the name that the settings give a database. No metric holds a slug, because there may
be a million of them: `/status`, the status page and `SELECT * FROM agent_sync.problem` list the
agents that are not in sync. An unknown value is left out and not reported as 0: of several daemons
for one database, only the leader knows the backlog.

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    for metric in METRICS {
        let database = metric.is_of_database().then(|| "`database`".to_owned());
        let own = metric
            .label
            .map(|(label, values)| format!("`{label}` ({values})"));
        let labels: Vec<_> = database.into_iter().chain(own).collect();
        let (name, kind, unit) = (metric.name, metric.kind.name(), metric.unit);
        let (labels, help) = (labels.join(", "), metric.help);
        writeln!(text, "| `{name}` | {kind} | {unit} | {labels} | {help} |").unwrap();
    }
    for (name, bounds) in [
        ("agent_sync_sync_latency_seconds", &LATENCY[..]),
        ("agent_sync_batch_rows", &ROWS),
    ] {
        let bounds: Vec<_> = bounds.iter().map(ToString::to_string).collect();
        let bounds = bounds.join(", ");
        writeln!(text, "\nThe buckets of `{name}`: {bounds}.").unwrap();
    }
    text + "\nIn `packaging/` there are alert rules (`prometheus/agent-sync.rules.yaml`) and a \
        dashboard\n(`grafana/agent-sync.json`) that use them.\n"
}
