//! Runs the fuzz targets without a fuzzer on every input of the corpora in `fuzz/corpus/` and on
//! every case of `tests/cases`.
//!
//! `fuzz/src` has the targets and is a module of these tests, so every run repeats each input that
//! once broke a promise.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fuzz_targets::{TARGETS, Target};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn every_input_of_the_corpora_holds() {
    let mut bytes = 0;
    for (name, target) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(root().join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(
            inputs.len() > 10,
            "the corpus of {name} has {} inputs",
            inputs.len()
        );
        for path in inputs {
            let input = fs::read(&path).unwrap();
            bytes += input.len();
            holds(&path.display().to_string(), target, &input);
        }
    }
    assert!(
        bytes < 1024 * 1024,
        "the corpora have grown to {bytes} bytes: minimise them"
    );
}

#[test]
fn every_case_of_the_tests_holds() {
    let seeds = seeds();
    assert!(seeds.len() > 200, "the cases are not read");
    for (name, input) in &seeds {
        let (_, target) = TARGETS
            .into_iter()
            .find(|(target, _)| target == name)
            .unwrap();
        holds(input, target, input.as_bytes());
    }
}

/// Generates the initial corpora. Run it after additions to `tests/cases`: `cargo test corpora --
/// --ignored`.
#[test]
#[ignore = "writes into fuzz/corpus"]
fn the_cases_become_inputs() {
    for (number, (name, input)) in seeds().into_iter().enumerate() {
        fs::create_dir_all(root().join(name)).unwrap();
        fs::write(root().join(name).join(format!("case-{number:03}")), input).unwrap();
    }
}

/// Runs a target on an input and adds the name of the input to a failure.
fn holds(input: &str, target: Target, bytes: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(bytes)) {
        eprintln!("the input was: {input}");
        std::panic::resume_unwind(panic);
    }
}

/// The cases of the tests in the form of the targets.
fn seeds() -> Vec<(&'static str, String)> {
    let mut seeds = Vec::new();
    for (_, file) in crate::mapping::files::<Cases>("mapping") {
        seeds.extend(file.case.iter().map(|case| ("mapping", case.input())));
        seeds.extend(
            file.case
                .into_iter()
                .filter_map(|case| Some(("rules", case.rules()?.to_owned()))),
        );
    }
    for (_, file) in crate::mapping::files::<Cases>("mapping/rules_files") {
        seeds.extend(
            file.case
                .into_iter()
                .filter_map(|case| Some(("rules", case.rules?))),
        );
    }
    seeds.push((
        "rules",
        include_str!("../../config/providers.toml").to_owned(),
    ));
    let mistakes = include_str!("../cases/settings/mistakes.txt")
        .split("\n\n")
        .skip(1);
    for case in mistakes.chain([include_str!("../../config/agent-sync.toml")]) {
        // Puts the password that the target expects.
        let case = case
            .replace("://app:p@ss", "://app:hunter2@")
            .replace("postgresql://", "postgres://");
        seeds.push(("settings", case.clone()));
        let strings = case
            .split(['"', '\'', '='])
            .filter(|text| text.contains("://"));
        seeds.extend(
            strings.map(|text| ("dsn", text.lines().next().unwrap_or_default().to_owned())),
        );
    }
    for text in [
        "app\nhunter2\ndb.example.com:5433/platform?sslmode=verify-full&sslrootcert=/ca.pem",
        "app\np%40/hunter2?#&\n[::1]/x?options=-c%20x%3D1&connect_timeout=5&tcp_user_timeout=9000",
        "\nhunter2@\na:1,b:2/x?target_session_attrs=read-write&channel_binding=require&load_balance_hosts=random",
        "host=/run/postgresql user=app password='p\\'hunter2' dbname=plat\\form port=5433 \
        keepalives_idle=10",
        "hostaddr=10.0.0.1 dbname=x application_name=a sslmode=disable keepalives=0 \
        keepalives_count=3",
        "postgres://%2Frun%2Fpostgresql/x?user=app&password=hunter2&sslnegotiation=direct&pgbouncer=true",
    ] {
        seeds.push(("dsn", text.to_owned()));
    }
    // The header of the target explains each byte.
    for text in [
        "\u{1}\u{0}",
        "\u{1c}agent-1\u{0}",
        "\u{7b}\u{0}",
        "\u{7b}\u{73}\u{6b}\u{0}\u{a}\u{1}",
        "\u{24}abcd\u{24}abcd\u{0}",
    ] {
        seeds.push(("inbox", text.to_owned()));
    }
    seeds
}

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

