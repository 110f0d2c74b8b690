//! The question before a command takes something away.

use std::io::IsTerminal as _;

use crate::exit::Fault;

/// Asks at the terminal whether the command is meant. `does` and the items of the list, a line
/// each, say what it takes away. Without a terminal, fails with a usage fault.
pub(super) fn is_meant(command: &str, does: &str, list: &[String]) -> anyhow::Result<bool> {
    let list = format!("\n    {}", list.join("\n    "));
    if std::io::stdin().is_terminal() {
        return super::confirmed(&format!("{command}? This {does}{list}\n"));
    }
    let what = format!(
        "{command}: expected --yes, because standard input is no terminal to ask on; \
        this {does}{list}"
    );
    Err(Fault::usage(what).remedy("add --yes to confirm").into())
}
