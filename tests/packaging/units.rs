//! The unit files, the image and the package name things that there are, and agree with one another and with the program.

use agent_sync::exit::Exit;
use agent_sync::settings::{Settings, Sources};

use super::{path, read};

const UNITS: [&str; 3] = [
    "packaging/agent-sync.service",
    "packaging/agent-sync.container",
    "packaging/agent-sync-container.service",
];

#[test]
fn every_unit_waits_for_nobody_and_gives_up_only_where_a_restart_changes_nothing() {
    for name in UNITS {
        let unit = read(name);
        let usage = format!("RestartPreventExitStatus={}", Exit::Usage as u8);
        for line in ["Restart=always", &usage, "StartLimitBurst=10", "WantedBy=multi-user.target"] {
            assert!(unit.lines().any(|own| own == line), "{name} says {line}");
        }
        assert!(unit.contains("After=network-online.target postgresql.service"), "{name}");
        for line in ["Requires=", "BindsTo=", "PartOf="] {
            assert!(!unit.contains(line), "{name} must not depend on the database: {line}");
        }
        assert!(
            unit.contains("agent-sync config --check\nExecReload="),
            "{name} checks the settings before a reload"
        );
    }
}

#[test]
fn i4_a_unit_waits_longer_for_the_end_than_the_daemon_does() {
    let grace = Settings::load_from(&Sources::default()).unwrap().settings.shutdown.grace_period;
    for name in UNITS {
        let unit = read(name);
        let line = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
        assert!(line.parse::<u64>().unwrap() > grace.as_secs(), "{name}");
    }
}

#[test]
fn the_image_is_built_of_what_the_build_context_holds() {
    let (dockerfile, ignored) = (read("Dockerfile"), read(".dockerignore"));
    let copied = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"));
    let sources: Vec<_> = copied.flat_map(|line| line.split(' ').rev().skip(1).collect::<Vec<_>>()).collect();
    assert!(sources.len() >= 6, "{sources:?}");
    for source in sources {
        assert!(path(source).exists(), "{source}");
        assert!(ignored.lines().any(|line| line == format!("!{source}")), "{source} is in the build context");
    }
    let version = format!("ARG VERSION={}", env!("CARGO_PKG_VERSION"));
    assert!(dockerfile.contains(&version), "{version}");
}

#[test]
fn what_the_code_embeds_is_in_the_image() {
    let ignored = read(".dockerignore");
    let mut files = vec![path("src")];
    let mut embedded = 0;
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(std::fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = String::from_utf8(std::fs::read(&file).unwrap()).unwrap();
        for name in text.split("include_str!(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            let target = file.parent().unwrap().join(name).canonicalize().unwrap();
            let target = target.strip_prefix(path("").canonicalize().unwrap()).unwrap().to_owned();
            let top = target.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
            assert!(
                ignored.lines().any(|line| line == format!("!{top}")),
                "{} needs {}",
                file.display(),
                target.display()
            );
            embedded += 1;
        }
    }
    assert!(embedded > 5);
}

#[test]
fn the_package_holds_files_that_there_are() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    assert!(assets.len() > 8);
    for asset in assets {
        let source = asset[0].as_str().unwrap();
        let made = source.starts_with("target/");
        assert!(made || source.contains('*') || path(source).exists(), "{source}");
    }
}
