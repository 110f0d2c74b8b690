//! `databases`: which databases the settings have, and which daemon serves each.

use crate::support::{Platform, Said};

/// Without a daemon, with one and a standby, and out of reach, a database is listed with what is
/// known.
#[tokio::test]
async fn i1_databases_names_who_serves_each_database() {
    let platform = Platform::installed().await;
    let said = platform.says(&["databases"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for text in [
        "default: no daemon",
        "tables      public.agents to public.agent_configurations\n",
        "install     schema agent_sync\n",
        "served by   no daemon",
    ] {
        assert!(said.out.contains(text), "expected {text:?} in {said:?}");
    }

    let _leader = platform.caught_up_daemon().await;
    let standby = platform.daemon();
    standby.logged("another daemon leads").await;
    let said = platform.says(&["databases", "--json"]).await;
    let object = said.object();
    assert_eq!(object["state"], "ok", "{said:?}");
    assert_eq!(object["agents"], "public.agents");
    assert!(object["leader"]["pid"].is_i64(), "{said:?}");
    assert_eq!(object["standbys"].as_array().unwrap().len(), 1, "{said:?}");
    let said = platform.says(&["databases"]).await;
    assert!(
        said.out.contains("served by   local/") && said.out.contains("stands by   local/"),
        "{said:?}"
    );

    let mut command = platform.command(&["databases", "--json"]);
    command.env(
        "AGENT_SYNC__DATABASES__GONE__URL",
        "postgres://nobody@/none?host=/nonexistent",
    );
    let said = Said::of(command).await;
    assert_eq!(said.code, 69, "{said:?}");
    assert!(
        said.out.contains("\"database\":\"gone\"") && said.out.contains("\"unreachable\""),
        "{said:?}"
    );
}
