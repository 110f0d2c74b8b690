//! The words for the state of a database are the same in every text.

use std::process::Command;

use agent_sync::admin::metrics::METRICS;
use agent_sync::observe::Condition;

/// The page, the help and the metric list the states of the code, in their order: the help of
/// `status` without that of a daemon that stands by, and the metric without that of no daemon.
#[test]
fn every_text_has_the_states_of_the_code() {
    let all = Condition::ALL.map(Condition::name);
    let without = |state: Condition| -> Vec<_> {
        let others = all.into_iter().filter(|name| *name != state.name());
        others.collect()
    };

    let (_, section) = include_str!("../../docs/operating.md")
        .split_once("### States\n")
        .unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|--"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let named: Vec<_> = rows.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert_eq!(named, all);

    let help = Command::new(env!("CARGO_BIN_EXE_agent-sync"))
        .args(["status", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, list) = help.split_once("STATE is one of:\n").unwrap();
    let lines = list.lines().map_while(|line| line.strip_prefix("  "));
    let named: Vec<_> = lines.map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(named, without(Condition::Standby));

    let metric = METRICS
        .iter()
        .find(|metric| metric.name == "agent_sync_state");
    let (_, values) = metric.unwrap().label.unwrap();
    let values = values.replace(" or ", ", ");
    assert_eq!(
        values.split(", ").collect::<Vec<_>>(),
        without(Condition::NoDaemon)
    );
}