/// The input of a case of the mapping or of the rules file.
#[derive(Deserialize)]
struct Case {
    columns: Option<Vec<String>>,
    temperature: Option<String>,
    rules: Option<String>,
    #[serde(default)]
    agent: toml::Table,
    #[serde(default)]
    configuration: toml::Table,
}

impl Case {
    /// The form of the target `mapping`. A null is an empty text here, unless nothing follows it.
    fn input(&self) -> String {
        let text = |row: &toml::Table, name: &str| {
            row.get(name)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
        };
        let (agent, configuration) = (&self.agent, &self.configuration);
        let parts = [
            Some(self.columns()),
            text(agent, "voice_settings"),
            text(configuration, "provider_config"),
            text(configuration, "voice_settings"),
            text(agent, "name"),
            text(agent, "system_prompt"),
            text(configuration, "temperature"),
            text(configuration, "voice_id"),
            text(configuration, "agent_name"),
            self.rules().map(str::to_owned),
        ];
        let given = parts
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        parts
            .into_iter()
            .take(given)
            .map(Option::unwrap_or_default)
            .collect::<Vec<_>>()
            .join("\n%\n")
    }

    /// The text of the rules file.
    fn rules(&self) -> Option<&str> {
        match self.rules.as_deref()? {
            "extended" => Some(include_str!("../../config/providers.extended.toml")),
            text => Some(text),
        }
    }

    fn columns(&self) -> String {
        let absent = |(letter, name): (char, &str)| {
            self.columns
                .as_ref()
                .is_some_and(|own| own.iter().all(|own| own != name))
                .then_some(letter)
        };
        let names = [
            ('n', "agent_name"),
            ('p', "system_prompt"),
            ('i', "agent_image"),
            ('v', "voice_settings"),
            ('d', "voice_id"),
            ('t', "temperature"),
        ];
        let kind = match self.temperature.as_deref() {
            Some("float4") => Some('4'),
            Some("numeric") => Some('N'),
            Some(text) if text.starts_with("numeric") => Some('1'),
            _ => None,
        };
        names.into_iter().filter_map(absent).chain(kind).collect()
    }
}

/// The fuzz targets are built with the crates of the program: the lock file lists the same ones, in
/// the same versions.
#[test]
fn the_fuzz_targets_lock_the_crates_of_the_program() {
    let packages = |file: &str| {
        let text = std::fs::read_to_string(file).unwrap();
        let lock: toml::Table = toml::from_str(&text).unwrap();
        lock["package"].as_array().unwrap().clone()
    };
    let (program, fuzz) = (packages("Cargo.lock"), packages("fuzz/Cargo.lock"));
    let own = |lock: &[toml::Value]| {
        let package = |one: &&toml::Value| one["name"].as_str() == Some("agent-sync");
        lock.iter().find(package).unwrap().clone()
    };
    let test_only = |name: &str| {
        let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
        let manifest: toml::Table = toml::from_str(&manifest).unwrap();
        manifest["dependencies"].get(name).is_none()
    };
    let of_fuzz = own(&fuzz);
    let of_fuzz = of_fuzz["dependencies"].as_array().unwrap();
    for dependency in own(&program)["dependencies"].as_array().unwrap() {
        let name = dependency.as_str().unwrap().split(' ').next().unwrap();
        let is_there = of_fuzz
            .iter()
            .any(|one| one.as_str().unwrap().starts_with(name));
        assert!(
            is_there || test_only(name),
            "{name} is missing: cargo metadata in fuzz/"
        );
    }
    let mut shared = 0;
    for package in &fuzz {
        let versions: Vec<_> = program
            .iter()
            .filter(|one| one["name"] == package["name"])
            .map(|one| &one["version"])
            .collect();
        if !versions.is_empty() {
            shared += 1;
            assert!(
                versions.contains(&&package["version"]),
                "{package}: {versions:?}"
            );
        }
    }
    assert!(shared > 100, "{shared}");
}
