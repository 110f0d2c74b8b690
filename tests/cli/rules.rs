//! `rules`: the rules in force, and those that agent-sync comes with.

use std::path::Path;
use std::process::Command;

const EMBEDDED: &str = include_str!("../../config/providers.toml");
const EXTENDED: &str = include_str!("../../config/providers.extended.toml");

/// Runs `rules` with this rules file in force: exit code, standard output, standard error.
fn rules(arguments: &[&str], file: Option<&Path>) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-sync"));
    command.arg("rules").args(arguments).env_clear();
    if let Some(file) = file {
        command.env("AGENT_SYNC__RULES__FILE", file);
    }
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (out, err) = (text(output.stdout), text(output.stderr));
    (output.status.code().unwrap(), out, err)
}

#[test]
fn m9_the_shipped_rules_are_printed_to_the_letter() {
    for (arguments, text) in [
        (&["--builtin"][..], EMBEDDED),
        (&["--extended"], EXTENDED),
        (&[], EMBEDDED),
    ] {
        let printed = rules(arguments, None);
        assert_eq!(printed, (0, text.to_owned(), String::new()));
    }
}

#[test]
fn m9_the_rules_in_force_are_those_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let text = "settings.temperature = { type = \"number\", max = 2.50 }\nsettings.ignore = [\"a.b\"]\n\
        [tts]\nprovider_from = [\"p\", \"q.r\"]\nplaceholders = [\"Live\"]\n[tts.providers.x]\n\
        aliases = [\"Y\"]\nfields = { \"a.b\" = { from = [\"c\", \"d\"], type = \"integer\", default = 1 } }\n";
    std::fs::write(&file, text).unwrap();
    assert_eq!(rules(&[], Some(&file)), (0, text.to_owned(), String::new()));
    let (code, json, _) = rules(&["--json"], Some(&file));
    let expected = format!(
        "{{\"source\":\"{}\",\"rules\":{{\"settings\":[{{\"name\":\"temperature\",\"type\":\"number\",\
        \"max\":2.50}}],\"ignore\":[\"a.b\"],\"sections\":[{{\"name\":\"tts\",\"provider_from\":[\"p\",\
        \"q.r\"],\"placeholders\":[\"live\"],\"providers\":[{{\"name\":\"x\",\"aliases\":[\"y\"],\
        \"fields\":[{{\"field\":\"a.b\",\"from\":[\"c\",\"d\"],\"type\":\"integer\",\"default\":1}}]}}],\
        \"other\":{{\"fields\":[],\"warn\":false}}}}]}}}}\n",
        file.display()
    );
    assert_eq!((code, json), (0, expected));
    // Rules with a mistake are not in force, so they are not printed.
    std::fs::write(&file, "tts = 1").unwrap();
    let (code, out, err) = rules(&[], Some(&file));
    assert_eq!((code, &*out), (64, ""));
    assert!(
        err.contains("line 1: tts: expected a table, found the number 1"),
        "{err}"
    );
}
